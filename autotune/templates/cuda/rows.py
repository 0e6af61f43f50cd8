"""Programs without products on GPUs: elementwise ones, reductions, and rows normalized by what their elements give.

They move bytes: the knobs are how many threads work on a row, how wide their accesses are, and where a row that is read
more than once stays meanwhile.
"""

from __future__ import annotations

from math import prod

from ....ir.arith import int_value
from ....ir.expr import Var
from ....ir.visit import of_kind, variables
from ....schedule.gpu_defaults import bind_to_gpu
from ....schedule.schedule import Schedule
from ....schedule.stage import Stage
from ....schedule.table import can_inline, rough_extent
from ....te.axis import Axis
from ....te.nodes import Read
from ....te.operation import ComputeOp
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target

MOST_THREADS = 1024
SHARES = (32, 64, 128, 256, 512, 1024)  # threads that may share one row
VECTOR_BYTES = 16
PARTS = (1, 32, 132, 528)  # blocks that a reduction to few results may be cut in


def schedule_stages(cfg: Knobs, s: Schedule) -> None:
    """Define and apply the knobs of every stage that computes; elementwise producers are inlined."""
    for stage in s.stages:
        if can_inline(s.table, stage.state):
            stage.compute_inline()
    left = [stage for stage in s.stages if stage.state.compute and stage.state.is_root]
    *before, last = left
    if before and _are_statistics(s, before, last):
        _normalized_rows(cfg, s, before, last)
        return
    for stage in left:
        if stage.op.reduce_axis and stage.op.axis is not None:
            _reduction(cfg, s, stage)
        else:
            _elementwise(cfg, stage)


def _lanes(stage: Stage, columns: int, most: int = VECTOR_BYTES) -> list[int]:
    """Give the widths of accesses that divide a row."""
    size = max(dtype.bytes for _, dtype in stage.op.results)
    return [n for n in (1, 2, 4, 8, 16) if n * size <= most and columns % n == 0]


# -- elementwise ----------------------------------------------------------------------------------------------------


def _elementwise(cfg: Knobs, stage: Stage) -> None:
    """Give every thread some vectors of neighbouring elements."""
    name = stage.state.id
    axes = list(stage.op.axis)
    if not axes or any(a.size is None for a in axes) or len(stage.op.results) > 1:
        bind_to_gpu(stage)
        return
    lanes = _lanes(stage, rough_extent(axes[-1]))
    cfg.define_knob(f"threads_{name}", [64, 128, 256, 512, 1024], default=256)
    cfg.define_knob(f"lanes_{name}", lanes, default=lanes[-1])
    cfg.define_knob(f"items_{name}", [1, 2, 4, 8], default=1)
    axes[-1], lane = stage.split(axes[-1], factor=cfg[f"lanes_{name}"].val)
    stage.reorder(*axes, lane)
    whole = stage.fuse(*axes) if len(axes) > 1 else axes[0]
    whole, thread = stage.split(whole, factor=cfg[f"threads_{name}"].val)
    block, item = stage.split(whole, factor=cfg[f"items_{name}"].val)
    stage.reorder(block, item, thread, lane)
    stage.bind(block, "blockIdx.x")
    stage.bind(thread, "threadIdx.x")
    stage.unroll(item)
    stage.vectorize(lane)


# -- reductions -----------------------------------------------------------------------------------------------------


def _reduction(cfg: Knobs, s: Schedule, stage: Stage) -> None:
    """Let threads share each result; where there are few, blocks too, and a second kernel adds up their parts."""
    name = stage.state.id
    if any(a.size is None for a in (*stage.op.axis, *stage.op.reduce_axis)):
        bind_to_gpu(stage)
        return
    results = prod(rough_extent(a) for a in stage.op.axis)
    length = prod(rough_extent(a) for a in stage.op.reduce_axis)
    parts = [p for p in PARTS if p == 1 or (results * p <= 1 << 16 and length >= 64 * p)]
    cfg.define_knob(f"parts_{name}", parts, default=parts[-1])
    if cfg[f"parts_{name}"].val > 1:
        reduce = list(stage.op.reduce_axis)
        whole = stage.fuse(*reduce) if len(reduce) > 1 else reduce[0]
        part, _ = stage.split(whole, nparts=cfg[f"parts_{name}"].val)
        partial = s.rfactor(stage.op.output(0), part)
        first = partial if isinstance(partial, Tensor) else partial[0]
        _share(cfg, s, s[first], name)
        bind_to_gpu(stage)
        return
    _share(cfg, s, stage, name)


def _share(cfg: Knobs, s: Schedule, stage: Stage, name: str) -> None:
    """Bind a reduction: neighbouring threads read neighbouring elements, along the sum or along the results."""
    if _sums_along_rows(stage):
        _share_rows(cfg, s, stage, name)
    else:
        _share_columns(cfg, stage, name)


def _sums_along_rows(stage: Stage) -> bool:
    """Tell whether the innermost dimension of what is read is summed over."""
    compute = stage.op
    assert isinstance(compute, ComputeOp)
    reduced: set[Var] = {a.var for a in compute.reduce_axis}
    reads = [r for body in compute.body for r in of_kind(body, Read) if r.indices]
    return not compute.axis or any(variables(r.indices[-1]) & reduced for r in reads)


def _share_rows(cfg: Knobs, s: Schedule, stage: Stage, name: str) -> None:
    spatial, reduce = list(stage.op.axis), [a for a in stage.leaf_iter_vars if a not in stage.op.axis]
    whole = stage.fuse(*reduce) if len(reduce) > 1 else reduce[0]
    columns = prod(rough_extent(a) for a in stage.op.reduce_axis)
    _define_row(cfg, name, columns, [1])
    _, lane = stage.split(whole, factor=cfg[f"share_{name}"].val)
    stage.bind(lane, "threadIdx.x")
    if not spatial:
        return
    rows = stage.fuse(*spatial) if len(spatial) > 1 else spatial[0]
    _bind_rows(cfg, stage, rows, name)


def _share_columns(cfg: Knobs, stage: Stage, name: str) -> None:
    spatial, reduce = list(stage.op.axis), [a for a in stage.leaf_iter_vars if a not in stage.op.axis]
    whole = stage.fuse(*reduce) if len(reduce) > 1 else reduce[0]
    cfg.define_knob(f"columns_{name}", [32, 64, 128], default=32)
    cfg.define_knob(f"depth_{name}", [1, 4, 8, 16, 32], default=8)
    cfg.restrict(lambda c, d: c.val * d.val <= MOST_THREADS, f"columns_{name}", f"depth_{name}")
    results = stage.fuse(*spatial) if len(spatial) > 1 else spatial[0]
    block, column = stage.split(results, factor=cfg[f"columns_{name}"].val)
    stage.bind(block, "blockIdx.x")
    stage.bind(column, "threadIdx.x")
    _, shared = stage.split(whole, factor=cfg[f"depth_{name}"].val)
    stage.bind(shared, "threadIdx.y")


def _define_row(cfg: Knobs, name: str, columns: int, lanes: list[int]) -> None:
    """Define how many threads share a row, how wide each accesses it, and how many rows a block has."""
    shares = [t for t in SHARES if t == SHARES[0] or t * lanes[-1] < 2 * columns]
    wanted = [t for t in shares if t * lanes[-1] * 4 <= columns] or shares[:1]
    cfg.define_knob(f"share_{name}", shares, default=min(wanted[-1], 256))
    cfg.define_knob(f"lanes_{name}", lanes, default=lanes[-1])
    cfg.define_knob(f"rows_{name}", [1, 2, 4, 8], default=4 if wanted[-1] == 32 else 1)
    cfg.restrict(lambda t, r: t.val * r.val <= MOST_THREADS, f"share_{name}", f"rows_{name}")


def _bind_rows(cfg: Knobs, stage: Stage, rows: Axis, name: str) -> Axis:
    """Bind rows to blocks, several to each; give the innermost loop over them."""
    count = cfg[f"rows_{name}"].val
    block, row = stage.split(rows, factor=count)
    stage.bind(block, "blockIdx.x")
    if count == 1:
        return block
    stage.bind(row, "threadIdx.y")
    return row


# -- rows that are normalized ---------------------------------------------------------------------------------------


def _are_statistics(s: Schedule, before: list[Stage], last: Stage) -> bool:
    """Tell whether all stages before the last give one value for each of its rows."""
    shape = [a.size for a in last.op.axis]
    kept = {len(stage.op.axis) for stage in before}
    if last.op.reduce_axis or None in shape or len(kept) != 1 or not 0 < (dims := kept.pop()) < len(shape):
        return False
    return all(
        stage.op.reduce_axis and [a.size for a in stage.op.axis] == shape[:dims] and _sums_along_rows(stage)
        for stage in before
    )


def _normalized_rows(cfg: Knobs, s: Schedule, statistics: list[Stage], last: Stage) -> None:
    """Compute the statistics of a row by the threads that then write it; the row may stay in shared memory."""
    dims = len(statistics[0].op.axis)
    axes = list(last.op.axis)
    columns = prod(rough_extent(a) for a in axes[dims:])
    widths = _lanes(last, rough_extent(axes[-1]))
    _define_row(cfg, "row", columns, widths)
    source = _row_input(statistics, last)
    size = columns * (source.dtype.bytes if source is not None else 4)
    fits = source is not None and size <= get_target().gpu.shared_bytes
    cfg.define_knob("keep", ["nothing", "shared"] if fits else ["nothing"])
    cfg.restrict(lambda k, r: (k.val != "shared") | (r.val * size <= 96 << 10), "keep", "rows_row")
    share, lanes = cfg["share_row"].val, cfg["lanes_row"].val
    rows = last.fuse(*axes[:dims]) if dims > 1 else axes[0]
    column = last.fuse(*axes[dims:]) if len(axes) - dims > 1 else axes[-1]
    row = _bind_rows(cfg, last, rows, "row")
    _spread(last, column, share, lanes)
    if cfg["keep"].val == "shared" and source is not None:
        kept = s.cache_read(source, "shared", [*(stage.op for stage in statistics), last.op])
        assert isinstance(kept, Tensor)
        s[kept].compute_at(last, row)
        own = list(s[kept].op.axis)
        s[kept].fuse(*own[:dims]) if dims > 1 else None
        _spread(s[kept], s[kept].fuse(*own[dims:]) if len(own) - dims > 1 else own[-1], share, lanes)
        source = kept
    for stage in statistics:
        stage.compute_at(last, row)
        stage.set_scope("local")
        reduce = list(stage.op.reduce_axis)
        whole = stage.fuse(*reduce) if len(reduce) > 1 else reduce[0]
        whole, lane = stage.split(whole, factor=lanes)
        outer, thread = stage.split(whole, factor=share)
        stage.bind(thread, "threadIdx.x")
        stage.unroll(lane)
        if lanes > 1 and source is not None:
            _read_wide(s, stage, source, outer, lanes)


def _row_input(statistics: list[Stage], last: Stage) -> Tensor | None:
    """Give the tensor that all of them read whole rows of, if there is one."""
    shape = [a.size for a in last.op.axis]
    for tensor in last.op.inputs:
        if list(map(int_value, tensor.shape)) == shape and all(
            any(t.op is tensor.op for t in stage.op.inputs) for stage in statistics
        ):
            return tensor
    return None


def _spread(stage: Stage, column: Axis, share: int, lanes: int) -> None:
    """Give neighbouring vectors of a row to neighbouring threads."""
    column, lane = stage.split(column, factor=lanes)
    _, thread = stage.split(column, factor=share)
    stage.bind(thread, "threadIdx.x")
    stage.vectorize(lane)


def _read_wide(s: Schedule, stage: Stage, source: Tensor, loop: Axis, lanes: int) -> None:
    """Load what one iteration of a reduction reads by one access."""
    if not any(t.op is source.op for t in stage.op.inputs):
        return
    copy = s.cache_read(source, "local", [stage.op])
    assert isinstance(copy, Tensor)
    s[copy].compute_at(stage, loop)
    _, lane = s[copy].split(s[copy].op.axis[-1], factor=lanes)
    s[copy].vectorize(lane)
