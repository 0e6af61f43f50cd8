"""Reductions that threads share: within a warp, over a block, in trees, with several results, of tuples."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tilewright import te
from tilewright.schedule import create_schedule
from tilewright.te import operators

from .emulated import MATRICES, SIZES, Scheduled, assert_same, assert_way, emulated

REDUCERS = {"sum": te.sum, "max": te.max, "min": te.min, "prod": te.prod}


def rows(shape, reducer: str = "sum", dtype: str = "float32"):
    """B[i] = the sum of row i of A, or its maximum, or its product."""
    m, n = shape
    a = te.placeholder((m, n), dtype, "A")
    k = te.reduce_axis((0, n), name="k")
    b = te.compute((m,), lambda i: REDUCERS[reducer](a[i, k], axis=k), name="B")
    return create_schedule(b.op), a, b


def over_x(shape, threads: int, results: int = 1, **what: str) -> Scheduled:
    """Share each reduction among `threads` threads along x, of `results` rows along y."""
    s, a, b = rows(shape, **what)
    s[b].bind(s[b].split(b.op.reduce_axis[0], factor=threads)[1], "threadIdx.x")
    block, row = s[b].split(b.op.axis[0], factor=results)
    s[b].bind(block, "blockIdx.x")
    s[b].bind(row, "threadIdx.y")
    return s, [a, b]


def over_y(shape, threads: int, results: int) -> Scheduled:
    """Share each reduction among threads along y; x has the results."""
    s, a, b = rows(shape)
    s[b].bind(s[b].split(b.op.reduce_axis[0], factor=threads)[1], "threadIdx.y")
    block, row = s[b].split(b.op.axis[0], factor=results)
    s[b].bind(block, "blockIdx.x")
    s[b].bind(row, "threadIdx.x")
    return s, [a, b]


def over_both(shape, across: int, down: int) -> Scheduled:
    """Share each reduction among all threads of a block of two dimensions."""
    s, a, b = rows(shape)
    outer, inner = s[b].split(b.op.reduce_axis[0], factor=across)
    s[b].bind(inner, "threadIdx.x")
    s[b].bind(s[b].split(outer, factor=down)[1], "threadIdx.y")
    s[b].bind(b.op.axis[0], "blockIdx.x")
    return s, [a, b]


def in_neighbouring_parts(shape, threads: int) -> Scheduled:
    """Each thread reduces neighbours: the loop over threads is the outer one."""
    s, a, b = rows(shape)
    s[b].bind(s[b].split(b.op.reduce_axis[0], nparts=threads)[0], "threadIdx.x")
    s[b].bind(b.op.axis[0], "blockIdx.x")
    return s, [a, b]


def several_rows_one_after_the_other(shape) -> Scheduled:
    s, a, b = rows(shape)
    s[b].bind(s[b].split(b.op.reduce_axis[0], factor=32)[1], "threadIdx.x")
    block, row = s[b].split(b.op.axis[0], factor=3)
    s[b].bind(block, "blockIdx.x")
    s[b].unroll(row)
    return s, [a, b]


def with_virtual_threads(shape) -> Scheduled:
    s, a, b = rows(shape)
    s[b].bind(s[b].split(b.op.reduce_axis[0], factor=16)[1], "threadIdx.x")
    block, row = s[b].split(b.op.axis[0], factor=4)
    virtual, row = s[b].split(row, nparts=2)
    s[b].bind(block, "blockIdx.x")
    s[b].bind(virtual, "vthread")
    s[b].bind(row, "threadIdx.y")
    return s, [a, b]


WAYS = {
    "a thread": partial(over_x, threads=1),
    "2 lanes": partial(over_x, threads=2, results=16),
    "8 lanes of 4 rows": partial(over_x, threads=8, results=4),
    "a warp": partial(over_x, threads=32),
    "a warp of 5 rows": partial(over_x, threads=32, results=5),
    "2 warps of 2 rows": partial(over_x, threads=64, results=2),
    "a block": partial(over_x, threads=128),
    "a part of a warp": partial(over_x, threads=16),
    "7 threads": partial(over_x, threads=7, results=3),
    "33 threads": partial(over_x, threads=33),
    "48 threads of 2 rows": partial(over_x, threads=48, results=2),
    "4 along y": partial(over_y, threads=4, results=32),
    "7 along y": partial(over_y, threads=7, results=5),
    "32 along y": partial(over_y, threads=32, results=3),
    "8 along x and 4 along y": partial(over_both, across=8, down=4),
    "16 along x and 6 along y": partial(over_both, across=16, down=6),
    "5 along x and 3 along y": partial(over_both, across=5, down=3),
    "neighbouring parts": partial(in_neighbouring_parts, threads=32),
    "rows one after the other": several_rows_one_after_the_other,
    "virtual threads": with_virtual_threads,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", MATRICES, ids=str)
def test_sums(way, shape):
    assert_way(WAYS[way], MATRICES, shape)


KINDS = {
    f"{reducer}-{dtype}-{threads}": partial(over_x, threads=threads, results=results, reducer=reducer, dtype=dtype)
    for reducer, dtype, threads, results in (
        ("max", "float32", 32, 2), ("min", "int32", 64, 1), ("prod", "int32", 16, 2), ("max", "int8", 48, 1),
        ("sum", "int64", 32, 1), ("max", "float16", 64, 1), ("min", "float64", 7, 2), ("sum", "float64", 96, 1),
        ("prod", "float32", 40, 1), ("max", "uint8", 32, 2),
    )
}  # fmt: skip


@pytest.mark.parametrize("way", KINDS)
@pytest.mark.parametrize("shape", MATRICES, ids=str)
def test_reducers_and_types(way, shape):
    assert_way(KINDS[way], MATRICES, shape)


# -- tuples ---------------------------------------------------------------------------------------------------------


def argmax_over(shape, threads: int, results: int = 1) -> Scheduled:
    m, n = shape
    a = te.placeholder((m, n), name="A")
    best = operators.argmax(a, axis=1)
    s = create_schedule(best.op)
    (found,) = [x for x in s.stages if x.op.reduce_axis]
    if found.op is not best.op:
        found = s[found.op.output(0)]
    found.bind(found.split(found.op.reduce_axis[0], factor=threads)[1], "threadIdx.x")
    block, row = found.split(found.op.axis[0], factor=results)
    found.bind(block, "blockIdx.x")
    found.bind(row, "threadIdx.y")
    if found.op is not best.op:
        s[best].bind(s[best].op.axis[0], "blockIdx.x")
    return s, [a, best]


ARGMAX = {
    "a warp": partial(argmax_over, threads=32),
    "8 lanes of 4 rows": partial(argmax_over, threads=8, results=4),
    "2 warps": partial(argmax_over, threads=64),
    "7 threads": partial(argmax_over, threads=7, results=2),
    "a block of 3 warps": partial(argmax_over, threads=96),
}


@pytest.mark.parametrize("way", ARGMAX)
@pytest.mark.parametrize("shape", MATRICES, ids=str)
def test_the_first_largest_among_equals(way, shape):
    assert_way(ARGMAX[way], MATRICES, shape)


def mean_and_squares(shape, threads: int) -> Scheduled:
    """Two sums at once: of the elements, and of their squares."""
    m, n = shape
    a = te.placeholder((m, n), name="A")
    k = te.reduce_axis((0, n), name="k")
    both = te.comm_reducer(
        lambda x, y: (x[0] + y[0], x[1] + y[1]), lambda t, u: (te.const(0, t), te.const(0, u)), name="both"
    )
    total, squares = te.compute((m,), lambda i: both((a[i, k], a[i, k] * a[i, k]), axis=k), name="B")
    s = create_schedule(total.op)
    stage = s[total]
    stage.bind(stage.split(total.op.reduce_axis[0], factor=threads)[1], "threadIdx.x")
    stage.bind(total.op.axis[0], "blockIdx.x")
    return s, [a, total, squares]


PAIRS = {f"{t} threads": partial(mean_and_squares, threads=t) for t in (32, 20, 128)}


@pytest.mark.parametrize("way", PAIRS)
@pytest.mark.parametrize("shape", MATRICES, ids=str)
def test_two_results_at_once(way, shape):
    assert_way(PAIRS[way], MATRICES, shape)


# -- parts of a reduction as results of their own ---------------------------------------------------------------------


def parts_of_a_sum(n: int, threads: int, across: bool) -> Scheduled:
    """One sum: rfactor gives each block's, and the second kernel adds those up."""
    a = te.placeholder((n,), name="A")
    k = te.reduce_axis((0, n), name="k")
    b = te.compute((1,), lambda i: te.sum(a[k], axis=k), name="B")
    s = create_schedule(b.op)
    outer, inner = s[b].split(k, factor=threads)
    part = s.rfactor(b, outer if across else inner)
    s[part].bind(s[part].op.axis[0], "blockIdx.x" if across else "threadIdx.x")
    if across:
        s[part].bind(s[part].op.reduce_axis[0], "threadIdx.x")
    s[b].bind(s[b].split(s[b].op.reduce_axis[0], factor=16)[1], "threadIdx.x")
    return s, [a, b]


def parts_in_registers(n: int) -> Scheduled:
    """Partial sums of each thread, computed at the loop of the threads that share the rest."""
    a = te.placeholder((n,), name="A")
    k = te.reduce_axis((0, n), name="k")
    b = te.compute((1,), lambda i: te.sum(a[k], axis=k), name="B")
    s = create_schedule(b.op)
    _, inner = s[b].split(k, factor=32)
    part = s.rfactor(b, inner)
    thread = s[b].op.reduce_axis[0]
    s[b].bind(thread, "threadIdx.x")
    s[part].compute_at(s[b], thread)
    return s, [a, b]


PARTS = {
    "parts of blocks": partial(parts_of_a_sum, threads=16, across=True),
    "parts of threads": partial(parts_of_a_sum, threads=32, across=False),
    "parts in registers": parts_in_registers,
}


@pytest.mark.parametrize("way", PARTS)
@pytest.mark.parametrize("n", SIZES)
def test_parts(way, n):
    assert_way(PARTS[way], SIZES, n)


# -- within other stages --------------------------------------------------------------------------------------------


def normalized(shape, threads: int, at_rows: bool) -> Scheduled:
    """Each element less its row's maximum, which the block's threads find in shared memory."""
    m, n = shape
    a = te.placeholder((m, n), name="A")
    k = te.reduce_axis((0, n), name="k")
    most = te.compute((m,), lambda i: te.max(a[i, k], axis=k), name="Most")
    b = te.compute((m, n), lambda i, j: a[i, j] - most[i], name="B")
    s = create_schedule(b.op)
    i, j = b.op.axis
    _, thread = s[b].split(j, factor=threads)
    s[b].bind(thread, "threadIdx.x")
    if not at_rows:
        i, row = s[b].split(i, factor=2)
        s[b].bind(row, "threadIdx.y")
    s[b].bind(i, "blockIdx.x")
    s[most].set_scope("shared")
    s[most].compute_at(s[b], i)
    s[most].bind(s[most].split(most.op.reduce_axis[0], factor=threads)[1], "threadIdx.x")
    if not at_rows:
        s[most].bind(most.op.axis[0], "threadIdx.y")
    return s, [a, b]


NORMALIZED = {
    f"{threads} threads{' a row' if rows else ' of 2 rows'}": partial(normalized, threads=threads, at_rows=rows)
    for threads in (8, 24, 64)
    for rows in (True, False)
}


@pytest.mark.parametrize("way", NORMALIZED)
@pytest.mark.parametrize("shape", MATRICES, ids=str)
def test_reductions_that_others_read(way, shape):
    assert_way(NORMALIZED[way], MATRICES, shape)


def test_sums_of_fractions_are_near():
    """Threads add in another order: each of the n - 1 additions rounds by up to eps / 2 of a partial sum."""
    (kernels,) = emulated(over_x((3, 500), threads=64))
    a = np.random.default_rng(1).uniform(0, 1, (3, 500)).astype(np.float32)
    (got,) = kernels.results([a], [np.empty(3, np.float32)])
    np.testing.assert_allclose(got, a.astype(np.float64).sum(axis=1), rtol=500 * np.finfo(np.float32).eps / 2)


def test_negative_zeros_and_nans_come_through():
    (kernels,) = emulated(over_x((2, 40), threads=32, reducer="max"))
    a = np.full((2, 40), -0.0, np.float32)
    a[1, 33] = np.nan
    assert_same(kernels, [a])
