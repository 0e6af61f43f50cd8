"""Conditions that hold for all lanes of a vector or for none: the lane is taken out of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from ...ir import arith
from ...ir.affine import Affine, affine_of, is_index
from ...ir.expr import Expr, Le, Lt, Var
from ...ir.stmt import For, ForKind, Stmt
from ...ir.target import Target
from ...ir.visit import Node, of_kind, rewrite


@dataclass(frozen=True, slots=True)
class WidenGuards:
    """Take the variables of vector loops out of comparisons that do not depend on them.

    for j in vectorized(4):                       for j in vectorized(4):
        if i * 4 + j < 48: S             ->           if i * 4 < 48: S

    All but the lane is a multiple of some g here, and so is the bound, while the lane is less than g.
    """

    def __call__(self, body: Stmt, target: Target) -> Stmt:
        """Give the body with its conditions widened."""
        loops = [n for n in of_kind(body, For) if n.kind is ForKind.VECTORIZED]
        lanes = {n.var: extent for n in loops if (extent := arith.int_value(n.extent)) is not None}
        if not lanes:
            return body

        def rule(node: Node) -> Node | None:
            match node:
                case Lt(a, b) if is_index(a.dtype):
                    return _widened(affine_of(b) - affine_of(a) - 1, lanes, a)
                case Le(a, b) if is_index(a.dtype):
                    return _widened(affine_of(b) - affine_of(a), lanes, a)
                case _:
                    return None

        return rewrite(body, rule)


def _widened(form: Affine, lanes: dict[Var, int], like: Expr) -> Expr | None:
    """Give `form >= 0` without the lanes, or None where they matter or are not in it."""
    mine = {m: c for m, c in form.terms.items() if len(m) == 1 and m[0] in lanes}
    if not mine:
        return None
    step = gcd(*(c for m, c in form.terms.items() if m not in mine)) if len(mine) < len(form.terms) else 0
    most = sum(-c * (lanes[m[0]] - 1) for m, c in mine.items())  # type: ignore[index]
    if step < 2 or any(c > 0 for c in mine.values()) or most > form.constant % step:
        return None
    rest = {m: c for m, c in form.terms.items() if m not in mine}
    whole = Affine(rest, form.constant // step * step)
    less = Affine({m: -c for m, c in whole.terms.items() if c < 0})
    more = Affine({m: c for m, c in whole.terms.items() if c > 0}, whole.constant)
    return Lt(less.to_expr(like.dtype), (more + step).to_expr(like.dtype))
