"""GPUs as data: what a block may ask for, and how many blocks fit on a multiprocessor."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

KB = 1024

WARP = 32  # threads
MOST_THREADS = 1024  # of a block
MOST_BLOCK = (1024, 1024, 64)  # threads of a block along x, y and z
MOST_GRID = (2**31 - 1, 65535, 65535)  # blocks of a grid along x, y and z
MOST_CLUSTER = 8  # blocks that every GPU with clusters can put in one
MOST_REGISTERS = 255  # of a thread
REGISTERS = 65536  # 32-bit registers of a multiprocessor, all of which one block can have
REGISTER_UNIT = 256  # registers come to a warp in such pieces
QUARTERS = 4  # of a multiprocessor: each has its own share of the registers and runs its own warps
SECTOR_BYTES = 32  # what global memory is fetched by
BANKS = 32  # of shared memory, each giving one 4-byte word at a time


@dataclass(frozen=True, slots=True)
class Gpu:
    """One architecture of GPUs.

    arch             compiler's name, such as "sm_90a"
    warps            that a multiprocessor holds at a time
    blocks           that a multiprocessor holds at a time
    shared_bytes     dynamic shared memory that a block can have when it asks for it
    sm_shared_bytes  shared memory of a multiprocessor
    reserved_bytes   of it, for each block, taken by the system
    shared_unit      shared memory comes to a block in such pieces, in bytes
    multiprocessors  of the device named by `example`
    l2_bytes         second-level cache of that device
    example          a device of this architecture
    Sources: CUDA C++ Programming Guide 13.0, "Technical Specifications per Compute Capability"; cuda_occupancy.h.
    """

    arch: str
    warps: int
    blocks: int
    shared_bytes: int
    sm_shared_bytes: int
    multiprocessors: int
    l2_bytes: int
    example: str
    reserved_bytes: int = KB
    shared_unit: int = 128

    @property
    def capability(self) -> int:
        """Give the compute capability as one number: 90 for sm_90a."""
        return int(self.arch.removeprefix("sm_").rstrip("a"))

    @property
    def exact(self) -> bool:
        """Tell whether code may use what only this very architecture has, such as wgmma on sm_90a."""
        return self.arch.endswith("a")

    def resident_blocks(self, threads: int, registers: int, shared_bytes: int) -> int:
        """Give how many blocks a multiprocessor holds at a time; 0 if not even one fits.

        threads       of a block
        registers     of a thread
        shared_bytes  of a block, static and dynamic
        Source: cudaOccMaxActiveBlocksPerMultiprocessor of cuda_occupancy.h.
        """
        warps = ceil(threads / WARP)
        if threads > MOST_THREADS or shared_bytes > self.shared_bytes:
            return 0
        by_shared = self.sm_shared_bytes // _whole(max(1, shared_bytes + self.reserved_bytes), self.shared_unit)
        return min(self.blocks, self.warps // warps, self._by_registers(warps, registers), by_shared)

    def _by_registers(self, warps: int, registers: int) -> int:
        of_warp = _whole(max(1, registers) * WARP, REGISTER_UNIT)
        if registers > MOST_REGISTERS or of_warp * _whole(warps, QUARTERS) > REGISTERS:
            return 0
        return REGISTERS // QUARTERS // of_warp * QUARTERS // warps

    def occupancy(self, threads: int, registers: int, shared_bytes: int) -> float:
        """Give the share of the multiprocessor's warps that are there at a time, from 0 to 1."""
        return self.resident_blocks(threads, registers, shared_bytes) * ceil(threads / WARP) / self.warps


def _whole(amount: int, unit: int) -> int:
    return ceil(amount / unit) * unit


_HOPPER = (64, 32, 227 * KB, 228 * KB, 132, 50 * KB * KB, "H100 SXM")
_BLACKWELL = (64, 32, 227 * KB, 228 * KB, 148, 126 * KB * KB, "B200")

GPUS = {
    gpu.arch: gpu
    for gpu in (
        Gpu("sm_70", 64, 32, 96 * KB, 96 * KB, 80, 6 * KB * KB, "V100", reserved_bytes=0, shared_unit=256),
        Gpu("sm_75", 32, 16, 64 * KB, 64 * KB, 40, 4 * KB * KB, "T4", reserved_bytes=0, shared_unit=256),
        Gpu("sm_80", 64, 32, 163 * KB, 164 * KB, 108, 40 * KB * KB, "A100"),
        Gpu("sm_86", 48, 16, 99 * KB, 100 * KB, 82, 6 * KB * KB, "GeForce RTX 3090"),
        Gpu("sm_89", 48, 24, 99 * KB, 100 * KB, 128, 72 * KB * KB, "GeForce RTX 4090"),
        Gpu("sm_90", *_HOPPER),
        Gpu("sm_90a", *_HOPPER),
        Gpu("sm_100", *_BLACKWELL),
        Gpu("sm_100a", *_BLACKWELL),
        Gpu("sm_120", 48, 24, 99 * KB, 100 * KB, 170, 96 * KB * KB, "GeForce RTX 5090"),
    )
}
