"""Which loops are written out: those that a pragma asks for, and those that index a register tile."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import arith
from ...ir.buffer import Buffer
from ...ir.expr import Address, Const, Load, Var
from ...ir.stmt import Allocate, For, ForKind, Stmt, Store
from ...ir.target import Target
from ...ir.visit import inner_statements, map_statements, of_kind, rewrite_statements, variables, with_fields
from .registers import fits_registers

STEP_PRAGMA = "auto_unroll_max_step"
_TAIL = (ForKind.UNROLLED, ForKind.VECTORIZED)


@dataclass(frozen=True, slots=True)
class UnrollByPragma:
    """Mark loops for unrolling below a loop with the pragma auto_unroll_max_step, while their steps stay within it.

    for i:  # auto_unroll_max_step = 16       for i:
        for j in range(8):               ->       for j in unrolled(8):
            S                                         S
    """

    def __call__(self, body: Stmt, target: Target) -> Stmt:
        """Give the body with its marked loops."""
        return rewrite_statements(body, self.expand)

    def expand(self, node: Stmt) -> Stmt | None:
        """Mark the loops below one with the pragma; None for anything else."""
        match node:
            case For(annotations=annotations):
                limits = [int(a.value) for a in annotations if a.name == STEP_PRAGMA]
                return _within(node, limits[-1])[0] if limits else None
            case _:
                return None


def _within(stmt: Stmt, limit: int) -> tuple[Stmt, int]:
    """Mark the loops of `stmt` that take at most `limit` steps; give it and its number of steps."""
    match stmt:
        case For(_, extent, body, kind):
            inner, steps = _within(body, limit)
            times = arith.int_value(extent)
            total = limit + 1 if times is None else steps * times
            if kind is ForKind.SERIAL and total <= limit:
                return with_fields(stmt, {"body": inner, "kind": ForKind.UNROLLED}), total
            made = stmt if inner is body else with_fields(stmt, {"body": inner})
            return made, 1 if kind is ForKind.VECTORIZED else total
        case Store():
            return stmt, 1
        case _:
            return _within_parts(stmt, limit)


def _within_parts(stmt: Stmt, limit: int) -> tuple[Stmt, int]:
    steps = 0

    def part(inner: Stmt) -> Stmt:
        nonlocal steps
        made, count = _within(inner, limit)
        steps += count
        return made

    return map_statements(stmt, part), steps


@dataclass(frozen=True, slots=True)
class UnrollTiles:
    """Mark the serial loops that index a small local buffer, so that it can live in registers.

    for i in range(4):                  for i in unrolled(4):
        acc[i] = acc[i] + x[i]     ->       acc[i] = acc[i] + x[i]

    Done where all indices become constant, when no statement is written out more than `copies` times.
    """

    copies: int = 256

    def __call__(self, body: Stmt, target: Target) -> Stmt:
        """Give the body with its marked loops."""
        marked: set[Var] = set()
        for allocate in of_kind(body, Allocate):
            if allocate.buffer.scope == "local" and fits_registers(allocate.buffer, target):
                marked |= self.tile_loops(allocate.buffer, allocate.body)
        if not marked:
            return body

        def mark(node: Stmt) -> Stmt | None:
            match node:
                case For(var, kind=ForKind.SERIAL) if var in marked:
                    return with_fields(node, {"kind": ForKind.UNROLLED})
                case _:
                    return None

        return rewrite_statements(body, mark)

    def tile_loops(self, buffer: Buffer, body: Stmt) -> set[Var]:
        """Give the serial loops to write out, none where that does not make every index constant."""
        loops = {n.var: n for n in of_kind(body, For)}
        found: set[Var] = set()
        for access in of_kind(body, Load, Store, Address):
            if access.buffer is buffer:
                found |= {v for i in access.indices for v in variables(i)}
        if not all(v in loops and arith.int_value(loops[v].extent) is not None for v in found):
            return set()
        kinds = {loops[v].kind for v in found}
        if ForKind.SERIAL not in kinds or not kinds <= {ForKind.SERIAL, *_TAIL}:
            return set()
        if self.most_copies(body, found) > self.copies:
            return set()
        return {v for v in found if loops[v].kind is ForKind.SERIAL}

    def most_copies(self, stmt: Stmt, marked: set[Var], copies: int = 1) -> int:
        """Give how often the statement below `stmt` that is repeated most is written out."""
        match stmt:
            case For(var, Const(value=extent), _, kind) if kind is ForKind.UNROLLED or (
                var in marked and kind is ForKind.SERIAL
            ):
                copies *= int(extent)
        return max([self.most_copies(inner, marked, copies) for inner in inner_statements(stmt)], default=copies)
