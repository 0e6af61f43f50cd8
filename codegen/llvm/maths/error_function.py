"""The error function.

Below 1 it is x + x * S(x**2).  Above, erf(t) = 1 - exp(-t * G(t)) with G(t) = -log(1 - erf(t)) / t, which is smooth
and almost linear.  S and G are minimax polynomials derived for Tilewright by Remez exchange, G weighted for the
absolute error of erf.
"""

from __future__ import annotations

from .block import DOUBLE, FLOAT, Block, Value
from .exponential import exp_in_normal_range
from .piecewise import erf_of_size

SPLIT = 1.0
ONE_FROM = {FLOAT: 4.0, DOUBLE: 6.0}  # erf rounds to 1 from here on
CENTRE = {FLOAT: 2.0, DOUBLE: 3.0}  # G is a polynomial in t - CENTRE
SMALL = {  # erf(x) / x - 1 in x**2 on [0, 1]; error 2**-29.7 and 2**-62.8
    FLOAT: (
        0.12837916591465431, -0.37612627140440547, 0.11283600211815889, -0.026854445581508075, 0.005189536461939261,
        -0.0008020845698406905, 7.889119157487838e-05,
    ),
    DOUBLE: (
        0.1283791670955126, -0.3761263890318375, 0.11283791670954885, -0.026866170645077875, 0.005223977624828431,
        -0.0008548326981425542, 0.0001205533113295582, -1.4925595772180906e-05, 1.64610084778027e-06,
        -1.6350396222864617e-07, 1.466032872274226e-08, -1.137495573607015e-09, 5.960685338520971e-11,
    ),
}  # fmt: skip
LARGE = {  # G on [1, 4] and [1, 6]; absolute error of erf 2**-31.4 and 2**-61.7
    FLOAT: (
        2.682470594894324, 0.867844853731213, 0.027953442254029005, -0.00574010026166758, 0.0010893688109544395,
        -0.00018272571678382995, 1.4134042287196282e-05,
    ),
    DOUBLE: (
        3.5734543473270413, 0.9100997805587301, 0.015764812747189626, -0.00278430698510675, 0.00047699884953740105,
        -7.710222813020072e-05, 1.1340162703567883e-05, -1.4082394901106113e-06, 1.1290235629974399e-07,
        7.715112338395535e-09, -6.376153203962514e-09, 1.96750352766973e-09, -4.2196866446702917e-10,
        6.991721439883446e-11, -2.586501432282935e-11, -1.2971697765816924e-12, 1.4222231294390227e-12,
        9.065639242862001e-13, 2.0098295066876117e-13,
    ),
}  # fmt: skip


def erf(b: Block, x: Value) -> Value:
    """Give the error function; where 16 floats can be looked up at once, it is made of that many pieces."""
    size = b.abs(x)
    if b.scales and b.form is FLOAT:
        return b.copysign(erf_of_size(b, size), x)
    top = ONE_FROM[b.form]
    bounded = b.select(b.less(top, size), top, size)
    square = b.mul(size, size)
    near = b.fma(size, b.horner(square, SMALL[b.form]), size)
    exponent = b.mul(bounded, b.horner(b.sub(bounded, CENTRE[b.form]), LARGE[b.form]))
    far = b.sub(1.0, exp_in_normal_range(b, b.neg(exponent)))
    return b.copysign(b.select(b.less(size, SPLIT), near, far), x)
