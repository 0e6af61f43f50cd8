"""Results as JSON: the machine, versions, settings, every sample."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from .figures import Row
from .operations import moved_bytes
from .turns import Entry

RESULTS = Path(__file__).resolve().parent.parent / "results" / "cpu"
DIGITS = 5  # of a time that is written


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the times hold for.

    machine   the processor, as records name it
    revision  of this repository
    versions  by competitor, or why it is missing
    settings  of the run
    load      processes that wanted to run, averaged over a minute, before and after
    """

    machine: str
    revision: str
    versions: Mapping[str, str]
    settings: Mapping[str, object]
    load: tuple[float, float]

    @property
    def threads(self) -> int:
        """Give the threads of every competitor."""
        return int(str(self.settings["threads"]))

    def lines(self) -> list[str]:
        """Give them as text."""
        versions = "; ".join(f"{name} {version}" for name, version in self.versions.items())
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        load = f"load average {self.load[0]:.1f} before, {self.load[1]:.1f} after, {os.cpu_count()} processors"
        return [self.machine, f"{self.revision}; {versions}", f"{settings}; Python {platform.python_version()}", load]


def revision() -> str:
    """Give the commit that is measured, and whether files differ from it."""
    words = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return f"tilewright {done.stdout.strip() or 'of no known commit'}"


def write_json(path: Path, rows: Sequence[Row], about: Circumstances) -> None:
    """Write everything that was measured, a competitor's samples on one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = json.dumps(asdict(about), indent=1).removesuffix("\n}")
    workloads = ",\n".join(map(_row_text, rows))
    path.write_text(f'{head},\n "workloads": [\n{workloads}\n ]\n}}\n', encoding="utf-8")


def _row_text(row: Row) -> str:
    operation = row.workload.operation
    about = {
        "name": row.workload.name,
        "family": row.workload.family,
        "operation": {"kind": type(operation).__name__, **asdict(operation)},
        "flop": operation.flop,
        "bytes": moved_bytes(operation),
    }
    entries = ",\n".join(f'   "{name}": {json.dumps(_entry(entry))}' for name, entry in row.entries.items())
    return f'  {json.dumps(about).removesuffix("}")}, "entries": {{\n{entries}\n  }}}}'


def _entry(entry: Entry) -> dict[str, object]:
    seconds = [float(f"{second:.{DIGITS}g}") for second in entry.seconds]
    return {**asdict(entry), "seconds": seconds, "build_s": round(entry.build_s, 3)}


def file_name(machine: str, today: date, families: str, threads: int) -> str:
    """Give the name of a run's file, without a suffix."""
    words = re.sub(r"[^a-z0-9]+", "-", machine.split(",")[0].lower()).strip("-")
    return f"{words[:40].strip('-')}-{today.isoformat()}-{families.replace(',', '+')}-{threads}t"
