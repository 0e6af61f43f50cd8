"""Rings of bulk copies beyond products of matrices: what plain threads read, boxes of more dimensions, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tilewright import te
from tilewright.codegen.cuda.lower import lower_cuda
from tilewright.ir.errors import CodegenError, ExpressionError, ScheduleError
from tilewright.schedule import Schedule, create_schedule, lower
from tilewright.schedule.stage import Stage
from tilewright.te import Tensor
from tilewright.te.operators.wgmma import wgmma

from .gemm_wgmma import Tiles, gemm
from .running import AMPERE, HOPPER, emulated, exact, kernels_of, random_array

SMALL = Tiles(block=(64, 32, 64), warpgroups=1, width=32, stages=2)

# -- threads that read a ring element by element -------------------------------------------------------------------


def sums(rows: int, columns: int, depth: int, cluster: int = 1) -> tuple[Schedule, list[Tensor]]:
    """C[i, j] = sum of A[i, k] * B[j, k], by blocks of 16 x 8 threads; slices of 8 of the depth go around a ring."""
    a, b = te.placeholder((rows, depth), "float32", "A"), te.placeholder((columns, depth), "float32", "B")
    k = te.reduce_axis((0, depth), "k")
    c = te.compute((rows, columns), lambda i, j: te.sum(a[i, k] * b[j, k], axis=k), name="C")
    s = create_schedule(c.op)
    total = s.cache_write(c, "local")
    tiles = [s.cache_read(x, "shared", [total]) for x in (a, b)]
    i, j = s[c].op.axis
    i, y = s[c].split(i, factor=8)
    j, x = s[c].split(j, factor=16)
    j, peer = s[c].split(j, factor=cluster)
    s[c].reorder(i, j, peer, y, x)
    for axis, thread in ((i, "blockIdx.y"), (j, "blockIdx.z"), (peer, "blockIdx.x")):
        s[c].bind(axis, thread)
    s[c].bind(y, "threadIdx.y")
    s[c].bind(x, "threadIdx.x")
    if cluster > 1:
        s[c].cluster(peer)
    s[total].compute_at(s[c], x)
    i, j = s[total].op.axis
    (k,) = s[total].op.reduce_axis
    outer, inner = s[total].split(k, factor=8)
    s[total].reorder(outer, inner, i, j)
    for tile in tiles:
        s[tile].compute_at(s[total], outer)
        s[tile].align_bounds(s[tile].op.axis[0], 4)
        s[tile].align_bounds(s[tile].op.axis[1], 8)
    s[total].pipeline(outer, 3, "tma")
    return s, [a, b, c]


@pytest.mark.parametrize("cluster", [1, 2])
@pytest.mark.parametrize(("rows", "columns", "depth"), [(8, 16, 8), (21, 33, 44), (5, 7, 12), (40, 100, 64)])
def test_threads_read_what_bulk_copies_fill(rows: int, columns: int, depth: int, cluster: int) -> None:
    schedule, tensors = sums(rows, columns, depth, cluster)
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, (n, depth)).astype("float32") for n in (rows, columns))
    np.testing.assert_array_equal(emulated(lower(schedule, tensors), a, b, target=HOPPER), a @ b.T)


def test_each_thread_that_reads_a_slot_says_that_it_is_done() -> None:
    text = kernels_of(lower(*sums(64, 64, 64)), HOPPER).text
    assert "tw_mbar_init((empty + 2), 128);" in text
    assert "tw_barrier();" in text
    assert text.count("tw_barrier();") == 1  # the ring needs no other


# -- boxes of more dimensions --------------------------------------------------------------------------------------


def batches(count: int, m: int, n: int, k: int) -> tuple[Schedule, list[Tensor]]:
    """C[b, i, j] = sum of A[b, i, k] * B[b, j, k], in boxes of one matrix each."""
    a, b = te.placeholder((count, m, k), "float16", "A"), te.placeholder((count, n, k), "float16", "B")
    whole_a, whole_b = whole(a, (1, 64, 64), "As"), whole(b, (1, 32, 64), "Bs")
    r = te.reduce_axis((0, whole_a.shape[2]), "k")
    shape = (count, whole_a.shape[1], whole_b.shape[1])
    c = te.compute(shape, lambda h, i, j: te.sum(single(whole_a[h, i, r]) * single(whole_b[h, j, r]), axis=r), name="C")
    d = te.compute((count, m, n), lambda h, i, j: c[h, i, j] * 2.0, name="D")
    s = create_schedule(d.op)
    h, i, j = s[d].op.axis
    i, i_i = s[d].split(i, factor=64)
    j, j_i = s[d].split(j, factor=32)
    s[d].reorder(h, i, j, i_i, j_i)
    block = s[d].fuse(h, i, j)
    s[d].bind(block, "blockIdx.x")
    (k,) = s[c].op.reduce_axis
    k, k_i = s[c].split(k, factor=64)
    multiply(s, c, s[d], block, k, k_i, (whole_a, whole_b), wgmma("float16", 32, transpose_b=True), s[c].op.axis[1:])
    return s, [a, b, d]


def convolution(batch: int, size: tuple[int, int], channels: int, filters: int) -> tuple[Schedule, list[Tensor]]:
    """Z = twice the convolution of X (n, h, w, c), padded by 1, with W (3, 3, c, o): a row of 64 pixels for each block.

    The padding is what lies outside of X, which bulk copies fill with zeros.
    """
    h, w = size
    x = te.placeholder((batch, h, w, channels), "float16", "X")
    taps = te.placeholder((3, 3, channels, filters), "float16", "W")
    c, o, pixels = (-(-n // tile) * tile for n, tile in ((channels, 64), (filters, 32), (w, 64)))
    zero = te.const(0, "float16")

    def around(b: te.Var, i: te.Var, j: te.Var, k: te.Var) -> te.Expr:
        inside = te.all(i >= 1, i < h + 1, j >= 1, j < w + 1, k < channels)
        return te.if_then_else(inside, x[b, i - 1, j - 1, k], zero)

    padded = te.compute((batch, h + 2, pixels + 2, c), around, name="Xs")
    filled = whole(taps, (1, 1, 64, 32), "Ws")
    ry, rx, rc = te.reduce_axis((0, 3), "ry"), te.reduce_axis((0, 3), "rx"), te.reduce_axis((0, c), "rc")
    y = te.compute(
        (batch, h, pixels, o),
        lambda b, i, j, f: te.sum(
            single(padded[b, i + ry, j + rx, rc]) * single(filled[ry, rx, rc, f]), axis=[ry, rx, rc]
        ),
        name="Y",
    )
    z = te.compute((batch, h, w, filters), lambda b, i, j, f: y[b, i, j, f] * 2.0, name="Z")
    s = create_schedule(z.op)
    b, i, j, f = s[z].op.axis
    j, j_i = s[z].split(j, factor=64)
    f, f_i = s[z].split(f, factor=32)
    s[z].reorder(b, i, j, f, j_i, f_i)
    block = s[z].fuse(b, i, j, f)
    s[z].bind(block, "blockIdx.x")
    ry, rx, rc = s[y].op.reduce_axis
    rc, rc_i = s[y].split(rc, factor=64)
    s[y].reorder(*s[y].op.axis[:2], ry, rx, rc, *s[y].op.axis[2:], rc_i)
    k = s[y].fuse(ry, rx, rc)
    multiply(s, y, s[z], block, k, rc_i, (padded, filled), wgmma("float16", 32), s[y].op.axis[2:])
    return s, [x, taps, z]


def multiply(
    s: Schedule, c: Tensor, host: Stage, block: te.Axis, k: te.Axis, k_i: te.Axis, operands: tuple[Tensor, Tensor],
    intrinsic: te.TensorIntrin, matrix: tuple[te.Axis, ...],
) -> None:  # fmt: skip
    """Schedule a product of 64 x 32 x 64 for each block: operands in a ring, a producer, one warpgroup."""
    s[c].set_scope("warpgroup")
    s[c].compute_at(host, block)
    rows, columns = matrix
    s[c].align_bounds(rows, 64)
    s[c].align_bounds(columns, 32)
    k_m, k_i = s[c].split(k_i, factor=16)
    s[c].reorder(k, k_m, rows, columns, k_i)
    s[c].tensorize(rows, intrinsic)
    s[c].unroll(k_m)
    for operand in operands:
        s[operand].set_scope("shared")
        s[operand].compute_at(s[c], k)
        s[operand].swizzle("64B")
    s[c].pipeline(k, 3, "tma")
    s[c].warp_specialize(k, 40, 232)


def whole(x: Tensor, tile: tuple[int, ...], name: str) -> Tensor:
    """Give `x` with zeros behind it, up to whole tiles."""
    shape = [-(-int(n.value) // t) * t for n, t in zip(x.shape, tile, strict=True)]
    zero = te.const(0, x.dtype)

    def element(*index: te.Var) -> te.Expr:
        inside = te.all(*(i < n for i, n in zip(index, x.shape, strict=True)))
        return te.if_then_else(inside, x[index], zero)

    return te.compute(shape, element, name=name)


def single(x: te.Expr) -> te.Expr:
    return x.astype("float32")


@pytest.mark.parametrize("shape", [(2, 64, 32, 64), (3, 70, 40, 72), (1, 30, 33, 200)], ids=str)
def test_batches_of_products_are_boxes_of_three_dimensions(shape: tuple[int, int, int, int]) -> None:
    count, m, n, k = shape
    function = lower(*batches(count, m, n, k))
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, (count, rows, k)).astype("float16") for rows in (m, n))
    want = 2 * np.einsum("hik,hjk->hij", a.astype("float32"), b.astype("float32"))
    np.testing.assert_array_equal(emulated(function, a, b, target=HOPPER), want)
    assert "tw_tma_load_3d" in kernels_of(function, HOPPER).text


@pytest.mark.parametrize(("size", "channels", "filters"), [((5, 9), 16, 40), ((3, 70), 72, 32), ((1, 1), 8, 8)])
def test_the_padding_of_a_convolution_is_what_bulk_copies_fill(
    size: tuple[int, int], channels: int, filters: int
) -> None:
    function = lower(*convolution(2, size, channels, filters))
    rng = np.random.default_rng(0)
    shapes = ((2, *size, channels), (3, 3, channels, filters))
    x, taps = (rng.integers(-2, 3, shape).astype("float16") for shape in shapes)
    around = np.pad(x.astype("float32"), ((0, 0), (1, 1), (1, 1), (0, 0)))
    want = np.zeros((2, *size, filters), "float32")
    for i, j in np.ndindex(3, 3):
        want += 2 * around[:, i : i + size[0], j : j + size[1]] @ taps[i, j].astype("float32")
    np.testing.assert_array_equal(emulated(function, x, taps, target=HOPPER), want)
    assert "tw_tma_load_4d" in kernels_of(function, HOPPER).text


# -- refusals ------------------------------------------------------------------------------------------------------


def product_schedule(tiles: Tiles = SMALL, k: int = 136, **options: bool) -> Callable[[], object]:
    def kernel() -> object:
        product = gemm(128, 64, k, tiles=tiles, **options)
        return lower_cuda(lower(product.schedule, list(product.arguments)), HOPPER)

    return kernel


def stage_called(schedule: Schedule, name: str) -> Stage:
    return next(stage for stage in schedule.stages if repr(stage) == f"Stage({name})")


def refused(kernel: Callable[[], object]) -> str:
    with pytest.raises((CodegenError, ScheduleError)) as error:
        kernel()
    return error.value.fact


def test_strides_that_bulk_copies_cannot_have_are_refused() -> None:
    fact = refused(product_schedule(k=100, transpose_b=True))
    assert fact.startswith("neighbours along dimension 0 of A are 200 bytes apart, which bulk copies need")


def test_tiles_that_leave_the_next_one_unaligned_are_refused() -> None:
    schedule, tensors = sums(8, 16, 64)
    for name in ("A_shared", "B_shared"):
        stage_called(schedule, name).align_bounds(stage_called(schedule, name).op.axis[0], 3)
    assert refused(lambda: lower_cuda(lower(schedule, tensors), HOPPER)) == (
        "A_shared keeps tiles of 288 bytes, and copies begin at multiples of 128"
    )


def test_boxes_that_are_too_long_are_refused() -> None:
    tiles = replace(SMALL, block=(320, 64, 64))
    assert refused(product_schedule(tiles)) == "a box of 320 x 64 of A, and no side may be longer than 256"


def test_an_order_that_no_bulk_copy_has_is_refused() -> None:
    fact = refused(product_schedule(replace(SMALL, swizzle="xor"), transpose_b=True))
    assert fact.startswith("As is read at [k_o % 2, i__, bitwise_xor(k_i_o * 2 + k // 8, i__ % 8), k % 8]")


def test_other_gpus_are_refused() -> None:
    product = gemm(128, 64, 136, tiles=SMALL, transpose_b=True)
    with pytest.raises(CodegenError, match="registers of a warpgroup, and the target is sm_80"):
        lower_cuda(lower(product.schedule, list(product.arguments)), AMPERE)
    schedule, tensors = sums(8, 16, 8)
    with pytest.raises(CodegenError, match="loop k_o is filled by bulk copies, and the target is sm_80"):
        lower_cuda(lower(schedule, tensors), AMPERE)


def test_zeros_that_are_no_fill_are_refused() -> None:
    a = te.placeholder((64, 64), "float32", "A")
    lower_half = te.compute((64, 64), lambda i, j: te.if_then_else(j <= i, a[i, j], te.const(0, "float32")), name="L")
    c = te.compute((64, 64), lambda i, j: lower_half[i, j] + 1.0, name="C")
    s = create_schedule(c.op)
    i, j = s[c].op.axis
    j, x = s[c].split(j, factor=32)
    s[c].reorder(j, i, x)
    s[c].bind(x, "threadIdx.x")
    s[lower_half].set_scope("shared")
    s[lower_half].compute_at(s[c], i)
    s[c].pipeline(i, 2, "tma")
    assert "L becomes 0 where not" in refused(lambda: lower_cuda(lower(s, [a, c]), HOPPER))


def test_copies_that_threads_share_are_refused() -> None:
    schedule, tensors = sums(8, 16, 64)
    tile = stage_called(schedule, "A_shared")
    tile.bind(tile.op.axis[0], "threadIdx.y")
    fact = refused(lambda: lower_cuda(lower(schedule, tensors), HOPPER))
    assert fact == "the threads along threadIdx.y share the copy to A_shared, which one thread issues"


def test_roles_of_anything_but_warpgroups_are_refused() -> None:
    schedule, tensors = sums(8, 16, 64)
    total = stage_called(schedule, "C_local")
    total.warp_specialize(next(a for a in total.leaf_iter_vars if a.name == "k_o"))
    fact = refused(lambda: lower_cuda(lower(schedule, tensors), HOPPER))
    assert fact == "blocks of 16 x 8 x 1 threads, and roles are those of warpgroups"


def test_more_registers_than_there_are_are_refused() -> None:
    tiles = replace(SMALL, block=(128, 32, 64), warpgroups=2, registers=(40, 240))
    fact = refused(product_schedule(tiles, transpose_b=True))
    assert fact == "40 registers of a producer and 240 of 2 consumers are 66560 in a block"


def test_steps_refuse_what_makes_no_sense() -> None:
    a = te.placeholder((64, 64), "float32", "A")
    b = te.compute((64, 64), lambda i, j: a[i, j] + 1.0, name="B")
    s = create_schedule(b.op)
    i, j = s[b].op.axis
    assert "only what bulk copies fill" in refused(lambda: s[b].warp_specialize(i))
    s[b].pipeline(i, 2, "tma")
    assert "producers are to have 20 registers" in refused(lambda: s[b].warp_specialize(i, 20, 232))
    assert "consumers 0" in refused(lambda: s[b].warp_specialize(i, 40))
    s[b].warp_specialize(i, 40, 232)
    assert "warp_specialized already" in refused(lambda: s[b].warp_specialize(i))
    assert "clusters are made of blocks" in refused(lambda: s[b].cluster(j))
    s[b].bind(j, "blockIdx.x")
    assert "has the extent 64" in refused(lambda: s[b].cluster(j))


def test_a_cluster_is_all_of_its_axis_and_no_more_than_a_gpu_has_room_for() -> None:
    a = te.placeholder((64, 8, 64), "float32", "A")
    b = te.compute((64, 8, 64), lambda i, j, k: a[i, j, k] + 1.0, name="B")
    s = create_schedule(b.op)
    i, j, k = s[b].op.axis
    i, i_i = s[b].split(i, factor=4)
    s[b].bind(i_i, "blockIdx.x")
    s[b].bind(j, "blockIdx.y")
    s[b].cluster(i_i)
    s[b].cluster(j)
    fact = refused(lambda: lower_cuda(lower(s, [a, b]), HOPPER))
    assert fact == "a cluster of 4 x 8 x 1 blocks, and a GPU has room for 8"


@pytest.mark.parametrize(("dtype", "n"), [("float32", 64), ("float16", 12), ("float16", 264)])
def test_instructions_that_do_not_exist_are_refused(dtype: str, n: int) -> None:
    with pytest.raises(ExpressionError, match="no instruction"):
        wgmma(dtype, n)


def test_random_values_of_a_ring_are_those_of_numpy() -> None:
    schedule, tensors = sums(40, 33, 64)
    rng = np.random.default_rng(1)
    a, b = (random_array(rng, (n, 64), "float32") for n in (40, 33))
    result = emulated(lower(schedule, tensors), a, b, target=HOPPER)
    want = exact(a, "float32") @ exact(b, "float32").T
    np.testing.assert_allclose(result, want, rtol=0, atol=64 * 2.0**-23 * np.abs(a).max() * np.abs(b).max() * 64)
