"""What a search found: as a table, and as JSON."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..autotune.build_cuda import EMULATED
from ..autotune.task import Task
from ..autotune.trial import Status, Trial
from ..autotune.tuner import TuneResult
from ..runtime.cuda.availability import availability
from ..runtime.host import machine
from ..te.tolerance import tolerance
from .operators import Request
from .progress import outcomes
from .terminal import time_text

ABOVE_NOISE = 1.1  # times the peak: more than two measurements of one thing differ


def as_json(request: Request, task: Task, result: TuneResult) -> dict[str, Any]:
    """Give the result as plain data; times in seconds, rates in 1e9 floating-point operations a second.

    trials, valid, failed and the best are of the task, earlier runs included; the other figures are of this run.
    """
    return {
        "operator": request.operator.name,
        "layer": request.layer or None,
        "shape": list(request.shape),
        "layout": request.layout or None,
        "epilogue": request.epilogue or None,
        "dtype": request.dtype,
        "target": str(task.target),
        "machine": machine_name(task),
        "device": task.device or None,
        "gpu_times": bool(task.device) and task.device != EMULATED,
        "threads": task.threads,
        "tuner": request.tuner,
        "seed": request.seed,
        "trials": len(result.history),
        "new_trials": result.new,
        "valid": result.valid,
        "failed": {str(s): n for s, n in sorted(result.counts.items()) if s is not Status.OK},
        "wall_s": result.wall_s,
        "trials_per_s": result.trials_per_s,
        "search_share": result.search_share,
        "peak_gflops": result.peak_gflops,
        "allowed_rel_error": allowed_error(task),
        "best": _best_json(result),
        "default": _default_json(task, result.default),
        "record": result.key,
    }


def _best_json(result: TuneResult) -> dict[str, Any] | None:
    best = result.best
    return best and {
        "seconds": best.median_s,
        "interval": best.interval_s and list(best.interval_s),
        "gflops": best.gflops,
        "peak_fraction": result.peak_fraction,
        "max_rel_error": best.max_rel_error,
        "steps": json.loads(best.steps),
    }


def _default_json(task: Task, default: Trial | None) -> dict[str, Any] | None:
    origin = str(task.untuned.origin)
    return default and {"seconds": default.median_s, "gflops": default.gflops, "origin": origin}


def as_table(request: Request, task: Task, result: TuneResult, database: str) -> Group:
    """Give the best kernel beside the untuned one, and where they are kept."""
    table = Table(title=what(request), title_justify="left")
    table.add_column("")
    for name in ("time", "95% interval", "GFLOP/s", "of peak", "max rel. error"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, trial in (("best", result.best), ("untuned", result.default)):
        table.add_row(name, *_cells(trial, result.peak_gflops))
    seconds = f"{result.wall_s:.1f} s, {result.trials_per_s:.1f} trials/s, {result.search_share:.0%} of it search"
    lines = [
        f"{_number(len(result.history), 'trial')}: {outcomes(result.counts)}",
        f"{_number(result.valid, 'distinct valid kernel')}; new trials: {result.new}, in {seconds}",
        f"the untuned schedule comes from: {task.untuned.origin}",
        f"a relative error of {allowed_error(task):.1e} is allowed",
        *_about_times(task, result),
        f"record {result.key} in {database}",
    ]
    if result.best is None:
        lines.append(_why_none(result))
    return Group(table, *(Text(line, overflow="fold") for line in lines))


def what(request: Request) -> str:
    """Name what is tuned."""
    shape = ",".join(map(str, request.shape))
    dtype = request.dtype if request.dtype != request.operator.dtypes[0] else ""
    words = (request.operator.name, request.layer, shape, request.layout, dtype, request.epilogue)
    return " ".join(filter(None, words))


def _number(count: int, of: str) -> str:
    return f"{count} {of}{'s' * (count != 1)}"


def _why_none(result: TuneResult) -> str:
    if result.history:
        return "no valid kernel was found"
    return "interrupted before any was measured" if result.interrupted else "none ended in time: a longer --time"


def machine_name(task: Task) -> str:
    """Name the machine that runs the candidates of a task."""
    if task.device == EMULATED:
        return "CPU emulation (not a GPU)"
    return str(availability(task.target.arch).gpu) if task.device else str(machine())


def runner(task: Task) -> str:
    """Name the machine and, of a processor, how much of it a candidate uses."""
    threads = "" if task.device else f", {task.threads} thread{'s' * (task.threads > 1)}"
    return machine_name(task) + threads


def allowed_error(task: Task) -> float:
    """Give the error that every kernel is checked against, relative to the scale of results; 0 where they are exact."""
    return max(map(tolerance, task.outputs))


def _about_times(task: Task, result: TuneResult) -> list[str]:
    if task.device == EMULATED:
        return [f"{runner(task)}: the results are right; the times are this processor's, and say nothing of a GPU"]
    peak = f"peak {result.peak_gflops:.1f} GFLOP/s, " if result.peak_gflops else ""
    lines = [f"{peak}{runner(task)}"]
    if result.peak_fraction > ABOVE_NOISE:
        lines.append("above the peak: rates count the operations of the definition; Winograd's algorithm does fewer")
    return lines


def _cells(trial: Trial | None, peak_gflops: float) -> tuple[str, ...]:
    if trial is None or trial.median_s is None:
        return ("none", "", "", "", "")
    interval = f"{time_text(trial.interval_s[0])} - {time_text(trial.interval_s[1])}" if trial.interval_s else ""
    share = f"{trial.gflops / peak_gflops:.1%}" if peak_gflops else ""
    error = "" if trial.max_rel_error is None else f"{trial.max_rel_error:.1e}"
    return (time_text(trial.median_s), interval, f"{trial.gflops:.1f}", share, error)
