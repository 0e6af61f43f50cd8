"""Reference schedule: a matrix product on tensor cores, with ragged sizes and a fused bias and relu.

    D (M, N) = relu(A (M, K) @ B (K, N) + bias (N,))

Read the schedule from the top: what a block computes, what a warp computes, how its operands arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tilewright import te
from tilewright.ir.dtype import dtype_of
from tilewright.schedule import Schedule, create_schedule
from tilewright.te import Axis, Tensor
from tilewright.te.operators.tensor_cores import SHAPES, mma

LANES = 32


@dataclass(frozen=True)
class Tiles:
    """What one block and one warp compute, and how their operands travel.

    block    rows, columns and depth of a block's tile
    warp     rows and columns of a warp's part of it
    stages   iterations of the depth under way at once; 1 for no pipeline
    vector   elements of one copy into shared memory
    swizzle  of the shared tiles, or "" for none
    staged   whether results go through shared memory
    prefetch whether a warp loads its operands of the next step before it multiplies those of this one
    """

    block: tuple[int, int, int] = (64, 64, 32)
    warp: tuple[int, int] = (32, 32)
    stages: int = 1
    transport: str = "cp_async"
    vector: int = 8
    swizzle: str = "xor"
    staged: bool = False
    prefetch: bool = False


@dataclass(frozen=True)
class Gemm:
    """The tensors of one product; `schedule` has been applied."""

    arguments: tuple[Tensor, ...]
    schedule: Schedule


def gemm(
    m: int, n: int, k: int, dtype: str = "float16", out_dtype: str = "float32", tiles: Tiles | None = None,
    transpose_b: bool = False,
) -> Gemm:  # fmt: skip
    """Give the scheduled product; B is (N, K) with `transpose_b`."""
    tiles = tiles or Tiles()
    total = SHAPES[dtype].total
    a = te.placeholder((m, k), dtype, "A")
    b = te.placeholder((n, k) if transpose_b else (k, n), dtype, "B")
    bias = te.placeholder((n,), total, "bias")
    bm, bn, bk = tiles.block
    tile_a = padded(a, bm, bk, "As")
    tile_b = padded(b, *((bn, bk) if transpose_b else (bk, bn)), "Bs")
    r = te.reduce_axis((0, tile_a.shape[1]), "k")
    columns = tile_b.shape[0 if transpose_b else 1]
    product = te.compute(
        (tile_a.shape[0], columns),
        lambda i, j: te.sum(
            tile_a[i, r].astype(total) * tile_b[(j, r) if transpose_b else (r, j)].astype(total), axis=r
        ),
        name="C",
    )
    zero = te.const(0, total)
    result = te.compute((m, n), lambda i, j: te.max(product[i, j] + bias[j], zero).astype(out_dtype), name="D")
    schedule = create_schedule(result.op)
    schedule_gemm(schedule, (tile_a, tile_b, product, result), dtype, tiles, transpose_b)
    return Gemm((a, b, bias, result), schedule)


def padded(x: Tensor, rows: int, columns: int, name: str) -> Tensor:
    """Give `x` with zeros behind it, up to multiples of `rows` and `columns`."""
    height, width = x.shape
    shape = [(height + rows - 1) // rows * rows, (width + columns - 1) // columns * columns]
    zero = te.const(0, x.dtype)
    return te.compute(shape, lambda i, j: te.if_then_else(te.all(i < height, j < width), x[i, j], zero), name=name)


def schedule_gemm(
    s: Schedule, tensors: tuple[Tensor, Tensor, Tensor, Tensor], dtype: str, tiles: Tiles, transpose_b: bool
) -> None:
    """Schedule a product of padded operands."""
    tile_a, tile_b, product, result = tensors
    bm, bn, bk = tiles.block
    wm, wn = tiles.warp
    warps = (bm // wm, bn // wn)
    shape = SHAPES[dtype]

    # The result: a block's tile, in it the warps' tiles.  The lanes of a warp are not named: what is kept in scope
    # "warp" belongs to them together, and loops over it are spread over them.
    written = s.cache_write(result, "shared") if tiles.staged else result
    rows, columns = s[result].op.axis
    block_y, rows = s[result].split(rows, factor=bm)
    block_x, columns = s[result].split(columns, factor=bn)
    s[result].reorder(block_y, block_x, rows, columns)
    s[result].bind(block_y, "blockIdx.y")
    s[result].bind(block_x, "blockIdx.x")
    if tiles.staged:
        s[written].compute_at(s[result], block_x)
        rows, columns = s[written].op.axis
        s[written].align_bounds(rows, bm)
        s[written].align_bounds(columns, bn)
        s[written].storage_align(rows, bn + 16 // dtype_of(result.dtype).bytes, 0)  # 16 bytes behind each row
        share_among_threads(s, result, s[result].leaf_iter_vars[2:], warps, tiles.vector)
    warp_y, rows = s[written].split(rows, factor=wm)
    warp_x, columns = s[written].split(columns, factor=wn)
    s[written].reorder(warp_y, warp_x, rows, columns)
    s[written].bind(warp_y, "threadIdx.z")
    s[written].bind(warp_x, "threadIdx.y")

    # The product: one instruction for each m x n x k of a warp's tile.
    s[product].set_scope("warp")
    s[product].compute_at(s[written], warp_x)
    i, j = s[product].op.axis
    s[product].align_bounds(i, wm)  # whole tiles, also where the result is smaller than one
    s[product].align_bounds(j, wn)
    (k,) = s[product].op.reduce_axis
    i_o, i_i = s[product].split(i, factor=shape.m)
    j_o, j_i = s[product].split(j, factor=shape.n)
    k_o, k = s[product].split(k, factor=bk)
    k_m, k_i = s[product].split(k, factor=shape.k)
    s[product].reorder(k_o, k_m, i_o, j_o, i_i, j_i, k_i)
    s[product].tensorize(i_i, mma(dtype, transpose_b=transpose_b))
    for axis in (i_o, j_o):
        s[product].unroll(axis)
    if tiles.prefetch:
        s[product].pipeline(k_m, 2, "register")
    else:
        s[product].unroll(k_m)

    # Its operands: a slice of the depth in shared memory, of which a warp holds what one step multiplies.
    for tile, shape_of_tile in ((tile_a, (bm, bk)), (tile_b, (bn, bk) if transpose_b else (bk, bn))):
        for axis, extent in zip(s[tile].op.axis, shape_of_tile, strict=True):
            s[tile].align_bounds(axis, extent)
        fragment = s.cache_read(tile, "warp", [product])
        s[fragment].compute_at(s[product], k_m)
        s[tile].set_scope("shared")
        s[tile].compute_at(s[product], k_o)
        if tiles.swizzle:
            s[tile].swizzle(tiles.swizzle)
        share_among_threads(s, tile, s[tile].op.axis, warps, tiles.vector)
    if tiles.stages > 1:
        s[product].pipeline(k_o, tiles.stages, tiles.transport)


def share_among_threads(s: Schedule, tensor: Tensor, axes: Sequence[Axis], warps: tuple[int, int], vector: int) -> None:
    """Share the elements of two loops among the threads of the block, `vector` neighbours at a time."""
    fused = s[tensor].fuse(*axes)
    fused, lane = s[tensor].split(fused, factor=vector)
    fused, x = s[tensor].split(fused, factor=LANES)
    fused, y = s[tensor].split(fused, factor=warps[1])
    _, z = s[tensor].split(fused, factor=warps[0])
    s[tensor].vectorize(lane)
    for axis, thread in ((x, "threadIdx.x"), (y, "threadIdx.y"), (z, "threadIdx.z")):
        s[tensor].bind(axis, thread)
