"""What worker processes are asked to do, and the functions that do it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .built import Built
from .space import Config


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A configuration to compile; see `BuildOptions`."""

    config: Config
    effort: str
    max_spills: int | None


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A candidate to check and time.

    best_s  least seconds so far
    left_s  of the search
    """

    built: Built
    best_s: float
    left_s: float = math.inf


@dataclass(frozen=True, slots=True)
class FinalRequest:
    """Candidates to check and time in turn."""

    built: tuple[Built, ...]
    rounds: int
    budget_s: float


BuildWork = Callable[[BuildRequest], Built]
RunWork = Callable[..., Any]  # a RunRequest gives a Measured, a FinalRequest a list of them


@dataclass(frozen=True)
class Stages:
    """The two functions that workers run; tests put in faulty ones.

    run      takes a request; where there is a device, that and a request
    device   what runs candidates, as `runtime.cuda.devices.device` names it; "" for this machine's processors, which
             builders then leave alone
    efforts  of the builds that are compared at the end
    patience what limits on the time of a run are multiplied by
    """

    build: BuildWork
    run: RunWork
    device: str = ""
    efforts: tuple[str, ...] = ("quick", "full")
    patience: float = 1.0
