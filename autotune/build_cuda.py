"""From a configuration to kernels of a GPU: what exceeds a limit, or is slow for sure, is never compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ..codegen.cuda.kernel import Kernel, Program
from ..codegen.cuda.lower import lower_cuda
from ..codegen.cuda.screens.limits import check_limits
from ..codegen.cuda.screens.screens import GpuScreens, heaviest, screen, screen_failures
from ..codegen.cuda.screens.traffic import traffic
from ..codegen.cuda.source import Launch
from ..codegen.cuda.text.emit import emit_programs
from ..ir.stmt import Function
from ..ir.target import Target
from ..runtime.cuda.code import CudaCode, launches_to_json
from ..runtime.cuda.compiler.compile import Cubin
from ..runtime.cuda.emulator.image import Emulator
from ..runtime.signature import signature_of
from .built import BuildOptions, Built, GpuKernel, Progress, lowered
from .space import Config
from .task import Task
from .trial import Status

EMULATED = "emulate"  # the device that needs no machine code of a GPU


@dataclass(frozen=True, slots=True)
class Screened:
    """The kernels of a nest, and their figures in the same order."""

    nest: Function
    program: Program
    figures: tuple[GpuScreens, ...]

    @property
    def main(self) -> GpuScreens:
        """Give the figures of the kernel that has most to do."""
        return heaviest(self.figures)

    def failures(self, target: Target) -> list[str]:
        """Give what makes the kernels not worth compiling, in a sentence each."""
        found = [(figures.kernel, failure) for figures in self.figures for failure in screen_failures(figures, target)]
        return [f"{kernel}: {failure.fact}" for kernel, failure in found]


def screened(task: Task, config: Config, progress: Progress) -> Screened:
    """Give the kernels of a configuration and their figures.

    Raises Error where a step before refuses, TargetError for what exceeds a limit of the GPU.
    """
    nest = lowered(task, config, progress)
    program = lower_cuda(nest, task.target)
    progress.step = Status.LIMIT
    figures = tuple(_within_limits(kernel, task.target) for kernel in program.kernels)
    return Screened(nest, program, figures)


def _within_limits(kernel: Kernel, target: Target) -> GpuScreens:
    counted = traffic(kernel)
    check_limits(kernel, target, counted)
    return screen(kernel, target, counted)


def build_cuda(task: Task, config: Config, options: BuildOptions, progress: Progress) -> Built:
    """Instantiate, lower, screen, emit and compile; what the compiler reports as slow is a failure."""
    index = config.index or 0
    found = screened(task, config, progress)
    slow = found.failures(task.target)
    if slow and options.max_spills is not None:
        return Built(index, Status.SCREEN, steps=progress.steps, error="; ".join(slow))
    progress.step = Status.CODEGEN
    code = CudaCode(emit_programs([found.program]), task.target.arch)
    kernel = GpuKernel(signature_of(found.nest), code, found.main.features())
    if options.device == EMULATED:
        Emulator().compile(code.source)  # the runner finds it in the cache
        return Built(index, Status.OK, b"", _hash(code, code.source.text.encode()), progress.steps, gpu=kernel)
    cubin, code_hash = code.cubin, _hash(code, code.cubin.code)
    spills = sum(r.spill_stores + r.spill_loads for r in cubin.resources.values())
    unfit = _unfit(cubin, code.source.launches, task.target)
    if unfit:
        return Built(index, Status.LIMIT, b"", code_hash, progress.steps, spills, error=unfit)
    if options.max_spills is not None and (spills > options.max_spills or any(f.kind != "spill" for f in cubin.faults)):
        facts = "; ".join(f"{fault.kind}: {fault.text}" for fault in cubin.faults)
        return Built(index, Status.SPILL, b"", code_hash, progress.steps, spills, error=facts)
    return Built(index, Status.OK, b"", code_hash, progress.steps, spills, gpu=kernel)


def _unfit(cubin: Cubin, launches: Sequence[Launch], target: Target) -> str:
    """Tell which kernel no multiprocessor can hold with the registers that the compiler took, "" for none."""
    for launch in launches:
        x, y, z = launch.block
        registers = cubin.resources[launch.name].registers
        if not target.gpu.resident_blocks(x * y * z, registers, launch.shared_bytes):
            return f"{launch.name}: no multiprocessor holds {x * y * z} threads with {registers} registers each"
    return ""


def _hash(code: CudaCode, binary: bytes) -> str:
    """Give what is equal for kernels that do the same: machine code and launches."""
    return hashlib.sha256(binary + launches_to_json(code.source).encode()).hexdigest()[:16]
