"""A session: competitors in their processes, with one number of threads, for one family after another."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .competitor import ALGORITHMS, LIMIT, OURS
from .figures import Row
from .libraries import Builder
from .operations import Workload
from .process import Process
from .processors import Processors
from .report import Circumstances, revision
from .turns import Pace, measure


class Session:
    """What runs from the first workload to the last.

    threads  of every competitor
    ours     which of our kernels take part, as `competitor.OURS` names them
    """

    def __init__(
        self, threads: int, folder: Path, ours: Sequence[str], peers: Sequence[str], database: str, first: bool
    ) -> None:
        """Start a process for each; our libraries lie in `folder` as long as the session lasts."""
        self.threads, self.ours, self.first = threads, tuple(ours), first
        self.builders = {name: _builder(name, folder, threads, database) for name in ours}
        self.processes = [Process(name, threads, folder / name, first) for name in (*ours, *peers, LIMIT)]
        self.processors = Processors(threads, folder, first)
        self.machine = next(iter(self.builders.values())).machine() if self.builders else ""

    def measure(self, workloads: Sequence[Workload], pace: Pace) -> tuple[list[Row], Circumstances]:
        """Measure workloads; give them with what their times hold for."""
        before = os.getloadavg()[0]
        rows = [self.row(workload, pace) for workload in workloads]
        versions = {process.name: process.version for process in self.processes}
        settings = {"threads": self.threads, "ours": ", ".join(self.ours), "rounds": pace.rounds}
        settings |= {"batch_ms": pace.batch_s * 1e3, "seed": pace.seed, "first": self.first}
        load = before, os.getloadavg()[0]
        return rows, Circumstances(self.machine, revision(), versions, settings, load)

    def row(self, workload: Workload, pace: Pace) -> Row:
        """Build our kernels for a workload, and measure them beside the others."""
        built = {name: builder.build(workload) for name, builder in self.builders.items()}
        entries = measure(
            workload, [process for process in self.processes if process.present], pace, self.processors.whole
        )
        for name, result in built.items():
            entries[name].note = "; ".join(filter(None, (result.note, entries[name].note)))
            entries[name].build_s = result.build_s
        row = Row(workload, entries)
        leads = ", ".join(f"{name} {lead:.2f}" for name in self.builders if (lead := row.lead(name)))
        sys.stderr.write(f"{workload.family} {workload.name}: {row.best_peer()} is the fastest peer; lead: {leads}\n")
        return row

    def __enter__(self) -> Self:
        """Give the session itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes."""
        for each in (*self.processes, self.processors, *self.builders.values()):
            each.close()


def _builder(name: str, folder: Path, threads: int, database: str) -> Builder:
    (folder / name).mkdir()
    return Builder(folder / name, threads, database if name == OURS[0] else "", ALGORITHMS.get(name, ""))
