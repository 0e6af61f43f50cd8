"""Reading arguments that users may write in several ways."""

from __future__ import annotations

from typing import Any

from ..ir.expr import Const, Expr


def listed(value: Any) -> tuple[Any, ...]:
    """Give one thing, or a tuple or list of things, as a tuple."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def literal(size: Expr) -> int | None:
    """Give the value of an integer literal, or None for any other expression."""
    match size:
        case Const(value):
            return int(value)
        case _:
            return None


def differ(a: Expr, b: Expr) -> bool:
    """Tell whether two sizes are literals with different values."""
    one, other = literal(a), literal(b)
    return one is not None and other is not None and one != other
