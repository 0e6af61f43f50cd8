"""Conversions of 16-bit floats to and from float32 by integer arithmetic, for processors without an instruction."""

from __future__ import annotations

from .body import Body
from .types import Value, vector

_INFINITY = 0x7F800000  # float32
_QUIET = 0x7FC00000
_HALF_INFINITY = 0x7C00 << 13  # float16, moved to where float32 has the same fields
_BIAS = "0x46F0000000000000"  # 2 ** 112, between the exponents of float16 and float32
_OVERFLOW = (127 + 16) << 23  # 2 ** 16
_NORMAL = (127 - 14) << 23  # 2 ** -14, the least normal float16
_LAST_PLACE = "0x3FE0000000000000"  # 0.5: its last place is worth 2 ** -24, as that of subnormal float16 is
_LAST_PLACE_BITS = 126 << 23


class _Words:
    """Instructions on vectors of 32-bit words, or on one word."""

    def __init__(self, body: Body, lanes: int) -> None:
        self.code, self.lanes, self.word = body.code, lanes, vector("i32", lanes)

    def splat(self, number: str | int, elem: str = "i32") -> str:
        return str(number) if self.lanes == 1 else f"splat ({elem} {number})"

    def op(self, name: str, a: str, b: int | str) -> str:
        other = self.splat(b) if isinstance(b, int) else b
        return self.code.pure(f"{name} {self.word} {a}, {other}", a, other)

    def float_op(self, name: str, a: str, b: str) -> str:
        return self.code.pure(f"{name} {vector('float', self.lanes)} {a}, {self.splat(b, 'float')}", a)

    def convert(self, name: str, a: str, source: str, target: str) -> str:
        return self.code.pure(f"{name} {vector(source, self.lanes)} {a} to {vector(target, self.lanes)}", a)

    def select(self, condition: str, a: str, b: str | int) -> str:
        other = self.splat(b) if isinstance(b, int) else b
        kind = vector("i1", self.lanes)
        return self.code.pure(f"select {kind} {condition}, {self.word} {a}, {self.word} {other}", condition, a, other)


def widen_half(body: Body, value: Value) -> Value:
    """Give float16 as float32: its exponent and fraction moved into place, scaled by the difference of the biases.

    A NaN keeps its bits and becomes quiet.
    """
    words = _Words(body, value.lanes)
    bits = words.convert("zext", words.convert("bitcast", value.text, "half", "i16"), "i16", "i32")
    sign = words.op("shl", words.op("and", bits, 0x8000), 16)
    size = words.op("shl", words.op("and", bits, 0x7FFF), 13)
    scaled = words.float_op("fmul", words.convert("bitcast", size, "i32", "float"), _BIAS)
    finite = words.convert("bitcast", scaled, "float", "i32")
    is_nan = words.op("icmp ugt", size, _HALF_INFINITY)
    special = words.select(is_nan, words.op("or", size, _QUIET), _INFINITY)
    whole = words.select(words.op("icmp uge", size, _HALF_INFINITY), special, finite)
    return Value(words.convert("bitcast", words.op("or", whole, sign), "i32", "float"), "float", value.lanes)


def narrow_half(body: Body, value: Value) -> Value:
    """Give float32 as float16, rounded to nearest even; a NaN keeps its high bits and becomes quiet.

    Half of the last kept bit is added to normal results; adding 0.5 rounds what becomes subnormal.
    Source: Giesen, "Float->half variants", 2012, https://gist.github.com/rygorous/2156668.
    """
    words = _Words(body, value.lanes)
    bits = words.convert("bitcast", value.text, "float", "i32")
    size = words.op("and", bits, 0x7FFFFFFF)
    odd = words.op("and", words.op("lshr", size, 13), 1)
    biased = words.op("sub", words.op("add", size, odd), ((127 - 15) << 23) - 0xFFF)
    normal = words.op("lshr", biased, 13)
    moved = words.float_op("fadd", words.convert("bitcast", size, "i32", "float"), _LAST_PLACE)
    small = words.op("sub", words.convert("bitcast", moved, "float", "i32"), _LAST_PLACE_BITS)
    finite = words.select(words.op("icmp ult", size, _NORMAL), small, normal)
    fraction = words.op("and", words.op("lshr", size, 13), 0x3FF)
    special = words.select(words.op("icmp ugt", size, _INFINITY), words.op("or", fraction, 0x7E00), 0x7C00)
    whole = words.select(words.op("icmp uge", size, _OVERFLOW), special, finite)
    sign = words.op("and", words.op("lshr", bits, 16), 0x8000)
    short = words.convert("trunc", words.op("or", whole, sign), "i32", "i16")
    return Value(words.convert("bitcast", short, "i16", "half"), "half", value.lanes)
