"""Normalized rows, reductions and elementwise operators on GPUs: values in the emulator, and code without spills."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.autotune.reference import make_reference
from tilewright.autotune.task import Task, create
from tilewright.codegen.cuda.text.emit import emit_programs
from tilewright.runtime.cuda.compiler.compile import compile_cubin

from .running import emulated, program_of

SHAPES = [(16, 128), (5, 1000), (3, 77), (1, 33), (100, 7), (4, 2048), (2, 1), (33, 64), (7, 260), (65, 31)]
OPERATORS = {
    "softmax": (),
    "layer_norm": (),
    "reduction along rows": (1, "sum"),
    "reduction along columns": (0, "max"),
    "reduction to positions": (1, "argmax"),
    "elementwise": ("gelu",),
}


def task_of(operator: str, shape: tuple[int, int], arch: str = "sm_80", dtype: str = "float32") -> Task:
    return create(operator.split()[0], (*shape, *OPERATORS[operator], dtype), f"cuda -arch={arch}", device="emulate")


def check(task: Task, index: int) -> None:
    """Compare the kernels of a configuration with the direct evaluation of the operator, within its tolerance."""
    reference = make_reference(task.tensors)
    (position,) = reference.expected
    inputs = [a for p, a in enumerate(reference.arrays) if p != position]
    reference.arrays[position][...] = emulated(task, task.config_space.get(index), inputs)
    error, right = reference.verdict()
    assert right, f"relative error {error}"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_default_and_drawn_configurations_give_the_values(operator: str, shape: tuple[int, int]) -> None:
    task = task_of(operator, shape)
    space = task.config_space
    drawn = space.indices(space.sample(1, np.random.default_rng(sum(shape))))
    for index in (space.default or 0, *map(int, drawn)):
        check(task, index)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("operator", ["softmax", "layer_norm", "elementwise"])
def test_halves_give_the_values(operator: str, dtype: str) -> None:
    task = task_of(operator, (9, 136), dtype=dtype)
    check(task, task.config_space.default or 0)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_default_of_large_rows_compiles_without_spills(operator: str, arch: str) -> None:
    task = task_of(operator, (4096, 4096), arch)
    source = emit_programs([program_of(task, task.config_space.default_config())])
    assert not compile_cubin(source.text, arch).faults
