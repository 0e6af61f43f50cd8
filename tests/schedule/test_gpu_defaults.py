"""Default schedules for GPUs: who computes what, chosen by the numbers of results and of terms."""

from __future__ import annotations

import pytest

from tilewright import te
from tilewright.codegen.cuda.threads.split import split_kernels
from tilewright.ir.arith import int_value
from tilewright.ir.stmt import For, ForKind
from tilewright.ir.target import Target
from tilewright.ir.visit import statements
from tilewright.schedule import lower
from tilewright.schedule.defaults import default_schedule
from tilewright.te import operators

GPU = Target.parse("cuda -arch=sm_80")


def launch_of(*tensors):
    """Give the blocks and threads of the one kernel for inputs and a result, and its nest."""
    function = lower(default_schedule([tensors[-1]], GPU), tensors)
    (kernel,) = split_kernels(function).kernels
    return tuple(map(int_value, kernel.grid)), kernel.block, function.body


def kinds(body) -> set[ForKind]:
    return {s.kind for s in statements(body) if type(s) is For}


def elementwise(*shape, dtype: str = "float32"):
    a = te.placeholder(shape, dtype, "A")
    return a, te.compute(shape, lambda *i: a[i] * 2, name="B")


@pytest.mark.parametrize(
    ("shape", "dtype", "blocks", "lanes"),
    [((1024,), "float32", 1, 4), ((1025,), "float32", 5, 1), ((32, 64), "float32", 2, 4), ((4, 8, 64), "float16", 1, 8),
     ((4096,), "int8", 1, 16), ((4096,), "float64", 8, 2), ((7, 33), "float32", 1, 1)],
)  # fmt: skip
def test_every_result_has_a_thread_or_a_lane(shape, dtype, blocks, lanes):
    grid, block, body = launch_of(*elementwise(*shape, dtype=dtype))
    assert (grid, block[0] <= 256) == ((blocks, 1, 1), True)
    widths = [int_value(s.extent) for s in statements(body) if type(s) is For and s.kind is ForKind.VECTORIZED]
    assert widths == ([lanes] if lanes > 1 else [])


def sums(rows: int, columns: int):
    a = te.placeholder((rows, columns), name="A")
    return a, operators.sum(a, axis=1)


@pytest.mark.parametrize(
    ("rows", "columns", "grid", "block"),
    [
        (10, 1000, (2, 1, 1), (32, 8, 1)),  # a warp each
        (10, 5000, (10, 1, 1), (256, 1, 1)),  # a block each
        (10, 31, (1, 1, 1), (10, 1, 1)),  # too short to share
        (20000, 100, (79, 1, 1), (256, 1, 1)),  # results enough for all threads
    ],
)
def test_few_long_sums_are_shared(rows, columns, grid, block):
    assert launch_of(*sums(rows, columns))[:2] == (grid, block)


def test_a_single_sum_has_a_block():
    a = te.placeholder((100, 100), name="A")
    assert launch_of(a, operators.sum(a))[:2] == ((1, 1, 1), (256, 1, 1))


def test_producers_of_elements_are_inlined():
    a, b = elementwise(256)
    c = te.compute((256,), lambda i: b[i] + 1, name="C")
    grid, _, _ = launch_of(a, c)
    assert grid == (1, 1, 1)


def test_symbolic_sizes_are_left_to_the_grid():
    n = te.var("n")
    a = te.placeholder((n,), name="A")
    b = te.compute((n,), lambda i: a[i] * 2, name="B")
    function = lower(default_schedule([b], GPU), [a, b])
    (kernel,) = split_kernels(function).kernels
    assert (str(kernel.grid[0]), kernel.block) == ("(n + 255) // 256", (256, 1, 1))


def test_scalars_have_one_thread():
    a = te.placeholder((1,), name="A")
    b = te.compute((), lambda: a[0] * 2, name="B")
    assert launch_of(a, b)[:2] == ((1, 1, 1), (1, 1, 1))


def test_no_loop_is_left_to_the_pool():
    assert ForKind.PARALLEL not in kinds(launch_of(*elementwise(64, 64))[2])
