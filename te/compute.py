"""Declaring tensors: placeholders, computes, and the variables that they are indexed by."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any

from ..ir import arith
from ..ir.dtype import DType, dtype_of
from ..ir.errors import ExpressionError, TypeMismatch
from ..ir.expr import Expr, Var
from ..ir.visit import of_kind
from .arguments import listed, several
from .axis import Axis, AxisKind
from .nodes import Reduce
from .operation import ComputeOp, PlaceholderOp
from .tensor import Tensor

Size = Expr | int
Shape = Sequence[Size] | Size
Attrs = Mapping[str, object] | None


def var(name: str = "tindex", dtype: str | DType = "int32") -> Var:
    """Give a named scalar parameter, such as a size that is known when the kernel is called."""
    return Var(name, dtype_of(dtype))


def size_var(name: str = "size", dtype: str | DType = "int32", minimum: int = 0) -> Var:
    """Give a named scalar parameter that is never less than `minimum`, which calls are checked for."""
    return Var(name, dtype_of(dtype), minimum)


def placeholder(shape: Shape, dtype: str | DType = "float32", name: str = "placeholder") -> Tensor:
    """Give a tensor that the caller passes in.  Raises TypeMismatch for a shape that is not of positive integers."""
    return PlaceholderOp(name, as_shape(name, shape), dtype_of(dtype)).output(0)


def compute(
    shape: Shape,
    fcompute: Callable[..., object],
    name: str = "compute",
    tag: str = "",
    attrs: Attrs = None,
    varargs_names: Sequence[str] | None = None,
) -> Any:  # what the function gives decides between a tensor and a tuple of them
    """Give the tensor whose element at (i, j, ...) is `fcompute(i, j, ...)`; several when it gives a tuple or list.

    fcompute       one argument per dimension; their names become the names of the axes
    tag, attrs     a word and facts for templates to recognise the operator by
    varargs_names  names of the axes that `*indices` takes
    Raises ExpressionError for a wrong number of arguments, and for a reduction that is not the whole result.
    """
    extents = as_shape(name, shape)
    names = _axis_names(name, fcompute, len(extents), varargs_names)
    axes = tuple(Axis(Var(n, e.dtype, 0), e) for n, e in zip(names, extents, strict=True))
    result = fcompute(*[axis.var for axis in axes])
    op = ComputeOp(name, axes, as_body(name, listed(result)), tag=tag, attrs=as_attrs(attrs))
    tensors = tuple(op.output(i) for i in range(op.num_outputs))
    return tensors if several(result) else tensors[0]


def reduce_axis(dom: tuple[Size, Size] | Sequence[Size], name: str = "rv") -> Axis:
    """Give an axis to reduce over, from `dom[0]` up to but without `dom[1]`."""
    match dom:
        case [first, end]:
            start, end = arith.operands("reduce_axis", _size(name, first, None), _size(name, end, None))
        case _:
            raise ExpressionError("reduce_axis", f"the domain of {name} is {dom!r}", advice="a pair (first, end)")
    extent = _size(name, arith.sub(end, start), 1)
    return Axis(Var(name, extent.dtype, arith.int_value(start)), extent, AxisKind.REDUCE, start)


def thread_axis(dom: object = None, tag: str = "", name: str = "") -> Axis:
    """Give an axis of hardware threads, for `bind`: thread_axis("threadIdx.x"), thread_axis((0, 64), "threadIdx.x").

    Its extent is 0 where no domain is given: the loop that is bound to it decides.
    """
    match dom:
        case str():
            extent, tag = arith.const(0), dom
        case None:
            extent = arith.const(0)
        case [*_]:
            extent = reduce_axis(dom, name or tag).extent
        case _:
            extent = _size(tag, dom, 1)
    if not tag:
        raise ExpressionError("thread_axis", "no tag", advice='one such as "threadIdx.x", "blockIdx.x" or "vthread"')
    return Axis(Var(name or tag, extent.dtype, 0), extent, AxisKind.THREAD, thread=tag)


def as_shape(step: str, shape: object) -> tuple[Expr, ...]:
    """Give `shape` as expressions; a single size stands for one dimension."""
    match shape:
        case Iterable():
            return tuple(_size(step, size, 1) for size in shape)
        case _:
            return (_size(step, shape, 1),)


def as_attrs(attrs: Attrs) -> tuple[tuple[str, object], ...]:
    """Give attributes as pairs, with lists made immutable."""
    return tuple((k, tuple(v) if several(v) else v) for k, v in (attrs or {}).items())


def as_body(step: str, results: Sequence[object]) -> tuple[Expr, ...]:
    """Give the results of a compute's function as expressions.

    Raises ExpressionError where there is none, where one is a Python bool, and where a reduction is only a part.
    """
    if not results:
        raise ExpressionError(step, "the function gives no result", advice="one expression, or a tuple of them")
    body = tuple(_result(step, r) for r in results)
    reduces = [reduce for expression in body for reduce in _reductions(step, expression)]
    if not reduces:
        return body
    first = reduces[0]
    together = len(reduces) == len(body) and all(r.values is first.values and r.axes is first.axes for r in reduces)
    if not together or [r.component for r in reduces] != list(range(len(first.values))):
        raise ExpressionError(
            step,
            f"{len(body)} results of which {len(reduces)} are reductions, not all the components of one",
            advice="one compute for each reduction, or one tuple reducer whose components are all given, in order",
        )
    return body


def _result(step: str, value: object) -> Expr:
    match value:
        case None:
            raise ExpressionError(step, "the function gives None", advice="return the element's expression")
        case bool():
            raise ExpressionError(
                step,
                f"the function gives the Python value {value}; `==` between expressions compares Python objects",
                advice="write a.equal(b) for equality of values, or const(True) for a literal",
            )
        case _:
            return arith.as_expr(value)  # type: ignore[arg-type]


def _reductions(step: str, expression: Expr) -> list[Reduce]:
    """Give the expression if it is a reduction.  Raises ExpressionError for one that is a part of it."""
    found = list(of_kind(expression, Reduce))
    for reduce in found:
        if reduce is not expression:
            raise ExpressionError(
                step,
                f"the reduction {reduce.reducer.name} is a part of a larger expression",
                advice="one compute for the reduction, another one that reads its result",
            )
    return found


def _size(step: str, value: object, least: int | None) -> Expr:
    """Give an extent or a bound; a literal under `least` is refused."""
    match value:
        case bool() | float() | str() | None:
            raise TypeMismatch(step, f"the size {value!r} is no integer", advice="an int, or te.var('n')")
        case _:
            size = arith.as_expr(value)  # type: ignore[arg-type]
    if not size.dtype.is_int:
        raise TypeMismatch(step, f"the size {value} has type {size.dtype}", advice="an integer")
    known = arith.int_value(size)
    if known is not None and least is not None and known < least:
        raise ExpressionError(step, f"the size is {known}", advice=f"a size of at least {least}")
    return size


def _axis_names(
    step: str, fcompute: Callable[..., object], ndim: int, varargs_names: Sequence[str] | None
) -> list[str]:
    """Give the axes' names from the function's arguments; arguments with defaults are the user's own."""
    names, rest = _arguments(fcompute)
    missing = ndim - len(names)
    if rest is not None and missing >= 0:
        more = list(varargs_names) if varargs_names is not None else [f"{rest}{i}" for i in range(missing)]
        names, missing = names + more, missing - len(more)
    if missing != 0:
        raise ExpressionError(
            step,
            f"{len(names)} names of axes for {ndim} dimensions",
            advice="a function with one argument per dimension, or `lambda *i: ...` for any number",
        )
    return names


def _arguments(function: Callable[..., object]) -> tuple[list[str], str | None]:
    """Give the names of positional arguments without defaults, and of what takes all further ones."""
    if type(function) is FunctionType and not vars(function):  # as most are: to ask `inspect` takes 20 times as long
        code = function.__code__
        first_names = code.co_varnames[: code.co_argcount - len(function.__defaults__ or ())]
        takes_more = bool(code.co_flags & inspect.CO_VARARGS)
        return list(first_names), code.co_varnames[code.co_argcount + code.co_kwonlyargcount] if takes_more else None
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind <= p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    return names, next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
