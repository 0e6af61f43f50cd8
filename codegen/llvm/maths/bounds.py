"""Stated accuracy of the vector functions; the tests measure against it and the documentation prints it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ....ir.dtype import DType, float32, float64


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """The greatest error of one function against the exact value, with and without fused multiply-add.

    ulp    in units in the last place of the exact result; a denormal result counts in least denormals
    limit  greatest |x| where the bound holds; above, the C library is called for the whole vector
    """

    name: str
    dtype: DType
    ulp: float
    limit: float = math.inf


_BOUNDS: dict[str, tuple[float, ...]] = {  # float32, float64 where it has a recipe
    "exp": (1.0, 1.0),
    "exp2": (1.1, 1.1),
    "exp10": (1.5, 1.5),
    "log": (1.0, 1.0),
    "log1p": (1.0, 1.0),
    "log2": (1.0, 1.5),
    "log10": (1.0, 1.5),
    "sigmoid": (2.2, 2.0),
    "tanh": (1.5, 1.5),
    "sinh": (2.5, 2.5),
    "cosh": (1.5, 1.5),
    "erf": (1.6, 1.5),
    "rsqrt": (1.0, 1.0),
    "sin": (1.6, 1.0),
    "cos": (1.6, 1.0),
    "tan": (3.1, 2.5),
    "asin": (2.5, 2.5),
    "acos": (1.5, 1.5),
    "atan": (2.0, 2.0),
    "atan2": (2.5, 2.5),
    "asinh": (2.0, 2.0),
    "acosh": (2.5, 2.5),
    "atanh": (2.0, 2.0),
    "pow": (0.6,),
    "hypot": (0.6,),
}
_LIMITS = {"sin": 1.0e6, "cos": 1.0e6, "tan": 1.0e6}

ERROR_BOUNDS = tuple(
    ErrorBound(name, dtype, ulp, _LIMITS.get(name, math.inf))
    for name, ulps in _BOUNDS.items()
    for dtype, ulp in zip((float32, float64), ulps, strict=False)
)
