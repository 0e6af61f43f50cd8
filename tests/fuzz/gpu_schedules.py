"""Random GPU schedules: blocks, threads and virtual threads, shared copies, shared reductions, pipelines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from random import Random

from tilewright.codegen.cuda.text.emit import emit
from tilewright.ir.errors import CodegenError, ScheduleError, TargetError
from tilewright.ir.stmt import ForKind
from tilewright.ir.target import Target
from tilewright.schedule import create_schedule, lower
from tilewright.schedule.schedule import Schedule
from tilewright.te.axis import AxisKind
from tilewright.te.operation import PlaceholderOp

from .programs import Program
from .schedules import DRAWS, Drawn

TARGET = Target.parse("cuda -arch=sm_80")
THREADS = (2, 3, 4, 8, 16, 32)
REFUSALS = (ScheduleError, CodegenError, TargetError)
MOST_THREADS = 256  # of a block: emulated threads take time

Draw = Callable[[Random, Program, Schedule], object]


@dataclass(slots=True)
class GpuDrawn(Drawn):
    """A random GPU schedule; refusals of code generation are counted with those of the steps."""

    why: dict[str, int] = field(default_factory=dict)


def random_gpu_schedule(rng: Random, program: Program, steps: int) -> GpuDrawn:
    """Give a schedule whose stages at the root are bound to blocks and threads, and of `steps` further steps."""
    drawn = GpuDrawn(create_schedule([t.op for t in program.outputs]))
    first = rng.choice(("inline", "inline", "accumulator", "share_reduction"))
    for name in (first, "bind_root", "bind_root"):
        _attempt(rng, program, drawn, name)
    attempts = 0
    wanted = len(drawn.schedule.steps) + steps
    while len(drawn.schedule.steps) < wanted and attempts < 60:
        attempts += 1
        _attempt(rng, program, drawn, rng.choice((*GPU_DRAWS, *OFTEN)))
    for _ in drawn.schedule.stages:
        _attempt(rng, program, drawn, "bind_root")
    return drawn


def _attempt(rng: Random, program: Program, drawn: GpuDrawn, name: str) -> None:
    """Try one step; take it back if it, or the kernels after it, are refused."""
    s = drawn.schedule
    before, table, sites = s.steps, s.table, list(s._sites)
    try:
        if GPU_DRAWS[name](rng, program, s) is False:
            s.steps, s.table, s._sites = before, table, sites
            return
        made = emit([lower(s, [*program.inputs, *program.outputs])], TARGET)
        if any(prod(launch.block) > MOST_THREADS for launch in made.launches):
            raise TargetError("fuzz", "too many threads for a test")
    except REFUSALS as error:
        drawn.refused[name] += 1
        drawn.why[f"{name}: {error.fact[:60]}"] = drawn.why.get(f"{name}: {error.fact[:60]}", 0) + 1
        s.steps, s.table, s._sites = before, table, sites
        return
    drawn.taken[name] += len(s.steps) > len(before)


def _computed(s: Schedule) -> list:
    return [x for x in s.stages if not isinstance(x.op, PlaceholderOp) and x.state.compute]


def _serial(stage, *kinds: AxisKind) -> list:
    return [
        a
        for a in stage.leaf_iter_vars
        if stage.state.loop(a).kind is ForKind.SERIAL and (not kinds or a.kind in kinds) and a.size is not None
    ]


def _inline(rng: Random, program: Program, s: Schedule) -> object:
    stages = [x for x in _computed(s) if not x.state.is_output and not x.op.reduce_axis]
    if not stages:
        return False
    rng.choice(stages).compute_inline()
    return None


def _bind_root(rng: Random, program: Program, s: Schedule) -> object:
    """Bind the spatial loops of a stage at the root: to blocks, sometimes virtual threads, and threads."""
    free = [
        x
        for x in _computed(s)
        if x.state.is_root and x.op.axis and not any(x.state.loop(a).thread for a in x.leaf_iter_vars)
    ]
    if not free:
        return False
    stage = rng.choice(free)
    spatial = _serial(stage, AxisKind.SPATIAL)
    if not spatial:
        return False
    block, thread = [], []
    for tag, axis in zip("xyz", spatial[:2], strict=False):
        outer, inner = stage.split(axis, factor=rng.choice(THREADS))
        if rng.random() < 0.3:
            virtual, inner = stage.split(inner, nparts=2)
            stage.bind(virtual, "vthread")
            block.append(outer)
            thread += [virtual]
        else:
            block.append(outer)
        stage.bind(outer, f"blockIdx.{tag}")
        if rng.random() < 0.4:
            lane, rest = stage.split(inner, nparts=rng.choice((2, 4, 8)))
            stage.bind(lane, f"threadIdx.{tag}")
            thread += [lane, rest]
        else:
            stage.bind(inner, f"threadIdx.{tag}")
            thread.append(inner)
    bound = [a for a in (*block, *thread) if stage.state.loop(a).thread]
    others = [a for a in stage.leaf_iter_vars if a not in bound]
    order = {"blockIdx": 0, "vthread": 1, "threadIdx": 2}
    bound.sort(key=lambda a: order[stage.state.loop(a).thread.partition(".")[0]])
    stage.reorder(*bound, *others)
    return None


def _shared_copy(rng: Random, program: Program, s: Schedule) -> object:
    """Keep what a stage reads in shared memory, loaded by all threads of the block within one of its loops."""
    stage = rng.choice(_computed(s))
    loops = [a for a in stage.leaf_iter_vars if a.size is not None]
    unbound = stage.state.is_root and not any(stage.state.loop(a).thread for a in loops)
    if not loops or not stage.op.inputs or unbound:
        return False
    tensor = rng.choice(stage.op.inputs)
    copy = s.cache_read(tensor, rng.choice(("shared", "shared", "shared", "local")), [stage.op])
    s[copy].compute_at(stage, rng.choice(loops))
    if s[copy].scope == "shared" and rng.random() < 0.85:
        _share_out(rng, s[copy])
    return None


def _share_out(rng: Random, stage) -> None:
    """Let the threads of the block share the loops of a stage."""
    axes = list(stage.op.axis)
    if not axes:
        return
    whole = stage.fuse(*axes) if len(axes) > 1 else axes[0]
    if rng.random() < 0.3:
        whole, lane = stage.split(whole, factor=rng.choice((2, 4)))
        stage.vectorize(lane)
    for tag in rng.sample("xy", rng.randint(1, 2)):
        whole, thread = stage.split(whole, factor=rng.choice(THREADS))
        stage.bind(thread, f"threadIdx.{tag}")


def _shared_stage(rng: Random, program: Program, s: Schedule) -> object:
    """Compute a producer in a block, in shared memory or in registers."""
    stages = [x for x in _computed(s) if not x.state.is_output and x.state.is_root]
    if not stages:
        return False
    stage = rng.choice(stages)
    consumers = [c for c in s.table.consumers(stage.state) if c.compute]
    if not consumers:
        return False
    host = s[rng.choice(consumers).op]
    if not host.leaf_iter_vars:
        return False
    stage.compute_at(host, rng.choice(host.leaf_iter_vars))
    stage.set_scope(rng.choice(("shared", "shared", "local")))
    if stage.scope == "shared" and rng.random() < 0.8 and not stage.state.relations:
        _share_out(rng, stage)
    return None


def _accumulator(rng: Random, program: Program, s: Schedule) -> object:
    """Compute a result in registers of the thread that stores it."""
    stages = [x for x in _computed(s) if x.state.is_root and not x.state.relations and x.op.reduce_axis]
    if not stages:
        return False
    stage = rng.choice(stages)
    if rng.random() < 0.5 and (loops := _serial(stage, AxisKind.REDUCE)):
        outer, _ = stage.split(rng.choice(loops), factor=rng.choice((2, 4)))
        stage.reorder(outer, *(a for a in stage.leaf_iter_vars if a is not outer))
    cache = s.cache_write([stage.op.output(c) for c in range(stage.op.num_outputs)], "local")
    first = cache if not isinstance(cache, list) else cache[0]
    _bind_root(rng, program, s)
    bound = [a for a in stage.leaf_iter_vars if stage.state.loop(a).thread.startswith("threadIdx")]
    if not bound:
        return False
    s[first].compute_at(stage, bound[-1])
    return None


def _share_reduction(rng: Random, program: Program, s: Schedule) -> object:
    stages = [x for x in _computed(s) if x.op.reduce_axis]
    if not stages:
        return False
    stage = rng.choice(stages)
    loops = _serial(stage, AxisKind.REDUCE)
    if not loops:
        return False
    axis = rng.choice(loops)
    stage.reorder(*(a for a in stage.leaf_iter_vars if a.kind is not AxisKind.REDUCE), *loops)
    if rng.random() < 0.8:
        _, axis = stage.split(axis, factor=rng.choice((2, 4, 5, 8, 32, 64)))
    stage.bind(axis, rng.choice(("threadIdx.x", "threadIdx.x", "threadIdx.y")))
    return None


def _pipeline(rng: Random, program: Program, s: Schedule) -> object:
    """Overlap a loop in which shared memory is filled."""
    hosts = [(s[s.table.stages[at.stage].op], at.axis) for x in _computed(s) if (at := x.state.attached) is not None]
    if not hosts:
        return False
    stage, axis = rng.choice(hosts)
    stages = rng.choice((2, 2, 3, 4))
    stage.pipeline(axis, stages, "register" if stages == 2 and rng.random() < 0.6 else "cp_async")
    return None


def _vectorize(rng: Random, program: Program, s: Schedule) -> object:
    stage = rng.choice(_computed(s))
    loops = _serial(stage, AxisKind.SPATIAL)
    if not loops:
        return False
    outer, inner = stage.split(loops[-1], factor=rng.choice((2, 4, 8)))
    del outer
    rest = [a for a in stage.leaf_iter_vars if a is not inner]
    stage.reorder(*rest, inner)
    stage.vectorize(inner)
    return None


def _unroll(rng: Random, program: Program, s: Schedule) -> object:
    stage = rng.choice(_computed(s))
    loops = _serial(stage)
    if not loops:
        return False
    stage.unroll(rng.choice(loops))
    return None


def _scope(rng: Random, program: Program, s: Schedule) -> object:
    stages = [x for x in _computed(s) if not x.state.is_output and x.state.attached is not None]
    if not stages:
        return False
    rng.choice(stages).set_scope(rng.choice(("shared", "local")))
    return None


def _swizzle(rng: Random, program: Program, s: Schedule) -> object:
    stages = [x for x in _computed(s) if x.scope == "shared"]
    if not stages:
        return False
    rng.choice(stages).swizzle("xor")
    return None


OFTEN = ("shared_copy", "shared_copy", "pipeline", "pipeline", "shared_stage", "bind_root")

GPU_DRAWS: dict[str, Draw] = {
    "inline": _inline,
    "bind_root": _bind_root,
    "shared_copy": _shared_copy,
    "shared_stage": _shared_stage,
    "accumulator": _accumulator,
    "share_reduction": _share_reduction,
    "pipeline": _pipeline,
    "vectorize": _vectorize,
    "unroll": _unroll,
    "scope": _scope,
    "swizzle": _swizzle,
} | {
    name: DRAWS[name]
    for name in ("split", "fuse", "reorder", "storage_align", "double_buffer", "cache_write", "rfactor")
}
