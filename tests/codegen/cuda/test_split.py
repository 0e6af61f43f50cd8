"""One nest to kernels: what a thread does, what it leaves to others, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tilewright import te
from tilewright.codegen.cuda.kernel import Program
from tilewright.codegen.cuda.threads.split import split_kernels
from tilewright.ir.errors import CodegenError, Error
from tilewright.ir.parser import parse_function
from tilewright.ir.printer import function_text
from tilewright.ir.stmt import Function
from tilewright.schedule import create_schedule, lower


def program_of(text: str) -> Program:
    return split_kernels(parse_function(text))


def text_of(program: Program) -> str:
    """Give the kernels as functions, each with its launch."""
    parts = []
    for kernel in program.kernels:
        grid, block = " x ".join(map(str, kernel.grid)), " x ".join(map(str, kernel.block))
        shared = "".join(f"; shared {b.name}" for b in kernel.shared)
        parts.append(f"# {grid} blocks of {block} threads{shared}")
        parts.append(function_text(Function(kernel.name, kernel.params, kernel.body, kernel.outputs)))
    return "\n".join(parts)


def test_stages_of_a_block_share_its_threads(golden: Callable):
    """P has 8 threads of 16, Q the first thread, the result all of them."""
    program = program_of("""
def main(A: float32[48], B: Out[float32[48]]):
    for block in thread("blockIdx.x", 3):
        P = allocate(float32[16], "shared")
        for o in range(2):
            for t in thread("threadIdx.x", 8):
                P[o * 8 + t] = A[block * 16 + o * 8 + t]
        Q = allocate(float32[1], "shared")
        Q[0] = P[0] + P[15]
        for t_1 in thread("threadIdx.x", 16):
            R = allocate(float32[1], "local")
            R[0] = P[15 - t_1] * Q[0]
            if block * 16 + t_1 < 47:
                B[block * 16 + t_1] = R[0]
""")
    golden(text_of(program), "split_block.txt")


def test_nests_at_the_root_are_kernels_that_hand_on_workspaces(golden: Callable):
    program = program_of("""
def main(A: float32[n], C: Out[float32[n]]):
    B = allocate(float32[n])
    for i in thread("blockIdx.x", n):
        B[i] = A[i] + 1.0
    for o in thread("blockIdx.x", (n + 31) // 32):
        for t in thread("threadIdx.x", 32):
            if o * 32 + t < n:
                C[o * 32 + t] = B[n - 1 - o * 32 - t]
""")
    assert [b.name for b in program.workspaces] == ["B"]
    golden(text_of(program), "split_workspace.txt")


def test_the_largest_extent_of_an_axis_is_launched():
    program = program_of("""
def main(A: float32[7], B: Out[float32[7]]):
    P = allocate(float32[7], "shared")
    for t in thread("threadIdx.x", 7):
        P[t] = A[t]
    for u in thread("threadIdx.y", 3):
        for t_1 in thread("threadIdx.x", 2):
            if u * 2 + t_1 < 7:
                B[u * 2 + t_1] = P[u * 2 + t_1]
""")
    assert [k.block for k in program.kernels] == [(7, 3, 1)]


def test_a_nest_without_blocks_is_one_block():
    program = program_of("""
def main(A: float32[7], B: Out[float32[7]]):
    for i in parallel(7):
        B[i] = A[i]
""")
    (kernel,) = program.kernels
    assert (tuple(map(str, kernel.grid)), kernel.block) == (("1", "1", "1"), (1, 1, 1))


# -- refusals ---------------------------------------------------------------------------------------------------------

OPAQUE = """
def main(A: float32[64], B: Out[float32[64]]):
    for block in thread("blockIdx.x", 2):
        P = allocate(float32[32], "{scope}")
        for t in thread("{axis}", 32):
            P[t] = A[block * 32 + t]
        for t_1 in thread("threadIdx.x", 32):
            B[block * 32 + t_1] = P[31 - t_1]
"""


def refused(text: str, fact: str, advice: str, marked: str) -> None:
    with pytest.raises(CodegenError) as caught:
        program_of(text)
    error = caught.value
    assert error.fact == fact
    assert advice in error.advice
    assert [line[1:].strip() for line in error.where.splitlines() if line.startswith(">")] == [marked]


def test_registers_that_threads_would_share():
    refused(
        OPAQUE.format(scope="local", axis="threadIdx.x"),
        "P is kept in registers, and the threads of threadIdx.x each compute a part of it",
        'set_scope("shared") for P',
        'P = allocate(float32[32], "local")',
    )


def test_shared_memory_that_several_blocks_would_fill():
    refused(
        OPAQUE.format(scope="shared", axis="blockIdx.x"),
        "P is kept in shared memory, and the blocks of blockIdx.x compute parts of it",
        "bind the loops of P to threads",
        'P = allocate(float32[32], "shared")',
    )


def test_an_axis_that_no_gpu_has():
    refused(
        OPAQUE.format(scope="shared", axis="threadIdx.w"), "threadIdx.w is no thread axis of a GPU", "threadIdx.x",
        'for t in thread("threadIdx.w", 32):',
    )  # fmt: skip


@pytest.mark.parametrize("scope", ["shared", "local"])
def test_memory_that_no_kernel_hands_on(scope):
    refused(
        f"""
def main(A: float32[4], B: Out[float32[4]]):
    P = allocate(float32[4], "{scope}")
    for i in range(4):
        P[i] = A[i]
    for block in thread("blockIdx.x", 4):
        B[block] = P[block]
""",
        f"P is kept in {scope} memory, which no kernel hands on to the next",
        'set_scope("global")',
        f'P = allocate(float32[4], "{scope}")',
    )


def test_global_memory_within_a_block():
    refused(
        OPAQUE.format(scope="global", axis="threadIdx.x"),
        "P is kept in global memory within the loops of a block",
        'set_scope("shared") or "local" for P',
        "P = allocate(float32[32])",
    )


def test_an_unknown_number_of_threads():
    refused(
        """
def main(A: float32[n], B: Out[float32[n]]):
    for i in thread("threadIdx.x", n):
        B[i] = A[i]
""",
        "loop i, bound to threadIdx.x, has the extent n",
        "split it by a constant factor",
        'for i in thread("threadIdx.x", n):',
    )


def test_functions_that_a_gpu_has_not():
    refused(
        """
def main(A: float32[4], B: Out[float32[4]]):
    for i in thread("threadIdx.x", 4):
        B[i] = cbrtf(A[i], dtype=float32)
""",
        "there is no function 'cbrtf' on a GPU",
        "an intrinsic",
        "B[i] = cbrtf(A[i], dtype=float32)",
    )


def test_a_reduction_whose_threads_need_results_of_their_own():
    """The sum is kept in registers within the loop of the very threads that share it."""
    a = te.placeholder((32, 64), name="A")
    k = te.reduce_axis((0, 64), name="k")
    p = te.compute((32,), lambda i: te.sum(a[i, k], axis=k), name="P")
    b = te.compute((32,), lambda i: p[i] * 2, name="B")
    s = create_schedule(b.op)
    s[b].bind(b.op.axis[0], "threadIdx.x")
    s[p].compute_at(s[b], b.op.axis[0])
    s[p].bind(s[p].split(k, factor=32)[1], "threadIdx.x")
    with pytest.raises(Error) as caught:
        split_kernels(lower(s, [a, b]))
    assert caught.value.fact == "threads along threadIdx.x share the reduction of P, and each needs another part"
    assert "different axes" in caught.value.advice
