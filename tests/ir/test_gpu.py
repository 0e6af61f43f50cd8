"""Limits of GPUs and the targets that name them."""

from __future__ import annotations

import pytest

from tilewright.ir.errors import TargetError
from tilewright.ir.gpu import GPUS
from tilewright.ir.target import Target

# architecture, registers of a thread, threads of a block, shared bytes of a block -> resident blocks, as
# cudaOccMaxActiveBlocksPerMultiprocessor of CUDA 13.0's cuda_occupancy.h gives them
RESIDENT = """
sm_70 40 256 8192 6
sm_70 168 256 8192 1
sm_70 128 512 60000 1
sm_70 32 128 33000 2
sm_70 64 1024 0 1
sm_70 168 384 1000 1
sm_70 255 512 33000 0
sm_75 255 32 33000 1
sm_75 16 512 33000 1
sm_75 255 128 49152 1
sm_75 16 96 0 10
sm_75 168 32 0 12
sm_75 64 96 0 10
sm_75 255 384 0 0
sm_80 32 1024 8192 2
sm_80 32 256 160000 1
sm_80 168 32 100000 1
sm_80 64 512 98304 1
sm_80 96 128 98304 1
sm_80 200 128 60000 2
sm_80 255 512 100000 0
sm_86 96 128 33000 3
sm_86 64 384 33000 2
sm_86 168 32 100000 1
sm_86 32 128 60000 1
sm_86 40 32 98304 1
sm_86 168 32 60000 1
sm_86 40 512 160000 0
sm_89 96 512 33000 1
sm_89 64 256 100000 1
sm_89 200 128 33000 2
sm_89 16 32 100000 1
sm_89 168 128 100000 1
sm_89 255 32 60000 1
sm_89 32 96 160000 0
sm_90 40 128 33000 6
sm_90 16 384 33000 5
sm_90 96 128 160000 1
sm_90 16 256 1000 8
sm_90 64 1024 60000 1
sm_90 200 256 49152 1
sm_90 255 384 98304 0
sm_100 128 512 98304 1
sm_100 168 256 100000 1
sm_100 168 32 49152 4
sm_100 200 32 60000 3
sm_100 32 1024 100000 2
sm_100 128 256 49152 2
sm_100 128 1024 8192 0
sm_120 16 128 8192 11
sm_120 32 96 60000 1
sm_120 96 256 60000 1
sm_120 32 1024 100000 1
sm_120 40 128 49152 2
sm_120 168 256 0 1
sm_120 168 512 1000 0
"""


@pytest.mark.parametrize("row", RESIDENT.strip().splitlines())
def test_resident_blocks_are_those_of_the_vendors_calculator(row: str) -> None:
    arch, registers, threads, shared_bytes, blocks = row.split()
    assert GPUS[arch].resident_blocks(int(threads), int(registers), int(shared_bytes)) == int(blocks)


def test_occupancy_is_the_share_of_the_warps() -> None:
    assert GPUS["sm_90a"].occupancy(256, 128, 33 * 1024) == 2 * 8 / 64
    assert GPUS["sm_80"].occupancy(1024, 32, 0) == 1.0
    assert GPUS["sm_80"].occupancy(256, 256, 0) == 0.0


def test_a_target_round_trips_through_its_text() -> None:
    target = Target.parse("cuda -arch=sm_90a")
    assert (target.kind, target.arch) == ("cuda", "sm_90a")
    assert Target.parse(str(target)) == target
    assert str(Target.parse("cuda")) == "cuda"


def test_a_target_gives_its_limits() -> None:
    gpu = Target.parse("cuda -arch=sm_90a").gpu
    assert (gpu.shared_bytes, gpu.capability, gpu.exact) == (232448, 90, True)
    assert not Target.parse("cuda -arch=sm_100").gpu.exact


def test_an_unknown_architecture_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TargetError, match=r"unknown architecture 'sm_91'(.|\n)*try: one of sm_70, .*sm_90a") as caught:
        Target.parse("cuda -arch=sm_91")
    assert caught.value.step == "target"
    with pytest.raises(TargetError, match="unknown architecture 'sm_91'"):
        _ = Target("cuda", arch="sm_91").gpu


def test_an_architecture_of_a_processor_is_refused() -> None:
    with pytest.raises(TargetError, match="-arch names a GPU, in 'llvm -arch=sm_80'"):
        Target.parse("llvm -arch=sm_80")


def test_a_target_without_a_gpu_has_no_limits() -> None:
    with pytest.raises(TargetError, match="'llvm' names no GPU"):
        _ = Target.parse("llvm").gpu
