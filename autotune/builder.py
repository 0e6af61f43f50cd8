"""From a configuration to machine code, in a worker process; every way to fail has its class."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.errors import Error
from .build_llvm import build_llvm
from .built import KERNEL, BuildOptions, Built, Progress
from .space import Config
from .task import Task
from .trial import Status

__all__ = ["BUILDERS", "KERNEL", "BuildOptions", "Built", "build_candidate"]

Builder = Callable[[Task, Config, BuildOptions, Progress], Built]


def _build_cuda(task: Task, config: Config, options: BuildOptions, progress: Progress) -> Built:
    from .build_cuda import build_cuda  # most programs need none of it

    return build_cuda(task, config, options, progress)


BUILDERS: dict[str, Builder] = {"llvm": build_llvm, "cuda": _build_cuda}  # by kind of target


def build_candidate(
    task: Task, config: Config, effort: str = "quick", max_spills: int | None = 0, device: str = ""
) -> Built:
    """Instantiate, lower, emit and compile, as the task's target asks; see `BuildOptions`."""
    index, progress = config.index or 0, Progress()
    try:
        return BUILDERS[task.target.kind](task, config, BuildOptions(effort, max_spills, device), progress)
    except Error as error:
        return Built(index, progress.step, steps=progress.steps, error=str(error))
    except MemoryError as error:
        return Built(index, Status.MEMORY, steps=progress.steps, error=f"out of memory while building: {error}")
    except Exception as error:  # a fault of our own must not end the search
        return Built(index, progress.step, steps=progress.steps, error=f"{type(error).__name__}: {error}")
