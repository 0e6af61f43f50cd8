"""Virtual threads: the iterations of a vthread loop, executed by one thread, statement by statement side by side."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

from ....ir import arith
from ....ir.buffer import Buffer
from ....ir.errors import CodegenError
from ....ir.expr import Address, Load, Var
from ....ir.printer import stmt_text
from ....ir.stmt import Allocate, For, ForKind, If, Let, Seq, Stmt, Store, seq
from ....ir.target import Target
from ....ir.visit import Node, inner_statements, map_statements, of_kind, rewrite, statements, walk, with_fields
from ...passes.names import Names
from .cross_thread import grouped, is_cross_thread

VIRTUAL = ("vthread", "cthread")


@dataclass(frozen=True, slots=True)
class ExpandVirtualThreads:
    """Push loops over virtual threads inwards, to the statements that differ between them.

    for v in thread("vthread", 2):                   part = allocate(2, 4)
        part = allocate(4)                           S = shared copy
        S = shared copy                        ->    for k: for v in unrolled(2):
        for k: part[k] = part[k] + S[v, k]               part[v, k] = part[v, k] + S[v, k]

    Buffers that differ get a dimension of their own; shared memory is filled once.
    Order of execution: changed among iterations that are independent.  Needs: constant extents.
    """

    def __call__(self, body: Stmt, target: Target) -> Stmt:
        """Give the body without loops over virtual threads."""
        names = Names(body)
        return rewrite(body, lambda node: _expanded(node, names))


def _expanded(node: Node, names: Names) -> Node | None:
    match node:
        case For(var, extent, body, ForKind.THREAD, thread=thread) as loop if thread.startswith(VIRTUAL):
            count = arith.int_value(extent)
            if count is None:
                fact = f"loop {var.name}, bound to {thread}, has the extent {extent}"
                advice = "split it by a constant factor and bind the inner loop"
                raise CodegenError("cuda", fact, stmt_text(loop, loop), advice)
            return _Expansion(var, count, names, _differing(body, var)).pushed(body)
        case _:
            return None


def _differing(body: Stmt, var: Var) -> set[Buffer]:
    """Give the local buffers whose contents depend on `var`."""
    own = {a.buffer for a in of_kind(body, Allocate) if a.buffer.scope != "shared"}
    found: set[Buffer] = set()
    before = -1
    while before < len(found):
        before = len(found)
        _mark(body, var, own, found, False)
    return found


def _mark(stmt: Stmt, var: Var, own: set[Buffer], found: set[Buffer], differs: bool) -> None:
    match stmt:
        case Store(buffer, indices, value):
            if buffer in own and (differs or any(_depends(x, var, found) for x in (*indices, value))):
                found.add(buffer)
        case If(condition):
            differs = differs or _depends(condition, var, found)
        case For(extent=value) | Let(value=value):
            differs = differs or _depends(value, var, found)
        case _:
            calls = [a for a in of_kind(stmt, Address) if a.buffer in own] if not list(inner_statements(stmt)) else []
            if calls and (differs or _depends(stmt, var, found)):
                found.update(a.buffer for a in calls)
    for inner in inner_statements(stmt):
        _mark(inner, var, own, found, differs)


def _depends(node: Node, var: Var, buffers: set[Buffer]) -> bool:
    return any(n is var or (isinstance(n, Load | Address) and n.buffer in buffers) for n in walk(node))


@dataclass
class _Expansion:
    """The expansion of one loop of `count` virtual threads.

    differing  buffers that each virtual thread has its own of
    """

    var: Var
    count: int
    names: Names
    differing: set[Buffer]
    wide: dict[Buffer, Buffer] = field(default_factory=dict)

    def pushed(self, stmt: Stmt) -> Stmt:
        """Give what all virtual threads do at `stmt`."""
        if not self.differs(stmt):
            return stmt
        match stmt:
            case Allocate(buffer, body) if buffer in self.differing:
                shape = (arith.const(self.count), *buffer.shape)
                strides = None
                if buffer.strides is not None:
                    strides = (arith.mul(buffer.strides[0], buffer.shape[0]), *buffer.strides)
                self.wide[buffer] = replace(buffer, shape=shape, strides=strides)
                return Allocate(self.wide[buffer], self.pushed(body))
            case Seq(parts):
                return seq(*(self.pushed_group(group) for group in grouped(parts)))
            case Allocate():
                return map_statements(stmt, self.pushed)
            case For() if is_cross_thread(stmt):
                return self.repeated(stmt)
            case For(extent=extent) if self.goes_inside(stmt) and not self.depends(extent):
                return map_statements(stmt, self.pushed)
            case If(condition) if not self.depends(condition):
                return map_statements(stmt, self.pushed)
            case _:
                return self.repeated(stmt)

    def pushed_group(self, group: tuple[Stmt, ...]) -> Stmt:
        """Give what all virtual threads do at a statement, or one after the other at a shared reduction."""
        if len(group) == 1:
            return self.pushed(group[0])
        whole = seq(*group)
        return self.repeated(whole) if self.differs(whole) else whole

    def goes_inside(self, loop: For) -> bool:
        """Tell whether the virtual threads run inside of `loop`: it is serial, or threads meet within it."""
        return loop.kind in (ForKind.SERIAL, ForKind.PIPELINED, ForKind.THREAD) or any(
            type(s) is Allocate for s in statements(loop)
        )

    def depends(self, node: Node) -> bool:
        """Tell whether virtual threads find different values in `node`."""
        return _depends(node, self.var, self.differing)

    def differs(self, stmt: Stmt) -> bool:
        """Tell whether virtual threads do different things at `stmt`."""
        stored = (s.buffer for s in of_kind(stmt, Store, Allocate))
        return self.depends(stmt) or any(buffer in self.differing for buffer in stored)

    def repeated(self, stmt: Stmt) -> Stmt:
        """Give `stmt` once for each virtual thread."""
        copy = self.names.variable(self.var)

        def rule(node: Node) -> Node | None:
            match node:
                case Var() if node is self.var:
                    return copy
                case Load(buffer, indices) | Store(buffer, indices) | Address(buffer, indices) if buffer in self.wide:
                    return with_fields(cast(Stmt, node), {"buffer": self.wide[buffer], "indices": (copy, *indices)})
                case _:
                    return None

        return For(copy, arith.const(self.count), rewrite(stmt, rule), ForKind.UNROLLED)
