"""From a nest with thread-bound loops to the kernels of a GPU: the passes, to be read from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...ir.simplify import simplify
from ...ir.stmt import Function, Stmt
from ...ir.target import Target
from ..passes.promote import PromoteAccumulators
from ..passes.unroll import UnrollByPragma, UnrollTiles
from ..passes.widen import WidenGuards
from .hopper.bulk_stores import FenceBulkStores, RealiseBulkStores
from .hopper.warp_roles import RealiseRings
from .kernel import Kernel, KernelPass, Program
from .matrices.dot_products import SelectDotProducts
from .matrices.fragments import DistributeFragments
from .matrices.warpgroups import SpreadWarpgroups
from .ordering.barriers import PlanBarriers
from .ordering.pipelining import PipelineLoops
from .threads.split import split_kernels
from .threads.virtual_threads import ExpandVirtualThreads

REGISTERS = {"registers": 255, "vector_bits": 32}  # of a thread


@dataclass(frozen=True, slots=True)
class SumInRegisters:
    """Hold what a thread's reduction updates in registers, and store it once."""

    def __call__(self, body: Stmt, target: Target) -> Stmt:
        """Give the body with its accumulators in local buffers."""
        return PromoteAccumulators()(body, replace(target, **REGISTERS))


NEST_PASSES = (
    UnrollByPragma(),
    ExpandVirtualThreads(),
    WidenGuards(),
    SumInRegisters(),
)


@dataclass(frozen=True, slots=True)
class SimplifyIndices:
    """Simplify all expressions, with the ranges of thread indices and loops."""

    def __call__(self, kernel: Kernel, target: Target) -> Kernel:
        """Give the simplified kernel."""
        return replace(kernel, body=simplify(kernel.body, kernel.ranges))


@dataclass(frozen=True, slots=True)
class UnrollRegisterTiles:
    """Write out the loops that index registers."""

    def __call__(self, kernel: Kernel, target: Target) -> Kernel:
        """Give the kernel with its loops marked."""
        return replace(kernel, body=UnrollTiles()(kernel.body, replace(target, **REGISTERS)))


KERNEL_PASSES: tuple[KernelPass, ...] = (
    SpreadWarpgroups(),
    DistributeFragments(),
    SelectDotProducts(),
    SimplifyIndices(),
    PipelineLoops(),
    RealiseBulkStores(),
    PlanBarriers(),
    FenceBulkStores(),
    RealiseRings(),
    UnrollRegisterTiles(),
)


def lower_cuda(function: Function, target: Target) -> Program:
    """Give the kernels of a nest.  Raises CodegenError and TargetError."""
    body: Stmt = function.body
    for step in NEST_PASSES:
        body = step(body, target)
    program = split_kernels(replace(function, body=body))
    kernels = []
    for kernel in program.kernels:
        for kernel_step in KERNEL_PASSES:
            kernel = kernel_step(kernel, target)
        kernels.append(kernel)
    return replace(program, kernels=tuple(kernels))
