"""Pooling of images: the greatest or the mean of each window."""

from __future__ import annotations

from ...ir import arith
from ...ir.errors import ExpressionError
from ...ir.expr import Expr
from ..compute import compute, reduce_axis
from ..reducers import max, sum
from ..tensor import Tensor
from .pad import pad_image
from .reduction import Axes, extent_of
from .reduction import max as max_along
from .reduction import sum as sum_along
from .window import Pair, Window, edges, pair, window

_ROWS = {"NCHW": 2, "NHWC": 1}  # the dimension of the height; the width follows it


def pool2d(
    data: Tensor,
    kernel: Pair,
    stride: Pair,
    dilation: Pair = 1,
    padding: Pair = 0,
    pool_type: str = "max",
    ceil_mode: bool = False,
    layout: str = "NCHW",
    count_include_pad: bool = True,
) -> Tensor:
    """Give the maximum or mean of each window of `kernel` elements of images (N, C, H, W), (N, H, W, C) or NCHW[x]c.

    pool_type          "max" or "avg"
    ceil_mode          round the number of windows up, reading padding beyond the bottom and the right
    count_include_pad  the mean divides by the size of the window, else by its elements inside of the image
    """
    rows = _rows("pool2d", layout)
    taps = pair("kernel", kernel, 1)
    top, left, bottom, right = edges(padding)
    if ceil_mode:
        stride_h, stride_w = pair("stride", stride, 1)
        bottom, right = bottom + stride_h - 1, right + stride_w - 1
    view = window(taps, stride, (top, left, bottom, right), dilation)
    kinds = {"max": _max_pool, "avg": _avg_pool}
    if pool_type not in kinds:
        raise ExpressionError("pool2d", f"unknown kind {pool_type!r}", advice='"max" or "avg"')
    return kinds[pool_type](data, view, rows, count_include_pad)


def global_pool(data: Tensor, pool_type: str = "avg", layout: str = "NCHW") -> Tensor:
    """Give the maximum or mean of each channel of images, with height and width 1."""
    rows = _rows("global_pool", layout)
    axes: Axes = (rows, rows + 1)
    if pool_type == "max":
        return max_along(data, axes, keepdims=True)
    if pool_type != "avg":
        raise ExpressionError("global_pool", f"unknown kind {pool_type!r}", advice='"max" or "avg"')
    total, count = sum_along(data, axes, keepdims=True), extent_of(data, (rows, rows + 1))
    return compute(total.shape, lambda *i: total[i] / count, name="T_divide", tag="elementwise")


def _max_pool(data: Tensor, view: Window, rows: int, _count_include_pad: bool) -> Tensor:
    padded = pad_image(data, rows, rows + 1, view.padding, arith.const(data.dtype.min_value, data.dtype))
    return _windows(data, padded, view, rows, max, "pool_max")


def _avg_pool(data: Tensor, view: Window, rows: int, count_include_pad: bool) -> Tensor:
    padded = pad_image(data, rows, rows + 1, view.padding)
    total = _windows(data, padded, view, rows, sum, "pool_sum")

    def element(*i: Expr) -> Expr:
        counts = [_taps(view, dim, i[rows + dim], data.shape[rows + dim], count_include_pad) for dim in (0, 1)]
        count = arith.cast(data.dtype, counts[0] * counts[1])
        return total[i] / count if data.dtype.is_float else total[i] // count

    return compute(total.shape, element, name="pool_avg", tag="elementwise")


def _windows(data: Tensor, padded: Tensor, view: Window, rows: int, reducer, name: str) -> Tensor:
    height, width = view.positions(data.shape[rows : rows + 2])
    ry, rx = reduce_axis((0, view.kernel[0]), "ry"), reduce_axis((0, view.kernel[1]), "rx")

    def element(*i: Expr) -> Expr:
        y, x = view.tap((i[rows], i[rows + 1]), (ry.var, rx.var))
        return reducer(padded[(*i[:rows], y, x, *i[rows + 2 :])], axis=[ry, rx])

    shape = (*data.shape[:rows], height, width, *data.shape[rows + 2 :])
    return compute(shape, element, name=name, tag=name, attrs={**view.attrs, "kernel": tuple(map(str, view.kernel))})


def _taps(view: Window, dim: int, at: Expr, extent: Expr, count_include_pad: bool) -> Expr:
    """Give how many taps of the window at position `at` count along one direction."""
    if count_include_pad:
        return view.kernel[dim]
    first = at * view.stride[dim] - view.padding[dim]
    step = view.dilation[dim]
    begin = (arith.maximum(0 - first, 0) + (step - 1)) // step
    end = arith.minimum((extent - first + (step - 1)) // step, view.kernel[dim])
    return arith.maximum(end - begin, 1)


def _rows(step: str, layout: str) -> int:
    base = layout if layout in _ROWS else "NCHW" if layout.startswith("NCHW") and layout.endswith("c") else ""
    if not base:
        raise ExpressionError(step, f"unknown layout {layout!r}", advice="NCHW, NHWC, or NCHW[x]c such as NCHW16c")
    return _ROWS[base]
