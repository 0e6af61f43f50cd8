"""Times of kernels, measured by a loop in machine code."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from ..ir.errors import ArgumentError
from .array import address_of
from .library import library


class Timed(Protocol):
    """Something with a packed entry and its arguments: a `BoundCall`, or a loop that measures the machine.

    entry    address of `i32 entry(ptr argv)`
    argv     address of its argument slots
    threads  for its parallel loops, or 0 for what is set
    """

    @property
    def name(self) -> str:
        """Give the name for messages."""
        ...

    @property
    def entry(self) -> int:
        """Give the entry's address."""
        ...

    @property
    def argv(self) -> int:
        """Give the slots' address."""
        ...

    @property
    def threads(self) -> int:
        """Give the number of threads, or 0."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds for one call, measured several times.

    results_s  one mean over a batch of calls each, in the order they were taken
    """

    results_s: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Give the mean, in seconds."""
        return statistics.fmean(self.results_s)

    @property
    def median(self) -> float:
        """Give the median, in seconds."""
        return statistics.median(self.results_s)

    @property
    def min(self) -> float:
        """Give the least, in seconds."""
        return min(self.results_s)

    @property
    def max(self) -> float:
        """Give the greatest, in seconds."""
        return max(self.results_s)

    @property
    def std(self) -> float:
        """Give the sample standard deviation in seconds, 0 for a single result."""
        return statistics.stdev(self.results_s) if len(self.results_s) > 1 else 0.0

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Give an interval in seconds that holds the true median with at least this probability.

        Order statistics: free of assumptions on the distribution.  Too few results give their whole range.
        Source: Conover, "Practical Nonparametric Statistics", 3rd ed., section 3.2.
        """
        ordered = sorted(self.results_s)
        n = len(ordered)
        below = 0.0  # probability that at most `k` results lie under the median
        for k in range(n // 2):
            below += math.comb(n, k) / 2**n
            if below > (1 - confidence) / 2:
                return ordered[max(0, k - 1)], ordered[min(n - 1, n - k)]
        middle = max(0, n // 2 - 1)
        return ordered[middle], ordered[n - 1 - middle]

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{self.median * 1e6:.3f} us (95% {low * 1e6:.3f} .. {high * 1e6:.3f}, {len(self.results_s)} results)"


def run_batch(call: Timed, number: int) -> float:
    """Give the seconds that `number` calls take together.  Raises MemoryError where one fails."""
    ns = library().functions["tilewright_time"](call.entry, call.argv, number, call.threads)
    if ns < 0:
        raise MemoryError(f"{call.name}: status {-ns}, no memory for the scratch it needs")
    return ns * 1e-9


def measure(call: Timed, number: int = 10, repeat: int = 1, min_repeat_ms: float = 0.0, flush_bytes: int = 0) -> Timing:
    """Time a call, after one untimed call.

    number         calls in a batch
    repeat         batches, one result each
    min_repeat_ms  make batches longer until one takes this many milliseconds
    flush_bytes    overwrite this much other memory before each batch, outside the time: with `number=1` the kernel
                   finds its data in main memory
    Raises ArgumentError for counts below 1.
    """
    if not all(isinstance(n, int | np.integer) and n >= 1 for n in (number, repeat)):
        raise ArgumentError("time_evaluator", f"number={number!r}, repeat={repeat!r}", advice="1 or more of each")
    run_batch(call, 1)
    if min_repeat_ms:
        number = calibrate(call, min_repeat_ms * 1e-3, number)
    results = []
    for _ in range(repeat):
        if flush_bytes:
            flush_caches(flush_bytes)
        results.append(run_batch(call, number) / number)
    return Timing(tuple(results))


def calibrate(call: Timed, batch_s: float, number: int = 1) -> int:
    """Give how many calls take at least `batch_s` seconds, and at least `number`."""
    while True:
        spent = run_batch(call, number)
        if spent >= batch_s:
            return number
        number = max(number + 1, math.ceil(number * min(8.0, 1.1 * batch_s / max(spent, 1e-9))))


def interleaved(calls: Sequence[Timed], rounds: int = 10, batch_s: float = 1e-3) -> list[Timing]:
    """Time calls in turn, A B C A B C ..., so that what slows the machine for a while slows them all.

    rounds   results for each call
    batch_s  least length of a batch, in seconds
    """
    for call in calls:
        run_batch(call, 1)
    numbers = [calibrate(call, batch_s) for call in calls]
    results: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, number, mine in zip(calls, numbers, results, strict=True):
            mine.append(run_batch(call, number) / number)
    return [Timing(tuple(mine)) for mine in results]


def flush_caches(size_bytes: int) -> None:
    """Fill the caches with `size_bytes` of memory that no kernel uses."""
    memory = _flush_memory(size_bytes)
    library().functions["tilewright_sweep"](address_of(memory), memory.nbytes // 64 * 64)


@cache
def _flush_memory(size_bytes: int) -> np.ndarray:
    return np.ones(max(64, size_bytes), np.uint8)
