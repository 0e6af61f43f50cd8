"""Tuning one operator: from parsed flags to the printed result."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from ..autotune import templates  # noqa: F401  registers the templates that tasks are made of
from ..autotune.records import Records
from ..autotune.task import Task, create
from ..autotune.tuner import Tuner
from ..ir.errors import Error
from ..ir.settings import settings
from ..runtime.host import cpu_count, machine
from .arguments import UsageError
from .database import open_records
from .operators import TUNERS, Request, understand
from .progress import Display
from .result import as_json, as_table
from .terminal import console


def run(options: argparse.Namespace) -> int:
    """Tune what the flags say; give the exit status.

    Progress goes to standard error; the table to standard output, unless the JSON result goes there.
    """
    request = understand(options)
    _check_writable(request.json)
    task = make_task(request)
    errors = console(stderr=True)
    with open_records(request.db, create=True) as records:
        _introduce(errors, request, task, records)
        tuner = Tuner(task, TUNERS[request.tuner], records=records, seed=request.seed)
        with Display(errors, request.trials, request.time_s) as display:
            result = tuner.tune(request.trials, request.time_s, [display.show])
        text = json.dumps(as_json(request, task, result), indent=1, allow_nan=False)
        out = errors if request.json == "-" else console()
        out.print(as_table(request, task, result, records.path))
    if request.json == "-":
        sys.stdout.write(text + "\n")
    elif request.json:
        Path(request.json).write_text(text + "\n")
    return 0 if result.best else 1


def make_task(request: Request) -> Task:
    """Give the task of a request.  Raises UsageError where the template refuses the shape, layout or target."""
    threads = request.threads or settings().num_threads or cpu_count()
    try:
        return create(request.operator.name, request.template_args, request.target, threads=threads)
    except Error as error:
        raise UsageError(f"{error.step}: {error.fact}", error.advice) from None


def _introduce(out: Console, request: Request, task: Task, records: Records) -> None:
    shape = ",".join(map(str, request.shape))
    what = " ".join(filter(None, (request.operator.name, request.layer, shape, request.layout)))
    out.print(f"{what}: {len(task.config_space):,} configurations, {task.flop:.3g} operations", soft_wrap=True)
    threads = "1 thread" if task.threads == 1 else f"{task.threads} threads"
    out.print(f"{machine()}, {threads}", soft_wrap=True)
    known = len(records.known(task.key))
    if known:
        out.print(f"{known} trials are known from {records.path}", soft_wrap=True)


def _check_writable(path: str) -> None:
    """Refuse a file that cannot be written before an hour is spent on its content."""
    if path in ("", "-"):
        return
    try:
        Path(path).open("a").close()
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "--json with a file that can be") from None
