"""Search with a learned cost model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..features import FeatureTable
from ..model import Ranker, make_ranker
from ..space import ConfigSpace
from .annealing import Annealing
from .strategy import Unvisited

DRAWN = 8  # configurations drawn for each one that the template's estimate lets begin
REFINED = 2  # configurations that are lowered for their figures for each one wanted
LISTED = 1 << 13  # unvisited configurations that are all scored rather than searched by annealing


class XgbStrategy:
    """Random at first, then what the cost model ranks best, with a share of random ones.

    Where the template has an estimate, it chooses among the first random ones.  Where the space has figures, which take
    a lowering each, a second model that knows them, too, puts the best-ranked in order, less those that are refused.

    seeds      configurations to begin with: the best of earlier records
    warm_up    measured configurations before the model is trusted
    epsilon    share of every batch drawn at random
    crowding   best-scored configurations per wanted one; the batch is picked from them with distinct features first
    Chains start at the best measured configurations.  Failures are learned as zero throughput.
    """

    def __init__(
        self,
        space: ConfigSpace,
        seed: int = 0,
        *,
        seeds: Sequence[int] = (),
        warm_up: int = 8,
        epsilon: float = 0.05,
        crowding: int = 3,
        annealing: Annealing | None = None,
        ranker: Callable[[int], Ranker] = make_ranker,
    ) -> None:
        self.space = space
        self.rng = np.random.default_rng(seed)
        self.unvisited = Unvisited(space, self.rng)
        self.features = FeatureTable(space)
        self.ranker = ranker(seed)
        self.refiner = ranker(seed) if space.figures else None
        self.warm_up = warm_up
        self.epsilon = epsilon
        self.crowding = crowding
        self.annealing = annealing or Annealing()
        self._seeds = [int(i) for i in seeds if space.is_valid_index(int(i))]
        self._costs: dict[int, float] = {}
        self._fitted_on = self._refined_on = 0

    def propose(self, count: int) -> list[int]:
        """Give the seeds first, then random configurations until `warm_up`, then mostly the best-ranked."""
        chosen = self.unvisited.fresh(self._seeds)[:count]
        if self._trusted and len(chosen) < count:
            self.unvisited.mark(chosen)
            wanted = count - len(chosen)
            chosen += self._ranked(wanted - self._explored(wanted))
        self.unvisited.mark(chosen)
        if len(chosen) < count:
            wanted = count - len(chosen)
            chosen += self.unvisited.draw(wanted) if self._trusted else self._promising(wanted)
        self.unvisited.mark(chosen)
        return chosen

    def _promising(self, count: int) -> list[int]:
        """Give random configurations, the better part of a larger draw by the template's own estimate if it has one."""
        drawn = self.unvisited.draw(count * DRAWN)
        estimate = self.space.estimate(self.space.matrix(drawn)) if drawn else None
        if estimate is None:
            return drawn[:count]
        return [drawn[i] for i in np.argsort(-estimate, kind="stable")[:count]]

    def observe(self, indices: Sequence[int], costs: Sequence[float]) -> None:
        """Remember for the next fit."""
        self.unvisited.mark(indices)
        self._costs.update(zip(map(int, indices), map(float, costs), strict=True))

    @property
    def _trusted(self) -> bool:
        return len(self._costs) >= self.warm_up and np.isfinite(list(self._costs.values())).sum() >= 2

    def _explored(self, count: int) -> int:
        return int(self.rng.binomial(count, self.epsilon))

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """Give the model's score of each row of candidate numbers."""
        return self.ranker.predict(self.features(matrix))

    def _fit(self) -> None:
        if self._fitted_on == len(self._costs):
            return
        indices = list(self._costs)
        costs = np.array([self._costs[i] for i in indices])
        throughput = costs.min() / costs  # 0 for failures, 1 for the best
        self.ranker.fit(self.features(self.space.matrix(indices)), throughput)
        self._fitted_on = len(self._costs)

    def _ranked(self, count: int) -> list[int]:
        if count <= 0:
            return []
        self._fit()
        keep = self.crowding * count
        left = self.unvisited.remaining()
        if left is not None and len(left) <= LISTED:
            scores = self.score(self.space.matrix(left)) if left else np.empty(0)
            best = [left[i] for i in np.argsort(-scores, kind="stable")[:keep]]
        else:
            starts = self.space.matrix(sorted(self._costs, key=self._costs.__getitem__)[: self.annealing.chains // 2])
            best = self.annealing(self.space, self.score, starts, keep, self.unvisited.seen, self.rng)
        return self._spread(self._refined(best, REFINED * count), count)

    def _refined(self, best: list[int], most: int) -> list[int]:
        """Put the first ones in the order of the model that knows their figures; those that are refused drop out.

        most  ones that are worth a lowering
        """
        figures = self.space.figures
        if self.refiner is None or figures is None or not best:
            return best
        best = best[:most]
        columns = figures(best)
        refused = np.isnan(columns).any(axis=1)
        dropped = [best[i] for i in np.flatnonzero(refused)]
        self.observe(dropped, [float("inf")] * len(dropped))
        kept = [best[i] for i in np.flatnonzero(~refused)]
        if not kept or not self._fit_refiner(figures):
            return kept
        scores = self.refiner.predict(np.hstack([self.features(self.space.matrix(kept)), columns[~refused]]))
        return [kept[i] for i in np.argsort(-scores, kind="stable")]

    def _fit_refiner(self, figures: Callable[[Sequence[int]], np.ndarray]) -> bool:
        """Learn from the measured configurations that have figures; tell whether there are enough of them."""
        assert self.refiner is not None
        if self._refined_on != self._fitted_on:
            indices = [i for i, cost in self._costs.items() if np.isfinite(cost)]
            columns = figures(indices)
            known = ~np.isnan(columns).any(axis=1)
            if known.sum() < self.warm_up:
                return False
            costs = np.array([self._costs[i] for i in indices])[known]
            rows = np.hstack([self.features(self.space.matrix(indices)), columns])[known]
            self.refiner.fit(rows, costs.min() / costs)
            self._refined_on = self._fitted_on
        return True

    def _spread(self, best: list[int], count: int) -> list[int]:
        """Take the better half, then of the rest those that differ most from what is taken."""
        taken = best[: (count + 1) // 2]
        rest = best[len(taken) :]
        if len(rest) <= count - len(taken):
            return best[:count]
        columns = self.features(self.space.matrix(best))
        columns = columns / (columns.std(axis=0) + 1e-6)
        pool = np.arange(len(taken), len(best))
        near = np.abs(columns[pool, None] - columns[None, : len(taken)]).sum(axis=2).min(axis=1)
        while len(taken) < count:
            pick = int(np.argmax(near))
            taken.append(best[pool[pick]])
            near = np.minimum(near, np.abs(columns[pool] - columns[pool[pick]]).sum(axis=1))
        return taken
