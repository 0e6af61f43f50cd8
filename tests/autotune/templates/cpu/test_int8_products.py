"""Products of bytes on processors: equal to NumPy's, and rounded as the rule says."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright import te
from tilewright.autotune import task
from tilewright.autotune.templates.cpu.int8_gemm import KNOBS
from tilewright.ir.errors import TypeMismatch
from tilewright.te import operators
from tilewright.te.evaluate import evaluate

from .convolutions import Args, assert_right, configs_of, run

DRAWN = 2  # configurations of each, besides the default one

PRODUCTS: tuple[Args, ...] = (  # m, n, k, transpose_a, transpose_b, type, constant_b
    (64, 64, 64, False, False, "uint8"),
    (37, 51, 41, False, True, "uint8"),
    (24, 40, 36, True, False, "uint8", True),
    (12, 200, 100, False, True, "int8", True),
    (5, 3, 7, False, False, "int8"),
    (1, 33, 130, False, False, "int8", True),
    (30, 16, 512, True, True, "int8"),
    (17, 1, 1, False, False, "uint8"),
    (50, 96, 140, False, False, "uint8", True),
)
BATCHES: tuple[Args, ...] = (  # batch, m, n, k, transpose_b, type, constant_b, epilogue
    (3, 16, 40, 36, True, "uint8"),
    (2, 5, 33, 7, False, "uint8"),
    (3, 7, 20, 12, True, "int8", True),
    (2, 12, 50, 16, False, "int8", False, "bias"),
)
SHAPES = ((16, 48, 64), (37, 51, 41), (3, 70, 33), (20, 17, 256))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("args", PRODUCTS, ids=str)
def test_sums(args: Args, threads: int) -> None:
    tuned = task.create("matmul", args, threads=threads)
    for config in configs_of(tuned, DRAWN, seed=threads):
        assert_right(tuned, config, threads)


@pytest.mark.parametrize("args", BATCHES, ids=str)
def test_sums_of_batches(args: Args) -> None:
    tuned = task.create("batch_matmul", args, threads=2)
    for config in configs_of(tuned, DRAWN):
        assert_right(tuned, config, 2)


def test_bytes_go_by_dot_products_alone() -> None:
    assert set(task.create("matmul", (64, 64, 64, False, False, "uint8")).config_space.fragments) == set(KNOBS)
    assert set(task.create("batch_matmul", (2, 64, 64, 64, False, "int8")).config_space.fragments) == set(KNOBS)


def rounded(total: np.ndarray, scale: np.ndarray | float, zero: int, dtype: str) -> np.ndarray:
    """Requantize as ONNX says it, in NumPy: the product is rounded to float32, halves go to even numbers."""
    ends = np.iinfo(dtype)
    nearest = np.rint(total.astype(np.float32) * np.float32(scale)).astype(np.float64)
    return np.clip(nearest + zero, ends.min, ends.max).astype(dtype)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("out_dtype", ["uint8", "int8"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_requantized(shape: tuple[int, int, int], dtype: str, out_dtype: str, constant: bool) -> None:
    m, n, k = shape
    rng = np.random.default_rng(m)
    ends = np.iinfo(dtype)
    a = rng.integers(ends.min, ends.max, (m, k), dtype, endpoint=True)
    b = rng.integers(-128, 127, (n, k), np.int8, endpoint=True)
    scale = rng.uniform(0.5, 2.0, n).astype(np.float32) / np.float32(60 * k**0.5)
    bias = rng.integers(-5000, 5000, n, np.int32)
    args = (m, n, k, True, dtype, out_dtype, None, True, 3, 7, constant)
    tuned = task.create("qmatmul", args, threads=1)
    total = (a.astype(np.int32) - 3) @ b.T.astype(np.int32) + bias
    expected = rounded(total, scale, 7, out_dtype)
    assert len(np.unique(expected)) > 20
    for config in configs_of(tuned, DRAWN):
        out = np.empty((m, n), out_dtype)
        run(tuned, config, [a, b, scale, bias, out])
        np.testing.assert_array_equal(out, expected)


def summed(
    own: np.ndarray, other: np.ndarray, by: tuple[float, int, float, int], zero: int, clip: tuple[int, int]
) -> np.ndarray:
    """Add bytes as onnxruntime does on x86-64, in NumPy: products by float32 scales are exact in float64 ..."""
    scale, own_zero, other_scale, other_zero = map(np.float32, by)
    less = np.float64(scale) * own_zero + np.float64(other_scale * other_zero)
    constant = np.float32(zero) - np.float32(less)
    inner = (other.astype(np.float64) * other_scale + constant).astype(np.float32)
    total = (own.astype(np.float64) * scale + inner).astype(np.float32)  # ... and so are these sums
    return np.clip(np.rint(total), *clip).astype(own.dtype)


@pytest.mark.parametrize("out_dtype", ["uint8", "int8"])
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_ends_and_a_residual(shape: tuple[int, int, int], out_dtype: str) -> None:
    m, n, k = shape
    rng, ends = np.random.default_rng(m), np.iinfo(out_dtype)
    a, b = rng.integers(0, 256, (m, k), np.uint8), rng.integers(-128, 128, (k, n), np.int8)
    other = rng.integers(ends.min, ends.max, (m, n), out_dtype, endpoint=True)
    total, scale, by = a.astype(np.int32) @ b.astype(np.int32), 1 / (120 * k**0.5), (0.8, 11, 1.3, 9)
    clip = (int(ends.min) + 9, 100)
    clipped = rounded(total, scale, 7, out_dtype).clip(*clip)
    added = summed(rounded(total, scale, 11, out_dtype), other, by, 7, clip)
    for residual, expected in ((None, clipped), (by, added)):
        assert len(np.unique(expected)) > 20
        args = (m, n, k, False, "uint8", out_dtype, scale, False, 0, 7, True, clip, residual)
        tuned = task.create("qmatmul", args, threads=1)
        for config in configs_of(tuned, 1):
            out = np.empty((m, n), out_dtype)
            run(tuned, config, [a, b, *([other] if residual else []), out])
            np.testing.assert_array_equal(out, expected)


def test_one_multiplier_for_all_channels() -> None:
    tuned = task.create("qmatmul", (8, 20, 36, False, "uint8", "uint8", 0.004), threads=1)
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (8, 36), np.uint8), rng.integers(-128, 128, (36, 20), np.int8)
    out = np.empty((8, 20), np.uint8)
    run(tuned, tuned.config_space.default_config(), [a, b, out])
    np.testing.assert_array_equal(out, rounded(a.astype(np.int32) @ b.astype(np.int32), 0.004, 0, "uint8"))


def test_halves_are_rounded_to_even_numbers_and_ends_are_kept() -> None:
    total = te.placeholder((8,), "int32", name="total")
    out = operators.requantize(total, 0.5, 10, "int8")
    sums = np.array([1, 3, 5, -1, -3, 2**31 - 1, -(2**31), 234], np.int32)
    result = evaluate([out], {total: sums})[0]
    np.testing.assert_array_equal(result, [10, 12, 12, 10, 8, 127, -128, 127])


def test_zero_points_are_added_before_halves_are_rounded() -> None:
    a, b = te.placeholder((6,), "uint8", name="a"), te.placeholder((6,), "uint8", name="b")
    out = operators.add_quantized(a, b, operators.Addition(0.5, 10, 0.25, 4), 3)
    left, right = np.array([11, 13, 255, 0, 12, 10], np.uint8), np.array([4, 4, 255, 0, 6, 6], np.uint8)
    np.testing.assert_array_equal(evaluate([out], {a: left, b: right})[0], [4, 4, 188, 0, 4, 4])


def test_sums_of_other_types_than_bytes_are_refused() -> None:
    bytes_, words = te.placeholder((4,), "uint8"), te.placeholder((4,), "int32")
    by = operators.Addition(1.0, 0, 1.0, 0)
    with pytest.raises(TypeMismatch, match="a sum of int32"):
        operators.add_quantized(words, words, by)
    with pytest.raises(TypeMismatch, match="the other addend is int32"):
        operators.add_quantized(bytes_, words, by)


def test_requantize_refuses_other_types() -> None:
    with pytest.raises(TypeMismatch, match="total is float32"):
        operators.requantize(te.placeholder((4,), "float32"), 1.0)
    with pytest.raises(TypeMismatch, match="a result of int32"):
        operators.requantize(te.placeholder((4,), "int32"), 1.0, out_dtype="int32")
