"""`tvm.autotvm.record`: logs in AutoTVM's format, and using the best of them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ....autotune.autotvm_log import read_line, read_log, status_of, write_line
from ....autotune.history import config_of
from ....autotune.records import TaskRow
from ....autotune.space import Config, ConfigSpace
from ....autotune.template import Situation, Template, choosing
from ....autotune.trial import Trial
from ....runtime.host import resolve
from ..target import chosen
from . import task as tasks
from .measure import MeasureInput, MeasureResult

__all__ = ["ApplyHistoryBest", "decode", "encode", "load_from_file", "pick_best"]

Log = str | Path | Iterable[tuple[MeasureInput, MeasureResult]]


def encode(inp: MeasureInput, result: MeasureResult, protocol: str = "json") -> str:
    """Give the log line of a measurement."""
    task, config = inp.task, inp.config
    entities: Any = config.to_json()
    status, seconds = status_of(result.error_no), list(result.costs) if not result.error_no else []
    trial = Trial(config.index or 0, status, entities, seconds=seconds, timestamp=result.timestamp)
    return write_line(TaskRow(task.key, task.name, task.args, task.flop), trial)


def decode(row: str, protocol: str = "json") -> tuple[MeasureInput, MeasureResult]:
    """Give the measurement of a log line; its template must be registered.  Raises RecordError for other text."""
    target, name, args, _ = read_line(row)
    task = tasks.create(name, args, target)
    line = json.loads(row)
    trial = read_line(row)[3]
    return MeasureInput(task.target, task, config_of(trial)), MeasureResult(*line["result"])


def load_from_file(filename: str | Path) -> Iterator[tuple[MeasureInput, MeasureResult]]:
    """Give the measurements of a log."""
    for line in Path(filename).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield decode(line)


def pick_best(in_file: str | Path, out_file: str | Path) -> None:
    """Append the best line of each task of a log to another."""
    best: dict[tuple[str, str], tuple[float, str]] = {}
    for line in Path(in_file).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            target, name, args, trial = read_line(line)
            key = _kind(target), workload(name, args)
            if trial.cost_s < best.get(key, (float("inf"), ""))[0]:
                best[key] = trial.cost_s, line
    with open(out_file, "a", encoding="utf-8") as out:
        out.writelines(f"{line}\n" for _, line in best.values())


def workload(name: str, args: Iterable[Any]) -> str:
    """Give what tells one task from another: its template's name and arguments."""
    return json.dumps([name, *args])


def _kind(target: object) -> str:
    return str(target).split()[0]


class ApplyHistoryBest:
    """Within `with` it, templates that are called take the best configuration that a log has for their arguments.

    Where it has none, the template's default is taken, with a warning.
    """

    def __init__(self, records: Log | None) -> None:
        self._best: dict[tuple[str, str], Trial] = {}
        self._within = ExitStack()
        if records is not None:
            self.load(records)

    def load(self, records: Log) -> None:
        """Add the records of another log."""
        match records:
            case str() | Path():
                found = read_log(records)
            case _:
                found = (read_line(encode(*record)) for record in records)
        for target, name, args, trial in found:
            key = _kind(target), workload(name, args)
            known = self._best.get(key)
            if trial.seconds and (known is None or trial.cost_s < known.cost_s):
                self._best[key] = trial

    def query(self, target: object, workload: str) -> Config | None:
        """Give the best configuration of a task's `workload` for targets of this kind, or None."""
        found = self._best.get((_kind(target), workload))
        return None if found is None else config_of(found)

    def __enter__(self) -> ApplyHistoryBest:
        self._within.enter_context(choosing(self._choose))
        return self

    def __exit__(self, *_: object) -> None:
        self._within.close()

    def _choose(self, made: Template, args: tuple[Any, ...]) -> Situation:
        target, threads = resolve(chosen(None)), tasks.threads()
        config = self.query(target, workload(made.name, args))
        if config is None:
            warnings.warn(f"{workload(made.name, args)}: no record; its default schedule is used", stacklevel=2)
            return Situation(ConfigSpace(), target, threads)
        return Situation(config, target, threads)
