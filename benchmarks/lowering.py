"""Time to turn a configuration into LLVM IR text, or from nothing into a callable kernel, stage by stage.

    python benchmarks/lowering.py [--layer resnet18.C6] [--layout NCHW16c] [--candidates 40]
    python benchmarks/lowering.py --kernels resnet18.C2 resnet18.C6 [--layout NCHW] [--effort auto] [--repeat 9]

Prints milliseconds of processor time: for random valid candidates the median and the 90th percentile; for untuned
kernels with constant weights the median over new processes, each with an interpreter of its own, that have imported the
package and compiled nothing, and the least of all stages together.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from itertools import pairwise
from multiprocessing import get_context

import numpy as np

from tilewright.autotune import task as tasks
from tilewright.autotune.template import find_template
from tilewright.cli.layers import find_layer
from tilewright.codegen.llvm.compile import EFFORTS, compile_ir
from tilewright.codegen.llvm.emit import emit
from tilewright.codegen.pipeline import lower as run_passes
from tilewright.ir.collector import at_rest
from tilewright.runtime.library import library
from tilewright.runtime.module import Module
from tilewright.runtime.signature import signature_of
from tilewright.schedule import lower, lower_prepared

PARTS = ("schedule", "nest", "passes", "emission", "all")
STAGES = ("runtime", "schedule", "nest", "passes", "emission", "LLVM", "loading", "kernel", "all")


class Clock:
    """Processor time between marks, in milliseconds."""

    def __init__(self) -> None:
        self._marks = [time.process_time()]

    def mark(self) -> None:
        """End a stage."""
        self._marks.append(time.process_time())

    @property
    def steps(self) -> list[float]:
        """Give the time of each stage."""
        return [(b - a) * 1e3 for a, b in pairwise(self._marks)]


def arguments(layer: str, layout: str, constant_weights: bool) -> tuple:
    """Give the template's arguments of a layer."""
    batch, channels, height, width, filters, kernel, stride, padding = find_layer(layer, "conv2d").shape
    image, window = (batch, channels, height, width), (filters, kernel, kernel)
    return (image, window, stride, padding, 1, 1, layout, "float32", constant_weights)


def measure(layer: str, layout: str, candidates: int) -> np.ndarray:
    """Give one row of milliseconds per candidate: the columns are PARTS."""
    task = tasks.create("conv2d", arguments(layer, layout, False))
    indices = task.config_space.sample(candidates + 1, np.random.default_rng(0))
    rows = [_one(task, int(index)) for index in task.config_space.indices(indices)]
    return np.array(rows[1:])  # the first pays for what is loaded on demand


def _one(task: tasks.Task, index: int) -> list[float]:
    clock = Clock()
    schedule, tensors = task.instantiate(task.config_space.get(index))
    clock.mark()
    function = lower(schedule, tensors)
    clock.mark()
    lowered = run_passes(function, task.target)
    clock.mark()
    emit([lowered], task.target)
    clock.mark()
    return [*clock.steps, sum(clock.steps)]


def from_zero(layout: str, effort: str, layer: str) -> list[float]:
    """Give the milliseconds of an untuned kernel's stages in this process, which has compiled nothing: STAGES.

    The first is of the thread pool and the allocator, once in a process; the second is of choosing an algorithm and
    its knobs, too.  The last two are the sums of the others without the first, and of all.
    """
    find_template("conv2d")  # the package's templates are loaded when one is asked for
    clock = Clock()
    with at_rest():  # as `build` does
        library()
        clock.mark()
        task = tasks.create("conv2d", arguments(layer, layout, True))
        schedule, tensors = task.instantiate(task.untuned.config)
        clock.mark()
        functions = lower_prepared(schedule, tensors)
        clock.mark()
        lowered = [run_passes(function, task.target) for function in functions]
        clock.mark()
        text = emit(lowered, task.target)
        clock.mark()
        code = compile_ir(text, task.target, effort=effort)
        clock.mark()
        assert Module(code, tuple(map(signature_of, functions)), task.target).kernels
        clock.mark()
    return [*clock.steps, sum(clock.steps[1:]), sum(clock.steps)]


def print_kernels(layers: list[str], layout: str, effort: str, repeat: int) -> None:
    """Print a table of medians, one row per layer; each row of each repetition has a process of its own."""
    print(f"{layout}, effort {effort}, ms of processor time from zero to a callable kernel, median of {repeat}")
    print(f"{'':16}" + "".join(f"{name:>10}" for name in (*STAGES, "least")))
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for layer in layers:
            rows = pool.map(partial(from_zero, layout, effort), [layer] * repeat, chunksize=1)
            columns = [*np.median(rows, axis=0), min(row[-1] for row in rows)]
            print(f"{layer:16}" + "".join(f"{value:10.1f}" for value in columns), flush=True)


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", default="resnet18.C6")
    parser.add_argument("--layout", default="NCHW16c")
    parser.add_argument("--candidates", type=int, default=40)
    parser.add_argument("--kernels", nargs="+", metavar="LAYER")
    parser.add_argument("--effort", choices=EFFORTS, default="auto")
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    if options.kernels:
        print_kernels(options.kernels, options.layout, options.effort, options.repeat)
        return
    rows = measure(options.layer, options.layout, options.candidates)
    print(f"{options.layer} {options.layout}, {len(rows)} candidates, ms of processor time")
    for name, column in zip(PARTS, rows.T, strict=True):
        print(f"{name:10} median {np.median(column):6.1f}   90th percentile {np.percentile(column, 90):6.1f}")


if __name__ == "__main__":
    main()
