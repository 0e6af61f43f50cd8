"""Transposed convolutions of images: what a convolution's gradient is by its image, and what decoders enlarge with.

Every pixel of the data adds its window of products to the result, windows `stride` elements apart.  Told from the
result: its rows y with the same (y + top) % stride, one phase of stride of them, see every stride-th row of the window
only, and so do columns.  No product with an inserted zero is ever asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...ir import arith
from ...ir.errors import ExpressionError, TypeMismatch
from ...ir.expr import Expr
from ..axis import Axis
from ..compute import compute, reduce_axis
from ..reducers import sum
from ..tensor import Tensor
from .image_checks import check_equal, check_ranks
from .products import Dtype, converter
from .window import Pair, edges, pair


@dataclass(frozen=True, slots=True)
class Enlargement:
    """The geometry of a transposed convolution.

    taps     height and width of the window
    stride   (vertical, horizontal), between the windows of neighbouring pixels
    padding  (top, left, bottom, right) elements of the result that are left out
    output_padding  (vertical, horizontal) further elements at the bottom and on the right, less than the stride
    """

    taps: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    output_padding: tuple[int, int]

    @classmethod
    def of(cls, taps: Sequence[Expr | int], stride: Pair, padding: Pair, output_padding: Pair) -> Enlargement:
        """Give the geometry.  Raises ExpressionError for symbolic windows and output padding of a stride or more."""
        sizes = [arith.int_value(arith.as_expr(n)) for n in taps]
        height, width = sizes
        if height is None or width is None:
            window = f"the window is {taps[0]} x {taps[1]}"
            raise ExpressionError("conv2d_transpose", window, advice="literal extents")
        steps, more = pair("stride", stride, 1), pair("output_padding", output_padding, 0)
        if any(m >= s for m, s in zip(more, steps, strict=True)):
            fact = f"output_padding is {more}, stride {steps}"
            raise ExpressionError("conv2d_transpose", fact, advice="less output padding than stride")
        return cls((height, width), steps, edges(padding), more)

    def positions(self, image: Sequence[Expr]) -> tuple[Expr, Expr]:
        """Give the numbers of rows and columns of the result for an image of (height, width)."""
        return self._count(image[0], 0), self._count(image[1], 1)

    def _count(self, extent: Expr, dim: int) -> Expr:
        more = self.taps[dim] + self.output_padding[dim] - self.padding[dim] - self.padding[dim + 2]
        count = (extent - 1) * self.stride[dim] + more
        known = arith.int_value(count)
        if known is not None and known < 1:
            fact = f"padding {self.padding} leaves nothing of {known + self.padding[dim] + self.padding[dim + 2]} rows"
            raise ExpressionError("conv2d_transpose", fact, advice="less padding, or a larger image")
        return count

    def most_taps(self, dim: int) -> int:
        """Give the rows (dim 0) or columns (dim 1) of the window that one element of the result sees at most."""
        return -(-self.taps[dim] // self.stride[dim])

    def source(self, at: Expr, number: Expr, dim: int, extent: Expr) -> tuple[Expr, Expr, list[Expr]]:
        """Give, for row or column `at` of the result: the place in the image and in the window of tap `number`.

        Third, the conditions under which both are there.
        """
        stride = self.stride[dim]
        begin = at + self.padding[dim]
        place, tap = begin // stride - number, begin % stride + number * stride
        conditions = [tap < self.taps[dim]] if self.taps[dim] % stride else []
        return place, tap, [*conditions, place >= 0, place < extent]

    @property
    def attrs(self) -> dict[str, object]:
        """Give the geometry for templates."""
        return {"stride": self.stride, "padding": self.padding, "output_padding": self.output_padding}


def conv2d_transpose(
    data: Tensor,
    kernel: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    layout: str = "NCHW",
    out_dtype: Dtype = None,
    groups: int = 1,
) -> Tensor:
    """Give the transposed convolution in layout "NCHW" or "NHWC"; see conv2d_transpose_nchw, conv2d_transpose_nhwc."""
    forms = {"NCHW": conv2d_transpose_nchw, "NHWC": conv2d_transpose_nhwc}
    if layout not in forms:
        raise TypeMismatch("conv2d_transpose", f"unknown layout {layout!r}", advice="NCHW or NHWC")
    return forms[layout](data, kernel, stride, padding, out_dtype, output_padding, groups)


def conv2d_transpose_nchw(
    data: Tensor,
    kernel: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    out_dtype: Dtype = None,
    output_padding: Pair = 0,
    groups: int = 1,
) -> Tensor:
    """Give (N, O, OH, OW) from data (N, C, H, W) and kernel (C, O / groups, KH, KW)."""
    check_ranks("conv2d_transpose_nchw", data, 4, kernel, 4)
    batch, channels, *image = data.shape
    inputs, per_group, *taps = kernel.shape
    _check_groups("conv2d_transpose_nchw", channels, inputs, groups)
    geometry = Enlargement.of(taps, stride, padding, output_padding)
    rc, ry, rx = _reduction(channels // groups, geometry)
    convert = converter(data, out_dtype)

    def element(n: Expr, f: Expr, y: Expr, x: Expr) -> Expr:
        c = rc.var if groups == 1 else f // per_group * (channels // groups) + rc
        row, ky, high = geometry.source(y, ry.var, 0, image[0])
        column, kx, wide = geometry.source(x, rx.var, 1, image[1])
        value = convert(data[n, c, row, column]) * convert(kernel[c, f % per_group, ky, kx])
        return sum(value, axis=[rc, ry, rx], where=arith.logical_and(*high, *wide))

    shape = (batch, per_group * groups, *geometry.positions(image))
    attrs = {**geometry.attrs, "groups": groups, "layout": "NCHW"}
    return compute(shape, element, "conv2d_transpose_nchw", "conv2d_transpose_nchw", attrs)


def conv2d_transpose_nhwc(
    data: Tensor,
    kernel: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    out_dtype: Dtype = None,
    output_padding: Pair = 0,
    groups: int = 1,
) -> Tensor:
    """Give (N, OH, OW, O) from data (N, H, W, C) and kernel (KH, KW, O / groups, C)."""
    check_ranks("conv2d_transpose_nhwc", data, 4, kernel, 4)
    batch, *image, channels = data.shape
    *taps, per_group, inputs = kernel.shape
    _check_groups("conv2d_transpose_nhwc", channels, inputs, groups)
    geometry = Enlargement.of(taps, stride, padding, output_padding)
    rc, ry, rx = _reduction(channels // groups, geometry)
    convert = converter(data, out_dtype)

    def element(n: Expr, y: Expr, x: Expr, f: Expr) -> Expr:
        c = rc.var if groups == 1 else f // per_group * (channels // groups) + rc
        row, ky, high = geometry.source(y, ry.var, 0, image[0])
        column, kx, wide = geometry.source(x, rx.var, 1, image[1])
        value = convert(data[n, row, column, c]) * convert(kernel[ky, kx, f % per_group, c])
        return sum(value, axis=[ry, rx, rc], where=arith.logical_and(*high, *wide))

    shape = (batch, *geometry.positions(image), per_group * groups)
    attrs = {**geometry.attrs, "groups": groups, "layout": "NHWC"}
    return compute(shape, element, "conv2d_transpose_nhwc", "conv2d_transpose_nhwc", attrs)


def _reduction(channels: Expr, geometry: Enlargement) -> tuple[Axis, Axis, Axis]:
    extents = (channels, geometry.most_taps(0), geometry.most_taps(1))
    rc, ry, rx = (reduce_axis((0, n), name) for n, name in zip(extents, ("rc", "ry", "rx"), strict=True))
    return rc, ry, rx


def _check_groups(step: str, channels: Expr, inputs: Expr, groups: int) -> None:
    check_equal(step, "input channels", channels, inputs)
    if groups < 1 or (groups > 1 and (arith.int_value(channels) or 1) % groups):
        raise TypeMismatch(step, f"{groups} groups of {channels} input channels", advice="a divisor")
