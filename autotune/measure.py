"""Building and measuring in worker processes: the next candidates are built while one is measured."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Protocol

from ..runtime.cuda.workers import device_workers
from ..runtime.host import cpu_count
from ..runtime.timing import Timing
from ..runtime.worker import Limits, Outcome, Reply, Ticket, Workers
from .built import Built
from .cores import divide_cores, pin
from .requests import BuildRequest, FinalRequest, RunRequest, Stages
from .runner import Measured
from .space import Config
from .stages import task_stages
from .task import Task
from .trial import Status, Trial

POLL_S = 0.002
FINAL_LEAST_S = 0.5  # for the rounds of the final re-measurement, however little is left
OPERATIONS_PER_S = 5e9  # by which the time to check and time a large candidate grows: four calls at 20e9
_BUILD_STATUS = {
    Outcome.ERROR: Status.CODEGEN,
    Outcome.CRASH: Status.LLVM_ABORT,
    Outcome.TRAP: Status.LLVM_ABORT,
    Outcome.ABORT: Status.LLVM_ABORT,
    Outcome.TIMEOUT: Status.COMPILE_TIMEOUT,
    Outcome.MEMORY: Status.MEMORY,
}
RUN_STATUS = {
    Outcome.ERROR: Status.CRASH,
    Outcome.CRASH: Status.CRASH,
    Outcome.TRAP: Status.CRASH,
    Outcome.ABORT: Status.CRASH,
    Outcome.TIMEOUT: Status.RUN_TIMEOUT,
    Outcome.MEMORY: Status.MEMORY,
}


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """How candidates are built and measured; set by people, never tuned.

    builders         processes that compile
    build_timeout_s  for one candidate at most; less once it is known what is usual: `patience` medians, but a second
    run_timeout_s    for checking and timing one candidate, at most, besides what its operations take at a slow
                     pace; an emulated one gets a multiple
    memory_bytes     address space of a worker
    max_spills       in the hot loop; more are a failure.  None for no limit
    ahead            candidates that may wait, built, for the runner
    pin              give the runner processors of its own, where there are enough
    rounds           of the final re-measurement, at most
    final_s          time for it, in seconds
    reference_s      for the right result: where all of it takes longer, whole rows and columns of it are compared
    """

    builders: int = 1
    build_timeout_s: float = 5.0
    patience: float = 20.0
    run_timeout_s: float = 5.0
    memory_bytes: int = 16 << 30
    max_spills: int | None = 0
    ahead: int = 6
    pin: bool = True
    rounds: int = 25
    final_s: float = 2.0
    reference_s: float = math.inf


class Source(Protocol):
    """Where candidates come from."""

    @property
    def exhausted(self) -> bool:
        """Tell whether there will be no further one."""
        ...

    @property
    def left_s(self) -> float:
        """Give the seconds left: candidates that wait when there are none are let go, one that runs is cut short."""
        ...

    @property
    def first_s(self) -> float:
        """Give the seconds that are left to the first valid candidate, without which there is no result."""
        ...

    def take_config(self) -> Config | None:
        """Give the next one, or None if there is none at the moment."""
        ...


@dataclass(slots=True)
class _Flight:
    """What is under way.

    cut_short  runs that get less time than a candidate may take, since no more is left
    """

    building: dict[Ticket, Config] = field(default_factory=dict)
    ready: deque[tuple[Config, Built]] = field(default_factory=deque)
    running: dict[Ticket, tuple[Config, Built]] = field(default_factory=dict)
    cut_short: set[Ticket] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.building) + len(self.ready) + len(self.running)


class Measurer:
    """Worker processes for one task.

    The reference answer is computed once, before the workers are forked, and shared with them.
    """

    def __init__(
        self,
        task: Task,
        options: MeasureOptions,
        stages: Stages | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Compute the right result and fork the workers; `tell` is told what takes a while."""
        self.options = options
        self._cores = divide_cores(task.threads) if options.pin and not task.device else None
        work = stages or task_stages(task, None, self._cores, options.reference_s, tell)
        self._efforts = work.efforts
        self._run_timeout_s = (options.run_timeout_s + task.flop / OPERATIONS_PER_S) * work.patience
        limits = Limits(address_space_bytes=options.memory_bytes)
        if work.device:
            self._exclusive = False
            self._runner = device_workers(work.run, work.device)
        else:
            self._exclusive = task.threads + options.builders > cpu_count()  # they would disturb each other
            self._runner = Workers(work.run, 1, limits)
        self._builder = Workers(work.build, options.builders, limits)
        self._build_s: deque[float] = deque(maxlen=64)
        self._before = pin(self._cores.others) if self._cores else None

    def __enter__(self) -> Measurer:
        return self

    def __exit__(self, *exc: object) -> None:
        self._runner.close()
        self._builder.close()
        if self._before:
            pin(self._before)

    def stream(self, source: Source, best_s: float, known: Mapping[str, Trial]) -> Iterator[Trial]:
        """Give the trial of each configuration of `source`, in the order in which they end.

        best_s  least seconds so far
        known   measured trials by the hash of their machine code: equal code is not measured again
        """
        flight, measured = _Flight(), dict(known)
        while True:
            if source.left_s <= 0:
                self._let_go(flight)
            self._feed(source, flight, best_s)
            if not len(flight) and source.exhausted:
                return
            for config, built in self._poll_builds(flight):
                if built.status is Status.OK:
                    flight.ready.append((config, built))
                else:
                    yield _failed(config, built)
            for config, built, result in self._poll_runs(flight):
                if result.is_disturbed:
                    flight.ready.appendleft((config, built))
                    continue
                trial = measured_trial(config.to_json(), built, result)
                measured[built.code_hash] = trial
                best_s = min(best_s, trial.cost_s)
                yield trial
            for config, built in _take_duplicates(flight, measured):
                yield _duplicate(config, built, measured[built.code_hash])

    @property
    def builds_of_each(self) -> int:
        """Give how many builds of a configuration `final` compares."""
        return len(self._efforts)

    def final(self, configs: Sequence[Config], left_s: float = math.inf) -> tuple[list[Trial], float]:
        """Build each at both efforts, check, and time all in turn; give their trials and the peak in GFLOP/s.

        left_s  for all of it, as far as that is enough
        Building stops after `final_s`, or half of what is left, but not before the first two are built.
        """
        kept: list[tuple[Config, Built, str]] = []
        began = time.monotonic()
        for place, config in enumerate(configs):
            if place >= 2 and time.monotonic() - began > min(self.options.final_s, left_s / 2):
                break
            for effort in self._efforts:
                reply = self._builder.call(BuildRequest(config, effort, None), self.options.build_timeout_s)
                if reply.ok and reply.value.status is Status.OK:
                    kept.append((config, reply.value, effort))
        budget_s = min(self.options.final_s, max(FINAL_LEAST_S, left_s - (time.monotonic() - began)))
        request = FinalRequest(tuple(b for _, b, _ in kept), self.options.rounds, budget_s)
        reply = self._runner.call(request, 10 * self.options.final_s + self._run_timeout_s * max(1, len(kept)))
        if not reply.ok:
            return [], 0.0
        results: list[Measured] = reply.value
        pairs = zip(kept, results, strict=True)
        trials = [replace(measured_trial(c.to_json(), b, m), phase="final", effort=e) for (c, b, e), m in pairs]
        return trials, max((m.peak_gflops for m in results), default=0.0)

    # -- the two queues -----------------------------------------------------------------------------------------

    def _feed(self, source: Source, flight: _Flight, best_s: float) -> None:
        may_run = not (self._exclusive and flight.building)
        if flight.ready and not flight.running and may_run:
            config, built = flight.ready.popleft()
            timeout_s = min(self._run_timeout_s, max(1.0, 500 * best_s))
            allowed_s = max(1.0, source.left_s if best_s < math.inf else source.first_s)
            ticket = self._runner.submit(RunRequest(built, best_s, source.left_s), min(timeout_s, allowed_s))
            flight.running[ticket] = (config, built)
            if allowed_s < timeout_s:
                flight.cut_short.add(ticket)
        if self._exclusive and (flight.running or flight.ready):
            return
        room = self.options.ahead - len(flight.ready) - len(flight.building)
        if not self._exclusive:
            room = min(room, 2 * self.options.builders - len(flight.building))
        while room > 0 and (config := source.take_config()) is not None:
            request = BuildRequest(config, "quick", self.options.max_spills)
            flight.building[self._builder.submit(request, self._build_timeout_s())] = config
            room -= 1

    def _let_go(self, flight: _Flight) -> None:
        """Forget what is not running yet."""
        flight.ready.clear()
        flight.building.clear()
        self._builder.forget_queued()

    def _poll_builds(self, flight: _Flight) -> list[tuple[Config, Built]]:
        if not flight.building:
            return []
        replies = self._builder.poll(0.0 if flight.running else POLL_S)
        self._build_s.extend(reply.wall_s for _, reply in replies if reply.ok)
        done = [(flight.building.pop(t, None), reply) for t, reply in replies]
        return [(config, _built(config, reply)) for config, reply in done if config is not None]

    def _build_timeout_s(self) -> float:
        if len(self._build_s) < 8:
            return self.options.build_timeout_s
        return min(self.options.build_timeout_s, max(1.0, self.options.patience * median(self._build_s)))

    def _poll_runs(self, flight: _Flight) -> list[tuple[Config, Built, Measured]]:
        if not flight.running:
            if not flight.building:
                time.sleep(POLL_S)  # a strategy is thinking
            return []
        ended = []
        for ticket, reply in self._runner.poll(POLL_S):
            config, built = flight.running.pop(ticket)
            if ticket not in flight.cut_short or reply.outcome is not Outcome.TIMEOUT:  # with more time it may be good
                ended.append((config, built, _measured(config, reply)))
        return ended


# -- from replies to trials ---------------------------------------------------------------------------------------


def _built(config: Config, reply: Reply) -> Built:
    if reply.ok:
        return reply.value
    return Built(config.index or 0, _BUILD_STATUS[reply.outcome], error=reply.text)


def _measured(config: Config, reply: Reply) -> Measured:
    if reply.ok:
        return reply.value
    return Measured(config.index or 0, RUN_STATUS[reply.outcome], error=reply.text)


def _failed(config: Config, built: Built) -> Trial:
    entities: Any = config.to_json()
    return Trial(built.index, built.status, entities, built.steps, error=built.error, code_hash=built.code_hash)


def _duplicate(config: Config, built: Built, twin: Trial) -> Trial:
    entities: Any = config.to_json()
    return replace(twin, index=built.index, entities=entities, steps=built.steps, duplicate=True)


def _take_duplicates(flight: _Flight, measured: Mapping[str, Trial]) -> list[tuple[Config, Built]]:
    same = [pair for pair in flight.ready if pair[1].code_hash in measured]
    if same:
        flight.ready = deque(pair for pair in flight.ready if pair[1].code_hash not in measured)
    return same


def measured_trial(entities: Any, built: Built, result: Measured) -> Trial:
    """Give the trial of a configuration, whose decisions are `entities`, that was built and run."""
    timing = Timing(result.seconds) if result.seconds else None
    return Trial(
        built.index,
        result.status,
        entities,
        built.steps,
        list(result.seconds),
        timing.median if timing else None,
        timing.interval() if timing else None,
        result.error,
        result.max_rel_error,
        peak_gflops=result.peak_gflops,
        code_hash=built.code_hash,
    )
