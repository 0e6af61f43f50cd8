"""Roots and powers."""

from __future__ import annotations

import math

from .block import Block, Value
from .exponential import exp2
from .logarithm import log2


def rsqrt(b: Block, x: Value) -> Value:
    """Give 1 / sqrt(x) as sqrt(1 / x), where the root halves the error of the quotient.

    x is moved by an even power of two away from the ends of the range, where 1 / x would overflow or be denormal.
    """
    quarter = (b.form.bias + 1) // 4
    large = b.less(1.0, x)
    inverse = b.div(1.0, b.mul(x, b.select(large, 4.0**-quarter, 4.0**quarter)))
    root = b.mul(b.sqrt(inverse), b.select(large, 2.0**-quarter, 2.0**quarter))
    below = b.select(b.equal(x, 0.0), inverse, math.nan)
    return b.select(b.not_above(x, 0.0), below, root)


def pow_of_floats(b: Block, x: Value, y: Value) -> Value:
    """Give x**y as 2**(y * log2 |x|) in doubles, negative for a negative x with an odd y.

    Special values are those of C: x**0 and 1**y are 1 even for NaN, and a negative x needs an integer y.
    """
    wide = b.in_doubles()
    exponent = b.widen(y)
    size = b.narrow(exp2(wide, wide.mul(exponent, log2(wide, b.widen(b.abs(x))))))
    even = b.less(2.0**24, b.abs(y))  # all floats of this size are even integers
    shifted = wide.add(exponent, wide.form.rounder)
    whole = b.either(even, wide.equal(wide.sub(shifted, wide.form.rounder), exponent))
    odd = b.same_bits(b.mask(b.truncate(wide.bits(shifted)), 1), 1)
    negative = b.less(b.copysign(1.0, x), 0.0)
    signed = b.select(odd, b.copysign(size, x), size)
    signed = b.select(even, size, signed)
    valid = b.either(whole, b.either(b.equal(x, 0.0), b.equal(b.abs(x), math.inf)))
    turned = b.select(valid, b.select(whole, signed, size), math.nan)
    result = b.select(negative, turned, size)
    endless = b.both(b.equal(x, -1.0), b.equal(b.abs(y), math.inf))
    return b.select(b.either(endless, b.either(b.equal(x, 1.0), b.equal(y, 0.0))), 1.0, result)


def hypot_of_floats(b: Block, x: Value, y: Value) -> Value:
    """Give sqrt(x**2 + y**2), in doubles; an infinity outweighs a NaN."""
    wide = b.in_doubles()
    first, second = b.widen(x), b.widen(y)
    length = b.narrow(wide.sqrt(wide.fma(first, first, wide.mul(second, second))))
    endless = b.either(b.equal(b.abs(x), math.inf), b.equal(b.abs(y), math.inf))
    return b.select(endless, math.inf, length)
