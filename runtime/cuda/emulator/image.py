"""Kernels compiled for the CPU, and their runs: one launch at a time, checked access by access."""

from __future__ import annotations

import _ctypes  # the only way to unload a library
import ctypes
import re
import weakref
from collections.abc import Callable, Collection, Sequence
from functools import cache, lru_cache

import numpy as np

from ....codegen.cuda.source import CudaSource, Launch, Triple
from ....ir.dtype import dtype_of
from ....ir.errors import ArgumentError
from ....ir.settings import settings
from ..packing import TENSOR_MAP_BYTES, packer
from . import memory
from .faults import fault
from .library import LOCK, FaultRecord, Request, runtime
from .orders import FORWARD, Mode, Order
from .tensor_map import Tiled
from .toolchain import kernel_library

Argument = np.ndarray | Tiled | int | float | bytes
ONLY_READ, WRITTEN = 1, 2  # kinds of pointers, as device.h tells
_ASYNCHRONOUS = re.compile(r"\btw_(cp_async|tma|wgmma)")


class Emulator:
    """The CPU in place of a GPU."""

    def compile(self, source: CudaSource) -> EmulatedImage:
        """Compile kernels, or find them compiled.

        Raises TargetError where there is no C++ compiler, CompileError for text that it refuses.
        """
        return _images()(source)


@cache
def _images() -> Callable[[CudaSource], EmulatedImage]:
    return lru_cache(maxsize=settings().cache_entries)(EmulatedImage)


class EmulatedImage:
    """The kernels of one source."""

    def __init__(self, source: CudaSource) -> None:
        """Compile and load; `Emulator.compile` does it once."""
        runtime()  # first, as the kernels refer to it
        names = dict.fromkeys(launch.name for launch in source.launches)
        entries = "".join(f"TWE_ENTRY({name})\n" for name in names)
        self.source = source
        self._library = ctypes.CDLL(str(kernel_library(f"{source.text}\n{entries}")))
        weakref.finalize(self, _ctypes.dlclose, self._library._handle).atexit = False

    @property
    def asynchronous(self) -> bool:
        """Tell whether the mode of a run matters: whether any operation is asynchronous."""
        return _ASYNCHRONOUS.search(self.source.text) is not None

    def run(
        self,
        launch: Launch,
        arguments: Sequence[Argument],
        grid: Triple,
        *,
        order: Order = FORWARD,
        mode: Mode = Mode.EARLIEST,
        outputs: Collection[str] = (),
    ) -> None:
        """Run one launch to its end.

        arguments  in the order of `launch.params`: for a buffer an array, whose copy is given to the kernel and copied
                   back where the kernel may write it, or an address that the emulated device gave; for a tensor map
                   `Tiled`, or 128 bytes that `encode_tensor_map` gave
        grid       blocks along x, y, z
        outputs    names of buffers (arrays) of which the kernel may read nothing that it has not written
        Raises EmulationFault for what the run got wrong, ArgumentError for arguments that do not fit.
        """
        kinds = self._kinds(launch)
        _require_fit(launch, arguments, kinds, grid)
        placed = _Placed(outputs)
        try:
            values = [placed.value(p.name, a) for p, a in zip(launch.params, arguments, strict=True)]
            written = [v for v, kind in zip(values, kinds, strict=True) if kind == WRITTEN and type(v) is int]
            for param, value, kind in zip(launch.params, values, kinds, strict=True):
                if kind and type(value) is int and not runtime().twe_extent(value):
                    raise ArgumentError(
                        "emulate", f"{param.name} is {value:#x}, which the emulated device has not given"
                    )
            record = self._run(launch, values, written, _request(launch, grid, order, mode))
            if record.kind:
                raise fault(record, launch.name, self.source.text, order, mode)
            placed.copy_back()
        finally:
            placed.free()

    def written(self, launch: Launch) -> set[str]:
        """Give the names of the buffers that a launch may write."""
        return {p.name for p, kind in zip(launch.params, self._kinds(launch), strict=True) if kind == WRITTEN}

    def _run(
        self, launch: Launch, values: Sequence[int | float | bytes], written: list[int], request: Request
    ) -> FaultRecord:
        packed = packer(launch.params)(values)
        buffer = ctypes.create_string_buffer(len(packed) + TENSOR_MAP_BYTES)
        start = -(-ctypes.addressof(buffer) // TENSOR_MAP_BYTES) * TENSOR_MAP_BYTES
        ctypes.memmove(start, packed, len(packed))
        pointers = (ctypes.c_uint64 * (len(values) + 1))(*(start + offset for offset in _offsets(launch)))
        addresses = (ctypes.c_uint64 * (len(written) + 1))(*written)
        record = FaultRecord()
        entry = ctypes.cast(getattr(self._library, f"{launch.name}__entry"), ctypes.c_void_p)
        with LOCK:
            runtime().twe_run(entry, pointers, ctypes.byref(request), addresses, len(written), ctypes.byref(record))
        return record

    def _kinds(self, launch: Launch) -> list[int]:
        """Give how the kernel takes each parameter, and check that the launch says so, too."""
        kinds, sizes = (ctypes.c_int * 256)(), (ctypes.c_int * 256)()
        count = getattr(self._library, f"{launch.name}__parameters")(kinds, sizes)
        told = [_size(param.kind, param.dtype) for param in launch.params]
        if list(sizes[:count]) != told:
            raise ArgumentError(
                "emulate",
                f"kernel {launch.name} has parameters of {list(sizes[:count])} bytes, and its launch of {told}",
                advice="parameters of the launch in the kernel's order",
            )
        return list(kinds[:count])


class _Placed:
    """Arrays in the memory of the emulated device, for one run."""

    def __init__(self, outputs: Collection[str]) -> None:
        self.outputs = outputs
        self.addresses: dict[int, tuple[int, np.ndarray]] = {}

    def value(self, name: str, argument: Argument) -> int | float | bytes:
        """Give what the kernel is given for an argument."""
        match argument:
            case np.ndarray():
                return self.place(argument, name in self.outputs)
            case Tiled(array=array):
                return argument.encode(self.place(array, name in self.outputs))
            case np.generic():
                return argument.item()
            case _:
                return argument

    def place(self, array: np.ndarray, fresh: bool) -> int:
        """Give the address of the array's copy; one array has one copy."""
        if id(array) in self.addresses:
            return self.addresses[id(array)][0]
        if not array.flags.c_contiguous:
            raise ArgumentError(
                "emulate", f"an array of shape {array.shape} has gaps", advice="numpy.ascontiguousarray"
            )
        address = memory.allocate(array.nbytes)
        self.addresses[id(array)] = address, array
        if not fresh:
            memory.upload(address, array)
        return address

    def copy_back(self) -> None:
        """Copy what the kernel may have changed into the arrays."""
        for address, array in self.addresses.values():
            if array.flags.writeable:
                memory.download(address, array)

    def free(self) -> None:
        """Give the memory back."""
        for address, _ in self.addresses.values():
            memory.free(address)


def _size(kind: str, dtype: str) -> int:
    return TENSOR_MAP_BYTES if kind == "tensor_map" else dtype_of(dtype).bytes if kind == "scalar" else 8


def _offsets(launch: Launch) -> list[int]:
    """Give where each parameter starts in the packed buffer: each on a multiple of its size."""
    offsets, end = [], 0
    for param in launch.params:
        size = _size(param.kind, param.dtype)
        start = -(-end // size) * size
        offsets.append(start)
        end = start + size
    return offsets


def _request(launch: Launch, grid: Triple, order: Order, mode: Mode) -> Request:
    return Request(grid, launch.block, launch.cluster, launch.shared_bytes, order.number, mode.value, order.seed)


def _require_fit(launch: Launch, arguments: Sequence[Argument], kinds: Sequence[int], grid: Triple) -> None:
    if len(arguments) != len(launch.params):
        fact = f"kernel {launch.name} takes {len(launch.params)} arguments, got {len(arguments)}"
        raise ArgumentError("emulate", fact, advice=", ".join(param.name for param in launch.params))
    if min(*grid, *launch.block) < 1 or any(g % c for g, c in zip(grid, launch.cluster, strict=True)):
        fact = f"a grid of {grid} blocks in clusters of {launch.cluster}, with {launch.block} threads each"
        raise ArgumentError("emulate", fact, advice="at least one block, and whole clusters")
    threads = launch.block[0] * launch.block[1] * launch.block[2]
    if threads > 1024:
        raise ArgumentError("emulate", f"a block of {threads} threads", advice="at most 1024")
