"""Maths of whole tensors, element by element; those of two operands broadcast as NumPy does.

Shapes: of one tensor x (any shape), the result has the shape of x; operands may also be numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir import arith
from ...ir.dtype import DType
from ...ir.expr import Expr
from .. import activations, math
from ..broadcast import ELEMENTWISE, broadcast
from ..compute import compute
from ..tensor import Tensor

Operand = Tensor | Expr | int | float


def _unary(name: str, function: Callable[[Expr], Expr], meaning: str) -> Callable[[Tensor], Tensor]:
    def operator(x: Tensor) -> Tensor:
        return compute(x.shape, lambda *i: function(x[i]), name=f"T_{name}", tag=ELEMENTWISE)

    operator.__name__ = operator.__qualname__ = name
    operator.__doc__ = f"Give {meaning}, element by element."
    return operator


def _of_two(name: str, function: Callable[..., Expr], meaning: str) -> Callable[[Operand, Operand], Tensor]:
    def operator(lhs: Operand, rhs: Operand) -> Tensor:
        return broadcast(function, lhs, rhs, name=f"T_{name}")

    operator.__name__ = operator.__qualname__ = name
    operator.__doc__ = f"Give {meaning}, element by element; shapes are broadcast."
    return operator


relu = _unary("relu", activations.relu, "the greater of x and 0")
relu6 = _unary("relu6", activations.relu6, "x, at least 0 and at most 6")
exp = _unary("exp", math.exp, "e to the power x")
log = _unary("log", math.log, "the natural logarithm of x")
sqrt = _unary("sqrt", math.sqrt, "the square root of x")
rsqrt = _unary("rsqrt", math.rsqrt, "1 over the square root of x")
tanh = _unary("tanh", math.tanh, "the hyperbolic tangent of x")
sigmoid = _unary("sigmoid", math.sigmoid, "1 / (1 + exp(-x))")
erf = _unary("erf", math.erf, "the error function of x")
sin = _unary("sin", math.sin, "the sine of x")
cos = _unary("cos", math.cos, "the cosine of x")
abs = _unary("abs", math.abs, "x without its sign")
negative = _unary("negative", lambda x: -x, "-x")
floor = _unary("floor", math.floor, "the greatest whole number not above x")
ceil = _unary("ceil", math.ceil, "the least whole number not below x")
round = _unary("round", math.round, "the whole number nearest to x, halves away from zero")
trunc = _unary("trunc", math.trunc, "x without its fraction")
logical_not = _unary("logical_not", arith.logical_not, "whether x, a bool, does not hold")
gelu = _unary("gelu", activations.gelu, "x times the normal distribution function at x")
silu = _unary("silu", activations.silu, "x / (1 + exp(-x))")
hardswish = _unary("hardswish", activations.hardswish, "x relu6(x + 3) / 6")

add = _of_two("add", arith.add, "the sum")
subtract = _of_two("subtract", arith.sub, "the difference")
multiply = _of_two("multiply", arith.mul, "the product")
divide = _of_two("divide", math.div, "the quotient, of integers rounded towards zero")
floor_divide = _of_two("floor_divide", arith.floordiv, "the floor of the quotient of integers")
floor_mod = _of_two("floor_mod", arith.floormod, "the remainder of integers, with the divisor's sign")
power = _of_two("power", math.power, "the first to the power of the second")
maximum = _of_two("maximum", arith.maximum, "the greater")
minimum = _of_two("minimum", arith.minimum, "the lesser")
equal = _of_two("equal", arith.eq, "whether both are equal")
not_equal = _of_two("not_equal", arith.ne, "whether both differ")
less = _of_two("less", arith.lt, "whether the first is less")
less_equal = _of_two("less_equal", arith.le, "whether the first is not greater")
greater = _of_two("greater", lambda a, b: arith.lt(b, a), "whether the first is greater")
greater_equal = _of_two("greater_equal", lambda a, b: arith.le(b, a), "whether the first is not less")


def where(condition: Tensor, x: Operand, y: Operand) -> Tensor:
    """Give x where the bool tensor `condition` holds, else y; shapes are broadcast."""
    return broadcast(arith.select, condition, x, y, name="T_where")


def leaky_relu(x: Tensor, alpha: float = 0.01) -> Tensor:
    """Give x where it is positive, else alpha * x."""
    return compute(x.shape, lambda *i: arith.select(x[i] > 0, x[i], x[i] * alpha), name="T_leaky_relu", tag=ELEMENTWISE)


def clip(x: Tensor, a_min: float, a_max: float) -> Tensor:
    """Give x, at least a_min and at most a_max."""
    return compute(x.shape, lambda *i: arith.maximum(arith.minimum(x[i], a_max), a_min), name="T_clip", tag=ELEMENTWISE)


def cast(x: Tensor, dtype: str | DType) -> Tensor:
    """Give x converted; floats round to nearest, floats to integers truncate, integers wrap."""
    return compute(x.shape, lambda *i: arith.cast(dtype, x[i]), name="T_cast", tag=ELEMENTWISE)
