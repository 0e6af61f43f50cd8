"""Search strategies: nothing twice, small spaces to the end, and better than chance where there is a pattern."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from tilewright.autotune.model import StumpRanker
from tilewright.autotune.replay import RecordedSpace, compare, replay
from tilewright.autotune.space import ConfigSpace
from tilewright.autotune.strategies.ga import GaStrategy
from tilewright.autotune.strategies.grid import GridStrategy
from tilewright.autotune.strategies.random import RandomStrategy
from tilewright.autotune.strategies.strategy import Strategy
from tilewright.autotune.strategies.xgb import XgbStrategy
from tilewright.ir.errors import RecordError

from .synthetic import gemm_recorded, gemm_seconds, gemm_space

SHAPES = ((512, 512, 512), (784, 128, 1152), (196, 256, 2304), (128, 768, 768), (3136, 64, 576))
ALL: dict[str, Callable[[ConfigSpace, int], Strategy]] = {
    "random": RandomStrategy,
    "grid": GridStrategy,
    "ga": GaStrategy,
    "xgb": XgbStrategy,
    "stumps": lambda space, seed: XgbStrategy(space, seed, ranker=StumpRanker),
}

gemm = cache(gemm_recorded)


def small_space() -> ConfigSpace:
    space = ConfigSpace()
    space.define_split("m", 16, num_outputs=2)
    space.define_split("n", 32, num_outputs=2)
    space.define_knob("unroll", [1, 2, 4, 8])
    space.restrict(lambda m, n: m.size[-1] * n.size[-1] <= 64, "m", "n")
    return space


@pytest.mark.parametrize("name", ALL)
def test_small_spaces_are_exhausted_without_repetition(name: str) -> None:
    space = small_space()
    strategy = ALL[name](space, 1)
    given: list[int] = []
    while batch := strategy.propose(7):
        given += batch
        strategy.observe(batch, [1e-3 * (1 + i % 13) if i % 5 else float("inf") for i in batch])
    assert len(given) == len(set(given)) == space.valid_count
    assert all(space.is_valid_index(i) for i in given)


@pytest.mark.parametrize("name", ["random", "ga", "xgb"])
def test_large_spaces_give_full_valid_batches(name: str) -> None:
    space = gemm_space(784, 128, 1152)
    strategy = ALL[name](space, 1)
    given: list[int] = []
    for _ in range(6):
        batch = strategy.propose(32)
        assert len(batch) == 32
        given += batch
        strategy.observe(batch, gemm_seconds(space, space.matrix(batch), 784, 128, 1152).tolist())
    assert len(set(given)) == len(given)
    assert space.valid(space.matrix(given)).all()


@pytest.mark.parametrize("name", ALL)
def test_equal_seeds_give_equal_searches(name: str) -> None:
    curves = [replay(gemm(*SHAPES[0]), ALL[name](gemm(*SHAPES[0]).space, 5), 96) for _ in range(2)]
    assert (curves[0] == curves[1]).all()


@pytest.mark.parametrize("name", ALL)
def test_what_was_observed_is_not_proposed(name: str) -> None:
    space = small_space()
    strategy = ALL[name](space, 0)
    known = [int(i) for i in next(space.valid_indices())][::2]
    strategy.observe(known, [1.0] * len(known))
    given: list[int] = []
    while batch := strategy.propose(16):
        given += batch
    assert not set(given) & set(known)
    assert len(given) + len(known) == space.valid_count


def test_a_search_of_failures_goes_on() -> None:
    space = gemm_space(512, 512, 512)
    strategy = XgbStrategy(space, 0)
    for _ in range(5):
        batch = strategy.propose(16)
        strategy.observe(batch, [float("inf")] * 16)
    assert len(strategy.propose(16)) == 16


def test_seeds_come_first() -> None:
    space = gemm_space(512, 512, 512)
    seeds = [int(i) for i in space.indices(space.sample(3, np.random.default_rng(0)))]
    assert XgbStrategy(space, 0, seeds=seeds).propose(16)[:3] == seeds


@pytest.mark.parametrize("name", ["xgb", "stumps"])
def test_model_search_beats_random_on_five_spaces(name: str) -> None:
    results = [compare(gemm(*shape), ALL[name], RandomStrategy, range(10), limit=512) for shape in SHAPES]
    ahead = [all(a >= b for a, b in zip(r.first, r.second, strict=True)) for r in results]
    ratio = float(np.exp(np.mean([np.log(r.ratio) for r in results])))
    assert sum(ahead) >= 4
    assert ratio >= 2


def test_annealing_over_the_whole_space_beats_random() -> None:
    """The space has 600,000 configurations, so the model is searched by annealing, not by listing."""
    space, shape = gemm_space(784, 128, 1152), (784, 128, 1152)
    best = {}
    for name in ("xgb", "random"):
        found = []
        for seed in range(5):
            strategy = ALL[name](space, seed)
            costs: list[float] = []
            for _ in range(8):
                batch = strategy.propose(16)
                measured = gemm_seconds(space, space.matrix(batch), *shape).tolist()
                strategy.observe(batch, measured)
                costs += measured
            found.append(min(costs))
        best[name] = np.median(found)
    assert best["xgb"] < 0.95 * best["random"]


def test_recorded_spaces_survive_their_file(tmp_path: object) -> None:
    recorded = gemm(*SHAPES[1])
    recorded.save(tmp_path / "space.npz")  # type: ignore[operator]
    loaded = RecordedSpace.load(tmp_path / "space.npz")  # type: ignore[operator]
    assert (loaded.indices == recorded.indices).all()
    assert np.allclose(loaded.seconds, recorded.seconds, rtol=1e-6)  # stored as float32
    assert loaded.space.fingerprint == recorded.space.fingerprint == gemm_space(*SHAPES[1]).fingerprint
    assert replay(loaded, XgbStrategy(loaded.space, 0), 64)[-1] < np.inf


def test_other_files_are_no_recorded_spaces(tmp_path: object) -> None:
    path = tmp_path / "space.npz"  # type: ignore[operator]
    path.write_text("no")
    with pytest.raises(RecordError, match="not a recorded space"):
        RecordedSpace.load(path)
