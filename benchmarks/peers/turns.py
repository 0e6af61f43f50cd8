"""Turns: competitors prepare a workload, are checked, and run a batch each, round after round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter, sleep
from typing import Protocol

from .arrays import random_inputs
from .messages import Ready, Refused, Sample
from .operations import Workload
from .reference import reference

PAUSE_S = 5e-3  # before each batch: the last one's threads stop spinning
PATIENCE_S = 50e-3  # between looks at a machine that gives less than its processors
LEAST_ROUNDS = 3


class Runner(Protocol):
    """What takes turns: a `Process`."""

    name: str

    def prepare(self, workload: Workload, seed: int, batch_s: float) -> Ready | Refused:
        """Prepare a call, in place of the last one."""
        ...

    def run(self) -> Sample | Refused:
        """Time a batch of what is prepared."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How to measure.

    rounds   batches of each competitor
    batch_s  seconds of a batch, about; a longer call is a batch of its own
    most_s   seconds for all rounds of a workload, and for waiting: fewer rounds where they do not fit, but three
    seed     of the operands
    """

    rounds: int = 20
    batch_s: float = 2e-3
    most_s: float = 60.0
    seed: int = 0


@dataclass(slots=True)
class Entry:
    """What one competitor did on one workload.

    seconds  of one call, one mean for each round
    form     which of several ways to call the library
    error    as a multiple of what is allowed: at most 1, or it was not timed
    work     operations or bytes of one call, where the competitor is a limit
    note     why there are no times, or what is worth knowing about them
    build_s  of our kernels: from the template to a kernel that can be called
    """

    seconds: list[float] = field(default_factory=list)
    form: str = ""
    error: float = 0.0
    work: float = 0.0
    note: str = ""
    build_s: float = 0.0


def measure(
    workload: Workload, runners: Sequence[Runner], pace: Pace, whole: Callable[[], bool] = lambda: True
) -> dict[str, Entry]:
    """Give each runner's times on a workload; those whose result is wrong are not timed.

    The order turns by one each round, so that none always follows the same one.
    whole  tells whether the machine now gives each thread a processor: rounds before and after which it does count,
           all of them only where those are fewer than three
    """
    entries = {runner.name: Entry() for runner in runners}
    expected = reference(workload.operation, random_inputs(workload.operation, pace.seed))
    racing = []
    for runner in runners:
        ready = runner.prepare(workload, pace.seed, pace.batch_s)
        entry = entries[runner.name]
        match ready:
            case Refused(why):
                entry.note = why
            case Ready(form, result, _, work):
                entry.form, entry.work = form, work
                entry.error = expected.error(result) if result is not None else 0.0
                if entry.error <= 1:
                    racing.append(runner)
                else:
                    entry.note = f"wrong: {entry.error:.3g} times the allowed error"
    _race(racing, entries, pace, whole)
    return entries


def _race(racing: list[Runner], entries: dict[str, Entry], pace: Pace, whole: Callable[[], bool]) -> None:
    undisturbed: list[dict[str, float]] = []
    disturbed: list[dict[str, float]] = []
    until = perf_counter() + pace.most_s
    while racing and len(undisturbed) < pace.rounds:
        number = len(undisturbed) + len(disturbed)
        if number >= LEAST_ROUNDS and perf_counter() > until:
            break
        before = _waited(whole, until)
        first = number % len(racing)
        seconds = _round([*racing[first:], *racing[:first]], entries)
        (undisturbed if before and whole() else disturbed).append(seconds)
        racing = [runner for runner in racing if runner.name in seconds]
    enough = len(undisturbed) >= LEAST_ROUNDS
    for seconds in undisturbed if enough else [*undisturbed, *disturbed]:
        for name, each in seconds.items():
            entries[name].seconds.append(each)
    if disturbed and not enough:
        for name in disturbed[-1]:
            entries[name].note = "; ".join(
                filter(None, (entries[name].note, "the machine gave less than its processors"))
            )


def _round(runners: Sequence[Runner], entries: dict[str, Entry]) -> dict[str, float]:
    """Give the seconds of a batch of each; note why there are none."""
    seconds = {}
    for runner in runners:
        sleep(PAUSE_S)
        match runner.run():
            case Sample(each):
                seconds[runner.name] = each
            case Refused(why):
                entries[runner.name].note = why
    return seconds


def _waited(whole: Callable[[], bool], until: float) -> bool:
    """Wait for the machine; tell whether it is whole."""
    while not (is_whole := whole()) and perf_counter() < until:
        sleep(PATIENCE_S)
    return is_whole
