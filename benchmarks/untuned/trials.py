"""What the records say of a workload: configurations of today's space, and how fast each was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from peers.operations import Workload

from tilewright.autotune import Records, Status, Task, Trial, task
from tilewright.autotune.history import config_of
from tilewright.autotune.records import TaskRow
from tilewright.autotune.shipped.call import Call, processor_kind
from tilewright.autotune.shipped.model import Columns
from tilewright.ir.target import Target

FAILED = 0.4  # speed that a failure is taken for, relative to the rules' default
CLEARLY = 0.98  # of the time of the rules' default that a better configuration takes at most


@dataclass(frozen=True)
class Trials:
    """The trials of one workload.

    made     its task
    indices  configurations, each once
    speeds   of each, relative to the rules' default; `FAILED` for failures
    is_valid  whether it is a right and timed kernel
    fastest  the configuration that was fastest, by least times, when the best were measured in turn at full effort
    best     the same, or the rules' default where that one is not clearly faster
    """

    workload: Workload
    made: Task
    indices: Sequence[int]
    speeds: np.ndarray
    is_valid: np.ndarray
    fastest: int
    best: int

    @property
    def call(self) -> Call:
        """Give how the shipped data name it."""
        return self.made.call

    @property
    def base(self) -> int:
        """Give the rules' default."""
        default = self.made.config_space.default
        assert default is not None, "a template of the package whose default is no candidate"
        return default

    def columns(self) -> Columns:
        """Give what turns configurations into features."""
        space = self.made.config_space
        return Columns(self.call, space, space.matrix([self.base])[0])


def read_trials(workloads: Sequence[Workload], records: Records, threads: int) -> list[Trials]:
    """Give the trials of those workloads that have a valid one, whatever compiler they were measured with."""
    found, rows = [], records.tasks()
    for workload in workloads:
        template = workload.operation.template
        if template is None:
            continue
        made = task.create(*template, threads=threads)
        keys = [row.key for row in rows if _is_of(row, made)]
        trials = _trials(workload, made, [trial for key in keys for trial in records.trials(key)])
        found += [trials] if trials is not None else []
    return found


def _is_of(row: TaskRow, made: Task) -> bool:
    """Tell whether a recorded task is this one, whatever compiler and space it had."""
    about = (row.name, row.key.threads, processor_kind(Target.parse(row.key.target)))
    if about != (made.name, made.threads, processor_kind(made.target)):
        return False
    template = made.template
    call = Call.of(made.name, template.version, template.function, row.args, made.target, made.threads)
    return call.key == made.call.key


def _trials(workload: Workload, made: Task, rows: Sequence[Trial]) -> Trials | None:
    space = made.config_space
    costs: dict[int, float] = {}
    finals: dict[int, Trial] = {}
    for trial in rows:
        index = space.find(config_of(trial).entities)
        if index is None or not space.is_valid_index(index) or _is_interrupted(trial):
            continue
        costs[index] = min(costs.get(index, np.inf), _cost_s(trial))
        if trial.phase == "final" and trial.median_s:
            finals[index] = trial
    if not np.isfinite(list(costs.values())).any():
        return None
    return _relative(workload, made, costs, finals)


def _is_interrupted(trial: Trial) -> bool:
    """Tell whether all that is known is one batch, which the system may have interrupted."""
    return len(trial.seconds) == 1


def _cost_s(trial: Trial) -> float:
    return trial.cost_s if trial.status is Status.OK and trial.seconds else float("inf")


def _is_clearly_faster(one: Trial, other: Trial) -> bool:
    """Tell whether one is faster by the median and by the least time."""
    pairs = ((one.median_s, other.median_s), (one.cost_s, other.cost_s))
    return all(a is not None and b is not None and a < CLEARLY * b for a, b in pairs)


def _relative(workload: Workload, made: Task, costs: dict[int, float], finals: dict[int, Trial]) -> Trials:
    indices, seconds = list(costs), np.array(list(costs.values()))
    default = made.config_space.default
    assert default is not None, "a template of the package whose default is no candidate"
    of_default = costs.get(default, np.inf)
    if not np.isfinite(of_default):
        of_default = seconds.min() / FAILED
    valid = np.isfinite(seconds)
    speeds = np.where(valid, of_default / seconds, FAILED)
    best = fastest = min(finals, key=lambda i: finals[i].cost_s, default=indices[int(np.argmin(seconds))])
    if default not in finals or not _is_clearly_faster(finals[fastest], finals[default]):
        best = default if np.isfinite(costs.get(default, np.inf)) else fastest
    return Trials(workload, made, indices, speeds, valid, fastest, best)
