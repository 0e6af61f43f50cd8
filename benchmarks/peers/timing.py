"""Times of calls from Python: batches long enough for the clock, short enough to fit between interruptions."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import repeat
from time import perf_counter

SETTLE_S = 1e-3  # of calls before a batch, for caches and clock


def batch(call: Callable[[], object], number: int) -> float:
    """Give the seconds of one call, the mean of `number`."""
    begin = perf_counter()
    for _ in repeat(None, number):
        call()
    return (perf_counter() - begin) / number


def calibrated(call: Callable[[], object], batch_s: float) -> int:
    """Give how many calls take about `batch_s`."""
    number = 1
    while True:
        spent = batch(call, number) * number
        if spent >= batch_s / 2:
            return max(1, round(number * batch_s / spent))
        number = math.ceil(number * min(10.0, 1.1 * batch_s / max(spent, 1e-9)))


def settled_batch(call: Callable[[], object], number: int) -> float:
    """Give the seconds of one call of a batch, after enough calls to bring its data and code back into the caches."""
    until = perf_counter() + SETTLE_S
    call()
    while perf_counter() < until:
        call()
    return batch(call, number)
