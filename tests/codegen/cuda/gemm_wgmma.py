"""Reference schedule: a matrix product on the tensor cores of sm_90a, with ragged sizes and a fused bias and relu.

    D (M, N) = relu(A (M, K) @ B (K, N) + bias (N,))

Read the schedule from the top: which tiles a block computes, what a warpgroup computes of a tile, how its operands
arrive.
"""

from __future__ import annotations

from dataclasses import dataclass

from tilewright import te
from tilewright.ir.dtype import dtype_of
from tilewright.schedule import Schedule, create_schedule
from tilewright.te import Tensor
from tilewright.te.operators.wgmma import wgmma

ROWS, DEPTH = 64, 16  # of one instruction


@dataclass(frozen=True)
class Tiles:
    """What a block and a warpgroup compute, and how their operands travel.

    block       rows, columns and depth of a block's tile; each warpgroup has `block[0] // warpgroups` of the rows
    width       columns of one instruction
    stages      iterations of the depth under way at once
    registers   of a thread of the producer and of the consumers; None without a producer of its own
    blocks      that walk over all tiles; None for a block for each tile
    cluster     blocks of a cluster, below and beside each other
    group       rows of tiles that blocks walk down together before they go on to the next columns
    swizzle     of the shared tiles
    staged      how results go through shared memory: by "threads" or by the "engine" from there, or "" for not at all
    """

    block: tuple[int, int, int] = (128, 256, 64)
    warpgroups: int = 2
    width: int = 256
    stages: int = 4
    registers: tuple[int, int] | None = (40, 232)
    blocks: int | None = None
    cluster: tuple[int, int] = (1, 1)
    group: int = 1
    swizzle: str = "128B"
    staged: str = ""


@dataclass(frozen=True)
class Gemm:
    """The tensors of one product; `schedule` has been applied."""

    arguments: tuple[Tensor, ...]
    schedule: Schedule


def gemm(
    m: int, n: int, k: int, dtype: str = "float16", out_dtype: str = "float32", tiles: Tiles | None = None,
    transpose_a: bool = False, transpose_b: bool = False,
) -> Gemm:  # fmt: skip
    """Give the scheduled product; A is (K, M) with `transpose_a`, B is (N, K) with `transpose_b`."""
    tiles = tiles or Tiles()
    a = te.placeholder((k, m) if transpose_a else (m, k), dtype, "A")
    b = te.placeholder((n, k) if transpose_b else (k, n), dtype, "B")
    bias = te.placeholder((n,), "float32", "bias")
    bm, bn, bk = tiles.block
    bm, bn = bm * tiles.cluster[0], bn * tiles.cluster[1]
    tile_a = padded(a, *((bk, bm) if transpose_a else (bm, bk)), "As")
    tile_b = padded(b, *((bn, bk) if transpose_b else (bk, bn)), "Bs")
    r = te.reduce_axis((0, tile_a.shape[0 if transpose_a else 1]), "k")
    rows, columns = tile_a.shape[1 if transpose_a else 0], tile_b.shape[0 if transpose_b else 1]

    def element(i: te.Var, j: te.Var) -> te.Expr:
        left, right = tile_a[(r, i) if transpose_a else (i, r)], tile_b[(j, r) if transpose_b else (r, j)]
        return te.sum(left.astype("float32") * right.astype("float32"), axis=r)

    product = te.compute((rows, columns), element, name="C")
    zero = te.const(0, "float32")
    result = te.compute((m, n), lambda i, j: te.max(product[i, j] + bias[j], zero).astype(out_dtype), name="D")
    schedule = create_schedule(result.op)
    intrinsic = wgmma(dtype, tiles.width, transpose_a, transpose_b)
    schedule_gemm(schedule, (tile_a, tile_b, product, result), tiles, intrinsic)
    return Gemm((a, b, bias, result), schedule)


def padded(x: Tensor, rows: int, columns: int, name: str) -> Tensor:
    """Give `x` with zeros behind it, up to multiples of `rows` and `columns`."""
    height, width = x.shape
    shape = [(height + rows - 1) // rows * rows, (width + columns - 1) // columns * columns]
    zero = te.const(0, x.dtype)
    return te.compute(shape, lambda i, j: te.if_then_else(te.all(i < height, j < width), x[i, j], zero), name=name)


def schedule_gemm(
    s: Schedule, tensors: tuple[Tensor, Tensor, Tensor, Tensor], tiles: Tiles, intrinsic: te.TensorIntrin
) -> None:
    """Schedule a product of padded operands."""
    tile_a, tile_b, product, result = tensors
    bm, bn, bk = tiles.block

    # The result: the tiles of a block, and in each those of its warpgroups.  The 128 threads of a warpgroup are not
    # named: what is kept in scope "warpgroup" belongs to them together.
    written = s.cache_write(result, "shared") if tiles.staged else result
    block = walk_over_tiles(s, result, tiles)
    if tiles.staged:
        s[written].compute_at(s[result], block)
        s[written].align_bounds(s[written].op.axis[0], bm)
        s[written].align_bounds(s[written].op.axis[1], bn)
    if tiles.staged == "threads":
        pad = 16 // dtype_of(result.dtype).bytes
        s[written].storage_align(s[written].op.axis[0], bn + pad, 0)
        share_among_threads(s, result, tiles.warpgroups, pad)
    if tiles.staged == "engine":
        s[written].swizzle("128B")
        s[result].bulk_store(s[result].leaf_iter_vars[-2])
    rows, columns = s[written].leaf_iter_vars[-2:]
    warpgroup, rows = s[written].split(rows, factor=bm // tiles.warpgroups)
    s[written].bind(warpgroup, "threadIdx.y")

    # The product: one instruction for each 64 x width x 16 of a warpgroup's tile.
    s[product].set_scope("warpgroup")
    s[product].compute_at(s[written], warpgroup)
    i, j = s[product].op.axis
    s[product].align_bounds(i, bm // tiles.warpgroups)  # whole tiles, also where the result is smaller than one
    s[product].align_bounds(j, bn)
    (k,) = s[product].op.reduce_axis
    i_o, i_i = s[product].split(i, factor=ROWS)
    j_o, j_i = s[product].split(j, factor=tiles.width)
    k_o, k = s[product].split(k, factor=bk)
    k_m, k_i = s[product].split(k, factor=DEPTH)
    s[product].reorder(k_o, k_m, i_o, j_o, i_i, j_i, k_i)
    s[product].tensorize(i_i, intrinsic)
    for axis in (k_m, i_o, j_o):
        s[product].unroll(axis)

    # Its operands: a ring of slices of the depth in shared memory, filled by the bulk copy engine.
    for operand in (tile_a, tile_b):
        s[operand].set_scope("shared")
        s[operand].compute_at(s[product], k_o)
        s[operand].swizzle(tiles.swizzle)
    s[product].pipeline(k_o, tiles.stages, "tma")
    if tiles.registers is not None:
        s[product].warp_specialize(k_o, *tiles.registers)


def walk_over_tiles(s: Schedule, result: Tensor, tiles: Tiles) -> te.Axis:
    """Cut the result in the tiles of blocks, and bind them; give the innermost of their loops."""
    (bm, bn, _), (below, beside) = tiles.block, tiles.cluster
    rows, columns = s[result].op.axis
    tile_y, rows = s[result].split(rows, factor=bm * below)
    peer_y, rows = s[result].split(rows, factor=bm)
    tile_x, columns = s[result].split(columns, factor=bn * beside)
    peer_x, columns = s[result].split(columns, factor=bn)
    group, tile_y = s[result].split(tile_y, factor=tiles.group)
    s[result].reorder(group, tile_x, tile_y, peer_y, peer_x, rows, columns)
    tile = s[result].fuse(group, tile_x, tile_y)
    if tiles.blocks is not None:
        _, tile = s[result].split(tile, factor=tiles.blocks // (below * beside))
    s[result].bind(tile, "blockIdx.z")
    for axis, thread, peers in ((peer_y, "blockIdx.x", below), (peer_x, "blockIdx.y", beside)):
        s[result].bind(axis, thread)
        if peers > 1:
            s[result].cluster(axis)
    return peer_x


def share_among_threads(s: Schedule, result: Tensor, warpgroups: int, vector: int) -> None:
    """Let all threads store neighbouring elements of a tile."""
    rows, columns = s[result].leaf_iter_vars[-2:]
    columns, lane = s[result].split(columns, factor=vector)
    rest = s[result].fuse(rows, columns)
    rest, x = s[result].split(rest, factor=128)
    _, y = s[result].split(rest, factor=warpgroups)
    s[result].bind(x, "threadIdx.x")
    s[result].bind(y, "threadIdx.y")
    s[result].vectorize(lane)
