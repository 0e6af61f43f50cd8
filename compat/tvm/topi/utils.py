"""`tvm.topi.utils`: numbers of constant expressions."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

__all__ = ["get_const_int", "get_const_tuple"]


def get_const_int(expr: Any) -> int:
    """Give the value of a literal.  Raises TypeError for any other expression."""
    return operator.index(expr)


def get_const_tuple(in_tuple: Iterable[Any]) -> tuple[Any, ...]:
    """Give literals as ints; variables stay as they are."""
    return tuple(operator.index(size) if hasattr(size, "__index__") else size for size in in_tuple)
