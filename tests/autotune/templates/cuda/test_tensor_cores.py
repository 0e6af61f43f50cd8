"""Products of matrices on tensor cores: values of the emitted kernels on the emulator, and what they compile to."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright import te
from tilewright.autotune.task import Task, create
from tilewright.autotune.template import get_config, template
from tilewright.autotune.templates.cuda import products
from tilewright.autotune.templates.epilogue import Epilogue, last
from tilewright.autotune.templates.product_types import ProductTypes
from tilewright.codegen.cuda.screens.limits import check_limits
from tilewright.codegen.cuda.screens.screens import screen, screen_failures
from tilewright.codegen.cuda.screens.traffic import traffic
from tilewright.codegen.cuda.text.emit import emit_programs
from tilewright.runtime.cuda.compiler.compile import compile_cubin
from tilewright.runtime.cuda.compiler.sass import Sass, disassemble
from tilewright.schedule import create_schedule
from tilewright.te import operators

from .rounded import assert_sum, operands, values
from .running import configured, emulated, program_of

DTYPES = ["float16", "bfloat16", "tf32", "int8"]
SHAPES = [
    (64, 64, 64), (128, 128, 96), (1, 128, 32), (7, 13, 37), (33, 65, 63), (100, 48, 40), (3, 300, 64), (129, 40, 100),
    (65, 67, 33), (40, 24, 512), (16, 8, 5),
]  # fmt: skip
CHOICES = {
    "2 tiles by way of registers": {"transport": "register", "stages": 2},
    "5 asynchronous tiles": {"stages": 5},
    "padded rows": {"layout": "padded"},
    "fragments ahead": {"ahead": True},
    "results by way of shared memory": {"staged": True},
    "a sum in 4 parts": {"parts": 4},
    "8 warps": {"tile_m": (-1, 4, 32), "tile_n": (-1, 2, 32), "parts": 1},
    "64 x 64 results a warp": {"tile_m": (-1, 1, 64), "tile_n": (-1, 1, 64), "parts": 1},
    "everything": {"layout": "padded", "ahead": True, "staged": True, "parts": 2, "raster": 2, "stages": 4},
}


def matmul(
    shape: tuple[int, int, int], dtype: str, transposes: tuple[bool, bool] = (False, False), arch: str = "sm_80"
) -> Task:
    """Give the task of a product."""
    return create("matmul", (*shape, *transposes, dtype), f"cuda -arch={arch}")


def check(task: Task, dtype: str, transposes: tuple[bool, bool] = (False, False), **choices: object) -> None:
    """Compare what a configuration computes with the product."""
    arrays = operands(task)
    a, b = (values(x, t) for x, t in zip(arrays, task.tensors, strict=False))
    a, b = (x.swapaxes(-1, -2) if swapped else x for x, swapped in zip((a, b), transposes, strict=True))
    got = emulated(task, configured(task, **choices), arrays)
    assert_sum(got, a @ b, abs(a) @ abs(b), a.shape[-1], dtype, task.outputs[0])


def text_of(task: Task) -> str:
    """Give the kernels of the default configuration."""
    return emit_programs([program_of(task, configured(task))]).text


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matmul_gives_the_product_by_default(shape, dtype):
    check(matmul(shape, dtype), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposes", [(True, False), (False, True), (True, True)], ids=str)
def test_matmul_takes_transposed_operands(transposes, dtype):
    check(matmul((40, 72, 88), dtype, transposes), dtype, transposes)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("dtype", ["float16", "tf32", "int8"])
def test_matmul_gives_the_product_with_other_knobs(choice, dtype):
    check(matmul((66, 80, 512), dtype), dtype, **CHOICES[choice])


@pytest.mark.parametrize("seed", range(12))
def test_matmul_gives_the_product_in_random_configurations(seed):
    rng = np.random.default_rng(seed)
    dtype, transposes = DTYPES[seed % 4], (bool(seed & 4), bool(seed & 8))
    m, n, k = (int(x) for x in rng.integers(32, 150, 3))
    task = matmul((m, n, k if seed % 3 else 256), dtype, transposes)
    space = task.config_space
    chosen = space.get(int(space.indices(space.sample(1, rng))[0]))
    arrays = operands(task)
    a, b = (values(x, t) for x, t in zip(arrays, task.tensors, strict=False))
    a, b = (x.T if swapped else x for x, swapped in zip((a, b), transposes, strict=True))
    assert_sum(emulated(task, chosen, arrays), a @ b, abs(a) @ abs(b), a.shape[1], dtype, task.outputs[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_multiplies_by_the_transposed_weights(dtype):
    check(create("dense", (50, 40, 72, dtype), "cuda -arch=sm_80"), dtype, (False, True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transpose_b", [True, False])
def test_batch_matmul_gives_each_product(dtype, transpose_b):
    check(create("batch_matmul", (3, 40, 33, 56, transpose_b, dtype), "cuda -arch=sm_80"), dtype, (False, transpose_b))


@template("test.biased_product")
def biased(m: int, n: int, k: int, dtype: str):
    """Give relu(A B + bias), rounded once."""
    types = ProductTypes.of(dtype)
    a, b = te.placeholder((m, k), types.operands, "A"), te.placeholder((k, n), types.operands, "B")
    bias = te.placeholder((n,), types.total, "bias")
    total = operators.matmul(a, b, bias, types.total, activation=operators.relu, precision=types.precision)
    s = create_schedule(Epilogue(dtype=types.result).declared(total, last).op)
    products.schedule(get_config(), s)
    return s, [a, b, bias, *s.outputs]


@pytest.mark.parametrize("dtype", ["float16", "tf32"])
@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
def test_bias_and_activation_are_part_of_the_product(dtype, staged, parts):
    task = create("test.biased_product", (40, 88, 256, dtype), "cuda -arch=sm_80")
    config = configured(task, staged=staged, parts=parts)
    arrays = operands(task, 3)
    a, b, bias = (values(x, t) for x, t in zip(arrays, task.tensors, strict=False))
    exact, magnitude = np.maximum(a @ b + bias, 0), abs(a) @ abs(b) + abs(bias)
    assert_sum(emulated(task, config, arrays), exact, magnitude, 257, dtype, task.outputs[0])
    assert len(program_of(task, config).kernels) == parts


# -- where there are tensor cores for a product ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "arch", "instruction"),
    [
        ("float16", "sm_80", "tw_mma_m16n8k16_f16"),
        ("bfloat16", "sm_86", "tw_mma_m16n8k16_bf16"),
        ("tf32", "sm_89", "tw_mma_m16n8k8_tf32"),
        ("int8", "sm_90", "tw_mma_m16n8k32_s8"),
    ],
)
def test_each_type_has_its_instruction(dtype, arch, instruction):
    assert instruction in text_of(matmul((64, 64, 64), dtype, arch=arch))


@pytest.mark.parametrize(
    ("shape", "dtype", "arch"),
    [
        ((64, 64, 64), "float32", "sm_80"),
        ((64, 64, 64), "float16", "sm_75"),
        ((64, 64, 64), "tf32", "sm_75"),
        ((64, 64, 15), "float16", "sm_80"),
    ],
    ids=["float32 is never rounded", "halves before sm_80", "tf32 before sm_80", "a sum shorter than an instruction"],
)
def test_other_products_are_on_cuda_cores(shape, dtype, arch):
    task = matmul(shape, dtype, arch=arch)
    assert "tw_mma" not in text_of(task)
    check(task, dtype)


# -- what the kernels compile to -------------------------------------------------------------------------------------


def compiled(task: Task) -> Sass:
    """Give the machine code of the default configuration's first kernel, which the compiler found no fault with."""
    cubin = compile_cubin(text_of(task), task.target.arch)
    assert not cubin.faults
    assert all(r.registers <= 255 for r in cubin.resources.values())
    return disassemble(cubin.code)["main_kernel0"]


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_the_hot_loop_of_halves(dtype, arch, transpose_b):
    task = matmul((4096, 4096, 4096), dtype, (False, transpose_b), arch)
    assert (task.config_space["tile_m"].size[-1], task.config_space["tile_n"].size[-1]) == (64, 64)
    sass = compiled(task)
    assert sass.count_hot("HMMA.16816") == sass.count_hot("HMMA") == 64
    assert sass.count_hot("LDSM.4") == sass.count_hot("LDSM") == 16
    assert sass.count_hot("LDGSTS.E.BYPASS.128") == sass.count_hot("LDGSTS") > 0
    assert sass.count_hot("BAR") == 1
    assert sass.count_hot("STS") == sass.count_hot("LDG") == 0
    figures = screen(program_of(task, configured(task)).kernels[0], task.target)
    assert figures.conflict == figures.hot_conflict == 1


@pytest.mark.parametrize(
    ("dtype", "opcode", "arithmetic"), [("int8", "IMMA.16832.S8.S8", "IMMA"), ("tf32", "HMMA.1688.F32.TF32", "HMMA")]
)
def test_the_hot_loop_of_other_types(dtype, opcode, arithmetic):
    task = create("dense", (4096, 4096, 4096, dtype), "cuda -arch=sm_80")
    sass = compiled(task)
    assert sass.count_hot(opcode) == sass.count_hot(arithmetic) == 4 * sass.count_hot("LDSM.4") == 64
    assert sass.count_hot("LDGSTS.E.BYPASS.128") > 0


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize(
    "shape", [(512, 512, 512), (1, 4096, 4096), (64, 64, 4096), (333, 77, 1001), (2048, 1000, 256)]
)
def test_no_default_spills(shape, arch, dtype):
    task = matmul(shape, dtype, arch=arch)
    assert task.config_space.default is not None
    compiled(task)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_what_the_space_holds_is_worth_compiling(dtype):
    task = create("dense", (4096, 4096, 4096, dtype), "cuda -arch=sm_80")
    space = task.config_space
    chosen = space.indices(space.sample(12, np.random.default_rng(5)))
    for index in chosen:
        for kernel in program_of(task, space.get(int(index))).kernels:
            counted = traffic(kernel)
            check_limits(kernel, task.target, counted)
            assert not screen_failures(screen(kernel, task.target, counted), task.target)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_parts_of_a_sum_are_added_up_by_wide_loads(dtype):
    task = matmul((64, 64, 4096), dtype)
    *_, last = program_of(task, configured(task, parts=8)).kernels
    assert screen(last, task.target).coalescing >= 0.5
