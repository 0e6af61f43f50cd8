"""Time to turn a candidate into LLVM IR text: schedule steps, loop nest, passes, emission.

    python benchmarks/lowering.py [--layer resnet18.C6] [--candidates 40]

Prints processor time in milliseconds, as the median and the 90th percentile over random valid candidates.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

import numpy as np

from tilewright.autotune import task as tasks
from tilewright.cli.layers import find_layer
from tilewright.codegen.llvm.emit import emit
from tilewright.codegen.pipeline import lower as run_passes
from tilewright.schedule import lower

PARTS = ("schedule", "nest", "passes", "emission", "all")


def measure(layer: str, layout: str, candidates: int) -> np.ndarray:
    """Give one row of milliseconds per candidate: the columns are PARTS."""
    batch, channels, height, width, filters, kernel, stride, padding = find_layer(layer, "conv2d").shape
    args = ((batch, channels, height, width), (filters, kernel, kernel), stride, padding, 1, 1, layout)
    task = tasks.create("conv2d", args)
    indices = task.config_space.sample(candidates + 1, np.random.default_rng(0))
    rows = [_one(task, int(index)) for index in task.config_space.indices(indices)]
    return np.array(rows[1:])  # the first pays for what is loaded on demand


def _one(task: tasks.Task, index: int) -> list[float]:
    times = [time.process_time()]
    schedule, tensors = task.instantiate(task.config_space.get(index))
    times.append(time.process_time())
    function = lower(schedule, tensors)
    times.append(time.process_time())
    lowered = run_passes(function, task.target)
    times.append(time.process_time())
    emit([lowered], task.target)
    times.append(time.process_time())
    steps = [(b - a) * 1e3 for a, b in pairwise(times)]
    return [*steps, sum(steps)]


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", default="resnet18.C6")
    parser.add_argument("--layout", default="NCHW16c")
    parser.add_argument("--candidates", type=int, default=40)
    options = parser.parse_args()
    rows = measure(options.layer, options.layout, options.candidates)
    print(f"{options.layer} {options.layout}, {len(rows)} candidates, ms of processor time")
    for name, column in zip(PARTS, rows.T, strict=True):
        print(f"{name:10} median {np.median(column):6.1f}   90th percentile {np.percentile(column, 90):6.1f}")


if __name__ == "__main__":
    main()
