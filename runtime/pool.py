"""Settings of the thread pool that parallel loops run on.

They hold for the whole process, loaded libraries included.  The number of threads is at first the environment's
TILEWRIGHT_NUM_THREADS, or else the number of processors that the process may run on; `kernel(..., threads=n)` overrides
it for one call.  The pool starts its workers when it first needs them, and again in a forked child.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from operator import index
from typing import SupportsIndex

from ..ir.errors import ArgumentError
from .library import Library, library
from .pool_text import MAX_THREADS

_settings: dict[str, int] = {}  # function of the library -> what it was last given
_others: list[Library] = []


class Placement(Enum):
    """Where workers run: SPREAD ones begin on processors of their own and may be moved, PINNED ones stay there."""

    FREE = 0
    SPREAD = 1
    PINNED = 2


def num_threads() -> int:
    """Give the number of threads that a parallel loop of a kernel uses, the caller's own included."""
    return library().functions["tilewright_get_num_threads"]()


def set_num_threads(threads: int) -> None:
    """Let parallel loops use up to `threads` threads, the caller's own included; 1 bypasses the pool.

    Raises ArgumentError unless 1 <= threads <= 256.
    """
    _set("tilewright_set_num_threads", check_threads("set_num_threads", threads))


def set_spin_us(microseconds: int) -> None:
    """Let idle threads spin for `microseconds` before they sleep; waking a sleeper takes some 20 us."""
    if not 0 <= microseconds <= 1_000_000:
        raise ArgumentError("set_spin_us", f"{microseconds} us is out of range", advice="0 to 1,000,000 us")
    _set("tilewright_set_spin_us", microseconds)


def set_placement(placement: Placement) -> None:
    """Say where workers run that are started from now on."""
    _set("tilewright_set_placement", placement.value)


def set_chunk(iterations: int | None) -> None:
    """Hand out loops in chunks of `iterations`, to whichever thread is free; None for one equal share each."""
    if iterations is not None and iterations < 1:
        raise ArgumentError("set_chunk", f"a chunk of {iterations} iterations", advice="1 or more, or None")
    _set("tilewright_set_grain", iterations or 0)


def release_scratch() -> None:
    """Give back to the system the scratch memory that kernels left in the calling thread's cache."""
    for each in (library(), *_others):
        each.functions["tilewright_trim"]()


def check_threads(step: str, threads: SupportsIndex) -> int:
    """Give the number of threads that `threads` is.  Raises ArgumentError unless the pool can have so many."""
    try:
        number = index(threads)
    except TypeError:
        fact = f"threads={threads!r} is a {type(threads).__name__}"
        raise ArgumentError(step, fact, advice=f"a whole number from 1 to {MAX_THREADS}") from None
    if not 1 <= number <= MAX_THREADS:
        raise ArgumentError(step, f"threads={number} is out of range", advice=f"1 to {MAX_THREADS}")
    return number


def adopt(other: Library) -> None:
    """Let the settings hold for the pool of a loaded shared library too."""
    _others.append(other)
    for name, value in _settings.items():
        other.functions[name](value)


def _set(name: str, value: int) -> None:
    _settings[name] = value
    functions: list[Callable[..., int]] = [each.functions[name] for each in (library(), *_others)]
    for function in functions:
        function(value)
