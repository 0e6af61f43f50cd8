"""Schedules that need no tuning: what `autotune` compares with, and what a program gets that nobody has scheduled."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.target import Target
from ..te.axis import Axis
from ..te.operation import Operation
from ..te.tensor import Tensor
from .gpu_defaults import bind_to_gpu
from .schedule import Schedule, create_schedule
from .stage import Stage
from .table import can_inline, is_reduction, rough_extent

TILE_ROWS = 4  # elements of the second innermost dimension that one register tile holds
PARALLEL_ELEMENTS = 4096  # least number of results that are worth handing to threads


def default_schedule(outputs: Tensor | Operation | Sequence[Tensor | Operation], target: Target) -> Schedule:
    """Give a schedule for `target` that is sound for every program and sensible for most.

    Elementwise producers are inlined.  On a CPU every other stage runs its outer dimensions in parallel and its
    innermost one in vector lanes, and a reduction keeps a register tile of results over its reduction loops; for a GPU
    see `gpu_defaults`.
    """
    schedule = create_schedule(outputs)
    for stage in schedule.stages:
        if _can_inline(schedule, stage):
            stage.compute_inline()
    lanes = max(1, (target.vector_bits or 128) // 32)
    for stage in schedule.stages:
        if stage.state.compute and stage.state.is_root:
            if target.kind == "cuda":
                bind_to_gpu(stage)
            else:
                _tile(stage, lanes)
    return schedule


def _can_inline(schedule: Schedule, stage: Stage) -> bool:
    """Tell whether every element is read at most once per element of what reads it."""
    consumers = schedule.table.consumers(stage.state)
    return can_inline(schedule.table, stage.state) and not any(map(is_reduction, consumers))


def _tile(stage: Stage, lanes: int) -> None:
    spatial = list(stage.op.axis)
    reduce = list(stage.op.reduce_axis)
    if not spatial:
        return
    inner: list[Axis] = []
    last = spatial.pop()
    if rough_extent(last) >= 2:
        outer, lane = stage.split(last, factor=min(lanes, rough_extent(last)))
        spatial.append(outer)
        inner.append(lane)
    else:
        spatial.append(last)
    if reduce and inner and len(spatial) >= 2 and rough_extent(spatial[-2]) >= TILE_ROWS:
        outer, row = stage.split(spatial[-2], factor=TILE_ROWS)
        spatial[-2] = outer
        inner.insert(0, row)
    stage.reorder(*spatial, *reduce, *inner)
    for axis in inner[:-1]:
        stage.unroll(axis)
    if inner:
        stage.vectorize(inner[-1])
    _parallelise(stage, spatial)


def _parallelise(stage: Stage, outer: list[Axis]) -> None:
    """Run the outer dimensions on threads, fused as far as needed to have enough of them."""
    elements = 1
    for axis in stage.op.axis:
        elements *= rough_extent(axis)
    if elements < PARALLEL_ELEMENTS:
        return
    fused = stage.fuse(*outer[:-1]) if len(outer) > 2 else outer[0]
    stage.parallel(fused)
