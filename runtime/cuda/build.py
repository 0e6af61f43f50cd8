"""From loop nests to CUDA kernels."""

from __future__ import annotations

from collections.abc import Sequence

from ...codegen.cuda.emit import emit
from ...ir.stmt import Function
from ...ir.target import Target
from ..host import resolve
from ..signature import signature_of
from .code import CudaCode
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
    codes = [CudaCode(emit([function], full_target), full_target.arch) for function in functions]
    if runner is None or runner.is_gpu:
        for code in codes:
            _ = code.cubin  # what does not compile is refused by build, not by the first call
    return CudaModule(codes, list(map(signature_of, functions)), full_target, runner)
