"""Extents as numbers, given the sizes that are known when a kernel is called."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ..ir.arith import int_value
from ..ir.errors import ExpressionError
from ..ir.expr import Const, Expr, Var
from ..ir.simplify import simplify
from ..ir.visit import substitute
from .axis import Axis

Sizes = Mapping[Var, int]


def steps(step: str, axes: Iterable[Axis], sizes: Sizes | None = None) -> int:
    """Give the number of points of a domain.  Raises ExpressionError, as `step`, for an extent that stays unknown."""
    known: dict[Var, Expr] = {v: Const(n, v.dtype) for v, n in (sizes or {}).items()}
    return math.prod(_extent(step, axis.extent, known) for axis in axes)


def _extent(step: str, extent: Expr, known: Mapping[Var, Expr]) -> int:
    value = int_value(simplify(substitute(extent, known)))
    if value is None:
        raise ExpressionError(step, f"the extent {extent} is unknown", advice="sizes={n: 1024}")
    return value
