"""Figures of lowered candidates: they come from the screens, and a search that has them wastes less."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tilewright.autotune.build_cuda import screened
from tilewright.autotune.built import Progress
from tilewright.autotune.figures import Figures
from tilewright.autotune.model import StumpRanker
from tilewright.autotune.space import ConfigSpace
from tilewright.autotune.strategies.xgb import XgbStrategy
from tilewright.codegen.cuda.screens.screens import FEATURE_NAMES

from .gpu_template import transposition
from .synthetic import gemm_seconds, gemm_space

SHAPE = (512, 512, 512)


def test_figures_are_those_of_the_screens_and_nan_where_refused() -> None:
    task = transposition(1024)
    figures = Figures(task)
    columns = figures(range(4))
    assert figures.names == FEATURE_NAMES
    assert columns.shape == (4, len(FEATURE_NAMES))
    refused = np.isnan(columns).all(axis=1).tolist()
    assert refused == [True, False, True, True]  # 32-way conflicts, fine, and twice 1 MiB of shared memory
    main = screened(task, task.config_space.get(1), Progress()).main
    assert columns[1].tolist() == pytest.approx(list(main.features().values()))
    assert main.hot_conflict == 1.0 and main.coalescing == 1.0


def test_a_configuration_is_lowered_once() -> None:
    task = transposition(1024)
    figures = Figures(task)
    first = figures([1])
    task.template = None  # type: ignore[assignment]  # whoever instantiates again fails
    assert (figures([1, 1]) == np.vstack([first, first])).all()


def test_other_processes_give_the_same_figures() -> None:
    task = transposition(1024)
    figures = Figures(task, processes=2)
    try:
        assert np.array_equal(figures(range(8)), Figures(task)(range(8)), equal_nan=True)
    finally:
        figures.close()


def seconds_of(space: ConfigSpace, indices: Sequence[int]) -> np.ndarray:
    return gemm_seconds(space, space.matrix(indices), *SHAPE)


def space_with_figures(refuse_slower_than_s: float = np.inf) -> ConfigSpace:
    """Give a space whose figure is the logarithm of the time, and NaN for what is too slow."""
    space = gemm_space(*SHAPE)

    def figures(indices: Sequence[int]) -> np.ndarray:
        seconds = seconds_of(space, list(indices))
        known = np.isfinite(seconds) & (seconds <= refuse_slower_than_s)
        return np.where(known, np.log(np.where(known, seconds, 1.0)), np.nan)[:, None].astype(np.float32)

    space.figures = figures
    return space


def best_after(space: ConfigSpace, seed: int, trials: int) -> float:
    strategy, best = XgbStrategy(space, seed, ranker=StumpRanker), np.inf
    for _ in range(trials // 8):
        batch = strategy.propose(8)
        seconds = seconds_of(space, batch)
        strategy.observe(batch, seconds.tolist())
        best = min(best, float(seconds.min()))
    return best


def test_a_search_with_figures_that_tell_finds_faster_ones() -> None:
    plain = [best_after(gemm_space(*SHAPE), seed, 64) for seed in range(8)]
    told = [best_after(space_with_figures(), seed, 64) for seed in range(8)]
    assert np.mean(np.log(told)) < np.mean(np.log(plain))


def test_what_the_figures_refuse_is_not_proposed() -> None:
    space = space_with_figures(refuse_slower_than_s=5e-3)
    strategy = XgbStrategy(space, 0, epsilon=0.0, ranker=StumpRanker)
    first = strategy.propose(32)  # at random, nobody has asked for figures yet
    strategy.observe(first, seconds_of(space, first).tolist())
    for _ in range(6):
        batch = strategy.propose(8)
        seconds = seconds_of(space, batch)
        assert len(batch) == 8 and (seconds <= 5e-3).all()
        strategy.observe(batch, seconds.tolist())


def test_a_space_that_the_figures_refuse_altogether_is_still_searched() -> None:
    space = space_with_figures(refuse_slower_than_s=0.0)
    strategy = XgbStrategy(space, 0, ranker=StumpRanker)
    given: list[int] = []
    for _ in range(5):
        batch = strategy.propose(8)
        assert len(batch) == 8
        given += batch
        strategy.observe(batch, seconds_of(space, batch).tolist())
    assert len(set(given)) == len(given)
