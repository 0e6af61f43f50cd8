"""Evaluation of expressions: from the node and the environment to an SSA value or a literal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir import arith
from ...ir import expr as e
from ...ir.dtype import DType, boolean, float32
from ...ir.errors import CodegenError
from ...ir.expr import Expr
from ...ir.visit import of_kind
from .address import deciding
from .arithmetic import (
    binary,
    cast,
    compare,
    conjunction,
    constant,
    extreme,
    floor_divide,
    floor_modulo,
    multiply_add,
    negation,
    select,
)
from .body import Body, Linear
from .calls import call
from .code import Code, Lines
from .index import is_constant, is_index, lanes_of, linear, materialise
from .memory import known_lanes, load, rounded
from .saturate import clamped_to_round, is_clamped, nearest, saturated, truncated
from .types import FALSE, TRUE, Value, lane_literal, value_type, vector

_COMPARE: dict[type[Expr], tuple[str, Callable[[Any, Any], bool]]] = {
    e.Eq: ("eq", lambda a, b: a == b),
    e.Ne: ("ne", lambda a, b: a != b),
    e.Lt: ("lt", lambda a, b: a < b),
    e.Le: ("le", lambda a, b: a <= b),
}


def evaluate(body: Body, expr: Expr) -> Value:
    """Give the value of `expr`: a vector where it differs between lanes, else a scalar."""
    kind = type(expr)
    if kind in _SUMS and is_index(expr.dtype):
        return materialise(body, linear(body, expr), value_type(expr.dtype))
    return _EVALUATE[kind](body, expr)


def guard(body: Body, condition: Expr) -> Value:
    """Give the value of a condition, evaluated once for the copies that written-out loops make of it."""
    variables = deciding(body, condition)
    if variables is None:
        return evaluate(body, condition)
    key = (id(condition), body.lanes, *[body.env.get(v) for v in variables])
    found = body.held.get(key)
    if found is None:
        found = body.held[key] = evaluate(body, condition)
    return found


def evaluate_atom(body: Body, expr: Expr) -> Value:
    """Give the value of an integer expression that is no sum."""
    return _EVALUATE[type(expr)](body, expr)


def _constant(body: Body, expr: e.Const) -> Value:
    return body.fact("literal", expr, lambda node: constant(node.value, node.dtype))


def _variable(body: Body, expr: e.Var) -> Value:
    value = body.env.get(expr)
    if value is None:
        raise CodegenError("llvm", f"variable {expr.name} is read outside its scope", advice="bind it by a loop or let")
    return materialise(body, value, value_type(expr.dtype)) if isinstance(value, Linear) else value


def _cast(body: Body, expr: e.Cast) -> Value:
    source, target = expr.value.dtype, expr.dtype
    if source == float32 and not target.is_float and target != boolean:
        whole = _whole(body, expr.value, target)
        if whole is not None:
            return rounded(body, whole, target)
    return cast(body, evaluate(body, expr.value), source, target)


def _whole(body: Body, expr: Expr, target: DType) -> Value | None:
    """Give a float32 as an integer, or None for what LLVM's own conversion is left to."""
    near = clamped_to_round(expr, target)
    if near is not None:
        return nearest(body, evaluate(body, near), target)
    value = evaluate(body, expr)
    return truncated(body, value, target) if is_clamped(expr, target) else saturated(body, value, target)


def _add(body: Body, expr: e.Add) -> Value:
    a, b = expr.a, expr.b
    if expr.dtype.is_float:
        if type(b) is e.Mul:
            left = evaluate(body, a)
            return multiply_add(body, evaluate(body, b.a), evaluate(body, b.b), left)
        if type(a) is e.Mul:
            right = evaluate(body, b)
            return multiply_add(body, evaluate(body, a.a), evaluate(body, a.b), right)
    return binary(body, "add", evaluate(body, a), evaluate(body, b))


def _binary(op: str) -> Callable[[Body, Any], Value]:
    return lambda body, expr: binary(body, op, evaluate(body, expr.a), evaluate(body, expr.b))


def _divide(apply: Callable[..., Value]) -> Callable[[Body, Any], Value]:
    def evaluate_division(body: Body, expr: e.FloorDiv | e.FloorMod) -> Value:
        known = arith.int_value(expr.b)
        divisor = evaluate(body, expr.b) if known is None or known <= 0 else known
        return apply(body, evaluate(body, expr.a), divisor, expr.dtype)

    return evaluate_division


def _extreme(lesser: bool) -> Callable[[Body, Any], Value]:
    return lambda body, expr: extreme(body, evaluate(body, expr.a), evaluate(body, expr.b), expr.dtype, lesser)


def _comparison(body: Body, expr: e.Comparison) -> Value:
    op, holds = _COMPARE[type(expr)]
    dtype = expr.a.dtype
    if not is_index(dtype):
        return compare(body, op, evaluate(body, expr.a), evaluate(body, expr.b), dtype)
    a, b = linear(body, expr.a), linear(body, expr.b)
    if is_constant(a) and is_constant(b):
        if a.stride == b.stride and not (a.pattern or b.pattern):  # as far apart in all lanes
            return TRUE if holds(a.constant, b.constant) else FALSE
        known = tuple(map(holds, lanes_of(a, body.lanes), lanes_of(b, body.lanes)))
        if all(known) or not any(known):
            return TRUE if known[0] else FALSE
        return Value(lane_literal(tuple(map(int, known)), "i1"), "i1", body.lanes)
    elem = value_type(dtype)
    return compare(body, op, materialise(body, a, elem), materialise(body, b, elem), dtype)


def _and(body: Body, expr: e.And) -> Value:
    return lazily(body, evaluate(body, expr.a), lambda: evaluate(body, expr.b), lambda: FALSE, expr.b)


def _or(body: Body, expr: e.Or) -> Value:
    return lazily(body, evaluate(body, expr.a), lambda: TRUE, lambda: evaluate(body, expr.b), expr.b)


def _not(body: Body, expr: e.Not) -> Value:
    return negation(body, evaluate(body, expr.a))


def _select(body: Body, expr: e.Select) -> Value:
    condition = evaluate(body, expr.condition)
    if condition.text in ("true", "false"):
        return evaluate(body, expr.then if condition == TRUE else expr.otherwise)
    return select(body, condition, evaluate(body, expr.then), evaluate(body, expr.otherwise))


def _if_then_else(body: Body, expr: e.IfThenElse) -> Value:
    condition = guard(body, expr.condition)
    then, otherwise = expr.then, expr.otherwise
    return lazily(body, condition, lambda: evaluate(body, then), lambda: evaluate(body, otherwise), then, otherwise)


def is_safe(body: Body, expr: Expr) -> bool:
    """Tell whether `expr` may be evaluated where it is not wanted: it neither reads memory, nor divides, nor calls."""

    def unsafe(node: Any) -> bool:
        match node:
            case e.Load(buffer=buffer):
                return buffer not in body.registers
            case e.FloorDiv(_, e.Const()) | e.FloorMod(_, e.Const()):
                return False
            case e.FloorDiv() | e.FloorMod() | e.Call():
                return True
            case _:
                return False

    return not any(map(unsafe, of_kind(expr, e.Load, e.FloorDiv, e.FloorMod, e.Call)))


def lazily(
    body: Body, condition: Value, then: Callable[[], Value], otherwise: Callable[[], Value], *guarded: Expr
) -> Value:
    """Give one of two values and evaluate only that one: by a branch, or in the lanes that want it."""
    if condition.text in ("true", "false"):
        return then() if condition == TRUE else otherwise()
    if condition.lanes > 1:
        with body.masked(narrowed(body, condition)):
            a = then()
        with body.masked(narrowed(body, negation(body, condition))):
            b = otherwise()
        return (_conjunction_of_known(condition, a) if b == FALSE else None) or select(body, condition, a, b)
    if all(is_safe(body, x) for x in guarded):
        return select(body, condition, then(), otherwise())
    return _branch(body, condition, then, otherwise)


def _conjunction_of_known(a: Value, b: Value) -> Value | None:
    """Give a and b where `b` is true, or the lanes of both are known; else None."""
    if b == TRUE:
        return a
    lanes, others = known_lanes(a, a.lanes), known_lanes(b, b.lanes)
    if not lanes or len(lanes) != len(others):
        return None
    both = tuple(int(x and y) for x, y in zip(lanes, others, strict=True))
    return Value(lane_literal(both, "i1"), "i1", a.lanes) if any(both) else FALSE


def narrowed(body: Body, condition: Value) -> Value:
    """Give the active lanes in which the condition holds."""
    if body.mask is None:
        return condition
    known = _conjunction_of_known(body.mask, condition)
    return known if known is not None and known != FALSE else conjunction(body, body.mask, condition)


def _branch(body: Body, condition: Value, then: Callable[[], Value], otherwise: Callable[[], Value]) -> Value:
    code = body.code
    before = code.place()
    yes, no, after = code.label("then"), code.label("else"), code.label("after")
    code.effect(f"br i1 {condition.text}, label %{yes}, label %{no}")
    ends: list[tuple[Value, Lines, str]] = []
    for label, value_of in ((yes, then), (no, otherwise)):
        code.begin(label)
        with body.region(before, (), False):
            value = value_of()
        ends.append((value, code.place(), code.block))
        code.effect(f"br label %{after}")
    code.begin(after)
    lanes = max(value.lanes for value, _, _ in ends)
    incoming = [(_spread_at(code, place, value, lanes), block) for value, place, block in ends]
    elem = ends[0][0].elem
    listed = ", ".join(f"[ {text}, %{block} ]" for text, block in incoming)
    return Value(code.result(f"phi {vector(elem, lanes)} {listed}"), elem, lanes)


def _spread_at(code: Code, place: Lines, value: Value, lanes: int) -> str:
    """Give the value in every lane, broadcast at a place in a block that is already written."""
    if value.lanes == lanes:
        return value.text
    kind = vector(value.elem, lanes)
    one, all_lanes = code.fresh(), code.fresh()
    place.append(f"  {one} = insertelement {kind} poison, {value.type} {value.text}, i64 0")
    zeros = f"<{lanes} x i32> zeroinitializer"
    place.append(f"  {all_lanes} = shufflevector {kind} {one}, {kind} poison, {zeros}")
    return all_lanes


def _load(body: Body, expr: e.Load) -> Value:
    return load(body, expr)


def _call(body: Body, expr: e.Call) -> Value:
    return call(body, expr, evaluate)


_EVALUATE: dict[type[Expr], Callable[[Body, Any], Value]] = {
    e.Const: _constant,
    e.Var: _variable,
    e.Cast: _cast,
    e.Add: _add,
    e.Sub: _binary("sub"),
    e.Mul: _binary("mul"),
    e.Div: _binary("fdiv"),
    e.FloorDiv: _divide(floor_divide),
    e.FloorMod: _divide(floor_modulo),
    e.Min: _extreme(True),
    e.Max: _extreme(False),
    e.Eq: _comparison,
    e.Ne: _comparison,
    e.Lt: _comparison,
    e.Le: _comparison,
    e.And: _and,
    e.Or: _or,
    e.Not: _not,
    e.Select: _select,
    e.IfThenElse: _if_then_else,
    e.Load: _load,
    e.Call: _call,
}
_SUMS = frozenset({e.Var, e.Add, e.Sub, e.Mul, e.FloorDiv, e.FloorMod})
