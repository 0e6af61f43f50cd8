"""The cost model: ranks configurations by expected throughput."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass, field
from types import ModuleType
from typing import Protocol

import numpy as np

from .stumps import Stumps, fit_stumps


class Ranker(Protocol):
    """A model that scores configurations: higher is expected to be faster."""

    def fit(self, features: np.ndarray, scores: np.ndarray) -> None:
        """Learn from `features` (rows, columns) and `scores` (rows,): relative throughput, 0 for failures."""
        ...

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Give a score per row; only their order means something."""
        ...


@dataclass
class XgboostRanker:
    """Boosted trees with a pairwise ranking loss.

    Only `DMatrix`, `train` and `predict` of xgboost are used: these have been stable since its first releases.
    One thread, so as not to disturb what is being measured next to it.
    """

    seed: int
    rounds: int = 60
    depth: int = 5
    rate: float = 0.2
    objective: str = "rank:pairwise"
    _xgboost: ModuleType = field(init=False, repr=False)
    _booster: object = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._xgboost = importlib.import_module("xgboost")

    def fit(self, features: np.ndarray, scores: np.ndarray) -> None:
        """Learn from scratch."""
        data = self._xgboost.DMatrix(features, label=scores, nthread=1)
        if self.objective.startswith("rank"):
            data.set_group([len(scores)])
        parameters = {
            "objective": self.objective,
            "max_depth": self.depth,
            "eta": self.rate,
            "gamma": 1e-4,
            "min_child_weight": 0.1,
            "subsample": 0.9,
            "colsample_bytree": 0.8,
            "seed": self.seed,
            "nthread": 1,
            "verbosity": 0,
        }
        self._booster = self._xgboost.train(parameters, data, num_boost_round=self.rounds)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Give a score per row."""
        assert self._booster is not None, "predict before fit"
        return self._booster.predict(self._xgboost.DMatrix(features, nthread=1))  # type: ignore[attr-defined]


@dataclass
class StumpRanker:
    """Boosted stumps in NumPy, on throughput."""

    seed: int = 0
    _stumps: Stumps | None = field(default=None, init=False, repr=False)

    def fit(self, features: np.ndarray, scores: np.ndarray) -> None:
        """Learn from scratch."""
        self._stumps = fit_stumps(features, scores)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Give a score per row."""
        assert self._stumps is not None, "predict before fit"
        return self._stumps.predict(features)


def make_ranker(seed: int) -> Ranker:
    """Give the xgboost model, or the NumPy one with a warning where neither xgboost nor xgboost-cpu is installed."""
    try:
        return XgboostRanker(seed)
    except ImportError:
        warnings.warn(
            "xgboost is not installed: searching with a weaker NumPy model (pip install xgboost-cpu)", stacklevel=2
        )
        return StumpRanker(seed)
