"""Sums of products that are evaluated as products of matrices, beside the sum of all products in NumPy."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest

import tilewright.te as te
from tilewright.te import contraction
from tilewright.te.evaluate import evaluate

EXTENTS = {"b": 2, "i": 3, "k": 4, "l": 5}  # k and l are summed over
SUBSETS = ["".join(names) for names in chain.from_iterable(combinations("bikl", n) for n in range(5))]


def summed(left: str, right: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give sum_kl x[left] * y[right] by direct evaluation of the expression."""
    axes = [te.reduce_axis((0, EXTENTS[name]), name) for name in "kl"]
    a, b = te.placeholder(x.shape, str(x.dtype), name="A"), te.placeholder(y.shape, str(y.dtype), name="B")

    def element(*spatial: object) -> object:
        at = dict(zip("bikl", (*spatial, *axes), strict=True))
        factors = a[tuple(at[n] for n in left) or (0,)], b[tuple(at[n] for n in right) or (0,)]
        return te.sum(factors[0] * factors[1], axis=axes)

    return evaluate(te.compute((2, 3), element), {a: x, b: y}, accumulate="float64")[0]


def broadcasting(values: np.ndarray, names: str) -> np.ndarray:
    """Give values with all four dimensions, those not among `names` being 1."""
    return values.reshape([EXTENTS[n] if n in names else 1 for n in "bikl"])


@pytest.mark.parametrize("room", [1 << 24, 6])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_factors_may_depend_on_any_of_the_axes(dtype: str, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contraction, "ROOM", room)
    rng = np.random.default_rng(0)
    for left in SUBSETS:
        for right in SUBSETS:
            x, y = (rng.integers(-9, 9, [EXTENTS[n] for n in names] or [1]).astype(dtype) for names in (left, right))
            full = [
                v.reshape([EXTENTS[n] if n in names else 1 for n in "bikl"]) for v, names in ((x, left), (y, right))
            ]
            expected = np.broadcast_to(full[0] * full[1], tuple(EXTENTS.values())).sum((2, 3), dtype=dtype)
            np.testing.assert_array_equal(summed(left, right, x, y), expected, err_msg=f"{left} {right}")


def test_integers_that_float64_cannot_hold_wrap() -> None:
    x, y = np.full((2, 4), 2**31 - 1, "int32"), np.full((3, 4), 2**31 - 3, "int32")
    expected = np.full((2, 3), 4 * (2**31 - 1) * (2**31 - 3) % 2**32).astype(np.uint32).view(np.int32)
    axis = te.reduce_axis((0, 4), "k")
    a, b = te.placeholder(x.shape, "int32"), te.placeholder(y.shape, "int32")
    product = te.compute((2, 3), lambda i, j: te.sum(a[i, axis] * b[j, axis], axis=axis))
    np.testing.assert_array_equal(evaluate(product, {a: x, b: y})[0], expected)


def test_floats_as_declared_are_added_in_the_order_of_the_loop() -> None:
    x = np.array([1, 2**24, -(2**24)], "float32")
    axis = te.reduce_axis((0, 3), "k")
    a, b = te.placeholder((3,)), te.placeholder((1,))
    dot = te.compute((1,), lambda i: te.sum(a[axis] * b[i], axis=axis))
    feeds = {a: x, b: np.ones(1, "float32")}
    assert [evaluate(dot, feeds, accumulate=how)[0][0] for how in ("declared", "float64")] == [0, 1]
