"""Measuring a random part of a space once, so that strategies can be compared on it without measuring again."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..runtime.host import machine
from .measure import MeasureOptions, Measurer
from .replay import RecordedSpace
from .space import Config
from .strategies.random import RandomStrategy
from .task import Task
from .trial import Trial


class _Draws:
    """Random configurations, until enough of them proved valid, however long that takes."""

    left_s = first_s = math.inf

    def __init__(self, task: Task, valid_points: int, seed: int) -> None:
        self.space = task.config_space
        self.strategy = RandomStrategy(self.space, seed)
        self.missing = valid_points
        self.queue: list[int] = []
        self.empty = False

    @property
    def exhausted(self) -> bool:
        """Tell whether there are enough valid points, or no further configurations."""
        return self.missing <= 0 or (self.empty and not self.queue)

    def take_config(self) -> Config | None:
        """Give the next configuration."""
        if not self.queue:
            self.queue = self.strategy.propose(64)
            self.empty = not self.queue
        return self.space.get(self.queue.pop()) if self.queue and self.missing > 0 else None


def record_space(
    task: Task,
    valid_points: int,
    seed: int = 0,
    options: MeasureOptions | None = None,
    observe: Callable[[Trial], None] = lambda trial: None,
) -> RecordedSpace:
    """Measure random configurations until `valid_points` of them were valid; failures are kept, too."""
    draws = _Draws(task, valid_points, seed)
    costs: dict[int, float] = {}
    peaks: list[float] = []
    with Measurer(task, options or MeasureOptions()) as measurer:
        for trial in measurer.stream(draws, float("inf"), {}):
            costs[trial.index] = trial.cost_s
            draws.missing -= trial.median_s is not None
            peaks.append(trial.peak_gflops)
            observe(trial)
    about = {"name": task.name, "args": list(task.args), "threads": task.threads, "flop": task.flop}
    about |= {"machine": str(machine()), "peak_gflops": max(peaks, default=0.0)}
    return RecordedSpace.of(task.config_space, list(costs), list(costs.values()), **about)
