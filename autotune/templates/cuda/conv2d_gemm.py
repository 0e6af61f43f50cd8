"""Convolutions as products of matrices, one operand of which, the windows of the image, exists in tiles alone.

NCHW:  result (filters, pixels) = weights (filters, terms) * windows (terms, pixels)
NHWC:  result (pixels, filters) = windows (pixels, terms) * weights (terms, filters)

Pixels are those of all images of the batch, one after the other; terms are taps by channels.  The weights of NCHW have
the taps innermost, so that every element of a tile has a tap of its own to be worked out; packed as (terms, filters)
with the channels innermost, by a kernel before, a tile has one tap.  Of several groups each is a product of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd
from typing import Any

from .... import te
from ....ir import arith
from ....ir.expr import Expr
from ....schedule.stage import Stage
from ....te.axis import Axis
from ....te.tensor import Tensor
from ...template import get_target
from ..convolution import Convolution
from .block_tile import Workload
from .cooperative import VECTOR_BYTES
from .gemm import Plan

WEIGHTS = "weights"  # name of the operand that the kernel becomes
WINDOW_COST = 6.0  # instructions to find an element of a window, or several that lie together, and to move it
Element = Callable[[Expr, Expr, Expr], Expr]  # of a group, a row and a column


@dataclass(frozen=True, slots=True)
class WindowProduct:
    """A convolution as a product of matrices.

    packed  whether the weights of NCHW are laid out anew before
    """

    conv: Convolution
    packed: bool = False

    def workload(self) -> Workload:
        """Give the extents of the product."""
        conv = self.conv
        rows, columns = self._ordered(conv.filters, conv.batch * conv.pixels)
        size = conv.image.dtype.bytes
        costs = self._ordered(1.0, WINDOW_COST / gcd(VECTOR_BYTES // size, self._window_run()))
        return Workload(conv.groups, rows, columns, conv.terms, size, get_target().gpu, costs)

    def declare(self, result: str) -> Tensor:
        """Give the result of the convolution, summed up in the type `result`."""
        conv, image = self.conv, self.conv.padded()
        depth, filters, pixels = conv.terms, conv.filters, conv.batch * conv.pixels

        def window(group: Expr, pixel: Expr, k: Expr) -> Expr:
            channel, tap = self.term(k)
            place = pixel % conv.pixels
            width = conv.positions[1]
            y, x = conv.geometry.tap((place // width, place % width), tap)
            return image[conv.place(pixel // conv.pixels, group * conv.channels + channel, y, x)]

        def weight(group: Expr, filter: Expr, k: Expr) -> Expr:
            filter, k = (k, filter) if self.packed else (filter, k)
            channel, (ky, kx) = self.term(k)
            number = group * filters + filter
            return conv.kernel[(number, channel, ky, kx) if conv.is_nchw else (ky, kx, channel, number)]

        if conv.is_nchw:
            left = self.matrix(WEIGHTS, *((depth, filters) if self.packed else (filters, depth)), weight)
            right = self.matrix("windows", depth, pixels, lambda g, k, p: window(g, p, k))
        else:
            left = self.matrix("windows", pixels, depth, window)
            right = self.matrix(WEIGHTS, depth, filters, lambda g, k, f: weight(g, f, k))
        k = te.reduce_axis((0, depth), "k")
        rows, columns = self._ordered(filters, pixels)

        def total(group: Expr, row: Expr, column: Expr) -> Expr:
            at_left = (k.var, row) if self.packed else (row, k.var)
            factors = self.at(left, group, *at_left), self.at(right, group, k.var, column)
            return te.sum(factors[0].astype(result) * factors[1].astype(result), axis=k)

        product = self.matrix("product", rows, columns, total)

        def element(*index: Expr) -> Expr:
            n, f, y, x = index if conv.is_nchw else (index[0], index[3], *index[1:3])
            pixel = (n * conv.positions[0] + y) * conv.positions[1] + x
            group, filter = (arith.const(0), f) if conv.groups == 1 else (f // filters, f % filters)
            return self.at(product, group, *self._ordered(filter, pixel))

        shape = conv.place(conv.batch, conv.groups * filters, *conv.positions)
        return te.compute(shape, element, "conv2d", "conv2d")

    def plan(self) -> Plan:
        """Give how the product's rows and columns lie in the result, and what of its operands lies together."""
        return Plan(self._grid, self._run, WEIGHTS if self.packed else "")

    def term(self, k: Expr) -> tuple[Expr, tuple[Expr, Expr]]:
        """Give channel and tap of a term of the sum."""
        conv = self.conv
        taps = conv.taps[0] * conv.taps[1]
        channel, tap = (k // taps, k % taps) if self.taps_innermost else (k % conv.channels, k // conv.channels)
        return channel, (tap // conv.taps[1], tap % conv.taps[1])

    def matrix(self, name: str, rows: int, columns: int, element: Element) -> Tensor:
        """Declare a matrix for each group; of a single group without a dimension for it."""
        if self.conv.groups == 1:
            return te.compute((rows, columns), lambda i, j: element(arith.const(0), i, j), name)
        return te.compute((self.conv.groups, rows, columns), element, name)

    def at(self, matrix: Tensor, group: Expr, row: Expr, column: Expr) -> Expr:
        """Give an element of what `matrix` declared."""
        return matrix[row, column] if self.conv.groups == 1 else matrix[group, row, column]

    def _ordered(self, of_filters: Any, of_pixels: Any) -> tuple[Any, Any]:
        return (of_filters, of_pixels) if self.conv.is_nchw else (of_pixels, of_filters)

    def _grid(self, out: Stage) -> tuple[list[Axis], Axis, Axis]:
        conv = self.conv
        n, f, y, x = out.op.axis if conv.is_nchw else (out.op.axis[i] for i in (0, 3, 1, 2))
        groups: list[Axis] = []
        if conv.groups > 1:
            group, f = out.split(f, factor=conv.filters)
            groups = [group]
        out.reorder(*groups, f, n, y, x)
        return groups, *self._ordered(f, out.fuse(n, y, x))

    @property
    def taps_innermost(self) -> bool:
        """Tell whether neighbouring terms are taps, as the weights of NCHW have them."""
        return self.conv.is_nchw and not self.packed

    def _run(self, operand: Tensor) -> int:
        if operand.op.name == WEIGHTS:
            return self.conv.terms if self.taps_innermost else self.conv.filters
        return self._window_run()

    def _window_run(self) -> int:
        conv = self.conv
        if not conv.is_nchw:
            return conv.channels
        return conv.pixels if conv.is_pointwise else 1
