"""Whether the machine gives each thread of a kernel a processor just now.

A host may run two processors of its guest on one of its own for seconds, and a system may leave threads that woke
together on one processor for milliseconds: all together do the work of one, and times from then are wrong by as much,
which no median mends.  The peak loop, run between batches, tells.
"""

from __future__ import annotations

import math
import time

from ..runtime.peak import PeakLoop
from ..runtime.timing import run_batch

SLACK = 1.5  # times the least: clocks and neighbours cost less, half of the processors 2
PATIENCE_S = 0.2  # that one candidate may wait
SHARE = 0.3  # of all time that may be waited, where a machine is never left alone


class Pace:
    """The peak loop beside which candidates are timed, and how fast it ever was."""

    def __init__(self, peak: PeakLoop) -> None:
        self._peak = peak
        self._least_s = math.inf
        self._began = time.perf_counter()
        self._waited_s = 0.0

    def settle(self, until: float) -> float:
        """Run the loop until each thread has a processor, at the longest until a time; give the seconds of one run.

        until  by `time.perf_counter`
        With one thread there is nothing to wait for.
        """
        seconds = self._run()
        began = time.perf_counter()
        while not self.is_whole(seconds) and time.perf_counter() < until and self._may_wait(began):
            seconds = self._run()
        self._waited_s += time.perf_counter() - began
        return seconds

    def is_whole(self, seconds: float) -> bool:
        """Tell whether the loop takes about as long as it ever did at least."""
        return self._peak.threads == 1 or seconds <= SLACK * self._least_s

    def rate(self, seconds: float) -> float:
        """Give 1e9 operations a second."""
        return self._peak.work / seconds / 1e9

    def worth_another_try(self, seconds: float) -> bool:
        """Tell whether what was timed beside such a run of the loop should be timed again."""
        return not self.is_whole(seconds) and self._may_wait(time.perf_counter())

    def _may_wait(self, since: float) -> bool:
        now = time.perf_counter()
        return self._waited_s + now - since < SHARE * (now - self._began) + PATIENCE_S

    def _run(self) -> float:
        seconds = run_batch(self._peak, 1)
        self._least_s = min(self._least_s, seconds)
        return seconds
