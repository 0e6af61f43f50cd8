"""Random search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..space import ConfigSpace
from .strategy import Unvisited


class RandomStrategy:
    """Uniform draws from the valid configurations, never one twice."""

    def __init__(self, space: ConfigSpace, seed: int = 0) -> None:
        self.unvisited = Unvisited(space, np.random.default_rng(seed))

    def propose(self, count: int) -> list[int]:
        """Give up to `count` new configurations."""
        chosen = self.unvisited.draw(count)
        self.unvisited.mark(chosen)
        return chosen

    def observe(self, indices: Sequence[int], costs: Sequence[float]) -> None:
        """Count `indices` as given; costs do not matter here."""
        self.unvisited.mark(indices)
