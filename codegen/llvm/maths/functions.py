"""The functions that generated code calls, by name, type and number of lanes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ....ir.dtype import DType
from ....ir.errors import CodegenError
from ....ir.intrinsics import INTRINSICS
from . import error_function, exponential, logarithm, powers, trigonometric
from .block import FLOAT, FORMATS, Block, Format, Value


@dataclass(frozen=True, slots=True)
class MathsFunction:
    """One LLVM function to put in a module.

    symbol      name to call, with its `@`
    definition  text of the function, internal and always inlined (a pipeline needs the always-inliner pass)
    declares    declarations of C functions that it calls, each to appear once in the module
    """

    symbol: str
    definition: str
    declares: tuple[str, ...] = ()


RECIPES: dict[str, Callable[..., Value]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "exp10": exponential.exp10,
    "tanh": exponential.tanh,
    "sigmoid": exponential.sigmoid,
    "sinh": exponential.sinh,
    "cosh": exponential.cosh,
    "log": logarithm.log,
    "log1p": logarithm.log1p,
    "log2": logarithm.log2,
    "log10": logarithm.log10,
    "erf": error_function.erf,
    "rsqrt": powers.rsqrt,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
    "tan": trigonometric.tan,
    "asin": trigonometric.asin,
    "acos": trigonometric.acos,
    "atan": trigonometric.atan,
    "atan2": trigonometric.atan2,
    "asinh": logarithm.asinh,
    "acosh": logarithm.acosh,
    "atanh": logarithm.atanh,
}
FLOAT_RECIPES: dict[str, Callable[..., Value]] = RECIPES | {
    "pow": powers.pow_of_floats,
    "hypot": powers.hypot_of_floats,
}  # in doubles, which leaves doubles to the C library

INTEGER_SECOND = frozenset({"ldexp"})  # functions whose second argument is a 32-bit integer


def vector_maths(name: str, dtype: DType, lanes: int, scales: bool = False) -> MathsFunction:
    """Give the function `name` of ir.INTRINSICS over `lanes` float32 or float64 numbers; one lane is a scalar.

    scales  whether the machine has AVX-512

    Functions without a recipe call the C library once per lane.
    Raises CodegenError for another data type or a function that is not floating-point maths.
    """
    form = FORMATS.get(dtype)
    if form is None:
        raise CodegenError(f"maths function {name}", f"no version for {dtype}", advice="cast to float32 or float64")
    block = Block(form, lanes, scales=scales and lanes > 1)
    symbol = f"@tw.{name}.{block.overload(form.element)}"
    kind = block.type_of(form.element)
    elements = [form.element, "i32"] if name in INTEGER_SECOND else [form.element] * INTRINSICS[name].arity
    arguments = [Value(f"%{letter}", element) for letter, element in zip("xyz", elements, strict=False)]
    parameters = ", ".join(f"{block.type_of(argument.element)} {argument.name}" for argument in arguments)
    declares: tuple[str, ...] = ()
    recipe = (FLOAT_RECIPES if form is FLOAT else RECIPES).get(name)
    if recipe is not None:
        lines = returned(block, recipe(block, *arguments))
        if block.leaves:
            outside, declares = per_lane(form, lanes, name, arguments)
            lines += ["outside:", *outside]
    else:
        lines, declares = per_lane(form, lanes, name, arguments)
    head = f"define internal {kind} {symbol}({parameters}) alwaysinline nounwind {{"
    return MathsFunction(symbol, "\n".join([head, *lines, "}"]) + "\n", declares)


def returned(b: Block, result: Value) -> list[str]:
    """Give the lines of a block that ends by returning `result`."""
    return [*b.lines, f"  ret {b.type_of(result.element)} {result.name}"]


def per_lane(form: Format, lanes: int, name: str, arguments: list[Value]) -> tuple[list[str], tuple[str, ...]]:
    """Give the lines that call the C library once per lane, and the declaration that this needs."""
    b = Block(form, lanes, prefix="%c")
    element, kind = form.element, b.type_of(form.element)
    symbol = f"@{name}{'f' if form is FLOAT else ''}"
    declares = (f"declare {element} {symbol}({', '.join(argument.element for argument in arguments)}) nounwind",)
    if lanes == 1:
        scalars = ", ".join(f"{argument.element} {argument.name}" for argument in arguments)
        return returned(b, b.emit(element, f"call {element} {symbol}({scalars})")), declares
    result = Value("poison", element)
    for lane in range(lanes):
        scalars = [b.lane(argument, lane) for argument in arguments]
        listed = ", ".join(f"{scalar.element} {scalar.name}" for scalar in scalars)
        called = b.emit(element, f"call {element} {symbol}({listed})")
        result = b.emit(element, f"insertelement {kind} {result.name}, {element} {called.name}, i64 {lane}")
    return returned(b, result), declares
