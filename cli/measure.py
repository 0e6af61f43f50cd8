"""`autotune measure`: the candidates of a bundle, checked and timed on the GPU of this machine."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..autotune.build_cuda import EMULATED
from ..autotune.bundle.format import read_task, task_files
from ..autotune.bundle.measure import TaskResult, as_json, measure_bundle, plan
from ..autotune.fingerprint import machine_fingerprint
from ..autotune.trial import Trial
from ..ir.target import Target
from ..runtime.cuda.availability import availability
from .arguments import Parser, device, duration_s
from .database import open_records
from .progress import PLAIN_PERIOD_S, outcomes
from .terminal import console, time_text
from .tune import check_writable

TIME_S = 240.0

EXIT_CODES = """exit status:
  0  every candidate that was run is right, and every task has one
  1  a kernel is wrong, a task has none that is right or could not be measured, or there is no GPU; the records and the
     JSON file have what was measured
  2  the command line means nothing
"""


def add_measure(commands: Any) -> None:
    """Add the subcommand."""
    text = (
        "Check every candidate of a bundle against the operator's meaning, time it by the GPU's clock in turn with\n"
        "cuBLAS, cuDNN and PyTorch where PyTorch is installed, and write records. A second run goes on where one was\n"
        "cut short."
    )
    parser: Parser = commands.add_parser("measure", help="measure a bundle", description=text, epilog=EXIT_CODES)
    add = parser.add_argument
    add("bundle", help="a folder that --build-only made")
    add("--device", type=device, default="gpu", metavar="NAME", help="gpu (default), gpu:1, or emulate, on the CPU")
    add("--time", type=duration_s, default=TIME_S, metavar="TIME", help="for everything (default: 4m)")
    add("--db", default="", metavar="FILE", help="record database (default: the setting TILEWRIGHT_DB)")
    add(
        "--json", default="", metavar="FILE", help="write the results as JSON after each task; - prints them at the end"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure a bundle; give the exit status."""
    check_writable(options.json)
    folder, errors = Path(options.bundle), console(stderr=True)
    errors.print(str(plan(folder, options.time)), soft_wrap=True)
    is_gpu, results, began = options.device != EMULATED, [], time.monotonic()
    with open_records(options.db, create=True) as records:
        for result in measure_bundle(folder, options.device, records, options.time, _Line(errors)):
            results.append(result)
            errors.print(line(result, is_gpu), soft_wrap=True)
            if options.json not in ("", "-"):
                Path(options.json).write_text(document(folder, results, is_gpu, time.monotonic() - began))
        out = errors if options.json == "-" else console()
        out.print(table(results, is_gpu))
        note = "" if is_gpu else ": results are checked, and times say nothing of a GPU"
        out.print(f"{machine_name(folder, is_gpu)}{note}; records in {records.path}", soft_wrap=True)
    if options.json == "-":
        sys.stdout.write(document(folder, results, is_gpu, time.monotonic() - began))
    return 0 if all(map(passed, results)) else 1


def passed(result: TaskResult) -> bool:
    """Tell whether a task has a right kernel and none that is wrong."""
    return not result.skipped and not result.wrong and result.best is not None


class _Line:
    """Says now and then how far a task is."""

    def __init__(self, out: Console) -> None:
        self.out, self.began = out, time.monotonic()
        self.shown = self.began

    def __call__(self, result: TaskResult, trial: Trial | None) -> None:
        """Take a trial, or with None the end of a task."""
        now = time.monotonic()
        if trial is not None and now - self.shown >= PLAIN_PERIOD_S:
            self.shown = now
            text = f"{now - self.began:6.1f} s  {result.about}: {outcomes(result.counts)}"
            self.out.print(text, soft_wrap=True)


def line(result: TaskResult, is_gpu: bool) -> str:
    """Give a result in one line."""
    if result.skipped:
        return f"{result.about}: not measured: {result.skipped}"
    text = f"{result.about}: {outcomes(result.counts)}, against {result.origin}"
    best, vendor_s = result.best, result.vendor.median_s
    if is_gpu and best and best.median_s:
        text += f"; best {time_text(best.median_s)}, {best.gflops:.0f} GFLOP/s"
    if is_gpu and best and best.median_s and vendor_s:
        text += f", {vendor_s / best.median_s:.2f} times as fast as {result.vendor.library}"
    return text + (f"; {result.unreached} not reached in time" if result.unreached else "")


def table(results: list[TaskResult], is_gpu: bool) -> Table:
    """Give the results, one task a row."""
    made = Table()
    made.add_column("task", overflow="fold")
    for name in ("valid", "failed", "not reached", "error"):
        made.add_column(name, justify="right", no_wrap=True)
    timed = ("default", "best", "GFLOP/s", "GB/s", "vendor", "vendor / best") if is_gpu else ()
    for name in timed:
        made.add_column(name, justify="right", no_wrap=True)
    for result in results:
        data = as_json(result, is_gpu)
        failed = sum(data["failed"].values())
        error = "" if data["max_rel_error"] is None else f"{data['max_rel_error']:.1e}"
        counts = (str(data["valid"]), str(failed), str(data["unreached"]))
        made.add_row(str(result.about), *counts, error, *(_times(data) if is_gpu else ()))
    return made


def _times(data: dict[str, Any]) -> tuple[str, ...]:
    best, default, vendor = data["best"], data["default"], data["vendor"]
    return (
        time_text(default["seconds"]) if default else "none",
        time_text(best["seconds"]) if best else "none",
        f"{best['gflops']:.0f}" if best else "",
        f"{best['gbytes_per_s']:.0f}" if best else "",
        time_text(vendor["seconds"]) if vendor["seconds"] else "",
        f"{data['ratio']:.2f}" if data["ratio"] else "",
    )


def document(folder: Path, results: list[TaskResult], is_gpu: bool, wall_s: float) -> str:
    """Give all results as JSON text."""
    rows = [as_json(result, is_gpu) for result in results]
    data = {"machine": machine_name(folder, is_gpu), "gpu_times": is_gpu, "wall_s": wall_s, "tasks": rows}
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def machine_name(folder: Path, is_gpu: bool) -> str:
    """Name what ran the candidates."""
    if not is_gpu:
        return "CPU emulation (not a GPU)"
    target = Target.parse(read_task(task_files(folder)[0]).about.key.target)
    return f"{availability(target.arch).gpu}, machine {machine_fingerprint(target, 'gpu')}"
