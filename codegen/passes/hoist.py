"""Conditions that are the same in every iteration of a loop: tested once, around it."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import arith
from ...ir.expr import Call, Expr, Load, Var
from ...ir.stmt import Evaluate, For, ForKind, If, Seq, Stmt, seq
from ...ir.target import Target
from ...ir.visit import contains, inner_statements, rewrite_statements, variables, with_fields
from .conditions import conjuncts

_OURS = (ForKind.SERIAL, ForKind.VECTORIZED, ForKind.UNROLLED)


@dataclass(frozen=True, slots=True)
class HoistConditions:
    """Take a condition out of the loops that it does not depend on, where it guards the whole body.

    for k in range(64):                     if 1 <= y:
        for j in vectorized(16):                for k in range(64):
            if 1 <= y:                ->            for j in vectorized(16):
                S                                       S

    Prefetches ahead of it go along: they ask for what S reads.
    """

    def __call__(self, body: Stmt, target: Target) -> Stmt:
        """Give the body with its conditions as far outside as they may be."""
        return rewrite_statements(body, _hoisted) if contains(body, If) else body


def _hoisted(node: Stmt) -> Stmt | None:
    match node:
        case For(var, body=body, kind=kind) if kind in _OURS:
            steps = body.body if type(body) is Seq else (body,)
        case _:
            return None
    match steps:
        case (*ahead, If(condition, then, None)) if all(map(_asks_ahead, ahead)):
            parts = list(conjuncts(condition))
            fixed = [part for part in parts if _is_fixed(part, var)]
            if not fixed:
                return None
            moving = [part for part in parts if not _is_fixed(part, var)]
            inner = If(arith.logical_and(*moving), then) if moving else then
            return If(arith.logical_and(*fixed), with_fields(node, {"body": seq(*ahead, inner)}))
        case _:
            return None


def _asks_ahead(stmt: Stmt) -> bool:
    """Tell whether a statement does nothing but prefetch."""
    match stmt:
        case Evaluate(Call(name="prefetch")):
            return True
        case For() | Seq():
            return all(map(_asks_ahead, inner_statements(stmt)))
        case _:
            return False


def _is_fixed(condition: Expr, var: Var) -> bool:
    """Tell whether a condition is the same whatever a loop does."""
    return var not in variables(condition) and not contains(condition, Load, Call)
