"""exp and its relatives.

Every function writes x = n * log(2) + r with |r| <= log(2) / 2, in Cody and Waite's two steps (the first product is
exact), and takes exp(r) from 1 + r + r**2 * T(r), where T is the minimax polynomial found by Remez exchange, in 60
digits, for the error relative to exp.  Scaling by 2**n is AVX-512's `vscalef`; elsewhere it is done on the exponent
bits, in two factors where the result may leave the normal range, so that results become denormal gradually and
overflow to infinity.  With AVX-512, n of floats is a multiple of 1/16, and 2**(n - floor(n)) is looked up.
Sources: Cody and Waite, "Software Manual for the Elementary Functions", 1980; Cephes for tanh in double;
the other coefficients were derived for Tilewright.
"""

from __future__ import annotations

import math

from .block import DOUBLE, FLOAT, Block, Value
from .piecewise import tanh_of_size

LOG2_E = 1 / math.log(2)
LOG2_10 = math.log2(10)
LOG_2 = {  # high part with trailing zeros, low part
    FLOAT: (0.693359375, -2.12194440054690583e-4),
    DOUBLE: (6.93147180369123816490e-01, 1.90821492927058770002e-10),
}
LOG10_2 = {  # likewise
    FLOAT: (0.301025390625, 4.605038981195214e-06),
    DOUBLE: (0.3010299956640665, -8.532344317057107e-14),
}
LOG_10 = {FLOAT: (2.302734375, -0.000149282005954316), DOUBLE: (2.302585093304515, -3.10469200930739e-10)}
EXP_TAIL = {  # (exp(r) - 1 - r) / r**2 on |r| <= 0.35; error 2**-28.2 and 2**-57.8
    FLOAT: (0.5000000101611037, 0.16666512888105586, 0.04166618552142347, 0.00836959857436413, 0.0013951819203781848),
    DOUBLE: (
        0.5000000000000014, 0.16666666666666702, 0.041666666666503024, 0.008333333333305, 0.0013888888950554978,
        0.00019841269922150624, 2.480148602758525e-05, 2.755721205181634e-06, 2.7632753441319484e-07,
        2.5119202903427166e-08,
    ),
}  # fmt: skip
PIECES = 16  # of an octave
POWERS = tuple(2 ** (k / PIECES) for k in range(PIECES))
PIECE_TAIL = (0.50001617, 0.16666719)  # likewise on |r| <= log(2) / 32, from r**2 on; error 2**-29.2
EXP2_TAIL = {  # (2**f - 1) / f - 1 on |f| <= 1/2; error 2**-29.0 and 2**-58.0
    FLOAT: (
        -0.3068527937479834, 0.24022651357942534, 0.055503277440016804, 0.009618002995022289, 0.0013400293590033645,
        0.00015476467316735264,
    ),
    DOUBLE: (
        -0.3068528194400547, 0.24022650695910133, 0.05550410866482174, 0.009618129107593278, 0.0013333558146378793,
        0.0001540353045815525, 1.5252733867734427e-05, 1.3215434776217605e-06, 1.0178046392248757e-07,
        7.073867624581686e-09, 4.4573964621255566e-10,
    ),
}  # fmt: skip
TANH_TAIL = {  # (tanh(x) / x - 1) / x**2 as a quotient of polynomials in x**2, on |x| <= 0.6
    FLOAT: (
        (-0.3333329934066197, 0.13331959707539537, -0.053786771343368664, 0.020805574740794898, -0.0059059910410882085),
        (1.0,),
    ),
    DOUBLE: (
        (-1.61468768441708447952e3, -9.92877231001918586564e1, -9.64399179425052238628e-1),
        (4.84406305325125486048e3, 2.23548839060100448583e3, 1.12811678491632931402e2, 1.0),
    ),
}
EXP_RANGE = {FLOAT: (-104.0, 90.0), DOUBLE: (-746.0, 711.0)}  # beyond, results are 0 and infinity
EXP2_RANGE = {FLOAT: (-151.0, 129.0), DOUBLE: (-1076.0, 1025.0)}
SINH_TOP = {FLOAT: 89.5, DOUBLE: 710.5}  # infinity from here on
EXP10_RANGE = {FLOAT: (-46.0, 39.0), DOUBLE: (-324.0, 309.0)}


def exp(b: Block, x: Value) -> Value:
    """Give e**x."""
    return exp_times_power_of_two(b, x, 0)


def exp_times_power_of_two(b: Block, x: Value, power: int) -> Value:
    """Give e**x * 2**power for a small power, which may avoid an overflow on the way."""
    if b.scales:
        return exp_by_scaling(b, x, power)
    x = b.clamp(x, *EXP_RANGE[b.form])
    biased, n = round_biased(b, x, LOG2_E, 2 * b.form.bias)
    below = b.fma(n, -LOG_2[b.form][0], x)
    small = exp_minus_one_near_zero(b, below, b.mul(n, -LOG_2[b.form][1]))
    return scale(b, b.add(small, 1.0), biased, n, power)


def exp_by_scaling(b: Block, x: Value, power: int = 0) -> Value:
    """Give e**x * 2**power: the scaling rounds what it must, overflows, and gives NaN for the n of a NaN.

    Where x is infinite or huge, r means nothing and is only kept small.
    """
    pieces = PIECES if b.form is FLOAT else 1
    rounder = b.form.rounder / pieces
    biased = b.fma(x, LOG2_E, rounder)
    n = b.sub(biased, rounder)
    high, low = LOG_2[b.form]
    r = b.within(b.fma(n, -low, b.fma(n, -high, x)), 0.4 / pieces)
    exponent = b.add(n, float(power)) if power else n
    if pieces == 1:
        value = b.horner(r, (1.0, 1.0, *EXP_TAIL[b.form]))
        assert isinstance(value, Value)
        return b.scalef(value, exponent)
    first = b.lookup(b.bits(biased), POWERS)
    value = b.fma(b.mul(first, r), b.horner(r, (1.0, *PIECE_TAIL)), first)
    return b.scalef(value, exponent)


def exp2(b: Block, x: Value) -> Value:
    """Give 2**x."""
    x = b.clamp(x, *EXP2_RANGE[b.form])
    biased, n = round_biased(b, x, 1.0, 2 * b.form.bias)
    fraction = b.sub(x, n)
    small = b.fma(fraction, b.horner(fraction, EXP2_TAIL[b.form]), fraction)
    return scale(b, b.add(small, 1.0), biased, n)


def exp10(b: Block, x: Value) -> Value:
    """Give 10**x."""
    x = b.clamp(x, *EXP10_RANGE[b.form])
    biased, n = round_biased(b, x, LOG2_10, 2 * b.form.bias)
    high, low = LOG10_2[b.form]
    fraction = b.fma(n, -low, b.fma(n, -high, x))
    high, low = LOG_10[b.form]
    exponent = b.fma(fraction, high, b.mul(fraction, low))
    return scale(b, b.add(exp_minus_one_near_zero(b, exponent, None), 1.0), biased, n)


def tanh(b: Block, x: Value) -> Value:
    """Give the hyperbolic tangent: x + x**3 * P(x**2) / Q(x**2) near zero, 1 - 2 / (exp(2 |x|) + 1) elsewhere.

    One division serves both.  Where 16 floats can be looked up at once, it is made of that many pieces.
    """
    size = b.abs(x)
    if b.scales and b.form is FLOAT:
        return b.copysign(tanh_of_size(b, size), x)
    bounded = b.select(b.less(20.0, size), 20.0, size)
    square = b.mul(bounded, bounded)
    numerator, denominator = TANH_TAIL[b.form]
    near = b.less(size, 0.6)
    above = b.select(near, b.mul(b.mul(bounded, square), b.horner(square, numerator)), -2.0)
    power = b.add(exp_in_normal_range(b, b.add(bounded, bounded)), 1.0)
    below = b.select(near, b.horner(square, denominator), power)
    return b.copysign(b.add(b.select(near, bounded, 1.0), quotient(b, above, below)), x)


def sigmoid(b: Block, x: Value) -> Value:
    """Give 1 / (1 + exp(-x)) as 1 - t, and as e - e * t for negative x, with e = exp(-|x|) and t = e / (1 + e)."""
    e = exp(b, b.neg(b.abs(x)))
    rest = quotient(b, e, b.add(e, 1.0))
    base = b.select(b.less(x, 0.0), e, 1.0)
    return b.fma(b.neg(base), rest, base)


def quotient(b: Block, x: Value, y: Value) -> Value:
    """Give x / y for y that is normal and not huge, to 2 units in the last place."""
    return b.mul(x, b.reciprocal(y)) if b.scales and b.form is FLOAT else b.div(x, y)


def sinh(b: Block, x: Value) -> Value:
    """Give the hyperbolic sine as 2 * (q + q / (4 * q + 1)), q = (exp(|x|) - 1) / 4, which cannot overflow early."""
    size = b.abs(x)
    top = SINH_TOP[b.form]
    bounded = b.select(b.less(top, size), top, size)
    biased, n = round_biased(b, bounded, LOG2_E, b.form.bias - 2)
    quarter = b.from_bits(b.left(b.bits(biased), b.form.mantissa))
    below = b.fma(n, -LOG_2[b.form][0], bounded)
    small = exp_minus_one_near_zero(b, below, b.mul(n, -LOG_2[b.form][1]))
    q = b.fma(quarter, small, b.sub(quarter, 0.25))
    half = b.add(q, b.div(q, b.fma(q, 4.0, 1.0)))
    result = b.select(b.less(size, top), b.add(half, half), b.mul(size, math.inf))
    return b.copysign(b.select(b.less(size, b.form.least_normal), size, result), x)


def cosh(b: Block, x: Value) -> Value:
    """Give the hyperbolic cosine as h + 1 / (4 * h), h = exp(|x|) / 2."""
    half = exp_times_power_of_two(b, b.abs(x), -1)
    return b.add(half, b.div(0.25, half))


def exp_in_normal_range(b: Block, x: Value) -> Value:
    """Give e**x where the result is normal; a NaN stays NaN."""
    if b.scales:
        return exp_by_scaling(b, x)
    biased, n = round_biased(b, x, LOG2_E, b.form.bias)
    below = b.fma(n, -LOG_2[b.form][0], x)
    small = exp_minus_one_near_zero(b, below, b.mul(n, -LOG_2[b.form][1]))
    power = b.from_bits(b.left(b.bits(biased), b.form.mantissa))
    return b.fma(power, small, power)


def round_biased(b: Block, x: Value, factor: float, bias: int) -> tuple[Value, Value]:
    """Give (s, n), n = x * factor rounded to an integer, and s with n + bias in its low bits."""
    rounder = b.form.rounder + bias
    biased = b.add(x, rounder) if factor == 1.0 else b.fma(x, factor, rounder)
    return biased, b.sub(biased, rounder)


def exp_minus_one_near_zero(b: Block, high: Value, low: Value | None) -> Value:
    """Give e**r - 1 for r = high + low, |r| <= 0.35, where `low` is small."""
    r = high if low is None else b.add(high, low)
    square, tail = b.mul(r, r), b.horner(r, EXP_TAIL[b.form])
    return b.fma(square, tail, high) if low is None else b.add(high, b.fma(square, tail, low))


def scale(b: Block, value: Value, biased: Value, n: Value, power: int = 0) -> Value:
    """Give value * 2**(n + power), rounded once, where the low bits of `biased` hold n + 2 * bias.

    Without an instruction the power is the product of two halves, so n may be twice as large as an exponent.
    """
    if b.scales:
        return b.scalef(value, b.add(n, float(power)) if power else n)
    bits = b.bits(biased)
    if power:
        bits = b.plus(bits, power)
    half = b.right(bits, 1)
    first = b.from_bits(b.left(half, b.form.mantissa))
    second = b.from_bits(b.left(b.minus(bits, half), b.form.mantissa))
    return b.mul(b.mul(value, first), second)
