"""exp and its relatives.

Every function writes x = n * log(2) + r with |r| <= log(2) / 2, in Cody and Waite's two steps (the first product is
exact), and takes exp(r) from 1 + r + r**2 * T(r), where T is the minimax polynomial found by Remez exchange, in 60
digits, for the error relative to exp.  Scaling by 2**n is done on the exponent bits, in two factors where the result
may leave the normal range, so that results become denormal gradually and overflow to infinity.
Sources: Cody and Waite, "Software Manual for the Elementary Functions", 1980; coefficients derived for Tilewright.
"""

from __future__ import annotations

import math

from .block import DOUBLE, FLOAT, Block, Value

LOG2_E = 1 / math.log(2)
LOG_2 = {  # high part with trailing zeros, low part
    FLOAT: (0.693359375, -2.12194440054690583e-4),
    DOUBLE: (6.93147180369123816490e-01, 1.90821492927058770002e-10),
}
EXP_TAIL = {  # (exp(r) - 1 - r) / r**2 on |r| <= 0.35; error 2**-28.2 and 2**-57.8
    FLOAT: (0.5000000101611037, 0.16666512888105586, 0.04166618552142347, 0.00836959857436413, 0.0013951819203781848),
    DOUBLE: (
        0.5000000000000014, 0.16666666666666702, 0.041666666666503024, 0.008333333333305, 0.0013888888950554978,
        0.00019841269922150624, 2.480148602758525e-05, 2.755721205181634e-06, 2.7632753441319484e-07,
        2.5119202903427166e-08,
    ),
}  # fmt: skip
EXP_RANGE = {FLOAT: (-104.0, 90.0), DOUBLE: (-746.0, 711.0)}  # results outside are 0 and infinity, at half and twice


def exp(b: Block, x: Value) -> Value:
    """Give e**x."""
    return exp_times_power_of_two(b, x, 0)


def exp_times_power_of_two(b: Block, x: Value, power: int) -> Value:
    """Give e**x * 2**power, for a small power, without overflow before the result does."""
    x = b.clamp(x, *EXP_RANGE[b.form])
    biased, n = round_biased(b, x, LOG2_E, 2 * b.form.bias + power)
    if power:
        n = b.sub(n, float(power))
    r = remainder(b, x, n)
    return scale(b, b.add(exp_minus_one_near_zero(b, r), 1.0), biased)


def exp2(b: Block, x: Value) -> Value:
    """Give 2**x."""
    x = b.clamp(x, -1.08 * b.form.bias - 13, 1.01 * b.form.bias + 1)
    biased, n = round_biased(b, x, 1.0, 2 * b.form.bias)
    fraction = b.sub(x, n)
    high, low = LOG_2[b.form]
    r = b.fma(fraction, high, b.mul(fraction, low))
    return scale(b, b.add(exp_minus_one_near_zero(b, r), 1.0), biased)


def tanh(b: Block, x: Value) -> Value:
    """Give the hyperbolic tangent as E / (E + 2), E = exp(2 |x|) - 1, which keeps small x exact."""
    size = b.abs(x)
    size = b.select(b.less(20.0, size), 20.0, size)
    e = exp_minus_one(b, b.add(size, size))
    return b.copysign(b.div(e, b.add(e, 2.0)), x)


def sigmoid(b: Block, x: Value) -> Value:
    """Give 1 / (1 + exp(-x)), through exp(-|x|) so that nothing overflows."""
    e = exp(b, b.neg(b.abs(x)))
    above = b.select(b.less(x, 0.0), e, 1.0)
    return b.div(above, b.add(e, 1.0))


def exp_minus_one(b: Block, x: Value) -> Value:
    """Give e**x - 1 accurately, for x >= 0 small enough that 2**n is normal."""
    biased, n = round_biased(b, x, LOG2_E, b.form.bias)
    power = b.from_bits(b.left(b.bits(biased), b.form.mantissa))
    return b.fma(power, exp_minus_one_near_zero(b, remainder(b, x, n)), b.sub(power, 1.0))


def round_biased(b: Block, x: Value, factor: float, bias: int) -> tuple[Value, Value]:
    """Give (s, n), n = x * factor rounded to an integer, and s with n + bias in its low bits."""
    rounder = b.form.rounder + bias
    biased = b.add(x, rounder) if factor == 1.0 else b.fma(x, factor, rounder)
    return biased, b.sub(biased, rounder)


def remainder(b: Block, x: Value, n: Value) -> Value:
    """Give x - n * log(2)."""
    high, low = LOG_2[b.form]
    return b.fma(n, -low, b.fma(n, -high, x))


def exp_minus_one_near_zero(b: Block, r: Value) -> Value:
    """Give e**r - 1 for |r| <= 0.35."""
    return b.fma(b.mul(r, r), b.horner(r, EXP_TAIL[b.form]), r)


def scale(b: Block, value: Value, biased: Value) -> Value:
    """Give value * 2**n, rounded once, where the low bits of `biased` hold n + 2 * bias.

    The power is the product of two halves, so n may be twice as large as an exponent.
    """
    bits = b.bits(biased)
    half = b.right(bits, 1)
    first = b.from_bits(b.left(half, b.form.mantissa))
    second = b.from_bits(b.left(b.minus(bits, half), b.form.mantissa))
    return b.mul(b.mul(value, first), second)
