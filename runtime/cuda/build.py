"""From loop nests to CUDA kernels."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from ...codegen.cuda.text.emit import emit
from ...ir.stmt import Function
from ...ir.target import Target
from .. import trace
from ..host import resolve
from ..signature import signature_of
from .code import CudaCode
from .compiler.compile import compile_ptx
from .device import Device
from .devices import find_device
from .module import CudaModule


def build_cuda(functions: Sequence[Function], target: Target, device: str | Device | None = None) -> CudaModule:
    """Compile functions for a GPU, on a machine with one or without.

    device  that shall run them: None for the first GPU, asked for at the first call; or "emulate", which needs no
            CUDA compiler, as the source is run
    Raises CodegenError for what cannot be expressed, CompileError, and TargetError where there is no CUDA compiler.
    """
    full_target = resolve(target)
    runner = find_device(device)
    trace.show_nests(functions)
    codes = [CudaCode(emit([function], full_target), full_target.arch) for function in functions]
    for function, code in zip(functions, codes, strict=True):
        trace.show(trace.SOURCE, code.source.text)
        if runner is None or runner.is_gpu:
            _compile(function.name, code)
    return CudaModule(codes, list(map(signature_of, functions)), full_target, runner)


def _compile(name: str, code: CudaCode) -> None:
    """Compile now: what does not compile is refused by build, not by the first call."""
    began = perf_counter()
    cubin = code.cubin
    trace.show(trace.COMPILED, f"# compiled {name}: {len(cubin.code)} bytes in {(perf_counter() - began) * 1e3:.1f} ms")
    for kernel, taken in cubin.resources.items():
        text = f"{taken.registers} registers, {taken.spill_stores} bytes spilled"
        trace.show(trace.COMPILED, f"# {kernel}: {text} for {code.arch}")
    if trace.shows(trace.ASSEMBLY):
        trace.show(trace.ASSEMBLY, compile_ptx(code.source.text, code.arch))
