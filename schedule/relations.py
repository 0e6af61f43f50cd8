"""From an operator's axes to the loops made of them, and back: extents go down, values and guards come up."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir import arith
from ..ir.expr import Const, Expr, Lt, Var
from ..ir.visit import substitute, variables
from ..te.axis import Axis
from .table import Fuse, Relation, Split

Extents = dict[Axis, Expr]


def extents_of(relations: tuple[Relation, ...], roots: Mapping[Axis, Expr]) -> Extents:
    """Give the extent of every axis when the operator's own axes have the given extents.

    A part is never longer than a constant whole, so that a factor larger than the region costs nothing.
    """
    extents = dict(roots)
    for relation in relations:
        match relation:
            case Split(parent, outer, inner, factor, nparts):
                extents[outer], extents[inner] = _split(extents[parent], factor, nparts)
            case Fuse(outer, inner, fused):
                extents[fused] = arith.mul(extents[outer], extents[inner])
    return extents


def _split(total: Expr, factor: Expr | None, nparts: Expr | None) -> tuple[Expr, Expr]:
    given = factor if factor is not None else nparts
    assert given is not None
    if isinstance(total, Const) and isinstance(given, Const):
        whole = int(total.value)
        part = max(1, min(int(given.value), whole))
        rest = arith.const(-(-whole // part))
        part_expr = arith.const(part)
    else:
        part_expr, rest = given, arith.floordiv(arith.add(total, arith.sub(given, 1)), given)
    return (rest, part_expr) if factor is not None else (part_expr, rest)


def values_of(
    relations: tuple[Relation, ...],
    extents: Extents,
    leaves: Mapping[Axis, Expr],
    fused_values: dict[Var, Expr] | None = None,
) -> dict[Axis, Expr]:
    """Give the value of every axis, counted from 0, in terms of the loops' values.

    fused_values  takes in the value of each fused axis that was split, which is a variable of its own then
    """
    values = dict(leaves)
    for relation in reversed(relations):
        match relation:
            case Split(parent, outer, inner):
                values[parent] = arith.add(arith.mul(values[outer], extents[inner]), values[inner])
            case Fuse(outer, inner, fused):
                whole = values[fused]
                if fused_values is not None and type(whole) is not Var and not variables(whole) <= fused_values.keys():
                    held = Var(fused.name, whole.dtype, 0)
                    fused_values[held] = substitute(whole, fused_values)
                    whole = held
                values[outer] = arith.floordiv(whole, extents[inner])
                values[inner] = arith.floormod(whole, extents[inner])
    return values


def guards_of(
    relations: tuple[Relation, ...], extents: Extents, values: Mapping[Axis, Expr]
) -> list[tuple[Axis, Expr]]:
    """Give the conditions `value < extent` of the axes whose splits overshoot, outermost cut first.

    The outer part of a guarded axis needs no guard of its own: where it overshoots, its parent does.
    """
    guards: list[tuple[Axis, Expr]] = []
    covered: set[Axis] = set()
    for relation in relations:
        match relation:
            case Split(parent, outer, inner):
                if _exact(extents[parent], extents[outer], extents[inner]):
                    continue
                if parent not in covered:
                    guards.append((parent, Lt(values[parent], extents[parent])))
                covered.add(outer)
            case Fuse():
                pass
    return guards


def _exact(whole: Expr, outer: Expr, inner: Expr) -> bool:
    match whole, outer, inner:
        case Const(n), Const(a), Const(b):
            return int(a) * int(b) == int(n)
        case _, _, Const(1):
            return True
        case _:
            return False
