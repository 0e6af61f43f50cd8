"""Vector loops: several elements moved by one instruction where they are neighbours and aligned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ....ir import arith
from ....ir.buffer import Buffer
from ....ir.expr import Expr, IfThenElse, Load, Var
from ....ir.interval import prove
from ....ir.stmt import Store
from ....ir.visit import children, substitute
from .expressions import Expressions, depends_on, offset_of
from .names import stored_type

WIDEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Lanes:
    """`count` iterations of a loop over `var` that one instruction may do."""

    var: Var
    count: int

    def fits(self, printer: Expressions, buffer: Buffer, indices: tuple[Expr, ...]) -> bool:
        """Tell whether the lanes touch neighbouring elements of memory from an aligned place on."""
        size = self.count * buffer.dtype.bytes
        if buffer.scope not in ("global", "shared") or size > WIDEST_BYTES or size & (size - 1) or self.count == 1:
            return False
        if buffer.align % size:
            return False
        offset = offset_of(buffer, indices)
        first = substitute(offset, {self.var: arith.const(0, self.var.dtype)})
        step = substitute(offset, {self.var: arith.add(self.var, 1)})
        if not prove(arith.eq(arith.sub(step, offset), arith.const(1, offset.dtype)), printer.ranges):
            return False
        known: dict[Var, Expr] = {v: arith.const(x, v.dtype) for v, x in printer.known.items()}
        first = substitute(first, known)
        return prove(arith.eq(arith.floormod(first, self.count), arith.const(0, first.dtype)), printer.ranges)

    def type(self, buffer: Buffer) -> str:
        """Give the C type of the elements together."""
        return f"tw_vec<{stored_type(buffer.dtype)}, {self.count}>"


def wide_loads(printer: Expressions, value: Expr, lanes: Lanes) -> Iterator[Load]:
    """Give the loads in `value` that all lanes can do at once, whatever the conditions in it are."""
    seen: set[int] = set()
    stack: list[Expr] = [value]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        match node:
            case IfThenElse(condition):
                stack.append(condition)
                continue
            case Load(buffer, indices) if lanes.fits(printer, buffer, indices):
                yield node
        stack += [c for c in children(node) if isinstance(c, Expr)]


def is_wide(printer: Expressions, store: Store, lanes: Lanes) -> bool:
    """Tell whether the lanes of a store go to memory together."""
    return lanes.fits(printer, store.buffer, store.indices)


def uniform_choice(value: Expr, lanes: Lanes) -> IfThenElse | None:
    """Give a value that is a choice which all lanes make alike."""
    match value:
        case IfThenElse(condition) if not depends_on(condition, lanes.var):
            return value
        case _:
            return None
