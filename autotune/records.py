"""The record database: one SQLite file, one row per trial including failures, one row per task."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ..ir.errors import RecordError
from .trial import Status, TaskKey, Trial

SCHEMA = 1
APPLICATION = 0x54574452  # "TWDR", so that another program's database is never taken for ours
BATCH = 16  # trials that a crash of the machine's power or a kill can lose
BATCH_S = 1.0

_TABLES = """
create table if not exists tasks (
    digest text primary key, expression text not null, target text not null, machine text not null,
    codegen text not null, template text not null, space text not null, threads integer not null,
    name text not null, args text not null, flop real not null
);
create table if not exists trials (
    task text not null references tasks(digest), config_index text not null, status text not null,
    entities text not null, steps text not null, seconds text not null, median_s real, low_s real, high_s real,
    error text not null, max_rel_error real, gflops real not null, peak_gflops real not null,
    duplicate integer not null, effort text not null, phase text not null, code_hash text not null,
    timestamp real not null, session text not null, seed integer not null,
    unique (task, session, config_index, phase, effort, timestamp)
);
create index if not exists trials_by_task on trials(task, status, median_s);
"""
_TASK_COLUMNS = (*(f.name for f in fields(TaskKey)), "name", "args", "flop")
_TRIAL_COLUMNS = (
    "config_index", "status", "entities", "steps", "seconds", "median_s", "low_s", "high_s", "error", "max_rel_error",
    "gflops", "peak_gflops", "duplicate", "effort", "phase", "code_hash", "timestamp", "session", "seed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as recorded.

    name, args  template and its arguments, with which the task can be made again
    flop        floating-point operations of one call
    """

    key: TaskKey
    name: str = ""
    args: tuple[Any, ...] = ()
    flop: float = 0.0


class Records:
    """A record database, open for reading and appending.

    Trials are written in transactions of at most 16, or after a second; until then they are in memory only.
    Raises RecordError, leaving the file as it is, for a file that is no database, is another program's, is damaged,
    locked, or from a later version.
    """

    def __init__(self, path: str | Path, *, create: bool = True, wait_s: float = 5.0) -> None:
        self.path = str(path)
        self._pending: list[tuple[Any, ...]] = []
        self._tasks: set[str] = set()
        self._written = time.monotonic()
        self._open(create, wait_s)

    def __enter__(self) -> Records:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is pending and close the file."""
        self.flush()
        self._database.close()

    # -- writing ------------------------------------------------------------------------------------------------

    def add_task(self, task: TaskRow) -> None:
        """Make the task known; again is no harm."""
        row = (task.key.digest, *_values(task.key), task.name, json.dumps(task.args), task.flop)
        with self._guarded("records"), self._database:
            self._database.execute(f"insert or ignore into tasks values ({_marks(row)})", row)
        self._tasks.add(task.key.digest)

    def add(self, key: TaskKey, trial: Trial) -> None:
        """Append a trial; it is on disk after at most 16 further ones, or with the first one a second later."""
        if key.digest not in self._tasks:
            self.add_task(TaskRow(key))
        self._pending.append((key.digest, *_trial_row(trial)))
        if len(self._pending) >= BATCH or time.monotonic() - self._written >= BATCH_S:
            self.flush()

    def flush(self) -> None:
        """Write what is pending, in one transaction."""
        if self._pending:
            with self._guarded("records"), self._database:
                marks = _marks(self._pending[0])
                self._database.executemany(f"insert or ignore into trials values ({marks})", self._pending)
            self._pending.clear()
        self._written = time.monotonic()

    def merge(self, other: str | Path) -> int:
        """Take over every row of another database that is not here yet; give how many trials were new."""
        with Records(other, create=False) as source:
            return self.load_rows(source.rows())

    def load_rows(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Append rows as `rows()` gives them; give how many were new.  Raises RecordError for a row of another form."""
        self.flush()
        before = self._count()
        for number, row in enumerate(rows):
            try:
                task = TaskRow(TaskKey(**row["task"]), row["name"], tuple(row["args"]), row["flop"])
                trial = trial_from_json(row["trial"])
            except (KeyError, TypeError, ValueError) as error:
                fact = f"row {number} is not a trial: {error!r}"
                raise RecordError("records", fact, advice="rows as dumped") from None
            if task.key.digest not in self._tasks:
                self.add_task(task)
            self.add(task.key, trial)
        self.flush()
        return self._count() - before

    # -- reading ------------------------------------------------------------------------------------------------

    def tasks(self) -> list[TaskRow]:
        """Give every task."""
        rows = self._query(f"select {', '.join(_TASK_COLUMNS)} from tasks order by rowid")
        return [TaskRow(TaskKey(*r[:-3]), r[-3], tuple(json.loads(r[-2])), r[-1]) for r in rows]

    def trials(self, key: TaskKey) -> list[Trial]:
        """Give the trials of a task, oldest first."""
        return self._trials("task = ? order by rowid", (key.digest,))

    def best(self, key: TaskKey) -> Trial | None:
        """Give the fastest trial of a task: of those re-measured at the end of a run, if there are any."""
        for phase in ("final", "search"):
            where = "task = ? and status = 'ok' and phase = ? order by median_s limit 1"
            if found := self._trials(where, (key.digest, phase)):
                return found[0]
        return None

    def known(self, key: TaskKey) -> dict[int, Trial]:
        """Give the latest trial of each configuration of a task, by number."""
        return {t.index: t for t in self.trials(key) if t.phase == "search"}

    def find(self, prefix: str) -> TaskRow:
        """Give the task whose digest begins with `prefix`.  Raises RecordError unless there is exactly one."""
        found = [task for task in self.tasks() if task.key.digest.startswith(prefix)]
        if len(found) != 1:
            fact = f"{len(found)} of {len(self.tasks())} tasks have a key that begins with {prefix!r}"
            raise RecordError("records", fact, f"  database {self.path}", "a key that the list shows")
        return found[0]

    def nearest(self, key: TaskKey) -> TaskRow | None:
        """Give the task of the same expression, else template, that differs least, or None if there is none."""
        alike = [t for t in self.tasks() if t.key.expression == key.expression or t.key.template == key.template]
        order = lambda t: (t.key.expression != key.expression, len(key.differences(t.key)))  # noqa: E731
        return min(alike, key=order, default=None)

    def why_miss(self, key: TaskKey) -> str:
        """Give one sentence on why `best(key)` is None: what is recorded, and what differs."""
        nearest = self.nearest(key)
        if nearest is None:
            return f"{self.path} has {len(self.tasks())} tasks, none of template {key.template}"
        if nearest.key == key:
            trials = self.trials(key)
            return f"{self.path} has {len(trials)} trials of this task, none of them valid"
        differences = "; ".join(key.differences(nearest.key))
        return f"{self.path} has no record of {key.digest}; the nearest, {nearest.key.digest}, differs in {differences}"

    def rows(self) -> Iterator[dict[str, Any]]:
        """Give every trial with its task, as plain data."""
        for task in self.tasks():
            about = {"key": task.key.digest, "task": asdict(task.key), "name": task.name}
            about |= {"args": list(task.args), "flop": task.flop}
            for trial in self.trials(task.key):
                yield about | {"trial": asdict(trial) | {"status": str(trial.status)}}

    def dump_json(self, path: str | Path) -> int:
        """Write all rows as a JSON array; give how many."""
        rows = list(self.rows())
        Path(path).write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n")
        return len(rows)

    def load_json(self, path: str | Path) -> int:
        """Append the rows of a JSON array; give how many were new.  Raises RecordError if it is not one."""
        try:
            rows = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise RecordError("records", f"{path} cannot be read: {error}", advice="a file written by dump") from None
        if type(rows) is not list:
            raise RecordError("records", f"{path} holds {type(rows).__name__}, not an array", advice="rows as dumped")
        return self.load_rows(rows)

    # -- the file -----------------------------------------------------------------------------------------------

    def _open(self, create: bool, wait_s: float) -> None:
        path = Path(self.path)
        if not create and not path.exists():
            raise RecordError("records", f"{self.path} does not exist", advice="the path of an existing database")
        if not path.parent.is_dir():
            raise RecordError("records", f"folder {path.parent} does not exist", advice="make it first")
        with self._guarded("records"):
            self._database = sqlite3.connect(self.path, timeout=wait_s)
        try:
            self._check()
        except RecordError:
            self._database.close()
            raise

    def _check(self) -> None:
        version, application, tables = (
            self._query(question)[0][0]
            for question in ("pragma user_version", "pragma application_id", "select count(*) from sqlite_master")
        )
        if not version and not application and not tables:
            self._create()
        elif application != APPLICATION:
            raise RecordError("records", f"{self.path} is another program's database", advice="another path")
        elif version > SCHEMA:
            fact = f"{self.path} has schema version {version}; this version of the package reads up to {SCHEMA}"
            raise RecordError("records", fact, advice="a newer version of the package, or another path")
        elif (state := self._query("pragma quick_check(1)")[0][0]) != "ok":
            raise RecordError("records", f"{self.path} is damaged: {state}", advice=_SALVAGE)
        with self._guarded("records"):
            self._database.execute("pragma journal_mode = wal")
            self._database.execute("pragma synchronous = normal")

    def _create(self) -> None:
        with self._guarded("records"):
            script = f"pragma application_id = {APPLICATION}; pragma user_version = {SCHEMA};"
            self._database.executescript(f"begin immediate; {_TABLES} {script} commit;")

    def _trials(self, where: str, values: tuple[Any, ...]) -> list[Trial]:
        self.flush()
        rows = self._query(f"select {', '.join(_TRIAL_COLUMNS)} from trials where {where}", values)
        return [_trial_of(row) for row in rows]

    def _count(self) -> int:
        return self._query("select count(*) from trials")[0][0]

    def _query(self, text: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._guarded("records"):
            return self._database.execute(text, values).fetchall()

    @contextmanager
    def _guarded(self, step: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                fact = f"{self.path} is locked by another process"
                raise RecordError(step, fact, advice="wait for it, or use another path") from None
            raise RecordError(step, f"{self.path}: {error}", advice="check the path and its permissions") from None
        except sqlite3.DatabaseError as error:
            raise RecordError(step, f"{self.path} is not a readable database: {error}", advice=_SALVAGE) from None


_SALVAGE = "move it away, or salvage it with `sqlite3 FILE .recover`"


def trial_from_json(row: Mapping[str, Any]) -> Trial:
    """Give the trial of plain data as `Records.rows` writes it."""
    trial = Trial(**row)
    interval = trial.interval_s and (trial.interval_s[0], trial.interval_s[1])
    return replace(trial, status=Status(trial.status), interval_s=interval or None)


def _values(key: TaskKey) -> tuple[Any, ...]:
    return tuple(getattr(key, f.name) for f in fields(key))


def _marks(row: tuple[Any, ...]) -> str:
    return ", ".join("?" * len(row))


def _trial_row(t: Trial) -> tuple[Any, ...]:
    low, high = t.interval_s or (None, None)
    return (
        str(t.index), str(t.status), json.dumps(t.entities), t.steps, json.dumps(t.seconds), t.median_s, low, high,
        t.error, t.max_rel_error, t.gflops, t.peak_gflops, int(t.duplicate), t.effort, t.phase, t.code_hash,
        t.timestamp, t.session, t.seed,
    )  # fmt: skip


def _trial_of(row: tuple[Any, ...]) -> Trial:
    values: dict[str, Any] = dict(zip(_TRIAL_COLUMNS, row, strict=True))
    low, high = values.pop("low_s"), values.pop("high_s")
    values |= {
        "index": int(values.pop("config_index")),
        "status": Status(values["status"]),
        "entities": json.loads(values["entities"]),
        "seconds": json.loads(values["seconds"]),
        "interval_s": None if low is None else (low, high),
        "duplicate": bool(values["duplicate"]),
    }
    return Trial(**values)
