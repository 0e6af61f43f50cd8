"""What a search strategy is, and the bookkeeping that all share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..space import ConfigSpace

SMALL = 1 << 15  # valid configurations of a space that is worth listing


def batch_size(given: int) -> int:
    """Give how many configurations to ask a strategy for at a time, after `given` ones.

    Few at first, while each measurement teaches much; more later, when thinking would cost more than it gives.
    """
    return 4 if given < 64 else 8 if given < 192 else 16


class Strategy(Protocol):
    """Decides what to measure next."""

    def propose(self, count: int) -> list[int]:
        """Give up to `count` configuration numbers never given before; fewer only when the space is exhausted."""
        ...

    def observe(self, indices: Sequence[int], costs: Sequence[float]) -> None:
        """Learn what configurations cost, in seconds; infinite for failures.  Unproposed ones count as given."""
        ...


class Unvisited:
    """The valid configurations that were not yet given, and uniform draws from them."""

    def __init__(self, space: ConfigSpace, rng: np.random.Generator) -> None:
        self.space = space
        self.rng = rng
        self.seen: set[int] = set()
        count = space.valid_count
        self._small = count is not None and count <= SMALL and space.size <= 64 * SMALL
        self._listed: list[int] | None = None

    def mark(self, indices: Sequence[int]) -> None:
        """Count `indices` as given."""
        self.seen.update(int(i) for i in indices)

    def fresh(self, indices: Sequence[int] | np.ndarray) -> list[int]:
        """Give those of `indices` that were not yet given, each once, in order."""
        return [i for i in dict.fromkeys(map(int, indices)) if i not in self.seen]

    def remaining(self) -> list[int] | None:
        """Give all that is left in ascending order, or None for a large space."""
        if not self._small:
            return None
        if self._listed is None:
            self._listed = [int(i) for chunk in self.space.valid_indices() for i in chunk]
        if len(self._listed) > 2 * (len(self._listed) - len(self.seen)):
            self._listed = [i for i in self._listed if i not in self.seen]
        return [i for i in self._listed if i not in self.seen]

    def draw(self, count: int) -> list[int]:
        """Give up to `count` random new configurations without marking them; fewer only when that is all."""
        left = self.remaining()
        if left is not None:
            order = self.rng.permutation(len(left))[:count]
            return [left[i] for i in order]
        found: dict[int, None] = {}
        for _ in range(64):
            if len(found) >= count:
                break
            rows = self.space.sample(2 * count, self.rng)
            found.update(dict.fromkeys(self.fresh(self.space.indices(rows))))
        return list(found)[:count]
