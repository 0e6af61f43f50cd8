"""Reducers: combining the values along reduction axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, reduce
from typing import Any

from ..ir import arith
from ..ir.dtype import DType, boolean
from ..ir.errors import ExpressionError, TypeMismatch
from ..ir.expr import Const, Expr, Var
from ..ir.visit import of_kind
from .arguments import listed
from .axis import Axis, AxisKind
from .nodes import Reduce, Reducer

Result = Any  # an expression, or a tuple of them where the reducer combines several values
ReducerOf = Callable[[tuple[DType, ...]], Reducer]


def comm_reducer(
    fcombine: Callable[..., object], fidentity: Callable[..., object], name: str = "reduce"
) -> Callable[..., Result]:
    """Give a reducer: `f(expr, axis, where=None, init=None)` for a reduction, `f(a, b, ...)` to combine values.

    fcombine   the combination of a running value and the next one; of two tuples where values are tuples
    fidentity  from the data type (one per component) to the value that changes nothing
    `fcombine` must be associative; its results must not depend on the order beyond rounding and ties.
    """

    @cache
    def reducer_of(dtypes: tuple[DType, ...]) -> Reducer:
        return _reducer(fcombine, fidentity, name, dtypes)

    def reducer(expr: object, axis: object, where: object = None, init: object = None, *args: object) -> Result:
        match axis:
            case Axis() | list() | tuple() if not args:
                return _reduction(name, reducer_of, expr, axis, where, init)
            case _:
                rest = (operand for operand in (axis, where, init, *args) if operand is not None)
                return reduce(fcombine, rest, expr)

    reducer.__name__ = reducer.__qualname__ = name
    reducer.__doc__ = f"Give the {name} over `axis`, of the values where `where` holds, starting from `init`."
    return reducer


def _reducer(fcombine: Callable, fidentity: Callable, name: str, dtypes: tuple[DType, ...]) -> Reducer:
    suffixes = [""] if len(dtypes) == 1 else [f"_{i}" for i in range(len(dtypes))]
    left = tuple(Var(f"x{s}", t) for s, t in zip(suffixes, dtypes, strict=True))
    right = tuple(Var(f"y{s}", t) for s, t in zip(suffixes, dtypes, strict=True))
    single = len(dtypes) == 1
    combined = fcombine(left[0], right[0]) if single else fcombine(left, right)
    identity = fidentity(*map(str, dtypes))
    result = _components(name, "fcombine", combined, dtypes)
    return Reducer(name, left, right, result, _components(name, "fidentity", identity, dtypes))


def _components(name: str, function: str, values: object, dtypes: tuple[DType, ...]) -> tuple[Expr, ...]:
    """Give one expression per component, in its data type."""
    given = listed(values)
    if len(given) != len(dtypes):
        raise ExpressionError(
            name,
            f"{function} gives {len(given)} values for {len(dtypes)} components",
            advice=f"{len(dtypes)} values, one per component",
        )
    return tuple(_component(v, t) for v, t in zip(given, dtypes, strict=True))


def _component(value: Any, dtype: DType) -> Expr:
    match arith.as_expr(value, dtype):
        case Const() as literal:
            return arith.cast(dtype, literal)
        case node:
            return node


def _reduction(name: str, reducer_of: ReducerOf, expr: object, axis: object, where: object, init: object) -> Result:
    axes = _reduce_axes(name, axis)
    values = tuple(arith.as_expr(v) for v in listed(expr))
    for value in values:
        _refuse_reduce(name, value)
    dtypes = tuple(v.dtype for v in values)
    reducer = reducer_of(dtypes)
    condition = Const(True, boolean) if where is None else arith.condition(name, where)
    start = () if init is None else _components(name, "init", init, dtypes)
    for what, given in (("fcombine", reducer.result), ("init", start)):
        _check_dtypes(name, what, given, dtypes)
    reduces = tuple(Reduce(reducer, values, axes, condition, start, i) for i in range(len(values)))
    return reduces[0] if len(reduces) == 1 else reduces


def _check_dtypes(name: str, what: str, given: tuple[Expr, ...], dtypes: tuple[DType, ...]) -> None:
    for one, dtype in zip(given, dtypes, strict=bool(given)):
        if one.dtype != dtype:
            raise TypeMismatch(name, f"{what} gives {one.dtype} for {dtype} values", advice=f".astype('{dtype}')")


def _reduce_axes(name: str, axis: object) -> tuple[Axis, ...]:
    axes = listed(axis)
    if not axes:
        raise ExpressionError(name, "the list of axes is empty", advice="at least one te.reduce_axis")
    for one in axes:
        match one:
            case Axis(kind=AxisKind.REDUCE):
                pass
            case _:
                raise ExpressionError(name, f"{one!r} is no reduction axis", advice="te.reduce_axis((0, n), name='k')")
    if len({id(one) for one in axes}) != len(axes):
        raise ExpressionError(name, f"an axis is listed twice among {len(axes)}", advice="each axis once")
    return axes


def _refuse_reduce(name: str, value: Expr) -> None:
    for inner in of_kind(value, Reduce):
        raise ExpressionError(
            name,
            f"its values contain the reduction {inner.reducer.name}",
            advice="one compute for each reduction, or one reduction over several axes",
        )


def _number(name: str, dtype: str) -> str:
    if dtype == "bool":
        raise TypeMismatch(name, "the values are bool", advice=".astype('int32') to count, or te.any / te.all")
    return dtype


sum = comm_reducer(lambda x, y: x + y, lambda t: arith.const(0, _number("sum", t)), name="sum")
prod = comm_reducer(lambda x, y: x * y, lambda t: arith.const(1, _number("prod", t)), name="prod")
max = comm_reducer(arith.maximum, lambda t: arith.const(arith.dtype_of(t).min_value, t), name="max")
min = comm_reducer(arith.minimum, lambda t: arith.const(arith.dtype_of(t).max_value, t), name="min")
_every = comm_reducer(arith.logical_and, lambda t: arith.const(True, t), name="all")
_some = comm_reducer(arith.logical_or, lambda t: arith.const(False, t), name="any")


def all(*conditions: object, axis: Axis | Sequence[Axis] | None = None) -> Expr:
    """Give the conjunction of conditions; with `axis`, whether the one condition holds for every value of the axes."""
    return arith.logical_and(*conditions) if axis is None else _quantified(_every, "all", conditions, axis)


def any(*conditions: object, axis: Axis | Sequence[Axis] | None = None) -> Expr:
    """Give the disjunction of conditions; with `axis`, whether the one condition holds for some value of the axes."""
    return arith.logical_or(*conditions) if axis is None else _quantified(_some, "any", conditions, axis)


def _quantified(reducer: Callable[..., Result], name: str, conditions: tuple[object, ...], axis: object) -> Expr:
    if len(conditions) != 1:
        raise ExpressionError(name, f"{len(conditions)} conditions to reduce", advice="one condition, or te.all(a, b)")
    return reducer(arith.condition(name, conditions[0]), axis)
