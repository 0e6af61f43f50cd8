"""Kernels of a GPU that are called like kernels of the CPU: with NumPy arrays, or with arrays on the device."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...codegen.cuda.source import Launch, Triple
from ...codegen.cuda.text.names import identifier
from ...ir.errors import ArgumentError
from ...ir.expr import Var
from ...ir.gpu import MOST_GRID
from ...ir.parser import parse_expr
from ..arguments import ArgumentCheck, span_bytes
from ..array import address_of
from ..signature import ArrayParam, Extent, ScalarParam, Signature, evaluate_extent, extent_of
from ..timing import Timing
from .array import DeviceArray
from .code import CudaCode
from .compiler.ptxas import Resources
from .device import Device, LoadedKernel, Value
from .devices import device as device_called
from .dlpack import header, header_of, is_on_gpu


@dataclass(frozen=True, slots=True)
class DeviceTiming(Timing):
    """Times on a device, by its own clock.

    device  its name
    is_gpu  whether the times mean anything; those of an emulation do not
    """

    device: str
    is_gpu: bool

    def __str__(self) -> str:
        text = Timing.__str__(self)
        return f"{text} on {self.device}" if self.is_gpu else f"{text}: {self.device}, no time of a GPU"


@dataclass(frozen=True, slots=True)
class _Copy:
    """An array in main memory and its place on the device, both as bytes."""

    host: np.ndarray
    address: int
    written: bool


class BoundLaunches:
    """A kernel with its arguments, checked and ready: `bound()` runs it.

    The arrays must keep their memory as long as this is used; it holds references to them.
    """

    def __init__(
        self, device: Device, copies: Sequence[_Copy], launches: Sequence[Callable[[], None]], kept: tuple[object, ...]
    ) -> None:
        self.device, self._copies, self._launches, self._kept = device, copies, launches, kept

    def __call__(self) -> None:
        """Run the kernel; NumPy arrays are copied to the device before and, if written, back after.

        Without NumPy arrays among the arguments it returns while the device works.
        """
        self.upload()
        self.launch()
        self.download()

    def upload(self) -> None:
        """Copy the arrays in main memory to the device."""
        for copy in self._copies:
            self.device.upload(copy.address, copy.host)

    def launch(self) -> None:
        """Start the launches in order, on what lies on the device."""
        for launch in self._launches:
            launch()

    def download(self) -> None:
        """Copy the written arrays back to main memory."""
        for copy in self._copies:
            if copy.written:
                self.device.download(copy.address, copy.host)

    def time(
        self, number: int = 10, repeat: int = 1, min_repeat_ms: float = 0.0, flush_bytes: int | None = 0
    ) -> DeviceTiming:
        """Time the launches alone, without copies; see `CudaKernel.time_evaluator`."""
        if number < 1 or repeat < 1:
            raise ArgumentError("time_evaluator", f"number={number}, repeat={repeat}", advice="1 or more of each")
        flush = 2 * self.device.limits.l2_bytes if flush_bytes is None else flush_bytes
        self.upload()
        if min_repeat_ms:
            (once_s,) = self.device.times_s(self.launch, 1, 1, 0)
            number = max(number, math.ceil(min_repeat_ms * 1e-3 / max(once_s, 1e-7)))
        results = self.device.times_s(self.launch, number, repeat, flush)
        self.download()
        return DeviceTiming(tuple(results), self.device.name, self.device.is_gpu)


class CudaKernel:
    """A compiled function: one launch, or several in order.

    signature  its parameters
    code       its source and machine code
    """

    def __init__(self, signature: Signature, code: CudaCode, device: Device | None = None) -> None:
        """Wrap code, which is loaded at the first call; without `device` onto the first GPU."""
        self.signature, self.code, self._device = signature, code, device
        self._check = ArgumentCheck(signature)
        self._names = [p.name for p in (*signature.params, *signature.sizes)]
        self._text_names = [identifier(Var(p.name, p.dtype)) for p in (*signature.params, *signature.sizes)]
        self._expressions = _expressions(signature, code)
        self._memory: dict[str, DeviceArray] = {}  # of the calls before: most need the same again
        self._lock = threading.Lock()
        self._loaded: tuple[LoadedKernel, ...] | None = None

    @property
    def name(self) -> str:
        """Give the function's name."""
        return self.signature.name

    @property
    def resources(self) -> Mapping[str, Resources]:
        """Give what each launch takes of a multiprocessor, by its name, as the compiler reports it."""
        return self.code.cubin.resources

    @property
    def device(self) -> Device:
        """Give the device.  Raises DeviceError where none was given and there is no GPU."""
        if self._device is None:
            self._device = device_called("gpu")
        return self._device

    @property
    def loaded(self) -> tuple[LoadedKernel, ...]:
        """Give the launches, on the device; loads the code the first time.  Raises as `Device.load` does."""
        if self._loaded is None:
            self._loaded = self.device.load(self.code)
        return self._loaded

    def __repr__(self) -> str:
        return f"<kernel {self.signature} for {self.code.arch}>"

    def __call__(self, *arguments: object) -> None:
        """Run the kernel on arrays and numbers, in the order of its parameters, outputs included.

        Arrays are NumPy's, or anything in main memory that speaks DLPack: copied to the device, and back if written.
        Or they are on the device already, as `DeviceArray`, PyTorch's and CuPy's: used where they are; if all are, the
        call returns while the device works.
        Raises ArgumentError, with nothing written, for arguments that do not fit; DeviceError without a device;
        DeviceLost where the kernel breaks it; MemoryError.
        """
        with self._lock:  # an emulation gets new memory, of which it knows the end, and that nothing is written yet
            self._prepare(arguments, self._memory if self.device.is_gpu else {})()

    def bind(self, *arguments: object) -> BoundLaunches:
        """Check arguments once, allocate what they need on the device, and give a call without arguments."""
        return self._prepare(arguments, {})

    def time_evaluator(
        self, number: int = 10, repeat: int = 1, min_repeat_ms: float = 0.0, flush_bytes: int | None = 0
    ) -> Callable[..., DeviceTiming]:
        """Give a function that takes the kernel's arguments and gives its times, by the device's clock.

        number         calls in a batch, started without the host between them
        repeat         batches, one result each
        min_repeat_ms  make batches longer until one takes about this many milliseconds
        flush_bytes    overwrite this much other memory before each batch, outside the time; None for twice the
                       second-level cache: with `number=1` the kernel finds its data in main memory
        """

        def evaluate(*arguments: object) -> DeviceTiming:
            return self.bind(*arguments).time(number, repeat, min_repeat_ms, flush_bytes)

        return evaluate

    def blocks_per_multiprocessor(self) -> tuple[int, ...]:
        """Give how many blocks of each launch one multiprocessor holds at a time."""
        return tuple(kernel.blocks_per_multiprocessor() for kernel in self.loaded)

    def _prepare(self, arguments: Sequence[object], memory: dict[str, DeviceArray]) -> BoundLaunches:
        """Check arguments and give their launches; `memory` holds what was allocated before under the same names."""
        device = self.device
        seen = [
            self._seen(*each) for each in zip(range(len(arguments)), arguments, self.signature.params, strict=False)
        ]
        checked, arrays = self._check([*seen, *arguments[len(seen) :]])
        values: dict[str, Value] = dict(zip(self._names, checked, strict=True))
        params = [p for p in self.signature.params if type(p) is ArrayParam]
        given = [a for a, p in zip(arguments, self.signature.params, strict=True) if type(p) is ArrayParam]
        copies = []
        for param, argument, array in zip(params, given, arrays, strict=True):
            if not _on_device(argument):
                host = header(address_of(array), (span_bytes(array),), np.dtype("uint8"))
                address = _room(memory, param.name, host.nbytes, device)
                copies.append(_Copy(host, address, param.written))
                values[param.name] = address
        source = self.code.source
        for workspace in source.workspaces:
            size = self._evaluate(workspace.bytes, values)
            values[workspace.name] = _room(memory, workspace.name, size, device)
        for described in source.tensor_maps:
            shape = [self._evaluate(text, values) for text in described.shape]
            strides = [self._evaluate(text, values) for text in described.strides_bytes]
            values[described.name] = device.tensor_map(described, int(values[described.buffer]), shape, strides)
        in_text = values | {text: values[name] for text, name in zip(self._text_names, self._names, strict=True)}
        pairs = zip(self.loaded, source.launches, strict=True)
        launches = [_Start(kernel, grid, _values(launch, in_text)) for kernel, launch in pairs
                    if 0 not in (grid := self._grid(launch, values))]  # fmt: skip
        return BoundLaunches(device, copies, launches, (*arguments, *arrays, *memory.values()))

    def _seen(self, position: int, argument: object, param: ArrayParam | ScalarParam) -> object:
        """Give an argument as the check can look at it: an array on the device by its header."""
        if type(param) is ScalarParam or not _on_device(argument):
            return argument
        try:
            if type(argument) is DeviceArray:
                if argument.device is self.device:
                    return argument.header
            elif self.device.is_gpu:
                return header_of(argument)
            fact = f"lies in the memory of another device than {self.device.name}"
        except (TypeError, BufferError, RuntimeError, AttributeError) as error:  # whatever its owner has to say
            fact = f"cannot be used where it lies: {error}"
        where = f"argument {position}, {param.name},"
        raise ArgumentError(self.name, f"{where} {fact}", advice="a NumPy array, or an array of the kernel's device")

    def _grid(self, launch: Launch, values: Mapping[str, Value]) -> Triple:
        x, y, z = (self._evaluate(text, values) for text in launch.grid)
        for axis, blocks, limit in zip("xyz", (x, y, z), MOST_GRID, strict=True):
            if blocks > limit:
                fact = f"{launch.name} would have {blocks} blocks along {axis}, and a grid has at most {limit}"
                raise ArgumentError(self.name, fact, advice="smaller arrays, or a schedule with larger blocks")
        return x, y, z

    def _evaluate(self, text: str, values: Mapping[str, Value]) -> int:
        return evaluate_extent(self._expressions[text], values)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Start:
    """One launch with everything that it takes."""

    kernel: LoadedKernel
    grid: Triple
    values: tuple[Value, ...]

    def __call__(self) -> None:
        self.kernel(self.grid, self.values)


def _on_device(argument: object) -> bool:
    return type(argument) is DeviceArray or (type(argument) is not np.ndarray and is_on_gpu(argument))


def _room(memory: dict[str, DeviceArray], name: str, size_bytes: int, device: Device) -> int:
    """Give the address of `size_bytes` or more: what `memory` has under this name, if it is large enough."""
    found = memory.get(name)
    if found is None or found.nbytes < size_bytes:
        found = memory[name] = DeviceArray(device, (size_bytes,), "uint8")
    return found.address


def _values(launch: Launch, values: Mapping[str, Value]) -> tuple[Value, ...]:
    return tuple(values[param.name] for param in launch.params)


def _expressions(signature: Signature, code: CudaCode) -> dict[str, Extent]:
    """Give the value of each integer expression of a source, to be computed from the sizes."""
    scalars = [p for p in (*signature.params, *signature.sizes) if type(p) is ScalarParam]
    names = {s.name: Var(s.name, s.dtype, s.minimum) for s in scalars}
    source = code.source
    texts = {text for launch in source.launches for text in launch.grid}
    texts |= {workspace.bytes for workspace in source.workspaces}
    texts |= {text for described in source.tensor_maps for text in (*described.shape, *described.strides_bytes)}
    return {text: extent_of(parse_expr(text, names)) for text in texts}
