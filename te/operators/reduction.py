"""Reductions of tensors along axes, as NumPy's: `axis` is None for all, a number, or several; negative ones count
from the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...ir import arith
from ...ir.errors import ExpressionError
from ...ir.expr import Expr
from .. import reducers
from ..axis import Axis
from ..compute import compute, reduce_axis
from ..tensor import Tensor

Axes = int | Sequence[int] | None


def sum(data: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Give the sums along `axis`."""
    return _reduced(data, axis, keepdims, reducers.sum, "sum")


def prod(data: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Give the products along `axis`."""
    return _reduced(data, axis, keepdims, reducers.prod, "prod")


def max(data: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Give the greatest values along `axis`."""
    return _reduced(data, axis, keepdims, reducers.max, "max")


def min(data: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Give the least values along `axis`."""
    return _reduced(data, axis, keepdims, reducers.min, "min")


def mean(data: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Give the means along `axis`, of floats."""
    total = sum(data, axis, keepdims)
    count = extent_of(data, normalized("mean", data, axis))
    return compute(total.shape, lambda *i: total[i] / count, name="T_mean", tag="elementwise")


def argmax(data: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Give the int32 positions of the greatest values along `axis`, the first among equals.

    Where several axes are reduced, positions count in row-major order.
    """
    return _position(data, axis, keepdims, _ARGMAX, "argmax")


def argmin(data: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Give the int32 positions of the least values along `axis`, the first among equals."""
    return _position(data, axis, keepdims, _ARGMIN, "argmin")


Pairs = tuple[Expr, Expr]


def _first_of(
    better: Callable[[Expr, Expr], Expr], best: Callable[[Expr, Expr], Expr]
) -> Callable[[Pairs, Pairs], Pairs]:
    """Combine in a way in which neither part of the next result waits for a comparison of positions."""

    def combine(x: Pairs, y: Pairs) -> Pairs:
        among_equals = arith.select(x[1].equal(y[1]), arith.minimum(x[0], y[0]), y[0])
        return arith.select(better(x[1], y[1]), x[0], among_equals), best(x[1], y[1])

    return combine


_ARGMAX = reducers.comm_reducer(
    _first_of(lambda a, b: a > b, arith.maximum),
    lambda i, t: (arith.dtype_of(i).max_value, arith.const(arith.dtype_of(t).min_value, t)),
    name="argmax",
)
_ARGMIN = reducers.comm_reducer(
    _first_of(lambda a, b: a < b, arith.minimum),
    lambda i, t: (arith.dtype_of(i).max_value, arith.const(arith.dtype_of(t).max_value, t)),
    name="argmin",
)


def normalized(step: str, data: Tensor, axis: Axes) -> tuple[int, ...]:
    """Give the axes as sorted numbers from 0.  Raises ExpressionError for one that the tensor does not have."""
    match axis:
        case None:
            given = tuple(range(data.ndim))
        case int():
            given = (axis,)
        case _:
            given = tuple(axis)
    for one in given:
        if not -data.ndim <= one < data.ndim:
            raise ExpressionError(step, f"axis {one} of {data.ndim} dimensions", advice=f"0 to {data.ndim - 1}")
    found = sorted({one % data.ndim for one in given})
    if len(found) != len(given) or not found:
        raise ExpressionError(step, f"axes {list(given)} of {data.ndim} dimensions", advice="each axis once")
    return tuple(found)


def extent_of(data: Tensor, axes: Sequence[int]) -> Expr:
    """Give the number of elements along some axes, in the tensor's data type."""
    count: Expr = arith.const(1)
    for axis in axes:
        count = count * data.shape[axis]
    return arith.cast(data.dtype, count)


def reduced_index(
    data: Tensor, axes: tuple[int, ...], keepdims: bool, i: tuple[Expr, ...], over: Sequence[Axis]
) -> tuple[Expr, ...]:
    """Give the element of `data` at the result's index `i` and the reduction axes `over`."""
    rest, along = iter(i), iter(over)
    index: list[Expr] = []
    for dim in range(data.ndim):
        if dim not in axes:
            index.append(next(rest))
            continue
        index.append(next(along).var)
        if keepdims:
            next(rest)
    return tuple(index)


def reduced_shape(data: Tensor, axes: tuple[int, ...], keepdims: bool) -> tuple[Expr, ...]:
    """Give the result's shape; reduced dimensions are 1 with `keepdims`, else left out."""
    one = arith.const(1)
    return tuple(one if d in axes else n for d, n in enumerate(data.shape) if keepdims or d not in axes)


def _over(data: Tensor, axes: tuple[int, ...]) -> list[Axis]:
    return [reduce_axis((0, data.shape[axis]), f"k{axis}") for axis in axes]


def _reduced(data: Tensor, axis: Axes, keepdims: bool, reducer: Callable, name: str) -> Tensor:
    axes = normalized(name, data, axis)
    over = _over(data, axes)
    return compute(
        reduced_shape(data, axes, keepdims),
        lambda *i: reducer(data[reduced_index(data, axes, keepdims, i, over)], axis=over),
        name=f"T_{name}",
        tag="comm_reduce",
        attrs={"axis": axes, "keepdims": keepdims},
    )


def _position(data: Tensor, axis: Axes, keepdims: bool, reducer: Callable, name: str) -> Tensor:
    axes = normalized(name, data, axis)
    over = _over(data, axes)
    position: Expr = arith.const(0)
    for one, along in zip(axes, over, strict=True):
        position = position * data.shape[one] + along

    def element(*i: Expr) -> tuple[Expr, ...]:
        at = reduced_index(data, axes, keepdims, i, over)
        return reducer((arith.cast("int32", position), data[at]), axis=over)

    shape = reduced_shape(data, axes, keepdims)
    both = compute(shape, element, name=f"T_{name}", tag="comm_reduce_idx", attrs={"axis": axes, "keepdims": keepdims})
    return both[0]
