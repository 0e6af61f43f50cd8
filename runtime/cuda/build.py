"""From loop nests to CUDA kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...codegen.cuda.emit import emit
from ...ir.gpu import GPUS
from ...ir.stmt import Function
from ...ir.target import Target
from ..signature import signature_of
from .architecture import DEFAULT_ARCH
from .availability import probe
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
    full_target = with_arch(target)
    runner = find_device(device)
    codes = [CudaCode(emit([function], full_target), full_target.arch) for function in functions]
    if runner is None or runner.is_gpu:
        for code in codes:
            _ = code.cubin  # what does not compile is refused by build, not by the first call
    return CudaModule(codes, list(map(signature_of, functions)), full_target, runner)


def with_arch(target: Target) -> Target:
    """Give a target with an architecture: that of the first GPU here, or `DEFAULT_ARCH` where there is none."""
    if target.arch:
        return target
    here = str(probe().get("arch", DEFAULT_ARCH))
    return replace(target, arch=f"{here}a" if f"{here}a" in GPUS else here)
