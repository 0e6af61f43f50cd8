"""What the driver and a competitor's process say to each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .operations import Operation


@dataclass(frozen=True, slots=True)
class Prepare:
    """A request to prepare an operation on random operands, in place of the last one."""

    workload: str
    operation: Operation
    seed: int
    batch_s: float


@dataclass(frozen=True, slots=True)
class Run:
    """A request to time one batch."""


@dataclass(frozen=True, slots=True)
class Started:
    """The answer to being started."""

    version: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The answer to `Prepare`: the fastest form, what it computed, and the calls in a batch."""

    form: str
    result: np.ndarray | None
    number: int
    work: float


@dataclass(frozen=True, slots=True)
class Sample:
    """The answer to `Run`: the seconds of one call."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no answer: the library is missing, cannot do it, or failed."""

    why: str


Answer = Started | Ready | Sample | Refused
