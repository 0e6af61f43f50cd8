"""The fewest gaps of a sequence, or of a cycle, that hit every one of some arcs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arc:
    """Neighbouring gaps, `count` of them from `start` on; behind the last gap of a cycle comes the first."""

    start: int
    count: int


Gaps = frozenset[int]


def fewest(arcs: Iterable[Arc], size: int, cyclic: bool) -> list[Gaps]:
    """Give smallest sets of gaps that have one in every arc, the preferred one first.

    size  number of gaps
    In a sequence there is one: the last gaps possible.  In a cycle further ones differ in that they have the first gap,
    or the last one.
    """
    wanted = sorted(set(arcs), key=lambda a: (a.count, a.start))
    if not wanted:
        return [frozenset()]
    if not cyclic:
        return [_greedy(wanted, -1, size)]
    starts = [(wanted[0].start + n) % size for n in range(wanted[0].count)]  # one of them is in every solution
    found = [_greedy([a for a in wanted if not _hits(p, a, size)], p, size) | {p} for p in starts]
    least = min(map(len, found))
    best = [g for g in found if len(g) == least]
    slid = [s for g in best for end in (0, size - 1) for s in _slid(g, end, wanted, size)]
    return list(dict.fromkeys([*slid[:2], *(g for g in slid if size - 1 in g), *best]))[:3]


def _hits(gap: int, arc: Arc, size: int) -> bool:
    return (gap - arc.start) % size < arc.count


def _greedy(arcs: Sequence[Arc], origin: int, size: int) -> Gaps:
    """Hit arcs none of which holds `origin`, from there on in order of their ends."""
    chosen: list[int] = []
    for arc in sorted(arcs, key=lambda a: (a.start + a.count - 2 - origin) % size):
        if not any(_hits(gap, arc, size) for gap in chosen):
            chosen.append((arc.start + arc.count - 1) % size)
    return frozenset(chosen)


def _slid(gaps: Gaps, end: int, arcs: Sequence[Arc], size: int) -> list[Gaps]:
    """Give the set with one of its gaps moved to `end`, where all arcs stay hit."""
    moved = (gaps - {gap} | {end} for gap in sorted(gaps))
    return [g for g in moved if len(g) == len(gaps) and all(any(_hits(x, a, size) for x in g) for a in arcs)]
