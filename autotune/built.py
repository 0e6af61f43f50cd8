"""What building a configuration gives, and how far it got."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..ir.stmt import Function
from ..runtime.cuda.code import CudaCode
from ..runtime.signature import Signature
from ..schedule.lower import lower, lower_prepared, parameter_names
from ..schedule.schedule import Schedule
from ..te.tensor import Tensor
from .space import Config
from .task import Task
from .trial import Status

KERNEL = "main"


@dataclass(frozen=True, slots=True)
class GpuKernel:
    """Kernels of one function for a GPU, ready to be loaded on a device in another process.

    figures  of the screens, for the kernel that has most to do
    """

    signature: Signature
    code: CudaCode
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Built:
    """What building one configuration gave.

    code     the relocatable object of a processor, empty on failure and for a GPU
    gpu      the kernels for a GPU, None on failure and for a processor
    spills   instructions of the hot loop that move vectors to or from the stack; for a GPU, bytes
    externs  functions from outside that the code calls
    names    of the task's tensors, as the functions' parameters have them
    functions  of a processor: the one that prepares constants, if there is one, and the kernel
    """

    index: int
    status: Status = Status.OK
    code: bytes = b""
    code_hash: str = ""
    steps: str = ""
    spills: int = 0
    externs: tuple[str, ...] = ()
    error: str = ""
    gpu: GpuKernel | None = None
    names: tuple[str, ...] = ()
    functions: tuple[Signature, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How one candidate is compiled.

    effort      "quick", or "full" for all that the compiler can do
    max_spills  more of them are a failure; None for no limit
    device      that will run it: "gpu" or "emulate"; "" for a processor
    """

    effort: str = "quick"
    max_spills: int | None = 0
    device: str = ""


@dataclass(slots=True)
class Progress:
    """How far building one configuration got.

    step   what a failure at this point is
    steps  the schedule as JSON text, once it is made
    """

    step: Status = Status.INSTANTIATE
    steps: str = ""


@dataclass(frozen=True, slots=True)
class Lowered:
    """The loop nests of a configuration.

    names      of the task's tensors, as parameters
    functions  the one that prepares constants, if there is one, and the kernel
    """

    names: tuple[str, ...]
    functions: tuple[Function, ...]


def lowered_for_cpu(task: Task, config: Config, progress: Progress) -> Lowered:
    """Give the loop nests of a configuration.  Raises Error where the template, a step or lowering refuses."""
    schedule, tensors = _scheduled(task, config, progress)
    functions = lower_prepared(schedule, tensors, KERNEL)
    progress.step = Status.CODEGEN
    return Lowered(parameter_names(schedule, tensors), tuple(functions))


def lowered(task: Task, config: Config, progress: Progress) -> Function:
    """Give one loop nest, which prepares constants in every call.  Raises as `lowered_for_cpu` does."""
    schedule, tensors = _scheduled(task, config, progress)
    nest = lower(schedule, tensors, KERNEL)
    progress.step = Status.CODEGEN
    return nest


def _scheduled(task: Task, config: Config, progress: Progress) -> tuple[Schedule, list[Tensor]]:
    schedule, tensors = task.instantiate(config)
    progress.steps = schedule.to_json()
    progress.step = Status.LOWER
    return schedule, tensors
