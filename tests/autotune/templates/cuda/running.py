"""Running what a template schedules: the emitted kernels on the emulator, in every order and mode."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from tilewright.autotune.entities import OtherOptionEntity, SplitEntity
from tilewright.autotune.space import Config
from tilewright.autotune.task import Task
from tilewright.codegen.cuda.kernel import Program
from tilewright.codegen.cuda.lower import lower_cuda
from tilewright.codegen.cuda.text.emit import emit_programs
from tilewright.codegen.scalar import array_dtype
from tilewright.ir.arith import int_value
from tilewright.ir.buffer import Buffer
from tilewright.runtime.cuda.emulator.image import Emulator
from tilewright.runtime.cuda.emulator.verify import verify_all
from tilewright.schedule import lower

EPS = float(np.finfo(np.float32).eps)
Choice = tuple[int, ...] | int | str | bool


def configured(task: Task, **choices: Choice) -> Config:
    """Give the default configuration with other choices for some knobs; it must be one of the space."""
    space = task.config_space
    entities = space.default_config().entities
    for name, value in choices.items():
        entities[name] = SplitEntity(value) if isinstance(value, tuple) else OtherOptionEntity(value)
    index = space.find(entities)
    assert index is not None and space.is_valid_index(index), f"{choices} is no configuration of {space!r}"
    return space.get(index)


def program_of(task: Task, config: Config) -> Program:
    """Give the kernels of a configuration."""
    schedule, tensors = task.instantiate(config)
    return lower_cuda(lower(schedule, tensors, "main"), task.target)


def emulated(task: Task, config: Config, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """Give what the kernels of a configuration compute from `inputs`, the same in all orders and modes."""
    program = program_of(task, config)
    source = emit_programs([program])
    arrays = {b.name: _empty(b) for b in program.outputs}
    others = [p for p in program.params if p not in program.outputs]
    arrays |= {p.name: a for p, a in zip(others, inputs, strict=True)}
    names = [b.name for b in program.outputs]
    return verify_all(Emulator().compile(source), source, arrays, names)[names[0]]


def _empty(buffer: Buffer) -> np.ndarray:
    shape = [int_value(d) or 1 for d in buffer.shape]
    return np.full(prod(shape), -1).astype(array_dtype(buffer.dtype)).reshape(shape)


def uniform(seed: int, *shapes: Sequence[int]) -> list[np.ndarray]:
    """Give arrays of numbers from -1 to 1."""
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]


def assert_close(got: np.ndarray, exact: np.ndarray, terms: int) -> None:
    """Compare sums of `terms` products of numbers up to 1 with exact ones: each addition rounds once."""
    assert got.shape == exact.shape
    np.testing.assert_allclose(got, exact, rtol=0, atol=terms * EPS * max(1.0, float(np.abs(exact).max())))
