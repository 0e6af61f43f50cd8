"""Depthwise convolutions: every channel has filters of its own.  Layouts and geometry as in conv2d."""

from __future__ import annotations

from ...ir.errors import TypeMismatch
from ...ir.expr import Expr
from ..arguments import differ
from ..compute import compute, reduce_axis
from ..reducers import sum
from ..tensor import Tensor
from .pad import pad_image
from .products import Dtype, converter
from .window import Pair, window


def depthwise_conv2d_nchw(
    data: Tensor, kernel: Tensor, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, out_dtype: Dtype = None
) -> Tensor:
    """Give (N, C * M, OH, OW) from data (N, C, H, W) and kernel (C, M, KH, KW) with M filters per channel."""
    _check("depthwise_conv2d_nchw", data, 4, kernel, 4, 1, 0)
    batch, channels, *image = data.shape
    _, multiplier, *taps = kernel.shape
    geometry = window(taps, stride, padding, dilation)
    padded = pad_image(data, 2, 3, geometry.padding)
    ry, rx = reduce_axis((0, taps[0]), "ry"), reduce_axis((0, taps[1]), "rx")
    convert = converter(data, out_dtype)

    def element(n: Expr, c: Expr, y: Expr, x: Expr) -> Expr:
        h, w = geometry.tap((y, x), (ry.var, rx.var))
        taken = convert(padded[n, c // multiplier, h, w])
        return sum(taken * convert(kernel[c // multiplier, c % multiplier, ry, rx]), axis=[ry, rx])

    shape = (batch, channels * multiplier, *geometry.positions(image))
    attrs = {**geometry.attrs, "layout": "NCHW"}
    return compute(shape, element, "depthwise_conv2d_nchw", "depthwise_conv2d_nchw", attrs)


def depthwise_conv2d_nhwc(
    data: Tensor, kernel: Tensor, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, out_dtype: Dtype = None
) -> Tensor:
    """Give (N, OH, OW, C * M) from data (N, H, W, C) and kernel (KH, KW, C, M) with M filters per channel."""
    _check("depthwise_conv2d_nhwc", data, 4, kernel, 4, 3, 2)
    batch, *image, channels = data.shape
    *taps, _, multiplier = kernel.shape
    geometry = window(taps, stride, padding, dilation)
    padded = pad_image(data, 1, 2, geometry.padding)
    ry, rx = reduce_axis((0, taps[0]), "ry"), reduce_axis((0, taps[1]), "rx")
    convert = converter(data, out_dtype)

    def element(n: Expr, y: Expr, x: Expr, c: Expr) -> Expr:
        h, w = geometry.tap((y, x), (ry.var, rx.var))
        taken = convert(padded[n, h, w, c // multiplier])
        return sum(taken * convert(kernel[ry, rx, c // multiplier, c % multiplier]), axis=[ry, rx])

    shape = (batch, *geometry.positions(image), channels * multiplier)
    attrs = {**geometry.attrs, "layout": "NHWC"}
    return compute(shape, element, "depthwise_conv2d_nhwc", "depthwise_conv2d_nhwc", attrs)


def depthwise_conv2d_NCHWc(
    data: Tensor, kernel: Tensor, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, out_dtype: Dtype = None
) -> Tensor:
    """Give (N, C / x, OH, OW, x) from data (N, C / x, H, W, x) and kernel (C / x, 1, KH, KW, 1, x)."""
    _check("depthwise_conv2d_NCHWc", data, 5, kernel, 6, 1, 0)
    batch, blocks, *image, inner = data.shape
    taps = kernel.shape[2:4]
    geometry = window(taps, stride, padding, dilation)
    padded = pad_image(data, 2, 3, geometry.padding)
    kh, kw = reduce_axis((0, taps[0]), "kh"), reduce_axis((0, taps[1]), "kw")
    convert = converter(data, out_dtype)

    def element(n: Expr, c_chunk: Expr, oh: Expr, ow: Expr, c_block: Expr) -> Expr:
        h, w = geometry.tap((oh, ow), (kh.var, kw.var))
        taken = convert(padded[n, c_chunk, h, w, c_block])
        return sum(taken * convert(kernel[c_chunk, 0, kh, kw, 0, c_block]), axis=[kh, kw])

    shape = (batch, blocks, *geometry.positions(image), inner)
    attrs = {**geometry.attrs, "layout": f"NCHW{inner}c"}
    return compute(shape, element, "depthwise_conv2d_NCHWc", "depthwise_conv2d_NCHWc", attrs)


def _check(
    step: str, data: Tensor, data_rank: int, kernel: Tensor, kernel_rank: int, data_dim: int, kernel_dim: int
) -> None:
    if data.ndim != data_rank or kernel.ndim != kernel_rank:
        ranks = f"data has {data.ndim} dimensions and kernel {kernel.ndim}"
        raise TypeMismatch(step, ranks, advice=f"{data_rank} and {kernel_rank}")
    channels, filters = data.shape[data_dim], kernel.shape[kernel_dim]
    if differ(channels, filters):
        raise TypeMismatch(step, f"{channels} channels of data, {filters} of kernel", advice="equal numbers")
