"""How many iterations of a loop do anything."""

from __future__ import annotations

from collections.abc import Iterator

from ...ir import arith
from ...ir.expr import Call, Const, Expr, Var
from ...ir.stmt import Evaluate, For, If, Stmt, Store
from ...ir.visit import inner_statements
from .conditions import conjuncts, room

Extents = dict[Var, int]  # of the loops between a loop and a statement


def live_extent(loop: For) -> int | None:
    """Give after how many iterations conditions keep every statement from being executed; None where unknown.

    for i in range(3):
        for j in range(16):          only i = 0 does anything: 1
            if i * 16 + j < 16: S
    """
    extent = arith.int_value(loop.extent)
    if extent is None:
        return None
    return max((_reach(loop.var, extent, *leaf) for leaf in _leaves(loop.body, {}, ())), default=0)


def _leaves(stmt: Stmt, extents: Extents, held: tuple[Expr, ...]) -> Iterator[tuple[Extents, tuple[Expr, ...]]]:
    """Give for every statement that does something the loops and the conditions around it.

    Requests of caches do nothing by themselves.
    """
    match stmt:
        case Evaluate(Call(name="prefetch")):
            return
        case Store() | Evaluate():
            yield extents, held
        case If(condition, then, otherwise):
            yield from _leaves(then, extents, (*held, *conjuncts(condition)))
            if otherwise is not None:
                yield from _leaves(otherwise, extents, held)
        case For(var, Const(value=extent), body):
            yield from _leaves(body, {**extents, var: int(extent)}, held)
        case _:
            for inner in inner_statements(stmt):
                yield from _leaves(inner, extents, held)


def _reach(var: Var, extent: int, extents: Extents, held: tuple[Expr, ...]) -> int:
    return min((_end(condition, var, extents, extent) for condition in held), default=extent)


def _end(condition: Expr, var: Var, extents: Extents, otherwise: int) -> int:
    """Give from which iteration of `var` on `condition` fails whatever the loops inside do."""
    form = room(condition)
    if form is None or form.coefficient(var) >= 0 or form.data:
        return otherwise
    step, most = form.coefficient(var), form.without(var)
    for inner, extent in extents.items():
        coefficient = most.coefficient(inner)
        most = most.without(inner) + max(0, coefficient) * (extent - 1)
    return max(0, min(otherwise, most.constant // -step + 1)) if most.is_constant else otherwise
