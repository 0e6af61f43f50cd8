"""Products of matrices on GPUs: values of the emitted kernels on the emulator, and the instructions they become."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright import te
from tilewright.autotune.space import ConfigSpace
from tilewright.autotune.task import create
from tilewright.autotune.template import Situation, in_force
from tilewright.autotune.templates.cuda import gemm
from tilewright.codegen.cuda.lower import lower_cuda
from tilewright.codegen.cuda.screens.screens import screen
from tilewright.codegen.cuda.text.emit import emit_programs
from tilewright.codegen.interp import interpret
from tilewright.ir.target import Target
from tilewright.runtime.cuda.compiler.compile import compile_cubin
from tilewright.runtime.cuda.compiler.sass import disassemble
from tilewright.runtime.host import resolve
from tilewright.schedule import create_schedule, lower
from tilewright.te import operators

from .running import assert_close, configured, emulated, program_of, uniform

SHAPES = [
    (64, 64, 64), (128, 128, 32), (1, 128, 32), (7, 13, 5), (33, 65, 17), (100, 48, 20), (3, 300, 64), (129, 40, 100),
    (65, 67, 33),
]  # fmt: skip
CHOICES = {
    "no pipeline": {"transport": "none"},
    "3 asynchronous tiles": {"transport": "cp_async", "stages": 3},
    "4 asynchronous tiles": {"transport": "cp_async", "stages": 4, "tile_k": 8},
    "a sum in 2 parts": {"parts": 2},
    "16 by 8 results a thread": {"tile_m": (-1, 1, 4, 16), "tile_n": (-1, 1, 8, 8), "resident": 1},
    "a loop in the tile": {"unroll": 8, "tile_k": 16},
    "warps along both": {"tile_m": (-1, 2, 8, 2), "tile_n": (-1, 2, 4, 4), "resident": 1},
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matmul_gives_the_product_by_default(shape):
    m, n, k = shape
    task = create("matmul", shape, "cuda -arch=sm_80")
    a, b = uniform(m, (m, k), (k, n))
    assert_close(emulated(task, configured(task), [a, b]), a.astype(float) @ b, k)


@pytest.mark.parametrize("choice", CHOICES)
def test_matmul_gives_the_product_with_other_knobs(choice):
    m, n, k = 66, 72, 160
    task = create("matmul", (m, n, k), "cuda -arch=sm_80")
    a, b = uniform(m, (m, k), (k, n))
    assert_close(emulated(task, configured(task, **CHOICES[choice]), [a, b]), a.astype(float) @ b, k)


@pytest.mark.parametrize("transposes", [(True, False), (False, True), (True, True)], ids=str)
def test_matmul_takes_transposed_operands(transposes):
    m, n, k = 40, 36, 20
    task = create("matmul", (m, n, k, *transposes), "cuda -arch=sm_80")
    a, b = uniform(m, (k, m) if transposes[0] else (m, k), (n, k) if transposes[1] else (k, n))
    exact = (a.T if transposes[0] else a).astype(float) @ (b.T if transposes[1] else b)
    assert_close(emulated(task, configured(task), [a, b]), exact, k)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dense_multiplies_by_the_transposed_weights(shape):
    m, n, k = shape
    task = create("dense", shape, "cuda -arch=sm_80")
    x, w = uniform(n, (m, k), (n, k))
    assert_close(emulated(task, configured(task), [x, w]), x.astype(float) @ w.T, k)


BATCHES = [
    (3, 30, 36, 20), (2, 33, 20, 70, False), (1, 64, 64, 32), (5, 1, 16, 8), (4, 7, 13, 5, False), (2, 32, 32, 32),
    (2, 65, 3, 17), (1, 40, 129, 24, False), (6, 16, 48, 40),
]  # fmt: skip


@pytest.mark.parametrize("shape", BATCHES, ids=str)
def test_batch_matmul_gives_each_product(shape):
    batch, m, n, k, *plain = shape
    task = create("batch_matmul", shape, "cuda -arch=sm_80")
    a, b = uniform(m, (batch, m, k), (batch, k, n) if plain else (batch, n, k))
    exact = a.astype(float) @ (b if plain else b.transpose(0, 2, 1))
    assert_close(emulated(task, configured(task), [a, b]), exact, k)


@pytest.mark.parametrize("name", ["matmul", "dense"])
@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_the_hot_loop_multiplies_and_adds(name, arch):
    task = create(name, (2048, 2048, 2048), f"cuda -arch={arch}")
    program = program_of(task, configured(task))
    cubin = compile_cubin(emit_programs([program]).text, arch)
    assert not cubin.faults
    sass = disassemble(cubin.code)["main_kernel0"]
    assert sass.share("FFMA") >= 0.85
    assert set(sass.widths("LDS")) == {128}
    assert set(sass.widths("LDG")) == {128}
    assert screen(program.kernels[0], task.target).hot_conflict <= 2


@pytest.mark.parametrize(
    "shape", [(4096, 4096, 4096), (512, 512, 512), (1, 1000, 2048), (64, 64, 4096), (77, 1001, 333)]
)
@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_no_default_spills(shape, arch):
    task = create("matmul", shape, f"cuda -arch={arch}")
    assert task.config_space.is_valid_index(task.config_space.default)
    assert not compile_cubin(emit_programs([program_of(task, configured(task))]).text, arch).faults


def test_a_product_takes_an_epilogue():
    m, n, k = 40, 36, 48
    task = create("matmul", (m, n, k, False, False, "float32", False, "bias,residual,relu"), "cuda -arch=sm_80")
    a, b, bias, residual = uniform(m, (m, k), (k, n), (n,), (m, n))
    exact = np.maximum(a.astype(float) @ b + bias + residual, 0)
    assert_close(emulated(task, configured(task), [a, b, bias, residual]), exact, k + 2)


def test_bias_and_activation_are_part_of_the_kernel():
    """The epilogue of a graph: the template's scheduling function on an expression with more behind the product."""
    m, n, k = 40, 36, 20
    target = resolve(Target.parse("cuda -arch=sm_80"))
    a, b, bias = te.placeholder((m, k), name="A"), te.placeholder((k, n), name="B"), te.placeholder((n,), name="bias")
    out = operators.matmul(a, b, bias, activation=operators.relu)
    space, s = ConfigSpace(), create_schedule(out.op)
    with in_force(Situation(space, target)):
        gemm.schedule(space, s)
    function = lower(s, [a, b, bias, out])
    assert len(lower_cuda(function, target).kernels) == 1
    arrays = uniform(3, (m, k), (k, n), (n,))
    result = np.zeros((m, n), np.float32)
    interpret(function, [*arrays, result])
    exact = np.maximum(arrays[0].astype(float) @ arrays[1] + arrays[2], 0)
    assert_close(result, exact, k + 1)
