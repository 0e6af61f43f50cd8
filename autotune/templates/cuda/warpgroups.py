"""Products of matrices on the tensor cores of sm_90a: rings of tiles, filled by the bulk copy engine, read by wgmma.

for tile of C, over blockIdx, or again and again by as many blocks as there are multiprocessors:
    for warpgroup over threadIdx.y:
        C_warpgroup = 0                                # 64 rows or more in the registers of 128 threads
        for k_o:                                       # pipelined: a producer copies, the others compute
            A_shared[m, k], B_shared[k, n] = tiles     # boxes, with zeros for what is outside
            C_warpgroup += A_shared * B_shared         # one instruction for 64 x width x 16
        C = C_warpgroup                                # directly, or in whole rows by way of shared memory
"""

from __future__ import annotations

from typing import Any

from ....ir.arith import int_value
from ....ir.dtype import dtype_of
from ....ir.gpu import MOST_REGISTERS
from ....schedule.schedule import Schedule
from ....schedule.stage import Stage
from ....te.axis import Axis
from ....te.operation import ComputeOp
from ....te.operators.wgmma import DEPTH, KINDS, ROWS, wgmma
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target
from ..register_tile import size
from .gemm import Operand, operands_of, reduction_of

WARPGROUP = 128  # threads
ROW_BYTES = 128  # of a shared tile, as its swizzle permutes them
ALIGN_BYTES = 16  # of a row in memory that the bulk copy engine can step over
BLOCK_ROWS = (64, 128, 192, 256)
BLOCK_COLUMNS = (32, 64, 96, 128, 192, 256)
STAGES = (2, 3, 4, 5, 6, 7)
GROUPS = (1, 2, 4, 8, 16)  # rows of tiles that blocks walk down together
CLUSTERS = ((1, 1), (2, 1), (1, 2))
REGISTERS = {1: (56, 240), 2: (40, 232), 3: (32, 160)}  # of the producer's threads and the others', by warpgroups
BASE_REGISTERS = 40  # of a thread, besides its sums
RESERVED_BYTES = 2048  # of shared memory, for barriers and alignment


def is_possible(op: ComputeOp) -> bool:
    """Tell whether a product is one for warpgroups: of halves, and of rows that the bulk copy engine can step over."""
    target, kinds = get_target(), {str(t.dtype) for t in op.inputs}
    if target.kind != "cuda" or not (target.gpu.exact and target.gpu.capability == 90) or len(op.axis) != 2:
        return False
    if len(kinds) != 1 or not kinds <= set(KINDS) or str(op.body[0].dtype) != "float32":
        return False
    depth = size(op.reduce_axis[0])
    if depth < ROW_BYTES // 2 and depth % DEPTH:  # a slice is a whole number of instructions
        return False
    rows = (int_value(operand.tensor.shape[operand.last]) for operand in operands_of(op))
    return all(elements is not None and elements * 2 % ALIGN_BYTES == 0 for elements in rows)


def schedule(cfg: Knobs, s: Schedule) -> None:
    """Schedule a product, and what is computed elementwise from it, as one kernel."""
    product, out = reduction_of(s), s[s.outputs[0]]
    assert isinstance(product.op, ComputeOp)
    _define(cfg, product.op, out)
    for stage in s.stages:
        if stage.state.compute and stage.state.id not in (product.state.id, out.state.id):
            stage.compute_inline()
    operands = operands_of(product.op)
    sums = product.op.output(0)
    if product.state.id == out.state.id:
        cache = s.cache_write(sums, "warpgroup")
        assert isinstance(cache, Tensor)
        sums = cache
    else:
        product.set_scope("warpgroup")
    _result(cfg, s, sums, out)
    _sum(cfg, s, sums, operands)


def _define(cfg: Knobs, op: ComputeOp, out: Stage) -> None:
    """Define the knobs; the default is a large tile where the result has enough of them."""
    m, n = (size(axis) for axis in op.axis)
    gpu = get_target().gpu
    result_bytes = out.op.results[0][1].bytes
    rows = [r for r in BLOCK_ROWS if r == BLOCK_ROWS[0] or r < 2 * m]
    across = operands_of(op)[1]
    whole = ROW_BYTES // 2 if across.last == across.kept else 1  # rows of its tile lie along the columns
    columns = [c for c in BLOCK_COLUMNS if c % whole == 0 and (c <= 64 or c < 2 * n)]
    large = m * n >= 128 * 256 * gpu.multiprocessors
    stored = n * result_bytes >= ROW_BYTES and n * result_bytes % ALIGN_BYTES == 0
    staged = ["", "threads", "engine"] if stored else ["", "threads"]
    cfg.define_knob("rows", rows, default=min(128, rows[-1]))
    cfg.define_knob("columns", columns, default=columns[-1] if large else min(128, columns[-1]))
    cfg.define_knob("warpgroups", [1, 2, 3], default=2 if rows[-1] >= 128 else 1)
    cfg.define_knob("stages", list(STAGES), default=4)
    cfg.define_knob("producer", [True, False])
    cfg.define_knob("persistent", [True, False], default=large)
    cfg.define_knob("cluster", list(CLUSTERS))
    cfg.define_knob("group", list(GROUPS), default=8 if large else 1)
    cfg.define_knob("staged", staged)

    def shared_bytes(r: Any, c: Any, stages: Any, way: Any) -> Any:
        tiles = stages.val * (r.val + c.val) * ROW_BYTES
        return tiles + (way.val != "") * r.val * (c.val + ALIGN_BYTES // result_bytes) * result_bytes

    def registers(r: Any, c: Any, w: Any) -> Any:
        return r.val * c.val // (WARPGROUP * w.val) + BASE_REGISTERS

    cfg.restrict(
        lambda r, c, k, way: shared_bytes(r, c, k, way) + RESERVED_BYTES <= gpu.shared_bytes,
        "rows", "columns", "stages", "staged",
    )  # fmt: skip
    cfg.restrict(lambda c, way: (way.val != "engine") | (c.val * result_bytes % ROW_BYTES == 0), "columns", "staged")
    cfg.restrict(lambda r, w: r.val % (w.val * ROWS) == 0, "rows", "warpgroups")
    cfg.restrict(lambda r, c, w: registers(r, c, w) <= MOST_REGISTERS, "rows", "columns", "warpgroups")
    cfg.define_feature("shared_bytes", shared_bytes, "rows", "columns", "stages", "staged")
    cfg.define_feature("registers", registers, "rows", "columns", "warpgroups")
    cfg.define_feature("tiles", lambda r, c: -(-m // r.val) * -(-n // c.val), "rows", "columns")


def _result(cfg: Knobs, s: Schedule, sums: Tensor, out: Stage) -> None:
    """Cut the result in tiles of blocks, and each in the rows of its warpgroups."""
    rows, columns, staged = cfg["rows"].val, cfg["columns"].val, cfg["staged"].val
    written = out
    if staged:
        copy = s.cache_write(out.op.output(0), "shared")
        assert isinstance(copy, Tensor)
        written = s[copy]
    block = _walk(cfg, out)
    if staged:
        written.compute_at(out, block)
        for axis, extent in zip(written.op.axis, (rows, columns), strict=True):
            written.align_bounds(axis, extent)
    if staged == "threads":
        vector = ALIGN_BYTES // out.op.results[0][1].bytes
        written.storage_align(written.op.axis[0], columns + vector, 0)
        _share(out, cfg["warpgroups"].val, vector)
    elif staged == "engine":
        written.swizzle("128B")
        out.bulk_store(out.leaf_iter_vars[-2])
    row = written.leaf_iter_vars[-2]
    warpgroup, _ = written.split(row, factor=rows // cfg["warpgroups"].val)
    written.bind(warpgroup, "threadIdx.y")
    s[sums].compute_at(written, warpgroup)


def _walk(cfg: Knobs, out: Stage) -> Axis:
    """Bind the tiles of the result to blocks; give the innermost of their loops."""
    (below, beside), gpu = cfg["cluster"].val, get_target().gpu
    rows, columns = out.op.axis
    tile_y, rows = out.split(rows, factor=cfg["rows"].val * below)
    peer_y, rows = out.split(rows, factor=cfg["rows"].val)
    tile_x, columns = out.split(columns, factor=cfg["columns"].val * beside)
    peer_x, columns = out.split(columns, factor=cfg["columns"].val)
    group, tile_y = out.split(tile_y, factor=cfg["group"].val)
    out.reorder(group, tile_x, tile_y, peer_y, peer_x, rows, columns)
    tile = out.fuse(group, tile_x, tile_y)
    if cfg["persistent"].val:
        _, tile = out.split(tile, factor=gpu.multiprocessors // (below * beside))
    out.bind(tile, "blockIdx.z")
    for axis, thread, peers in ((peer_y, "blockIdx.x", below), (peer_x, "blockIdx.y", beside)):
        out.bind(axis, thread)
        if peers > 1:
            out.cluster(axis)
    return peer_x


def _share(out: Stage, warpgroups: int, vector: int) -> None:
    """Let all threads store neighbouring elements of a tile."""
    rows, columns = out.leaf_iter_vars[-2:]
    columns, lane = out.split(columns, factor=vector)
    rest = out.fuse(rows, columns)
    rest, x = out.split(rest, factor=WARPGROUP)
    _, y = out.split(rest, factor=warpgroups)
    out.bind(x, "threadIdx.x")
    out.bind(y, "threadIdx.y")
    out.vectorize(lane)


def _sum(cfg: Knobs, s: Schedule, sums: Tensor, operands: tuple[Operand, Operand]) -> None:
    """Sum up slice after slice: the ring of the operands' tiles, and one instruction for each small product."""
    stage, warpgroups = s[sums], cfg["warpgroups"].val
    rows, columns = cfg["rows"].val, cfg["columns"].val
    width = max(w for w in range(8, 257, 8) if columns % w == 0)
    depth = ROW_BYTES // 2
    i, j = stage.op.axis
    stage.align_bounds(i, rows // warpgroups)
    stage.align_bounds(j, columns)
    i_o, i_i = stage.split(i, factor=ROWS)
    j_o, j_i = stage.split(j, factor=width)
    slices, step = stage.split(stage.op.reduce_axis[0], factor=depth)
    step, term = stage.split(step, factor=DEPTH)
    stage.reorder(slices, step, i_o, j_o, i_i, j_i, term)
    left, right = operands
    dtype = str(left.tensor.dtype)
    assert dtype_of(dtype).bytes == 2
    stage.tensorize(i_i, wgmma(dtype, width, left.last == left.kept, right.last != right.kept))
    for axis in (step, i_o, j_o):
        stage.unroll(axis)
    for operand, extent in ((left, rows), (right, columns)):
        tile = s[s.cache_read(operand.tensor, "shared", [sums])]
        tile.compute_at(stage, slices)
        tile.align_bounds(tile.op.axis[operand.kept], extent)
        tile.align_bounds(tile.op.axis[operand.summed], depth)
        tile.swizzle("128B")
    stage.pipeline(slices, cfg["stages"].val, "tma")
    if cfg["producer"].val:
        stage.warp_specialize(slices, *REGISTERS[warpgroups])
