"""`autotune records`: what has been measured, and kernels made of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from ..autotune.fingerprint import codegen_fingerprint, machine_fingerprint
from ..autotune.history import config_of
from ..autotune.records import Records, TaskRow
from ..autotune.reference import make_reference
from ..autotune.task import Task, create
from ..autotune.trial import Status, Trial
from ..ir.errors import RecordError
from ..ir.target import Target
from ..runtime.build import build
from ..runtime.module import Module
from ..runtime.prepared import bind_prepared
from ..schedule.lower import lower_prepared, parameter_names
from .arguments import Parser
from .database import open_records
from .operators import Operator
from .terminal import console, time_text
from .typed import typed

KEY_DIGITS = 8  # of a key, at least, in the table
FOREIGN = "*"

EXIT_CODES = """exit status:
  0  done
  1  the database or the record is missing, damaged or of no use, or the kernel cannot be written
  2  the command line means nothing
"""


def add_records(commands: Any, operators: Sequence[Operator]) -> None:
    """Add the subcommand and its own."""
    text = "Show what has been measured, or make something of it."
    parser: Parser = commands.add_parser("records", help="show what was measured", description=text, epilog=EXIT_CODES)
    db = "record database (default: the setting TILEWRIGHT_DB)"
    parser.add_argument("--db", default="", metavar="FILE", help=db)
    parser.add_argument("--json", default="", metavar="FILE", help="write all rows as a JSON array; - prints it")
    parser.set_defaults(run=lambda options: show(options, operators))
    actions = parser.add_subparsers(metavar="ACTION", dest="action")
    text = "Write the best kernel of a record as a shared library with a C header."
    export = actions.add_parser("export", help="write a kernel as a library", description=text, epilog=EXIT_CODES)
    export.add_argument("key", help="of the record, or its first digits")
    export.add_argument("-o", "--output", default=".", metavar="DIR", help="where to write it (default: here)")
    # no default: it would undo a --db before the word export
    export.add_argument("--db", default=argparse.SUPPRESS, metavar="FILE", help=db)
    export.set_defaults(run=write_kernel)
    text = "Take over every row of other databases that is not here yet, such as what a machine with a GPU measured."
    merge = actions.add_parser("merge", help="take over rows of other databases", description=text, epilog=EXIT_CODES)
    merge.add_argument("files", nargs="+", metavar="FILE", help="databases to read")
    merge.add_argument("--db", default=argparse.SUPPRESS, metavar="FILE", help=db)
    merge.set_defaults(run=take_over)


def show(options: argparse.Namespace, operators: Sequence[Operator]) -> int:
    """Print a table of tasks, or write all rows as JSON."""
    with open_records(options.db, create=False) as records:
        if options.json == "-":
            sys.stdout.write(json.dumps(list(records.rows()), indent=1, allow_nan=False) + "\n")
        elif options.json:
            number = _dump(records, options.json)
            sys.stdout.write(f"{number} rows in {options.json}\n")
        else:
            console().print(_table(records, operators))
    return 0


def take_over(options: argparse.Namespace) -> int:
    """Merge other databases into one, and say how many trials were new."""
    with open_records(options.db, create=True) as records:
        for path in options.files:
            new = records.merge(path)
            sys.stdout.write(f"{new} new trials from {path} in {records.path}\n")
    return 0


def _dump(records: Records, path: str) -> int:
    try:
        return records.dump_json(path)
    except OSError as error:
        raise RecordError("records", f"{path} cannot be written: {error.strerror}", advice="another file") from None


def _table(records: Records, operators: Sequence[Operator]) -> Table:
    table = Table(title=records.path, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("key", ""):
        table.add_column(name, no_wrap=True)
    table.add_column("task", overflow="fold")
    for name in ("threads", "valid", "trials", "best", "GFLOP/s", "of peak"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = records.tasks()
    digits = _enough([row.key.digest for row in rows])
    for row in rows:
        counts = Counter(t.status for t in records.trials(row.key) if t.phase == "search")
        numbers = (str(row.key.threads), str(counts[Status.OK]), str(sum(counts.values())))
        about = (row.key.digest[:digits], FOREIGN if _is_foreign(row) else "", typed(row, operators))
        table.add_row(*about, *numbers, *_best_cells(records.best(row.key)))
    if any(map(_is_foreign, rows)):
        table.caption = f"{FOREIGN} of another machine or version of tilewright: tune again for this one"
        table.caption_justify = "left"
    return table


def _enough(keys: Sequence[str]) -> int:
    """Give how many first digits tell keys apart, but some."""
    return next(n for n in range(KEY_DIGITS, 65) if len({key[:n] for key in keys}) == len(keys))


def _is_foreign(row: TaskRow) -> bool:
    """Tell whether another processor measured a task, or kernels of another version of the package."""
    here = (machine_fingerprint(Target()), codegen_fingerprint())
    return row.key.target.startswith("llvm") and (row.key.machine, row.key.codegen) != here


def _best_cells(best: Trial | None) -> tuple[str, str, str]:
    if best is None or best.median_s is None:
        return ("none", "", "")
    share = f"{best.gflops / best.peak_gflops:.1%}" if best.peak_gflops else ""
    return (time_text(best.median_s), f"{best.gflops:.1f}", share)


def write_kernel(options: argparse.Namespace) -> int:
    """Build the best kernel of a record once more, check it, and write library and header."""
    with open_records(options.db, create=False) as records:
        row = records.find(options.key)
        best = records.best(row.key)
        if best is None:
            raise RecordError("export", records.why_miss(row.key), advice="autotune with more --time")
    folder = Path(options.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError("export", f"{folder} cannot be made: {error.strerror}", advice="-o DIR") from None
    library = folder / f"lib{row.name}_{row.key.digest}.so"
    header = _write(_task(row), best, library)
    sys.stdout.write(f"{library}\n{header}\n")
    return 0


def _task(row: TaskRow) -> Task:
    task = create(row.name, row.args, row.key.target, threads=row.key.threads)
    if task.key != row.key:
        changed = "; ".join(task.key.differences(row.key))
        sys.stderr.write(f"autotune records export: the record is of another situation: {changed}\n")
    return task


def _write(task: Task, best: Trial, library: Path) -> Path:
    """Write a kernel that has been checked once more; give the header's path."""
    schedule, tensors = task.instantiate(config_of(best))
    functions = lower_prepared(schedule, tensors, task.name)
    module = build(functions, target=task.target, effort=best.effort)
    if type(module) is not Module:
        raise RecordError("export", f"a kernel for {task.target} is no shared library", advice="tilewright.build, save")
    reference = make_reference(tensors)
    reference.poison()
    arrays = dict(zip(parameter_names(schedule, tensors), reference.arrays, strict=True))
    bind_prepared(module, task.name, arrays, task.threads)()
    error, right = reference.verdict()
    if not right:
        fact = f"the kernel's largest relative error is {error:.1e}"
        raise RecordError("export", fact, advice="tune again: the record is of another version or machine")
    return module.export_library(library)
