"""Grid search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from ..space import ConfigSpace


class GridStrategy:
    """All valid configurations by ascending number."""

    def __init__(self, space: ConfigSpace, seed: int = 0) -> None:
        self._seen: set[int] = set()
        self._rest: Iterator[int] = (int(i) for chunk in space.valid_indices() for i in chunk)

    def propose(self, count: int) -> list[int]:
        """Give the next `count` configurations."""
        chosen = list(islice((i for i in self._rest if i not in self._seen), count))
        self._seen.update(chosen)
        return chosen

    def observe(self, indices: Sequence[int], costs: Sequence[float]) -> None:
        """Count `indices` as given; costs do not matter here."""
        self._seen.update(map(int, indices))
