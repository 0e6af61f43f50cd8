"""Whole programs: sizes known at the call, several kernels, several results, default schedules of all operators."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest

import tilewright
from tilewright import te
from tilewright.runtime.cuda.emulated_device import EmulatedDevice
from tilewright.schedule import create_schedule
from tilewright.schedule.defaults import default_schedule
from tilewright.te import operators
from tilewright.te.evaluate import evaluate

from .emulated import AMPERE, SIZES, Emulated, Scheduled, assert_same, assert_way, emulated, feeds_of

EPS = float(np.finfo(np.float32).eps)

# -- sizes that are known when a kernel is called ---------------------------------------------------------------------


def symbolic_line(dtype: str = "int32") -> Scheduled:
    n = te.var("n", dtype)
    a = te.placeholder((n,), name="A")
    b = te.compute((n,), lambda i: a[i] * 2 + 1, name="B")
    s = create_schedule(b.op)
    block, thread = s[b].split(b.op.axis[0], factor=32)
    s[b].bind(block, "blockIdx.x")
    s[b].bind(thread, "threadIdx.x")
    return s, [a, b]


def symbolic_plane() -> Scheduled:
    m, n = te.var("m"), te.var("n")
    a = te.placeholder((n, m), name="A")
    b = te.compute((m, n), lambda i, j: a[j, i], name="B")
    s = create_schedule(b.op)
    copy = s[s.cache_read(a, "shared", [b])]
    io, jo, ii, ji = s[b].tile(*b.op.axis, 8, 16)
    for axis, thread in ((io, "blockIdx.y"), (jo, "blockIdx.x"), (ii, "threadIdx.y"), (ji, "threadIdx.x")):
        s[b].bind(axis, thread)
    copy.compute_at(s[b], jo)
    copy.bind(copy.split(copy.fuse(*copy.op.axis), factor=16)[1], "threadIdx.x")
    return s, [a, b]


def symbolic_sums() -> Scheduled:
    m, n = te.var("m"), te.var("n")
    a = te.placeholder((m, n), name="A")
    k = te.reduce_axis((0, n), name="k")
    b = te.compute((m,), lambda i: te.sum(a[i, k], axis=k), name="B")
    s = create_schedule(b.op)
    s[b].bind(s[b].split(k, factor=32)[1], "threadIdx.x")
    block, row = s[b].split(b.op.axis[0], factor=2)
    s[b].bind(block, "blockIdx.x")
    s[b].bind(row, "threadIdx.y")
    return s, [a, b]


def symbolic_product(transport: str = "") -> Scheduled:
    m, n, depth = te.var("m"), te.var("n"), te.var("depth")
    a, b = te.placeholder((m, depth), name="A"), te.placeholder((depth, n), name="B")
    k = te.reduce_axis((0, depth), name="k")
    c = te.compute((m, n), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="C")
    s = create_schedule(c.op)
    sums = s.cache_write(c, "local")
    tiles = [s.cache_read(x, "shared", [sums]) for x in (a, b)]
    io, jo, ii, ji = s[c].tile(*s[c].op.axis, 8, 16)
    for axis, thread in ((io, "blockIdx.y"), (jo, "blockIdx.x"), (ii, "threadIdx.y"), (ji, "threadIdx.x")):
        s[c].bind(axis, thread)
    s[sums].compute_at(s[c], ji)
    outer, inner = s[sums].split(s[sums].op.reduce_axis[0], factor=8)
    s[sums].reorder(outer, inner, *s[sums].op.axis)
    if transport:
        s[sums].pipeline(outer, 2 if transport == "register" else 3, transport)
    for tile in tiles:
        s[tile].compute_at(s[sums], outer)
        s[tile].bind(s[tile].split(s[tile].fuse(*s[tile].op.axis), factor=16)[1], "threadIdx.x")
    return s, [a, b, c]


SYMBOLIC: dict[str, tuple[Callable[[], Scheduled], tuple[str, ...]]] = {
    "line": (symbolic_line, ("n",)),
    "line of int64": (partial(symbolic_line, "int64"), ("n",)),
    "plane": (symbolic_plane, ("m", "n")),
    "sums": (symbolic_sums, ("m", "n")),
    "product": (symbolic_product, ("m", "n", "depth")),
    "product by registers": (partial(symbolic_product, "register"), ("m", "n", "depth")),
    "product by asynchronous copies": (partial(symbolic_product, "cp_async"), ("m", "n", "depth")),
}
DRAWN = (
    (1, 1, 1),
    (7, 33, 2),
    (16, 16, 8),
    (8, 7, 9),
    (33, 31, 17),
    (31, 1, 40),
    (40, 64, 24),
    (64, 5, 31),
    (9, 100, 16),
)


@cache
def symbolic(name: str) -> Emulated:
    (made,) = emulated(SYMBOLIC[name][0]())
    return made


@pytest.mark.parametrize("name", SYMBOLIC)
@pytest.mark.parametrize("drawn", DRAWN, ids=str)
def test_one_kernel_for_all_sizes(name, drawn):
    kernels = symbolic(name)
    sizes = dict(zip(SYMBOLIC[name][1], drawn, strict=False))
    assert_same(kernels, feeds_of(kernels.inputs, sizes))


def test_a_grid_is_computed_from_sizes():
    assert symbolic("line").source.launches[0].grid == ("(n + 31) // 32", "1", "1")


@pytest.mark.parametrize("n", SIZES)
def test_a_module_is_called_with_arrays_of_any_size(n):
    a = np.arange(n, dtype=np.float32)
    b = np.empty_like(a)
    line_module()(a, b)
    np.testing.assert_array_equal(b, a * 2 + 1)


@cache
def line_module():
    s, tensors = symbolic_line()
    return tilewright.build(s, tensors, target=AMPERE, name="line", device=EmulatedDevice("sm_80"))


def test_sizes_that_only_expressions_tell_are_passed():
    n = te.var("n")
    a = te.placeholder((n * 2 + 1,), name="A")
    b = te.compute((n * 2,), lambda i: a[i] + a[i + 1], name="B")
    s = create_schedule(b.op)
    block, thread = s[b].split(b.op.axis[0], factor=16)
    s[b].bind(block, "blockIdx.x")
    s[b].bind(thread, "threadIdx.x")
    module = tilewright.build(s, [n, a, b], target=AMPERE, device=EmulatedDevice("sm_80"))
    for size in (1, 7, 8, 16, 33):
        given, got = np.arange(2 * size + 1, dtype=np.float32), np.empty(2 * size, np.float32)
        module(size, given, got)
        np.testing.assert_array_equal(got, given[:-1] + given[1:])


# -- several kernels, several results ---------------------------------------------------------------------------------


def chain(n: int) -> Scheduled:
    """Three stages, each of a kernel of its own, two of them in workspaces."""
    a = te.placeholder((n,), name="A")
    b = te.compute((n,), lambda i: a[i] + 1, name="B")
    k = te.reduce_axis((0, n), name="k")
    c = te.compute((1,), lambda i: te.sum(b[k], axis=k), name="C")
    d = te.compute((n,), lambda i: b[i] - c[0], name="D")
    s = create_schedule(d.op)
    for tensor in (b, d):
        block, thread = s[tensor].split(tensor.op.axis[0], factor=16)
        s[tensor].bind(block, "blockIdx.x")
        s[tensor].bind(thread, "threadIdx.x")
    s[c].bind(s[c].split(k, factor=32)[1], "threadIdx.x")
    return s, [a, d]


def two_results(n: int) -> Scheduled:
    a = te.placeholder((n,), name="A")
    b = te.compute((n,), lambda i: a[i] + 1, name="B")
    c = te.compute((n,), lambda i: b[i] * 2, name="C")
    s = create_schedule([b.op, c.op])
    for tensor in (b, c):
        block, thread = s[tensor].split(tensor.op.axis[0], factor=16)
        s[tensor].bind(block, "blockIdx.x")
        s[tensor].bind(thread, "threadIdx.x")
    return s, [a, b, c]


def results_of_one_stage(n: int) -> Scheduled:
    a = te.placeholder((n,), "int32", "A")
    b, c = te.compute((n,), lambda i: (a[i] + 1, a[i].astype("float32") * 2), name="B")
    s = create_schedule(b.op)
    block, thread = s[b].split(b.op.axis[0], factor=16)
    s[b].bind(block, "blockIdx.x")
    s[b].bind(thread, "threadIdx.x")
    return s, [a, b, c]


def one_result_within_another(n: int) -> Scheduled:
    """A result that is computed at the blocks of another, by as many threads."""
    a = te.placeholder((n,), name="A")
    b = te.compute((n,), lambda i: a[i] + 1, name="B")
    c = te.compute((n,), lambda i: b[i] * 2, name="C")
    s = create_schedule([c.op])
    s[b].set_scope("global")
    block, thread = s[c].split(c.op.axis[0], factor=16)
    s[c].bind(block, "blockIdx.x")
    s[c].bind(thread, "threadIdx.x")
    s[b].bind(s[b].split(b.op.axis[0], factor=8)[1], "threadIdx.y")
    return s, [a, c]


PROGRAMS = (chain, two_results, results_of_one_stage, one_result_within_another)


@pytest.mark.parametrize("way", PROGRAMS)
@pytest.mark.parametrize("n", SIZES)
def test_programs(way, n):
    assert_way(way, SIZES, n)


def test_kernels_hand_on_workspaces():
    (kernels,) = emulated(chain(33))
    assert [(w.name, w.bytes) for w in kernels.source.workspaces] == [("B", "132"), ("C", "4")]
    assert [[p.name for p in launch.params] for launch in kernels.source.launches] == [
        ["A", "B"], ["B", "C"], ["D", "B", "C"],
    ]  # fmt: skip


# -- default schedules ------------------------------------------------------------------------------------------------


def given(*shape: int, dtype: str = "float32", name: str = "A"):
    return te.placeholder(shape, dtype, name)


def of_one(operator: Callable, *shape: int, dtype: str = "float32", **options: object):
    a = given(*shape, dtype=dtype)
    made = operator(a, **options)
    return [a], made


def of_two(operator: Callable, one: tuple[int, ...], two: tuple[int, ...], dtype: str = "float32", **options: object):
    a, b = given(*one, dtype=dtype), given(*two, dtype=dtype, name="B")
    return [a, b], operator(a, b, **options)


def layer_norm(m: int, n: int):
    a, gamma, beta = given(m, n), given(n, name="gamma"), given(n, name="beta")
    return [a, gamma, beta], operators.layer_norm(a, gamma, beta)


EXACT: dict[str, Callable] = {}  # families whose results on whole numbers are exact, each with three shapes
ROUNDED: dict[str, Callable] = {}  # families with exponentials, roots and quotients


def family(table: dict[str, Callable], name: str, operator: Callable, *cases: tuple, **options: object) -> None:
    for case in cases:
        table[f"{name}{case}"] = partial(operator, *case, **options)


family(EXACT, "relu", partial(of_one, operators.relu), (1,), (7, 33), (4, 5, 64))
family(EXACT, "add", partial(of_two, operators.add), ((7,), (7,)), ((3, 32), (3, 32)), ((5, 31), (5, 31)))
family(EXACT, "matmul", partial(of_two, operators.matmul), ((1, 1), (1, 1)), ((7, 33), (33, 5)), ((32, 40), (40, 36)))
family(EXACT, "dense", partial(of_two, operators.dense), ((1, 8), (3, 8)), ((7, 33), (5, 33)), ((16, 40), (32, 40)))
family(EXACT, "batch_matmul", partial(of_two, operators.batch_matmul), ((1, 3, 4), (1, 5, 4)), ((2, 7, 33), (2, 5, 33)),
       ((3, 8, 8), (3, 8, 8)))  # fmt: skip
family(EXACT, "conv2d_nchw", partial(of_two, operators.conv2d_nchw, stride=1, padding=1), ((1, 1, 3, 3), (1, 1, 3, 3)),
       ((1, 3, 7, 5), (4, 3, 3, 3)), ((2, 8, 6, 6), (5, 8, 3, 3)))  # fmt: skip
family(EXACT, "conv2d_nhwc", partial(of_two, operators.conv2d_nhwc, stride=2, padding=1), ((1, 3, 3, 1), (3, 3, 1, 1)),
       ((1, 7, 5, 3), (3, 3, 3, 4)), ((2, 6, 6, 8), (3, 3, 8, 5)))  # fmt: skip
family(EXACT, "depthwise", partial(of_two, operators.depthwise_conv2d_nchw, stride=1, padding=1),
       ((1, 1, 3, 3), (1, 1, 3, 3)), ((1, 3, 7, 5), (3, 1, 3, 3)), ((2, 4, 6, 9), (4, 1, 3, 3)))  # fmt: skip
family(EXACT, "max_pool", partial(of_one, operators.pool2d, kernel=3, stride=2, padding=1, pool_type="max"),
       (1, 1, 3, 3), (1, 3, 9, 7), (2, 4, 8, 8))  # fmt: skip
family(EXACT, "sum", partial(of_one, operators.sum, axis=1), (1, 1), (7, 33), (33, 1000))
family(EXACT, "sum of all", partial(of_one, operators.sum), (1,), (7, 33), (5, 6, 100))
family(EXACT, "max", partial(of_one, operators.max, axis=0), (1, 1), (33, 7), (70, 5))
family(EXACT, "argmax", partial(of_one, operators.argmax, axis=1), (1, 1), (7, 33), (5, 100))
family(EXACT, "pad", partial(of_one, operators.pad, pad_before=(1, 2), pad_after=(3, 0)), (1, 1), (7, 5), (16, 32))
family(EXACT, "transpose", partial(of_one, operators.transpose), (1, 7), (33, 31), (4, 5, 6))
family(EXACT, "conv2d of bytes", partial(of_two, operators.conv2d_nchw, stride=1, padding=0, dtype="int8",
       out_dtype="int32"), ((1, 2, 3, 3), (1, 2, 3, 3)), ((1, 3, 7, 5), (4, 3, 3, 3)),
       ((2, 8, 6, 6), (5, 8, 3, 3)))  # fmt: skip
family(ROUNDED, "softmax", partial(of_one, operators.softmax), (1, 1), (7, 33), (3, 5, 100))
family(ROUNDED, "log_softmax", partial(of_one, operators.log_softmax), (1, 1), (7, 33), (3, 100))
family(ROUNDED, "layer_norm", layer_norm, (1, 4), (7, 33), (3, 100))
family(ROUNDED, "sigmoid", partial(of_one, operators.sigmoid), (1,), (7, 33), (4, 5, 64))
family(ROUNDED, "avg_pool", partial(of_one, operators.pool2d, kernel=3, stride=2, padding=1, pool_type="avg"),
       (1, 1, 3, 3), (1, 3, 9, 7), (2, 4, 8, 8))  # fmt: skip
family(ROUNDED, "mean", partial(of_one, operators.mean, axis=1), (1, 1), (7, 33), (5, 300))


@cache
def by_default(table_name: str) -> dict[str, Emulated]:
    table = {"exact": EXACT, "rounded": ROUNDED}[table_name]
    scheduled = []
    for make in table.values():
        inputs, result = make()
        scheduled.append((default_schedule([result], AMPERE), [*inputs, result]))
    return dict(zip(table, emulated(*scheduled), strict=True))


@pytest.mark.parametrize("name", EXACT)
def test_default_schedules_are_exact_on_whole_numbers(name):
    assert_same(by_default("exact")[name])


@pytest.mark.parametrize("name", ROUNDED)
def test_default_schedules_of_functions_round_a_few_times(name):
    """Exponentials differ by 2 units in the last place from NumPy's, and sums of n numbers by n / 2."""
    kernels = by_default("rounded")[name]
    feeds = feeds_of(kernels.inputs)
    expected = evaluate(kernels.outputs, dict(zip(kernels.inputs, feeds, strict=True)))
    longest = max(max(feed.shape) for feed in feeds)
    for want, got in zip(expected, kernels.results(feeds, expected), strict=True):
        np.testing.assert_allclose(got, want, rtol=(4 + longest) * EPS, atol=(4 + longest) * EPS)


def test_softmax_is_several_kernels():
    kernels = by_default("rounded")["softmax(7, 33)"]
    assert len(kernels.source.launches) > 1
    assert kernels.source.workspaces
