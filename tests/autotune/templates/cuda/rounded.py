"""Products of all types against exact ones: each rounding is bounded, by what is multiplied, summed up and stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tilewright.autotune.reference import make_arrays
from tilewright.autotune.task import Task
from tilewright.ir.arith import int_value
from tilewright.te import Tensor

SUM = 2.0**-24  # relative error of one addition in float32
FACTORS = {"tf32": 2 * 2.0**-11}  # of a product whose factors are rounded
STORED = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24}
LEAST = 2.0**-24  # half the distance between the smallest numbers of float16


def operands(task: Task, count: int = 2) -> tuple[np.ndarray, ...]:
    """Give random arrays for the first tensors of a call; bfloat16 as its bits."""
    return make_arrays(task.tensors, seed=3)[:count]


def values(array: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Give what an array means, in float64."""
    if str(tensor.dtype) == "bfloat16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)


def assert_sum(got: np.ndarray, exact: np.ndarray, magnitude: np.ndarray, terms: int, dtype: str, out: Tensor) -> None:
    """Compare sums of products with exact ones.

    magnitude  sums of the products' absolute values
    dtype      of the workload: of the factors, or "tf32"
    """
    assert got.shape == exact.shape
    if out.dtype.is_int:
        np.testing.assert_array_equal(got, exact)
        return
    error = np.abs(values(got, out) - exact)
    bound = magnitude * ((terms + 1) * SUM + FACTORS.get(dtype, 0.0)) + np.abs(exact) * STORED[str(out.dtype)] + LEAST
    assert (error <= bound).all(), f"an error of {(error / bound).max():.2f} times its bound"


def shape_of(tensor: Tensor) -> Sequence[int]:
    """Give a shape of constants as numbers."""
    return [size for size in map(int_value, tensor.shape) if size is not None]
