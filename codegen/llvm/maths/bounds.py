"""Stated accuracy of the vector functions; the tests measure against it and the documentation prints it."""

from __future__ import annotations

from dataclasses import dataclass

from ....ir.dtype import DType, float32, float64


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """The greatest error of one function over its domain, against the exact value.

    ulp     in units in the last place of the result; denormal results count the least denormal as their unit
    domain  arguments where the bound holds; outside of it the C library is called for the vector
    """

    name: str
    dtype: DType
    ulp: float
    domain: str = "all"


ERROR_BOUNDS = (
    ErrorBound("exp", float32, 1.0),
    ErrorBound("exp", float64, 1.0),
    ErrorBound("exp2", float32, 1.0),
    ErrorBound("exp2", float64, 1.0),
    ErrorBound("tanh", float32, 2.0),
    ErrorBound("tanh", float64, 2.0),
    ErrorBound("sigmoid", float32, 2.0),
    ErrorBound("sigmoid", float64, 2.0),
)
