"""Default schedules for GPUs: every result has a thread, or, where there are few and each sums up much, a block."""

from __future__ import annotations

from math import prod

from ..ir.gpu import WARP
from ..te.axis import Axis
from .stage import Stage
from .table import rough_extent

THREADS = 256  # of a block
VECTOR_BYTES = 16
MANY_RESULTS = 1 << 14  # as many threads as a GPU wants: from here on each may sum up alone
LONG_SUM = 32  # iterations from which on threads share a reduction


def bind_to_gpu(stage: Stage) -> None:
    """Bind the loops of a stage that is computed whole to blocks and threads."""
    spatial, reduce = list(stage.op.axis), list(stage.op.reduce_axis)
    results = prod(map(rough_extent, spatial))
    length = prod(map(rough_extent, reduce))
    if reduce and results < MANY_RESULTS and length >= LONG_SUM and all(a.size is not None for a in reduce):
        _share_reductions(stage, spatial, reduce, length)
    else:
        _one_thread_each(stage, spatial, reduce)


def _share_reductions(stage: Stage, spatial: list[Axis], reduce: list[Axis], length: int) -> None:
    """Let a warp, or a block for long sums, reduce for one result."""
    threads = WARP if length < 8 * THREADS else THREADS
    results = stage.fuse(*spatial) if len(spatial) > 1 else None if not spatial else spatial[0]
    whole = stage.fuse(*reduce) if len(reduce) > 1 else reduce[0]
    _, lane = stage.split(whole, factor=threads)
    stage.bind(lane, "threadIdx.x")
    if results is None:
        return
    if threads == WARP:
        results, row = stage.split(results, factor=THREADS // WARP)
        stage.bind(row, "threadIdx.y")
    stage.bind(results, "blockIdx.x")


def _one_thread_each(stage: Stage, spatial: list[Axis], reduce: list[Axis]) -> None:
    """Give neighbouring results to neighbouring threads, several to a thread where a vector moves them at once."""
    if not spatial:
        return
    lanes = VECTOR_BYTES // max(dtype.bytes for _, dtype in stage.op.results)
    last = spatial[-1]
    inner: list[Axis] = []
    if not reduce and len(stage.op.results) == 1 and last.size is not None and last.size % lanes == 0 and lanes > 1:
        spatial[-1], lane = stage.split(last, factor=lanes)
        inner = [lane]
    stage.reorder(*spatial, *reduce, *inner)
    whole = stage.fuse(*spatial) if len(spatial) > 1 else spatial[0]
    block, thread = stage.split(whole, factor=THREADS)
    stage.bind(block, "blockIdx.x")
    stage.bind(thread, "threadIdx.x")
    if inner:
        stage.vectorize(inner[0])
