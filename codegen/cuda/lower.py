"""From a nest with thread-bound loops to the kernels of a GPU: the passes, to be read from top to bottom."""

from __future__ import annotations

from dataclasses import replace

from ...ir.stmt import Function
from ...ir.target import Target
from ..passes.promote import PromoteAccumulators
from ..passes.unroll import UnrollByPragma
from .kernel import KernelPass, Program
from .split import split_kernels
from .virtual_threads import ExpandVirtualThreads

NEST_PASSES = (
    UnrollByPragma(),
    ExpandVirtualThreads(),
)
KERNEL_PASSES: tuple[KernelPass, ...] = ()


def lower_cuda(function: Function, target: Target) -> Program:
    """Give the kernels of a nest.  Raises CodegenError and TargetError."""
    body = function.body
    for step in NEST_PASSES:
        body = step(body, target)
    program = split_kernels(replace(function, body=body))
    kernels = []
    for kernel in program.kernels:
        for kernel_step in KERNEL_PASSES:
            kernel = kernel_step(kernel, target)
        kernels.append(kernel)
    return replace(program, kernels=tuple(kernels))
