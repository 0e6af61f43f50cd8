"""`tvm.autotvm.tuner`: searching a task's space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ....autotune.autotvm_log import FAILED_S, error_number
from ....autotune.measure import MeasureOptions
from ....autotune.space import Config
from ....autotune.strategies.ga import GaStrategy
from ....autotune.strategies.grid import GridStrategy
from ....autotune.strategies.random import RandomStrategy
from ....autotune.strategies.xgb import XgbStrategy
from ....autotune.task import Task
from ....autotune.trial import Trial
from ....autotune.tuner import MakeStrategy, Progress, TuneResult
from ....autotune.tuner import Tuner as NativeTuner
from .measure import MeasureInput, MeasureResult, measure_option

__all__ = ["GATuner", "GridSearchTuner", "RandomTuner", "Tuner", "XGBTuner"]

Callback = Callable[["Tuner", list[MeasureInput], list[MeasureResult]], Any]


class Tuner:
    """Searches a task; the other classes differ in strategy.  TVM's own parameters of strategies have no effect.

    best_config  the best configuration so far
    best_flops   its rate, in operations per second
    result       what the last `tune` found, or None
    """

    strategy: MakeStrategy = XgbStrategy

    def __init__(self, task: Task, *_: object, seed: int = 0, **__: object) -> None:
        self.task, self.seed = task, seed
        self.best_config: Config | None = None
        self.best_flops = 0.0
        self.result: TuneResult | None = None

    def tune(
        self,
        n_trial: int,
        measure_option: MeasureOptions = measure_option(),  # noqa: B008  (options are immutable)
        early_stopping: int | None = None,
        callbacks: Sequence[Callback] = (),
        si_prefix: str = "G",
    ) -> None:
        """Measure up to `n_trial` configurations; each callback is called after each of them."""

        def after(progress: Progress) -> None:
            self._note(progress.best)
            given, result = self._measured(progress.trial)
            for callback in callbacks:
                callback(self, [given], [result])

        searcher = NativeTuner(self.task, type(self).strategy, measure_option, seed=self.seed)
        self.result = searcher.tune(n_trial, callbacks=(after,), early_stopping=early_stopping)
        self._note(self.result.best)

    def _note(self, best: Trial | None) -> None:
        if best is not None:
            self.best_config, self.best_flops = self.task.config_space.get(best.index), best.gflops * 1e9

    def _measured(self, trial: Trial) -> tuple[MeasureInput, MeasureResult]:
        costs = tuple(trial.seconds) or (FAILED_S,)
        given = MeasureInput(self.task.target, self.task, self.task.config_space.get(trial.index))
        return given, MeasureResult(costs, error_number(trial.status), sum(trial.seconds), trial.timestamp)


class XGBTuner(Tuner):
    """Searches with a cost model of boosted trees and simulated annealing."""

    strategy = XgbStrategy


class GATuner(Tuner):
    """Searches with a genetic algorithm."""

    strategy = GaStrategy


class RandomTuner(Tuner):
    """Measures configurations in random order."""

    strategy = RandomStrategy


class GridSearchTuner(Tuner):
    """Measures configurations in the order of their numbers."""

    strategy = GridStrategy
