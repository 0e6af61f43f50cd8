"""The work of real builders and runners, by the kind of the task's target."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..ir.errors import TargetError
from ..runtime.host import refuse_elsewhere
from ..runtime.peak import PeakLoop, dot_peak, fma_peak
from .builder import build_candidate
from .built import Built
from .cores import Cores, pin
from .pace import Pace
from .reference import Reference, make_reference
from .requests import BuildRequest, FinalRequest, RunRequest, Stages
from .runner import Measured, measure_candidate, remeasure
from .task import Task

MakeReference = Callable[[], Reference]
BYTES = frozenset({"int8", "uint8"})


def task_stages(
    task: Task,
    reference: Reference | None = None,
    cores: Cores | None = None,
    limit_s: float = math.inf,
    tell: Callable[[str], None] = lambda _: None,
) -> Stages:
    """Give the work of real builders and runners.

    The reference answer is computed here, in the process that workers are forked from.
    reference  the answer, where it is known
    cores      processors to which they bind themselves, where candidates run on those
    limit_s    for the answer, and who is told that it takes a while, see `make_reference`
    Raises DeviceError where the task asks for a GPU and there is none.
    """
    return _STAGES[task.target.kind](task, lambda: reference or make_reference(task.tensors, 0, limit_s, tell), cores)


def _for_gpu(task: Task, make: MakeReference, _: Cores | None) -> Stages:
    from .run_cuda import cuda_stages  # here, so that workers that are forked have it; most programs need none of it

    return cuda_stages(task, make())


def _for_processor(task: Task, make: MakeReference, cores: Cores | None) -> Stages:
    refuse_elsewhere(task.target)
    answer = make()
    # Loaded before the fork, so that a runner that replaces a dead one starts at once.
    peak = peak_beside(task)
    pace = Pace(peak) if peak else None

    def build(request: BuildRequest) -> Built:
        if cores:
            pin(cores.others)
        return build_candidate(task, request.config, request.effort, request.max_spills)

    def run(request: RunRequest | FinalRequest) -> Measured | list[Measured]:
        if cores:
            pin(cores.runner)
        match request:
            case RunRequest(built, best_s, left_s):
                return measure_candidate(built, answer, pace, best_s, task.threads, left_s)
            case FinalRequest(built, rounds, budget_s):
                return remeasure(built, answer, pace, task.threads, rounds, budget_s)

    return Stages(build, run)


def peak_beside(task: Task) -> PeakLoop | None:
    """Give the loop beside which candidates are timed; none for bytes without an instruction for their products."""
    if not {str(tensor.dtype) for tensor in task.tensors} & BYTES:
        return fma_peak(task.threads, task.target)
    try:
        return dot_peak(task.threads, task.target)
    except TargetError:
        return None


_STAGES: dict[str, Callable[[Task, MakeReference, Cores | None], Stages]] = {
    "llvm": _for_processor,
    "cuda": _for_gpu,
}
