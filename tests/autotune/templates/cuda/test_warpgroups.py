"""Products for warpgroups: what is computed, in the emulator, and the instructions of the default configuration."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.autotune.task import Task, create
from tilewright.codegen.cuda.text.emit import emit_programs
from tilewright.runtime.cuda.compiler.compile import compile_cubin
from tilewright.runtime.cuda.compiler.sass import disassemble

from .running import emulated, program_of

HOPPER = "cuda -arch=sm_90a"
SHAPES = [  # rows, columns, depth; whether A and B are transposed
    (128, 128, 64, False, False),
    (128, 256, 128, False, True),
    (130, 72, 136, False, False),
    (64, 32, 200, False, True),
    (1, 8, 16, False, True),
    (65, 40, 80, False, True),
    (200, 264, 72, False, False),
    (320, 96, 64, True, False),
    (136, 33, 72, True, True),
    (257, 104, 320, False, True),
]


def task_of(*args: object, dtype: str = "float16") -> Task:
    return create("matmul", (*args, dtype), HOPPER, device="emulate")


def check(task: Task, index: int, seed: int = 0) -> None:
    m, n, k, transpose_a, transpose_b, _ = task.args
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-4, 5, shape).astype(np.float16) for shape in ((m, k), (k, n)))
    given = [np.ascontiguousarray(a.T) if transpose_a else a, np.ascontiguousarray(b.T) if transpose_b else b]
    result = emulated(task, task.config_space.get(index), given)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    assert np.abs(exact).max() < 2048, "small integers: every sum is a half"
    np.testing.assert_array_equal(result, exact)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_default_computes_the_product(shape: tuple[object, ...]) -> None:
    task = task_of(*shape)
    assert "warpgroups" in task.config_space.fragments, "the shape is one for warpgroups"
    check(task, task.config_space.default or 0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_drawn_configurations_compute_the_product(shape: tuple[object, ...]) -> None:
    task = task_of(*shape)
    space = task.config_space
    for index in space.indices(space.sample(2, np.random.default_rng(1))):
        check(task, int(index))


@pytest.mark.parametrize(
    "shape",
    [(64, 64, 24, False, True), (64, 60, 64, False, False), (64, 64, 60, False, True)],
    ids=["half an instruction", "rows of 120 bytes", "rows of 120 bytes along the sum"],
)
def test_what_bulk_copies_cannot_step_over_is_left_to_warps(shape: tuple[object, ...]) -> None:
    assert "warpgroups" not in task_of(*shape).config_space.fragments


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("transposed", [(False, False), (False, True)], ids=str)
def test_default_of_a_large_product_has_the_instructions_that_make_it_fast(
    dtype: str, transposed: tuple[bool, bool]
) -> None:
    task = task_of(4096, 4096, 4096, *transposed, dtype=dtype)
    source = emit_programs([program_of(task, task.config_space.default_config())])
    cubin = compile_cubin(source.text, "sm_90a")
    (launch,) = source.launches
    sass = disassemble(cubin.code)[launch.name]
    opcodes = sass.opcodes()
    assert not cubin.faults
    assert launch.grid == ("1", "1", "132")
    assert any(name.startswith("HGMMA.64x256x16.F32") for name in opcodes)
    assert any(name.startswith("UTMALDG") for name in opcodes)
    assert any(name.startswith("USETMAXREG") for name in opcodes)
    assert not any(name.startswith("HMMA") for name in opcodes)
