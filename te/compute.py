"""Declaring tensors: placeholders, computes, and the variables that they are indexed by."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..ir import arith
from ..ir.dtype import DType, dtype_of
from ..ir.errors import ExpressionError, TypeMismatch
from ..ir.expr import Expr, Var
from ..ir.visit import walk
from .arguments import literal
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
    several = isinstance(result, (tuple, list))
    op = ComputeOp(name, axes, as_body(name, result if several else (result,)), tag=tag, attrs=as_attrs(attrs))
    tensors = tuple(op.output(i) for i in range(op.num_outputs))
    return tensors if several else tensors[0]


def reduce_axis(dom: tuple[Size, Size] | Sequence[Size], name: str = "rv") -> Axis:
    """Give an axis to reduce over, from `dom[0]` up to but without `dom[1]`."""
    if not isinstance(dom, (tuple, list)) or len(dom) != 2:
        raise ExpressionError("reduce_axis", f"the domain of {name} is {dom!r}", advice="a pair (first, end)")
    start, end = arith.operands("reduce_axis", *(_size(name, bound, None) for bound in dom))
    extent = _size(name, arith.sub(end, start), 1)
    return Axis(Var(name, extent.dtype, literal(start)), extent, AxisKind.REDUCE, start)


def thread_axis(dom: object = None, tag: str = "", name: str = "") -> Axis:
    """Give an axis of hardware threads, for `bind`: thread_axis("threadIdx.x"), thread_axis((0, 64), "threadIdx.x").

    Its extent is 0 where no domain is given: the loop that is bound to it decides.
    """
    if isinstance(dom, str):
        dom, tag = None, dom
    if not tag:
        raise ExpressionError("thread_axis", "no tag", advice='one such as "threadIdx.x", "blockIdx.x" or "vthread"')
    if dom is None:
        return Axis(Var(name or tag, minimum=0), arith.const(0), AxisKind.THREAD, thread=tag)
    extent = reduce_axis(dom, name or tag).extent if isinstance(dom, (tuple, list)) else _size(tag, dom, 1)
    return Axis(Var(name or tag, extent.dtype, 0), extent, AxisKind.THREAD, thread=tag)


def as_shape(step: str, shape: object) -> tuple[Expr, ...]:
    """Give `shape` as expressions; a single size stands for one dimension."""
    single = isinstance(shape, (int, Expr)) or not isinstance(shape, Iterable)
    return tuple(_size(step, size, 1) for size in ((shape,) if single else shape))  # type: ignore[union-attr]


def as_attrs(attrs: Attrs) -> tuple[tuple[str, object], ...]:
    """Give attributes as pairs, with lists made immutable."""
    return tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in (attrs or {}).items())


def as_body(step: str, results: Sequence[object]) -> tuple[Expr, ...]:
    """Give the results of a compute's function as expressions.

    Raises ExpressionError where there is none, where one is a Python bool, and where a reduction is only a part.
    """
    if not results:
        raise ExpressionError(step, "the function gives no result", advice="one expression, or a tuple of them")
    body = tuple(_result(step, r) for r in results)
    reduces = [b for b in body if isinstance(b, Reduce)]
    for expression in body:
        _refuse_inner_reduce(step, expression)
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
    if value is None:
        raise ExpressionError(step, "the function gives None", advice="return the element's expression")
    if isinstance(value, bool):
        raise ExpressionError(
            step,
            f"the function gives the Python value {value}; `==` between expressions compares Python objects",
            advice="write a.equal(b) for equality of values, or const(True) for a literal",
        )
    return arith.as_expr(value)  # type: ignore[arg-type]


def _refuse_inner_reduce(step: str, expression: Expr) -> None:
    for node in walk(expression):
        if isinstance(node, Reduce) and node is not expression:
            raise ExpressionError(
                step,
                f"the reduction {node.reducer.name} is a part of a larger expression",
                advice="one compute for the reduction, another one that reads its result",
            )


def _size(step: str, value: object, least: int | None) -> Expr:
    """Give an extent or a bound; a literal under `least` is refused."""
    if isinstance(value, (bool, float, str)) or value is None:
        raise TypeMismatch(step, f"the size {value!r} is no integer", advice="an int, or te.var('n')")
    size = arith.as_expr(value)  # type: ignore[arg-type]
    if not size.dtype.is_int:
        raise TypeMismatch(step, f"the size {value} has type {size.dtype}", advice="an integer")
    value = literal(size)
    if value is not None and least is not None and value < least:
        raise ExpressionError(step, f"the size is {value}", advice=f"a size of at least {least}")
    return size


def _axis_names(
    step: str, fcompute: Callable[..., object], ndim: int, varargs_names: Sequence[str] | None
) -> list[str]:
    """Give the axes' names from the function's arguments; arguments with defaults are the user's own."""
    parameters = inspect.signature(fcompute).parameters.values()
    names = [p.name for p in parameters if p.kind <= p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
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
