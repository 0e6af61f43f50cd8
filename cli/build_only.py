"""`--build-only`: candidates compiled into a bundle, to be measured on a machine with a GPU."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path

from rich.console import Console

from ..autotune.built import Built
from ..autotune.bundle.build import build_task
from ..autotune.bundle.format import TaskBundle, size_bytes, task_files
from ..autotune.task import Task
from ..ir.settings import settings
from ..runtime.host import cpu_count
from .database import open_records
from .operators import TUNERS, Request
from .progress import LIVE_PERIOD_S, PLAIN_PERIOD_S, outcomes
from .terminal import console

CANDIDATES = 64  # where no number is given


def build_only(request: Request, task: Task) -> int:
    """Build the candidates of a task into the bundle; give the exit status.

    Records of GPUs in the database that --db names teach the tuner what to build.
    """
    folder, errors = Path(request.bundle), console(stderr=True)
    began = time.monotonic()
    records = open_records(request.db, create=False) if request.db or _has_default() else None
    try:
        made = build_task(
            task,
            folder,
            request.trials or CANDIDATES,
            records=records,
            strategy=TUNERS[request.tuner],
            seed=request.seed,
            processes=cpu_count(),
            time_s=request.time_s if request.time_s and request.trials is None else float("inf"),
            observe=_Line(errors),
        )
    finally:
        if records:
            records.close()
    seconds = time.monotonic() - began
    (errors if request.json == "-" else console()).print(_text(made, folder, seconds), soft_wrap=True)
    _write_json(request.json, made, folder, seconds)
    return 0


def _has_default() -> bool:
    return Path(settings().db).expanduser().exists()


class _Line:
    """Says now and then how far building is."""

    def __init__(self, out: Console) -> None:
        self.out, self.began = out, time.monotonic()
        self.shown = self.began
        self.period_s = PLAIN_PERIOD_S if not out.is_terminal else 10 * LIVE_PERIOD_S
        self.tried = 0

    def __call__(self, done: int, wanted: int, built: Built) -> None:
        """Count a candidate."""
        self.tried += 1
        now = time.monotonic()
        if now - self.shown >= self.period_s:
            self.shown = now
            text = f"{now - self.began:6.1f} s  {done} of {wanted} candidates, {self.tried} configurations tried"
            self.out.print(text, soft_wrap=True)


def _text(made: TaskBundle, folder: Path, seconds: float) -> str:
    refused = outcomes(Counter(trial.status for trial in made.refused)).partition("failed ")[2] or "0"
    files, about = task_files(folder), made.about
    return (
        f"{about}: {len(made.candidates)} candidates for {about.arch} in {seconds:.1f} s; not built: {refused}\n"
        f"{folder}: {len(files)} task{'s' * (len(files) != 1)}, {size_bytes(files) / 1e6:.2f} MB; "
        f"next, on a machine with a GPU: autotune measure {folder}"
    )


def _write_json(path: str, made: TaskBundle, folder: Path, seconds: float) -> None:
    if not path:
        return
    data = {
        "task": made.about.key.digest,
        "candidates": len(made.candidates),
        "refused": len(made.refused),
        "wall_s": seconds,
        "file": str(folder / made.about.file_name),
        "bytes": (folder / made.about.file_name).stat().st_size,
    }
    text = json.dumps(data, indent=1) + "\n"
    if path == "-":
        sys.stdout.write(text)
    else:
        Path(path).write_text(text)
