"""Stages in shared memory and registers: who fills them, and how they are laid out."""

from __future__ import annotations

from functools import partial

import pytest

from tilewright import te
from tilewright.schedule import create_schedule

from .emulated import MATRICES, PRODUCTS, Scheduled, assert_way


def tiled_copy(shape, scope: str = "shared", dtype: str = "float32"):
    """B = A transposed by way of a copy of each tile of 16 by 32; gives the loop over tiles, too."""
    m, n = shape
    a = te.placeholder((n, m), dtype, "A")
    b = te.compute((m, n), lambda i, j: a[j, i], name="B")
    s = create_schedule(b.op)
    copy = s.cache_read(a, scope, [b])
    io, jo, ii, ji = s[b].tile(*b.op.axis, 16, 32)
    for axis, thread in ((io, "blockIdx.y"), (jo, "blockIdx.x"), (ii, "threadIdx.y"), (ji, "threadIdx.x")):
        s[b].bind(axis, thread)
    s[copy].compute_at(s[b], jo)
    return s, [a, b], s[copy]


def shared_out(stage, x: int, y: int = 1, lanes: int = 1) -> None:
    """Let x by y threads of a block fill a stage, in pieces of `lanes` elements."""
    whole = stage.fuse(*stage.op.axis)
    if lanes > 1:
        whole, lane = stage.split(whole, factor=lanes)
        stage.vectorize(lane)
    whole, thread = stage.split(whole, factor=x)
    stage.bind(thread, "threadIdx.x")
    if y > 1:
        whole, thread = stage.split(whole, factor=y)
        stage.bind(thread, "threadIdx.y")


# -- cooperative copies ---------------------------------------------------------------------------------------------


def filled_by_all(shape) -> Scheduled:
    s, tensors, copy = tiled_copy(shape)
    shared_out(copy, 32, 16)
    return s, tensors


def filled_by_some(shape) -> Scheduled:
    s, tensors, copy = tiled_copy(shape)
    shared_out(copy, 13, 5)
    return s, tensors


def filled_along_one_axis(shape) -> Scheduled:
    s, tensors, copy = tiled_copy(shape)
    shared_out(copy, 32)
    return s, tensors


def filled_by_the_first_thread(shape) -> Scheduled:
    s, tensors, _ = tiled_copy(shape)
    return s, tensors


def filled_by_rows(shape) -> Scheduled:
    s, tensors, copy = tiled_copy(shape)
    rows, columns = copy.op.axis
    copy.bind(copy.split(rows, factor=16)[1], "threadIdx.y")
    copy.bind(copy.split(columns, factor=32)[1], "threadIdx.x")
    return s, tensors


def filled_four_at_a_time(shape) -> Scheduled:
    s, tensors, copy = tiled_copy(shape)
    shared_out(copy, 32, 4, lanes=4)
    return s, tensors


def filled_twice_as_wide_as_the_block(shape) -> Scheduled:
    s, tensors, copy = tiled_copy(shape)
    shared_out(copy, 64)
    return s, tensors


def padded_rows(shape) -> Scheduled:
    s, tensors, copy = tiled_copy(shape)
    copy.storage_align(copy.op.axis[0], 32, 1)
    shared_out(copy, 32, 16)
    return s, tensors


def padded_rows_of_vectors(shape) -> Scheduled:
    s, tensors, copy = tiled_copy(shape)
    copy.storage_align(copy.op.axis[0], 8, 4)
    shared_out(copy, 32, lanes=4)
    return s, tensors


def turned_layout(shape) -> Scheduled:
    s, tensors, copy = tiled_copy(shape)
    copy.transform_layout(lambda i, j: [j, i])
    shared_out(copy, 32, 16)
    return s, tensors


def two_copies_in_turn(shape) -> Scheduled:
    m, n = shape
    a = te.placeholder((n, m), name="A")
    b = te.compute((m, n), lambda i, j: a[j, i] + 1, name="B")
    s = create_schedule(b.op)
    copy = s[s.cache_read(a, "shared", [b])]
    io, jo, ii, ji = s[b].tile(*b.op.axis, 8, 16)
    for axis, thread in ((io, "blockIdx.x"), (ii, "threadIdx.y"), (ji, "threadIdx.x")):
        s[b].bind(axis, thread)
    copy.compute_at(s[b], jo)
    copy.double_buffer()
    shared_out(copy, 16, 8)
    return s, [a, b]


COPIES = (
    filled_by_all, filled_by_some, filled_along_one_axis, filled_by_the_first_thread, filled_by_rows,
    filled_four_at_a_time, filled_twice_as_wide_as_the_block, padded_rows, padded_rows_of_vectors, turned_layout,
    two_copies_in_turn,
)  # fmt: skip


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("shape", MATRICES, ids=str)
def test_copies_in_shared_memory(way, shape):
    assert_way(way, MATRICES, shape)


# -- swizzled rows --------------------------------------------------------------------------------------------------


def swizzled(shape, kind: str, dtype: str) -> Scheduled:
    s, tensors, copy = tiled_copy(shape, dtype=dtype)
    copy.swizzle(kind)
    shared_out(copy, 32, 4)
    return s, tensors


SWIZZLED = [partial(swizzled, kind=k, dtype=d) for k, d in (("xor", "float32"), ("xor", "float16"), ("32B", "float16"))]
WIDE = ((33, 65), (16, 32), (48, 96), (17, 33), (64, 40), (100, 36), (31, 64), (20, 50), (129, 35))


@pytest.mark.parametrize("way", SWIZZLED, ids=lambda way: f"{way.keywords['kind']}-{way.keywords['dtype']}")
@pytest.mark.parametrize("shape", WIDE, ids=str)
def test_swizzled_copies(way, shape):
    assert_way(way, WIDE, shape)


# -- registers ------------------------------------------------------------------------------------------------------


def row_sums(shape):
    """B[i, j] = A[i, j] + A[i + 1, j] + A[i, j + 1], of a matrix with one row and column more."""
    m, n = shape
    a = te.placeholder((m + 1, n + 1), name="A")
    p = te.compute((m + 1, n + 1), lambda i, j: a[i, j] * 2, name="P")
    b = te.compute((m, n), lambda i, j: p[i, j] + p[i + 1, j] - p[i, j + 1], name="B")
    s = create_schedule(b.op)
    io, jo, ii, ji = s[b].tile(*b.op.axis, 8, 16)
    for axis, thread in ((io, "blockIdx.y"), (jo, "blockIdx.x"), (ii, "threadIdx.y"), (ji, "threadIdx.x")):
        s[b].bind(axis, thread)
    return s, a, p, b, (io, jo, ii, ji)


def read_into_registers(shape) -> Scheduled:
    s, a, p, b, (_, _, _, ji) = row_sums(shape)
    s[s.cache_read(a, "local", [p])].compute_at(s[b], ji)
    s[p].compute_inline()
    return s, [a, b]


def computed_in_registers(shape) -> Scheduled:
    s, a, p, b, (_, _, _, ji) = row_sums(shape)
    s[p].compute_at(s[b], ji)
    return s, [a, b]


def computed_in_shared_memory(shape) -> Scheduled:
    s, a, p, b, (_, jo, _, _) = row_sums(shape)
    s[p].compute_at(s[b], jo)
    shared_out(s[p], 16, 8)
    return s, [a, b]


def computed_from_a_shared_copy(shape) -> Scheduled:
    s, a, p, b, (_, jo, _, _) = row_sums(shape)
    copy = s.cache_read(a, "shared", [p])
    s[p].compute_at(s[b], jo)
    s[copy].compute_at(s[b], jo)
    shared_out(s[p], 16, 8)
    shared_out(s[copy], 32, 2)
    return s, [a, b]


def computed_from_a_copy_within_it(shape) -> Scheduled:
    s, a, p, b, (_, jo, _, _) = row_sums(shape)
    copy = s.cache_read(a, "shared", [p])
    s[p].compute_at(s[b], jo)
    rows, columns = s[p].op.axis
    row, thread = s[p].split(rows, factor=4)
    s[p].bind(thread, "threadIdx.y")
    s[p].bind(s[p].split(columns, factor=16)[1], "threadIdx.x")
    s[copy].compute_at(s[p], row)
    shared_out(s[copy], 16, 2)
    return s, [a, b]


def shared_then_registers(shape) -> Scheduled:
    s, a, p, b, (_, jo, _, ji) = row_sums(shape)
    copy = s.cache_read(p, "local", [b])
    s[p].compute_at(s[b], jo)
    shared_out(s[p], 16)
    s[copy].compute_at(s[b], ji)
    return s, [a, b]


def within_the_loops_of_threads(shape) -> Scheduled:
    """Shared memory that is filled within a thread's loops is still filled by all threads, for all of them."""
    s, a, p, b, (_, _, _, ji) = row_sums(shape)
    s[p].set_scope("shared")
    s[p].compute_at(s[b], ji)
    shared_out(s[p], 16, 8)
    return s, [a, b]


def written_by_way_of_registers(shape) -> Scheduled:
    m, n = shape
    a = te.placeholder((m, n), name="A")
    b = te.compute((m, n), lambda i, j: a[i, j] * a[i, j] - 3, name="B")
    s = create_schedule(b.op)
    kept = s.cache_write(b, "local")
    block, thread = s[b].split(s[b].op.axis[0], factor=16)
    outer, lane = s[b].split(s[b].op.axis[1], factor=4)
    s[b].bind(block, "blockIdx.x")
    s[b].bind(thread, "threadIdx.x")
    s[b].vectorize(lane)
    s[kept].compute_at(s[b], outer)
    s[kept].unroll(s[kept].op.axis[1])
    return s, [a, b]


def written_by_way_of_shared_memory(shape) -> Scheduled:
    m, n = shape
    a = te.placeholder((m, n), name="A")
    b = te.compute((m, n), lambda i, j: a[i, j] * a[i, j] - 3, name="B")
    s = create_schedule(b.op)
    kept = s.cache_write(b, "shared")
    io, jo, ii, ji = s[b].tile(*s[b].op.axis, 8, 16)
    for axis, thread in ((io, "blockIdx.y"), (jo, "blockIdx.x"), (ii, "threadIdx.y"), (ji, "threadIdx.x")):
        s[b].bind(axis, thread)
    s[kept].compute_at(s[b], jo)
    shared_out(s[kept], 32, 3)
    return s, [a, b]


REGISTERS = (
    read_into_registers, computed_in_registers, computed_in_shared_memory, computed_from_a_shared_copy,
    computed_from_a_copy_within_it, shared_then_registers, within_the_loops_of_threads, written_by_way_of_registers,
    written_by_way_of_shared_memory,
)  # fmt: skip


@pytest.mark.parametrize("way", REGISTERS)
@pytest.mark.parametrize("shape", MATRICES, ids=str)
def test_stages_within_others(way, shape):
    assert_way(way, MATRICES, shape)


# -- products -------------------------------------------------------------------------------------------------------


def product(shape, virtual: int = 1, dtype: str = "float32", swizzle: bool = False, pad: bool = False) -> Scheduled:
    """C = A B in tiles of 16 by 32 with copies in shared memory, fragments in registers and virtual threads."""
    m, n, depth = shape
    a, b = te.placeholder((m, depth), dtype, "A"), te.placeholder((depth, n), dtype, "B")
    k = te.reduce_axis((0, depth), name="k")
    c = te.compute((m, n), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="C")
    s = create_schedule(c.op)
    sums = s.cache_write(c, "local")
    tiles = [s.cache_read(x, "shared", [sums]) for x in (a, b)]
    pieces = [s.cache_read(x, "local", [sums]) for x in tiles]
    by, i = s[c].split(s[c].op.axis[0], factor=16)
    bx, j = s[c].split(s[c].op.axis[1], factor=32)
    vy, i = s[c].split(i, nparts=virtual)
    vx, j = s[c].split(j, nparts=virtual)
    ty, i = s[c].split(i, factor=2)
    tx, j = s[c].split(j, factor=4)
    s[c].reorder(by, bx, vy, vx, ty, tx, i, j)
    for axis, thread in ((by, "blockIdx.y"), (bx, "blockIdx.x"), (vy, "vthread"), (vx, "vthread"), (ty, "threadIdx.y"),
                         (tx, "threadIdx.x")):  # fmt: skip
        s[c].bind(axis, thread)
    s[c].vectorize(j)
    s[sums].compute_at(s[c], tx)
    outer, inner = s[sums].split(s[sums].op.reduce_axis[0], factor=8)
    s[sums].reorder(outer, inner, *s[sums].op.axis)
    for axis in s[sums].op.axis:
        s[sums].unroll(axis)
    for tile, piece in zip(tiles, pieces, strict=True):
        s[tile].compute_at(s[sums], outer)
        s[piece].compute_at(s[sums], inner)
        if swizzle and tile is tiles[1]:
            s[tile].swizzle("xor")
        if pad:
            s[tile].storage_align(s[tile].op.axis[0], 8, 4)
        shared_out(s[tile], 8 // virtual, 8 // virtual, lanes=4)
    return s, [a, b, c]


PRODUCT_WAYS = {
    "plain": product,
    "4 virtual threads": partial(product, virtual=2),
    "padded": partial(product, pad=True, virtual=2),
    "halves": partial(product, dtype="float16"),
    "bytes": partial(product, dtype="int8"),
    "doubles": partial(product, dtype="float64"),
}


SWIZZLED_PRODUCT = partial(product, swizzle=True)


@pytest.mark.parametrize("way", PRODUCT_WAYS)
@pytest.mark.parametrize("shape", PRODUCTS, ids=str)
def test_products(way, shape):
    assert_way(PRODUCT_WAYS[way], PRODUCTS, shape)


WIDE_PRODUCTS = (
    (1, 32, 1), (7, 33, 3), (8, 40, 8), (16, 32, 8), (17, 63, 9), (33, 52, 16), (32, 32, 33), (40, 37, 31),
    (64, 65, 40),
)  # fmt: skip


@pytest.mark.parametrize("shape", WIDE_PRODUCTS, ids=str)
def test_products_of_swizzled_tiles(shape):
    assert_way(SWIZZLED_PRODUCT, WIDE_PRODUCTS, shape)
