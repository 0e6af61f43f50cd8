"""LLVM types and literals of values and of memory.

Values of the storage-only types are computed in a wider type: float16 and bfloat16 in `float`, int4 in `i32`.
Bools are `i1` as values and one byte in memory; bfloat16 memory is `i16`, converted by integer arithmetic.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import NamedTuple

from ...ir.dtype import DType, Kind, bfloat16, boolean, float16, float32, float64, int4, int32

_FLOATS = {16: "half", 32: "float", 64: "double"}
_SUFFIX = {"half": "f16", "float": "f32", "double": "f64"}


class Value(NamedTuple):
    """A scalar or vector of LLVM: its SSA name or literal, its element type, its number of lanes."""

    text: str
    elem: str
    lanes: int = 1

    @property
    def type(self) -> str:
        """Give the LLVM type."""
        return vector(self.elem, self.lanes)


TRUE, FALSE = Value("true", "i1"), Value("false", "i1")


@cache
def vector(elem: str, lanes: int) -> str:
    """Give the type of `lanes` elements; one lane is the scalar."""
    return elem if lanes == 1 else f"<{lanes} x {elem}>"


@cache
def suffix(elem: str, lanes: int = 1) -> str:
    """Give the mangled name of a type, as intrinsics end in, such as `v16f32`."""
    scalar = _SUFFIX.get(elem, "p0" if elem == "ptr" else elem)
    return scalar if lanes == 1 else f"v{lanes}{scalar}"


def computed(dtype: DType) -> DType:
    """Give the type in which values of `dtype` are computed."""
    if dtype in (float16, bfloat16):
        return float32
    return int32 if dtype == int4 else dtype


@cache
def value_type(dtype: DType) -> str:
    """Give the element type of values of `dtype`."""
    if dtype == boolean:
        return "i1"
    wide = computed(dtype)
    return _FLOATS[wide.bits] if wide.kind is Kind.FLOAT else f"i{wide.bits}"


@cache
def memory_type(dtype: DType) -> str:
    """Give the element type of `dtype` in memory."""
    if dtype == float16:
        return "half"
    if dtype == bfloat16:
        return "i16"
    return _FLOATS[dtype.bits] if dtype.kind is Kind.FLOAT else f"i{8 * dtype.bytes}"


def literal(value: int | float | bool, dtype: DType) -> str:
    """Give a scalar literal of `value_type(dtype)`; floats are rounded to `dtype` and written bit by bit."""
    if not dtype.is_float:
        return str(int(value)) if dtype != boolean else ("true" if value else "false")
    bits = struct.unpack(">Q", struct.pack(">d", _rounded(float(value), dtype)))[0]
    return f"0x{bits:016X}"


def _rounded(value: float, dtype: DType) -> float:
    if dtype == float64 or value != value or value in (float("inf"), float("-inf")):
        return value
    if dtype == float16:
        return _narrow(value, "e")
    single = _narrow(value, "f")
    if dtype != bfloat16:
        return single
    bits = struct.unpack("<I", struct.pack("<f", single))[0]
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def _narrow(value: float, code: str) -> float:
    try:
        return struct.unpack(code, struct.pack(code, value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def splat_literal(text: str, elem: str, lanes: int) -> str:
    """Give a literal whose lanes all are the scalar literal `text`."""
    if text in ("poison", "zeroinitializer") or lanes == 1:
        return text
    return f"splat ({elem} {text})"


def lane_literal(values: tuple[int, ...], elem: str) -> str:
    """Give a vector literal of integers, or the scalar literal for one lane."""
    if len(values) == 1:
        return str(values[0])
    return "<" + ", ".join(f"{elem} {v}" for v in values) + ">"
