"""What runs kernels: a GPU, or its emulation on the CPU.

    Device                what the rest of the package asks of it
    +-- PycudaDevice      a GPU, through PyCUDA            pycuda_device.py
    +-- EmulatedDevice    the emitted source, run as C++   emulated_device.py

Addresses are plain integers.  Calls are in order: a launch sees what an upload before it wrote.  A device belongs to
the thread that made it.  Raised by all methods: DeviceError for a call that is refused, DeviceLost once the context is
broken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...codegen.cuda.source import TensorMap, Triple
from .code import CudaCode

Value = int | float | bytes  # an address or scalar, or the 128 bytes of a tensor map


@dataclass(frozen=True, slots=True)
class Limits:
    """What fits on a device; 0 where that is not known.

    threads_per_block     of a block, all dimensions together
    shared_bytes          dynamic shared memory that a block can have when it asks for it
    shared_bytes_per_sm   shared memory of a multiprocessor
    registers_per_sm      32-bit registers of a multiprocessor
    multiprocessors       of the device
    l2_bytes              second-level cache
    memory_bytes          main memory of the device
    """

    threads_per_block: int = 1024
    shared_bytes: int = 0
    shared_bytes_per_sm: int = 0
    registers_per_sm: int = 65536
    multiprocessors: int = 0
    l2_bytes: int = 0
    memory_bytes: int = 0


class LoadedKernel(Protocol):
    """One launch of loaded code, on the device that loaded it."""

    def __call__(self, grid: Triple, values: Sequence[Value]) -> None:
        """Launch it with the values of its parameters in order; it may still run when this returns."""
        ...

    def blocks_per_multiprocessor(self) -> int:
        """Give how many of its blocks one multiprocessor holds at a time; 0 where that means nothing."""
        ...


class Device(Protocol):
    """A GPU or its emulation."""

    @property
    def name(self) -> str:
        """Give the model, or "CPU emulation (not a GPU)"."""
        ...

    @property
    def arch(self) -> str:
        """Give what code it runs, such as "sm_90"."""
        ...

    @property
    def is_gpu(self) -> bool:
        """Tell whether its times mean anything."""
        ...

    @property
    def limits(self) -> Limits:
        """Give what fits on it."""
        ...

    def load(self, code: CudaCode) -> tuple[LoadedKernel, ...]:
        """Load code and give its launches, in order.  Raises TargetError for code of another architecture."""
        ...

    def alloc(self, size_bytes: int) -> int:
        """Give the address of new memory, a multiple of 256.  Raises MemoryError."""
        ...

    def free(self, address: int) -> None:
        """Give back memory that `alloc` gave, from any thread; nothing is done on a closed or lost device."""
        ...

    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy a gap-free array to the device."""
        ...

    def download(self, address: int, array: np.ndarray) -> None:
        """Copy from the device into a gap-free array, after all launches before it."""
        ...

    def fill(self, address: int, byte: int, size_bytes: int) -> None:
        """Set each byte of a piece of memory."""
        ...

    def tensor_map(self, described: TensorMap, address: int, shape: Sequence[int], strides: Sequence[int]) -> bytes:
        """Give the 128 bytes of a tensor map over the memory at `address`; `strides` are in bytes.

        Raises ArgumentError for an address or a stride that is no multiple of 16 bytes.
        """
        ...

    def synchronize(self) -> None:
        """Wait until everything is done.  Raises DeviceLost where a kernel failed."""
        ...

    def times_s(self, run: Callable[[], None], number: int, repeat: int, flush_bytes: int) -> list[float]:
        """Give `repeat` results: the mean seconds of one `run`, over `number` of them in a row.

        run          only launches kernels
        flush_bytes  overwrite this much other memory before each batch, outside the time
        """
        ...

    def close(self) -> None:
        """Release the device; it cannot be used again."""
        ...
