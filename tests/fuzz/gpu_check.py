"""One random pair for a GPU checked: emitted kernels, emulated in all orders = direct evaluation of the expression."""

from __future__ import annotations

import traceback
from random import Random

import numpy as np

from tilewright import te
from tilewright.codegen.cuda.text.emit import emit
from tilewright.ir.errors import Error
from tilewright.runtime.cuda.emulator.image import Emulator
from tilewright.runtime.cuda.emulator.verify import verify_all
from tilewright.schedule import lower
from tilewright.te.evaluate import evaluate

from .check import Outcome
from .gpu_schedules import TARGET, GpuDrawn, random_gpu_schedule
from .programs import Program, extent, random_program

MIN_STEPS, MAX_STEPS = 3, 9


def run_gpu(seeds: range) -> Outcome:
    """Check the pairs of all seeds."""
    outcome = Outcome()
    for seed in seeds:
        _one(seed, outcome)
    return outcome


def gpu_pair(seed: int) -> tuple[Program, GpuDrawn]:
    """Give the program and the GPU schedule of a seed."""
    rng = Random(seed)
    program = _random_program(rng)
    return program, random_gpu_schedule(rng, program, rng.randint(MIN_STEPS, MAX_STEPS))


def _random_program(rng: Random) -> Program:
    """Give a program with dimensions that GPUs want, or one of those that every backend gets."""
    if rng.random() < 0.25:
        return rng.choice((long_reduction, halved))(rng)
    program = random_program(rng)
    while program.family == "scan":  # an attached update may compute a step ahead, from a state that is not there yet
        program = random_program(rng)
    return program


def long_reduction(rng: Random) -> Program:
    """A sum or a maximum over as many elements as a warp has threads, or more."""
    rows, columns = extent(rng), rng.choice((32, 33, 64, 75, 100, 128))
    a = te.placeholder((rows, columns), rng.choice(("float32", "int32", "float64")), name="A")
    r = te.reduce_axis((0, columns), name="r")
    reducer = rng.choice((te.sum, te.max, te.min))
    b = te.compute((rows,), lambda i: reducer(a[i, r] * 2, axis=r), name="B")
    return Program("long_reduction", [a], [b])


def halved(rng: Random) -> Program:
    """Elements found by floor division and remainder of numbers below 0."""
    n, back = rng.choice((8, 13, 30)), rng.choice((3, 5, 7))
    a = te.placeholder((n + back,), "float32", name="A")
    b = te.compute((n,), lambda i: a[(i - back) // 2 + back] + a[(i - back) % 3], name="B")
    return Program("halved", [a], [b])


def _one(seed: int, outcome: Outcome) -> None:
    try:
        program, drawn = gpu_pair(seed)
        found = gpu_mismatch(program, drawn, seed)
    except Exception:
        outcome.errors.append(f"seed {seed}: {traceback.format_exc(limit=-6)}")
        return
    outcome.pairs += 1
    outcome.refused += drawn.refused
    outcome.taken += drawn.taken
    if found:
        outcome.mismatches.append(f"seed {seed} ({program.family}): {found}\n{drawn.schedule}")


def gpu_mismatch(program: Program, drawn: GpuDrawn, seed: int) -> str:
    """Give how the emulated kernels differ from direct evaluation, or what they do wrong, or an empty string."""
    function = lower(drawn.schedule, [*program.inputs, *program.outputs], name="fuzzed")
    source = emit([function], TARGET)
    feeds = program.feeds(seed)
    expected = evaluate(program.outputs, dict(zip(program.inputs, feeds, strict=True)))
    arrays = (*feeds, *map(np.empty_like, expected))
    arguments = {buffer.name: array for buffer, array in zip(function.buffers, arrays, strict=True)}
    names = list(arguments)[len(feeds) :]
    try:
        made = verify_all(Emulator().compile(source), source, arguments, names)
    except Error as error:
        return str(error)
    for name, want in zip(names, expected, strict=True):
        if not np.array_equal(want, made[name], equal_nan=True):
            where = tuple(int(i) for i in np.argwhere(want != made[name])[0])
            return f"{name}{list(where)} is {made[name][where]}, expected {want[where]}"
    return ""
