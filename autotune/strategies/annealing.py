"""Simulated annealing over a cost model: many chains at once, moved and scored as arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..space import ConfigSpace

Score = Callable[[np.ndarray], np.ndarray]  # candidate numbers (rows, knobs) -> scores, higher is better


@dataclass(frozen=True, slots=True)
class Annealing:
    """How to anneal.

    chains  configurations moved in parallel
    steps   moves of each at most
    idle    moves without a better configuration among the kept ones after which to stop
    """

    chains: int = 192
    steps: int = 120
    idle: int = 25

    def __call__(
        self,
        space: ConfigSpace,
        score: Score,
        starts: np.ndarray,
        keep: int,
        skip: set[int],
        rng: np.random.Generator,
    ) -> list[int]:
        """Give up to `keep` configurations not in `skip` that score best, best first.

        starts  rows of candidate numbers to begin some chains from; the others begin at random
        The temperature falls linearly from one standard deviation of the scores to 0.
        """
        points = np.concatenate([starts[: self.chains // 2], space.sample(self.chains, rng)])[: self.chains]
        scores = score(points)
        best = Best(keep, skip)
        best.add(space.indices(points), scores)
        last_gain = 0
        for step in range(self.steps):
            temperature = float(scores.std()) * (1 - step / self.steps) + 1e-9
            moved = space.mutate(points, rng)
            moved_scores = score(moved)
            if best.add(space.indices(moved), moved_scores):
                last_gain = step
            if step - last_gain >= self.idle:
                break
            chance = np.exp(np.minimum((moved_scores - scores) / temperature, 0))
            accepted = rng.random(len(points)) < chance
            points[accepted], scores[accepted] = moved[accepted], moved_scores[accepted]
        return best.indices()


class Best:
    """The `keep` best-scored configurations met so far, without those in `skip`."""

    def __init__(self, keep: int, skip: set[int]) -> None:
        self.keep = keep
        self.skip = skip
        self._scores: dict[int, float] = {}
        self._least = -np.inf

    def add(self, indices: np.ndarray, scores: np.ndarray) -> bool:
        """Take what belongs in; tell whether anything did."""
        candidates = np.flatnonzero(scores > self._least)
        new = {int(indices[i]): float(scores[i]) for i in candidates if int(indices[i]) not in self.skip}
        new = {index: score for index, score in new.items() if index not in self._scores}
        if not new:
            return False
        self._scores.update(new)
        if len(self._scores) >= self.keep:
            kept = sorted(self._scores.items(), key=lambda item: -item[1])[: self.keep]
            self._scores, self._least = dict(kept), kept[-1][1]
        return True

    def indices(self) -> list[int]:
        """Give the configurations, best first."""
        return sorted(self._scores, key=lambda index: -self._scores[index])
