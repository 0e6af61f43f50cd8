"""Convolutions on tensor cores: products of matrices, one of which, the windows of the image, exists in tiles alone.

NHWC:  result (pixels, filters) = windows (pixels, taps x channels) * weights (taps x channels, filters)
NCHW:  result (filters, pixels) = weights (filters, taps x channels) * windows (taps x channels, pixels)

Pixels are those of all images of the batch, one after the other; of several groups each is a product of its own.
Copies of 16 bytes need channels that are neighbours in memory, in multiples of 8 for halves.  Images that have them
otherwise are laid out anew first, by a kernel of its own, with zeros behind the channels of each group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .... import te
from ....ir import arith
from ....ir.expr import Expr
from ....schedule.gpu_defaults import bind_to_gpu
from ....schedule.schedule import Schedule, create_schedule
from ....schedule.stage import Stage
from ....te.axis import Axis
from ....te.machine import PRECISION
from ....te.operation import ComputeOp
from ....te.operators.pad import pad_image
from ....te.tensor import Tensor
from ...space import Knobs
from ..convolution import Convolution
from ..product_types import ProductTypes
from .cooperative import VECTOR_BYTES
from .gemm import Plan, reduction_of
from .tensor_cores import Roots, apply, define, instruction_of, workload_of

IMAGE, WEIGHTS, WINDOWS, RESULT = "packed", "weights", "windows", "conv2d"  # names of stages
LEAST_FILTERS = 8  # of a group: the columns of one instruction
PACKING_THREADS = 128  # of a block that lays an image out anew

Attrs = dict[str, object] | None
Element = Callable[[Expr, Expr, Expr], Expr]  # of a group, a row and a column


def scheduled(cfg: Knobs, conv: Convolution, types: ProductTypes) -> tuple[Schedule, Tensor] | None:
    """Give a schedule of a convolution, and its result; None where there is no instruction for it."""
    product = WindowProduct(conv, types)
    out = product.declare()
    s = create_schedule(out.op)
    op = reduction_of(s).op
    assert isinstance(op, ComputeOp)
    shape = instruction_of(op)
    if shape is None or conv.filters < LEAST_FILTERS:
        return None
    work = workload_of(op, out.dtype.bytes, shape, product.plan())
    work = replace(work, whole=product.ordered(conv.groups > 1, False))
    if not all(work.tiles):
        return None
    define(cfg, work)
    apply(cfg, s, shape, product.plan(), product.roots)
    return s, out


def pack(image: Stage) -> None:
    """Lay an image out anew: neighbouring threads read neighbouring pixels, each writes neighbouring channels."""
    n, y, x, channel = image.op.axis
    ((_, dtype),) = image.op.results
    outer, lane = image.split(channel, factor=VECTOR_BYTES // dtype.bytes)
    pixel, thread = image.split(image.fuse(n, y, x), factor=PACKING_THREADS)
    image.reorder(pixel, outer, thread, lane)
    image.bind(pixel, "blockIdx.x")
    image.bind(outer, "blockIdx.y")
    image.bind(thread, "threadIdx.x")
    image.vectorize(lane)


@dataclass(frozen=True, slots=True)
class WindowProduct:
    """A convolution as a product of matrices."""

    conv: Convolution
    types: ProductTypes

    @property
    def lanes(self) -> int:
        """Give the elements of the widest copy."""
        return VECTOR_BYTES // self.conv.image.dtype.bytes

    @property
    def is_plain(self) -> bool:
        """Tell whether the image, channel by channel, is what the weights are multiplied with."""
        return self.conv.is_nchw and self.conv.is_pointwise and self.conv.pixels % self.lanes == 0

    @property
    def is_packed(self) -> bool:
        """Tell whether the image is laid out anew."""
        return not self.is_plain and (self.conv.is_nchw or self.conv.channels % self.lanes != 0)

    @property
    def channels(self) -> int:
        """Give the channels of a group, with the zeros behind them."""
        return -(-self.conv.channels // self.lanes) * self.lanes if self.is_packed else self.conv.channels

    @property
    def roots(self) -> Roots:
        """Give how to schedule what kernels of their own compute before."""
        conv = self.conv
        is_given = not conv.is_nchw or (conv.taps == (1, 1) and self.channels == conv.channels)
        weights: Roots = {} if is_given else {WEIGHTS: bind_to_gpu}
        return weights | ({IMAGE: pack} if self.is_packed else {})

    def declare(self) -> Tensor:
        """Give the result of the convolution."""
        conv, types = self.conv, self.types
        depth, pixels = self.channels * conv.taps[0] * conv.taps[1], conv.batch * conv.pixels
        weights = self.matrix(WEIGHTS, (conv.filters, depth) if conv.is_nchw else (depth, conv.filters), self.weight)
        windows = self.matrix(WINDOWS, (depth, pixels) if self.is_plain else (pixels, depth), self.windows())
        k = te.reduce_axis((0, depth), "k")

        def total(group: Expr, row: Expr, column: Expr) -> Expr:
            filter, pixel = self.ordered(row, column)
            weight = self.at(weights, group, *((filter, k.var) if conv.is_nchw else (k.var, filter)))
            window = self.at(windows, group, *((k.var, pixel) if self.is_plain else (pixel, k.var)))
            return te.sum(weight.astype(types.total) * window.astype(types.total), axis=k)

        shape = self.ordered(conv.filters, pixels)
        product = self.matrix("product", shape, total, {PRECISION: types.precision})
        stored = self.matrix("stored", shape, lambda *i: self.at(product, *i).astype(types.result))

        def element(*index: Expr) -> Expr:
            n, f, y, x = index if conv.is_nchw else (index[0], index[3], *index[1:3])
            pixel = (n * conv.positions[0] + y) * conv.positions[1] + x
            group, filter = (arith.const(0), f) if conv.groups == 1 else (f // conv.filters, f % conv.filters)
            return self.at(stored, group, *self.ordered(filter, pixel))

        extents = (conv.batch, conv.groups * conv.filters, *conv.positions)
        return te.compute(conv.place(*map(arith.const, extents)), element, RESULT, "conv2d")

    def image(self) -> Tensor:
        """Give the image with neighbouring channels and with its padding."""
        conv, image = self.conv, self.conv.image
        if self.is_packed:
            held = self.channels

            def element(n: Expr, y: Expr, x: Expr, c: Expr) -> Expr:
                group, channel = (arith.const(0), c) if conv.groups == 1 else (c // held, c % held)
                at = conv.image[conv.place(n, group * conv.channels + channel, y, x)]
                inside = channel < conv.channels
                return at if held == conv.channels else te.if_then_else(inside, at, te.const(0, at.dtype))

            n, y, x = (conv.image.shape[d] for d in ((0, 2, 3) if conv.is_nchw else (0, 1, 2)))
            image = te.compute((n, y, x, conv.groups * held), element, IMAGE)
        return pad_image(image, 1, 2, conv.geometry.padding)

    def windows(self) -> Element:
        """Give the elements of the windows: by pixel and term, or by channel and pixel where the image is plain."""
        conv, width = self.conv, self.conv.positions[1]
        image = conv.image if self.is_plain else self.image()

        def place(pixel: Expr) -> tuple[Expr, Expr, Expr]:
            inner = pixel % conv.pixels
            return pixel // conv.pixels, inner // width, inner % width

        def window(group: Expr, pixel: Expr, k: Expr) -> Expr:
            channel, tap = self.term(k)
            n, *corner = place(pixel)
            y, x = conv.geometry.tap((corner[0], corner[1]), tap)
            return image[n, y, x, group * self.channels + channel]

        def plain(group: Expr, channel: Expr, pixel: Expr) -> Expr:
            n, y, x = place(pixel)
            return image[n, group * conv.channels + channel, y, x]

        return plain if self.is_plain else window

    def weight(self, group: Expr, row: Expr, column: Expr) -> Expr:
        """Give an element of the weights, 0 behind the channels of a group."""
        conv = self.conv
        filter, k = self.ordered(row, column) if conv.is_nchw else (column, row)
        channel, (ky, kx) = self.term(k)
        number = group * conv.filters + filter
        at = conv.kernel[(number, channel, ky, kx) if conv.is_nchw else (ky, kx, channel, number)]
        if self.channels == conv.channels:
            return at
        return te.if_then_else(channel < conv.channels, at, te.const(0, at.dtype))

    def term(self, k: Expr) -> tuple[Expr, tuple[Expr, Expr]]:
        """Give channel and tap of a term of the sum."""
        tap = k // self.channels
        return k % self.channels, (tap // self.conv.taps[1], tap % self.conv.taps[1])

    def plan(self) -> Plan:
        """Give how the product's rows and columns lie in the result, and what of its operands lies together."""
        return Plan(self._grid, self._run)

    def matrix(self, name: str, shape: tuple[int, int], element: Element, attrs: Attrs = None) -> Tensor:
        """Declare a matrix for each group; of a single group without a dimension for it."""
        if self.conv.groups == 1:
            return te.compute(shape, lambda i, j: element(arith.const(0), i, j), name, attrs=attrs)
        return te.compute((self.conv.groups, *shape), element, name, attrs=attrs)

    def at(self, matrix: Tensor, group: Expr, row: Expr, column: Expr) -> Expr:
        """Give an element of what `matrix` declared."""
        return matrix[row, column] if self.conv.groups == 1 else matrix[group, row, column]

    def ordered(self, of_filters: Any, of_pixels: Any) -> tuple[Any, Any]:
        """Give rows and columns of the product from what filters and pixels have; the other way round as well."""
        return (of_filters, of_pixels) if self.conv.is_nchw else (of_pixels, of_filters)

    def _grid(self, out: Stage) -> tuple[list[Axis], Axis, Axis]:
        n, f, y, x = out.op.axis if self.conv.is_nchw else (out.op.axis[i] for i in (0, 3, 1, 2))
        groups: list[Axis] = []
        if self.conv.groups > 1:
            group, f = out.split(f, factor=self.conv.filters)
            groups = [group]
        out.reorder(*groups, f, n, y, x)
        return groups, *self.ordered(f, out.fuse(n, y, x))

    def _run(self, tensor: Tensor) -> int:
        conv = self.conv
        match tensor.op.name:
            case name if name == WEIGHTS:
                return self.channels * conv.taps[0] * conv.taps[1] if conv.is_nchw else conv.filters
            case name if name == WINDOWS:
                return conv.pixels if self.is_plain else self.channels
            case _:
                return conv.pixels if conv.is_nchw else conv.filters
