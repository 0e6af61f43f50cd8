"""Whether the machine gives each thread a processor just now.

A host may run two processors of its guest on one of its own for seconds: no thread waits, and no time is stolen that
the guest could count, but all threads together do the work of one.
"""

from __future__ import annotations

import math
from pathlib import Path

from .competitor import LIMIT
from .messages import Sample
from .operations import Product, Workload
from .process import Process

LOOP = Workload("processors", "limits", Product(256, 256, 256))  # bounded by multiply-adds
BATCH_S = 1e-3
SLACK = 1.5  # times the least: clocks and neighbours cost less, half of the processors 2


class Processors:
    """A loop of multiply-adds in all threads, in a process of its own, timed whenever somebody asks."""

    def __init__(self, threads: int, folder: Path, first: bool) -> None:
        """Start the process; one thread needs none, and has a processor whenever it runs."""
        self.least = math.inf
        self.process = Process(LIMIT, threads, folder, first) if threads > 1 else None
        if self.process:
            self.process.prepare(LOOP, 0, BATCH_S)

    def whole(self) -> bool:
        """Tell whether the loop takes about as long as it ever did at least."""
        match self.process.run() if self.process else None:
            case Sample(seconds):
                self.least = min(self.least, seconds)
                return seconds <= SLACK * self.least
            case _:
                return True

    def close(self) -> None:
        """End the process."""
        if self.process:
            self.process.close()
