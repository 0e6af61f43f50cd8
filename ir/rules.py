"""Identities that hold for every value of their variables, NaN and wrapping included, as data.

Each line is a pattern and what it becomes.  A bool variable stands for any condition, an int32 one for any integer
type, a float32 one for any float type, and `x`, `y`, `z` for anything; a variable that occurs twice stands for equal
expressions.  Literals take the type of the whole.  Index arithmetic has stronger means: `ir.affine`, `ir.interval`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, cast

from .affine import is_pure
from .dtype import DType, Kind, boolean, float32
from .expr import (
    And,
    Call,
    Cast,
    Const,
    Div,
    Eq,
    Expr,
    IfThenElse,
    Le,
    Lt,
    Max,
    Min,
    Mul,
    Ne,
    Not,
    Or,
    Select,
    Sub,
    Var,
)
from .visit import children, rewrite, same, walk, with_fields

p, q = (Var(name, boolean) for name in "pq")
i, j = (Var(name) for name in "ij")
f = Var("f", float32)
x, y, z = (Var(name) for name in "xyz")
ANYTHING = frozenset({x, y, z})

true, false = Const(True, boolean), Const(False, boolean)
zero, zero_f, one_f = Const(0), Const(0.0, float32), Const(1.0, float32)

RULES: tuple[tuple[Expr, Expr], ...] = (
    (Not(Not(p)), p),
    (Not(true), false),
    (Not(false), true),
    (Not(Lt(i, j)), Le(j, i)),
    (Not(Le(i, j)), Lt(j, i)),
    (Not(Eq(i, j)), Ne(i, j)),
    (Not(Ne(i, j)), Eq(i, j)),
    (And(p, p), p),
    (And(p, true), p),
    (And(true, p), p),
    (And(p, false), false),
    (And(false, p), false),
    (And(p, Or(p, q)), p),
    (And(And(p, q), p), And(p, q)),
    (And(And(p, q), q), And(p, q)),
    (Or(p, p), p),
    (Or(p, true), true),
    (Or(true, p), true),
    (Or(p, false), p),
    (Or(false, p), p),
    (Or(p, And(p, q)), p),
    (Or(Or(p, q), p), Or(p, q)),
    (Or(Or(p, q), q), Or(p, q)),
    (Select(true, x, y), x),
    (Select(false, x, y), y),
    (Select(p, x, x), x),
    (Select(p, true, false), p),
    (Select(p, false, true), Not(p)),
    (Select(Not(p), x, y), Select(p, y, x)),
    (Select(p, Select(p, x, y), z), Select(p, x, z)),
    (Select(p, x, Select(p, y, z)), Select(p, x, z)),
    (IfThenElse(true, x, y), x),
    (IfThenElse(false, x, y), y),
    (IfThenElse(p, x, x), x),
    (IfThenElse(Not(p), x, y), IfThenElse(p, y, x)),
    (IfThenElse(p, IfThenElse(p, x, y), z), IfThenElse(p, x, z)),
    (IfThenElse(p, x, IfThenElse(p, y, z)), IfThenElse(p, x, z)),
    (IfThenElse(p, IfThenElse(q, x, y), y), IfThenElse(And(p, q), x, y)),
    (Min(x, x), x),
    (Max(x, x), x),
    (Min(Min(i, j), j), Min(i, j)),
    (Min(Min(i, j), i), Min(i, j)),
    (Max(Max(i, j), j), Max(i, j)),
    (Max(Max(i, j), i), Max(i, j)),
    (Sub(i, i), zero),
    (Eq(i, i), true),
    (Ne(i, i), false),
    (Le(i, i), true),
    (Lt(i, i), false),
    (Lt(f, f), false),
    (Mul(f, one_f), f),
    (Mul(one_f, f), f),
    (Div(f, one_f), f),
    (Sub(f, zero_f), f),
)


_Needed = tuple[tuple[str, type, object], ...]  # operands of some class: name, class, value of a literal or None
_Rule = tuple[Expr, Expr, _Needed]  # pattern, result, and what is seen at a glance


def _by_class(rules: Iterable[tuple[Expr, Expr]]) -> dict[type, tuple[_Rule, ...]]:
    table: dict[type, tuple[_Rule, ...]] = {}
    for pattern, result in rules:
        operands = ((f.name, getattr(pattern, f.name)) for f in fields(cast("Any", pattern)))
        needed = tuple((name, type(x), getattr(x, "value", None)) for name, x in operands if type(x) is not Var)
        table[type(pattern)] = (*table.get(type(pattern), ()), (pattern, result, needed))
    return table


_TABLE = _by_class(RULES)


def apply(node: Expr) -> Expr | None:
    """Give what the first rule that fits makes of `node`, or None."""
    if type(node) is Cast:
        return cast_of_cast(node)
    for pattern, result, needed in _TABLE.get(type(node), ()):
        bound: dict[Var, Expr] = {}
        if (not needed or _may_fit(node, needed)) and _fits(pattern, node, bound):
            return _filled(result, bound, node.dtype)
    return None


def _may_fit(node: Expr, needed: _Needed) -> bool:
    """Tell at a glance whether the operands that a rule is particular about are of the right classes and values."""
    for name, cls, value in needed:
        operand: Any = getattr(node, name)
        if type(operand) is not cls or (cls is Const and operand.value != value):
            return False
    return True


def _fits(pattern: Any, node: Any, bound: dict[Var, Expr]) -> bool:
    if type(pattern) is Var:
        if pattern in bound:
            return same(bound[pattern], node) and not _has_effect(node)
        if pattern not in ANYTHING and not _stands_for(pattern.dtype, node.dtype):
            return False
        bound[pattern] = node
        return True
    if type(pattern) is not type(node):
        return False
    if type(pattern) is Const:
        return _kind(pattern.dtype) is _kind(node.dtype) and str(pattern.value) == str(node.value)
    return all(_fits(a, b, bound) for a, b in zip(children(pattern), children(node), strict=True))


def _has_effect(node: Expr) -> bool:
    return any(type(n) is Call and not is_pure(n) for n in walk(node))


def _stands_for(pattern: DType, dtype: DType) -> bool:
    return _kind(pattern) is _kind(dtype)


def _kind(dtype: DType) -> Kind:
    """Give the kind with signed and unsigned, and all floats, as one."""
    return Kind.FLOAT if dtype.is_float else Kind.INT if dtype.is_int else Kind.BOOL


def _filled(result: Expr, bound: dict[Var, Expr], dtype: DType) -> Expr:
    def fill(node: object) -> Expr | None:
        if type(node) is Var:
            return bound[node]
        return with_fields(node, {"dtype": dtype}) if type(node) is Const else None

    return rewrite(result, fill)  # type: ignore[arg-type]


def cast_of_cast(node: Cast) -> Expr | None:
    """Give `Cast(Cast(x, wide), t)` as `Cast(x, t)` where `wide` holds every value of x exactly; x if t is its type."""
    inner = node.value
    if node.dtype == inner.dtype:
        return inner
    if type(inner) is not Cast:
        return None
    start, wide, end = inner.value.dtype, inner.dtype, node.dtype
    if not holds_all(wide, start) or (wide.is_float and not end.is_float and not holds_all(end, start)):
        return None
    return inner.value if start == end else Cast(inner.value, end)


def holds_all(wide: DType, narrow: DType) -> bool:
    """Tell whether every value of `narrow` is a value of `wide`."""
    if wide == narrow or narrow == boolean:
        return True
    if wide == boolean or (narrow.is_float and not wide.is_float):
        return False
    if not wide.is_float:
        return wide.min_value <= narrow.min_value and narrow.max_value <= wide.max_value
    digits = _DIGITS[wide.kind, wide.bits]
    if not narrow.is_float:
        return narrow.bits - (narrow.kind is Kind.INT) <= digits
    return wide.bits > narrow.bits


_DIGITS = {(Kind.FLOAT, 16): 11, (Kind.BFLOAT, 16): 8, (Kind.FLOAT, 32): 24, (Kind.FLOAT, 64): 53}
