"""One thread against two and more, for the best kernels of a database.

    autotune conv2d --layer resnet18.C6 --layout NCHW16c --db tuning.db
    python benchmarks/threads.py tuning.db

Each kernel runs with every number of threads in turn, in short batches; medians of ten, and the ratio to one thread.
"""

from __future__ import annotations

import argparse

import numpy as np

from tilewright.autotune import task as tasks
from tilewright.autotune.history import config_of
from tilewright.autotune.records import Records, TaskRow
from tilewright.runtime.array import empty
from tilewright.runtime.build import build
from tilewright.runtime.host import cpu_count
from tilewright.runtime.module import Module
from tilewright.runtime.timing import interleaved

ROUNDS = 10
BATCH_S = 5e-3


def compare(row: TaskRow, records: Records, most: int) -> None:
    """Print the times of a task's best kernel with 1 to `most` threads."""
    best = records.best(row.key)
    if best is None:
        return
    task = tasks.create(row.name, row.args, threads=row.key.threads)
    schedule, tensors = task.instantiate(config_of(best))
    module = build(schedule, tensors, target=task.target, name=row.name)
    assert isinstance(module, Module), "records of processors"
    kernel = module.kernel
    rng = np.random.default_rng(0)
    arrays = [empty(tuple(int(str(e)) for e in t.shape), t.dtype) for t in tensors]  # aligned as vectors are
    for array in arrays:
        array[...] = rng.standard_normal(array.shape)
    counts = range(1, most + 1)
    timings = interleaved([kernel.bind(*arrays, threads=n) for n in counts], rounds=ROUNDS, batch_s=BATCH_S)
    one = timings[0].median
    print(task.workload)
    for count, timing in zip(counts, timings, strict=True):
        rate, ratio = task.gflops(timing.median), one / timing.median
        print(f"  {count} threads  {timing.median * 1e6:9.1f} us  {rate:7.1f} GFLOP/s  {ratio:.2f} times one")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database")
    parser.add_argument("--threads", type=int, default=cpu_count(), help="at most")
    options = parser.parse_args()
    with Records(options.database, create=False) as records:
        for row in records.tasks():
            compare(row, records, options.threads)


if __name__ == "__main__":
    main()
