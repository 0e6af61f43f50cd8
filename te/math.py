"""Functions of scalar expressions: elementary functions, rounding, division, limits, bits, calls.

Each takes expressions or numbers and gives an expression; for whole tensors see `te.operators`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir import arith
from ..ir.dtype import DType, boolean, dtype_of
from ..ir.errors import ExpressionError, TypeMismatch
from ..ir.expr import Call, Const, Expr, Var

Operand = Expr | int | float | bool


def _elementary(name: str, meaning: str) -> Callable[[Operand], Expr]:
    def function(x: Operand) -> Expr:
        return Call(name, (_float(name, x),), _float(name, x).dtype)

    return _documented(function, name, meaning)


def _rounding(name: str, meaning: str) -> Callable[[Operand], Expr]:
    def function(x: Operand) -> Expr:
        node = arith.as_expr(x)
        return node if node.dtype.is_int else Call(name, (_float(name, node),), node.dtype)

    return _documented(function, name, meaning)


def _of_two(name: str, meaning: str) -> Callable[[Operand, Operand], Expr]:
    def function(x: Operand, y: Operand) -> Expr:
        a, b = arith.operands(name, x, y)
        return Call(name, (_float(name, a), _float(name, b)), a.dtype)

    return _documented(function, name, meaning)


def _predicate(name: str, meaning: str, of_integers: bool) -> Callable[[Operand], Expr]:
    def function(x: Operand) -> Expr:
        node = arith.as_expr(x)
        return Const(of_integers, boolean) if node.dtype.is_int else Call(name, (_float(name, node),), boolean)

    return _documented(function, name, meaning)


def _documented(function: Callable, name: str, meaning: str) -> Callable:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Give {meaning}."
    return function


def _float(step: str, x: Operand) -> Expr:
    node = arith.as_expr(x)
    if not node.dtype.is_float:
        raise TypeMismatch(step, f"the operand is {node.dtype}", advice="a float: x.astype('float32')")
    return node


def _integer(step: str, x: Operand) -> Expr:
    node = arith.as_expr(x)
    if not node.dtype.is_int:
        raise TypeMismatch(step, f"the operand is {node.dtype}", advice="an integer")
    return node


exp = _elementary("exp", "e to the power x")
exp2 = _elementary("exp2", "2 to the power x")
exp10 = _elementary("exp10", "10 to the power x")
log = _elementary("log", "the natural logarithm of x")
log2 = _elementary("log2", "the logarithm of x to base 2")
log10 = _elementary("log10", "the logarithm of x to base 10")
log1p = _elementary("log1p", "the natural logarithm of 1 + x")
sqrt = _elementary("sqrt", "the square root of x")
rsqrt = _elementary("rsqrt", "1 over the square root of x")
sigmoid = _elementary("sigmoid", "1 / (1 + exp(-x))")
tanh = _elementary("tanh", "the hyperbolic tangent of x")
erf = _elementary("erf", "the error function of x")
sin = _elementary("sin", "the sine of x, in radians")
cos = _elementary("cos", "the cosine of x, in radians")
tan = _elementary("tan", "the tangent of x, in radians")
asin = _elementary("asin", "the arc sine of x, in radians")
acos = _elementary("acos", "the arc cosine of x, in radians")
atan = _elementary("atan", "the arc tangent of x, in radians")
sinh = _elementary("sinh", "the hyperbolic sine of x")
cosh = _elementary("cosh", "the hyperbolic cosine of x")
asinh = _elementary("asinh", "the inverse hyperbolic sine of x")
acosh = _elementary("acosh", "the inverse hyperbolic cosine of x")
atanh = _elementary("atanh", "the inverse hyperbolic tangent of x")

floor = _rounding("floor", "the greatest whole number not above x")
ceil = _rounding("ceil", "the least whole number not below x")
trunc = _rounding("trunc", "x without its fraction")
round = _rounding("round", "the whole number nearest to x, halves away from zero")
nearbyint = _rounding("nearbyint", "the whole number nearest to x, halves to even")

atan2 = _of_two("atan2", "the angle of the point (y, x) as atan2(y, x), in radians")
fmod = _of_two("fmod", "the remainder of x / y with the sign of x")
hypot = _of_two("hypot", "the square root of x * x + y * y")
copysign = _of_two("copysign", "x with the sign of y")
nextafter = _of_two("nextafter", "the number next to x in the direction of y")

isnan = _predicate("isnan", "whether x is not a number", of_integers=False)
isinf = _predicate("isinf", "whether x is infinite", of_integers=False)
isfinite = _predicate("isfinite", "whether x is neither infinite nor not a number", of_integers=True)


def power(x: Operand, y: Operand) -> Expr:
    """Give x to the power y, of floats."""
    a, b = arith.operands("power", x, y)
    return Call("pow", (_float("power", a), _float("power", b)), a.dtype)


pow = power


def fma(x: Operand, y: Operand, z: Operand) -> Expr:
    """Give x * y + z of floats, rounded once."""
    a, b = arith.operands("fma", x, y)
    a, c = arith.operands("fma", a, z)
    return Call("fma", (_float("fma", a), arith.cast(a.dtype, b), c), a.dtype)


def ldexp(x: Operand, exponent: Operand) -> Expr:
    """Give x * 2**exponent, with an integer exponent."""
    node = _float("ldexp", x)
    return Call("ldexp", (node, arith.cast("int32", _integer("ldexp", exponent))), node.dtype)


def abs(x: Operand) -> Expr:
    """Give x without its sign; the least signed integer stays itself."""
    node = arith.as_expr(x)
    return Call("abs", (node,), node.dtype)


def popcount(x: Operand) -> Expr:
    """Give the number of ones among the bits of an integer."""
    node = _integer("popcount", x)
    return Call("popcount", (node,), node.dtype)


def clz(x: Operand) -> Expr:
    """Give the number of zeros before the first one among the bits of an integer, as int32."""
    return Call("clz", (_integer("clz", x),), dtype_of("int32"))


def reinterpret(dtype: str | DType, value: Operand) -> Expr:
    """Give the same bits as another data type of equal width."""
    node, target = arith.as_expr(value), dtype_of(dtype)
    if node.dtype.bits != target.bits:
        raise TypeMismatch("reinterpret", f"{node.dtype} has not the width of {target}", advice=f"{target.bits} bits")
    return Call("reinterpret", (node,), target)


def truncdiv(a: Operand, b: Operand) -> Expr:
    """Give a / b of integers rounded towards zero, as C does."""
    x, y = arith.operands("truncdiv", a, b)
    quotient = arith.floordiv(x, y)
    match quotient, x, y:
        case Const(down), Const(a), Const(b):
            return arith.const(int(down) + (down < 0 and a % b != 0), x.dtype)
    if _never_negative(x) and _never_negative(y):
        return quotient
    rounded_down = arith.logical_and(arith.ne(x - quotient * y, 0), arith.ne(x < 0, y < 0))
    return arith.select(rounded_down, quotient + 1, quotient)


def truncmod(a: Operand, b: Operand) -> Expr:
    """Give the remainder of truncdiv, which has the sign of a, as C does."""
    x, y = arith.operands("truncmod", a, b)
    return arith.floormod(x, y) if _never_negative(x) and _never_negative(y) else x - truncdiv(x, y) * y


def _never_negative(x: Expr) -> bool:
    match x:
        case Const(value):
            return value >= 0
        case Var(_, _, minimum):
            return minimum is not None and minimum >= 0
        case _:
            return x.dtype.min_value == 0


def div(a: Operand, b: Operand) -> Expr:
    """Give a / b: of integers rounded towards zero, as C does."""
    x, y = arith.operands("div", a, b)
    return arith.div(x, y) if x.dtype.is_float else truncdiv(x, y)


def mod(a: Operand, b: Operand) -> Expr:
    """Give the remainder of a / b with the sign of a, as C does."""
    x, y = arith.operands("mod", a, b)
    return fmod(x, y) if x.dtype.is_float else truncmod(x, y)


def indexdiv(a: Operand, b: Operand) -> Expr:
    """Give a // b of indices, which are never negative."""
    return arith.floordiv(a, b)


def indexmod(a: Operand, b: Operand) -> Expr:
    """Give a % b of indices, which are never negative."""
    return arith.floormod(a, b)


def max_value(dtype: str | DType) -> Const:
    """Give the greatest finite value of a type."""
    dtype = dtype_of(dtype)
    return arith.const(_LARGEST[str(dtype)] if dtype.is_float else dtype.max_value, dtype)


def min_value(dtype: str | DType) -> Const:
    """Give the least finite value of a type."""
    dtype = dtype_of(dtype)
    return arith.const(-_LARGEST[str(dtype)] if dtype.is_float else dtype.min_value, dtype)


_LARGEST = {  # (2 - 2**-fraction bits) * 2**greatest exponent
    "float16": 65504.0,
    "bfloat16": (2 - 2**-7) * 2.0**127,
    "float32": (2 - 2**-23) * 2.0**127,
    "float64": (2 - 2**-52) * 2.0**1023,
}


def infinity(dtype: str | DType) -> Const:
    """Give positive infinity.  Raises TypeMismatch for a type that has none."""
    dtype = dtype_of(dtype)
    if not dtype.is_float:
        raise TypeMismatch("infinity", f"{dtype} has no infinity", advice="a float type, or te.max_value")
    return arith.const(float("inf"), dtype)


def call_extern(dtype: str | DType, name: str, *args: Operand) -> Expr:
    """Give the value of the C function `name`; buffers are passed by `buffer.access_ptr("rw")`."""
    if not name.isidentifier():
        raise ExpressionError("call_extern", f"{name!r} is no name of a C function", advice="letters, digits and _")
    return Call(name, tuple(arith.as_expr(a) for a in args), dtype_of(dtype))
