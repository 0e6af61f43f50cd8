"""Calls: intrinsics that are LLVM's own, vector maths functions, int8 dot products, external C functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.dtype import Kind, boolean
from ...ir.errors import CodegenError
from ...ir.expr import Address, Call, Expr
from ...ir.intrinsics import DOTS, INTRINSICS
from .address import flat_offset, pointer
from .arithmetic import binary, compare, constant, same_lanes
from .body import Body
from .features import has
from .fused import fused, must_be_made
from .maths import vector_maths
from .products import dot_product, strided_dot_product
from .types import Value, computed, memory_type, suffix, value_type, vector

Evaluate = Callable[[Body, Expr], Value]

_LLVM_FLOAT = {
    "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "round": "round", "nearbyint": "nearbyint",
    "copysign": "copysign", "fma": "fma",
}  # fmt: skip
_BITS = {"shift_left": "shl", "bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor"}


def call(body: Body, expr: Call, evaluate: Evaluate) -> Value:
    """Give the result of a call; of one made for its effect the result means nothing."""
    name = expr.name
    if name not in INTRINSICS:
        return _external(body, expr, evaluate)
    special = _SPECIAL.get(name)
    if special is not None:
        return special(body, expr, evaluate)
    arguments = list(same_lanes(body, *[evaluate(body, a) for a in expr.args]))
    if name == "fma" and must_be_made(body.target, arguments[0].elem):
        return fused(body, *arguments)
    if name in _LLVM_FLOAT:
        return _intrinsic(body, _LLVM_FLOAT[name], arguments)
    if name in _BITS:
        return binary(body, _BITS[name], arguments[0], arguments[1])
    return _maths(body, expr, arguments)


def _intrinsic(body: Body, name: str, arguments: list[Value], *flags: str) -> Value:
    """Call an intrinsic that is overloaded on the type of its first argument, which is also its result's."""
    first = arguments[0]
    symbol = f"@llvm.{name}.{suffix(first.elem, first.lanes)}"
    listed = ", ".join([*(f"{a.type} {a.text}" for a in arguments), *flags])
    text = f"call {first.type} {symbol}({listed})"
    return Value(body.code.pure(text, *(a.text for a in arguments)), first.elem, first.lanes)


def _maths(body: Body, expr: Call, arguments: list[Value]) -> Value:
    first = arguments[0]
    scales = has(body.target, "avx512vl") and has(body.target, "avx512dq")
    function = vector_maths(expr.name, computed(expr.args[0].dtype), first.lanes, scales)
    body.module.definitions.setdefault(function.symbol, function.definition)
    body.module.declarations.update(dict.fromkeys(function.declares))
    listed = ", ".join(f"{a.type} {a.text}" for a in arguments)
    text = f"call {first.type} {function.symbol}({listed})"
    return Value(body.code.pure(text, *(a.text for a in arguments)), first.elem, first.lanes)


def _absolute(body: Body, expr: Call, evaluate: Evaluate) -> Value:
    value = evaluate(body, expr.args[0])
    if expr.dtype.is_float:
        return _intrinsic(body, "fabs", [value])
    return value if expr.dtype.kind is Kind.UINT else _intrinsic(body, "abs", [value], "i1 false")


def _classify(name: str) -> Callable[[Body, Call, Evaluate], Value]:
    def emit_test(body: Body, expr: Call, evaluate: Evaluate) -> Value:
        dtype = computed(expr.args[0].dtype)
        value = evaluate(body, expr.args[0])
        if not dtype.is_float:
            return constant(name == "isfinite", boolean)
        if name == "isnan":
            return compare(body, "ne", value, value, dtype)
        op = "eq" if name == "isinf" else "lt"
        return compare(body, op, _intrinsic(body, "fabs", [value]), constant(float("inf"), dtype), dtype)

    return emit_test


def _bitwise_not(body: Body, expr: Call, evaluate: Evaluate) -> Value:
    value = evaluate(body, expr.args[0])
    return binary(body, "xor", value, Value("-1", value.elem))


def _shift_right(body: Body, expr: Call, evaluate: Evaluate) -> Value:
    a, b = (evaluate(body, x) for x in expr.args)
    return binary(body, "ashr" if expr.dtype.kind is Kind.INT else "lshr", a, b)


def _count_bits(name: str, *flags: str) -> Callable[[Body, Call, Evaluate], Value]:
    def emit_count(body: Body, expr: Call, evaluate: Evaluate) -> Value:
        from .arithmetic import cast

        source = expr.args[0].dtype
        counted = _intrinsic(body, name, [evaluate(body, expr.args[0])], *flags)
        return cast(body, counted, source, expr.dtype)

    return emit_count


def _reinterpret(body: Body, expr: Call, evaluate: Evaluate) -> Value:
    from .memory import narrow, widen

    value = narrow(body, evaluate(body, expr.args[0]), expr.args[0].dtype)
    target = vector(memory_type(expr.dtype), value.lanes)
    bits = body.code.pure(f"bitcast {value.type} {value.text} to {target}", value.text)
    return widen(body, Value(bits, memory_type(expr.dtype), value.lanes), expr.dtype)


def _prefetch(body: Body, expr: Call, evaluate: Evaluate) -> Value:
    place, mode = expr.args
    assert isinstance(place, Address), "prefetch takes an address"
    if place.buffer not in body.pointers:  # it lies in registers
        return Value("0", value_type(expr.dtype))
    where = pointer(body, place.buffer, flat_offset(body, place))
    body.code.effect(f"call void @llvm.prefetch.p0(ptr {where}, i32 {evaluate(body, mode).text}, i32 3, i32 1)")
    return Value("0", value_type(expr.dtype))


def _external(body: Body, expr: Call, evaluate: Evaluate) -> Value:
    """Call a C function; small integers are passed as themselves, addresses as pointers."""
    listed, types = [], []
    for argument in expr.args:
        if isinstance(argument, Address):
            if argument.buffer not in body.pointers:
                raise CodegenError(
                    "llvm", f"buffer {argument.buffer.name} has no address here", str(expr), "scope it global"
                )
            body.loaded.pop(argument.buffer, None)
            kind, text = "ptr", pointer(body, argument.buffer, flat_offset(body, argument))
        else:
            value = evaluate(body, argument)
            kind, text = value.type, value.text
        types.append(kind)
        listed.append(f"{kind} {text}")
    result = value_type(expr.dtype)
    symbol = body.module.declare(result, expr.name, *types)
    return Value(body.code.result(f"call {result} {symbol}({', '.join(listed)})"), result)


_SPECIAL: dict[str, Callable[[Body, Any, Evaluate], Value]] = {
    "abs": _absolute,
    "isnan": _classify("isnan"),
    "isinf": _classify("isinf"),
    "isfinite": _classify("isfinite"),
    "bitwise_not": _bitwise_not,
    "shift_right": _shift_right,
    "popcount": _count_bits("ctpop"),
    "clz": _count_bits("ctlz", "i1 false"),
    "reinterpret": _reinterpret,
    "prefetch": _prefetch,
    **dict.fromkeys(DOTS, lambda body, expr, _: dot_product(body, expr)),
    "dot4_strided_u8s8_i32": lambda body, expr, _: strided_dot_product(body, expr),
}
