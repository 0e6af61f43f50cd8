"""The CPU in place of a GPU: every launch runs the emitted source, checked access by access."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from ...codegen.cuda.source import Launch, TensorMap, Triple
from ...ir.gpu import GPUS
from .architecture import DEFAULT_ARCH
from .code import CudaCode
from .device import Limits, Value
from .emulator import memory
from .emulator.image import EmulatedImage, Emulator
from .emulator.orders import FORWARD, Mode, Order
from .emulator.tensor_map import element_bytes, encode_tensor_map


class EmulatedDevice:
    """An emulated GPU.  It runs code for any architecture, from the source; its times say nothing about a GPU.

    order  in which the threads of a launch run
    mode   when asynchronous copies and products happen
    Launches raise EmulationFault for what a kernel gets wrong; the device can be used on.
    """

    name = "CPU emulation (not a GPU)"
    is_gpu = False

    def __init__(self, arch: str = DEFAULT_ARCH, order: Order = FORWARD, mode: Mode = Mode.EARLIEST) -> None:
        """Make a device with the limits of an architecture.  Raises TargetError where there is no C++ compiler."""
        self.arch, self.order, self.mode = arch, order, mode
        gpu = GPUS[arch]
        self.limits = Limits(
            shared_bytes=gpu.shared_bytes,
            shared_bytes_per_sm=gpu.sm_shared_bytes,
            multiprocessors=gpu.multiprocessors,
        )

    def load(self, code: CudaCode) -> tuple[EmulatedKernel, ...]:
        """Compile the source for this processor, and give its launches in order."""
        image = Emulator().compile(code.source)
        return tuple(EmulatedKernel(self, image, launch) for launch in code.source.launches)

    def alloc(self, size_bytes: int) -> int:
        """Give the address of new memory, which nobody may read before it is written."""
        return memory.allocate(size_bytes)

    def free(self, address: int) -> None:
        """Give memory back."""
        memory.free(address)

    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy a gap-free array to the device."""
        memory.upload(address, array)

    def download(self, address: int, array: np.ndarray) -> None:
        """Copy from the device into a gap-free array."""
        memory.download(address, array)

    def fill(self, address: int, byte: int, size_bytes: int) -> None:
        """Set each byte of a piece of memory."""
        memory.fill(address, byte, size_bytes)

    def tensor_map(self, described: TensorMap, address: int, shape: Sequence[int], strides: Sequence[int]) -> bytes:
        """Give the 128 bytes of a tensor map, in the emulation's own encoding."""
        element = element_bytes(described.dtype)
        return encode_tensor_map(element, address, shape, strides, described.box, described.swizzle)

    def synchronize(self) -> None:
        """Do nothing: launches end before they return."""

    def times_s(self, run: Callable[[], None], number: int, repeat: int, flush_bytes: int) -> list[float]:
        """Give the mean seconds of one `run` on this processor, which is no time of a GPU."""
        results = []
        for _ in range(repeat):
            began = perf_counter()
            for _ in range(number):
                run()
            results.append((perf_counter() - began) / number)
        return results

    def close(self) -> None:
        """Do nothing: memory is freed piece by piece."""


class EmulatedKernel:
    """One launch of an image."""

    def __init__(self, device: EmulatedDevice, image: EmulatedImage, launch: Launch) -> None:
        self._device, self._image, self.launch = device, image, launch

    def __call__(self, grid: Triple, values: Sequence[Value]) -> None:
        """Run it to its end, in the device's order and mode."""
        self._image.run(self.launch, values, grid, order=self._device.order, mode=self._device.mode)

    def blocks_per_multiprocessor(self) -> int:
        """Give 0: there are no multiprocessors."""
        return 0
