"""Depthwise convolutions of bytes on processors: equal to sums in int64, scaled and rounded as the rule says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tilewright.autotune import task
from tilewright.ir.errors import TuneError, TypeMismatch
from tilewright.te import operators
from tilewright.te.compute import placeholder

from .convolutions import Args, configs_of, run
from .test_int8_products import rounded, summed

CONVOLUTIONS = (  # data (NCHW), window, stride, padding, dilation
    ((1, 5, 9, 11), (3, 3), 1, 1, 1),
    ((2, 17, 12, 35), (3, 3), 2, 1, 1),
    ((1, 33, 8, 7), (5, 5), 1, 2, 1),
    ((1, 4, 15, 40), (5, 5), 2, 2, 1),
    ((1, 6, 14, 18), (3, 3), 1, 2, 2),
    ((1, 2, 20, 5), (7, 1), 3, 3, 1),
    ((1, 20, 6, 33), (1, 7), 1, 3, 1),
    ((1, 70, 5, 5), (3, 3), 1, 1, 1),
)
LAST = (0, 2, 3, 1)  # channels


@dataclass(frozen=True)
class Case:
    """What the bytes mean."""

    dtype: str = "uint8"
    out_dtype: str = "uint8"
    data_zero: int = 0
    zero_point: int = 0
    bias: bool = False
    clip: tuple[int, int] | None = None
    residual: tuple[float, int, float, int] | None = None

    def arguments(self, constant: bool) -> Args:
        """Give the template's arguments from the data's type on, with a tensor of scales."""
        zeros = self.data_zero, self.zero_point
        return self.dtype, self.out_dtype, None, self.bias, *zeros, constant, self.clip, self.residual


CASES = (
    Case(),
    Case(data_zero=200, zero_point=31, bias=True, clip=(31, 180)),
    Case("int8", "uint8", -7, 128, residual=(0.9, 40, 0.6, 7)),
    Case("int8", "int8", 5, -4, True, (-4, 127)),
)


def sums(x: np.ndarray, w: np.ndarray, stride: int, padding: int, dilation: int, zero: int) -> np.ndarray:
    """Give the exact sums of images (N, C, H, W) whose zero is `zero`, by weights (C, KH, KW)."""
    _, kh, kw = w.shape
    wide = np.pad(x.astype(np.int64) - zero, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows, columns = ((n - (k - 1) * dilation - 1) // stride + 1 for n, k in zip(wide.shape[2:], (kh, kw), strict=True))
    total = np.zeros((*x.shape[:2], rows, columns), np.int64)
    for ry in range(kh):
        for rx in range(kw):
            below, beside = ry * dilation, rx * dilation
            taken = wide[:, :, below : below + stride * rows : stride, beside : beside + stride * columns : stride]
            total += taken[:, :, :rows, :columns] * w[:, ry, rx].reshape(-1, 1, 1)
    return total


def arrays_of(case: Case, conv: Args, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """Give image, weights, scales, perhaps a bias, in NCHW; and the result."""
    data, window, *geometry = conv
    of_data = np.iinfo(case.dtype)
    x = rng.integers(of_data.min, of_data.max, data, case.dtype, endpoint=True)
    w = rng.choice(np.array([-128, -127, -1, 0, 1, 127], np.int8), (data[1], 1, *window))
    scale = rng.uniform(0.5, 2.0, data[1]).astype(np.float32) / np.float32(90 * w[0].size)
    bias = rng.integers(-5000, 5000, data[1], np.int32) if case.bias else np.zeros(data[1], np.int32)
    total = sums(x, w[:, 0], *geometry, case.data_zero) + bias.reshape(-1, 1, 1)
    out_ends, given = np.iinfo(case.out_dtype), [x, w, scale, *([bias] if case.bias else [])]
    ends = case.clip or (out_ends.min, out_ends.max)
    if case.residual is None:
        return given, rounded(total, scale.reshape(-1, 1, 1), case.zero_point, case.out_dtype).clip(*ends)
    own = rounded(total, scale.reshape(-1, 1, 1), case.residual[1], case.out_dtype)
    other = rng.integers(out_ends.min, out_ends.max, own.shape, case.out_dtype, endpoint=True)
    return [*given, other], summed(own, other, case.residual, case.zero_point, ends)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("number", range(len(CONVOLUTIONS)))
def test_bytes_are_exact(number: int, layout: str) -> None:
    conv = CONVOLUTIONS[number]
    for step in (0, 1):
        case, target = CASES[(number + step) % len(CASES)], ("llvm", "llvm -mcpu=haswell")[(number + step) % 3 == 0]
        given, expected = arrays_of(case, conv, np.random.default_rng(number))
        if layout == "NHWC":
            x, w, *others = given
            others = [o.transpose(LAST) if o.ndim == 4 else o for o in others]
            given, expected = [x.transpose(LAST), w.transpose(2, 3, 0, 1), *others], expected.transpose(LAST)
        tuned = task.create("qdepthwise_conv2d", (*conv, layout, *case.arguments(step > 0)), target, threads=1 + step)
        config, out = configs_of(tuned, step)[step], np.empty(expected.shape, case.out_dtype)
        run(tuned, config, [*map(np.ascontiguousarray, given), out])
        np.testing.assert_array_equal(out, expected, err_msg=f"{conv} {case} {target} {config}")


def test_a_layout_in_blocks_is_refused() -> None:
    with pytest.raises(TuneError, match="layout NCHW16c"):
        task.create("qdepthwise_conv2d", ((1, 16, 8, 8), (3, 3), 1, 1, 1, "NCHW16c"))


@pytest.mark.parametrize("clip", [(0, 256), (-1, 3), (9, 8)])
def test_ends_that_the_type_has_not_are_refused(clip: tuple[int, int]) -> None:
    with pytest.raises(TypeMismatch, match=f"from {clip[0]} to {clip[1]} in uint8"):
        operators.requantize(placeholder((4, 4), "int32"), 0.5, clip=clip)
