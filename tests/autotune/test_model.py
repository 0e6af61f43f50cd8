"""The cost models order unseen configurations, and the NumPy one stands in where xgboost is not installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tilewright.autotune.features import FeatureTable
from tilewright.autotune.model import Ranker, StumpRanker, XgboostRanker, make_ranker
from tilewright.autotune.stumps import fit_stumps

from .synthetic import gemm_seconds, gemm_space

SHAPE = (784, 128, 1152)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(x)) for x in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


@pytest.mark.parametrize("make", [XgboostRanker, StumpRanker])
def test_models_order_unseen_configurations(make: type) -> None:
    space = gemm_space(*SHAPE)
    rows = space.sample(1200, np.random.default_rng(0))
    costs = gemm_seconds(space, rows, *SHAPE)
    features, scores = FeatureTable(space)(rows), costs.min() / costs
    model: Ranker = make(0)
    model.fit(features[:200], scores[:200])
    assert rank_correlation(model.predict(features[200:]), scores[200:]) > 0.7


def test_stumps_find_a_step() -> None:
    x = np.random.default_rng(0).uniform(size=(400, 3))
    y = np.where(x[:, 1] > 0.6, 2.0, -1.0)
    found = fit_stumps(x, y).predict(x)
    inside = np.abs(x[:, 1] - 0.6) > 0.05  # a bin holds 1/32 of the rows
    assert np.abs(found - y)[inside].max() < 0.15


def test_numpy_model_stands_in_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.warns(UserWarning, match="pip install xgboost-cpu"):
        assert type(make_ranker(0)) is StumpRanker


def test_scoring_takes_a_hundred_thousand_a_second() -> None:
    import time

    space = gemm_space(*SHAPE)
    rows, table = space.sample(100_000, np.random.default_rng(0)), FeatureTable(space)
    began = time.thread_time()
    table(rows)
    assert time.thread_time() - began < 1.0
