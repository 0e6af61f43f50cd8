"""What is read from times: medians and minima, the best peer, ratios, shares of the limit, geometric means."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .competitor import LIMIT, OURS, PEERS
from .operations import Workload, moved_bytes
from .turns import Entry

ARITHMETIC = ("fma", "dot")  # limits that count operations; the others count bytes
Statistic = Callable[[Sequence[float]], float]


@dataclass(frozen=True, slots=True)
class Row:
    """A workload's entries, by competitor."""

    workload: Workload
    entries: Mapping[str, Entry]

    def seconds(self, name: str, statistic: Statistic = statistics.median) -> float | None:
        """Give a competitor's seconds of one call, or None where it has none."""
        entry = self.entries.get(name)
        return statistic(entry.seconds) if entry is not None and entry.seconds else None

    def rate(self, name: str, statistic: Statistic = statistics.median) -> float | None:
        """Give a competitor's 1e9 operations, or bytes where there are none, a second."""
        operation, seconds = self.workload.operation, self.seconds(name, statistic)
        return (operation.flop or moved_bytes(operation)) / seconds / 1e9 if seconds else None

    def limit_rate(self, statistic: Statistic = statistics.median) -> float | None:
        """Give the 1e9 operations or bytes a second of the loop that bounds the operation."""
        seconds = self.seconds(LIMIT, statistic)
        return self.entries[LIMIT].work / seconds / 1e9 if seconds else None

    def share(self, name: str, statistic: Statistic = statistics.median) -> float | None:
        """Give the time in which that loop would do as much, over a competitor's time."""
        operation = self.workload.operation
        needed = operation.flop if operation.limit in ARITHMETIC else moved_bytes(operation)
        limit, seconds = self.limit_rate(statistic), self.seconds(name, statistic)
        return needed / (limit * 1e9) / seconds if limit and seconds else None

    def best_peer(self, statistic: Statistic = statistics.median) -> str | None:
        """Give the name of the fastest peer, None without any."""
        timed = {n: s for n in PEERS if (s := self.seconds(n, statistic)) is not None}
        return min(timed, key=lambda name: timed[name]) if timed else None

    def lead(self, ours: str, statistic: Statistic = statistics.median) -> float | None:
        """Give how many times as fast as the best peer ours is, None where one of them is missing."""
        peer, mine = self.best_peer(statistic), self.seconds(ours, statistic)
        theirs = self.seconds(peer, statistic) if peer else None
        return theirs / mine if theirs and mine else None

    def spread(self, name: str) -> float | None:
        """Give how far the middle half of the times reaches, as a share of the median."""
        entry = self.entries.get(name)
        if entry is None or len(entry.seconds) < 2:
            return None
        low, middle, high = statistics.quantiles(entry.seconds, n=4)
        return (high - low) / middle


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Give the geometric mean of those that are there, None for none."""
    there = [math.log(value) for value in values if value]
    return math.exp(statistics.fmean(there)) if there else None


def families(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Give rows by family, in order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.workload.family, []).append(row)
    return found


def competitors(rows: Sequence[Row]) -> list[str]:
    """Give the competitors that have any time, ours first, the limit left out."""
    return [name for name in (*OURS, *PEERS) if any(row.seconds(name) for row in rows)]
