"""Convolutions of bytes on processors: equal to their direct evaluation, and rounded as the rule says."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright import te
from tilewright.autotune import task
from tilewright.autotune.reference import make_reference
from tilewright.autotune.templates.cpu.int8_conv2d import KNOBS
from tilewright.ir.errors import TuneError
from tilewright.te import operators
from tilewright.te.evaluate import evaluate

from .convolutions import Args, assert_right, configs_of, run
from .test_int8_products import rounded, summed

DRAWN = 1  # configurations of each, besides the default one

CONVOLUTIONS: tuple[Args, ...] = (  # data, filters, stride, padding, dilation, groups, layout, type, constant_weights
    ((1, 8, 9, 9), (32, 3, 3), 1, 1, 1, 1, "NCHW", "uint8", True),
    ((1, 8, 9, 9), (32, 3, 3), 1, 1, 1, 1, "NHWC", "uint8", True),
    ((2, 3, 11, 13), (20, 3, 5), 2, 2, 1, 1, "NCHW", "int8", True),
    ((1, 5, 7, 19), (17, 3, 3), 1, 0, 2, 1, "NHWC", "int8", False),
    ((1, 16, 14, 14), (48, 1, 1), 1, 0, 1, 1, "NCHW", "uint8", False),
    ((1, 12, 13, 9), (33, 1, 1), 2, 0, 1, 1, "NCHW", "int8", True),
    ((1, 12, 13, 9), (33, 1, 1), 2, 0, 1, 1, "NHWC", "uint8", True),
    ((1, 32, 6, 6), (64, 3, 3), 1, 1, 1, 2, "NCHW", "uint8", True),
    ((1, 6, 5, 34), (8, 2, 4), 1, 1, 1, 1, "NCHW", "uint8", False),
    ((1, 3, 20, 20), (16, 7, 7), 2, 3, 1, 1, "NCHW", "uint8", True),
    ((2, 8, 7, 6), (16, 5, 3), 1, 4, 2, 1, "NHWC", "uint8", True),
)
REQUANTIZED = (("uint8", "uint8", "NCHW"), ("int8", "int8", "NCHW"), ("uint8", "int8", "NHWC"))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("args", CONVOLUTIONS, ids=str)
def test_sums(args: Args, threads: int) -> None:
    tuned = task.create("conv2d", args, threads=threads)
    assert set(tuned.config_space.fragments) == set(KNOBS)
    for config in configs_of(tuned, DRAWN, seed=threads):
        assert_right(tuned, config, threads)


@pytest.mark.parametrize(("dtype", "out_dtype", "layout"), REQUANTIZED)
def test_requantized_with_bias_and_zero_points(dtype: str, out_dtype: str, layout: str) -> None:
    ends, rng = np.iinfo(dtype), np.random.default_rng(0)
    shapes = ((1, 10, 9, 17), (36, 10, 3, 3)) if layout == "NCHW" else ((1, 9, 17, 10), (3, 3, 10, 36))
    x = rng.integers(ends.min, ends.max, shapes[0], dtype, endpoint=True)
    w = rng.integers(-128, 127, shapes[1], np.int8, endpoint=True)
    scale = rng.uniform(0.5, 2.0, 36).astype(np.float32) / np.float32(600)
    bias = rng.integers(-5000, 5000, 36, np.int32)
    args = ((1, 10, 9, 17), (36, 3, 3), 1, 1, 1, 1, layout, dtype, out_dtype, None, True, 9, -4, True)
    total = direct(x.astype(np.int32) - 9, w, layout)
    along = (1, -1, 1, 1) if layout == "NCHW" else (1, 1, 1, -1)
    expected = rounded(total + bias.reshape(along), scale.reshape(along), -4, out_dtype)
    assert len(np.unique(expected)) > 100
    tuned = task.create("qconv2d", args, threads=1)
    for config in configs_of(tuned, DRAWN):
        out = np.empty(expected.shape, out_dtype)
        run(tuned, config, [x, w, scale, bias, out])
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(("dtype", "out_dtype", "layout"), REQUANTIZED)
def test_ends_and_a_residual(dtype: str, out_dtype: str, layout: str) -> None:
    ends, out_ends, rng = np.iinfo(dtype), np.iinfo(out_dtype), np.random.default_rng(1)
    is_nchw = layout == "NCHW"
    shapes = (
        ((2, 6, 7, 19), (20, 6, 3, 3), (2, 20, 7, 19)) if is_nchw else ((2, 7, 19, 6), (3, 3, 6, 20), (2, 7, 19, 20))
    )
    x = rng.integers(ends.min, ends.max, shapes[0], dtype, endpoint=True)
    w = rng.integers(-128, 127, shapes[1], np.int8, endpoint=True)
    other = rng.integers(out_ends.min, out_ends.max, shapes[2], out_dtype, endpoint=True)
    total, scale, by = direct(x.astype(np.int32), w, layout), 0.0013, (0.7, 20, 0.45, 3)
    clipped = rounded(total, scale, 5, out_dtype).clip(5, 90)
    added = summed(rounded(total, scale, 20, out_dtype), other, by, 5, (5, 90))
    for residual, expected in ((None, clipped), (by, added)):
        assert len(np.unique(expected)) > 50
        conv = ((2, 6, 7, 19), (20, 3, 3), 1, 1, 1, 1, layout)
        args = (*conv, dtype, out_dtype, scale, False, 0, 5, True, (5, 90), residual)
        tuned = task.create("qconv2d", args, threads=1)
        for config in configs_of(tuned, DRAWN):
            out = np.empty(expected.shape, out_dtype)
            run(tuned, config, [x, w, *([other] if residual else []), out])
            np.testing.assert_array_equal(out, expected)


def direct(x: np.ndarray, w: np.ndarray, layout: str) -> np.ndarray:
    """Give the sums of a 3 x 3 window, one element of padding."""
    image, kernel = te.placeholder(x.shape, "int32", name="image"), te.placeholder(w.shape, "int8", name="kernel")
    out = operators.conv2d(image, kernel, 1, 1, 1, layout, "int32")
    return evaluate([out], {image: x, kernel: w})[0]


@pytest.mark.parametrize("target", ["llvm", "llvm -mcpu=haswell"])
def test_one_multiplier_on_processors_with_and_without_dot_products(target: str) -> None:
    args = ((1, 16, 10, 30), (64, 3, 3), 1, 1, 1, 1, "NCHW", "int8", "uint8", 0.0007)
    tuned = task.create("qconv2d", args, target, threads=2)
    for config in configs_of(tuned, 1):
        assert_right(tuned, config, 2)


def test_results_are_bytes_that_float64_would_round_otherwise() -> None:
    """A sum of 5000 times float32(0.0007) is just below 3.5, and 3.5 in float64."""
    args = ((1, 16, 10, 30), (64, 3, 3), 1, 1, 1, 1, "NCHW", "int8", "uint8", 0.0007)
    tensors = task.create("qconv2d", args).tensors
    feeds = dict(zip(tensors, make_reference(tensors).arrays, strict=False))
    (declared,) = evaluate([tensors[-1]], {t: a for t, a in feeds.items() if t is not tensors[-1]})
    np.testing.assert_array_equal(make_reference(tensors).expected[2][0].values, declared)


def test_groups_that_are_no_whole_vectors_are_refused() -> None:
    with pytest.raises(TuneError, match="6 output channels in 3 groups"):
        task.create("qconv2d", ((1, 12, 8, 8), (6, 3, 3), 1, 1, 1, 3))
