"""Building expressions from operands: conversion of Python numbers, common data types, trivial folding.

Folding here is what keeps a freshly built index readable (`i * 1 + 0` is `i`); everything that needs to know
ranges is `ir.simplify`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any, TypeAlias

from . import expr as e
from .dtype import DType, Kind, boolean, dtype_of, float32, float64, int32, int64, promote
from .errors import ExpressionError, TypeMismatch

Operand: TypeAlias = "e.Expr | int | float | bool"
_LEAST, _MOST = -(1 << 31), (1 << 31) - 1  # of int32
_EQUALITY = "write a.equal(b) for equality of values, or const(True) for a literal"


def const(value: int | float | bool, dtype: str | DType | None = None) -> e.Const:
    """Give a literal: bool for a bool, int32 (int64 where it does not fit) for an int, float32 for a float."""
    if type(value) is int and (dtype is None or dtype is int32) and _LEAST <= value <= _MOST:  # as most are
        return e.Const(value, int32)
    dtype = _natural_dtype(value) if dtype is None else dtype_of(dtype)
    if dtype.is_float:
        return e.Const(float(value), dtype)
    if dtype == boolean:
        return e.Const(bool(value), dtype)
    return e.Const(wrap(int(value), dtype), dtype)


def _natural_dtype(value: int | float | bool) -> DType:
    match value:
        case bool():
            return boolean
        case int():
            return int32 if int32.min_value <= value <= int32.max_value else int64
        case _:
            return float32


def wrap(value: int, dtype: DType) -> int:
    """Give `value` modulo the range of an integer type, as machine arithmetic does."""
    value &= (1 << dtype.bits) - 1
    if dtype.kind is Kind.INT and value >> (dtype.bits - 1):
        value -= 1 << dtype.bits
    return value


def as_expr(value: e.Expr | int | float | bool, dtype: DType | None = None) -> e.Expr:
    """Give `value` as an expression; Python and NumPy numbers become literals of `dtype`.

    Raises TypeMismatch for anything else.
    """
    if isinstance(value, e.Expr):
        return value
    if isinstance(value, (bool, int, float)):
        return const(value, dtype)
    as_node = getattr(value, "as_expr", None)
    if as_node is not None:
        return as_node()
    item = getattr(value, "item", None)
    if item is not None and not getattr(value, "shape", ()):
        return const(item(), dtype or dtype_of(str(value.dtype)))
    raise TypeMismatch(
        "expression", f"{value!r} is no expression or number", advice="use tensors' elements and numbers"
    )


def operands(step: str, a: object, b: object) -> tuple[e.Expr, e.Expr]:
    """Give both operands as expressions of one data type; a Python number takes the other side's type."""
    if isinstance(a, e.Expr):  # first what most are: two indices, or an index and a number
        if isinstance(b, e.Expr) and a.dtype is b.dtype:
            return a, b
        if type(b) is int and a.dtype is int32 and _LEAST <= b <= _MOST:
            return a, e.Const(b, int32)
    if a is False or b is False or a is True or b is True:
        fact = "an operand is a Python bool; `==` between expressions compares Python objects"
        raise ExpressionError(step, fact, advice=_EQUALITY)
    x, y = as_expr(a), as_expr(b)  # type: ignore[arg-type]
    if x is not a:
        x = _literal_like(x, y)
    elif y is not b:
        y = _literal_like(y, x)
    if x.dtype is y.dtype:
        return x, y
    common = promote(x.dtype, y.dtype)
    return cast(common, x), cast(common, y)


def _literal_like(number: e.Expr, other: e.Expr) -> e.Expr:
    """Give a Python literal the other operand's type, unless it would lose its fraction or its high bits."""
    wanted = other.dtype
    match number:
        case e.Const(value) if wanted.is_float:
            return const(value, wanted)
        case e.Const(value, own) if wanted.is_int and not own.is_float:
            return const(value, wanted) if -(1 << (wanted.bits - 1)) <= value <= wanted.max_value else number
        case _:
            return number


def _folded(
    a: e.Expr, b: e.Expr, compute: Callable[[int, int], int], node: Callable[[e.Expr, e.Expr], e.Expr]
) -> e.Expr:
    """Give `node` of a and b, or fold integer literals; floats are folded by nobody: rounding stays the machine's."""
    if type(a) is e.Const and type(b) is e.Const and a.dtype.is_int:
        return const(compute(int(a.value), int(b.value)), a.dtype)
    return node(a, b)


def is_const(x: e.Expr, value: int) -> bool:
    """Tell whether `x` is the integer literal `value`."""
    return int_value(x) == value


def int_value(x: e.Expr) -> int | None:
    """Give the value of an integer literal, None for anything else."""
    if type(x) is not e.Const or x.dtype.is_float:  # asked too often for a match
        return None
    return int(x.value)


def add(a: Operand, b: Operand) -> e.Expr:
    """Give a + b."""
    a, b = operands("+", a, b)
    if is_const(a, 0):
        return b
    if is_const(b, 0):
        return a
    return _folded(a, b, operator.add, e.Add)


def sub(a: Operand, b: Operand) -> e.Expr:
    """Give a - b."""
    a, b = operands("-", a, b)
    if is_const(b, 0):
        return a
    return _folded(a, b, operator.sub, e.Sub)


def mul(a: Operand, b: Operand) -> e.Expr:
    """Give a * b."""
    a, b = operands("*", a, b)
    if is_const(a, 1) or is_const(b, 0):
        return b
    if is_const(b, 1) or is_const(a, 0):
        return a
    return _folded(a, b, operator.mul, e.Mul)


def div(a: Operand, b: Operand) -> e.Expr:
    """Give a / b of floats.  Raises TypeMismatch for two integers, where `/` could mean two things."""
    a, b = operands("/", a, b)
    if not a.dtype.is_float:
        raise TypeMismatch(
            "/", f"both operands are {a.dtype}", advice="`//` for the floor, or .astype('float32') first"
        )
    return e.Div(a, b)


def floordiv(a: Operand, b: Operand) -> e.Expr:
    """Give the floor of a / b.  Raises ExpressionError for a literal divisor of zero."""
    a, b = operands("//", a, b)
    _refuse_zero("//", a, b)
    if is_const(b, 1) or is_const(a, 0):
        return a
    return _folded(a, b, operator.floordiv, e.FloorDiv)


def floormod(a: Operand, b: Operand) -> e.Expr:
    """Give a - (a // b) * b.  Raises ExpressionError for a literal divisor of zero."""
    a, b = operands("%", a, b)
    _refuse_zero("%", a, b)
    if is_const(b, 1) or is_const(a, 0):
        return const(0, a.dtype)
    return _folded(a, b, operator.mod, e.FloorMod)


def _refuse_zero(step: str, a: e.Expr, b: e.Expr) -> None:
    if a.dtype.is_float:
        raise TypeMismatch(step, f"operands are {a.dtype}", advice="floor(a / b) of floats")
    if is_const(b, 0):
        raise ExpressionError(step, "the divisor is 0", advice="a divisor that is never zero")


def minimum(a: Operand, b: Operand) -> e.Expr:
    """Give the lesser of a and b."""
    a, b = operands("min", a, b)
    return a if a is b else _folded(a, b, min, e.Min)


def maximum(a: Operand, b: Operand) -> e.Expr:
    """Give the greater of a and b."""
    a, b = operands("max", a, b)
    return a if a is b else _folded(a, b, max, e.Max)


def _compared(step: str, a: Operand, b: Operand, node: type, compute: Callable[[Any, Any], bool]) -> e.Expr:
    a, b = operands(step, a, b)
    if type(a) is e.Const and type(b) is e.Const:
        return e.Const(compute(a.value, b.value), boolean)
    return node(a, b)


def eq(a: Operand, b: Operand) -> e.Expr:
    """Give a == b."""
    return _compared("equal", a, b, e.Eq, operator.eq)


def ne(a: Operand, b: Operand) -> e.Expr:
    """Give a != b."""
    return _compared("not equal", a, b, e.Ne, operator.ne)


def lt(a: Operand, b: Operand) -> e.Expr:
    """Give a < b."""
    return _compared("<", a, b, e.Lt, operator.lt)


def le(a: Operand, b: Operand) -> e.Expr:
    """Give a <= b."""
    return _compared("<=", a, b, e.Le, operator.le)


def condition(step: str, value: object) -> e.Expr:
    """Give `value` as a bool expression.

    Raises ExpressionError for a Python bool, which `==` between expressions gives, and TypeMismatch for numbers.
    """
    if value is True or value is False:
        fact = f"the condition is the Python value {value}; `==` between expressions compares Python objects"
        raise ExpressionError(step, fact, advice=_EQUALITY)
    node = as_expr(value)  # type: ignore[arg-type]
    if node.dtype != boolean:
        raise TypeMismatch(step, f"the condition has type {node.dtype}", advice="a comparison, such as x > 0")
    return node


def logical_and(*conditions: object) -> e.Expr:
    """Give the conjunction, evaluated from left to right; of nothing it is true."""
    return _connected("all", e.And, True, conditions)


def logical_or(*conditions: object) -> e.Expr:
    """Give the disjunction, evaluated from left to right; of nothing it is false."""
    return _connected("any", e.Or, False, conditions)


def _connected(
    step: str, node: Callable[[e.Expr, e.Expr], e.Expr], neutral: bool, conditions: tuple[object, ...]
) -> e.Expr:
    terms = [c for c in (condition(step, c) for c in conditions) if not is_known(c, neutral)]
    return reduce(node, terms) if terms else e.Const(neutral, boolean)


def logical_not(value: object) -> e.Expr:
    """Give the negation."""
    match condition("not", value):
        case e.Const(known):
            return e.Const(not known, boolean)
        case node:
            return e.Not(node)


def is_known(x: e.Expr, value: bool) -> bool:
    """Tell whether `x` is the bool literal `value`."""
    return type(x) is e.Const and x.value is value


def select(cond: object, then: Operand, otherwise: Operand) -> e.Expr:
    """Give `then` where `cond` holds, else `otherwise`; both may be evaluated."""
    return _chosen("select", e.Select, cond, then, otherwise)


def if_then_else(cond: object, then: Operand, otherwise: Operand) -> e.Expr:
    """Give `then` where `cond` holds, else `otherwise`; only the chosen one is evaluated, so it may guard a load."""
    return _chosen("if_then_else", e.IfThenElse, cond, then, otherwise)


def _chosen(
    step: str, node: type[e.Select] | type[e.IfThenElse], cond: object, then: Operand, otherwise: Operand
) -> e.Expr:
    decided = condition(step, cond)
    a, b = operands(step, then, otherwise)
    match decided:
        case e.Const(known):
            return a if known else b
        case _:
            return node(decided, a, b)


def cast(dtype: str | DType, value: Operand) -> e.Expr:
    """Give `value` converted to `dtype`; floats round to nearest, floats to integers truncate, integers wrap."""
    dtype = dtype_of(dtype)
    value = as_expr(value)
    if value.dtype == dtype:
        return value
    match value:
        case e.Const(number, own) if _folds(number, own, dtype):
            return const(number, dtype)
        case _:
            return e.Cast(value, dtype)


def _folds(number: e.Number, own: DType, to: DType) -> bool:
    """Tell whether a literal converted by Python is the one that the machine would give."""
    if to == float32 and own != float64 and abs(number) > 1 << 24:
        return False
    return (to.is_int or to in (float32, float64)) and math.isfinite(number)


def bitwise(name: str, a: Operand, b: Operand) -> e.Expr:
    """Give an integer operation on bits, or a connective of two bools.  Raises TypeMismatch for floats."""
    a, b = operands(name, a, b)
    if a.dtype == boolean and name in ("bitwise_and", "bitwise_or"):
        return logical_and(a, b) if name == "bitwise_and" else logical_or(a, b)
    if not a.dtype.is_int:
        raise TypeMismatch(name, f"operands are {a.dtype}", advice="integers")
    return e.Call(name, (a, b), a.dtype)


def truth_refusal(x: e.Expr) -> ExpressionError:
    """Give the error for asking an expression's Python truth value, which it has only when the kernel runs."""
    return ExpressionError(
        "condition",
        f"`{x}` has no truth value before the kernel runs",
        advice="te.if_then_else(...), te.all(...) and te.any(...) in place of if, and, or",
    )
