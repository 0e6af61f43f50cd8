"""The cost model against chance, on spaces that were measured once: see tools/record_space.py."""

from __future__ import annotations

from math import exp, log
from pathlib import Path

import pytest

from tilewright.autotune.replay import Comparison, RecordedSpace, compare
from tilewright.autotune.strategies.random import RandomStrategy
from tilewright.autotune.strategies.xgb import XgbStrategy

SPACES = sorted((Path(__file__).parent / "spaces").glob("*.npz"))
SEEDS = range(10)


@pytest.fixture(scope="module")
def comparisons() -> dict[str, Comparison]:
    """Give XGBoost against random draws on every recorded space."""
    return {p.stem: compare(RecordedSpace.load(p), XgbStrategy, RandomStrategy, SEEDS) for p in SPACES}


def test_there_are_five_spaces_of_two_thousand_valid_points():
    valid = {p.stem: int((RecordedSpace.load(p).seconds < float("inf")).sum()) for p in SPACES}
    assert len(valid) == 5
    assert min(valid.values()) >= 2000, valid


@pytest.mark.parametrize(("position", "trials"), [(0, 64), (1, 128)])
def test_model_is_at_least_as_good_as_chance_on_four_of_five(comparisons, position, trials):
    won = {name: c.first[position] >= c.second[position] for name, c in comparisons.items()}
    assert sum(won.values()) >= 4, (trials, won)


def test_model_needs_half_the_trials_to_95_percent_of_best(comparisons):
    ratio = exp(sum(log(c.ratio) for c in comparisons.values()) / len(comparisons))
    assert ratio >= 2.0, {name: round(c.ratio, 2) for name, c in comparisons.items()}
