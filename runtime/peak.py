"""What the machine can do at most, measured beside what is compared with it.

A peak is a loop in LLVM IR, compiled for the target like a kernel.  `PeakLoop` can be interleaved with kernels by
`timing.interleaved`, so that both meet the same clock and the same neighbours.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..codegen.llvm.compile import compile_ir
from ..ir.errors import TargetError
from ..ir.target import Target
from .array import address_of
from .host import host_target
from .jit import Loaded, load
from .library import library
from .peak_text import Loop, copy_loop, dot_loop, fma_loop, read_loop
from .timing import interleaved

ROUNDS = 10
BATCH_S = 2e-3
_CALL_STEPS = 20_000  # steps of a loop in one call
_STREAM_BYTES = 256 << 20  # far beyond the caches


@dataclass(frozen=True, slots=True)
class PeakLoop:
    """A loop that does nothing but `work` operations or bytes a call; see `timing.Timed` for the other fields."""

    name: str
    entry: int
    argv: int
    threads: int
    work: float  # in one call, of all threads together
    slots: ctypes.Array
    memory: np.ndarray
    loaded: Loaded

    def __call__(self) -> None:
        """Run the loop once."""
        library().functions["tilewright_call"](self.entry, self.argv, self.threads)


def fma_peak(threads: int = 1, target: Target | None = None) -> PeakLoop:
    """Give the loop of float32 multiply-adds; work is in floating-point operations, two for each multiply-add."""
    machine = target or host_target()
    return _loop(fma_loop(machine), machine, threads, _CALL_STEPS, np.ones(4096, np.float32))


def dot_peak(threads: int = 1, target: Target | None = None) -> PeakLoop:
    """Give the loop of int8 dot products; work is in operations, two for each product.

    Raises TargetError for a processor without such an instruction.
    """
    machine = target or host_target()
    loop = dot_loop(machine)
    if loop is None:
        raise TargetError("dot_peak", f"{machine.cpu} has no int8 dot product instruction")
    return _loop(loop, machine, threads, _CALL_STEPS, np.ones(4096, np.float32))


def read_peak(threads: int = 1, target: Target | None = None, size_bytes: int = _STREAM_BYTES) -> PeakLoop:
    """Give the loop that reads `size_bytes` of memory; work is in bytes."""
    machine = target or host_target()
    return _stream(read_loop(machine), machine, threads, size_bytes)


def copy_peak(threads: int = 1, target: Target | None = None, size_bytes: int = _STREAM_BYTES) -> PeakLoop:
    """Give the loop that copies one half of `size_bytes` onto the other; work is in bytes read and written."""
    machine = target or host_target()
    return _stream(copy_loop(machine), machine, threads, size_bytes)


@cache
def measure_peak_flops(threads: int = 1) -> float:
    """Give the float32 multiply-add peak of this machine in operations a second: the median of ten short runs.

    Measured once in a process; `interleaved([kernel, fma_peak()])` measures it beside a kernel.
    """
    return _rate(fma_peak(threads))


@cache
def measure_peak_int8(threads: int = 1) -> float | None:
    """Give the int8 dot product peak in operations a second, or None without such an instruction."""
    return None if dot_loop(host_target()) is None else _rate(dot_peak(threads))


@cache
def measure_read_bandwidth(threads: int = 1) -> float:
    """Give the bytes a second that `threads` threads read from main memory."""
    return _rate(read_peak(threads))


@cache
def measure_copy_bandwidth(threads: int = 1) -> float:
    """Give the bytes a second that `threads` threads read and write when they copy main memory."""
    return _rate(copy_peak(threads))


def _rate(loop: PeakLoop) -> float:
    return loop.work / interleaved([loop], rounds=ROUNDS, batch_s=BATCH_S)[0].median


def _stream(loop: Loop, target: Target, threads: int, size_bytes: int) -> PeakLoop:
    memory = np.ones(size_bytes // 4, np.float32)  # written: untouched pages would all be one page in cache
    steps = size_bytes // threads // loop.work_per_step
    return _loop(loop, target, threads, steps, memory)


def _loop(loop: Loop, target: Target, threads: int, steps: int, memory: np.ndarray) -> PeakLoop:
    entry = f"{loop.name}__packed"
    calls = {"tilewright_parallel_for": library().addresses["tilewright_parallel_for"]}
    loaded = load(compile_ir(loop.text, target).code, [entry], calls)
    slots = (ctypes.c_int64 * 3)(address_of(memory), steps, threads)
    work = float(loop.work_per_step) * steps * threads
    address = loaded.addresses[entry]
    return PeakLoop(loop.name, address, ctypes.addressof(slots), threads, work, slots, memory, loaded)
