"""Tuning one operator: from parsed flags to the printed result."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

from rich.console import Console

from ..autotune.build_cuda import EMULATED
from ..autotune.emulation import check_seconds, require_emulable
from ..autotune.measure import MeasureOptions
from ..autotune.records import Records
from ..autotune.task import Task, create
from ..autotune.tuner import Tuner
from ..ir.errors import DeviceError, Error
from ..ir.settings import settings
from ..ir.target import Target
from ..runtime.cuda.availability import availability
from ..runtime.cuda.emulator.orders import ORDERS
from ..runtime.host import cpu_count, resolve
from ..runtime.peak import measure_peak_flops
from .arguments import INTERRUPTED, UsageError
from .build_only import build_only
from .database import open_records
from .operators import TUNERS, Request, is_for_gpu, understand
from .progress import Display
from .result import as_json, as_table, runner, what
from .terminal import console

SLOW_S = 0.5  # of a call, which is worth telling
GPU_BUILD_S = 30.0  # for one candidate at most: two compilers, one of them of C++


def run(options: argparse.Namespace) -> int:
    """Tune what the flags say, or build a bundle of it; give the exit status.

    Progress goes to standard error; the table to standard output, unless the JSON result goes there.
    Raises DeviceError where a GPU is asked for and there is none.
    """
    if is_for_gpu(options) and not options.build_only and options.device != EMULATED:
        require_gpu(options.target)  # before anything else is asked for: no flag makes up for it
    request = understand(options)
    check_writable(request.json)
    task = make_task(request)
    if request.bundle:
        return build_only(request, task)
    if task.device == EMULATED:
        require_emulable(task)
    return _tune(request, task)


def require_gpu(target: str) -> None:
    """Raise DeviceError, with what is missing and what works without, where no GPU runs code for a target."""
    here = availability(resolve(Target.parse(target)).arch)
    if not here.runs:
        raise DeviceError("device", here.paragraph(), advice="--device emulate, or --build-only -o bundle/")


def _tune(request: Request, task: Task) -> int:
    errors = console(stderr=True)
    with open_records(request.db, create=True) as records:
        _introduce(errors, request, task, records)
        options = MeasureOptions(build_timeout_s=GPU_BUILD_S) if task.device else MeasureOptions()
        tuner = Tuner(task, TUNERS[request.tuner], options, records=records, seed=request.seed)
        tuner.tell = lambda what: errors.print(what, soft_wrap=True)
        with Display(errors, request.trials, request.time_s) as display:
            result = tuner.tune(request.trials, request.time_s, [display.show])
        text = json.dumps(as_json(request, task, result), indent=1, allow_nan=False)
        out = errors if request.json == "-" else console()
        out.print(as_table(request, task, result, records.path))
    if request.json == "-":
        sys.stdout.write(text + "\n")
    elif request.json:
        Path(request.json).write_text(text + "\n")
    if result.best is None:
        return INTERRUPTED if result.interrupted and not result.history else 1
    return 0


def make_task(request: Request) -> Task:
    """Give the task of a request.  Raises UsageError where the template refuses the shape, layout or target."""
    threads = request.threads or settings().num_threads or cpu_count()
    device = request.device or "gpu"
    try:
        return create(request.operator.name, request.template_args, request.target, threads=threads, device=device)
    except Error as error:
        raise UsageError(f"{error.step}: {error.fact}", error.advice) from None


def _introduce(out: Console, request: Request, task: Task, records: Records) -> None:
    out.print(f"{what(request)}: {len(task.config_space):,} configurations, {task.flop:.3g} operations", soft_wrap=True)
    out.print(runner(task), soft_wrap=True)
    if task.device == EMULATED:
        seconds = check_seconds(task)
        out.print(
            f"each candidate is checked in {len(ORDERS)} orders of its threads, about {seconds:.1f} s for one; "
            "times are this processor's and kept apart from a GPU's",
            soft_wrap=True,
        )
    elif not task.device and (least_s := task.flop / measure_peak_flops(task.threads)) > SLOW_S:
        more = ", more than --time allows: perhaps none ends" if least_s > (request.time_s or math.inf) else ""
        out.print(f"one call takes {least_s:.1f} s at the peak of this machine{more}", soft_wrap=True)
    known = len(records.known(task.key))
    if known:
        out.print(f"{known} trials are known from {records.path}", soft_wrap=True)


def check_writable(path: str) -> None:
    """Refuse a file that cannot be written before an hour is spent on its content.  Raises UsageError."""
    if path in ("", "-"):
        return
    try:
        Path(path).open("a").close()
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "--json with a file that can be") from None
