"""Reading arguments that users may write in several ways."""

from __future__ import annotations

from typing import Any, TypeGuard

from ..ir.arith import int_value
from ..ir.expr import Expr


def several(value: object) -> TypeGuard[tuple[Any, ...] | list[Any]]:
    """Tell whether a tuple or list of things is given, rather than one thing."""
    return isinstance(value, (tuple, list))


def listed(value: Any) -> tuple[Any, ...]:
    """Give one thing, or a tuple or list of things, as a tuple."""
    return tuple(value) if several(value) else (value,)


def differ(a: Expr, b: Expr) -> bool:
    """Tell whether two sizes are literals with different values."""
    one, other = int_value(a), int_value(b)
    return one is not None and other is not None and one != other
