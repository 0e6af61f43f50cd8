"""sin, cos, tan and their inverses.

|x| is reduced to r = |x| - n * pi/2, |r| <= pi/4.  Floats are reduced in doubles.  Doubles are reduced with pi/2 in
three parts of 33, 33 and 53 bits, which keeps r and its rounding error exact enough for every double in the domain.
A vector with a lane outside of the domain is handed to the C library, lane by lane.
Sources: Cody and Waite, 1980; fdlibm (Sun Microsystems, 1993) for the sums; coefficients derived for Tilewright.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .block import DOUBLE, FLOAT, Block, Value

DOMAIN = 1.0e6  # n stays below 2**20, so that its products with 33-bit parts are exact
HALF_PI_PARTS = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
HALF_PI_REST = 6.077100506506192e-11  # the two smaller parts in one
SIN_TAIL = {  # (sin(r) / r - 1) / r**2 in r**2, error 2**-28 (rel. to sin: 2**-29) and 2**-58
    FLOAT: (-0.16666654229564723, 0.008332131536978935, -0.00019510834200872653),
    DOUBLE: (
        -0.16666666666666627, 0.008333333333321286, -0.00019841269828869973, 2.755731335593755e-06,
        -2.5050704025690396e-08, 1.5893583043626737e-10,
    ),
}  # fmt: skip
COS_TAIL = {  # (cos(r) - 1 + r**2 / 2) / r**4 in r**2, error 2**-33 and 2**-64
    FLOAT: (0.041666645655612004, -0.0013887306167827194, 2.443121765374481e-05),
    DOUBLE: (
        0.04166666666666659, -0.001388888888887261, 2.4801587288497227e-05, -2.755731405780933e-07,
        2.0875682022443944e-09, -1.1357455071832513e-11,
    ),
}  # fmt: skip
ATAN_TAIL = {  # (atan(t) / t - 1) / t**2 in t**2 on |t| <= tan(pi/8), error 2**-30 and 2**-59
    FLOAT: (-0.33333315377557626, 0.19998480155791917, -0.14243648759751357, 0.10594368565251977, -0.06078982094209911),
    DOUBLE: (
        -0.333333333333332, 0.19999999999953236, -0.14285714280158895, 0.11111110781463548, -0.09090897697029184,
        0.07692059076231922, -0.06663090431830758, 0.05847785318825014, -0.05038814321825971, 0.03805155886564255,
        -0.017892393225629487,
    ),
}  # fmt: skip
ASIN_TAIL = {  # (asin(t) / t - 1) / t**2 in t**2 on |t| <= 1/2, error 2**-32 and 2**-60
    FLOAT: (
        0.16666659866614655, 0.07500511344793645, 0.04451561229962217, 0.03181875405478148, 0.014397365886182421,
        0.03757379782769104,
    ),
    DOUBLE: (
        0.16666666666666763, 0.07499999999970096, 0.04464285717528865, 0.030381942675156853, 0.022372215909278428,
        0.017351595442040135, 0.013981019191444385, 0.01139728804829167, 0.010789347081288337, 0.003672094867236857,
        0.021790848638403807, -0.0211169801934631, 0.0327023107902627,
    ),
}  # fmt: skip
HALF_PI = {FLOAT: (1.5707963705062866, -4.371139000186243e-08), DOUBLE: (math.pi / 2, 6.123233995736766e-17)}


@dataclass(frozen=True, slots=True)
class Reduced:
    """|x| = n * pi/2 + high + low, with n in the low bits of `quadrant`; `low` is None where it does not matter."""

    quadrant: Value
    high: Value
    low: Value | None


def sin(b: Block, x: Value) -> Value:
    """Give the sine."""
    reduced = reduce(b, x)
    sine, cosine = sine_and_cosine(b, reduced)
    size = b.select(odd(b, reduced.quadrant), cosine, sine)
    flip = b.flip(second_bit_as_sign(b, reduced.quadrant), sign_of(b, x))
    return b.from_bits(b.flip(b.bits(size), flip))


def cos(b: Block, x: Value) -> Value:
    """Give the cosine."""
    reduced = reduce(b, x)
    sine, cosine = sine_and_cosine(b, reduced)
    size = b.select(odd(b, reduced.quadrant), sine, cosine)
    flip = second_bit_as_sign(b, b.plus(reduced.quadrant, 1))
    return b.from_bits(b.flip(b.bits(size), flip))


def tan(b: Block, x: Value) -> Value:
    """Give the tangent."""
    reduced = reduce(b, x)
    sine, cosine = sine_and_cosine(b, reduced)
    turned = odd(b, reduced.quadrant)
    size = b.div(b.select(turned, cosine, sine), b.select(turned, sine, cosine))
    flip = b.flip(second_bit_as_sign(b, b.left(reduced.quadrant, 1)), sign_of(b, x))
    return b.from_bits(b.flip(b.bits(size), flip))


def atan(b: Block, x: Value) -> Value:
    """Give the inverse tangent."""
    return b.copysign(atan_of_positive(b, b.abs(x)), x)


def atan_of_positive(b: Block, x: Value) -> Value:
    """Give the inverse tangent, from (x - 1) / (x + 1) above tan(pi/8) and -1 / x above tan(3 pi/8)."""
    large, medium = b.less(math.tan(3 * math.pi / 8), x), b.less(math.tan(math.pi / 8), x)
    above = b.select(large, -1.0, b.select(medium, b.sub(x, 1.0), x))
    below = b.select(large, x, b.select(medium, b.add(x, 1.0), 1.0))
    high, low = HALF_PI[b.form]
    base = b.select(large, high, b.select(medium, high / 2, 0.0))
    rest = b.select(large, low, b.select(medium, low / 2, 0.0))
    t = b.div(above, below)
    square = b.mul(t, t)
    tail = b.fma(b.mul(t, square), b.horner(square, ATAN_TAIL[b.form]), rest)
    return b.add(base, b.add(t, tail))


def atan2(b: Block, y: Value, x: Value) -> Value:
    """Give the angle of the point (x, y), from the inverse tangent of the smaller size over the larger."""
    height, width = b.abs(y), b.abs(x)
    steep = b.less(width, height)
    small, large = b.select(steep, width, height), b.select(steep, height, width)
    on_diagonal = b.select(b.equal(large, 0.0), 0.0, 1.0)
    ratio = b.select(b.equal(small, large), on_diagonal, b.div(small, large))
    angle = atan_of_positive(b, ratio)
    high, low = HALF_PI[b.form]
    angle = b.select(steep, b.sub(high, b.sub(angle, low)), angle)
    leftward = b.less(b.copysign(1.0, x), 0.0)
    return b.copysign(b.select(leftward, b.sub(2 * high, b.sub(angle, 2 * low)), angle), y)


def asin(b: Block, x: Value) -> Value:
    """Give the inverse sine; |x| above 1/2 goes to pi/2 - 2 * asin(sqrt((1 - |x|) / 2))."""
    near, t, tail = asin_parts(b, b.abs(x))
    high, low = HALF_PI[b.form]
    far = b.sub(high, b.fma(b.add(t, tail), 2.0, -low))
    return b.copysign(b.select(near, b.add(t, tail), far), x)


def acos(b: Block, x: Value) -> Value:
    """Give the inverse cosine, as pi/2 - asin(x) near zero and from 2 * asin(sqrt((1 - |x|) / 2)) elsewhere."""
    near, t, tail = asin_parts(b, b.abs(x))
    high, low = HALF_PI[b.form]
    signed_t, signed_tail = b.copysign(t, x), b.copysign(tail, x)
    middle = b.sub(high, b.add(signed_t, b.sub(signed_tail, low)))
    twice = b.fma(b.add(t, tail), 2.0, 0.0)
    far = b.select(b.less(x, 0.0), b.sub(2 * high, b.sub(twice, 2 * low)), twice)
    return b.select(near, middle, far)


def asin_parts(b: Block, size: Value) -> tuple[Value, Value, Value]:
    """Give (near, t, tail): t + tail is asin(size) where near, elsewhere asin(sqrt((1 - size) / 2))."""
    near = b.less(size, 0.5)
    square = b.select(near, b.mul(size, size), b.mul(b.sub(1.0, size), 0.5))
    t = b.select(near, size, b.sqrt(square))
    return near, t, b.mul(b.mul(t, square), b.horner(square, ASIN_TAIL[b.form]))


def reduce(b: Block, x: Value) -> Reduced:
    """Give |x| less the nearest multiple of pi/2; leave for the C library outside of the domain."""
    size = b.abs(x)
    b.leave_if_any(b.less(DOMAIN, size))
    wide = b.widen(size) if b.form is FLOAT else size
    biased = b.fma(wide, 2 / math.pi, DOUBLE.rounder)
    n = b.sub(biased, DOUBLE.rounder)
    first = b.fma(n, -HALF_PI_PARTS[0], wide)
    if b.form is FLOAT:
        return Reduced(b.truncate(b.bits(biased)), b.narrow(b.fma(n, -HALF_PI_REST, first)), None)
    second = b.mul(n, HALF_PI_PARTS[1])
    partial = b.sub(first, second)
    lost = b.fma(n, -HALF_PI_PARTS[2], b.sub(b.sub(first, partial), second))
    high = b.add(partial, lost)
    return Reduced(b.bits(biased), high, b.add(b.sub(partial, high), lost))


def sine_and_cosine(b: Block, reduced: Reduced) -> tuple[Value, Value]:
    """Give sin(r) and cos(r) for |r| <= pi/4."""
    r, low = reduced.high, reduced.low
    square = b.mul(r, r)
    half = b.mul(square, 0.5)
    one_less = b.sub(1.0, half)
    sine_tail = b.mul(b.mul(r, square), b.horner(square, SIN_TAIL[b.form]))
    cosine_tail = b.mul(b.mul(square, square), b.horner(square, COS_TAIL[b.form]))
    if low is not None:
        sine_tail = b.fma(low, one_less, sine_tail)
        cosine_tail = b.fma(b.neg(r), low, cosine_tail)
    rounding = b.sub(b.sub(1.0, one_less), half)
    return b.add(r, sine_tail), b.add(one_less, b.add(rounding, cosine_tail))


def odd(b: Block, quadrant: Value) -> Value:
    """Tell whether the lowest bit is set."""
    return b.same_bits(b.mask(quadrant, 1), 1)


def second_bit_as_sign(b: Block, quadrant: Value) -> Value:
    """Give the bits of minus zero where the second lowest bit is set, else zero."""
    return b.left(b.right(quadrant, 1), b.form.mantissa + b.form.exponent_bits)


def sign_of(b: Block, x: Value) -> Value:
    """Give the sign bit of x."""
    return b.mask(b.bits(x), b.form.sign_mask)
