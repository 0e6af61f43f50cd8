"""log and its relatives.

Every function writes x = 2**k * (1 + f) with 1 + f between sqrt(1/2) and sqrt(2), and takes
log(1 + f) = f - f**2 / 2 + tail(f), so that the leading terms are exact or nearly so.
Sources: fdlibm (Sun Microsystems, 1993) for the arrangement of the sums and FreeBSD msun for the logarithms to other
bases; coefficients derived for Tilewright by Remez exchange.
"""

from __future__ import annotations

import math

from .block import DOUBLE, FLOAT, Block, Value
from .exponential import LOG10_2, LOG_2

LOG_TAIL = {  # FLOAT: (log(1 + f) - f + f**2 / 2) / f**3, error 2**-30; DOUBLE: in s**2, s = f / (2 + f), 2**-58
    FLOAT: (
        0.3333331044225205, -0.2499998659500612, 0.20002226440665577, -0.1666925080506377, 0.14218661311690795,
        -0.12384350712688773, 0.11872956748408334, -0.11789791275732488, 0.06915392752998858,
    ),
    DOUBLE: (
        0.6666666666666735, 0.39999999999407504, 0.28571428744139044, 0.22222198378609018, 0.1818357516384619,
        0.15313755676384064, 0.14799068102692162,
    ),
}  # fmt: skip
LOG2_OF_E = {FLOAT: (1.44287109375, -0.00017605286103659264), DOUBLE: (1.4426950407214463, 1.6751713164886512e-10)}
LOG10_OF_E = {FLOAT: (0.434326171875, -3.168997174817235e-05), DOUBLE: (0.4342944818781689, 2.5082946711645275e-11)}


def log(b: Block, x: Value) -> Value:
    """Give the natural logarithm."""
    k, f = split(b, x)
    return special_cases(b, x, joined(b, k, f, None))


def log1p(b: Block, x: Value) -> Value:
    """Give log(1 + x), where what the sum 1 + x rounds away is put back to first order."""
    total = b.add(x, 1.0)
    kept = b.sub(total, 1.0)
    lost = b.add(b.sub(1.0, b.sub(total, kept)), b.sub(x, kept))
    k, f = split_normal(b, total, 0.0)
    result = special_cases(b, total, joined(b, k, f, b.div(lost, total)))
    return b.select(b.equal(x, 0.0), x, result)


def log2(b: Block, x: Value) -> Value:
    """Give the logarithm to base 2; exact for powers of two."""
    return log_to_base(b, x, LOG2_OF_E[b.form], (1.0, 0.0))


def log10(b: Block, x: Value) -> Value:
    """Give the logarithm to base 10."""
    return log_to_base(b, x, LOG10_OF_E[b.form], LOG10_2[b.form])


def atanh(b: Block, x: Value) -> Value:
    """Give the inverse hyperbolic tangent as log1p(2 a / (1 - a)) / 2, a = |x|."""
    size = b.abs(x)
    twice = b.add(size, size)
    near = b.less(size, 0.5)
    quotient = b.div(b.select(near, b.mul(twice, size), twice), b.sub(1.0, size))
    argument = b.add(b.select(near, twice, 0.0), quotient)
    return b.copysign(b.mul(log1p(b, argument), 0.5), x)


def asinh(b: Block, x: Value) -> Value:
    """Give the inverse hyperbolic sine as log1p(a + a**2 / (1 + sqrt(1 + a**2))), a = |x|."""
    size = b.abs(x)
    square = b.mul(size, size)
    root = b.sqrt(b.add(square, 1.0))
    argument = b.add(size, b.div(square, b.add(root, 1.0)))
    return b.copysign(log1p_or_log_of_double(b, size, argument), x)


def acosh(b: Block, x: Value) -> Value:
    """Give the inverse hyperbolic cosine as log1p(t + sqrt(2 t + t**2)), t = x - 1."""
    t = b.sub(x, 1.0)
    argument = b.add(t, b.sqrt(b.fma(t, t, b.add(t, t))))
    return b.select(b.less(x, 1.0), math.nan, log1p_or_log_of_double(b, x, argument))


def log1p_or_log_of_double(b: Block, x: Value, argument: Value) -> Value:
    """Give log(2 x) where x is so large that 2 x + 1 rounds to 2 x, before x**2 overflows; elsewhere log1p."""
    large = b.less(2.0 ** (b.form.mantissa + 2), x)
    return b.add(log1p(b, b.select(large, x, argument)), b.select(large, math.log(2), 0.0))


def log_to_base(b: Block, x: Value, of_e: tuple[float, float], of_2: tuple[float, float]) -> Value:
    """Give log(x) * of_e, both factors in a high and a low part, where the product of the high parts is exact."""
    k, f = split(b, x)
    half_square, tail = square_and_tail(b, f)
    kept = ((1 << b.form.mantissa + b.form.exponent_bits + 1) - 1) ^ ((1 << b.form.mantissa // 2 + 1) - 1)
    high = b.from_bits(b.mask(b.bits(b.sub(f, half_square)), kept))
    low = b.add(b.sub(b.sub(f, high), half_square), tail)
    leading = b.mul(k, of_2[0])
    product = b.mul(high, of_e[0])
    total = b.add(leading, product)
    small = b.fma(b.add(low, high), of_e[1], b.mul(low, of_e[0]))
    if of_2[1]:
        small = b.fma(k, of_2[1], small)
    small = b.add(small, b.add(b.sub(leading, total), product))
    return special_cases(b, x, b.add(small, total))


def split(b: Block, x: Value) -> tuple[Value, Value]:
    """Give (k, f) with x = 2**k * (1 + f) for positive finite x, denormal ones too."""
    denormal = b.less(x, b.form.least_normal)
    steps = float(b.form.mantissa)
    x = b.select(denormal, b.mul(x, 2.0**steps), x)
    return split_normal(b, x, b.select(denormal, steps, 0.0))


def split_normal(b: Block, x: Value, excess: Value | float) -> tuple[Value, Value]:
    """Give (k, f) with x = 2**(k + excess) * (1 + f) for positive normal x."""
    form = b.form
    least = form.bits_of(math.sqrt(0.5))
    offset = b.plus(b.bits(x), form.bits_of(1.0) - least)
    one_plus_f = b.from_bits(b.plus(b.mask(offset, form.mantissa_mask), least))
    rounder = form.bits_of(form.rounder)
    biased = b.from_bits(b.plus(b.right(offset, form.mantissa), rounder))
    k = b.sub(biased, form.rounder + form.bias)
    return k if excess == 0.0 else b.sub(k, excess), b.sub(one_plus_f, 1.0)


def square_and_tail(b: Block, f: Value) -> tuple[Value, Value]:
    """Give (f**2 / 2, t) such that log(1 + f) = f - f**2 / 2 + t."""
    if b.form is FLOAT:
        square = b.mul(f, f)
        return b.mul(square, 0.5), b.mul(b.mul(square, f), b.horner(f, LOG_TAIL[FLOAT]))
    s = b.div(f, b.add(f, 2.0))
    square = b.mul(s, s)
    half_square = b.mul(b.mul(f, f), 0.5)
    return half_square, b.mul(s, b.fma(square, b.horner(square, LOG_TAIL[DOUBLE]), half_square))


def joined(b: Block, k: Value, f: Value, correction: Value | None) -> Value:
    """Give k * log(2) + log(1 + f) + correction, summed from the small terms up."""
    high, low = LOG_2[b.form]
    half_square, tail = square_and_tail(b, f)
    small = b.fma(k, low, tail)
    if correction is not None:
        small = b.add(small, correction)
    return b.fma(k, high, b.sub(f, b.sub(half_square, small)))


def special_cases(b: Block, x: Value, result: Value) -> Value:
    """Give `result` for positive finite x; infinity and NaN for themselves, -infinity for zeros, NaN below."""
    result = b.select(b.less(x, math.inf), result, x)
    below = b.select(b.equal(x, 0.0), -math.inf, math.nan)
    return b.select(b.not_above(x, 0.0), below, result)
