"""What a competitor is: something that prepares a call of an operation, in one form or several."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from .operations import Operation


@dataclass(frozen=True, slots=True)
class Form:
    """One way to call an operation, ready to be timed.

    name    what is special about it, "" where there is only one way
    call    does the work once, everything that can be prepared done before
    result  gives a copy of what the last call computed; None for what computes nothing
    work    operations or bytes of one call, where they are not the operation's
    """

    name: str
    call: Callable[[], object]
    result: Callable[[], np.ndarray | None]
    work: float = 0.0


class Competitor(Protocol):
    """A library, in a process of its own.

    version  of the library
    """

    version: str

    def forms(self, workload: str, operation: Operation, arrays: list[np.ndarray]) -> Iterator[Form]:
        """Give the forms in which it computes an operation on its operands; none where it cannot."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a competitor is made with: its threads, and the folder of exported kernels (of no meaning to others)."""

    threads: int
    folder: Path


ALGORITHMS = {f"ours_{a}": a for a in ("direct", "blocked", "pointwise", "winograd")}  # default schedules by one each
OURS = ("ours", "ours_untuned", *ALGORITHMS)
PLACES = {  # by name, the module and the class
    **dict.fromkeys(OURS, ("exported", "ExportedKernels")),
    "numpy": ("numpy_calls", "NumpyCalls"),
    "torch": ("torch_calls", "TorchCalls"),
    "onnxruntime": ("onnxruntime_sessions", "OnnxruntimeSessions"),
    "openvino": ("openvino_requests", "OpenvinoRequests"),
    "tvm": ("tvm_modules", "TvmModules"),
    "limit": ("machine_limits", "MachineLimits"),
}
LIMIT = "limit"
PEERS = tuple(name for name in PLACES if name not in (*OURS, LIMIT))


def competitor(name: str, surroundings: Surroundings) -> Competitor:
    """Give a competitor by name.  Raises ImportError where its library is not installed."""
    module, kind = PLACES[name]
    return getattr(importlib.import_module(f".competitors.{module}", __package__), kind)(surroundings)
