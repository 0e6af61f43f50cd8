"""The search: strategy, measurement and records joined."""

from __future__ import annotations

import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import ceil
from numbers import Real
from typing import TYPE_CHECKING

from ..ir.errors import TuneError
from .history import config_of
from .measure import FINAL_LEAST_S, MeasureOptions, Measurer, Stages
from .records import Records, TaskRow
from .space import Config, ConfigSpace
from .strategies.strategy import Strategy, batch_size
from .strategies.xgb import XgbStrategy
from .task import Task
from .trial import Status, Trial

if TYPE_CHECKING:
    from .figures import Figures

MakeStrategy = Callable[[ConfigSpace, int], Strategy]
FINALISTS = 4  # configurations measured again at the end
LOW_WATER = 5  # configurations left when the strategy begins to think of the next
THINKING_SHARE = 0.1  # of the time, for strategy, features and model: proposals are made in batches that large
LARGEST_BATCH = 64
FINAL_SHARE = 0.1  # of the time allowed, kept for that, and FINAL_LEAST_S more
FINAL_CALLS = 2  # that a build takes at least there: one is checked, one timed
FINAL_MOST = 0.25  # of the time allowed, kept for calls that take long
REFERENCE_SHARE = 0.1  # of the time allowed, for the right result
HOPELESS = 64  # trials that all fail with the same words, after which a search without a valid one ends
SEEDS = 8  # best configurations of other shapes and machines to begin with


@dataclass(frozen=True)
class TuneResult:
    """What a search found.

    best       the fastest by the final re-measurement, or by the search where no time was left for that; None if
               nothing was valid
    default    the untuned configuration, measured alongside; None if it is not valid
    history    all trials of the search, those known from the records first
    new        how many of them this run added
    wall_s     from start to end
    search_s   of which in strategy, features and model
    key        of the records
    interrupted  whether Ctrl-C ended the search
    """

    best: Trial | None
    default: Trial | None
    history: Sequence[Trial]
    new: int
    wall_s: float
    search_s: float
    peak_gflops: float
    key: str
    interrupted: bool = False

    @property
    def counts(self) -> Mapping[Status, int]:
        """Give the number of trials by outcome."""
        return Counter(t.status for t in self.history)

    @property
    def valid(self) -> int:
        """Give the number of distinct verified trials; those of equal machine code count once."""
        return sum(1 for t in self.history if t.status is Status.OK and not t.duplicate)

    @property
    def search_share(self) -> float:
        """Give the share of the wall time that went into deciding what to try."""
        return self.search_s / self.wall_s if self.wall_s else 0.0

    @property
    def trials_per_s(self) -> float:
        """Give the trials that this run added per second of wall time."""
        return self.new / self.wall_s if self.wall_s else 0.0

    @property
    def peak_fraction(self) -> float:
        """Give the best rate as a share of the peak measured next to it."""
        return self.best.gflops / self.peak_gflops if self.best and self.peak_gflops else 0.0


@dataclass
class Progress:
    """What a callback is given after each trial.

    trial      the one that just ended
    done       trials so far, known ones included
    best       least seconds so far, infinite before the first valid one
    elapsed_s  since the start
    """

    trial: Trial
    done: int
    best: Trial | None
    counts: Mapping[Status, int]
    elapsed_s: float
    n_trial: int | None
    time_s: float | None


Callback = Callable[[Progress], None]


@dataclass
class Tuner:
    """Searches one task.

    strategy  makes the strategy from the space and a seed
    records   where trials go, and where earlier ones of the same key come from; None keeps nothing
    seed      of the strategy; the inputs of the kernel are always the same
    stages    what the worker processes run; by default real building and measuring
    tell      is told, in a sentence, what takes a while before the first trial
    """

    task: Task
    strategy: MakeStrategy = XgbStrategy
    options: MeasureOptions = field(default_factory=MeasureOptions)
    records: Records | None = None
    seed: int = 0
    session: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    stages: Stages | None = None
    tell: Callable[[str], None] = lambda _: None

    def tune(
        self,
        n_trial: int | None = None,
        time_s: float | None = None,
        callbacks: Sequence[Callback] = (),
        early_stopping: int | None = None,
    ) -> TuneResult:
        """Search until one of the limits; at least one must be given.

        n_trial         trials in all, those known from the records included
        time_s          wall time of this call, the final re-measurement included; the first valid trial may take as
                        long again
        early_stopping  trials without a better one
        Ctrl-C ends the search as a limit does.  Raises TuneError without a limit, and for one that is no number.
        """
        _check_limits({"n_trial": n_trial, "time_s": time_s, "early_stopping": early_stopping})
        started = time.monotonic()
        search = _Search(self, started, n_trial, time_s, early_stopping, tuple(callbacks))
        try:
            finals, peak = self._run(search)
        finally:
            search.close()
        measured = [t for t in finals if t.median_s] or [t for t in search.history if t.median_s]
        best = min(measured, key=lambda t: t.median_s or 0.0, default=None)
        defaults = [t for t in measured if t.index == self.task.untuned.index]
        default = min(defaults, key=lambda t: t.median_s or 0.0, default=None)
        peak = peak or (best.peak_gflops if best else 0.0)
        wall_s = time.monotonic() - started
        key = self.task.key.digest
        thought_s, interrupted = search.search_s, search.interrupted
        return TuneResult(best, default, search.history, search.new, wall_s, thought_s, peak, key, interrupted)

    def _run(self, search: _Search) -> tuple[list[Trial], float]:
        options = self.options
        if search.time_s is not None:
            options = replace(options, reference_s=min(options.reference_s, REFERENCE_SHARE * search.time_s))
        with Measurer(self.task, options, self.stages, self.tell) as measurer:
            try:
                for trial in measurer.stream(search, search.best_s, search.known_code()):
                    search.take(trial)
            except KeyboardInterrupt:
                search.interrupted = True  # what was measured is kept, and the best of it measured again
            return search.finish(measurer)


class _Search:
    """One call of `tune`: what to try next, and what came of it."""

    def __init__(
        self,
        tuner: Tuner,
        started: float,
        n_trial: int | None,
        time_s: float | None,
        early_stopping: int | None,
        callbacks: tuple[Callback, ...],
    ) -> None:
        self.tuner, self.space = tuner, tuner.task.config_space
        self.started, self.n_trial, self.time_s = started, n_trial, time_s
        self.early_stopping, self.callbacks = early_stopping, callbacks
        self.search_s = self._thought_s = 0.0
        self.history: list[Trial] = []
        self.interrupted = False
        self.best: Trial | None = None
        self.new = self._given = self._idle = 0
        self._counts: Counter[Status] = Counter()
        self._queue: deque[int] = deque()
        self._errors: deque[str] = deque(maxlen=HOPELESS)
        self._unlearned: list[Trial] = []
        self._thread = ThreadPoolExecutor(1)  # workers are forked by processes of their own: a thread is safe here
        self._thinking: Future[list[int]] | None = None
        self._empty = False
        self.figures = _figures(tuner) if tuner.task.target.kind == "cuda" else None
        self.space.figures = self.figures
        self.strategy = tuner.strategy(self.space, tuner.seed)
        self._begin()

    def _begin(self) -> None:
        records, key = self.tuner.records, self.tuner.task.key
        known: dict[int, Trial] = {}
        if records is not None:
            task = self.tuner.task
            records.add_task(TaskRow(key, task.name, task.args, task.flop))
            known = records.known(key)
            self._queue.extend(i for i in self._seeds(records) if i not in known)
        for trial in known.values():
            self._note(trial)
        self.strategy.observe(list(known), [t.cost_s for t in known.values()])
        first = [i for i in (self.tuner.task.untuned.index, self.space.default) if i is not None]
        self._queue = deque(dict.fromkeys(i for i in (*first, *self._queue) if i not in known))
        self.strategy.observe(list(self._queue), [float("inf")] * len(self._queue))  # corrected when measured
        self._given = len(known)
        self._idle = 0

    def _seeds(self, records: Records) -> list[int]:
        """Give the best recorded configurations of other shapes and machines, as far as this space has them."""
        key = self.tuner.task.key
        others = [t.key for t in records.tasks() if t.key.template == key.template and t.key != key]
        seeds: dict[int, None] = {}
        for other in sorted(others, key=lambda k: len(key.differences(k))):
            best = records.best(other)
            index = self.space.find(config_of(best).entities) if best else None
            if index is not None and self.space.is_valid_index(index):
                seeds[index] = None
        return list(seeds)[:SEEDS]

    def known_code(self) -> dict[str, Trial]:
        """Give the trials known from the records by the hash of their machine code."""
        return {t.code_hash: t for t in self.history if t.code_hash and not t.duplicate}

    @property
    def best_s(self) -> float:
        """Give the least seconds so far, infinite before the first valid trial."""
        return self.best.cost_s if self.best else float("inf")

    @property
    def exhausted(self) -> bool:
        """Tell whether a limit is reached, or nothing is left to try."""
        return self._over() or (self._empty and not self._queue)

    def take_config(self) -> Config | None:
        """Give what to try next; None while the strategy is thinking, and when the search is over."""
        if self._over():
            return None
        if len(self._queue) <= LOW_WATER and not self._thinking and not self._empty:
            self._thinking = self._thread.submit(self._propose)
        if self._thinking and self._thinking.done():
            self._queue.extend(self._thinking.result())
            self._thinking = None
            self._tell()
        if not self._queue:
            return None
        self._given += 1
        return self.space.get(self._queue.popleft())

    def _propose(self) -> list[int]:
        began = time.monotonic()
        proposed = self.strategy.propose(max(batch_size(self._given), self._affordable()))
        self._thought_s = time.monotonic() - began
        self.search_s += self._thought_s
        self._empty = not proposed
        return proposed

    def _affordable(self) -> int:
        """Give the least batch for which thinking as long as last time takes no more than its share of the time."""
        trial_s = (time.monotonic() - self.started) / max(1, self.new)
        return min(LARGEST_BATCH, ceil(self._thought_s / (THINKING_SHARE * trial_s)))

    def _tell(self) -> None:
        """Let the strategy learn what came meanwhile; never while it is thinking."""
        if self._unlearned and not self._thinking:
            self.strategy.observe([t.index for t in self._unlearned], [t.cost_s for t in self._unlearned])
            self._unlearned.clear()

    def take(self, trial: Trial) -> None:
        """Record a trial, tell the strategy, and call back."""
        trial = replace(trial, session=self.tuner.session, seed=self.tuner.seed, timestamp=time.time())
        if trial.median_s:
            trial = replace(trial, gflops=self.tuner.task.gflops(trial.median_s))
        if self.tuner.records is not None:
            self.tuner.records.add(self.tuner.task.key, trial)
        self._unlearned.append(trial)
        self._tell()
        self.new += 1
        self._note(trial)
        done, elapsed_s = len(self.history), time.monotonic() - self.started
        progress = Progress(trial, done, self.best, self._counts, elapsed_s, self.n_trial, self.time_s)
        for callback in self.callbacks:
            callback(progress)

    def finish(self, measurer: Measurer) -> tuple[list[Trial], float]:
        """Measure the best few again, in turn, with the default and with builds at full effort."""
        ranked = sorted((t for t in self.history if t.median_s and not t.duplicate), key=lambda t: t.cost_s)
        chosen = [t.index for t in ranked[:FINALISTS]]
        default = self.tuner.task.untuned.index
        measured = [t.index for t in self.history if t.index == default and t.median_s]
        chosen = self._affordable_finals(dict.fromkeys([*chosen[:1], *measured[:1], *chosen]), measurer.builds_of_each)
        finals, peak = measurer.final([self.space.get(i) for i in chosen], self._until_s) if chosen else ([], 0.0)
        session, seed = self.tuner.session, self.tuner.seed
        done = [
            replace(t, session=session, seed=seed, timestamp=time.time(), gflops=self.tuner.task.gflops(t.median_s))
            for t in finals
            if t.median_s
        ]
        if self.tuner.records is not None:
            for trial in done:
                self.tuner.records.add(self.tuner.task.key, trial)
        return done, peak

    def _affordable_finals(self, ranked: Collection[int], builds: int) -> list[int]:
        """Give the first of these configurations, as many as there is time for to measure again."""
        cost_s = {t.index: t.cost_s for t in self.history if t.median_s}
        needed_s = accumulate(FINAL_CALLS * builds * cost_s[index] for index in ranked)
        left_s = self._until_s
        return [index for index, total_s in zip(ranked, needed_s, strict=True) if total_s <= left_s]

    def close(self) -> None:
        """Wait for the strategy's thread, and write what is pending."""
        self._thread.shutdown(wait=True)
        if self.figures is not None:
            self.figures.close()
        if self.tuner.records is not None:
            self.tuner.records.flush()

    def _note(self, trial: Trial) -> None:
        self.history.append(trial)
        self._errors.append(trial.error)
        self._counts[trial.status] += 1
        self._idle += 1
        if trial.cost_s < (self.best.cost_s if self.best else float("inf")):
            self.best, self._idle = trial, 0

    def _over(self) -> bool:
        if self.n_trial is not None and self._given >= self.n_trial:
            return True
        if self.early_stopping is not None and self._idle >= self.early_stopping:
            return True
        if self.best is None and self.new >= HOPELESS and len(set(self._errors)) == 1:
            return True  # not the candidates are at fault
        return self.left_s <= 0

    @property
    def _until_s(self) -> float:
        """Give the seconds until the time is up; the least that is enough for what takes no time where it is."""
        if self.time_s is None:
            return float("inf")
        return max(FINAL_LEAST_S, self.started + self.time_s - time.monotonic())

    @property
    def first_s(self) -> float:
        """Give the seconds left to the first valid trial: as much time again as was given."""
        return self._until_s + (self.time_s or 0.0)

    @property
    def left_s(self) -> float:
        """Give the seconds left for the search: some of the time is kept for the final measurement."""
        if self.time_s is None:
            return float("inf")
        kept_s = min(FINAL_SHARE * self.time_s, 2 * self.tuner.options.final_s) + FINAL_LEAST_S
        if self.best is not None:
            kept_s = max(kept_s, min(4 * FINAL_CALLS * self.best.cost_s, FINAL_MOST * self.time_s))
        return self.started + self.time_s - kept_s - time.monotonic()


def _check_limits(limits: Mapping[str, float | None]) -> None:
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if not given:
        raise TuneError("tune", "no limit is given", advice="n_trial=, time_s= or early_stopping=")
    for name, limit in given.items():
        if not isinstance(limit, Real):
            raise TuneError("tune", f"{name}={limit!r} is a {type(limit).__name__}", advice=f"a number: {name}=100")


def _figures(tuner: Tuner) -> Figures:
    from .figures import Figures  # most programs need none of it

    return Figures(tuner.task, tuner.options.builders)
