"""The calls of the CUDA driver that PyCUDA lacks, by ctypes: tensor maps, graphs, occupancy.

They act on the context that is current on the calling thread, which is PyCUDA's.
Source: CUDA Driver API 13.0, sections "Tensor Map Object Management", "Graph Management", "Occupancy".
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_int, c_size_t, c_uint32, c_uint64, c_void_p

from ...codegen.cuda.source import Launch, TensorMap
from ...ir.errors import ArgumentError
from .packing import TENSOR_MAP_BYTES

LIBRARY = "libcuda.so.1"

_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8  # CUfunction_attribute
_CAPTURE_RELAXED = 2  # CUstreamCaptureMode
_L2_PROMOTION_128B = 2  # CUtensorMapL2promotion
_SWIZZLES = {0: 0, 32: 1, 64: 2, 128: 3}  # CUtensorMapSwizzle
_DATA_TYPES = {  # CUtensorMapDataType; copies do not look at the sign
    "uint8": 0, "int8": 0, "bool": 0, "uint16": 1, "int16": 1, "uint32": 2, "int32": 3, "uint64": 4, "int64": 5,
    "float16": 6, "float32": 7, "float64": 8, "bfloat16": 9,
}  # fmt: skip


class DriverFailure(Exception):
    """A status other than 0, in the driver's words; `PycudaDevice.step` makes it a DeviceError."""


class DriverApi:
    """The driver's library, loaded a second time; it is one library to the process."""

    def __init__(self) -> None:
        """Load it.  Raises OSError where there is none."""
        self._library = ctypes.CDLL(LIBRARY)

    def call(self, name: str, *arguments: object) -> None:
        """Call a function of the driver.  Raises DriverFailure for a status other than 0."""
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise DriverFailure(f"the driver is older than CUDA 12: it has no {name}") from None
        status = function(*arguments)
        if status:
            raise DriverFailure(f"{name} failed: {self._words(status)} (status {status})")

    def _words(self, status: int) -> str:
        text = ctypes.c_char_p()
        self._library.cuGetErrorString(c_int(status), byref(text))
        return (text.value or b"unknown").decode(errors="replace")

    def tensor_map(self, described: TensorMap, address: int, shape: Sequence[int], strides: Sequence[int]) -> bytes:
        """Give the bytes of a tiled tensor map.

        shape    elements of each dimension, innermost first
        strides  bytes between neighbours of each dimension but the innermost
        Raises ArgumentError for what the hardware cannot reach: an address or stride that is no multiple of 16 bytes.
        """
        for what, value in (("starts at address", address), *(("has rows apart by", s) for s in strides)):
            if value % 16:
                fact = f"{described.buffer} {what} {value}, which is no multiple of 16 bytes"
                raise ArgumentError("tensor map", fact, advice="an array with aligned rows, such as a copy")
        rank = len(shape)
        room = ctypes.create_string_buffer(2 * TENSOR_MAP_BYTES)
        aligned = ctypes.addressof(room) + -ctypes.addressof(room) % TENSOR_MAP_BYTES
        self.call(
            "cuTensorMapEncodeTiled",
            c_void_p(aligned),
            c_int(_DATA_TYPES[described.dtype]),
            c_uint32(rank),
            c_void_p(address),
            (c_uint64 * rank)(*shape),
            (c_uint64 * max(1, rank - 1))(*strides),
            (c_uint32 * rank)(*described.box),
            (c_uint32 * rank)(*[1] * rank),
            c_int(0),  # not interleaved
            c_int(_SWIZZLES[described.swizzle]),
            c_int(_L2_PROMOTION_128B),
            c_int(0),  # elements outside are zeros
        )
        return ctypes.string_at(aligned, TENSOR_MAP_BYTES)

    def blocks_per_multiprocessor(self, cubin: bytes, launch: Launch) -> int:
        """Give how many blocks of a kernel one multiprocessor holds at a time."""
        module, function, blocks = c_void_p(), c_void_p(), c_int()
        self.call("cuModuleLoadData", byref(module), cubin)
        try:
            self.call("cuModuleGetFunction", byref(function), module, launch.name.encode())
            shared = c_int(launch.shared_bytes)
            self.call("cuFuncSetAttribute", function, c_int(_MAX_DYNAMIC_SHARED_SIZE_BYTES), shared)
            x, y, z = launch.block
            self.call(
                "cuOccupancyMaxActiveBlocksPerMultiprocessor",
                byref(blocks),
                function,
                c_int(x * y * z),
                c_size_t(launch.shared_bytes),
            )
        finally:
            self.call("cuModuleUnload", module)
        return blocks.value

    def pop_context(self) -> None:
        """Make the context that was current before the current one current again on this thread."""
        self.call("cuCtxPopCurrent_v2", byref(c_void_p()))

    def begin_capture(self, stream: int) -> None:
        """Record what is launched on a stream, instead of running it."""
        self.call("cuStreamBeginCapture_v2", c_void_p(stream), c_int(_CAPTURE_RELAXED))

    def end_capture(self, stream: int) -> Graph:
        """Give what was recorded since `begin_capture`, ready to be launched."""
        graph, ready = c_void_p(), c_void_p()
        self.call("cuStreamEndCapture", c_void_p(stream), byref(graph))
        try:
            self.call("cuGraphInstantiateWithFlags", byref(ready), graph, c_uint64(0))
        finally:
            self.call("cuGraphDestroy", graph)
        return Graph(self, ready)


class Graph:
    """Recorded launches, which the driver repeats without the host between them."""

    def __init__(self, api: DriverApi, handle: c_void_p) -> None:
        self._api, self._handle = api, handle

    def launch(self, stream: int) -> None:
        """Start all of it on a stream."""
        self._api.call("cuGraphLaunch", self._handle, c_void_p(stream))

    def close(self) -> None:
        """Give it back."""
        self._api.call("cuGraphExecDestroy", self._handle)
