"""CUDA kernels that were compiled together: callable where there is a GPU or its emulation, or written to files."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ...ir.errors import ArgumentError
from ...ir.target import Target
from ..module import Kernels
from ..signature import Signature, from_json, to_json
from .code import CudaCode, launches_to_json, source_from_json
from .compiler.compile import compile_ptx, read_cubin
from .compiler.ptxas import Resources
from .compiler.sass import disassemble
from .device import Device
from .devices import find_device
from .kernel import CudaKernel, DeviceTiming


class CudaModule:
    """Kernels for one architecture.

    `module["name"]` is a kernel; a module with one kernel can be called like it.
    """

    def __init__(
        self, codes: Sequence[CudaCode], signatures: Sequence[Signature], target: Target, device: Device | None = None
    ) -> None:
        """Wrap the code of each function; without `device` the first GPU runs it."""
        self.target, self.device = target, device
        pairs = zip(signatures, codes, strict=True)
        self.kernels = Kernels({s.name: CudaKernel(s, code, device) for s, code in pairs})

    def __getitem__(self, name: str) -> CudaKernel:
        return self.kernels[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.kernels)

    def __call__(self, *arguments: object) -> None:
        """Run the only kernel; raises as it does, and ArgumentError where there are several."""
        self.kernel(*arguments)

    def __repr__(self) -> str:
        return f"<module {', '.join(str(k.signature) for k in self.kernels.values())} for {self.target}>"

    @property
    def kernel(self) -> CudaKernel:
        """Give the only kernel."""
        return self.kernels.only

    @property
    def cuda_source(self) -> str:
        """Give the text of all kernels, in the device language; the compiler adds its definitions."""
        return "\n".join(kernel.code.source.text for kernel in self.kernels.values())

    @property
    def cubin(self) -> bytes:
        """Give the machine code of the only kernel."""
        return self.kernel.code.cubin.code

    @property
    def resources(self) -> Mapping[str, Resources]:
        """Give what each launch takes of a multiprocessor, by its name."""
        return {name: taken for kernel in self.kernels.values() for name, taken in kernel.resources.items()}

    def get_source(self, form: str = "cu") -> str:
        """Give the code as text: "cu" for CUDA C++, "ptx", or "sass" for machine instructions (needs nvdisasm)."""
        codes = [kernel.code for kernel in self.kernels.values()]
        match form:
            case "" | "cu":
                return self.cuda_source
            case "sass":
                return "\n".join(_sass(code.cubin.code) for code in codes)
            case "ptx":
                return "\n".join(compile_ptx(code.source.text, code.arch) for code in codes)
        raise ArgumentError("get_source", f"no text of the form {form!r}", advice='"cu", "ptx" or "sass"')

    def time_evaluator(
        self,
        name: str | None = None,
        number: int = 10,
        repeat: int = 1,
        min_repeat_ms: float = 0.0,
        flush_bytes: int | None = 0,
    ) -> Callable[..., DeviceTiming]:
        """Give a function that times the kernel called `name`, or the only one; see `CudaKernel.time_evaluator`."""
        kernel = self.kernel if name is None else self[name]
        return kernel.time_evaluator(number, repeat, min_repeat_ms, flush_bytes)

    def save(self, path: str | Path) -> None:
        """Write the module to one file, which `load_module` reads on a machine with or without a CUDA compiler."""
        kernels = self.kernels.values()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("module.json", json.dumps({"target": str(self.target)}))
            file.writestr("signatures.json", to_json(tuple(kernel.signature for kernel in kernels)))
            for number, kernel in enumerate(kernels):
                code = kernel.code
                file.writestr(f"{number}.json", launches_to_json(code.source))
                file.writestr(f"{number}.cu", code.source.text)
                file.writestr(f"{number}.cubin", code.cubin.code)
                file.writestr(f"{number}.log", code.cubin.log)


def read_module(parts: zipfile.ZipFile, target: Target, device: str | Device | None = None) -> CudaModule:
    """Give the module of a file that `CudaModule.save` wrote.  Raises KeyError or ValueError for a damaged one."""
    signatures = from_json(parts.read("signatures.json").decode())
    codes = [_code(parts, number, target) for number in range(len(signatures))]
    return CudaModule(codes, signatures, target, find_device(device))


def _code(parts: zipfile.ZipFile, number: int, target: Target) -> CudaCode:
    text, launches, log = (parts.read(f"{number}.{form}").decode() for form in ("cu", "json", "log"))
    cubin = read_cubin(parts.read(f"{number}.cubin"), log, text, target.arch)
    return CudaCode(source_from_json(text, launches), target.arch, cubin)


def _sass(cubin: bytes) -> str:
    lines = []
    for name, kernel in disassemble(cubin).items():
        lines.append(f"{name}:")
        for i in kernel.instructions:
            lines.append(f"    {f'@{i.predicate} ' if i.predicate else ''}{i.opcode} {i.operands};")
    return "\n".join(lines)
