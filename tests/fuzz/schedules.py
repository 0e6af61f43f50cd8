"""Random schedules: steps drawn with random arguments; refused ones leave no trace and are counted apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tilewright import te
from tilewright.ir.errors import ScheduleError
from tilewright.ir.stmt import ForKind
from tilewright.schedule import Schedule, create_schedule, lower
from tilewright.schedule.steps.marks import PRAGMAS
from tilewright.schedule.steps.storage import SCOPES
from tilewright.te.operation import ComputeOp, PlaceholderOp

from .programs import Program

TENSORIZED = 0.7  # share of the programs with intrinsics that begin by using one
FACTORS = (1, 2, 3, 4, 5, 7, 8, 16)


@dataclass(slots=True)
class Drawn:
    """A random schedule, and how often each kind of step was taken and refused."""

    schedule: Schedule
    taken: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


def random_schedule(rng: Random, program: Program, steps: int, choices: tuple[str, ...] = ()) -> Drawn:
    """Give a schedule of at least `steps` steps that lowers.

    choices  kinds of steps to draw from, all of them if empty
    """
    drawn = Drawn(create_schedule([t.op for t in program.outputs]))
    if program.intrinsics and not choices and rng.random() < TENSORIZED:
        _attempt(rng, program, drawn, "tensorize")  # later steps would take the loops that it needs
    attempts = 0
    while len(drawn.schedule.steps) < steps and attempts < 200:
        attempts += 1
        name = rng.choice(choices or tuple(DRAWS))
        _attempt(rng, program, drawn, name)
    return drawn


def _attempt(rng: Random, program: Program, drawn: Drawn, name: str) -> None:
    """Try one step; take it back if it, or the nest after it, is refused."""
    before, table = drawn.schedule.steps, drawn.schedule.table
    sites = list(drawn.schedule._sites)
    try:
        if DRAWS[name](rng, program, drawn.schedule) is False:
            return
        lower(drawn.schedule, [*program.inputs, *program.outputs])
    except ScheduleError:
        drawn.refused[name] += 1
        drawn.schedule.steps, drawn.schedule.table, drawn.schedule._sites = before, table, sites
        return
    drawn.taken[name] += len(drawn.schedule.steps) > len(before)


def _stage(rng: Random, s: Schedule):
    return rng.choice([x for x in s.stages if not isinstance(x.op, PlaceholderOp)])


def _inner_stage(rng: Random, s: Schedule):
    """Give a stage that is neither given nor wanted, so that it may be moved; or None."""
    stages = [x for x in s.stages if not isinstance(x.op, PlaceholderOp) and not x.state.is_output]
    return rng.choice(stages) if stages else None


def _axis(rng: Random, stage):
    return rng.choice(stage.leaf_iter_vars) if stage.leaf_iter_vars else None


def _on_axis(act: Callable) -> Callable[[Random, Program, Schedule], object]:
    def draw(rng: Random, program: Program, s: Schedule) -> object:
        stage = _stage(rng, s)
        axis = _axis(rng, stage)
        return False if axis is None else act(rng, s, stage, axis)

    return draw


def _split(rng: Random, s: Schedule, stage, axis) -> None:
    stage.split(axis, **{rng.choice(("factor", "nparts")): rng.choice(FACTORS)})


def _fuse(rng: Random, s: Schedule, stage, axis) -> object:
    leaves = stage.leaf_iter_vars
    pairs = [i for i in range(len(leaves) - 1) if leaves[i].kind is leaves[i + 1].kind]
    if not pairs:
        return False
    at = rng.choice(pairs)
    stage.fuse(*leaves[at : at + rng.choice((2, 2, 2, 3))])
    return None


def _reorder(rng: Random, s: Schedule, stage, axis) -> object:
    leaves = list(stage.leaf_iter_vars)
    if len(leaves) < 2:
        return False
    stage.reorder(*rng.sample(leaves, rng.randint(2, len(leaves))))
    return None


def _tile(rng: Random, s: Schedule, stage, axis) -> object:
    leaves = list(stage.leaf_iter_vars)
    if len(leaves) < 2:
        return False
    x, y = rng.sample(leaves, 2)
    stage.tile(x, y, rng.choice(FACTORS), rng.choice(FACTORS))
    return None


def _bind(rng: Random, s: Schedule, stage, axis) -> None:
    tag = rng.choice(("blockIdx.x", "blockIdx.y", "threadIdx.x", "threadIdx.y", "vthread"))
    stage.bind(axis, te.thread_axis(tag) if rng.random() < 0.5 else tag)


def _align(rng: Random, s: Schedule, stage) -> object:
    if not stage.op.axis:
        return False
    factor = rng.choice((2, 4, 8, 16))
    stage.storage_align(rng.choice(stage.op.axis), factor, rng.randrange(factor))
    return None


def _pragma(rng: Random, s: Schedule, stage, axis) -> None:
    name = rng.choice([p for p in PRAGMAS if p != "debug_skip_region"])
    stage.pragma(axis, name, rng.choice((1, 4, 16)))


def _predicate(rng: Random, s: Schedule, stage, axis) -> object:
    axes = stage.op.axis
    if not axes or not isinstance(stage.op, ComputeOp):
        return False
    chosen = rng.choice(axes)
    condition = (chosen.var >= 0, chosen.var < chosen.extent, chosen.var * 2 + 1 > chosen.var)[rng.randrange(3)]
    stage.set_store_predicate(condition)
    return None


def _prefetch(rng: Random, s: Schedule, stage, axis) -> object:
    if not stage.op.inputs:
        return False
    stage.prefetch(rng.choice(stage.op.inputs), axis, rng.choice((1, 2, 4)))
    return None


def _compute_at(rng: Random, program: Program, s: Schedule) -> object:
    stage = _inner_stage(rng, s)
    if stage is None:
        return False
    consumers = s.table.consumers(stage.state)
    if not consumers:
        return False
    host = s[rng.choice(consumers).op]
    axis = _axis(rng, host)
    if axis is None:
        return False
    stage.compute_at(host, axis)
    return None


def _on_stage(act: Callable) -> Callable[[Random, Program, Schedule], object]:
    def draw(rng: Random, program: Program, s: Schedule) -> object:
        stage = _inner_stage(rng, s)
        return False if stage is None else act(rng, s, stage)

    return draw


def _double_buffer(rng: Random, program: Program, s: Schedule) -> object:
    attached = [x for x in s.stages if x.state.attached is not None and not x.state.storage.double_buffer]
    if not attached:
        if _compute_at(rng, program, s) is False:
            return False
        attached = [x for x in s.stages if x.state.attached is not None]
    rng.choice(attached).double_buffer()
    return None


def _transform(rng: Random, s: Schedule, stage) -> object:
    dims = len(stage.op.axis)
    if dims == 0:
        return False
    order = rng.sample(range(dims), dims)
    factor = rng.choice((2, 3, 4))
    cut = rng.randrange(dims)

    def layout(*axes):
        new = [axes[d] for d in order]
        return (
            new
            if rng.random() < 0.3
            else [axes[cut] // factor, *(a for a in new if a is not axes[cut]), axes[cut] % factor]
        )

    stage.transform_layout(layout)
    return None


def _cache_read(rng: Random, program: Program, s: Schedule) -> object:
    sources = [x for x in s.stages if s.table.consumers(x.state)]
    stage = rng.choice(sources)
    readers = s.table.consumers(stage.state)
    chosen = rng.sample(readers, rng.randint(1, len(readers)))
    tensor = stage.op.output(rng.randrange(stage.op.num_outputs))
    s.cache_read(tensor, rng.choice(SCOPES), [r.op for r in chosen])
    return None


def _cache_write(rng: Random, program: Program, s: Schedule) -> None:
    op = _stage(rng, s).op
    s.cache_write([op.output(c) for c in range(op.num_outputs)], rng.choice(SCOPES))


def _rfactor(rng: Random, program: Program, s: Schedule) -> object:
    stages = [x for x in s.stages if x.op.reduce_axis]
    if not stages:
        return False
    stage = rng.choice(stages)
    loops = [a for a in stage.leaf_iter_vars if a.kind.value == "reduce"]
    if not loops:
        return False
    s.rfactor(stage.op.output(0), rng.choice(loops), rng.randint(0, len(stage.op.axis)))
    return None


def _tensorize(rng: Random, program: Program, s: Schedule) -> object:
    if not program.intrinsics:
        return False
    tensor, factors, intrinsic = rng.choice(program.intrinsics)
    stage = s[tensor]
    if any(stage.state.loop(a).intrinsic for a in stage.leaf_iter_vars):
        return False
    inner = []
    for axis in list(stage.leaf_iter_vars):
        factor = factors.get(axis.name)
        if factor is not None:
            inner.append(stage.split(axis, factor=factor)[1])
    if len(inner) != len(factors) or any(stage.state.loop(a).kind is not ForKind.SERIAL for a in inner):
        return False
    stage.reorder(*(a for a in stage.leaf_iter_vars if a not in inner), *inner)
    stage.tensorize(inner[0], intrinsic)
    return None


DRAWS: dict[str, Callable[[Random, Program, Schedule], object]] = {
    "split": _on_axis(_split),
    "fuse": _on_axis(_fuse),
    "reorder": _on_axis(_reorder),
    "tile": _on_axis(_tile),
    "vectorize": _on_axis(lambda rng, s, stage, axis: stage.vectorize(axis)),
    "unroll": _on_axis(lambda rng, s, stage, axis: stage.unroll(axis)),
    "parallel": _on_axis(lambda rng, s, stage, axis: stage.parallel(axis)),
    "bind": _on_axis(_bind),
    "pragma": _on_axis(_pragma),
    "stream": _on_axis(lambda rng, s, stage, axis: stage.stream(axis)),
    "prefetch": _on_axis(_prefetch),
    "storage_align": _on_stage(_align),
    "set_store_predicate": _on_axis(_predicate),
    "compute_at": _compute_at,
    "compute_inline": _on_stage(lambda rng, s, stage: stage.compute_inline()),
    "compute_root": _on_stage(lambda rng, s, stage: stage.compute_root()),
    "set_scope": _on_stage(lambda rng, s, stage: stage.set_scope(rng.choice(SCOPES))),
    "double_buffer": _double_buffer,
    "transform_layout": _on_stage(_transform),
    "cache_read": _cache_read,
    "cache_write": _cache_write,
    "rfactor": _rfactor,
    "tensorize": _tensorize,
}
