"""Multiply-adds of float32 that are rounded once, on processors that have no instruction for them.

In float64 the product is exact.  The sum is rounded to odd there: where it is not exact, its last bit is 1, so that
rounding it to float32 goes the way that the exact sum would.
Source: Boldo, Melquiond, "Emulation of FMA and correctly rounded sums", IEEE Trans. Computers 57(4), 2008.
"""

from __future__ import annotations

from ...ir.target import Target
from .arithmetic import binary, select
from .body import Body
from .features import has, is_x86
from .types import Value, splat_literal, vector


def must_be_made(target: Target, elem: str) -> bool:
    """Tell whether LLVM would call a function of C for each lane."""
    return elem == "float" and is_x86(target) and not has(target, "fma")


def fused(body: Body, a: Value, b: Value, c: Value) -> Value:
    """Give a * b + c of float32, rounded once."""
    x, y, z = (_converted(body, "fpext", value, "double") for value in (a, b, c))
    product = binary(body, "mul", x, y)
    total = binary(body, "add", product, z)
    taken = binary(body, "sub", total, product)
    lost = binary(body, "sub", product, binary(body, "sub", total, taken))
    error = binary(body, "add", lost, binary(body, "sub", z, taken))
    odd = _converted(body, "bitcast", _odd(body, total, error), "double")
    return _converted(body, "fptrunc", odd, "float")


def _odd(body: Body, total: Value, error: Value) -> Value:
    """Give the bits of a sum whose last one is 1 where there is an error; those of infinities have none."""
    bits, error_bits = (_converted(body, "bitcast", value, "i64") for value in (total, error))
    one = _integers(1, bits)
    opposed = binary(body, "ashr", binary(body, "xor", bits, error_bits), _integers(63, bits))  # all ones, or none
    beside = binary(body, "add", bits, binary(body, "or", opposed, one))
    is_even = _test(body, "icmp eq", binary(body, "and", bits, one), _integers(0, bits))
    is_inexact = _test(body, "fcmp one", error, Value("zeroinitializer" if error.lanes > 1 else "0.0", "double"))
    return select(body, binary(body, "and", is_even, is_inexact), beside, bits)


def _test(body: Body, how: str, a: Value, b: Value) -> Value:
    return Value(body.code.pure(f"{how} {a.type} {a.text}, {b.text}", a.text), "i1", a.lanes)


def _converted(body: Body, how: str, value: Value, elem: str) -> Value:
    kind = vector(elem, value.lanes)
    return Value(body.code.pure(f"{how} {value.type} {value.text} to {kind}", value.text), elem, value.lanes)


def _integers(number: int, like: Value) -> Value:
    return Value(splat_literal(str(number), like.elem, like.lanes), like.elem, like.lanes)
