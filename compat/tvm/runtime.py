"""`tvm.runtime`: compiled modules with the methods of TVM's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...ir.errors import ArgumentError
from ...runtime import module as native
from ...runtime.kernel import Kernel
from ...runtime.timing import Timing
from .device import Device, cpu, device
from .nd import NDArray, unwrapped

if TYPE_CHECKING:
    from ...runtime.cuda.kernel import CudaKernel
    from ...runtime.cuda.module import CudaModule

__all__ = ["BenchmarkResult", "Device", "Function", "Module", "NDArray", "cpu", "device", "load_module"]


class BenchmarkResult(Timing):
    """Seconds for one call, measured several times: mean, median, min, max, std, results."""

    __slots__ = ()

    @property
    def results(self) -> tuple[float, ...]:
        """Give one mean for each repetition."""
        return self.results_s


class Function:
    """A kernel that takes NDArrays or NumPy arrays."""

    def __init__(self, kernel: Kernel | CudaKernel) -> None:
        self.kernel = kernel

    def __call__(self, *args: Any) -> None:
        """Run the kernel; raises ArgumentError for arguments that do not fit."""
        self.kernel(*map(unwrapped, args))


class Module:
    """Compiled kernels; calling the module calls its only one."""

    type_key = "llvm"

    def __init__(self, module: native.Module | native.LibraryModule | CudaModule) -> None:
        self.native = module

    @property
    def entry_name(self) -> str:
        """Give the name of the only kernel.  Raises ArgumentError where there are several."""
        names = list(self.native)
        if len(names) != 1:
            raise ArgumentError("entry_name", f"has {len(names)} kernels", advice=f"one of {', '.join(names)}")
        return names[0]

    @property
    def entry_func(self) -> Function:
        """Give the only kernel."""
        return self.get_function(self.entry_name)

    @property
    def imported_modules(self) -> list[Module]:
        """Give the modules for other devices: this one, if its kernels are a GPU's."""
        return [self] if self._cuda_source else []

    @property
    def _cuda_source(self) -> str:
        return getattr(self.native, "cuda_source", "")

    def get_function(self, name: str, query_imports: bool = False) -> Function:
        """Give the kernel called `name`."""
        return Function(self.native[name])

    __getitem__ = get_function

    def __call__(self, *args: Any) -> None:
        """Run the only kernel."""
        self.entry_func(*args)

    def time_evaluator(
        self,
        func_name: str,
        dev: Device,
        number: int = 10,
        repeat: int = 1,
        min_repeat_ms: int = 0,
        f_preproc: str = "",
    ) -> Callable[..., BenchmarkResult]:
        """Give a function that times a kernel on its arguments.

        f_preproc  "cache_flush_cpu_non_first_arg" overwrites the caches before each repetition
        """
        flush_bytes = _FLUSH_BYTES if f_preproc else 0
        evaluate = self.native[func_name].time_evaluator(number, repeat, min_repeat_ms, flush_bytes)
        return lambda *args: BenchmarkResult(evaluate(*map(unwrapped, args)).results_s)

    def get_source(self, fmt: str = "") -> str:
        """Give LLVM IR ("" or "ll") or assembly ("asm" or "s"); of kernels for a GPU the CUDA source."""
        if self._cuda_source and fmt in ("", "cu", "cuda"):
            return self._cuda_source
        return self._compiled("get_source").get_source(fmt or "ll")

    def save(self, file_name: str | Path, fmt: str = "") -> None:
        """Write "o" (an object), "ll" or "s", by `fmt` or the file's name; else a file for `load_module`."""
        module, path = self._compiled("save"), Path(file_name)
        match fmt or path.suffix.removeprefix("."):
            case "o" | "obj":
                module.export_object(path)
            case ("ll" | "s" | "asm") as form:
                path.write_text(module.get_source(form), encoding="utf-8")
            case _:
                module.save(path)

    def export_library(self, file_name: str | Path, fcompile: object = None, **options: object) -> None:
        """Write a shared library, and a C header beside it."""
        self._compiled("export_library").export_library(file_name)

    def _compiled(self, step: str) -> native.Module:
        match self.native:
            case native.Module():
                return self.native
            case _:
                fact = "the module is for a GPU" if self._cuda_source else "the module was loaded from a shared library"
                raise ArgumentError(step, fact, advice="the module that build gave for a processor")


_FLUSH_BYTES = 64 << 20


def load_module(path: str | Path, fmt: str = "") -> Module:
    """Read what `save` or `export_library` wrote."""
    return Module(native.load_module(path))
