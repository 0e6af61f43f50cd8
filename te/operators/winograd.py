"""Convolutions of 3 x 3 windows by Winograd's minimal filtering, as a chain of operators over blocks of tiles.

An output tile of m x m pixels comes from m + 2 rows and columns of the image.  In each of (m + 2)^2 places the
transformed image and weights are multiplied and summed up over input channels: as many products of matrices, of tiles
by input channels and input channels by output channels.  Names of dimensions: u group of images, v group of tile rows,
w group of tile columns, which together are a block; t tile within the block, a and b place in the transformed tile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ...ir import arith
from ...ir.expr import Expr
from ..compute import compute, reduce_axis
from ..reducers import sum
from ..tensor import Tensor
from .cook_toom import Matrix, Transforms, product

Element = Callable[..., Any]  # an element of a tensor whose dimensions are in an order of our own


@dataclass(frozen=True, slots=True)
class Sizes:
    """The extents of a convolution with stride 1, and how it is cut.

    batch          images
    height, width  of the result
    padding        (top, left) elements
    extents        height and width of the image that is read
    channels       of image and of result
    lanes          input channels that are transformed together
    panel          output channels of one product's columns
    block          (images, rows, columns) of tiles in one block
    """

    batch: int
    height: int
    width: int
    padding: tuple[int, int]
    extents: tuple[int, int]
    channels: tuple[int, int]
    lanes: int
    panel: int
    block: tuple[int, int, int]

    def blocks(self, m: int) -> tuple[int, int, int]:
        """Give how many groups of images, tile rows and tile columns there are, with tiles of m x m results."""
        images, rows, columns = self.block
        return -(-self.batch // images), -(-self.height // (m * rows)), -(-self.width // (m * columns))

    @property
    def tiles(self) -> int:
        """Give the tiles of one block."""
        return math.prod(self.block)


@dataclass(frozen=True, slots=True)
class Stages:
    """The chain.

    padded     (N, C / lanes, H, W, lanes): the image with all that tiles read, W in multiples of lanes
    columns    (N, C / lanes, tile rows, a, W, lanes): tiles transformed along their columns
    data       (u, v, w, a, b, C / lanes, t, lanes): transformed tiles, B^T d B
    weights    (O / panel, a, b, C, panel): transformed weights, G g G^T, by way of half_weights, G g
    products   (u, v, w, a, b, O / panel, t, panel)
    rows       (u, v, w, O / panel, t, m, b, panel): products transformed along columns, A^T m
    """

    padded: Tensor
    columns: Tensor
    data: Tensor
    half_weights: Tensor
    weights: Tensor
    products: Tensor
    rows: Tensor


def transformed(index: Expr, matrix: Matrix, vector: Sequence[Expr]) -> Expr:
    """Give row `index` of `matrix` times `vector`: straight-line code once the index is a constant."""
    rows = product(matrix, vector, _literal)
    result = rows[-1]
    for number in reversed(range(len(rows) - 1)):
        result = arith.select(arith.eq(index, number), rows[number], result)
    return result


def _literal(number: Fraction) -> Expr:
    return arith.const(float(number), "float32")


def winograd_stages(image: Element, kernel: Element, sizes: Sizes, forms: Transforms) -> Stages:
    """Give the chain up to products that are transformed along columns.

    image   element at (n, channel, y, x)
    kernel  element at (output channel, input channel, y, x)
    """
    padded = _padded(image, sizes, forms)
    columns, data = _transformed_image(padded, sizes, forms)
    half, weights = _transformed_weights(kernel, sizes, forms)
    products = _products(data, weights, sizes, forms)
    return Stages(padded, columns, data, half, weights, products, _rows(products, sizes, forms))


def _padded(image: Element, sizes: Sizes, forms: Transforms) -> Tensor:
    m, (top, left), (height, width) = forms.outputs, sizes.padding, sizes.extents
    channels, lanes = sizes.channels[0], sizes.lanes
    reach = forms.taps - 1
    rows, columns = (n * each * m + reach for n, each in zip(sizes.blocks(m)[1:], sizes.block[1:], strict=True))
    blocks, columns = -(-channels // lanes), -(-columns // lanes) * lanes

    def element(n: Expr, c: Expr, y: Expr, x: Expr, ci: Expr) -> Expr:
        row = arith.minimum(arith.maximum(y - top, 0), height - 1)
        inside = [arith.eq(row, y - top)] if top or rows > height + top else []  # no bound that loops are cut at
        inside += [x >= left] if left else []
        inside += [x < width + left] if columns > width + left else []
        inside += [] if channels % lanes == 0 else [c * lanes + ci < channels]
        at = image(n, c * lanes + ci, row, x - left)
        return arith.if_then_else(arith.logical_and(*inside), at, 0.0) if inside else at

    return compute((sizes.batch, blocks, rows, columns, lanes), element, name="padded")


def _transformed_image(padded: Tensor, sizes: Sizes, forms: Transforms) -> tuple[Tensor, Tensor]:
    m, tile, (images, rows, columns) = forms.outputs, forms.tile, sizes.block
    batch, blocks, _, _, lanes = padded.shape
    groups = sizes.blocks(m)

    def down(n: Expr, c: Expr, r: Expr, a: Expr, x: Expr, ci: Expr) -> Expr:
        return transformed(a, forms.data, [padded[n, c, r * m + i, x, ci] for i in range(tile)])

    width = groups[2] * columns * m + forms.taps - 1
    half = compute((batch, blocks, groups[1] * rows, tile, width, lanes), down, name="columns")

    def across(u: Expr, v: Expr, w: Expr, a: Expr, b: Expr, c: Expr, t: Expr, ci: Expr) -> Expr:
        n, row, column = u * images + t // (columns * rows), v * rows + t // columns % rows, w * columns + t % columns
        return transformed(b, forms.data, [half[n, c, row, a, column * m + j, ci] for j in range(tile)])

    return half, compute((*groups, tile, tile, blocks, sizes.tiles, lanes), across, name="tiles")


def _transformed_weights(kernel: Element, sizes: Sizes, forms: Transforms) -> tuple[Tensor, Tensor]:
    tile, taps, panel, lanes = forms.tile, forms.taps, sizes.panel, sizes.lanes
    channels, filters = sizes.channels
    blocks, panels = -(-channels // lanes), -(-filters // panel)

    def down(k: Expr, a: Expr, x: Expr, c: Expr, ki: Expr) -> Expr:
        inside = [] if filters % panel == 0 else [k * panel + ki < filters]
        inside += [] if channels % lanes == 0 else [c < channels]
        column = [kernel(k * panel + ki, c, i, x) for i in range(taps)]
        value = transformed(a, forms.weights, column)
        return arith.if_then_else(arith.logical_and(*inside), value, 0.0) if inside else value

    half = compute((panels, tile, taps, blocks * lanes, panel), down, name="kernel_columns")

    def across(k: Expr, a: Expr, b: Expr, c: Expr, ki: Expr) -> Expr:
        return transformed(b, forms.weights, [half[k, a, j, c, ki] for j in range(taps)])

    return half, compute((panels, tile, tile, blocks * lanes, panel), across, name="kernel_tiles")


def _products(data: Tensor, weights: Tensor, sizes: Sizes, forms: Transforms) -> Tensor:
    *groups, tile, _, blocks, tiles, lanes = data.shape
    c, ci = reduce_axis((0, blocks), "c"), reduce_axis((0, lanes), "ci")

    def element(u: Expr, v: Expr, w: Expr, a: Expr, b: Expr, k: Expr, t: Expr, ki: Expr) -> Expr:
        return sum(data[u, v, w, a, b, c, t, ci] * weights[k, a, b, c * sizes.lanes + ci, ki], axis=[c, ci])

    shape = (*groups, tile, tile, weights.shape[0], tiles, sizes.panel)
    return compute(shape, element, name="products", tag="winograd_products")


def _rows(products: Tensor, sizes: Sizes, forms: Transforms) -> Tensor:
    *groups, tile, _, panels, tiles, panel = products.shape

    def element(u: Expr, v: Expr, w: Expr, k: Expr, t: Expr, p: Expr, b: Expr, ki: Expr) -> Expr:
        return transformed(p, forms.result, [products[u, v, w, a, b, k, t, ki] for a in range(forms.tile)])

    return compute((*groups, panels, tiles, forms.outputs, tile, panel), element, name="rows")


def winograd_result(stages: Stages, sizes: Sizes, forms: Transforms) -> Element:
    """Give the element of the result at (n, output channel, y, x)."""
    m, (images, rows, columns) = forms.outputs, sizes.block
    high, wide = rows * m, columns * m

    def element(n: Expr, channel: Expr, y: Expr, x: Expr) -> Expr:
        t = (n % images * rows + y % high // m) * columns + x % wide // m
        place = (n // images, y // high, x // wide, channel // sizes.panel, t)
        taken = [stages.rows[(*place, y % m, b, channel % sizes.panel)] for b in range(forms.tile)]
        return transformed(x % m, forms.result, taken)

    return element


def winograd_lines(element: Element, sizes: Sizes) -> Tensor:
    """Give the result with channels side by side, (N, O / lanes, H, W, lanes), from its element."""
    lanes = sizes.lanes
    shape = (sizes.batch, -(-sizes.channels[1] // lanes), sizes.height, sizes.width, lanes)
    return compute(shape, lambda n, c, y, x, ci: element(n, c * lanes + ci, y, x), name="lines")
