"""Using what was tuned: the best recorded configuration for templates that are called directly."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..ir.target import Target
from .entities import entity_from_json
from .records import Records
from .space import Config
from .task import Task
from .template import Situation, Template, choosing
from .trial import TaskKey, Trial


@contextmanager
def apply_history_best(
    records: Records | str | Path, target: Target | str = "llvm", *, threads: int = 1
) -> Iterator[Records]:
    """Within the block, templates that are called take their best recorded configuration.

    A record of another compiler version or machine is used where there is none of this one, with a warning that says
    what differs; without any, the untuned one is used, see `Task.untuned`, with a warning.  Each task warns once.
    """
    database = records if isinstance(records, Records) else Records(records, create=False)
    found: dict[tuple[str, str], Situation] = {}

    def choose(made: Template, args: tuple[Any, ...]) -> Situation:
        call = (made.name, repr(args))
        if call not in found:
            task = Task(made, args, target, threads)
            found[call] = Situation(best_config(database, task), task.target, threads)
        return found[call]

    try:
        with choosing(choose):
            yield database
    finally:
        if database is not records:
            database.close()


def best_config(records: Records, task: Task) -> Config:
    """Give the best recorded configuration of a task, else of a similar machine or compiler, else the default one."""
    best = records.best(task.key)
    if best is not None:
        return config_of(best)
    why = records.why_miss(task.key)
    similar = _similar(records, task.key)
    if similar is not None:
        warnings.warn(f"{task.workload}: {why}; its best configuration is used, tune again", stacklevel=2)
        return config_of(similar)
    origin = task.untuned.origin
    warnings.warn(f"{task.workload}: {why}; its default schedule is used ({origin}), which may be slow", stacklevel=2)
    return task.untuned.config


def config_of(trial: Trial) -> Config:
    """Give the configuration that a trial measured."""
    return Config(trial.index, {name: entity_from_json(kind, value) for name, kind, value in trial.entities})


def _similar(records: Records, key: TaskKey) -> Trial | None:
    """Give the best trial of the task that differs least in machine, compiler and threads only."""
    rows = [task.key for task in records.tasks()]
    same = [k for k in rows if replace(k, machine=key.machine, codegen=key.codegen, threads=key.threads) == key]
    for other in sorted(same, key=lambda k: len(key.differences(k))):
        if best := records.best(other):
            return best
    return None
