"""What building a configuration gives, and how far it got."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..ir.stmt import Function
from ..runtime.cuda.code import CudaCode
from ..runtime.signature import Signature
from ..schedule.lower import lower
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


def lowered(task: Task, config: Config, progress: Progress) -> Function:
    """Give the loop nest of a configuration.  Raises Error where the template, a step or lowering refuses."""
    schedule, tensors = task.instantiate(config)
    progress.steps = schedule.to_json()
    progress.step = Status.LOWER
    nest = lower(schedule, tensors, KERNEL)
    progress.step = Status.CODEGEN
    return nest
