"""Products on tensor cores: nests of scope "warp" against NumPy, interpreted and as emitted kernels."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tilewright import te
from tilewright.codegen.cuda.lower import lower_cuda
from tilewright.ir.errors import CodegenError, ExpressionError, ScheduleError
from tilewright.ir.stmt import Function
from tilewright.runtime.cuda.compiler.compile import compile_cubin
from tilewright.runtime.cuda.compiler.sass import disassemble
from tilewright.schedule import Schedule, create_schedule, lower
from tilewright.schedule.stage import Stage
from tilewright.te import Tensor
from tilewright.te.operators.tensor_cores import mma

from .gemm_mma import Tiles, gemm
from .running import AMPERE, emulated, exact, interpreted, kernels_of, random_array

SMALL = Tiles(block=(32, 32, 32), warp=(16, 16))  # four warps
BYTES = Tiles(block=(32, 32, 64), warp=(16, 16), vector=8)
# Sums of K products, each of operands that were rounded to tf32 (10 bits of fraction) or not at all, in float32.
ROUNDED = {"float16": 0.0, "bfloat16": 0.0, "float32": 2.0**-10, "int8": 0.0}

SHAPES = [
    (32, 32, 32),
    (64, 64, 64),
    (1, 1, 1),
    (33, 31, 17),
    (40, 24, 40),
    (16, 8, 100),
    (65, 7, 33),
    (31, 64, 1),
    (7, 90, 70),
]


def product(
    m: int, n: int, k: int, dtype: str, out: str = "", tiles: Tiles = SMALL, transpose_b: bool = False
) -> Function:
    """Give the nest of the reference schedule."""
    made = gemm(m, n, k, dtype, out or ("int32" if dtype == "int8" else "float32"), tiles, transpose_b)
    return lower(made.schedule, made.arguments)


def operands(
    m: int, n: int, k: int, dtype: str, transpose_b: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give A, B and bias."""
    rng = np.random.default_rng(m * n + k)
    total = "int32" if dtype == "int8" else "float32"
    b_shape = (n, k) if transpose_b else (k, n)
    return random_array(rng, (m, k), dtype), random_array(rng, b_shape, dtype), random_array(rng, (n,), total)


def check(
    result: np.ndarray, out: str, inputs: tuple[np.ndarray, ...], dtype: str, transpose_b: bool, rounded: float
) -> None:
    """Compare with the product in float64."""
    a, b, bias = exact(inputs[0], dtype), exact(inputs[1], dtype), inputs[2].astype(np.float64)
    b = b.T if transpose_b else b
    expected = np.maximum(a @ b + bias, 0)
    if dtype == "int8":
        np.testing.assert_array_equal(result, expected)
        return
    magnitude = abs(a) @ abs(b) + abs(bias)
    steps = (a.shape[1] + 1) * 2.0**-24 + 2 * rounded  # of the sum, and of both operands
    stored = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}[out]
    assert (abs(exact(result, out) - expected) <= magnitude * steps + abs(expected) * stored + 2.0**-24).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("transpose_b", [False, True], ids=["kn", "nk"])
def test_values_for_ragged_sizes(shape: tuple[int, int, int], dtype: str, transpose_b: bool):
    m, n, k = shape
    tiles = replace(BYTES if dtype == "int8" else SMALL, vector=1)
    function = product(m, n, k, dtype, tiles=tiles, transpose_b=transpose_b)
    inputs = operands(m, n, k, dtype, transpose_b)
    out = "int32" if dtype == "int8" else "float32"
    check(emulated(function, *inputs), out, inputs, dtype, transpose_b, ROUNDED[dtype])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int8"])
def test_the_nest_means_the_same(dtype: str):
    function = product(33, 20, 40, dtype, tiles=BYTES if dtype == "int8" else SMALL)
    inputs = operands(33, 20, 40, dtype)
    check(interpreted(function, *inputs), "int32" if dtype == "int8" else "float32", inputs, dtype, False, 0.0)


@pytest.mark.parametrize("out", ["float16", "bfloat16"])
def test_results_are_rounded_as_they_are_stored(out: str):
    inputs = operands(40, 24, 40, "float16")
    result = emulated(product(40, 24, 40, "float16", out), *inputs)
    check(result, out, inputs, "float16", False, 0.0)


@pytest.mark.parametrize("transport", ["cp_async", "register"])
@pytest.mark.parametrize("k", [8, 32, 64, 96, 200])
def test_a_pipelined_product(k: int, transport: str):
    tiles = replace(SMALL, stages=2 if transport == "register" else 3, transport=transport)
    inputs = operands(40, 24, k, "float16")
    check(emulated(product(40, 24, k, "float16", tiles=tiles), *inputs), "float32", inputs, "float16", False, 0.0)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
@pytest.mark.parametrize("stages", [1, 3])
def test_operands_of_the_next_step_are_loaded_ahead(dtype: str, stages: int):
    tiles = replace(BYTES if dtype == "int8" else SMALL, warp=(32, 32), stages=stages, vector=4, prefetch=True)
    inputs = operands(40, 24, 72, dtype)
    result = emulated(product(40, 24, 72, dtype, tiles=tiles), *inputs)
    check(result, "int32" if dtype == "int8" else "float32", inputs, dtype, False, ROUNDED[dtype])


@pytest.mark.parametrize("warp", [(32, 16), (16, 32), (32, 32), (16, 8)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_tiles_of_a_warp(warp: tuple[int, int], dtype: str):
    tiles = replace(BYTES if dtype == "int8" else SMALL, warp=warp)
    inputs = operands(40, 24, 72, dtype)
    result = emulated(product(40, 24, 72, dtype, tiles=tiles), *inputs)
    check(result, "int32" if dtype == "int8" else "float32", inputs, dtype, False, ROUNDED[dtype])


@pytest.mark.parametrize("swizzle", ["", "xor", "64B"])
def test_layouts_of_shared_tiles(swizzle: str):
    inputs = operands(40, 24, 40, "float16")
    function = product(40, 24, 40, "float16", tiles=replace(SMALL, swizzle=swizzle))
    check(emulated(function, *inputs), "float32", inputs, "float16", False, 0.0)


@pytest.mark.parametrize("out", ["float32", "float16"])
@pytest.mark.parametrize("shape", [(32, 32, 32), (40, 24, 40), (70, 65, 33)], ids=str)
def test_results_by_way_of_shared_memory(shape: tuple[int, int, int], out: str):
    tiles = replace(SMALL, staged=True, vector=4)
    inputs = operands(*shape, "float16")
    result = emulated(product(*shape, "float16", out, tiles), *inputs)
    check(result, out, inputs, "float16", False, 0.0)


@pytest.mark.parametrize("seed", range(24))
def test_random_tiles(seed: int):
    rng = random.Random(seed)
    dtype = rng.choice(["float16", "bfloat16", "float32", "int8"])
    vector = {"float16": 8, "bfloat16": 4, "float32": 4, "int8": 16}[dtype]
    warp = rng.choice([16, 32, 48]), rng.choice([16, 32] if dtype == "int8" else [16, 24, 32])
    depth = {"float32": 16, "int8": 64}.get(dtype, 32)
    tiles = Tiles(
        block=(warp[0] * rng.choice([1, 2, 3]), warp[1] * rng.choice([2, 4]), depth * rng.choice([1, 2])),
        warp=warp,
        stages=rng.choice([1, 2, 3, 4]),
        vector=vector,
        swizzle=rng.choice(["xor", ""]),
        staged=rng.random() < 0.3,
        prefetch=rng.random() < 0.3,
    )
    m, n, k = rng.randint(1, 150), vector * rng.randint(1, 9), vector * rng.randint(1, 30)
    out = "int32" if dtype == "int8" else rng.choice(["float32", "float16", "bfloat16"])
    transpose_b = rng.random() < 0.5
    inputs = operands(m, n, k, dtype, transpose_b)
    result = emulated(product(m, n, k, dtype, out, tiles, transpose_b), *inputs)
    check(result, out, inputs, dtype, transpose_b, ROUNDED[dtype])


# -- what is emitted ------------------------------------------------------------------------------------------------


def loads(dtype: str, transpose_b: bool) -> dict[str, int]:
    """Count the loads of fragments in the text of a product."""
    text = kernels_of(
        product(32, 32, 64, dtype, tiles=BYTES if dtype == "int8" else SMALL, transpose_b=transpose_b)
    ).text
    names = ("tw_ldmatrix_x4(", "tw_ldmatrix_x4_trans(", "tw_ldmatrix_x2(", "tw_load_word(", "tw_to_tf32(")
    return {name[3:-1]: text.count(name) for name in names if name in text}


@pytest.mark.parametrize(
    ("dtype", "transpose_b", "expected"),
    [
        ("float16", False, {"ldmatrix_x4": 2, "ldmatrix_x4_trans": 2}),
        ("bfloat16", True, {"ldmatrix_x4": 4}),
        ("float32", True, {"ldmatrix_x4": 8, "to_tf32": 4 * 8}),
        ("float32", False, {"ldmatrix_x4": 4, "to_tf32": 4 * 8}),
        ("int8", True, {"ldmatrix_x4": 4}),
        ("int8", False, {"ldmatrix_x4": 2}),
    ],
)
def test_operands_come_four_matrices_at_a_time(dtype: str, transpose_b: bool, expected: dict[str, int]):
    assert loads(dtype, transpose_b) == expected


def test_results_are_stored_two_at_a_time():
    text = kernels_of(product(32, 32, 32, "float16")).text
    assert text.count("tw_store((tw_vec<float, 2>*)(D") == 2 * 2
    assert "tw_store(D" not in text


def test_an_even_row_length_keeps_conditions_out_of_vectors():
    text = kernels_of(product(40, 26, 32, "float16")).text
    assert "tw_store((tw_vec<float, 2>*)(D" in text
    assert "tw_store(D" not in text
    assert "tw_store(D" in kernels_of(product(40, 25, 32, "float16")).text


def test_hot_loop_of_the_reference_kernel():
    """64 products for 16 loads of four matrices, 8 copies of 16 bytes, one barrier; and nothing is spilled."""
    tiles = Tiles(block=(128, 128, 32), warp=(64, 64), stages=3)
    cubin = compile_cubin(kernels_of(product(4096, 4096, 4096, "float16", tiles=tiles)).text, "sm_80")
    assert not cubin.faults
    (sass,) = disassemble(cubin.code).values()
    counts = {name: sass.count_hot(name) for name in ("HMMA", "LDSM", "LDGSTS", "BAR", "STS", "LDG")}
    assert counts == {"HMMA": 64, "LDSM": 16, "LDGSTS": 8, "BAR": 1, "STS": 0, "LDG": 0}
    assert sass.count_hot("MOV") <= 4


@pytest.mark.parametrize(("dtype", "opcode"), [("bfloat16", "HMMA.16816.F32.BF16"), ("float32", "HMMA.1688.F32.TF32"),
                                               ("int8", "IMMA.16832.S8.S8")])  # fmt: skip
def test_instructions_of_other_types(dtype: str, opcode: str):
    tiles = replace(BYTES if dtype == "int8" else SMALL)
    cubin = compile_cubin(kernels_of(product(64, 64, 64, dtype, tiles=tiles, transpose_b=True)).text, "sm_80")
    assert not cubin.faults
    (sass,) = disassemble(cubin.code).values()
    assert sass.count(opcode) > 0
    assert sass.count("LDSM") > 0


# -- matrices in registers between two products -----------------------------------------------------------------------


def chained(rows: int = 32, inner: int = 32, depth: int = 16, columns: int = 16) -> Function:
    """O = half(relu(Q K^T)) V in one kernel; what is between the products never leaves the registers."""
    q, k = te.placeholder((rows, depth), "float16", "Q"), te.placeholder((inner, depth), "float16", "K")
    v = te.placeholder((inner, columns), "float16", "V")
    r, x = te.reduce_axis((0, depth), "r"), te.reduce_axis((0, inner), "x")
    wide = "float32"
    score = te.compute(
        (rows, inner), lambda i, j: te.sum(q[i, r].astype(wide) * k[j, r].astype(wide), axis=r), name="S"
    )
    p = te.compute((rows, inner), lambda i, j: te.max(score[i, j], te.const(0, wide)).astype("float16"), name="P")
    o = te.compute((rows, columns), lambda i, j: te.sum(p[i, x].astype(wide) * v[x, j].astype(wide), axis=x), name="O")
    d = te.compute((rows, columns), lambda i, j: o[i, j], name="D")
    s = create_schedule(d.op)
    warp, rows_of_warp = s[d].split(d.op.axis[0], factor=16)
    s[d].reorder(warp, rows_of_warp, d.op.axis[1])
    s[d].bind(warp, "threadIdx.y")
    x_o = on_tensor_cores(s, o, d, warp, (q, k, v)[2], None, 16)
    s[p].set_scope("warp")
    s[p].compute_at(s[o], x_o)
    on_tensor_cores(s, score, o, x_o, k, q, 16)
    return lower(s, [q, k, v, d])


def on_tensor_cores(s: Schedule, what: Tensor, reader: Tensor, at: te.Axis, b: Tensor, a: Tensor | None, step: int):
    """Compute `what` by mma within an axis of its reader, its operands copied by plain loads from global memory."""
    transpose_b = what.op.name == "S"
    s[what].set_scope("warp")
    s[what].compute_at(s[reader], at)
    (i, j), (k,) = s[what].op.axis, s[what].op.reduce_axis
    i_o, i_i = s[what].split(i, factor=16)
    j_o, j_i = s[what].split(j, factor=8)
    k_o, k_i = s[what].split(k, factor=step)
    s[what].reorder(k_o, i_o, j_o, i_i, j_i, k_i)
    s[what].tensorize(i_i, mma("float16", transpose_b=transpose_b))
    for tensor in filter(None, (a, b)):
        fragment = s.cache_read(tensor, "warp", [what])
        s[fragment].compute_at(s[what], k_o)
    return k_o


def test_a_result_becomes_an_operand_in_registers():
    function = chained()
    rng = np.random.default_rng(3)
    q, k, v = (random_array(rng, shape, "float16") for shape in ((32, 16), (32, 16), (32, 16)))
    p = np.maximum(exact(q, "float16") @ exact(k, "float16").T, 0)
    expected, magnitude = p @ exact(v, "float16"), p @ abs(exact(v, "float16"))
    for result in (interpreted(function, q, k, v), emulated(function, q, k, v)):
        assert (abs(result - expected) <= (2.0**-11 + 49 * 2.0**-24) * magnitude).all()  # P rounded to half


def test_an_operand_from_global_memory_is_loaded_word_by_word():
    assert "tw_load_word((Q" in kernels_of(chained()).text


# -- refusals ---------------------------------------------------------------------------------------------------------


def refused(change: Callable[[Schedule, dict[str, Stage]], None], part: str, advice: str, tiles: Tiles = SMALL) -> None:
    """Check that the reference schedule with a change is refused with these words."""
    made = gemm(64, 64, 64, "float16", "float32", tiles)
    stages = {stage.state.id: stage for stage in made.schedule.stages}
    change(made.schedule, stages)
    with pytest.raises(CodegenError) as error:
        lower_cuda(lower(made.schedule, made.arguments), AMPERE)
    assert part in error.value.fact
    assert advice in error.value.advice
    assert error.value.where.startswith(">")


def test_rows_off_16_bytes_are_refused_with_the_figure():
    def pad(s: Schedule, stages: dict[str, Stage]) -> None:
        stages["As"].storage_align(stages["As"].op.axis[0], 40, 36)

    refused(pad, "rows are 72 bytes apart", "multiple of 8 elements", replace(SMALL, swizzle="", vector=1))


def test_padding_by_whole_pieces_is_fine():
    made = gemm(40, 24, 40, "float16", "float32", replace(SMALL, swizzle=""))
    (tile,) = (stage for stage in made.schedule.stages if stage.state.id == "As")
    tile.storage_align(tile.op.axis[0], 64, 40)
    inputs = operands(40, 24, 40, "float16")
    check(emulated(lower(made.schedule, made.arguments), *inputs), "float32", inputs, "float16", False, 0.0)


def test_a_vectorized_loop_over_registers_is_refused():
    def vectorize(s: Schedule, stages: dict[str, Stage]) -> None:
        stages["D"].vectorize(stages["D"].leaf_iter_vars[-1])

    refused(vectorize, "runs over matrices in registers, and is vectorized", "serial or unrolled")


def test_a_bound_loop_over_registers_is_refused():
    def bind(s: Schedule, stages: dict[str, Stage]) -> None:
        stages["D"].bind(stages["D"].leaf_iter_vars[-1], "threadIdx.x")

    refused(bind, "lanes that hold different columns", "loops over rows and columns")


def test_a_loop_over_part_of_a_tile_is_refused():
    def split(s: Schedule, stages: dict[str, Stage]) -> None:
        stages["D"].split(stages["D"].leaf_iter_vars[-1], factor=4)

    refused(split, "splits what one lane holds", "multiples of 8")


def test_a_fused_loop_over_registers_is_refused():
    def fuse(s: Schedule, stages: dict[str, Stage]) -> None:
        stages["D"].fuse(*stages["D"].leaf_iter_vars[-2:])

    refused(fuse, "splits what one lane holds", "loops over its rows and columns")


def test_an_operand_that_is_kept_elsewhere_is_refused():
    def keep(s: Schedule, stages: dict[str, Stage]) -> None:
        stages["As_warp"].set_scope("local")

    made = gemm(64, 64, 64, "float16", "float32", SMALL)
    keep(made.schedule, {stage.state.id: stage for stage in made.schedule.stages})
    with pytest.raises(CodegenError, match="reads As_warp, which is kept in local memory"):
        lower_cuda(lower(made.schedule, made.arguments), AMPERE)


def test_types_without_an_instruction_are_refused():
    with pytest.raises(ExpressionError, match="no instruction for float64"):
        mma("float64")


def test_tiles_that_are_not_full_are_refused():
    with pytest.raises(ScheduleError, match="has"):
        product(64, 64, 64, "float16", tiles=replace(SMALL, warp=(16, 4)))
