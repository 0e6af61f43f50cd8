"""How the parts of a shared reduction are combined: by shuffles, between warps, in a tree."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tilewright import te
from tilewright.codegen.cuda.kernel import Kernel
from tilewright.codegen.cuda.lower import lower_cuda
from tilewright.ir.printer import stmt_text
from tilewright.ir.visit import walk
from tilewright.schedule import create_schedule, lower
from tilewright.te import operators

from .emulated import AMPERE


def kernel_of(threads: int, rows: int = 1, along: str = "x", depth: int | None = None) -> Kernel:
    """Give the kernel of sums that `threads` threads share, `rows` to a block."""
    depth = threads * 2 if depth is None else depth
    a = te.placeholder((rows * 4, depth), name="A")
    k = te.reduce_axis((0, depth), name="k")
    b = te.compute((rows * 4,), lambda i: te.sum(a[i, k], axis=k), name="B")
    s = create_schedule(b.op)
    s[b].bind(s[b].split(k, factor=threads)[1], f"threadIdx.{along}")
    block, row = s[b].split(b.op.axis[0], factor=rows)
    s[b].bind(block, "blockIdx.x")
    s[b].bind(row, f"threadIdx.{'y' if along == 'x' else 'x'}")
    (kernel,) = lower_cuda(lower(s, [a, b]), AMPERE).kernels
    return kernel


def calls(kernel: Kernel, name: str) -> int:
    return sum(1 for node in walk(kernel.body) if getattr(node, "name", "") == name and hasattr(node, "args"))


@pytest.mark.parametrize(("threads", "rows", "steps"), [(2, 16, 1), (8, 4, 3), (16, 2, 4), (32, 1, 5), (32, 3, 5)])
def test_neighbours_in_a_warp_shuffle(threads: int, rows: int, steps: int):
    kernel = kernel_of(threads, rows)
    assert (calls(kernel, "shuffle_xor"), calls(kernel, "barrier"), kernel.shared) == (steps, 0, ())


@pytest.mark.parametrize(("threads", "rows"), [(64, 1), (96, 2), (256, 1)])
def test_whole_warps_meet_in_shared_memory_once(threads: int, rows: int):
    kernel = kernel_of(threads, rows)
    assert (calls(kernel, "shuffle_xor"), calls(kernel, "barrier"), len(kernel.shared)) == (5, 1, 1)


@pytest.mark.parametrize(
    ("threads", "rows", "along"), [(7, 1, "x"), (16, 1, "x"), (33, 1, "x"), (48, 2, "x"), (4, 8, "y"), (32, 3, "y")]
)
def test_other_groups_meet_in_a_tree(threads: int, rows: int, along: str):
    kernel = kernel_of(threads, rows, along)
    assert calls(kernel, "shuffle_xor") == 0
    assert len(kernel.shared) == 1
    assert calls(kernel, "barrier") >= 2


def test_one_thread_has_nothing_to_combine():
    kernel = kernel_of(1, depth=5)
    assert (calls(kernel, "shuffle_xor"), calls(kernel, "barrier"), kernel.shared) == (0, 0, ())


@pytest.mark.parametrize(("name", "threads", "rows"), [("warp", 32, 1), ("block", 64, 1), ("tree", 6, 2)])
def test_the_statements(name: str, threads: int, rows: int, golden: Callable):
    golden(stmt_text(kernel_of(threads, rows).body), f"cross_thread_{name}.txt")


def test_tuples_take_the_first_lanes_choice(golden: Callable):
    a = te.placeholder((4, 64), name="A")
    best = operators.argmax(a, axis=1)
    s = create_schedule(best.op)
    pairs = next(x for x in s.stages if x.op.reduce_axis)
    pairs.bind(pairs.split(pairs.op.reduce_axis[0], factor=32)[1], "threadIdx.x")
    pairs.bind(pairs.op.axis[0], "blockIdx.x")
    kernel = lower_cuda(lower(s, [a, best]), AMPERE).kernels[0]
    golden(stmt_text(kernel.body), "cross_thread_argmax.txt")
