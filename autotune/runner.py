"""From machine code to a verified time, in a worker process that owns the core."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from ..ir.errors import Error
from ..runtime.array import address_of
from ..runtime.export import packed
from ..runtime.externs import registered
from ..runtime.jit import Loaded, load
from ..runtime.library import GENERATED_CODE_CALLS, library
from ..runtime.prepared import prepared_arrays
from ..runtime.timing import Timed, run_batch
from .built import KERNEL, Built
from .pace import PATIENCE_S, Pace
from .reference import Reference
from .trial import Status

BATCH_S = 0.4e-3  # short batches: most escape preemption
BATCHES = 10
LONG_S = 1.0  # of batches: two are enough of what takes longer, and one of what takes longer in a single call
SLOW = 3.0  # times the best: two batches are enough, of which hardly both are interrupted
UNLIKELY = 1.3  # times the best: a few are
FEW = 3
LEAST_ROUNDS = 5
WARMING_S = 0.1  # of a call: what takes longer warms its caches by itself


@dataclass(frozen=True, slots=True)
class Measured:
    """What running one candidate gave.

    seconds        one mean per batch of calls
    max_rel_error  relative to the larger of the right value and the root mean square of all
    peak_gflops    of the peak loop, run in turn with the kernel; 0 without one
    is_disturbed   the machine had not a processor for each thread: to be timed again
    """

    index: int
    status: Status = Status.OK
    seconds: tuple[float, ...] = ()
    max_rel_error: float | None = None
    peak_gflops: float = 0.0
    error: str = ""
    is_disturbed: bool = False


class LoadedKernel:
    """Machine code in this process with its arguments bound and its constants prepared; a `Timed`.

    Raises MemoryError where there is no memory to prepare them.
    """

    def __init__(self, built: Built, arrays: Sequence[np.ndarray], threads: int) -> None:
        externs = {name: extern.address for name, extern in registered(built.externs).items()}
        known = {name: library().addresses[name] for name in GENERATED_CODE_CALLS}
        self.name = f"candidate {built.index}"
        self.threads = threads
        entries = [packed(function.name) for function in built.functions]
        self._loaded: Loaded = load(built.code, entries, known | externs)
        self._arrays = dict(zip(built.names, arrays, strict=True))
        for function in built.functions:  # the kernel is the last
            self._arrays |= prepared_arrays(function, self._arrays)
            self._slots = np.array([address_of(self._arrays[p.name]) for p in function.params], dtype=np.uint64)
            self.entry, self.argv = self._loaded.addresses[packed(function.name)], address_of(self._slots)
            if function.name != KERNEL:
                run_batch(self, 1)


def measure_candidate(
    built: Built,
    reference: Reference,
    pace: Pace | None,
    best_s: float = float("inf"),
    threads: int = 1,
    left_s: float = float("inf"),
) -> Measured:
    """Load, check against the reference on the real shape, then time in short batches between the peak loop's.

    best_s  least time so far: a candidate far above it gets one batch
    left_s  of the search: where a long call has no second one left, it is both checked and timed
    """
    began = time.perf_counter()
    try:
        kernel = LoadedKernel(built, reference.arrays, threads)
        reference.poison()
        first_s = run_batch(kernel, 1)
    except MemoryError as error:
        return Measured(built.index, Status.MEMORY, error=str(error))
    except Error as error:
        return Measured(built.index, Status.CODEGEN, error=str(error))
    error, right = reference.verdict()
    if not right:
        allowed = max(reference.rtol.values())
        fact = f"largest relative error is {error:.3g}, allowed is {allowed:.3g}"
        return Measured(built.index, Status.WRONG_RESULT, max_rel_error=error, error=fact)
    if first_s > max(LONG_S, left_s - (time.perf_counter() - began)):
        return Measured(built.index, Status.OK, (first_s,), error)
    seconds, peaks = _batches(kernel, pace, first_s, best_s)
    disturbed = bool(pace and peaks and pace.worth_another_try(min(peaks)))
    return Measured(built.index, Status.OK, tuple(seconds), error, _rate(pace, peaks), is_disturbed=disturbed)


def _batches(kernel: Timed, pace: Pace | None, first_s: float, best_s: float) -> tuple[list[float], list[float]]:
    if first_s > 4 * SLOW * best_s:
        first_s = min(first_s, run_batch(kernel, 1))  # the first call may have been interrupted
    if first_s > 4 * SLOW * best_s:
        return [first_s], []
    seconds: list[float] = []
    peaks: list[float] = []
    least_batches = 1 if first_s > LONG_S else 2
    warm_s = first_s if first_s > LONG_S else run_batch(kernel, 1)
    number = max(1, ceil(BATCH_S / max(warm_s, 1e-9)))
    began = time.perf_counter()
    for batch in range(BATCHES):
        if pace:
            peaks.append(pace.settle(began + PATIENCE_S))
        seconds.append(run_batch(kernel, number) / number)
        least = min(seconds)
        if (batch and least > SLOW * best_s) or (batch + 1 >= FEW and least > UNLIKELY * best_s):
            break
        if batch + 1 >= least_batches and time.perf_counter() - began > LONG_S:
            break
    return seconds, peaks


def remeasure(
    candidates: Sequence[Built], reference: Reference, pace: Pace | None, threads: int, rounds: int, budget_s: float
) -> list[Measured]:
    """Check candidates again, then time the right ones in turn, each warm: peak A B C peak A B C ...

    rounds    at most, and at least 5 where one takes no longer than all shall
    budget_s  seconds for all rounds together, as far as these allow
    """
    results: dict[int, Measured] = {}
    kernels: dict[int, LoadedKernel] = {}
    first_s: dict[int, float] = {}
    for place, built in enumerate(candidates):
        kernel = LoadedKernel(built, reference.arrays, threads)
        reference.poison()
        first_s[place] = run_batch(kernel, 1)
        error, right = reference.verdict()
        results[place] = Measured(built.index, Status.OK if right else Status.WRONG_RESULT, (), error)
        if right:
            kernels[place] = kernel
    numbers = {p: 1 if first_s[p] > WARMING_S else _batch_size(kernel) for p, kernel in kernels.items()}
    samples: dict[int, list[float]] = {place: [] for place in kernels}
    peaks: list[float] = []
    began = time.perf_counter()
    for done in range(rounds):
        spent_s = time.perf_counter() - began
        if done and (done >= LEAST_ROUNDS or spent_s > budget_s) and spent_s * (done + 1) / done > budget_s:
            break
        if pace:
            peaks.append(pace.settle(time.perf_counter() + PATIENCE_S))
        for place, kernel in kernels.items():
            if first_s[place] <= WARMING_S:
                run_batch(kernel, 1)  # its data, which the others drove out, is back in the caches
            samples[place].append(run_batch(kernel, numbers[place]) / numbers[place])
    rate = _rate(pace, peaks)
    return [replace(m, seconds=tuple(samples.get(p, ())), peak_gflops=rate) for p, m in results.items()]


def _rate(pace: Pace | None, seconds: Sequence[float]) -> float:
    """Give the peak in 1e9 operations a second, by the least time of a call; 0 where none was measured."""
    return pace.rate(min(seconds)) if pace and seconds else 0.0


def _batch_size(call: Timed) -> int:
    run_batch(call, 1)
    return max(1, ceil(BATCH_S / max(run_batch(call, 1), 1e-9)))
