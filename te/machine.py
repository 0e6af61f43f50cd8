"""What the machine's operations give, on whole NumPy arrays: conversions, integer wrapping, intrinsics.

Values are held in *working* types: float16 and bfloat16 as float32, int4 as int32, all others as themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.dtype import DType, bfloat16, boolean, float16, float32, int4

Array = np.ndarray
_STORED = {bfloat16: np.dtype(np.uint16), int4: np.dtype(np.int8), boolean: np.dtype(np.bool_)}
_WORKING = {bfloat16: np.dtype(np.float32), float16: np.dtype(np.float32), int4: np.dtype(np.int32)}


def array_dtype(dtype: DType) -> np.dtype:
    """Give the NumPy type of arrays of `dtype`: uint16 for the bits of bfloat16, int8 (one each) for int4."""
    return _STORED.get(dtype) or np.dtype(str(dtype))


PRECISION = "precision"  # attribute of operators that sum up products
TF32 = "tf32"  # as a precision: factors of float32 may be rounded as tensor cores do ...
TF32_ROUNDOFF = 2.0**-11  # ... to 10 bits of fraction
RELATIVE_ERROR = "relative_error"  # attribute of operators whose user accepts more than that of a direct evaluation


@dataclass(frozen=True, slots=True)
class Machine:
    """The arithmetic that expressions are evaluated in.

    wide  float32 is computed and kept as float64, and sums of float16 are not rounded on the way: the values that
          rounding errors are measured from
    """

    wide: bool = False

    def working(self, dtype: DType) -> np.dtype:
        """Give the NumPy type in which values of `dtype` are held while computing."""
        found = _WORKING.get(dtype) or array_dtype(dtype)
        return np.dtype(np.float64) if self.wide and found == np.float32 else found

    def load(self, array: Array, dtype: DType) -> Array:
        """Give an array of `array_dtype` as working values."""
        if dtype == bfloat16:
            array = (array.astype(np.uint32) << 16).view(np.float32)
        elif dtype == int4:
            array = _signed4(array.astype(np.int32))
        return array.astype(self.working(dtype), copy=False)

    def store(self, values: Array, dtype: DType) -> Array:
        """Give working values as an array of `array_dtype`, floats rounded to nearest even."""
        if dtype == bfloat16:
            return _bfloat_bits(values)
        if dtype == int4:
            values = _signed4(values)
        return values.astype(array_dtype(dtype))

    def kept(self, values: Array, dtype: DType) -> Array:
        """Give working values as memory of type `dtype` would give them back."""
        return self.load(self.store(values, dtype), dtype) if dtype in _WORKING else values

    def convert(self, x: Any, source: DType, target: DType) -> Any:
        """Give values of type `source` as `target`; floats to integers truncate and wrap, NaN and infinities give 0."""
        if target == boolean:
            return x != 0
        if target.is_float:
            return self.kept(np.asarray(x).astype(self.working(target)), target)
        if source.is_float:
            wide = np.uint64 if target.bits == 64 and target.min_value == 0 else np.int64
            x = np.where(np.isfinite(x), np.trunc(x), 0).astype(wide)
        x = np.asarray(x).astype(self.working(target))
        return _signed4(x) if target == int4 else x

    def call(self, name: str, operands: list[tuple[Any, DType]], result: DType) -> Any | None:
        """Give what an intrinsic gives, or None for a name that is not one of pure functions.

        Maths functions are computed in float64 and rounded: within 0.51 units in the last place for float32.
        """
        values = [x for x, _ in operands]
        source = operands[0][1] if operands else result
        if name == "reinterpret":
            return self.load(self.store(np.asarray(values[0]), source).view(array_dtype(result)), result)
        function = _EXACT.get(name)
        if function is not None:
            return function(*values)
        if name in _BITS:
            return _BITS[name](values[0], source.bits).astype(self.working(result))
        function = _FLOAT.get(name)
        if function is None:
            return None
        if name == "fma" and self.working(result) == np.float32:
            function = _fma_to_odd
        return np.asarray(function(*[np.asarray(x, np.float64) for x in values])).astype(self.working(result))


def lesser(a: Any, b: Any) -> Any:
    """Give `a if a < b else b`: b where one is NaN."""
    return np.where(a < b, a, b)


def greater(a: Any, b: Any) -> Any:
    """Give `a if a > b else b`: b where one is NaN."""
    return np.where(a > b, a, b)


def _signed4(x: Array) -> Array:
    return ((x + 8) & 15) - 8


def _bfloat_bits(values: Array) -> Array:
    """Round to the nearest bfloat16, ties to even; every NaN becomes the quiet one."""
    single = np.asarray(values, np.float32)
    bits = single.view(np.uint32)
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16).astype(np.uint16)
    return np.where(np.isnan(single), np.uint16(0x7FC0), rounded)


def _round_half_away(x: Array) -> Array:
    whole = np.trunc(x)
    return np.copysign(np.abs(whole) + (np.abs(x - whole) >= 0.5), x)


def _fma_to_odd(a: Array, b: Array, c: Array) -> Array:
    """Give a * b + c of float32 in float64, with an odd last bit where it is not exact: rounded to float32, once."""
    product = a * b
    total = product + c
    taken = total - product
    error = (product - (total - taken)) + (c - taken)
    beside = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    return np.where((error != 0) & np.isfinite(error) & (total.view(np.int64) % 2 == 0), beside, total)


def _erf(x: Array) -> Array:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x))


def _unsigned(x: Any, bits: int) -> Array:
    return np.asarray(x).astype(np.int64).view(np.uint64) & np.uint64((1 << bits) - 1)


def _bit_length(x: Array) -> Array:
    high, low = x >> np.uint64(32), x & np.uint64(0xFFFFFFFF)  # halves are exact in float64
    return np.where(high > 0, 32 + np.frexp(high.astype(np.float64))[1], np.frexp(low.astype(np.float64))[1])


_FLOAT: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(np, name)
        for name in ("exp", "exp2", "log", "log2", "log10", "log1p", "sqrt", "tanh", "sin", "cos")
    },
    **{name: getattr(np, name) for name in ("tan", "sinh", "cosh", "hypot", "fmod")},
    **{f"a{name}": getattr(np, f"arc{name}") for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "tan2")},
    "exp10": lambda x: np.power(10.0, x),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": _erf,
    "round": _round_half_away,
    "pow": np.power,
    "fma": lambda a, b, c: a * b + c,
    "ldexp": lambda x, n: np.ldexp(x, n.astype(np.int32)),
}
_EXACT: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in ("abs", "isnan", "isinf", "isfinite", "floor", "ceil", "trunc")},
    **{name: getattr(np, name) for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not")},
    **{name: getattr(np, name) for name in ("copysign", "nextafter")},
    "nearbyint": np.rint,
    "shift_left": lambda a, b: np.left_shift(a, b & (np.asarray(a).itemsize * 8 - 1)),
    "shift_right": lambda a, b: np.right_shift(a, b & (np.asarray(a).itemsize * 8 - 1)),
}
_BITS: dict[str, Callable[[Any, int], Array]] = {
    "popcount": lambda x, bits: np.bitwise_count(_unsigned(x, bits)),
    "clz": lambda x, bits: bits - _bit_length(_unsigned(x, bits)),
}


def unit_roundoff(dtype: DType) -> float:
    """Give half the distance between 1 and the next number of a float type."""
    fraction_bits = {float16: 10, bfloat16: 7, float32: 23}.get(dtype, 52)
    return 2.0 ** -(fraction_bits + 1)
