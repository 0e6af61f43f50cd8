"""Bound inference: from what outputs need, the region that each stage computes and the loops over it.

Stages are taken from outputs to inputs, so that the loops of all consumers are known when a producer's region is
asked for.  A stage at the root computes all of its tensor; an attached stage computes the hull of what its consumers
read in one iteration of the loop that it is attached to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeGuard

from ..ir import arith
from ..ir.affine import affine_of
from ..ir.errors import ScheduleError
from ..ir.expr import Const, Expr, FloorDiv, FloorMod, Le, Lt, Max, Min, Var
from ..ir.interval import Bounds, Interval, prove
from ..ir.simplify import simplifier
from ..ir.visit import contains, of_kind, substitute
from ..te.axis import Axis
from ..te.nodes import Read
from ..te.operation import ComputeOp, ExternOp, ScanOp
from ..te.tensor import Tensor
from .relations import Extents, extents_of, guards_of, values_of
from .table import At, Fuse, StageState, Table, is_reduce_axis, reductions_by_threads_first, unused

Ranges = dict[Var, Interval]
ZERO = arith.const(0)


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A box of a tensor: the first index and the number of indices along each dimension."""

    start: tuple[Expr, ...]
    extent: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """The loops of one stage, known.

    region     what the stage computes of its tensor
    extents    extent of every axis, the operator's own and the split and fused ones
    loops      value of each leaf: a loop variable, or 0 where the extent is 1 and the loop says no more
    local      value of each spatial axis counted from the region's start
    index      value of each of the operator's own variables
    fused      value of each fused axis that was split: a variable of its own in `apart`
    apart      the same as `index`, in terms of `fused`
    guards     conditions under which an iteration is one of the stage's, for splits that overshoot
    domain     conditions under which it computes an element of the tensor, for regions that overshoot
    enclosing  loop variables around the stage, outermost first
    """

    stage: StageState
    region: Region
    extents: Extents
    loops: dict[Axis, Expr]
    local: dict[Axis, Expr]
    index: dict[Var, Expr]
    fused: dict[Var, Expr]
    apart: dict[Var, Expr]
    guards: tuple[Expr, ...]
    domain: tuple[Expr, ...]
    enclosing: tuple[Var, ...]

    @property
    def own_loops(self) -> tuple[Var, ...]:
        """Give the stage's own loop variables, outermost first."""
        return tuple(v for v in (self.loops[a] for a in self.stage.leaves) if is_loop(v))

    def loops_to(self, axis: Axis) -> tuple[Var, ...]:
        """Give the loop variables around what is attached at `axis`, outermost first."""
        upto = self.stage.leaves[: self.stage.leaves.index(axis) + 1]
        return self.enclosing + tuple(v for v in (self.loops[a] for a in upto) if is_loop(v))

    def together(self, expression: Expr, simple: Callable[[Expr], Expr]) -> Expr:
        """Give an expression in terms of `apart` in terms of the loops, with x // 8 * 8 + x % 8 of fused axes as x.

        Quotients and remainders that say no more than a loop does, (i * 8 + j) % 8, become that loop.
        """
        if self.fused:
            return simple(substitute(simple(expression), self.fused))
        return simple(expression) if contains(expression, FloorDiv, FloorMod) else expression


def is_loop(value: Expr) -> TypeGuard[Var]:
    """Tell whether the value of a leaf is the variable of a loop, rather than 0."""
    return value is not ZERO


@dataclass(frozen=True, slots=True, eq=False)
class Derivation:
    """All stages with their loops.

    ranges   of every loop variable
    threads  thread axis of the loop variables that are bound to one
    """

    table: Table
    stages: dict[str, Derived]
    ranges: Ranges
    threads: dict[Var, str]

    def is_per_thread(self, var: Var) -> bool:
        """Tell whether the iterations of a loop belong to the threads of one block."""
        return self.threads.get(var, "blockIdx").partition(".")[0] != "blockIdx"

    def scope_of(self, stage: StageState) -> str:
        """Give the memory that a stage is kept in: what was asked for, else what its place in a GPU's nest says.

        Within the loops of a thread that is the thread's own, within those of a block the block's; elsewhere "".
        Loops of one iteration count, so that the same schedule keeps a stage in the same memory for all shapes.
        """
        if stage.storage.scope or stage.is_root:
            return stage.storage.scope
        bound = set(_threads_around(self.table, stage))
        if not bound:
            return ""
        return "shared" if all(thread.startswith("blockIdx") for thread in bound) else "local"

    def is_of_gpu(self, stage: StageState) -> bool:
        """Tell whether a loop of a stage, or one around it, is bound to a thread axis."""
        own = (stage.loop(axis).thread for axis in stage.leaves)
        return any(own) or any(_threads_around(self.table, stage))


def _threads_around(table: Table, stage: StageState) -> Iterator[str]:
    """Give the thread axes of the loops that a stage is computed in."""
    while (at := stage.attached) is not None:
        stage = table.stages[at.stage]
        upto = stage.leaves[: stage.leaves.index(at.axis) + 1] if at.axis in stage.leaves else ()
        yield from (stage.loop(axis).thread for axis in upto if stage.loop(axis).thread)


def derive(table: Table) -> Derivation:
    """Give the loops of every stage of a table without inlined stages.  Raises ScheduleError."""
    table = reductions_by_threads_first(table)
    result = Derivation(table, {}, {}, {})
    names: set[str] = set()
    readers = _readers(table)
    for name in reversed(list(table.stages)):
        stage = table.stages[name]
        enclosing = _enclosing(result, stage)
        region = _region(result, stage, enclosing, readers.get(name, []))
        result.stages[name] = _loops_over(result, stage, region, enclosing, names)
    return result


Access = tuple[str, tuple[Expr, ...] | None]  # reading stage; indices, or None for the whole tensor


def _readers(table: Table) -> dict[str, list[Access]]:
    """Give, for each stage, who reads it and where."""
    found: dict[str, list[Access]] = {}
    for name, stage in table.stages.items():
        for tensor, indices in accesses(stage):
            found.setdefault(table.aliases[id(tensor.op)], []).append((name, indices))
    return found


def accesses(stage: StageState) -> Iterator[tuple[Tensor, tuple[Expr, ...] | None]]:
    """Give what a stage reads, and with which indices; None stands for all of a tensor."""
    match stage.op:
        case ComputeOp(body=body):
            seen: set[int] = set()
            for expression in body:
                for node in of_kind(expression, Read):
                    if id(node) not in seen:
                        seen.add(id(node))
                        yield node.tensor, node.indices
        case ScanOp(scan_axis=axis, init=init, update=update):
            for tensor in init:
                yield tensor, None
            for tensor in update:
                yield tensor, (axis.var, *_whole(tensor)[1:])
        case ExternOp(reads=reads):
            for tensor in reads:
                yield tensor, None
        case _:
            pass


def _whole(tensor: Tensor) -> tuple[Expr, ...]:
    """Give indices that stand for entire dimensions: the tensor's own axes, whose ranges `_relaxed` knows."""
    return tuple(a.var for a in tensor.op.axis)


def _enclosing(result: Derivation, stage: StageState) -> tuple[Var, ...]:
    match stage.place:
        case At(host, axis):
            found = result.stages.get(host)
            if found is None or axis not in found.stage.leaves:
                fact = f"stage {stage.id} is to be computed at axis {axis.name} of {host}, which is no loop there"
                raise ScheduleError("compute_at", fact, advice="attach it to a loop of a stage that reads it")
            return found.loops_to(axis)
        case _:
            return ()


def _region(result: Derivation, stage: StageState, enclosing: tuple[Var, ...], readers: list[Access]) -> Region:
    shape = tuple(a.extent for a in stage.op.axis)
    if stage.is_root or not shape:
        return Region(tuple(a.start for a in stage.op.axis), shape)
    hull: list[Interval | None] = [Interval(None, None)] * len(shape)
    simple, known = simplifier(result.ranges), Bounds(result.ranges)
    relaxed: dict[str, Bounds] = {}
    seen: set[tuple[str, int, int]] = set()  # reader, dimension, identity of an index: many reads share most indices
    first = True
    for reader, indices in readers:
        derived = result.stages[reader]
        if reader not in relaxed:
            relaxed[reader] = Bounds(_relaxed(result, stage, derived, enclosing))
        if indices is None:
            return Region((ZERO,) * len(shape), shape)
        for d, i in enumerate(indices):
            if (reader, d, id(i)) not in seen:
                seen.add((reader, d, id(i)))
                here = relaxed[reader].of(derived.together(substitute(i, derived.apart), simple))
                hull[d] = here if first else _union(hull[d], here, known)
        first = False
    return _aligned(stage, _clipped(shape, hull, known))


def _aligned(stage: StageState, region: Region) -> Region:
    """Give a region with the extents that align_bounds asks for."""
    if not stage.bounds:
        return region
    factors = dict(stage.bounds)
    extents = []
    for axis, extent in zip(stage.op.axis, region.extent, strict=True):
        tiles = arith.floordiv(arith.add(extent, factors.get(axis, 1) - 1), factors.get(axis, 1))
        extents.append(arith.mul(tiles, factors.get(axis, 1)))
    return Region(region.start, tuple(extents))


def _relaxed(result: Derivation, stage: StageState, reader: Derived, enclosing: tuple[Var, ...]) -> Ranges:
    """Give the ranges of the reader's loops that run within one computation of `stage`.

    What is kept in shared memory is computed once for all threads of a block, whichever of their loops it is in.
    """
    place = stage.attached
    if place is not None and not _is_within(result.table, reader.stage, place):
        fact = (
            f"stage {stage.id} is computed within axis {place.axis.name} of {place.stage}, "
            f"but {reader.stage.id}, which is outside of it, reads {stage.id}"
        )
        raise ScheduleError("compute_at", fact, advice=f"compute {stage.id} at a loop around all its consumers")
    around = reader.enclosing + reader.own_loops
    ranges = {v: result.ranges[v] for v in around[len(enclosing) :]}
    if result.scope_of(stage) == "shared":
        ranges |= {v: result.ranges[v] for v in enclosing if result.is_per_thread(v)}
    if reader.stage.scan is not None:
        for tensor in reader.stage.scan.update:
            ranges |= {a.var: Interval(ZERO, a.extent - 1) for a in tensor.op.axis[1:]}
    return ranges


def _is_within(table: Table, stage: StageState, place: At) -> bool:
    """Tell whether a stage is computed inside the loop that `place` names."""
    while stage.id != place.stage:
        match stage.place:
            case At(host, axis):
                if host == place.stage:
                    leaves = table.stages[host].leaves
                    return leaves.index(axis) >= leaves.index(place.axis)
                stage = table.stages[host]
            case _:
                return False
    return True


def _union(a: Interval | None, b: Interval, known: Bounds) -> Interval | None:
    if a is None or a.lo is None or a.hi is None or b.lo is None or b.hi is None:
        return Interval(None, None)
    return Interval(_extreme(a.lo, b.lo, known, Min), _extreme(a.hi, b.hi, known, Max))


def _extreme(a: Expr, b: Expr, known: Bounds, node: type[Min] | type[Max]) -> Expr:
    if a is b:
        return a
    low, high = known.constant(arith.sub(b, a))
    a_is_least = low is not None and low >= 0
    b_is_least = high is not None and high <= 0
    if a_is_least or b_is_least:
        least, greatest = (a, b) if a_is_least else (b, a)
        return least if node is Min else greatest
    return node(a, b)


def _clipped(shape: tuple[Expr, ...], hull: list[Interval | None], known: Bounds) -> Region:
    """Give the box of constant size that holds the hull, or whole dimensions where there is none smaller."""
    starts: list[Expr] = []
    extents: list[Expr] = []
    for whole, interval in zip(shape, hull, strict=True):
        start, extent = ZERO, whole
        if interval is not None and interval.lo is not None and interval.hi is not None:
            _, most = known.constant(arith.sub(interval.hi, interval.lo))
            if most is not None and not (isinstance(whole, Const) and most + 1 >= int(whole.value)):
                start, extent = affine_of(interval.lo).to_expr(), arith.const(max(1, most + 1))
        starts.append(start)
        extents.append(extent)
    return Region(tuple(starts), tuple(extents))


def _loops_over(
    result: Derivation, stage: StageState, region: Region, enclosing: tuple[Var, ...], names: set[str]
) -> Derived:
    roots = dict(zip(stage.op.axis, region.extent, strict=True))
    roots |= {a: a.extent for a in stage.op.reduce_axis}
    extents = extents_of(stage.relations, roots)
    loops: dict[Axis, Expr] = {}
    for axis in stage.leaves:
        alone = _is_one(extents[axis]) and not stage.loop(axis).is_ring
        loops[axis] = ZERO if alone else _loop_variable(axis, names)
    for axis, var in loops.items():
        if is_loop(var):
            result.ranges[var] = Interval(ZERO, affine_of(arith.sub(extents[axis], 1)).to_expr())
            if stage.loop(axis).thread:
                result.threads[var] = stage.loop(axis).thread
    values, fused = values_of(stage.relations, extents, loops), dict[Var, Expr]()
    local = {axis: values[axis] for axis in stage.op.axis}
    index = _index(stage, region, values)
    apart = _index(stage, region, values_of(stage.relations, extents, loops, fused)) if _fuses(stage) else index
    guards = [condition for _, condition in guards_of(stage.relations, extents, values)]
    guards = [g for g in guards if not prove(g, result.ranges)]
    domain = tuple(_domain_guards(result, stage, region, index))
    return Derived(stage, region, extents, loops, local, index, fused, apart, tuple(guards), domain, enclosing)


def _index(stage: StageState, region: Region, values: dict[Axis, Expr]) -> dict[Var, Expr]:
    index = {a.var: arith.add(start, values[a]) for a, start in zip(stage.op.axis, region.start, strict=True)}
    return index | {a.var: arith.add(a.start, values[a]) for a in stage.op.reduce_axis}


def _fuses(stage: StageState) -> bool:
    return any(type(relation) is Fuse for relation in stage.relations)


def _is_one(extent: Expr) -> bool:
    return arith.is_const(extent, 1)


def _loop_variable(axis: Axis, names: set[str]) -> Var:
    name = unused(axis.name, names)
    names.add(name)
    return Var(name, axis.var.dtype, 0)


def _domain_guards(result: Derivation, stage: StageState, region: Region, index: dict[Var, Expr]) -> list[Expr]:
    """Give the conditions that keep an attached stage within its tensor, as far as they are not proved."""
    if stage.is_root:
        return []
    guards: list[Expr] = []
    for axis, start, extent in zip(stage.op.axis, region.start, region.extent, strict=True):
        if start is ZERO and not (stage.bounds and prove(Lt(axis.extent, extent), {})):
            continue
        value = index[axis.var]
        guards += [c for c in (Le(ZERO, value), Lt(value, axis.extent)) if not prove(c, result.ranges)]
    return guards


def reduction_start(stage: StageState) -> int:
    """Give the position of the outermost reduction loop among the leaves, or their number if there is none."""
    return next((i for i, a in enumerate(stage.leaves) if is_reduce_axis(a)), len(stage.leaves))
