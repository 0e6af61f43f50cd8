"""Genetic search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..space import ConfigSpace
from .strategy import Unvisited


class GaStrategy:
    """Crossover of two good configurations knob by knob, then mutation.

    population     the best configurations that may become parents
    mutation_rate  share of children that are mutated after crossover
    """

    def __init__(self, space: ConfigSpace, seed: int = 0, population: int = 48, mutation_rate: float = 0.5) -> None:
        self.space = space
        self.rng = np.random.default_rng(seed)
        self.unvisited = Unvisited(space, self.rng)
        self.population = population
        self.mutation_rate = mutation_rate
        self._costs: dict[int, float] = {}

    def propose(self, count: int) -> list[int]:
        """Give children of the best so far, and random configurations while there are too few parents."""
        parents = sorted((c, i) for i, c in self._costs.items() if np.isfinite(c))[: self.population]
        chosen: list[int] = []
        if len(parents) >= 8:
            chosen = self._children([i for _, i in parents], count)
        self.unvisited.mark(chosen)
        if len(chosen) < count:
            more = self.unvisited.draw(count - len(chosen))
            self.unvisited.mark(more)
            chosen += more
        return chosen

    def observe(self, indices: Sequence[int], costs: Sequence[float]) -> None:
        """Add to the possible parents."""
        self.unvisited.mark(indices)
        self._costs.update(zip(map(int, indices), map(float, costs), strict=True))

    def _children(self, parents: list[int], count: int) -> list[int]:
        rank_weight = 1.0 / (1.0 + np.arange(len(parents)))
        chances = rank_weight / rank_weight.sum()
        genes = self.space.matrix(parents)
        found: dict[int, None] = {}
        for _ in range(8):
            if len(found) >= count:
                break
            mothers, fathers = (genes[self.rng.choice(len(genes), size=2 * count, p=chances)] for _ in range(2))
            children = np.where(self.rng.random(mothers.shape) < 0.5, mothers, fathers)
            mutated = self.rng.random(len(children)) < self.mutation_rate
            children[mutated] = self.space.mutate(children[mutated], self.rng)
            valid = children[self.space.valid(children)]
            found.update(dict.fromkeys(self.unvisited.fresh(self.space.indices(valid))))
        return list(found)[:count]
