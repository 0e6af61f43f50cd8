"""Processors for what is timed, apart from those for everything else."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """Processors of the runner, and those of everything else."""

    runner: frozenset[int]
    others: frozenset[int]


def divide_cores(threads: int) -> Cores | None:
    """Give the runner the last `threads` processors, if at least one other is left and the system can."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) <= threads:
        return None
    return Cores(frozenset(mine[-threads:]), frozenset(mine[:-threads]))


def pin(cores: frozenset[int]) -> frozenset[int]:
    """Bind this thread to processors; give those it had."""
    before = frozenset(os.sched_getaffinity(0))
    if before != cores:
        os.sched_setaffinity(0, cores)
    return before
