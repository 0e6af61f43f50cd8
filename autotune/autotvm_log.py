"""AutoTVM's log format: one JSON object per line.

    {"input": [target, template, args, kwargs],
     "config": {"index": 3, "code_hash": null, "entity": [["tile_x", "sp", [-1, 4]], ...]},
     "result": [[seconds, ...], error number, seconds spent, timestamp], "version": 0.2, "tvm_version": "..."}

Source: TVM 0.9 `autotvm/record.py`, `autotvm/measure/measure.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median

from ..ir.errors import RecordError
from .records import TaskRow
from .trial import Status, Trial

VERSION = 0.2
_ERROR_OF = {
    Status.OK: 0,
    Status.INSTANTIATE: 1,
    Status.LOWER: 2,
    Status.LIMIT: 1,
    Status.SCREEN: 2,
    Status.CODEGEN: 2,
    Status.SPILL: 2,
    Status.LLVM_ABORT: 2,
    Status.CRASH: 4,
    Status.MEMORY: 4,
    Status.WRONG_RESULT: 5,
    Status.COMPILE_TIMEOUT: 6,
    Status.RUN_TIMEOUT: 7,
}
_STATUS_OF = {
    0: Status.OK,
    1: Status.INSTANTIATE,
    2: Status.CODEGEN,
    3: Status.CODEGEN,
    4: Status.CRASH,
    5: Status.WRONG_RESULT,
    6: Status.COMPILE_TIMEOUT,
    7: Status.RUN_TIMEOUT,
    8: Status.CRASH,
}
FAILED_S = 1e9  # AutoTVM writes failures with this cost


def error_number(status: Status) -> int:
    """Give AutoTVM's error number of an outcome, 0 for OK."""
    return _ERROR_OF[status]


def status_of(number: int) -> Status:
    """Give the outcome that one of AutoTVM's error numbers means.  Raises KeyError for any other number."""
    return _STATUS_OF[number]


def write_line(task: TaskRow, trial: Trial) -> str:
    """Give the log line of a trial."""
    costs = trial.seconds or ([trial.median_s] if trial.median_s else [FAILED_S])
    line = {
        "input": [task.key.target, task.name, list(task.args), {}],
        "config": {"index": trial.index, "code_hash": None, "entity": trial.entities},
        "result": [costs, error_number(trial.status), sum(trial.seconds), trial.timestamp],
        "version": VERSION,
        "tvm_version": "0.9.0",
    }
    return json.dumps(line)


def read_line(text: str) -> tuple[str, str, list[object], Trial]:
    """Give target, template name, arguments and trial of a log line.  Raises RecordError if it is not one."""
    try:
        line = json.loads(text)
        target, name, args = line["input"][:3]
        config, (costs, error, _, timestamp) = line["config"], line["result"][:4]
        entities = [[knob, kind, value] for knob, kind, value in config["entity"]]
        status = status_of(error)
        ok = status is Status.OK
        index, seconds = int(config["index"]), [float(c) for c in costs] if ok else []
    except (ValueError, KeyError, TypeError, IndexError) as error:
        fact = f"not a line of an AutoTVM log: {error!r}"
        raise RecordError("records", fact, f"  {text[:100]}", "version 0.2 logs, as TVM 0.7 to 0.19 write") from None
    trial = Trial(
        index, status, entities, seconds=seconds, median_s=median(seconds) if ok else None, timestamp=timestamp,
        session="autotvm",
    )  # fmt: skip
    return target, name, args, trial


def read_log(path: str | Path) -> Iterator[tuple[str, str, list[object], Trial]]:
    """Give every line of a log; empty lines and lines that begin with # are passed over."""
    for line in Path(path).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield read_line(line)


def write_log(path: str | Path, rows: Iterable[tuple[TaskRow, Trial]]) -> None:
    """Write trials as a log."""
    Path(path).write_text("".join(f"{write_line(task, trial)}\n" for task, trial in rows))
