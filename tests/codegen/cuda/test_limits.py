"""Kernels that no GPU of the target's architecture runs are refused, with the figure and the limit."""

from __future__ import annotations

import pytest

from tilewright.codegen.cuda.kernel import Kernel, effect
from tilewright.codegen.cuda.screens.limits import check_limits, excesses
from tilewright.codegen.cuda.text.shared_memory import shared_layout
from tilewright.ir.errors import TargetError
from tilewright.ir.expr import Address, Const
from tilewright.ir.stmt import Allocate
from tilewright.ir.target import Target

from .hand_kernels import TX, buffer, kernel, load, sgemm, store

AMPERE, HOPPER = Target("cuda", arch="sm_80"), Target("cuda", arch="sm_90a")
NOTHING = effect("barrier")


def refusal(refused: Kernel, target: Target = HOPPER) -> TargetError:
    with pytest.raises(TargetError) as caught:
        check_limits(refused, target)
    assert caught.value.step == "limits"
    assert caught.value.advice
    return caught.value


def test_a_kernel_within_all_limits_passes() -> None:
    check_limits(sgemm(), AMPERE)
    assert list(excesses(sgemm(), Target("cuda", arch="sm_70"))) == []


def test_threads_of_a_block() -> None:
    error = refusal(kernel(NOTHING, (64, 32, 1)))
    assert error.fact == "a block has 64 x 32 x 1 = 2048 threads, at most 1024 are possible"


def test_steps_along_an_axis_of_a_block() -> None:
    assert refusal(kernel(NOTHING, (1, 1, 65))).fact == "threadIdx.z has 65 steps, at most 64 are possible"


def test_steps_along_an_axis_of_the_grid() -> None:
    check_limits(kernel(NOTHING, grid=(1 << 20, 65535, 1)), HOPPER)
    error = refusal(kernel(NOTHING, grid=(1, 65536, 1)))
    assert error.fact == "blockIdx.y has 65536 steps, at most 65535 are possible"


def test_shared_memory_names_its_buffers_and_their_sizes() -> None:
    tiles = [buffer(name, 2, 128, 128, scope="shared") for name in ("A_shared", "B_shared")]
    error = refusal(kernel(NOTHING, shared=tiles))
    assert error.fact == "a block needs 256 KiB of shared memory, sm_90a has 227 KiB for one"
    assert error.where.splitlines() == [
        "  kernel k on sm_90a",
        "  A_shared (2, 128, 128) float32, shared: 128 KiB",
        "  B_shared (2, 128, 128) float32, shared: 128 KiB",
    ]
    assert error.advice == "smaller tiles, or fewer stages of the pipelined loop"


def test_the_limit_of_shared_memory_is_the_architectures() -> None:
    big = kernel(NOTHING, shared=[buffer("A_shared", 180 << 10, scope="shared", dtype="int8")])
    check_limits(big, HOPPER)
    assert "a block needs 180 KiB of shared memory, sm_80 has 163 KiB" in refusal(big, AMPERE).fact


def test_shared_memory_counts_gaps_between_rows_and_before_aligned_buffers() -> None:
    padded = buffer("A", 4, 32, scope="shared", strides=(Const(33), Const(1)))
    after = buffer("B", 1, scope="shared")
    assert shared_layout(kernel(NOTHING, shared=[padded])) == ({padded: 0}, 4 * 33 * 4)
    assert shared_layout(kernel(NOTHING, shared=[padded, after])) == ({padded: 0, after: 640}, 640 + 4)


def test_arrays_of_a_thread_fit_its_registers() -> None:
    tile = buffer("C_local", 16, 16, scope="local")
    error = refusal(kernel(Allocate(tile, NOTHING)))
    assert error.fact == "a thread's arrays need 256 registers, it can have 255"
    assert "C_local (16, 16) float32, local: 1 KiB" in error.where


def test_arrays_of_a_block_fit_the_multiprocessor() -> None:
    tile = buffer("C_local", 8, 16, scope="local")
    check_limits(kernel(Allocate(tile, NOTHING), (512, 1, 1)), HOPPER)
    error = refusal(kernel(Allocate(tile, NOTHING), (1024, 1, 1)))
    assert error.fact == "1024 threads with arrays of 128 registers need 131072, a multiprocessor has 65536"


def test_blocks_that_are_to_be_resident_together() -> None:
    tile = buffer("A_shared", 60 << 10, scope="shared", dtype="int8")
    check_limits(kernel(NOTHING, shared=[tile], min_blocks=3), HOPPER)
    error = refusal(kernel(NOTHING, shared=[tile], min_blocks=4))
    assert error.fact == (
        "4 blocks of 32 threads and 60 KiB of shared memory are to be on a multiprocessor at a time, 3 fit"
    )


def test_clusters_need_hopper_and_have_a_size() -> None:
    clustered = kernel(NOTHING, cluster=(2, 1, 1))
    check_limits(clustered, HOPPER)
    assert refusal(clustered, AMPERE).fact == "clusters of 2 blocks need sm_90, the target is sm_80"
    assert "a cluster has 16 blocks" in refusal(kernel(NOTHING, cluster=(16, 1, 1))).fact


@pytest.mark.parametrize(
    "name, target, needed",
    [("cp_async_commit", "sm_75", "sm_80"), ("stmatrix_x4", "sm_89", "sm_90"), ("wgmma_commit", "sm_90", "sm_90a"),
     ("wgmma_commit", "sm_100a", "sm_90a")],
)  # fmt: skip
def test_instructions_that_the_architecture_lacks(name: str, target: str, needed: str) -> None:
    error = refusal(kernel(effect(name)), Target("cuda", arch=target))
    assert error.fact == f"{name} needs {needed}, the target is {target}"


def copying(amount: int, begin: int) -> Kernel:
    source, tile = buffer("A", 4096), buffer("T", 4096, scope="shared")
    addresses = Address(tile, (TX * 4 + begin,)), Address(source, (TX * 4,))
    return kernel(effect("cp_async", *addresses, amount, amount), shared=[tile])


def test_asynchronous_copies_have_sizes_and_are_aligned() -> None:
    check_limits(copying(16, 0), HOPPER)
    check_limits(copying(8, 2), HOPPER)
    assert refusal(copying(12, 0)).fact == "cp_async moves 12 bytes at a time, (4, 8, 16) are possible"
    assert refusal(copying(16, 2)).fact == "cp_async takes 16 bytes at byte 8 of T: not aligned"


def test_lanes_that_do_not_copy_need_no_alignment() -> None:
    source, kept = buffer("A", 4096), buffer("kept", 1, scope="local")
    check_limits(kernel(Allocate(kept, store(kept, 0, value=load(source, TX * 3)))), HOPPER)


def test_a_target_that_names_no_gpu_is_refused() -> None:
    with pytest.raises(TargetError, match="'cuda' names no GPU"):
        check_limits(sgemm(), Target("cuda"))
