"""The functions that generated code calls, by name, type and number of lanes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ....ir.dtype import DType
from ....ir.errors import CodegenError
from ....ir.intrinsics import INTRINSICS
from . import exponential
from .block import FORMATS, Block, Value


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
    "tanh": exponential.tanh,
    "sigmoid": exponential.sigmoid,
}


def vector_maths(name: str, dtype: DType, lanes: int) -> MathsFunction:
    """Give the function `name` of ir.INTRINSICS over `lanes` float32 or float64 numbers; one lane is a scalar.

    Functions without a recipe call the C library once per lane.
    Raises CodegenError for another data type or a function that is not floating-point maths.
    """
    form = FORMATS.get(dtype)
    if form is None:
        raise CodegenError(f"maths function {name}", f"no version for {dtype}", advice="cast to float32 or float64")
    block = Block(form, lanes)
    symbol = f"@tw.{name}.{block.overload(form.element)}"
    kind = block.type_of(form.element)
    arguments = [Value(f"%{letter}", form.element) for letter in "xyz"[: INTRINSICS[name].arity]]
    parameters = ", ".join(f"{kind} {argument.name}" for argument in arguments)
    recipe = RECIPES.get(name)
    if recipe is not None:
        result = recipe(block, *arguments)
        declares: tuple[str, ...] = ()
    else:
        result, declares = per_lane(block, name, arguments)
    lines = [
        f"define internal {kind} {symbol}({parameters}) alwaysinline nounwind {{",
        *block.lines,
        f"  ret {kind} {result.name}",
        "}",
    ]
    return MathsFunction(symbol, "\n".join(lines) + "\n", declares)


def per_lane(b: Block, name: str, arguments: list[Value]) -> tuple[Value, tuple[str, ...]]:
    """Give the result of calling the C library once per lane, and the declaration that this needs."""
    element = b.form.element
    symbol = f"@{name}{'f' if element == 'float' else ''}"
    declares = (f"declare {element} {symbol}({', '.join([element] * len(arguments))}) nounwind",)
    if b.lanes == 1:
        scalars = ", ".join(f"{element} {argument.name}" for argument in arguments)
        return b.emit(element, f"call {element} {symbol}({scalars})"), declares
    kind = b.type_of(element)
    result = Value("poison", element)
    for lane in range(b.lanes):
        scalars = [b.emit(element, f"extractelement {kind} {argument.name}, i64 {lane}") for argument in arguments]
        listed = ", ".join(f"{element} {scalar.name}" for scalar in scalars)
        called = b.emit(element, f"call {element} {symbol}({listed})")
        result = b.emit(element, f"insertelement {kind} {result.name}, {element} {called.name}, i64 {lane}")
    return result, declares
