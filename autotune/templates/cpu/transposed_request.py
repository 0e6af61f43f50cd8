"""A transposed convolution as it was asked for of a processor, and what its algorithms share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from ....ir.arith import int_value
from ....schedule.schedule import Schedule
from ....te.operators.conv2d_transpose import Enlargement
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target
from .. import register_tile as tile
from .conv2d_blocked import LINE_BYTES, WAY_BYTES, WIDTHS, TileCost

Share = Callable[[Any, Any, Any], Any]  # of the multiply-add peak, from vectors, rows and columns
DECENT = 0.6  # of the best tile's share that others must promise


@dataclass(frozen=True, slots=True)
class Numbers:
    """A transposed convolution as numbers.

    channels, filters  of one group
    image, out         rows and columns
    taps               rows and columns of the window that one element of the result sees at most
    products           of pixels and taps, those left out by padding included
    """

    batch: int
    channels: int
    filters: int
    groups: int
    image: tuple[int, int]
    out: tuple[int, int]
    taps: tuple[int, int]
    products: float


@dataclass(frozen=True, slots=True)
class TransposedRequest:
    """A transposed convolution as it was asked for, `out` as its definition says it.

    constant_weights  whether what is made of the weights alone may be made ahead of the calls
    """

    image: Tensor
    kernel: Tensor
    out: Tensor
    geometry: Enlargement
    groups: int
    is_nchw: bool
    constant_weights: bool

    def numbers(self) -> Numbers:
        """Give the convolution as numbers."""
        image, out = ([int_value(d) or 1 for d in t.shape] for t in (self.image, self.out))
        if not self.is_nchw:
            image, out = ([n, c, h, w] for n, h, w, c in (image, out))
        channels, filters = image[1] // self.groups, out[1] // self.groups
        products = float(prod(image)) * filters * prod(self.geometry.taps)
        sizes, taps = ((image[2], image[3]), (out[2], out[3])), (self.geometry.most_taps(0), self.geometry.most_taps(1))
        return Numbers(image[0], channels, filters, self.groups, *sizes, taps, products)

    def place(self, n: Any, channel: Any, y: Any, x: Any) -> tuple[Any, ...]:
        """Give four numbers or indices in the order that images, and results, have their dimensions."""
        return (n, channel, y, x) if self.is_nchw else (n, y, x, channel)

    def pack(self, s: Schedule, packed: Tensor, outer: int, lanes: int) -> None:
        """Pack weights, ahead of the calls where they are constant, on threads by the `outer` first dimensions."""
        stage = s[packed]
        if self.constant_weights:
            stage.precompute()
        _, lane = stage.split(packed.op.axis[-1], factor=lanes)
        stage.vectorize(lane)
        tile.parallel_outer(s, packed, packed.op.axis[:outer])

    def copy(self, s: Schedule, padded: Tensor, lanes: int) -> None:
        """Copy the image with its padding, in NCHW with all channels of a row side by side."""
        if self.is_nchw:
            _, c, y, x = padded.op.axis
            if tile.size(c) * tile.size(x) * 4 % WAY_BYTES == 0:  # else rows of a tile meet in one set of L1
                s[padded].storage_align(y, WAY_BYTES // 4, LINE_BYTES // 4)
            s[padded].transform_layout(lambda n, c, y, x: [n, y, c, x])
        tile.copy_rows(s, padded, lanes, self.is_nchw)


def define_tile(
    cfg: Knobs, names: Sequence[str], cost: TileCost, share: Share, groups: int = 1
) -> tuple[int, int, int]:
    """Define vectors, rows and columns of a register tile, by default the one of the greatest share of the peak.

    Gives that one.
    """
    target, (rows, columns), lanes = get_target(), cost.positions, cost.lanes
    whole = -(-cost.filters // lanes)
    vectors = [v for v in (1, 2, 3, 4) if v <= whole and (groups == 1 or cost.filters // groups % (v * lanes) == 0)]
    heights = [h for h in (1, 2, 3, 4) if h <= rows]
    widths = [w for w in WIDTHS if w <= columns]
    fitting = [t for t in product(vectors, heights, widths) if tile.fits_registers(target, t[1] * t[2], t[0])]
    best = max(fitting, key=lambda t: float(share(*t)))
    for name, values, default in zip(names, (vectors, heights, widths), best, strict=True):
        cfg.define_knob(name, values, default=default)
    cfg.restrict(lambda v, h, w: tile.fits_registers(target, h.val * w.val, v.val), *names)
    least = DECENT * float(share(*best))
    cfg.restrict(lambda v, h, w: share(v.val, h.val, w.val) >= least, *names)
    return best
