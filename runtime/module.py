"""Compiled code with the signatures of its functions: callable here, or written to files."""

from __future__ import annotations

import ctypes
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..codegen.llvm.compile import ObjectCode
from ..ir.errors import ArgumentError
from ..ir.target import Target
from . import export
from .externs import refuse_unknown, registered
from .host import refuse_elsewhere
from .jit import load
from .kernel import Kernel
from .library import EXPORTS, GENERATED_CODE_CALLS, Library, bind_functions, library
from .pool import adopt
from .signature import Signature, from_json, to_json
from .timing import Timing

if TYPE_CHECKING:
    from .cuda.device import Device
    from .cuda.module import CudaModule


K = TypeVar("K")


class Kernels(dict[str, K]):
    """Kernels by name."""

    def __missing__(self, name: str) -> K:
        raise ArgumentError("module", f"no kernel called {name!r}", advice=f"one of {', '.join(self)}")

    @property
    def only(self) -> K:
        """Give the only kernel.  Raises ArgumentError where there are several, or none."""
        if len(self) != 1:
            advice = f'module["name"] with one of {", ".join(self)}'
            raise ArgumentError("module", f"has {len(self)} kernels", advice=advice)
        return next(iter(self.values()))


class Module:
    """Kernels that were compiled together.

    `module["name"]` is a kernel; a module with one kernel can be called like it.  Code for another machine than this
    one can be written to files but not called.
    """

    def __init__(
        self,
        code: ObjectCode,
        signatures: Sequence[Signature],
        target: Target,
        externs: Sequence[str] = (),
        recompile: Callable[[], ObjectCode] | None = None,
    ) -> None:
        """Wrap compiled code, which is loaded when a kernel is first asked for.

        externs    names of the outside functions that the code calls
        recompile  gives position-independent code, for shared libraries; None where the code is that already
        """
        self.code, self.signatures, self.target, self.externs = code, tuple(signatures), target, tuple(externs)
        self._recompile = recompile
        self._kernels: Kernels[Kernel] | None = None

    def __getitem__(self, name: str) -> Kernel:
        return self.kernels[name]

    def __iter__(self) -> Iterator[str]:
        return iter(signature.name for signature in self.signatures)

    def __call__(self, *arguments: object, threads: int | None = None) -> None:
        """Run the only kernel; raises as it does, and ArgumentError where there are several."""
        self.kernel(*arguments, threads=threads)

    def __reduce__(self) -> tuple[type[Module], tuple[object, ...]]:
        """Let the module be pickled, as its code: for processes that are not forked from this one."""
        return Module, (self._pic_code(), self.signatures, self.target, self.externs)

    def __repr__(self) -> str:
        return f"<module {', '.join(map(str, self.signatures))} for {self.target.cpu or self.target.triple}>"

    @property
    def kernel(self) -> Kernel:
        """Give the only kernel."""
        return self.kernels.only

    @property
    def kernels(self) -> Kernels[Kernel]:
        """Give all kernels by name; loads the code the first time.

        Raises TargetError for another machine's code, CodegenError for a call of a function that is found nowhere.
        """
        if self._kernels is None:
            self._kernels = self._load()
        return self._kernels

    def _load(self) -> Kernels[Kernel]:
        refuse_elsewhere(self.target)
        externs = registered(self.externs)
        refuse_unknown(self.externs)
        calls = {name: library().addresses[name] for name in GENERATED_CODE_CALLS}
        symbols = calls | {name: extern.address for name, extern in externs.items()}
        entries = [export.packed(s.name) for s in self.signatures]
        loaded = load(self.code.code, entries, symbols)
        owner = (loaded, externs)
        entry = {s.name: loaded.addresses[export.packed(s.name)] for s in self.signatures}
        return Kernels({s.name: Kernel(s, entry[s.name], owner) for s in self.signatures})

    @property
    def llvm_ir(self) -> str:
        """Give the LLVM IR text that was compiled."""
        return self.code.text

    @property
    def assembly(self) -> str:
        """Give the machine code as assembly text."""
        return self.code.assembly

    def get_source(self, form: str = "ll") -> str:
        """Give the code as text: "ll" for LLVM IR, "asm" or "s" for assembly."""
        match form:
            case "" | "ll":
                return self.llvm_ir
            case "asm" | "s":
                return self.assembly
            case _:
                raise ArgumentError("get_source", f"no text of the form {form!r}", advice='"ll" or "asm"')

    def time_evaluator(
        self,
        name: str | None = None,
        number: int = 10,
        repeat: int = 1,
        min_repeat_ms: float = 0.0,
        flush_bytes: int = 0,
    ) -> Callable[..., Timing]:
        """Give a function that times the kernel called `name`, or the only one; see `Kernel.time_evaluator`."""
        kernel = self.kernel if name is None else self[name]
        return kernel.time_evaluator(number, repeat, min_repeat_ms, flush_bytes)

    def export_object(self, path: str | Path) -> tuple[Path, Path]:
        """Write the kernels as a relocatable object, and beside it `tilewright_runtime.o`, which they are linked with.

        Gives both paths.  No linker is needed.
        """
        return export.write_objects(Path(path), self._pic_code().code, self.target)

    def export_library(self, path: str | Path) -> Path:
        """Write a shared library that needs nothing of this package, and a C header of the same name beside it.

        Gives the header's path.  Raises TargetError where no linker for the processor is found,
        ArgumentError where a kernel calls a function of this process.
        """
        local = sorted(registered(self.externs))
        if local:
            raise ArgumentError(
                "export_library", f"{local[0]} exists in this process only", advice="a function of a shared library"
            )
        return export.write_library(Path(path), self._pic_code().code, self.signatures, self.target)

    def save(self, path: str | Path) -> None:
        """Write the module to one file, which `load_module` reads without a linker."""
        export.require_folder("save", Path(path))
        code = self._pic_code()
        about = {"target": str(self.target), "externs": self.externs}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("module.json", json.dumps(about))
            file.writestr("signatures.json", to_json(self.signatures))
            file.writestr("code.o", code.code)
            file.writestr("code.ll", code.text)
            file.writestr("code.s", code.assembly)

    def _pic_code(self) -> ObjectCode:
        return self._recompile() if self._recompile else self.code


class LibraryModule:
    """Kernels of a shared library that `Module.export_library` wrote; its parallel loops run on its own pool."""

    def __init__(self, path: Path) -> None:
        """Load a library.  Raises ArgumentError for one that has no kernels of this package."""
        try:
            self._library = ctypes.CDLL(str(path))
            text = ctypes.c_char.in_dll(self._library, export.METADATA)
        except (OSError, ValueError) as error:
            raise ArgumentError("load_module", f"{path}: {error}", advice="a file of Module.export_library") from None
        self.signatures = from_json(ctypes.string_at(ctypes.addressof(text)).decode())
        addresses = {name: self._address(name) for name in EXPORTS}
        adopt(Library(addresses, bind_functions(addresses)))
        entry = {s.name: self._address(export.packed(s.name)) for s in self.signatures}
        call = addresses["tilewright_call"]
        self.kernels = Kernels({s.name: Kernel(s, entry[s.name], self._library, call) for s in self.signatures})

    def _address(self, name: str) -> int:
        return ctypes.cast(getattr(self._library, name), ctypes.c_void_p).value or 0

    def __getitem__(self, name: str) -> Kernel:
        return self.kernels[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.kernels)

    def __call__(self, *arguments: object, threads: int | None = None) -> None:
        """Run the only kernel; raises as it does, and ArgumentError where there are several."""
        self.kernels.only(*arguments, threads=threads)


def load_module(path: str | Path, device: str | Device | None = None) -> Module | CudaModule | LibraryModule:
    """Read a file that `save` of a module or `Module.export_library` wrote.

    device  that runs CUDA kernels, as in `build`
    Raises ArgumentError for a file that is missing or is neither; TargetError, on first use, for another machine's.
    """
    file = Path(path).resolve()
    if not file.is_file():
        fact = f"{path} is no file" if file.exists() else f"{path} does not exist"
        raise ArgumentError("load_module", fact, advice="a file of Module.save or export_library")
    if not zipfile.is_zipfile(file):
        return LibraryModule(file)
    try:
        with zipfile.ZipFile(file) as parts:
            about = json.loads(parts.read("module.json"))
            target = Target.parse(about["target"])
            if target.kind == "cuda":
                from .cuda.module import read_module  # most programs need none of it

                return read_module(parts, target, device)
            signatures = from_json(parts.read("signatures.json").decode())
            assembly = parts.read("code.s").decode()
            code = ObjectCode(parts.read("code.o"), parts.read("code.ll").decode(), partial(str, assembly))
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ArgumentError("load_module", f"{path} is damaged: {error}", advice="save the module again") from None
    return Module(code, signatures, target, about["externs"])
