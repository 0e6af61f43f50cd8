"""Operators that move elements: each result's element is one element of an input."""

from __future__ import annotations

import math as numbers
from collections.abc import Sequence

from ...ir import arith
from ...ir.errors import ExpressionError, TypeMismatch
from ...ir.expr import Expr
from ...ir.visit import same
from ..compute import compute
from ..tensor import Tensor
from .reduction import normalized

INJECTIVE = "injective"


def transpose(a: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """Give `a` with its dimensions in the order `axes`, by default reversed: shape (a.shape[axes[0]], ...)."""
    order = tuple(range(a.ndim))[::-1] if axes is None else tuple(axis % a.ndim for axis in axes)
    if sorted(order) != list(range(a.ndim)):
        raise ExpressionError("transpose", f"axes {list(order)} of {a.ndim} dimensions", advice="each axis once")
    back = [order.index(dim) for dim in range(a.ndim)]
    shape = [a.shape[axis] for axis in order]
    return compute(shape, lambda *i: a[tuple(i[b] for b in back)], name="T_transpose", tag=INJECTIVE)


def reshape(a: Tensor, newshape: Sequence[Expr | int]) -> Tensor:
    """Give the elements of `a` in row-major order in another shape; one size may be -1 for what is left."""
    shape = _filled(a, newshape)
    if _count(a.shape) is not None and _count(a.shape) != _count(shape):
        sizes = f"{_count(a.shape)} elements of {a.name} for the shape {list(map(str, shape))}"
        raise TypeMismatch("reshape", sizes, advice="as many elements; one size may be -1")
    return compute(shape, lambda *i: a[_unflat(_flat(i, shape), a.shape)], name="T_reshape", tag=INJECTIVE)


def flatten(data: Tensor) -> Tensor:
    """Give (N, d1 * d2 * ...) from (N, d1, d2, ...)."""
    rest: Expr = arith.const(1)
    for extent in data.shape[1:]:
        rest = rest * extent
    return reshape(data, (data.shape[0], rest))


def squeeze(a: Tensor, axis: int | Sequence[int] | None = None) -> Tensor:
    """Give `a` without dimensions of extent 1, all of them or those of `axis`."""
    ones = [d for d, extent in enumerate(a.shape) if arith.is_const(extent, 1)]
    dims = tuple(ones) if axis is None else normalized("squeeze", a, axis)
    for dim in dims:
        if dim not in ones:
            raise ExpressionError("squeeze", f"dimension {dim} has {a.shape[dim]} elements", advice="dimensions of 1")
    shape = [extent for d, extent in enumerate(a.shape) if d not in dims]

    def element(*i: Expr) -> Expr:
        rest = iter(i)
        return a[tuple(arith.const(0) if d in dims else next(rest) for d in range(a.ndim))]

    return compute(shape, element, name="T_squeeze", tag=INJECTIVE)


def expand_dims(a: Tensor, axis: int, num_newaxis: int = 1) -> Tensor:
    """Give `a` with `num_newaxis` dimensions of extent 1 put before dimension `axis`."""
    at = axis if axis >= 0 else a.ndim + 1 + axis
    if not 0 <= at <= a.ndim:
        raise ExpressionError("expand_dims", f"axis {axis} of {a.ndim} dimensions", advice=f"0 to {a.ndim}")
    shape = (*a.shape[:at], *[1] * num_newaxis, *a.shape[at:])
    return compute(shape, lambda *i: a[i[:at] + i[at + num_newaxis :]], name="T_expand_dims", tag="broadcast")


def broadcast_to(data: Tensor, shape: Sequence[Expr | int]) -> Tensor:
    """Give `data` repeated along dimensions of extent 1, as NumPy does."""
    skip = len(shape) - data.ndim

    def element(*i: Expr) -> Expr:
        own = zip(i[skip:], data.shape, strict=True)
        return data[tuple(arith.const(0) if arith.is_const(n, 1) else index for index, n in own)]

    for have, want in zip(data.shape, shape[skip:] if skip >= 0 else (), strict=False):
        if not arith.is_const(have, 1) and not same(have, arith.as_expr(want)):
            raise TypeMismatch("broadcast_to", f"extent {have} does not become {want}", advice="equal extents, or 1")
    if skip < 0:
        raise TypeMismatch("broadcast_to", f"{data.ndim} dimensions into {len(shape)}", advice="at least as many")
    return compute(shape, element, name="T_broadcast_to", tag="broadcast")


def concatenate(a_tuple: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Give tensors one after the other along `axis`; their other extents and data types are equal."""
    if not a_tuple:
        raise ExpressionError("concatenate", "no tensors", advice="at least one")
    first = a_tuple[0]
    (along,) = normalized("concatenate", first, axis)
    for other in a_tuple[1:]:
        rest = [(x, y) for d, (x, y) in enumerate(zip(first.shape, other.shape, strict=False)) if d != along]
        if other.ndim != first.ndim or other.dtype != first.dtype or not all(same(x, y) for x, y in rest):
            raise TypeMismatch("concatenate", f"{other} beside {first}", advice="equal shapes outside of the axis")
    starts = [arith.const(0)]
    for tensor in a_tuple:
        starts.append(starts[-1] + tensor.shape[along])  # type: ignore[arg-type]

    def element(*i: Expr) -> Expr:
        value = _moved(a_tuple[-1], i, along, starts[len(a_tuple) - 1])
        for tensor, begin, end in reversed(list(zip(a_tuple[:-1], starts, starts[1:], strict=False))):
            value = arith.if_then_else(i[along] < end, _moved(tensor, i, along, begin), value)
        return value

    shape = (*first.shape[:along], starts[-1], *first.shape[along + 1 :])
    return compute(shape, element, name="T_concat", tag=INJECTIVE, attrs={"axis": along})


def strided_slice(a: Tensor, begin: Sequence[int], end: Sequence[int], strides: Sequence[int] | None = None) -> Tensor:
    """Give the elements from `begin` up to `end` in steps of `strides`, as a[begin:end:stride]; extents are literal."""
    steps = tuple(strides) if strides is not None else (1,) * len(begin)
    if not len(begin) == len(end) == len(steps) <= a.ndim:
        raise ExpressionError("strided_slice", f"{len(begin)} starts, {len(end)} ends", advice="one per dimension")
    shape, starts = list(a.shape), [0] * a.ndim
    for dim, bounds in enumerate(zip(begin, end, steps, strict=True)):
        extent = a.shape[dim]
        size = arith.int_value(extent)
        if size is None:
            raise ExpressionError("strided_slice", f"dimension {dim} is {extent}", advice="a literal extent")
        starts[dim], stop, step = slice(*bounds).indices(size)
        shape[dim] = arith.const(len(range(starts[dim], stop, step)))
    steps += (1,) * (a.ndim - len(steps))

    def element(*i: Expr) -> Expr:
        return a[tuple(index * step + start for index, step, start in zip(i, steps, starts, strict=True))]

    return compute(shape, element, name="T_strided_slice", tag=INJECTIVE)


def take(a: Tensor, indices: Tensor, axis: int | None = None) -> Tensor:
    """Give the elements of `a` at `indices` along `axis`, or in row-major order for None.

    Shape (*a.shape[:axis], *indices.shape, *a.shape[axis + 1:]).  Indices out of bounds take the nearest element.
    """
    if not indices.dtype.is_int:
        raise TypeMismatch("take", f"indices are {indices.dtype}", advice="integers")
    if axis is None:
        count = _count(a.shape)
        return take(reshape(a, (count if count is not None else -1,)), indices, 0)
    (along,) = normalized("take", a, axis)
    last = along + indices.ndim

    def element(*i: Expr) -> Expr:
        at = arith.cast("int32", indices[i[along:last]])
        at = arith.maximum(arith.minimum(at, a.shape[along] - 1), 0)
        return a[(*i[:along], at, *i[last:])]

    shape = (*a.shape[:along], *indices.shape, *a.shape[along + 1 :])
    return compute(shape, element, name="T_take", tag=INJECTIVE, attrs={"axis": along})


def pack_nchw(data: Tensor, block: int) -> Tensor:
    """Give (N, C / block, H, W, block) from (N, C, H, W), where `block` divides C."""
    batch, channels, height, width = data.shape
    _divides("pack_nchw", channels, block)
    return compute(
        (batch, channels // block, height, width, block),
        lambda n, c, h, w, cc: data[n, c * block + cc, h, w],
        name="data_vec",
        tag=INJECTIVE,
    )


def unpack_nchw(data: Tensor) -> Tensor:
    """Give (N, C, H, W) from (N, C / x, H, W, x)."""
    batch, blocks, height, width, inner = data.shape
    return compute(
        (batch, blocks * inner, height, width),
        lambda n, c, h, w: data[n, c // inner, h, w, c % inner],
        name="output_unpack",
        tag=INJECTIVE,
    )


def pack_oihw(kernel: Tensor, in_block: int, out_block: int) -> Tensor:
    """Give (O / out_block, I / in_block, KH, KW, in_block, out_block) from (O, I, KH, KW)."""
    filters, channels, height, width = kernel.shape
    _divides("pack_oihw", channels, in_block)
    _divides("pack_oihw", filters, out_block)
    return compute(
        (filters // out_block, channels // in_block, height, width, in_block, out_block),
        lambda o, i, h, w, ii, oo: kernel[o * out_block + oo, i * in_block + ii, h, w],
        name="kernel_vec",
        tag=INJECTIVE,
    )


def _divides(step: str, extent: Expr, block: int) -> None:
    if (arith.int_value(extent) or 0) % block:
        raise ExpressionError(step, f"blocks of {block} of {extent} channels", advice="a divisor")


def _moved(a: Tensor, i: tuple[Expr, ...], along: int, begin: Expr) -> Expr:
    return a[(*i[:along], i[along] - begin, *i[along + 1 :])]


def _count(shape: Sequence[Expr]) -> int | None:
    """Give the number of elements, if it is literal."""
    sizes = [n for n in map(arith.int_value, shape) if n is not None]
    return numbers.prod(sizes) if len(sizes) == len(shape) else None


def _filled(a: Tensor, newshape: Sequence[Expr | int]) -> tuple[Expr, ...]:
    """Give the new shape with the size that is left in place of -1."""
    shape = [arith.as_expr(n) for n in newshape]
    open_dims = [d for d, n in enumerate(shape) if arith.is_const(n, -1)]
    if len(open_dims) > 1:
        raise ExpressionError("reshape", f"{len(open_dims)} sizes are -1", advice="at most one")
    if open_dims:
        total: Expr = arith.const(1)
        rest: Expr = arith.const(1)
        for n in a.shape:
            total = total * n
        for d, n in enumerate(shape):
            rest = rest if d in open_dims else rest * n
        shape[open_dims[0]] = total // rest
    return tuple(shape)


def _flat(i: tuple[Expr, ...], shape: Sequence[Expr]) -> Expr:
    flat: Expr = arith.const(0)
    for index, extent in zip(i, shape, strict=True):
        flat = flat * extent + index
    return flat


def _unflat(flat: Expr, shape: Sequence[Expr]) -> tuple[Expr, ...]:
    index: list[Expr] = []
    for dim, extent in reversed(list(enumerate(shape))):
        index.append(flat if dim == 0 else flat % extent)
        flat = flat // extent
    return tuple(reversed(index))
