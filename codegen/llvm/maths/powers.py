"""Roots and powers."""

from __future__ import annotations

import math

from .block import Block, Value


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
