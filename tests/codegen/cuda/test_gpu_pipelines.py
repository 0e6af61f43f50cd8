"""Pipelined loops of schedules: copies by registers and asynchronous ones, for one, two and many iterations."""

from __future__ import annotations

from functools import partial

import pytest

from tilewright import te
from tilewright.schedule import create_schedule

from .emulated import Scheduled, assert_way, emulated


def shared_out(stage, threads: int, lanes: int) -> None:
    """Let the threads of a block fill a stage, in pieces of `lanes` elements."""
    whole = stage.fuse(*stage.op.axis)
    if lanes > 1:
        whole, lane = stage.split(whole, factor=lanes)
        stage.vectorize(lane)
    stage.bind(stage.split(whole, factor=threads)[1], "threadIdx.x")


def product(
    shape, transport: str, stages: int, dtype: str = "float32", lanes: int = 4, registers: bool = False
) -> Scheduled:
    """C = A B: a row of each block's 16 by 16 tile for each thread, 8 steps of k to a copy."""
    m, n, depth = shape
    a, b = te.placeholder((m, depth), dtype, "A"), te.placeholder((depth, n), dtype, "B")
    k = te.reduce_axis((0, depth), name="k")
    c = te.compute((m, n), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="C")
    s = create_schedule(c.op)
    sums = s.cache_write(c, "local")
    tiles = [s.cache_read(x, "shared", [sums]) for x in (a, b)]
    io, jo, ii, ji = s[c].tile(*s[c].op.axis, 16, 16)
    for axis, thread in ((io, "blockIdx.y"), (jo, "blockIdx.x"), (ii, "threadIdx.x")):
        s[c].bind(axis, thread)
    s[sums].compute_at(s[c], ii)
    outer, inner = s[sums].split(s[sums].op.reduce_axis[0], factor=8)
    s[sums].reorder(outer, inner, *s[sums].op.axis)
    s[sums].pipeline(outer, stages, transport)
    for tile in tiles:
        s[tile].compute_at(s[sums], outer)
        shared_out(s[tile], 16, lanes)
        if registers:
            s[s.cache_read(tile, "local", [sums])].compute_at(s[sums], inner)
    return s, [a, b, c]


DEPTHS = (
    (16, 16, 1), (7, 5, 8), (16, 17, 9), (31, 16, 16), (20, 33, 24), (1, 16, 25), (33, 31, 32), (16, 48, 40),
    (5, 20, 100),
)  # fmt: skip
WAYS = {
    "registers": partial(product, transport="register", stages=2),
    "registers, one by one": partial(product, transport="register", stages=2, lanes=1),
    "registers, and pieces in registers": partial(product, transport="register", stages=2, registers=True),
    "2 asynchronous, one by one": partial(product, transport="cp_async", stages=2, lanes=1),
    "3 asynchronous, one by one": partial(product, transport="cp_async", stages=3, lanes=1),
    "4 asynchronous doubles, one by one": partial(product, transport="cp_async", stages=4, lanes=1, dtype="float64"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", DEPTHS, ids=str)
def test_products(way, shape):
    assert_way(WAYS[way], DEPTHS, shape)


WHOLE_VECTORS = (
    (16, 16, 8), (7, 8, 8), (16, 24, 16), (31, 16, 16), (20, 32, 24), (1, 16, 32), (33, 40, 32), (16, 48, 40),
    (5, 8, 96),
)  # fmt: skip
VECTOR_WAYS = {
    f"{stages} by {size} bytes of {dtype}{' and registers' * registers}": partial(
        product, transport="cp_async", stages=stages, dtype=dtype, lanes=lanes, registers=registers
    )
    for stages, dtype, lanes, size, registers in (
        (2, "float32", 4, 16, False), (3, "float32", 4, 16, False), (4, "float32", 4, 16, False),
        (3, "float32", 2, 8, False), (3, "float32", 4, 16, True), (2, "float16", 8, 16, False),
        (3, "float16", 4, 8, False), (4, "float16", 8, 16, True), (3, "float64", 2, 16, False),
    )
}  # fmt: skip


@pytest.mark.parametrize("way", VECTOR_WAYS)
@pytest.mark.parametrize("shape", WHOLE_VECTORS, ids=str)
def test_products_by_vectors(way, shape):
    assert_way(VECTOR_WAYS[way], WHOLE_VECTORS, shape)


def test_asynchronous_copies_are_emitted_as_such():
    (kernels,) = emulated(product((64, 64, 64), "cp_async", 3))
    text = kernels.source.text
    assert "tw_cp_async<16>(" in text
    assert "tw_cp_async_wait<1>()" in text
    assert kernels.image.asynchronous


def neighbours(shape, transport: str, stages: int) -> Scheduled:
    """B[i, j] = A[i, j] + A[i + 1, j] + A[i + 2, j], rows in shared memory, filled for the next rows ahead."""
    m, n = shape
    a = te.placeholder((m + 2, n), name="A")
    b = te.compute((m, n), lambda i, j: a[i, j] + a[i + 1, j] - a[i + 2, j], name="B")
    s = create_schedule(b.op)
    copy = s.cache_read(a, "shared", [b])
    i, j = b.op.axis
    block, thread = s[b].split(j, factor=32)
    s[b].reorder(block, i, thread)
    s[b].bind(block, "blockIdx.x")
    s[b].bind(thread, "threadIdx.x")
    s[b].pipeline(i, stages, transport)
    s[copy].compute_at(s[b], i)
    shared_out(s[copy], 32, 1)
    return s, [a, b]


ROWS = ((1, 1), (1, 33), (2, 31), (2, 64), (3, 7), (7, 32), (9, 100), (31, 5), (33, 33))
ROW_WAYS = {
    f"{stages} by {transport}": partial(neighbours, transport=transport, stages=stages)
    for transport, stages in (("register", 2), ("cp_async", 2), ("cp_async", 3), ("cp_async", 4))
}


@pytest.mark.parametrize("way", ROW_WAYS)
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_rows(way, shape):
    assert_way(ROW_WAYS[way], ROWS, shape)
