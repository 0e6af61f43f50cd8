"""Loops whose iterations overlap: what iteration k + 1 and later ones need is under way while iteration k computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from ....ir import arith
from ....ir.affine import affine_of
from ....ir.buffer import Buffer
from ....ir.errors import CodegenError
from ....ir.expr import Address, Const, Expr, Load, Var
from ....ir.interval import Ranges
from ....ir.printer import place_text
from ....ir.simplify import simplify
from ....ir.stmt import Allocate, For, ForKind, Function, If, Let, Seq, Stmt, Store, seq
from ....ir.target import Target
from ....ir.visit import Node, children, map_statements, of_kind, rewrite, statements, substitute, walk, with_fields
from ...passes.names import Names
from ..kernel import Kernel, effect
from .copies import Parts, Unfit, asynchronous, staged, taken_apart, touched

TRANSPORTS = ("register", "cp_async", "tma")
ELSEWHERE = "tma"  # the transport that another pass realises
DEFAULTS: Mapping[str, int | str] = {"stages": 2, "transport": "register"}


@dataclass(frozen=True, slots=True)
class PipelineLoops:
    """Realise the overlap of loops that are marked `pipelined`; run serially they mean the same.

    "register": the next tile is loaded to registers before this one is used, and stored after.

    for k in pipelined(n):                   S[0] = A[0]
        S[k % 2] = A[k]            ->        for k in range(n):
        use S[k % 2]                             r = A[k + 1]                 # where k + 1 < n
                                                 use S[k % 2]
                                                 S[(k + 1) % 2] = r           # where k + 1 < n

    "cp_async": stages - 1 tiles are under way, by copies that pass the registers by.

    for k in pipelined(n):                   copy S[0] = A[0]; commit
        S[k % 3] = A[k]            ->        copy S[1] = A[1]; commit         # where 1 < n
        use S[k % 3]                         for k in range(n):
                                                 wait until 1 group is left
                                                 copy S[(k + 2) % 3] = A[k + 2]  # where k + 2 < n
                                                 commit
                                                 use S[k % 3]

    A loop that fills registers alone is written out, the next iteration's loads before this one's use.
    Loops with the transport "tma" stay as they are.
    Needs: copies that depend on nothing else in the loop; shared tiles with `stages` versions, indexed k % stages.
    Raises CodegenError where that does not hold, and for what no asynchronous copy can do.
    """

    def __call__(self, kernel: Kernel, target: Target) -> Kernel:
        """Give the kernel with its loops pipelined."""
        if not any(loop.kind is ForKind.PIPELINED for loop in of_kind(kernel.body, For)):
            return kernel
        body = _Pipeline(kernel, Names(kernel.body)).statement(kernel.body)
        return replace(kernel, body=_without_unused(body))


@dataclass
class _Pipeline:
    kernel: Kernel
    names: Names

    def statement(self, stmt: Stmt) -> Stmt:
        """Pipeline the loops of a statement, inner ones first."""
        made = map_statements(stmt, self.statement)
        match made:
            case For(kind=ForKind.PIPELINED) if _mark(made, "transport") != ELSEWHERE:
                try:
                    return self.loop(made, _inlined(made))
                except Unfit as unfit:
                    raise self.refusal(unfit) from None
            case _:
                return made

    def loop(self, loop: For, plain: For) -> Stmt:
        """Pipeline one loop."""
        transport = _mark(loop, "transport")
        if transport not in TRANSPORTS:
            raise Unfit(loop, f"unknown transport {transport!r}", ", ".join(TRANSPORTS))
        outside = _buffers_outside(self.kernel.body, loop.var)
        parts = taken_apart(plain.body, lambda buffer: buffer.scope == "shared")
        if parts is not None:
            stages = int(_mark(loop, "stages"))
            return self.by_copies(plain, parts, stages) if transport == "cp_async" else self.by_registers(plain, parts)
        parts = taken_apart(plain.body, lambda buffer: buffer.scope == "local" and buffer not in outside)
        if parts is not None:
            return self.in_registers(plain, parts)
        fact = f"no statement of loop {loop.var.name} fills shared memory or registers with values from before it alone"
        raise Unfit(loop, fact, "compute_at a cache_read in the loop, or leave pipeline out")

    def refusal(self, unfit: Unfit) -> CodegenError:
        """Give the error for a statement of the kernel."""
        kernel = self.kernel
        function = Function(kernel.name, kernel.params, kernel.body, kernel.outputs)
        known = any(stmt is unfit.stmt for stmt in statements(kernel.body))
        where = place_text(function, unfit.stmt) if known else str(unfit.stmt)
        return CodegenError("pipeline", unfit.fact, where=where, advice=unfit.advice)

    def at(self, stmt: Stmt, var: Var, value: Expr) -> Stmt:
        """Give a copy of a statement for another iteration."""
        moved = substitute(self.names.copy(stmt), {var: value})
        return simplify(moved, self.kernel.ranges)

    def ahead(self, loop: For, copies: Stmt, distance: int) -> Stmt | None:
        """Give the copies of the iteration `distance` after this one, where there is one."""
        steps = arith.int_value(loop.extent)
        if steps is not None and distance >= steps:
            return None
        later = arith.add(loop.var, distance)
        return If(arith.lt(later, loop.extent), self.at(copies, loop.var, later))

    def first(self, loop: For, copies: Stmt, number: int) -> Stmt | None:
        """Give the copies of iteration `number`, where there is one."""
        steps = arith.int_value(loop.extent)
        if steps is not None and number >= steps:
            return None
        made = self.at(copies, loop.var, Const(number, loop.var.dtype))
        return made if steps is not None else If(arith.lt(number, loop.extent), made)

    def by_copies(self, loop: For, parts: Parts, stages: int) -> Stmt:
        """Realise a loop by asynchronous copies, `stages - 1` tiles of which are under way."""
        self.check_versions(loop, parts, stages)
        copies = asynchronous(parts.copies, self.kernel.ranges)
        commit = effect("cp_async_commit")
        before = [s for number in range(stages - 1) for s in (self.first(loop, copies, number), commit)]
        inside = (effect("cp_async_wait", stages - 2), self.ahead(loop, copies, stages - 1), commit, parts.rest)
        return seq(*before, _serial(loop, seq(*inside)))

    def by_registers(self, loop: For, parts: Parts) -> Stmt:
        """Realise a loop by loads into registers, one tile ahead."""
        start = self.first(loop, parts.copies, 0)
        halves = staged(parts.copies, self.names)
        body = seq(self.ahead(loop, halves.load, 1), parts.rest, self.ahead(loop, halves.store, 1))
        if arith.int_value(loop.extent) != 1:
            for registers in reversed(halves.registers):
                body = Allocate(registers, body)
        return seq(start, _serial(loop, body))

    def check_versions(self, loop: For, parts: Parts, stages: int) -> None:
        """Refuse shared memory in which a tile under way would overwrite one in use."""
        version = simplify(arith.floormod(loop.var, stages), self.kernel.ranges)
        for store in of_kind(parts.copies, Store):
            if store.buffer.scope == "shared" and not _is_version(store, version, stages, self.kernel.ranges):
                fact = f"{store.buffer.name} does not hold {stages} tiles, one for each of {stages} stages"
                raise Unfit(store, fact, f"a first dimension of {stages}, indexed {loop.var.name} % {stages}")

    # -- loops that fill registers ----------------------------------------------------------------------------------

    def in_registers(self, loop: For, parts: Parts) -> Stmt:
        """Realise a loop that fills registers: written out, with the loads of the next iteration before this one."""
        steps = arith.int_value(loop.extent)
        if steps is None:
            fact = (
                f"loop {loop.var.name} has extent {loop.extent}, and only a loop that is written out overlaps registers"
            )
            raise Unfit(loop, fact, "a constant extent")
        if steps == 1:
            return _serial(loop, loop.body)
        filled = touched(parts.copies).writes & touched(parts.rest).reads
        double = {
            b: replace(b, name=self.names.fresh(b.name), shape=(Const(2), *b.shape), strides=None) for b in filled
        }
        version = arith.floormod(loop.var, 2)
        copies, rest = (_versioned(s, double, version) for s in (parts.copies, parts.rest))
        body = seq(self.at(copies, loop.var, arith.add(loop.var, 1)), rest)
        last = self.at(rest, loop.var, Const(steps - 1, loop.var.dtype))
        start = self.first(loop, copies, 0)
        made = seq(start, For(loop.var, Const(steps - 1, loop.var.dtype), body, ForKind.UNROLLED), last)
        for buffer in double.values():
            made = Allocate(buffer, made)
        return made


def _mark(loop: For, name: str) -> int | float | str:
    """Give the value of an annotation."""
    return next((mark.value for mark in loop.annotations if mark.name == name), DEFAULTS[name])


def _serial(loop: For, body: Stmt) -> For:
    """Give a loop that runs its iterations in order, with the annotations that pipelining does not use up."""
    marks = tuple(mark for mark in loop.annotations if mark.name not in DEFAULTS)
    return For(loop.var, loop.extent, body, ForKind.SERIAL, "", marks)


def _inlined(loop: For) -> For:
    """Give a loop without the lets directly in it whose values are computed from variables alone."""

    def inner(stmt: Stmt) -> Stmt:
        match stmt:
            case Let(var, value, body) if not any(type(n) is Load for n in walk(value)):
                return inner(substitute(body, {var: value}))
            case Seq() | Allocate():
                return map_statements(stmt, inner)
            case _:
                return stmt

    return with_fields(loop, {"body": inner(loop.body)})  # type: ignore[return-value]


def _is_version(store: Store, version: Expr, stages: int, ranges: Ranges) -> bool:
    """Tell whether a store goes to one of `stages` tiles, that of the iteration."""
    first = store.indices[0]
    return arith.int_value(store.buffer.shape[0]) == stages and affine_of(simplify(first, ranges)) == affine_of(version)


def _versioned(stmt: Stmt, buffers: Mapping[Buffer, Buffer], version: Expr) -> Stmt:
    """Give a statement with the tiles of other buffers in place of some."""

    def rule(node: Node) -> Node | None:
        match node:
            case Allocate(buffer, body) if buffer in buffers:
                return body
            case Load(buffer, indices) | Store(buffer, indices) | Address(buffer, indices) if buffer in buffers:
                fields = {"buffer": buffers[buffer], "indices": (version, *indices)}
                return cast(Node, with_fields(cast(Stmt, node), fields))
            case _:
                return None

    return rewrite(stmt, rule)


def _buffers_outside(body: Stmt, var: Var) -> set[Buffer]:
    """Give the buffers that are used outside of the loop over a variable."""
    found: set[Buffer] = set()
    stack: list[Node] = [body]
    while stack:
        node = stack.pop()
        match node:
            case For(var=own) if own is var:
                continue
            case Load(buffer=buffer) | Store(buffer=buffer) | Address(buffer=buffer):
                found.add(buffer)
        stack += children(node)
    return found


def _without_unused(body: Stmt) -> Stmt:
    """Give a body without the allocations of buffers that nothing uses."""
    used = {n.buffer for n in of_kind(body, Load, Store, Address)}

    def rule(node: Node) -> Node | None:
        match node:
            case Allocate(buffer, inner) if buffer not in used:
                return inner
            case _:
                return None

    return rewrite(body, rule)
