"""A GPU for tests: PyCUDA's interface, as far as it is used, in Python over the fake driver of `fake_driver.c`.

`make cuda-adapter-check` runs the same tests with PyCUDA itself: FAKE_CUDA_DRIVER is then the driver that it loads.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from tilewright.codegen.cuda.source import CudaSource, Launch, Parameter
from tilewright.runtime.cuda import driver_api
from tilewright.runtime.cuda.code import CudaCode
from tilewright.runtime.cuda.compiler.compile import Cubin
from tilewright.runtime.cuda.emulator.library import runtime
from tilewright.runtime.cuda.emulator.toolchain import kernel_library
from tilewright.runtime.cuda.pycuda_device import PycudaDevice

HERE = Path(__file__).parent
REAL = os.environ.get("FAKE_CUDA_DRIVER", "")
ATTRIBUTES = {
    "MAX_THREADS_PER_BLOCK": 1,
    "MULTIPROCESSOR_COUNT": 16,
    "L2_CACHE_SIZE": 38,
    "MAX_SHARED_MEMORY_PER_MULTIPROCESSOR": 81,
    "MAX_REGISTERS_PER_MULTIPROCESSOR": 82,
    "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 97,
}


@cache
def folder() -> Path:
    """Give a folder for what is compiled; it is small, and the system empties it."""
    return Path(mkdtemp(prefix="tilewright-fake-"))


@cache
def compiled(source: Path, name: str) -> Path:
    """Give the shared library of a C file.

    It names itself otherwise: NVRTC looks in this process for a `libcuda.so.1`, and wants more of it than we have.
    """
    library = folder() / name
    command = ["gcc", "-w", "-O1", "-shared", "-fPIC", f"-Wl,-soname,fake_{name}", source, "-o", library]
    subprocess.run(command, check=True)
    return library


def fake_driver() -> ctypes.CDLL:
    """Give the fake driver, to ask what was called."""
    library = ctypes.CDLL(REAL or str(compiled(HERE / "fake_driver.c", "libcuda.so.1")))
    library.fake_calls.restype = ctypes.c_char_p
    return library


def calls() -> list[str]:
    """Give the driver's functions that were called since the last time this was asked."""
    library = fake_driver()
    names = library.fake_calls().decode().split()
    library.fake_forget()
    return names


def fake_code(name: str, params: str, block: tuple = (32, 1, 1), shared_bytes: int = 0, grid: tuple = ("1", "1", "1"),
              arch: str = "sm_90a") -> CudaCode:  # fmt: skip
    """Give the code of a kernel of `fake_kernels.c`; `params` are written `buffer A, int32 n`."""
    words = [word.split() for word in params.split(",")]
    kinds = ("buffer", "workspace", "tensor_map")
    made = tuple(Parameter(k, n, "float32") if k in kinds else Parameter("scalar", n, k) for k, n in words)
    launch = Launch(name, made, grid, block, shared_bytes)
    library = compiled(HERE / "fake_kernels.c", "kernels.so").read_bytes()
    return CudaCode(CudaSource("", (launch,)), arch, Cubin(library, arch, "", {}, ()))


def emulated_cubin(source: CudaSource, arch: str) -> Cubin:
    """Give kernels, compiled for the emulator, as a cubin of the fake driver."""
    runtime()  # loaded before the kernels, which refer to it
    names = {launch.name: launch.cluster for launch in source.launches}
    entries = "".join(
        f"TWE_ENTRY({name})\nFAKE_KERNEL({name}, {', '.join(map(str, cluster))})\n" for name, cluster in names.items()
    )
    text = f"{source.text}\n{(HERE / 'fake_cubin.h').read_text()}\n{entries}"
    return Cubin(kernel_library(text).read_bytes(), arch, "", {}, ())


@contextmanager
def stand_in_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[PycudaDevice]:
    """Give the adapter on the stand-in; afterwards everything must have been given back."""
    install(monkeypatch)
    device = PycudaDevice()
    try:
        yield device
    finally:
        device.close()


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the stand-in what `import pycuda.driver` gives, and the fake driver what ctypes finds."""
    if REAL:
        assert not hasattr(importlib.import_module("pycuda.driver"), "stand_in")
        return
    monkeypatch.setattr(driver_api, "LIBRARY", str(compiled(HERE / "fake_driver.c", "libcuda.so.1")))
    driver = pycuda_driver()
    package = ModuleType("pycuda")
    package.__spec__ = ModuleSpec("pycuda", None)
    package.driver = driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)


class Error(Exception):
    """`pycuda.driver.Error`."""


class MemoryError(Error):
    """`pycuda.driver.MemoryError`."""


def call(name: str, *arguments: object) -> None:
    status = getattr(fake_driver(), name)(*arguments)
    if status:
        text = ctypes.c_char_p()
        fake_driver().cuGetErrorString(status, ctypes.byref(text))
        raise (MemoryError if status == 2 else Error)(f"{name} failed: {text.value.decode()}")


def made(name: str, *arguments: object) -> ctypes.c_void_p:
    """Give the handle that a function of the driver writes to its first argument."""
    handle = ctypes.c_void_p()
    call(name, ctypes.byref(handle), *arguments)
    return handle


class Device:
    def __init__(self, ordinal: int) -> None:
        call("cuDeviceGet", ctypes.byref(ctypes.c_int()), ordinal)

    def name(self) -> str:
        name = ctypes.create_string_buffer(100)
        call("cuDeviceGetName", name, 100, 0)
        return name.value.decode()

    def compute_capability(self) -> tuple[int, int]:
        major, minor = ctypes.c_int(), ctypes.c_int()
        call("cuDeviceComputeCapability", ctypes.byref(major), ctypes.byref(minor), 0)
        return major.value, minor.value

    def total_memory(self) -> int:
        return made("cuDeviceTotalMem_v2", 0).value

    def get_attribute(self, attribute: int) -> int:
        value = ctypes.c_int()
        call("cuDeviceGetAttribute", ctypes.byref(value), attribute, 0)
        return value.value

    def retain_primary_context(self) -> Context:
        made("cuDevicePrimaryCtxRetain", 0)
        return Context()


class Context:
    def push(self) -> None:
        call("cuCtxPushCurrent_v2", None)

    def detach(self) -> None:
        call("cuDevicePrimaryCtxRelease_v2", 0)

    @staticmethod
    def synchronize() -> None:
        call("cuCtxSynchronize")


class Allocation:
    def __init__(self, size_bytes: int) -> None:
        self.address = made("cuMemAlloc_v2", ctypes.c_size_t(size_bytes)).value

    def __int__(self) -> int:
        return self.address

    def free(self) -> None:
        call("cuMemFree_v2", ctypes.c_uint64(self.address))


class Stream:
    def __init__(self, flags: int = 0) -> None:
        self.handle = made("cuStreamCreate", flags).value


class Event:
    def __init__(self) -> None:
        self.handle = made("cuEventCreate", 0)

    def record(self, stream: Stream | None = None) -> None:
        call("cuEventRecord", self.handle, ctypes.c_void_p(stream and stream.handle))

    def synchronize(self) -> None:
        call("cuEventSynchronize", self.handle)

    def time_till(self, other: Event) -> float:
        ms = ctypes.c_float()
        call("cuEventElapsedTime_v2", ctypes.byref(ms), self.handle, other.handle)
        return ms.value


class Module:
    def __init__(self, image: bytes) -> None:
        self.handle = made("cuModuleLoadDataEx", image, 0, None, None)

    def get_function(self, name: str) -> Function:
        return Function(made("cuModuleGetFunction", self.handle, name.encode()))


class Function:
    def __init__(self, handle: ctypes.c_void_p) -> None:
        self.handle = handle

    def set_attribute(self, attribute: int, value: int) -> None:
        call("cuFuncSetAttribute", self.handle, attribute, value)

    def _launch_kernel(self, grid: tuple, block: tuple, buffer: bytes, shared: int, stream: Stream | None) -> None:
        launch(self.handle, grid, block, buffer, shared, stream)

    def __call__(self, *args: np.ndarray, grid: tuple, block: tuple, shared: int, stream: Stream | None) -> None:
        """PyCUDA's own way, with arrays by value: it sets the shape by a deprecated call first."""
        call("cuFuncSetBlockShape", self.handle, *block)
        launch(self.handle, grid, block, b"".join(a.tobytes() for a in args), shared, stream)


def launch(
    function: ctypes.c_void_p, grid: tuple, block: tuple, buffer: bytes, shared: int, stream: Stream | None
) -> None:
    size = ctypes.c_size_t(len(buffer))
    data = ctypes.create_string_buffer(buffer, len(buffer))
    extra = (ctypes.c_void_p * 5)(1, ctypes.addressof(data), 2, ctypes.addressof(size), 0)
    on = ctypes.c_void_p(stream and stream.handle)
    call("cuLaunchKernel", function, *grid, *block, shared, on, None, extra)


def pycuda_driver() -> ModuleType:
    """Give a module with the names of `pycuda.driver` that the adapter uses."""
    driver = ModuleType("pycuda.driver")
    driver.stand_in = True
    for item in (Error, MemoryError, Device, Context, Stream, Event, Module, Function):
        setattr(driver, item.__name__, item)
    driver.init = lambda: call("cuInit", 0)
    driver.module_from_buffer = Module
    driver.mem_alloc = Allocation
    driver.memcpy_htod = lambda to, array: call(
        "cuMemcpyHtoD_v2", ctypes.c_uint64(int(to)), ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
    )
    driver.memcpy_dtoh = lambda array, of: call(
        "cuMemcpyDtoH_v2", ctypes.c_void_p(array.ctypes.data), ctypes.c_uint64(int(of)), ctypes.c_size_t(array.nbytes)
    )
    driver.memset_d8 = lambda to, byte, size: call(
        "cuMemsetD8_v2", ctypes.c_uint64(int(to)), ctypes.c_ubyte(byte), ctypes.c_size_t(size)
    )
    driver.memset_d8_async = lambda to, byte, size, stream: driver.memset_d8(to, byte, size)
    driver.device_attribute = SimpleNamespace(**ATTRIBUTES)
    driver.function_attribute = SimpleNamespace(MAX_DYNAMIC_SHARED_SIZE_BYTES=8)
    return driver
