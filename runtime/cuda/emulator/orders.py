"""The orders in which an emulated launch can run its threads, and when its asynchronous operations happen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Order:
    """Which thread goes on when one has to wait; blocks and clusters follow the same order.

    number  the runtime's number of the order
    seed    of a random order
    """

    name: str
    number: int
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.name}({self.seed})" if self.number == RANDOM else self.name


RANDOM = 2
FORWARD = Order("forward", 0)
REVERSE = Order("reverse", 1)
LOW_WARPS_FIRST = Order("low warps first", 3)  # one warp runs as far as it can, then the next
HIGH_WARPS_FIRST = Order("high warps first", 4)


def shuffled(seed: int) -> Order:
    """Give the random order of a seed."""
    return Order("random", RANDOM, seed)


ORDERS = (FORWARD, REVERSE, shuffled(0), LOW_WARPS_FIRST, HIGH_WARPS_FIRST)


class Mode(Enum):
    """When copies and products that run on their own happen: as early as the hardware may, or as late."""

    EARLIEST = 0
    LATEST = 1


MODES = (Mode.EARLIEST, Mode.LATEST)
