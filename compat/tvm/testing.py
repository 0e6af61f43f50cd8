"""`tvm.testing`: comparing results."""

from __future__ import annotations

from typing import Any

import numpy as np

from .nd import unwrapped

__all__ = ["assert_allclose"]


def assert_allclose(actual: Any, desired: Any, rtol: float = 1e-7, atol: float = 1e-7) -> None:
    """Raise AssertionError unless |actual - desired| <= atol + rtol * |desired|, shapes included."""
    one, other = np.asanyarray(unwrapped(actual)), np.asanyarray(unwrapped(desired))
    np.testing.assert_equal(one.shape, other.shape)
    np.testing.assert_allclose(one, other, rtol=rtol, atol=atol, verbose=True)
