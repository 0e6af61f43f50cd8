"""What a compiled function takes: plain data that is stored beside the code and read back with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..ir.buffer import Buffer
from ..ir.dtype import DType, dtype_of
from ..ir.errors import CodegenError
from ..ir.expr import Add, Cast, Const, Expr, FloorDiv, FloorMod, Max, Min, Mul, Sub, Var
from ..ir.stmt import Function

Extent = int | str | tuple[str, "Extent", "Extent"]  # a constant, a size, or an operation on two extents

_OPERATIONS: dict[str, tuple[type[Expr], Callable[[int, int], int]]] = {
    "+": (Add, lambda a, b: a + b),
    "-": (Sub, lambda a, b: a - b),
    "*": (Mul, lambda a, b: a * b),
    "//": (FloorDiv, lambda a, b: a // b),
    "%": (FloorMod, lambda a, b: a % b),
    "min": (Min, min),
    "max": (Max, max),
}
_OPERATORS = {node: name for name, (node, _) in _OPERATIONS.items()}


@dataclass(frozen=True, slots=True)
class ScalarParam:
    """A number passed by value.

    minimum  what it is never less than, if the code relies on that
    """

    name: str
    dtype: DType
    minimum: int | None = None


@dataclass(frozen=True, slots=True)
class ArrayParam:
    """An array passed by address.

    strides  in elements, or None for row-major without gaps
    written  whether the function writes it
    """

    name: str
    dtype: DType
    shape: tuple[Extent, ...]
    strides: tuple[Extent, ...] | None
    written: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of a compiled function.

    params  what the caller gives, in order
    sizes   what is derived from the arrays' shapes and passed after them
    """

    name: str
    params: tuple[ArrayParam | ScalarParam, ...]
    sizes: tuple[ScalarParam, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(param_text, self.params))})"


def signature_of(function: Function) -> Signature:
    """Give the signature of a function.  Raises CodegenError for a shape that is no arithmetic on sizes."""
    params = tuple(_param(function, p) for p in function.params)
    return Signature(function.name, params, tuple(ScalarParam(v.name, v.dtype, v.minimum) for v in function.size_vars))


def _param(function: Function, param: Buffer | Var) -> ArrayParam | ScalarParam:
    match param:
        case Var(name, dtype, minimum):
            return ScalarParam(name, dtype, minimum)
        case Buffer(name=name, shape=shape, dtype=dtype, strides=strides):
            extents = tuple(map(extent_of, shape))
            steps = None if strides is None else tuple(map(extent_of, strides))
            return ArrayParam(name, dtype, extents, steps, any(param is b for b in function.outputs))


def extent_of(expr: Expr) -> Extent:
    """Give an integer expression over sizes as data.  Raises CodegenError for any other."""
    match expr:
        case Const(value):
            return int(value)
        case Var(name):
            return name
        case Cast(value):
            return extent_of(value)
        case Add(a, b) | Sub(a, b) | Mul(a, b) | FloorDiv(a, b) | FloorMod(a, b) | Min(a, b) | Max(a, b):
            return _OPERATORS[type(expr)], extent_of(a), extent_of(b)
        case _:
            raise CodegenError(
                "build", f"the extent {expr} is not arithmetic on sizes", advice="use + - * // % min max"
            )


def evaluate_extent(extent: Extent, sizes: Mapping[str, int]) -> int:
    """Give the value of an extent; `sizes` knows every name in it."""
    match extent:
        case int():
            return extent
        case str():
            return sizes[extent]
        case (operator, a, b):
            return _OPERATIONS[operator][1](evaluate_extent(a, sizes), evaluate_extent(b, sizes))


def extent_names(extent: Extent) -> set[str]:
    """Give the sizes that an extent depends on."""
    match extent:
        case int():
            return set()
        case str():
            return {extent}
        case (_, a, b):
            return extent_names(a) | extent_names(b)


def extent_text(extent: Extent) -> str:
    """Give an extent as a person writes it."""
    match extent:
        case (("min" | "max") as operator, a, b):
            return f"{operator}({extent_text(a)}, {extent_text(b)})"
        case (operator, a, b):
            return f"({extent_text(a)} {operator} {extent_text(b)})"
        case _:
            return str(extent)


def shape_text(shape: tuple[Extent, ...]) -> str:
    """Give a shape as a person writes it, such as `(n, 64)`."""
    inner = ", ".join(map(extent_text, shape))
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def param_text(param: ArrayParam | ScalarParam) -> str:
    """Give a parameter as a person writes it, such as `A: float32 (n, 64)`."""
    match param:
        case ArrayParam(name, dtype, shape):
            return f"{name}: {dtype} {shape_text(shape)}"
        case ScalarParam(name, dtype):
            return f"{name}: {dtype}"


def to_json(signatures: tuple[Signature, ...]) -> str:
    """Give signatures as JSON text."""
    return json.dumps([_data(s) for s in signatures], separators=(",", ":"))


def _data(signature: Signature) -> dict[str, object]:
    params: list[list[object]] = []
    for p in signature.params:
        match p:
            case ArrayParam(name, dtype, shape, strides, written):
                params.append([name, str(dtype), shape, strides, written])
            case ScalarParam(name, dtype, minimum):
                params.append([name, str(dtype), minimum])
    sizes = [[s.name, str(s.dtype), s.minimum] for s in signature.sizes]
    return {"name": signature.name, "params": params, "sizes": sizes}


def from_json(text: str) -> tuple[Signature, ...]:
    """Give the signatures that `to_json` wrote."""
    return tuple(
        Signature(
            row["name"],
            tuple(_read_param(*p) for p in row["params"]),
            tuple(ScalarParam(name, dtype_of(dtype), *minimum) for name, dtype, *minimum in row["sizes"]),
        )
        for row in json.loads(text)
    )


def _read_param(name: str, dtype: str, *rest: object) -> ArrayParam | ScalarParam:
    match rest:
        case (list(shape), strides, bool(written)):
            return ArrayParam(name, dtype_of(dtype), _tuples(shape), _tuples(strides), written)
        case _:
            return ScalarParam(name, dtype_of(dtype), *rest)  # type: ignore[arg-type]


def _tuples(data: Any) -> Any:
    """Give JSON's lists as the tuples that they were."""
    match data:
        case list():
            return tuple(map(_tuples, data))
        case _:
            return data
