"""Convolutions of images.

Layouts: N batch, C channels, H height, W width, O output channels, I input channels; a number and a small letter is
a block: NCHW16c is (N, C / 16, H, W, 16).  Strides and dilations are numbers or pairs, padding a number, a pair or
(top, left, bottom, right).  Values are converted to `out_dtype` before they are multiplied.
"""

from __future__ import annotations

from ...ir import arith
from ...ir.errors import TypeMismatch
from ...ir.expr import Expr
from ..compute import compute, reduce_axis
from ..reducers import sum
from ..tensor import Tensor
from ..tolerance import accepting
from .image_checks import check_equal, check_ranks
from .pad import pad_image
from .products import Dtype, converter
from .window import Pair, window


def conv2d(
    data: Tensor,
    kernel: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    layout: str = "NCHW",
    out_dtype: Dtype = None,
    groups: int = 1,
    relative_error: float | None = None,
) -> Tensor:
    """Give the convolution in layout "NCHW", "NHWC" or "NCHW[x]c"; see conv2d_nchw, conv2d_nhwc, conv2d_NCHWc.

    relative_error  that its user accepts, relative to the scale of results, and that algorithms may use up; by default
                    that of a direct evaluation
    """
    if layout not in ("NCHW", "NHWC") and not (layout.startswith("NCHW") and layout.endswith("c")):
        raise TypeMismatch("conv2d", f"unknown layout {layout!r}", advice="NCHW, NHWC, or NCHW[x]c such as NCHW16c")
    form = {"NCHW": conv2d_nchw, "NHWC": conv2d_nhwc}.get(layout, conv2d_NCHWc)
    result = form(data, kernel, stride, padding, dilation, out_dtype=out_dtype, groups=groups)
    return accepting(result, relative_error)


def conv2d_nchw(
    data: Tensor,
    kernel: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    out_dtype: Dtype = None,
    groups: int = 1,
) -> Tensor:
    """Give (N, O, OH, OW) from data (N, C, H, W) and kernel (O, C / groups, KH, KW)."""
    check_ranks("conv2d_nchw", data, 4, kernel, 4)
    batch, channels, *image = data.shape
    filters, per_group, *taps = kernel.shape
    _check_groups("conv2d_nchw", channels, per_group, filters, groups)
    geometry = window(taps, stride, padding, dilation)
    padded = pad_image(data, 2, 3, geometry.padding)
    rc, ry, rx = (reduce_axis((0, n), name) for n, name in zip((per_group, *taps), ("rc", "ry", "rx"), strict=True))
    convert = converter(data, out_dtype)

    def element(n: Expr, f: Expr, y: Expr, x: Expr) -> Expr:
        first = _first_channel(f, filters, per_group, groups)
        h, w = geometry.tap((y, x), (ry.var, rx.var))
        return sum(convert(padded[n, first + rc, h, w]) * convert(kernel[f, rc, ry, rx]), axis=[rc, ry, rx])

    shape = (batch, filters, *geometry.positions(image))
    tag = "conv2d_nchw" if groups == 1 else "group_conv2d_nchw"
    return compute(shape, element, "conv2d_nchw", tag, {**geometry.attrs, "groups": groups, "layout": "NCHW"})


def conv2d_nhwc(
    data: Tensor,
    kernel: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    out_dtype: Dtype = None,
    groups: int = 1,
) -> Tensor:
    """Give (N, OH, OW, O) from data (N, H, W, C) and kernel (KH, KW, C / groups, O)."""
    check_ranks("conv2d_nhwc", data, 4, kernel, 4)
    batch, *image, channels = data.shape
    *taps, per_group, filters = kernel.shape
    _check_groups("conv2d_nhwc", channels, per_group, filters, groups)
    geometry = window(taps, stride, padding, dilation)
    padded = pad_image(data, 1, 2, geometry.padding)
    ry, rx, rc = (reduce_axis((0, n), name) for n, name in zip((*taps, per_group), ("ry", "rx", "rc"), strict=True))
    convert = converter(data, out_dtype)

    def element(n: Expr, y: Expr, x: Expr, f: Expr) -> Expr:
        first = _first_channel(f, filters, per_group, groups)
        h, w = geometry.tap((y, x), (ry.var, rx.var))
        return sum(convert(padded[n, h, w, first + rc]) * convert(kernel[ry, rx, rc, f]), axis=[ry, rx, rc])

    shape = (batch, *geometry.positions(image), filters)
    tag = "conv2d_nhwc" if groups == 1 else "group_conv2d_nhwc"
    return compute(shape, element, "conv2d_nhwc", tag, {**geometry.attrs, "groups": groups, "layout": "NHWC"})


def conv2d_NCHWc(
    data: Tensor,
    kernel: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    out_dtype: Dtype = None,
    groups: int = 1,
) -> Tensor:
    """Give (N, O / y, OH, OW, y) from data (N, C / x, H, W, x) and kernel (O / y, C / groups / x, KH, KW, x, y).

    The kernel's layout is OIHW[x]i[y]o.  Groups must be whole blocks of input and of output channels.
    """
    check_ranks("conv2d_NCHWc", data, 5, kernel, 6)
    batch, blocks, *image, inner = data.shape
    filter_blocks, group_blocks, *taps, kernel_inner, filter_inner = kernel.shape
    _check_groups("conv2d_NCHWc", blocks, group_blocks, filter_blocks, groups)
    check_equal("conv2d_NCHWc", "blocks of input channels", inner, kernel_inner)
    geometry = window(taps, stride, padding, dilation)
    padded = pad_image(data, 2, 3, geometry.padding)
    extents, names = (group_blocks, *taps, inner), ("ic_outer", "kh", "kw", "ic_inner")
    ico, kh, kw, ici = (reduce_axis((0, n), name) for n, name in zip(extents, names, strict=True))
    convert = converter(data, out_dtype)

    def element(n: Expr, oc_chunk: Expr, oh: Expr, ow: Expr, oc_block: Expr) -> Expr:
        first = _first_channel(oc_chunk, filter_blocks, group_blocks, groups)
        h, w = geometry.tap((oh, ow), (kh.var, kw.var))
        taken = convert(padded[n, first + ico, h, w, ici])
        return sum(taken * convert(kernel[oc_chunk, ico, kh, kw, ici, oc_block]), axis=[ico, kh, kw, ici])

    shape = (batch, filter_blocks, *geometry.positions(image), filter_inner)
    attrs = {**geometry.attrs, "groups": groups, "layout": f"NCHW{inner}c"}
    return compute(shape, element, "conv2d_NCHWc", "conv2d_NCHWc", attrs)


def _first_channel(output: Expr, outputs: Expr, per_group: Expr, groups: int) -> Expr | int:
    """Give the first input channel of an output channel's group; of blocks of channels alike."""
    return 0 if groups == 1 else output // (outputs // groups) * per_group


def _check_groups(step: str, channels: Expr, per_group: Expr, filters: Expr, groups: int) -> None:
    if groups < 1 or (arith.int_value(filters) or 0) % groups:
        raise TypeMismatch(step, f"{groups} groups of {filters} output channels", advice="a divisor")
    check_equal(step, f"input channels in {groups} groups", channels, arith.mul(per_group, groups))
