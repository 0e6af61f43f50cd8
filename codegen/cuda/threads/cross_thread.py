"""Reductions that the threads of a block share: how their parts are combined.

The nest says `for t in thread(..): part = ...; C = C + part`.  Here `part` becomes, in every thread, the combination of
all threads' parts: by shuffles within a warp, by shared memory between warps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeGuard

from ....ir import arith
from ....ir.buffer import Buffer
from ....ir.expr import Call, Const, Expr, Load, Var
from ....ir.gpu import WARP
from ....ir.stmt import Allocate, For, ForKind, If, Let, Seq, Stmt, Store, seq
from ....ir.visit import Node, of_kind, rewrite
from ...passes.names import Names
from ..kernel import AXIS_VARS, THREAD_AXES

ZERO = Const(0)


def is_cross_thread(stmt: Stmt) -> TypeGuard[For]:
    """Tell whether `stmt` is a loop over the threads that share a reduction."""
    match stmt:
        case For(kind=ForKind.THREAD, annotations=marks):
            return any(mark.name == "cross_thread" for mark in marks)
        case _:
            return False


def grouped(parts: Sequence[Stmt]) -> Iterator[tuple[Stmt, ...]]:
    """Give the statements of a sequence one by one, but a shared reduction after those that start its results."""
    held: list[Stmt] = []
    for part in parts:
        if not is_cross_thread(part):
            held.append(part)
            continue
        results = _stored(merge_of(part))
        start = len(held)
        while start and _stored(held[start - 1]) and _stored(held[start - 1]) <= results:
            start -= 1
        yield from ((other,) for other in held[:start])
        yield (*held[start:], part)
        held = []
    yield from ((other,) for other in held)


def _stored(stmt: Stmt) -> set[Buffer]:
    return {store.buffer for store in of_kind(stmt, Store)}


def merge_of(loop: Stmt) -> Stmt:
    """Give the statement of a shared reduction that combines the parts with the result: the last one."""
    match loop:
        case For(body=body) | Allocate(body=body):
            return merge_of(body)
        case Seq(parts):
            return parts[-1]
        case _:
            return loop


def reduced(
    merge: Stmt, parts: tuple[Buffer, ...], axes: Sequence[str], block: tuple[int, ...], names: Names
) -> tuple[Stmt, list[Buffer]]:
    """Give the statements after which `parts` hold the combination over the threads along `axes`, in all of them.

    merge  the statement that combines the parts with the result, which says how
    Gives the shared buffers that the statements use, too.
    """
    shape = _Shape(tuple(n for a, n in zip(THREAD_AXES, block, strict=True) if a in axes), block, tuple(axes))
    combine = _combiner(merge, parts)
    if shape.count == 1:
        return Seq(()), []
    if shape.within_warp:
        return seq(*_shuffles(parts, combine, shape, shape.count, names)), []
    scratch = [Buffer(names.fresh(f"{p.name}_scratch"), (Const(prod(block)),), p.dtype, "shared") for p in parts]
    if shape.whole_warps:
        first = _shuffles(parts, combine, shape, WARP, names)
        return seq(*first, *_between_warps(parts, scratch, combine, shape, names)), scratch
    return seq(*_tree(parts, scratch, combine, shape)), scratch


Combine = Callable[[Sequence[Expr], Sequence[Expr]], list[Expr]]


@dataclass(frozen=True, slots=True)
class _Shape:
    """Which threads share a reduction.

    extents  of the axes along which they lie
    block    of all axes
    """

    extents: tuple[int, ...]
    block: tuple[int, ...]
    axes: tuple[str, ...]

    @property
    def count(self) -> int:
        """Give how many threads share one result."""
        return prod(self.extents)

    @property
    def is_prefix(self) -> bool:
        """Tell whether their numbers in the block are consecutive."""
        others = [n for a, n in zip(THREAD_AXES, self.block, strict=True) if a not in self.axes]
        along = [a in self.axes for a, n in zip(THREAD_AXES, self.block, strict=True) if n > 1]
        return not others or along == sorted(along, reverse=True)

    @property
    def full_warps(self) -> bool:
        """Tell whether every warp of the block is full, as shuffles need it."""
        return prod(self.block) % WARP == 0

    @property
    def within_warp(self) -> bool:
        """Tell whether they are neighbours within one warp."""
        return self.is_prefix and self.full_warps and self.count <= WARP and WARP % self.count == 0

    @property
    def whole_warps(self) -> bool:
        """Tell whether they are whole warps."""
        return self.is_prefix and self.count % WARP == 0

    @property
    def number(self) -> Expr:
        """Give the number of a thread in its block."""
        return self.mixed(THREAD_AXES)

    def mixed(self, axes: Sequence[str]) -> Expr:
        """Give the number of a thread among those that differ along `axes`."""
        number, stride = ZERO, 1
        for axis, extent in zip(THREAD_AXES, self.block, strict=True):
            if axis in axes and extent > 1:
                number = arith.add(number, arith.mul(AXIS_VARS[axis], stride))
                stride *= extent
        return number


def _combiner(merge: Stmt, parts: tuple[Buffer, ...]) -> Combine:
    """Give how two tuples of values are combined, as the statement does it with the result and the parts."""
    results = [let.value for let in of_kind(merge, Let)]
    stores = list(of_kind(merge, Store))
    if not results:
        results = [stores[0].value]
    targets = {store.buffer: n for n, store in enumerate(stores)}
    position = {part: n for n, part in enumerate(parts)}

    def combine(left: Sequence[Expr], right: Sequence[Expr]) -> list[Expr]:
        def rule(node: Node) -> Node | None:
            match node:
                case Load(buffer) if buffer in position:
                    return right[position[buffer]]
                case Load(buffer) if buffer in targets:
                    return left[targets[buffer]]
                case _:
                    return None

        return [rewrite(r, rule) for r in results]

    return combine


def _loads(parts: Sequence[Buffer]) -> list[Expr]:
    return [Load(p, (ZERO,)) for p in parts]


def _assigned(parts: Sequence[Buffer], indices: Sequence[Expr], values: Sequence[Expr], names: Names) -> Stmt:
    """Give the statement that stores values at once: all are computed before the first is stored."""
    if len(parts) == 1:
        return Store(parts[0], tuple(indices), values[0])
    lets = [Var(names.fresh("both"), v.dtype) for v in values]
    body = seq(*(Store(p, tuple(indices), v) for p, v in zip(parts, lets, strict=True)))
    for var, value in zip(reversed(lets), reversed(list(values)), strict=True):
        body = Let(var, value, body)
    return body


def _shuffles(parts: Sequence[Buffer], combine: Combine, shape: _Shape, count: int, names: Names) -> list[Stmt]:
    """Combine over `count` neighbouring lanes: with the neighbour at every power of two, farthest first."""
    steps: list[Stmt] = []
    mask = count // 2
    while mask:
        lets = [Var(names.fresh("other"), p.dtype) for p in parts]
        body = _assigned(parts, (ZERO,), combine(_loads(parts), lets), names)
        for var, part in zip(lets, parts, strict=True):
            body = Let(var, Call("shuffle_xor", (Load(part, (ZERO,)), Const(mask)), part.dtype), body)
        steps.append(body)
        mask //= 2
    if len(parts) > 1:  # of equals, every lane may have kept its own
        first = arith.mul(arith.floordiv(arith.floormod(shape.number, WARP), count), count)
        steps += [Store(p, (ZERO,), Call("shuffle", (Load(p, (ZERO,)), first), p.dtype)) for p in parts]
    return steps


def _between_warps(
    parts: Sequence[Buffer], scratch: Sequence[Buffer], combine: Combine, shape: _Shape, names: Names
) -> list[Stmt]:
    """Combine what the warps of a group have: every thread reads the results of all, in order."""
    warps = shape.count // WARP
    warp = arith.floordiv(shape.number, WARP)
    is_first = arith.eq(arith.floormod(shape.number, WARP), 0)
    steps: list[Stmt] = [
        If(is_first, seq(*(Store(s, (warp,), x) for s, x in zip(scratch, _loads(parts), strict=True))))
    ]
    base = arith.mul(arith.floordiv(shape.number, shape.count), warps)
    var = Var(names.fresh("warp"), minimum=0)
    steps.append(seq(*(Store(p, (ZERO,), Load(s, (base,))) for p, s in zip(parts, scratch, strict=True))))
    if warps > 1:
        other = [Load(s, (arith.add(arith.add(base, var), 1),)) for s in scratch]
        body = _assigned(parts, (ZERO,), combine(_loads(parts), other), names)
        steps.append(For(var, Const(warps - 1), body, ForKind.UNROLLED if warps <= 9 else ForKind.SERIAL))
    return steps


def _tree(parts: Sequence[Buffer], scratch: Sequence[Buffer], combine: Combine, shape: _Shape) -> list[Stmt]:
    """Combine any group of threads in shared memory, halving the number of parts at every step."""
    others = [a for a in THREAD_AXES if a not in shape.axes]
    rank = shape.mixed(shape.axes)
    base = arith.mul(shape.mixed(others), shape.count)
    mine = arith.add(base, rank)
    steps: list[Stmt] = [Store(s, (mine,), x) for s, x in zip(scratch, _loads(parts), strict=True)]
    left = shape.count
    while left > 1:
        half = (left + 1) // 2
        pairs = [Load(s, (arith.add(mine, half),)) for s in scratch]
        values = combine(_loads(parts), pairs)
        active = arith.lt(rank, left - half)
        stores = [Store(s, (mine,), x) for s, x in zip(scratch, _loads(parts), strict=True)]
        names = [Var(f"{p.name}_half{left}", p.dtype) for p in parts]
        body = seq(*(Store(p, (ZERO,), v) for p, v in zip(parts, names, strict=True)), *stores)
        for var, value in zip(reversed(names), reversed(values), strict=True):
            body = Let(var, value, body)
        steps.append(If(active, body))
        left = half
    steps += [Store(p, (ZERO,), Load(s, (base,))) for p, s in zip(parts, scratch, strict=True)]
    return steps
