"""How long it takes to check a candidate in the emulator, and from where on that is too long."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..ir.arith import int_value
from ..ir.errors import TuneError
from ..runtime.cuda.emulator.orders import MODES, ORDERS
from ..te.tensor import Tensor
from .task import Task

FLOP_PER_S = 4e7  # of one run: the least of what untuned schedules of products reach on a core of today
BYTES_PER_S = 1e7  # the same for reductions, whose every element is one access
MOST_S = 60.0  # that one candidate may take


def call_bytes(tensors: Sequence[Tensor]) -> int:
    """Give the least that a call moves: each input read once, each output written once, in bytes."""
    return sum(prod(int_value(size) or 0 for size in t.shape) * t.dtype.bytes for t in tensors)


def check_seconds(task: Task) -> float:
    """Give about how many seconds one candidate takes in the emulator, in every order of threads.

    A kernel with asynchronous operations is run in each order twice, so up to twice as long.
    """
    once_s = max(task.flop / FLOP_PER_S, call_bytes(task.tensors) / BYTES_PER_S)
    return len(ORDERS) * once_s


def require_emulable(task: Task) -> None:
    """Raise TuneError where checking one candidate in the emulator takes too long."""
    seconds = check_seconds(task)
    if seconds > MOST_S:
        runs = f"{len(ORDERS)} orders of threads, and as many again where copies are asynchronous ({len(MODES)} modes)"
        fact = (
            f"one candidate of {task.name} takes about {seconds:,.0f} s in the emulator ({runs}), at most {MOST_S:.0f}"
        )
        share = MOST_S / seconds
        advice = (
            f"a --shape with {share:.2g} of these {task.flop:.3g} operations, which has the same knobs; "
            "or --build-only, and `autotune measure` on a machine with a GPU"
        )
        raise TuneError("emulate", fact, advice=advice)
