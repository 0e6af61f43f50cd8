"""Candidates are timed while each thread has a processor, as far as patience goes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tilewright.autotune import pace
from tilewright.autotune import task as tasks
from tilewright.autotune.measure import MeasureOptions, Measurer
from tilewright.autotune.pace import Pace
from tilewright.autotune.requests import RunRequest, Stages
from tilewright.autotune.runner import Measured
from tilewright.autotune.space import Config
from tilewright.autotune.stages import task_stages
from tilewright.runtime.peak import fma_peak
from tilewright.runtime.timing import Timed

WHOLE_S, HALF_S = 50e-6, 100e-6


class Machine:
    """A clock that only the peak loop moves, and what a run of it takes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.half = range(0)  # runs of the loop, by number
        self.runs = 0

    def run_batch(self, call: Timed, number: int) -> float:
        seconds = number * (HALF_S if self.runs in self.half else WHOLE_S)
        self.runs += 1
        self.now += seconds
        return seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine()
    monkeypatch.setattr(pace, "run_batch", made.run_batch)
    monkeypatch.setattr(pace.time, "perf_counter", lambda: made.now)
    yield made


def test_batches_wait_until_each_thread_has_a_processor(machine: Machine) -> None:
    beside = Pace(fma_peak(2))
    machine.half = range(3, 40)
    seen = [beside.settle(machine.now + pace.PATIENCE_S) for _ in range(5)]
    assert seen == [WHOLE_S] * 5
    assert machine.runs == 5 + len(machine.half)


def test_what_is_never_left_alone_is_timed_again_but_not_for_ever(machine: Machine) -> None:
    beside = Pace(fma_peak(2))
    assert beside.settle(pace.PATIENCE_S) == WHOLE_S
    machine.half = range(1, 1 << 30)
    tries = 1
    while beside.worth_another_try(seen := beside.settle(machine.now + pace.PATIENCE_S)):
        tries += 1
    assert seen == HALF_S
    assert tries > 1
    assert machine.now < 3 * pace.PATIENCE_S


def test_one_thread_has_nothing_to_wait_for(machine: Machine) -> None:
    beside = Pace(fma_peak(1))
    machine.half = range(1, 1 << 30)
    assert [beside.settle(machine.now + pace.PATIENCE_S) for _ in range(3)] == [WHOLE_S, HALF_S, HALF_S]
    assert not beside.worth_another_try(HALF_S)


class Once:
    """One configuration to measure."""

    left_s = first_s = float("inf")

    def __init__(self, config: Config) -> None:
        self.left = [config]

    @property
    def exhausted(self) -> bool:
        return not self.left

    def take_config(self) -> Config | None:
        return self.left.pop() if self.left else None


def test_disturbed_trials_are_measured_again() -> None:
    task = tasks.create("matmul", (8, 8, 8))
    count = [0]

    def run(request: object) -> Measured:
        assert isinstance(request, RunRequest)
        count[0] += 1  # in the one worker that runs
        return Measured(request.built.index, seconds=(count[0] * 1e-6,), is_disturbed=count[0] < 3)

    stages = Stages(task_stages(task).build, run)
    with Measurer(task, MeasureOptions(pin=False), stages) as measurer:
        trials = list(measurer.stream(Once(task.config_space.default_config()), float("inf"), {}))
    assert [trial.seconds for trial in trials] == [[3e-6]]
