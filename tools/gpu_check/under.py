"""NVIDIA's checker and profiler of kernels: where they lie, and how one is started on a plan of candidates."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilewright.runtime.cuda.compiler.toolkit import program

from .once import Item, write_plan

PLACES = ("/usr/local/cuda*/bin", "/usr/local/cuda*/*", "/opt/nvidia", "/opt/nvidia/*", "/opt/nvidia/*/*")
LEAST_S = 15.0  # with less time left no other process is started
KEPT_S = 10.0  # of a budget, for the tool's report at the end
GRACE_S = 5.0  # between the request to end and its enforcement
TAIL = 2000  # characters of a process's output that are kept

Prefix = Callable[[Path], Sequence[str]]  # the tool's words before the command, from the file that its report goes to


@dataclass
class Session:
    """What came of a plan.

    rows     one for each item: its words, and "fault": "" where it is right, None where it was not reached
    reports  what the tool wrote, a text for each process
    ends     how each process ended, and the end of what it printed
    """

    rows: list[dict[str, Any]]
    reports: list[str] = field(default_factory=list)
    ends: list[dict[str, Any]] = field(default_factory=list)
    wall_s: float = 0.0

    @property
    def reached(self) -> list[dict[str, Any]]:
        """Give the rows of what was begun."""
        return [row for row in self.rows if row["fault"] is not None]

    @property
    def wrong(self) -> list[dict[str, Any]]:
        """Give the rows of what was not right."""
        return [row for row in self.rows if row["fault"]]

    @property
    def last_words(self) -> str:
        """Give why nothing more was run, as the last process told it."""
        if not self.ends:
            return "there was no time"
        end, report = self.ends[-1], self.reports[-1]
        return " ".join(f"{end['end']}: {end['output']} {report}".split())[-600:]


def find(name: str, places: Sequence[str] = PLACES) -> Path | None:
    """Give an executable file: of PATH, of $CUDA_HOME, of a toolkit, or the newest of where NVIDIA's packages go."""
    return next(_found(name, places), None)


def _found(name: str, places: Sequence[str]) -> Iterator[Path]:
    home = os.environ.get("CUDA_HOME", "")
    first = [shutil.which(name), home and f"{home}/bin/{name}", program(name)]
    other = sorted((path for place in places for path in Path("/").glob(f"{place[1:]}/{name}")), key=_age)
    for path in (*first, *other):
        if path and Path(path).is_file() and os.access(path, os.X_OK):
            yield Path(path)


def _age(path: Path) -> tuple[list[int], str]:
    return [-int(digits) for digits in re.findall(r"\d+", str(path))], str(path)


def run_plan(
    items: Sequence[Item], folder: Path, name: str, prefix: Prefix, device: str, mode: str, limit_s: float,
    budget_s: float,
) -> Session:  # fmt: skip
    """Run items under a tool, in a new process after each one that a candidate took along.

    folder    of plan, journal, reports and output, in files that begin with `name`
    limit_s   for one candidate
    budget_s  for all of them
    """
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"{name}[.-]*"):
        stale.unlink()
    plan, journal = folder / f"{name}.plan.json", folder / f"{name}.journal.jsonl"
    write_plan(plan, list(items))
    session = Session([{"task": i.task, "index": i.index, "path": i.path, "fault": None} for i in items])
    start = 0
    while start < len(items) and (left_s := began + budget_s - time.monotonic()) > LEAST_S:
        log = folder / f"{name}-{len(session.ends)}.log"
        command = [*prefix(log), sys.executable, "-m", f"{__package__}.once", "--plan", plan, "--journal", journal,
                   "--device", device, "--mode", mode, "--start", start, "--limit", limit_s,
                   "--seconds", max(1.0, left_s - KEPT_S - LEAST_S)]  # fmt: skip
        session.ends.append(_end([str(word) for word in command], log.with_suffix(".out"), left_s))
        session.reports.append(log.read_text(errors="replace") if log.exists() else "")
        last = _read(journal, session)
        if last < start:
            break  # it did not come to any
        start = last + 1
    session.wall_s = time.monotonic() - began
    return session


def _end(command: Sequence[str], output: Path, limit_s: float) -> dict[str, Any]:
    """Run a command to its end, or until the time is up; tell how it ended."""
    began = time.monotonic()
    with output.open("w") as file:
        try:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as error:
            return {"end": f"could not be started: {error}", "status": None, "wall_s": 0.0, "output": ""}
        try:
            words = ended(process.wait(limit_s))
        except subprocess.TimeoutExpired:
            words = f"stopped after {limit_s:.0f} s"
            _stop(process)
    text = output.read_text(errors="replace")[-TAIL:]
    return {"end": words, "status": process.returncode, "wall_s": round(time.monotonic() - began, 1), "output": text}


def ended(status: int) -> str:
    """Give the exit status of a process in words."""
    if status >= 0:
        return f"ended with status {status}"
    with suppress(ValueError):
        return f"ended by {signal.Signals(-status).name}"
    return f"ended by signal {-status}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started: a request first, upon which a tool writes its report."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)


def _read(journal: Path, session: Session) -> int:
    """Take over what a journal tells of each item; give the last place that was begun, -1 for none."""
    last = -1
    for line in journal.read_text().splitlines() if journal.exists() else ():
        with suppress(ValueError):  # a line that was being written at the end
            row = json.loads(line)
            last = max(last, row["place"])
            known = session.rows[row["place"]]
            if "fault" in row:
                known |= {name: row[name] for name in ("fault", "kernels", "wall_s")}
            elif known["fault"] is None:
                known["fault"] = f"it took the process along, which {session.ends[-1]['end']}"
    return last
