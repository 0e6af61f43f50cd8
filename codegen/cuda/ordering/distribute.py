"""A condition that some threads fail, moved from a statement to its parts: between those, all threads meet."""

from __future__ import annotations

from ....ir import arith
from ....ir.expr import Expr, IfThenElse, Load
from ....ir.prover import negated
from ....ir.stmt import Allocate, For, If, Let, Seq, Stmt, Store, seq
from ....ir.visit import contains, of_kind, statements, with_fields


def distributed(branch: If) -> Stmt | None:
    """Give a conditional one level further in, None where that is not possible.

    if c:                     if c:
        A            ->           A
        for i: B              for i:
                                  if c:
                                      B

    Needs: what it guards does not change the condition, and the extents of loops can be computed without it.
    """
    stored = {s.buffer for s in statements(branch) if type(s) is Store}
    if any(load.buffer in stored for load in of_kind(branch.condition, Load)):
        return None
    if branch.otherwise is not None:
        return seq(If(branch.condition, branch.then), If(_opposite(branch.condition), branch.otherwise))
    return _inside(branch.condition, branch.then)


def _inside(condition: Expr, body: Stmt) -> Stmt | None:
    match body:
        case Seq(parts):
            return Seq(tuple(If(condition, part) for part in parts))
        case For(body=inner, extent=extent) if not _loads(extent):
            return with_fields(body, {"body": If(condition, inner)})
        case Allocate(body=inner):
            return with_fields(body, {"body": If(condition, inner)})
        case Let(value=value, body=inner):
            if _loads(value):
                value = IfThenElse(condition, value, arith.const(0, value.dtype))
            return with_fields(body, {"value": value, "body": If(condition, inner)})
        case If(inner, then, otherwise):
            parts = [If(arith.logical_and(condition, inner), then)]
            if otherwise is not None:
                parts.append(If(arith.logical_and(condition, _opposite(inner)), otherwise))
            return seq(*parts)
        case _:
            return None


def joined(stmts: list[Stmt]) -> Stmt:
    """Give statements in order, neighbours under the very same condition on variables under one."""
    made: list[Stmt] = []
    for stmt in stmts:
        match made[-1] if made else None, stmt:
            case If(a, before, None), If(b, after, None) if a is b and not _loads(a):
                made[-1] = If(a, seq(before, after))
            case _:
                made.append(stmt)
    return seq(*made)


def _opposite(condition: Expr) -> Expr:
    found = negated(condition)
    return arith.logical_not(condition) if found is None else found


def _loads(expr: Expr) -> bool:
    return contains(expr, Load)
