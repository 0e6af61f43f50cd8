"""Times of calls from Python: batches long enough for the clock, short enough to fit between interruptions."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import repeat
from resource import RUSAGE_SELF, getrusage
from time import perf_counter, process_time, sleep

SETTLE_S = 1e-3  # of calls before a batch, for caches and clock
WAKE_S = 2e-3  # more of them with several threads, which sleep between batches
ATTEMPTS = 10
REST_S = 1e-3  # between attempts: who has slept is let run for a while, mostly some milliseconds
SHORT_S = 20e-3  # batches beyond are hardly ever left in peace: one attempt


def batch(call: Callable[[], object], number: int) -> float:
    """Give the seconds of one call, the mean of `number`."""
    begin = perf_counter()
    for _ in repeat(None, number):
        call()
    return (perf_counter() - begin) / number


def calibrated(call: Callable[[], object], batch_s: float) -> int:
    """Give how many calls take about `batch_s`; the first call, which may prepare more, is not counted."""
    call()
    number = 1
    while True:
        spent = number * batch(call, number)
        if spent < SHORT_S:  # again, lest an interruption is taken for work
            spent = min(spent, number * batch(call, number), number * batch(call, number))
        if spent >= batch_s / 2:
            return max(1, round(number * batch_s / spent))
        number = math.ceil(number * min(10.0, 1.1 * batch_s / max(spent, 1e-9)))


def settle(call: Callable[[], object], seconds: float) -> None:
    """Call for some time, and at least once."""
    until = perf_counter() + seconds
    call()
    while perf_counter() < until:
        call()


def undisturbed_batch(call: Callable[[], object], number: int, threads: int) -> float:
    """Give the seconds of one call of a batch in which the system took no processor away from this process.

    After `ATTEMPTS` batches the one with the fewest interruptions counts, the first of them.  With one thread the time
    is then that of the processor, if it is less: it stands still while others run.
    """
    best_count, best_s = math.inf, math.inf
    for _ in range(ATTEMPTS):
        settle(call, SETTLE_S if threads == 1 else SETTLE_S + WAKE_S)
        interrupted, spent = interruptions(), process_time()
        seconds = batch(call, number)
        interrupted, spent = interruptions() - interrupted, process_time() - spent
        if interrupted < best_count:
            best_count = interrupted
            best_s = min(seconds, spent / number) if interrupted and threads == 1 else seconds
        if interrupted == 0 or seconds * number > SHORT_S:
            break
        sleep(REST_S)
    return best_s


def interruptions() -> int:
    """Give how often the system took a processor away from a thread of this process so far."""
    return getrusage(RUSAGE_SELF).ru_nivcsw
