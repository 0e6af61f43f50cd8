"""A GPU, through PyCUDA and its driver's library.

The context is the device's primary one, which PyTorch and the CUDA runtime use too: their arrays are ours without a
copy.  Launches go to the legacy default stream, PyTorch's default too: they are in order with what it launches there.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...codegen.cuda.source import Launch, TensorMap, Triple
from ...ir.errors import DeviceError, DeviceLost, TargetError
from .architecture import fullest, runs_on
from .code import CudaCode
from .device import Limits, Value
from .driver_api import DriverApi, DriverFailure, Graph
from .packing import packer

_STATIC_SHARED_BYTES = 48 << 10  # what a block may have without asking for more


class PycudaDevice:
    """One GPU.  Make it where no other object holds the device: `devices.device()` keeps one for each process."""

    is_gpu = True

    def __init__(self, ordinal: int = 0) -> None:
        """Take the primary context of a GPU and make it current on this thread.

        Raises ImportError without PyCUDA or without a driver, DeviceError where the driver finds no GPU.
        """
        driver = importlib.import_module("pycuda.driver")

        self._driver: Any = driver
        try:
            driver.init()
            device = driver.Device(ordinal)
            self._context = device.retain_primary_context()
            self._context.push()
        except driver.Error as error:
            raise DeviceError("device", str(error), advice='device("emulate")') from None
        self._api = DriverApi()
        self._lost = ""
        self._stream: Any = None  # the legacy default stream, but for recordings
        self._memory: dict[int, Any] = {}  # PyCUDA's allocations by address
        self._garbage: deque[int] = deque()
        self._thread = threading.get_ident()
        self.name: str = device.name()
        major, minor = device.compute_capability()
        self.arch = f"sm_{major}{minor}"
        self.limits = _limits(driver, device)
        self._closed = False
        atexit.register(self.close)  # PyCUDA aborts a process that ends with a current context

    def load(self, code: CudaCode) -> tuple[PycudaKernel, ...]:
        """Load a cubin and give its launches, in order."""
        if not runs_on(code.arch, self.arch):
            fact = f"the code is for {code.arch}, and {self.name} runs {self.arch}"
            raise TargetError("load", fact, advice=f'target="cuda -arch={fullest(self.arch)}"')
        cubin = code.cubin.code
        with self.step("load"):
            module = self._driver.module_from_buffer(cubin)
            return tuple(PycudaKernel(self, cubin, module, launch) for launch in code.source.launches)

    def alloc(self, size_bytes: int) -> int:
        """Give the address of new memory."""
        self._free_garbage()
        try:
            with self.step("alloc"):
                memory = self._driver.mem_alloc(max(1, size_bytes))
        except self._driver.MemoryError:
            raise MemoryError(f"{self.name} has no {size_bytes} bytes left") from None
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        """Give memory back: now, or at the next `alloc` where this is another thread or launches are being recorded."""
        self._garbage.append(address)
        if threading.get_ident() == self._thread and self._stream is None:
            self._free_garbage()

    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy a gap-free array to the device."""
        if array.nbytes:
            with self.step("upload"):
                self._driver.memcpy_htod(address, array)

    def download(self, address: int, array: np.ndarray) -> None:
        """Copy from the device into a gap-free array."""
        if array.nbytes:
            with self.step("download"):
                self._driver.memcpy_dtoh(array, address)

    def fill(self, address: int, byte: int, size_bytes: int) -> None:
        """Set each byte of a piece of memory."""
        if size_bytes:
            with self.step("fill"):
                self._driver.memset_d8(address, byte, size_bytes)

    def tensor_map(self, described: TensorMap, address: int, shape: Sequence[int], strides: Sequence[int]) -> bytes:
        """Give the 128 bytes of a tensor map."""
        with self.step("tensor map"):
            return self._api.tensor_map(described, address, shape, strides)

    def synchronize(self) -> None:
        """Wait until everything is done."""
        with self.step("synchronize"):
            self._context.synchronize()

    def times_s(self, run: Callable[[], None], number: int, repeat: int, flush_bytes: int) -> list[float]:
        """Give the mean seconds of one `run` over `number` of them, `repeat` times, by events around recorded launches.

        The launches of a batch are recorded once and repeated by the driver, so that the host is not measured.
        """
        with self.step("time"), self._other_memory(flush_bytes) as flushed:
            stream, start, stop = self._driver.Stream(), self._driver.Event(), self._driver.Event()
            batch = self._record(run, number, stream)
            results = []
            try:
                batch.launch(stream.handle)
                for _ in range(repeat):
                    if flushed:
                        self._driver.memset_d8_async(flushed, 0, flush_bytes, stream)
                    start.record(stream)
                    batch.launch(stream.handle)
                    stop.record(stream)
                    stop.synchronize()
                    results.append(start.time_till(stop) * 1e-3 / number)
            finally:
                batch.close()
        return results

    def close(self) -> None:
        """Free all memory, and give the context back."""
        if self._closed:
            return
        self._closed = True
        if not self._lost:
            for memory in self._memory.values():
                memory.free()
            self._memory.clear()
        with contextlib.suppress(self._driver.Error, DriverFailure):  # of a broken context
            self._context.detach()  # PyCUDA's destructor would not release a primary context but detach it
            self._api.pop_context()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Give the driver's errors as ours; after one that broke the context all calls fail."""
        if self._lost:
            advice = "another process: this one cannot use the GPU any more"
            raise DeviceLost(name, f"an earlier call broke the context of {self.name}: {self._lost}", advice=advice)
        try:
            yield
        except self._driver.MemoryError:
            raise
        except (self._driver.Error, DriverFailure) as error:
            if not self._alive():
                self._lost = f"{name}: {error}"
                raise DeviceLost(name, f"{self.name}: {error}", advice="look for accesses out of bounds") from None
            raise DeviceError(name, f"{self.name}: {error}") from None

    def launch(self, kernel: PycudaKernel, grid: Triple, arguments: bytes) -> None:
        """Launch a kernel with its packed arguments."""
        shape = kernel.launch.block, kernel.launch.shared_bytes
        with self.step(kernel.launch.name):
            kernel.start(grid, arguments, *shape, self._stream)

    def blocks_per_multiprocessor(self, cubin: bytes, launch: Launch) -> int:
        """Give how many blocks of a kernel one multiprocessor holds at a time."""
        with self.step("occupancy"):
            return self._api.blocks_per_multiprocessor(cubin, launch)

    def _free_garbage(self) -> None:
        while self._garbage and not self._closed and not self._lost:
            with self.step("free"):
                self._memory.pop(self._garbage.popleft()).free()

    def _alive(self) -> bool:
        """Tell whether the context still works: an error that stays is given again by any call."""
        try:
            self._context.synchronize()
        except self._driver.Error:
            return False
        return True

    def _record(self, run: Callable[[], None], number: int, stream: Any) -> Graph:
        self._context.synchronize()  # what the other streams still do ends before
        self._api.begin_capture(stream.handle)
        self._stream = stream
        try:
            for _ in range(number):
                run()
        finally:
            self._stream = None
            recorded = self._api.end_capture(stream.handle)
        return recorded

    @contextlib.contextmanager
    def _other_memory(self, size_bytes: int) -> Iterator[Any]:
        memory = self._driver.mem_alloc(size_bytes) if size_bytes else None
        try:
            yield memory
        finally:
            if memory is not None:
                memory.free()


class PycudaKernel:
    """One launch of a loaded cubin."""

    def __init__(self, device: PycudaDevice, cubin: bytes, module: Any, launch: Launch) -> None:
        """Find the kernel in its module; the module stays loaded as long as this object."""
        self.launch = launch
        self._device, self._cubin, self._module = device, cubin, module
        self._function = module.get_function(launch.name)
        if launch.shared_bytes > _STATIC_SHARED_BYTES:
            attribute = device._driver.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._function.set_attribute(attribute, launch.shared_bytes)
        self._pack = packer(launch.params)
        # PyCUDA's own entry for packed arguments; its public calls set the block's shape by a deprecated call before.
        self._launch_kernel = getattr(self._function, "_launch_kernel", None)

    def __call__(self, grid: Triple, values: Sequence[Value]) -> None:
        """Launch it with the values of its parameters in order."""
        self._device.launch(self, grid, self._pack(values))

    def start(self, grid: Triple, arguments: bytes, block: Triple, shared_bytes: int, stream: Any) -> None:
        """Hand a launch to PyCUDA."""
        if self._launch_kernel is not None:
            self._launch_kernel(grid, block, arguments, shared_bytes, stream)
        else:  # a by-value struct of all arguments has the same bytes as the arguments
            struct = np.frombuffer(arguments, np.uint8)
            self._function(struct, grid=grid, block=block, shared=shared_bytes, stream=stream)

    def blocks_per_multiprocessor(self) -> int:
        """Give how many of its blocks one multiprocessor holds at a time."""
        return self._device.blocks_per_multiprocessor(self._cubin, self.launch)


def _limits(driver: Any, device: Any) -> Limits:
    attribute = driver.device_attribute
    return Limits(
        threads_per_block=device.get_attribute(attribute.MAX_THREADS_PER_BLOCK),
        shared_bytes=device.get_attribute(attribute.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
        shared_bytes_per_sm=device.get_attribute(attribute.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR),
        registers_per_sm=device.get_attribute(attribute.MAX_REGISTERS_PER_MULTIPROCESSOR),
        multiprocessors=device.get_attribute(attribute.MULTIPROCESSOR_COUNT),
        l2_bytes=device.get_attribute(attribute.L2_CACHE_SIZE),
        memory_bytes=device.total_memory(),
    )
