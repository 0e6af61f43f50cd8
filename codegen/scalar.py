"""What the machine's scalar operations give: conversions between data types, and the intrinsics, one value at a time.

Integers are Python ints within the range of their type.  float32 values are np.float32, as are those of the storage
types float16 and bfloat16, which are computed in float32; float64 values are np.float64.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.arith import wrap
from ..ir.dtype import DType, bfloat16, boolean, float16, float64, int4

Scalar = Any  # bool, int, np.float32 or np.float64

_STORED: dict[DType, type] = {bfloat16: np.uint16, int4: np.int8, boolean: np.bool_}  # where NumPy lacks the type


def array_dtype(dtype: DType) -> np.dtype:
    """Give the NumPy type of the arrays that hold `dtype`: uint16 for bfloat16, int8 (one element each) for int4."""
    return np.dtype(_STORED[dtype]) if dtype in _STORED else np.dtype(str(dtype))


def computed(dtype: DType) -> type[np.floating]:
    """Give the NumPy type in which floats of `dtype` are computed."""
    return np.float64 if dtype == float64 else np.float32


def to_list(flat: np.ndarray, dtype: DType) -> list[Scalar]:
    """Give the elements of a flat array of `dtype` as the scalars of this module."""
    if dtype == bfloat16:
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    elif dtype.is_float:
        flat = flat.astype(computed(dtype), copy=False)
    elif dtype == int4:
        flat = ((flat.astype(np.int8) << 4) >> 4).astype(np.int8)
    return list(flat) if dtype.is_float else flat.tolist()


def to_array(values: list[Scalar], dtype: DType) -> np.ndarray:
    """Give the inverse of `to_list`; elements that are None (never written) become NaN, or 0 for integers."""
    filler = math.nan if dtype.is_float else 0
    filled = [filler if v is None else v for v in values]
    if dtype == bfloat16:
        return (np.array(filled, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return np.array(filled, array_dtype(dtype))


def to_half(x: Scalar) -> np.float32:
    """Give `x` rounded to float16, ties to even."""
    return np.float32(np.float16(x))


def to_brain(x: Scalar) -> np.float32:
    """Give `x` rounded to bfloat16, ties to even; every NaN becomes the quiet one."""
    x = np.float32(x)
    if x != x:
        return np.float32(math.nan)
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return np.float32(struct.unpack("<f", struct.pack("<I", bits))[0])


def truncated(x: Scalar) -> int:
    """Give the integer part of a float; 0 for infinities and NaN, whose conversion means nothing."""
    return int(x) if math.isfinite(x) else 0


def float32_of_int(x: int) -> np.float32:
    """Give `x` rounded once to float32."""
    kind = np.uint64 if x > 0x7FFFFFFFFFFFFFFF else np.int64
    return np.float32(kind(x))


def lesser(a: Scalar, b: Scalar) -> Scalar:
    """Give `a if a < b else b`: b where one is NaN."""
    return a if a < b else b


def greater(a: Scalar, b: Scalar) -> Scalar:
    """Give `a if a > b else b`: b where one is NaN."""
    return a if a > b else b


def converter(source: DType, target: DType) -> Callable[[Scalar], Scalar]:
    """Give the function that converts a scalar of type `source` to `target`."""
    if target == boolean:
        return lambda x: bool(x != 0)
    if target.is_int:
        return (lambda x: wrap(truncated(x), target)) if source.is_float else lambda x: wrap(int(x), target)
    if target in (float16, bfloat16):
        return to_half if target == float16 else to_brain
    if target == float64:
        return np.float64
    return float32_of_int if source.is_int and source.bits == 64 else np.float32


def _round_half_away(x: float) -> float:
    whole = math.trunc(x) if math.isfinite(x) else x
    return math.copysign(abs(whole) + 1 if abs(x - whole) >= 0.5 else abs(whole), x) if math.isfinite(x) else x


def _fma32(a: Scalar, b: Scalar, c: Scalar) -> np.float32:
    """Round a * b + c once: the product is exact in double, the sum is rounded to odd there, then to float32."""
    product, addend = np.float64(a) * np.float64(b), np.float64(c)
    total = product + addend
    if not np.isfinite(total):
        return np.float32(total)
    shadow = total - product
    error = (product - (total - shadow)) + (addend - shadow)
    if error and not struct.unpack("<q", struct.pack("<d", total))[0] & 1:
        total = np.nextafter(total, math.inf if error > 0 else -math.inf)
    return np.float32(total)


def _fma64(a: Scalar, b: Scalar, c: Scalar) -> np.float64:
    from fractions import Fraction  # slow to import and seldom needed

    if not all(map(math.isfinite, (a, b, c))):
        return np.float64(a * b + c)
    return np.float64(float(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))))


_UFUNCS: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in ("exp", "exp2", "log", "log2", "log10", "log1p", "sqrt", "tanh", "sin")},
    **{name: getattr(np, name) for name in ("cos", "tan", "sinh", "cosh", "floor", "ceil", "trunc", "hypot", "fmod")},
    **{f"a{name}": getattr(np, f"arc{name}") for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "tan2")},
    "exp10": lambda x: np.power(np.float64(10), x),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": lambda x: math.erf(x),
    "round": _round_half_away,
    "nearbyint": np.rint,
    "pow": np.power,
    "copysign": np.copysign,
}
_TESTS = {"isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite}
_BITS: dict[str, Callable[[int, int, int], int]] = {
    "shift_left": lambda a, b, bits: a << (b & (bits - 1)),
    "shift_right": lambda a, b, bits: a >> (b & (bits - 1)),
    "bitwise_and": lambda a, b, bits: a & b,
    "bitwise_or": lambda a, b, bits: a | b,
    "bitwise_xor": lambda a, b, bits: a ^ b,
}
_COUNTS: dict[str, Callable[[int, int], int]] = {
    "popcount": lambda a, bits: (a & ((1 << bits) - 1)).bit_count(),
    "clz": lambda a, bits: bits - (a & ((1 << bits) - 1)).bit_length(),
    "bitwise_not": lambda a, bits: ~a,
}


def intrinsic(name: str, arguments: tuple[DType, ...], result: DType) -> Callable[..., Scalar] | None:
    """Give the function of scalars that a pure intrinsic names, or None for a name that is not one.

    Maths functions of float32 are computed in float64 and rounded, so they are within 0.51 ULP.
    """
    source = arguments[0] if arguments else result
    if name == "reinterpret":
        return _reinterpret(source, result)
    if name == "abs":
        return (lambda x: abs(x)) if source.is_float else lambda x: wrap(abs(x), result)
    if name in _TESTS:
        return lambda x: bool(_TESTS[name](x))
    if name in _BITS:
        return lambda a, b: wrap(_BITS[name](a, b, source.bits), result)
    if name in _COUNTS:
        return lambda a: wrap(_COUNTS[name](a, source.bits), result)
    return _float_function(name, source)


def _float_function(name: str, source: DType) -> Callable[..., Scalar] | None:
    kind = computed(source)
    if name == "fma":
        return _fma64 if source == float64 else _fma32
    if name == "nextafter":
        return lambda a, b: np.nextafter(kind(a), kind(b))
    if name == "ldexp":
        return lambda a, b: kind(np.ldexp(np.float64(a), int(b)))
    function = _UFUNCS.get(name)
    if function is None:
        return None
    return lambda *xs: kind(function(*[np.float64(x) for x in xs]))


def _reinterpret(source: DType, result: DType) -> Callable[[Scalar], Scalar]:
    return lambda x: to_list(to_array([x], source).view(array_dtype(result)), result)[0]
