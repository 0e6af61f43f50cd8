"""Conditions of loops, as passes take them apart."""

from __future__ import annotations

from collections.abc import Iterator

from ...ir.affine import Affine, affine_of, is_index
from ...ir.expr import And, Expr, Le, Lt


def conjuncts(condition: Expr) -> Iterator[Expr]:
    """Give what must hold together for `condition` to hold."""
    match condition:
        case And(a, b):
            yield from conjuncts(a)
            yield from conjuncts(b)
        case _:
            yield condition


def room(condition: Expr) -> Affine | None:
    """Give the form that a comparison of indices wants to be at least 0; None for another condition."""
    match condition:
        case Lt(a, b) if is_index(a.dtype):
            return affine_of(b) - affine_of(a) - 1
        case Le(a, b) if is_index(a.dtype):
            return affine_of(b) - affine_of(a)
        case _:
            return None
