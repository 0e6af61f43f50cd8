"""Operators on values: one LLVM instruction each, or the few that correct for LLVM's rounding."""

from __future__ import annotations

from ...ir.dtype import DType, Kind, boolean
from .body import Body
from .index import broadcast
from .types import FALSE, TRUE, Value, computed, literal, splat_literal, suffix, value_type, vector

_FLOAT_OPS = {"add": "fadd", "sub": "fsub", "mul": "fmul"}
_ORDERED = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt"}


def same_lanes(body: Body, *values: Value) -> tuple[Value, ...]:
    """Give the values with scalars broadcast where another one is a vector."""
    lanes = max([v.lanes for v in values])
    return values if lanes == 1 else tuple([broadcast(body, v, lanes) for v in values])


def binary(body: Body, op: str, a: Value, b: Value) -> Value:
    """Give `add`, `sub` or `mul` of two values, or another instruction of that name."""
    a, b = same_lanes(body, a, b)
    if a.elem in ("float", "double"):
        op = _FLOAT_OPS.get(op, op)
    return Value(body.code.pure(f"{op} {a.type} {a.text}, {b.text}", a.text, b.text), a.elem, a.lanes)


def multiply_add(body: Body, a: Value, b: Value, c: Value) -> Value:
    """Give a * b + c of floats, fused where the machine can."""
    a, b, c = same_lanes(body, a, b, c)
    kind = a.type
    text = f"call {kind} @llvm.fmuladd.{suffix(a.elem, a.lanes)}({kind} {a.text}, {kind} {b.text}, {kind} {c.text})"
    return Value(body.code.pure(text, a.text, b.text, c.text), a.elem, a.lanes)


def compare(body: Body, op: str, a: Value, b: Value, dtype: DType) -> Value:
    """Give a comparison of two values of `dtype`; with a NaN only `ne` holds."""
    a, b = same_lanes(body, a, b)
    if dtype.is_float:
        text = f"fcmp {_ORDERED[op]} {a.type} {a.text}, {b.text}"
    else:
        sign = "" if op in ("eq", "ne") else "s" if dtype.kind is Kind.INT else "u"
        text = f"icmp {sign}{op} {a.type} {a.text}, {b.text}"
    return Value(body.code.pure(text, a.text, b.text), "i1", a.lanes)


def select(body: Body, condition: Value, a: Value, b: Value) -> Value:
    """Give a where the condition holds, else b; the condition may be one for all lanes."""
    if condition.text == "true" or a == b:
        return a
    if condition.text == "false":
        return b
    a, b = same_lanes(body, a, b)
    if condition.lanes > 1:
        a, b = broadcast(body, a, condition.lanes), broadcast(body, b, condition.lanes)
    text = f"select {condition.type} {condition.text}, {a.type} {a.text}, {b.type} {b.text}"
    return Value(body.code.pure(text, condition.text, a.text, b.text), a.elem, a.lanes)


def extreme(body: Body, a: Value, b: Value, dtype: DType, lesser: bool) -> Value:
    """Give `a if a < b else b`, or with `>`."""
    return select(body, compare(body, "lt" if lesser else "gt", a, b, dtype), a, b)


def conjunction(body: Body, a: Value, b: Value) -> Value:
    """Give a and b."""
    if FALSE.text in (a.text, b.text):
        return FALSE
    return b if a.text == "true" else a if b.text == "true" else binary(body, "and", a, b)


def negation(body: Body, a: Value) -> Value:
    """Give not a."""
    if a.text in ("true", "false"):
        return FALSE if a.text == "true" else TRUE
    return binary(body, "xor", a, TRUE)


def constant(number: int | float | bool, dtype: DType) -> Value:
    """Give a literal."""
    return Value(literal(number, dtype), value_type(dtype))


def _number(body: Body, number: int, like: Value) -> Value:
    return Value(splat_literal(str(number), like.elem, like.lanes), like.elem, like.lanes)


def floor_divide(body: Body, a: Value, b: int | Value, dtype: DType, count: bool = False) -> Value:
    """Give floor(a / b); `count` says that a is never negative, with a positive literal b."""
    if isinstance(b, int):
        shift = b.bit_length() - 1
        unsigned = count or dtype.kind is Kind.UINT
        if b == 1 << shift:
            return binary(body, "lshr" if unsigned else "ashr", a, _number(body, shift, a)) if shift else a
        if unsigned:
            return binary(body, "udiv", a, _number(body, b, a))
        b = _number(body, b, a)
    a, b = same_lanes(body, a, _divisor(body, b))
    if dtype.kind is Kind.UINT:
        return _unsafe(body, "udiv", a, b)
    quotient, wrong = _unsafe(body, "sdiv", a, b), _rounded_up(body, a, b)
    one_less = binary(body, "add", quotient, _number(body, -1, a))
    return select(body, wrong, one_less, quotient)


def floor_modulo(body: Body, a: Value, b: int | Value, dtype: DType, count: bool = False) -> Value:
    """Give a - floor(a / b) * b."""
    if isinstance(b, int):
        unsigned = count or dtype.kind is Kind.UINT
        if b & (b - 1) == 0:
            return binary(body, "and", a, _number(body, b - 1, a))
        if unsigned:
            return binary(body, "urem", a, _number(body, b, a))
        b = _number(body, b, a)
    a, b = same_lanes(body, a, _divisor(body, b))
    if dtype.kind is Kind.UINT:
        return _unsafe(body, "urem", a, b)
    remainder, wrong = _unsafe(body, "srem", a, b), _rounded_up(body, a, b)
    return select(body, wrong, binary(body, "add", remainder, b), remainder)


def _unsafe(body: Body, op: str, a: Value, b: Value) -> Value:
    """Write a division where it stands: it must not move to where its divisor may be zero."""
    return Value(body.code.local(f"{op} {a.type} {a.text}, {b.text}"), a.elem, a.lanes)


def _divisor(body: Body, b: Value) -> Value:
    """Give the divisor, 1 in lanes that are not active: their values mean nothing and may be zero."""
    if body.mask is None or not b.text.startswith("%"):
        return b
    return select(body, body.mask, b, Value("1", b.elem))


def _rounded_up(body: Body, a: Value, b: Value) -> Value:
    """Tell where truncation differs from the floor: a remainder, and operands of different signs."""
    remainder = _unsafe(body, "srem", a, b)
    signs = binary(body, "xor", remainder, b)
    inexact = binary(body, "icmp ne", remainder, _number(body, 0, a))._replace(elem="i1")
    opposed = binary(body, "icmp slt", signs, _number(body, 0, a))._replace(elem="i1")
    return binary(body, "and", inexact, opposed)


def cast(body: Body, value: Value, source: DType, target: DType) -> Value:
    """Give `value` of type `source` converted to `target`, as the value of that type in its computing type."""
    from .memory import rounded

    if source == target:
        return value
    converted = _convert(body, value, computed(source), computed(target))
    return rounded(body, converted, target)


def _convert(body: Body, value: Value, source: DType, target: DType) -> Value:
    elem = value_type(target)
    kind = vector(elem, value.lanes)
    op = _conversion(source, target)
    if op == "":
        return Value(value.text, elem, value.lanes)
    if op == "test":
        zero = splat_literal("0" if not source.is_float else "0.0", value.elem, value.lanes)
        test = "fcmp une" if source.is_float else "icmp ne"
        return Value(body.code.pure(f"{test} {value.type} {value.text}, {zero}", value.text), "i1", value.lanes)
    if op in ("fptosi", "fptoui"):  # out of range the value saturates instead of being undefined
        symbol = f"@llvm.{op}.sat.{suffix(elem, value.lanes)}.{suffix(value.elem, value.lanes)}"
        return Value(body.code.pure(f"call {kind} {symbol}({value.type} {value.text})", value.text), elem, value.lanes)
    return Value(body.code.pure(f"{op} {value.type} {value.text} to {kind}", value.text), elem, value.lanes)


def _conversion(source: DType, target: DType) -> str:
    """Give the LLVM instruction, "test" for the conversion to bool, or nothing where the bits stay."""
    signed = source.kind is Kind.INT
    if target == boolean:
        return "test" if source != boolean else ""
    if source.is_float and target.is_float:
        return "" if source.bits == target.bits else "fpext" if source.bits < target.bits else "fptrunc"
    if source.is_float:
        return "fptosi" if target.kind is Kind.INT else "fptoui"
    if target.is_float:
        return "sitofp" if signed else "uitofp"
    if source.bits == target.bits:
        return ""
    return "trunc" if source.bits > target.bits else "sext" if signed else "zext"
