"""Turns: competitors prepare a workload, are checked, and run a batch each, round after round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter, sleep
from typing import Protocol

from .arrays import random_inputs
from .messages import Ready, Refused, Sample
from .operations import Workload
from .reference import reference

PAUSE_S = 5e-3  # before each batch: the last one's threads stop spinning
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
    most_s   seconds for all rounds of a workload: fewer rounds where they do not fit, but three
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


def measure(workload: Workload, runners: Sequence[Runner], pace: Pace) -> dict[str, Entry]:
    """Give each runner's times on a workload; those whose result is wrong are not timed.

    The order turns by one each round, so that none always follows the same one.
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
    _race(racing, entries, pace)
    return entries


def _race(racing: list[Runner], entries: dict[str, Entry], pace: Pace) -> None:
    begin = perf_counter()
    for number in range(pace.rounds):
        if number >= LEAST_ROUNDS and perf_counter() - begin > pace.most_s:
            return
        first = number % max(1, len(racing))
        for runner in [*racing[first:], *racing[:first]]:
            sleep(PAUSE_S)
            match runner.run():
                case Sample(seconds):
                    entries[runner.name].seconds.append(seconds)
                case Refused(why):
                    entries[runner.name].note = why
        racing = [runner for runner in racing if len(entries[runner.name].seconds) == number + 1]
