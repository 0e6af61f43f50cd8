"""What a call costs besides its work: from Python, between threads, between processes.

    python benchmarks/call_overhead.py [rounds]

Rows are measured in turn, round after round, and their medians printed, so that a busy moment meets all of them.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import float32
from tilewright.ir.expr import Const, Load, Var
from tilewright.ir.stmt import For, ForKind, Function, Store
from tilewright.runtime import peak, pool
from tilewright.runtime.build import build
from tilewright.runtime.host import machine
from tilewright.runtime.kernel import Kernel
from tilewright.runtime.module import Module
from tilewright.runtime.timing import run_batch
from tilewright.runtime.worker import Workers

Row = tuple[str, Callable[[], float]]  # what is measured, a function that gives seconds for one


def add(kind: ForKind) -> Function:
    """Give `C[i] = A[i] + B[i]` for 64 float32."""
    a, b, c = (Buffer(name, (Const(64),), float32) for name in "ABC")
    i = Var("i")
    return Function("add", (a, b, c), For(i, Const(64), Store(c, (i,), Load(a, (i,)) + Load(b, (i,))), kind), (c,))


def python_calls(call: Callable[[], object], count: int = 2000) -> Callable[[], float]:
    """Give a function that measures one call from Python."""

    def seconds() -> float:
        began = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - began) / count

    return seconds


def processor_kernel(kind: ForKind) -> Kernel:
    """Give the kernel of `add` for this processor."""
    module = build(add(kind))
    assert isinstance(module, Module)
    return module.kernel


def call_rows() -> list[Row]:
    """Give the rows on calls from Python."""
    kernel = processor_kernel(ForKind.SERIAL)
    a, b, c = (np.ones(64, np.float32) for _ in range(3))
    bound = kernel.bind(a, b, c)
    return [
        ("empty Python function", python_calls(lambda: None)),
        ("bound call", python_calls(bound)),
        ("call with 3 NumPy arrays, all checks", python_calls(lambda: kernel(a, b, c))),
        ("the kernel itself, in machine code", lambda: run_batch(bound, 2000) / 2000),
    ]


def pool_rows() -> list[Row]:
    """Give the rows on parallel loops, timed in machine code."""
    kernel = processor_kernel(ForKind.PARALLEL)
    a, b, c = (np.ones(64, np.float32) for _ in range(3))
    one, two = (kernel.bind(a, b, c, threads=n) for n in (1, 2))

    def after(gap_s: float) -> Callable[[], float]:
        def seconds() -> float:
            until = time.perf_counter() + gap_s
            while time.perf_counter() < until:
                pass
            return run_batch(two, 1)

        return seconds

    return [
        ("parallel loop, 1 thread", lambda: run_batch(one, 1000) / 1000),
        ("parallel loop, 2 threads, back to back", lambda: run_batch(two, 1000) / 1000),
        ("parallel loop, 2 threads, 20 us after the last", after(20e-6)),
        ("parallel loop, 2 threads, 1 ms after the last", after(1e-3)),
    ]


def obey(order: str) -> str:
    """Give back what came; die of "die"."""
    if order == "die":
        os._exit(1)
    return order


def worker_rows(workers: Workers) -> list[Row]:
    """Give the rows on worker processes."""

    def round_trip() -> float:
        return workers.call("hello").wall_s

    def death_and_respawn() -> float:
        began = time.perf_counter()
        workers.call("die")
        return time.perf_counter() - began

    return [("worker: round trip", round_trip), ("worker: death, reaping and respawn", death_and_respawn)]


def report(rows: Sequence[Row], rounds: int) -> None:
    """Measure rows in turn and print them."""
    results: dict[str, list[float]] = {name: [] for name, _ in rows}
    for _ in range(rounds):
        for name, measure in rows:
            results[name].append(measure())
    for name, seconds in results.items():
        low, *_, high = statistics.quantiles(seconds, n=10)
        print(f"{name:52s} {statistics.median(seconds) * 1e6:10.3f} us   (80%: {low * 1e6:.3f} .. {high * 1e6:.3f})")


def main() -> None:
    """Print all rows, and the machine they were measured on."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print(machine())
    with Workers(obey) as workers:  # before any thread is started
        report(worker_rows(workers), rounds)
    pool.set_num_threads(2)
    report(call_rows(), rounds)
    report(pool_rows(), rounds)
    for threads in (1, 2):
        flops, int8 = peak.measure_peak_flops(threads), peak.measure_peak_int8(threads) or 0.0
        read, copy = peak.measure_read_bandwidth(threads), peak.measure_copy_bandwidth(threads)
        print(f"peak, {threads} thread(s): {flops / 1e9:.0f} GFLOP/s fp32, {int8 / 1e9:.0f} GOP/s int8,", end=" ")
        print(f"read {read / 1e9:.1f} GB/s, copy {copy / 1e9:.1f} GB/s")


if __name__ == "__main__":
    main()
