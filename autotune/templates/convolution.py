"""A convolution to be scheduled, as numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.arith import int_value
from ...ir.errors import TuneError
from ...ir.expr import Expr
from ...te.operators.pad import pad_image
from ...te.operators.window import Pair, Window, window
from ...te.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution of images with windows of `taps[0]` x `taps[1]` elements.

    image     (N, C, H, W) or (N, H, W, C)
    kernel    (F, C / groups, KH, KW) or (KH, KW, C / groups, F)
    channels  of one group's input
    filters   of one group
    """

    image: Tensor
    kernel: Tensor
    geometry: Window
    groups: int
    is_nchw: bool
    batch: int
    channels: int
    filters: int
    taps: tuple[int, int]
    positions: tuple[int, int]

    @classmethod
    def of(
        cls, image: Tensor, kernel: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int, layout: str
    ) -> Convolution:
        """Give the numbers of a convolution.  Raises TuneError for a layout in blocks."""
        is_nchw = _is_nchw(layout)
        extents, sizes = _numbers(image), _numbers(kernel)
        filters, channels, *taps = sizes if is_nchw else (sizes[3], sizes[2], *sizes[:2])
        geometry = window(taps, stride, padding, dilation)
        rows, columns = geometry.positions(image.shape[2:] if is_nchw else image.shape[1:3])
        positions = (int_value(rows) or 1, int_value(columns) or 1)
        shape = (extents[0], channels, filters // groups, (taps[0], taps[1]), positions)
        return cls(image, kernel, geometry, groups, is_nchw, *shape)

    @classmethod
    def depthwise(
        cls, image: Tensor, kernel: Tensor, stride: Pair, padding: Pair, dilation: Pair, layout: str
    ) -> Convolution:
        """Give the numbers of a convolution of each channel for itself.  Raises TuneError for a layout in blocks.

        kernel  (C, 1, KH, KW) or (KH, KW, C, 1)
        """
        is_nchw = _is_nchw(layout)
        extents, sizes = _numbers(image), _numbers(kernel)
        taps = (sizes[2], sizes[3]) if is_nchw else (sizes[0], sizes[1])
        geometry = window(taps, stride, padding, dilation)
        rows, columns = geometry.positions(image.shape[2:] if is_nchw else image.shape[1:3])
        positions = (int_value(rows) or 1, int_value(columns) or 1)
        return cls(image, kernel, geometry, extents[1 if is_nchw else 3], is_nchw, extents[0], 1, 1, taps, positions)

    @property
    def pixels(self) -> int:
        """Give the places of a window on one image."""
        return self.positions[0] * self.positions[1]

    @property
    def terms(self) -> int:
        """Give the products that are summed up for one element of the result."""
        return self.channels * self.taps[0] * self.taps[1]

    @property
    def multiplications(self) -> float:
        """Give the products that make up the result."""
        return float(self.batch) * self.groups * self.filters * self.pixels * self.terms

    @property
    def is_pointwise(self) -> bool:
        """Tell whether windows are single elements, one at each pixel of the image."""
        return self.taps == (1, 1) and self.geometry.stride == (1, 1) and not any(self.geometry.padding)

    @property
    def extents(self) -> tuple[int, int]:
        """Give the rows and columns of the image."""
        rows, columns = self.image.shape[2:] if self.is_nchw else self.image.shape[1:3]
        return int_value(rows) or 1, int_value(columns) or 1

    @property
    def height(self) -> int:
        """Give the rows of the image."""
        return self.extents[0]

    def padded(self, padding: tuple[int, int, int, int] | None = None) -> Tensor:
        """Give the image with its padding, or another one."""
        rows = 2 if self.is_nchw else 1
        return pad_image(self.image, rows, rows + 1, self.geometry.padding if padding is None else padding)

    def place(self, n: Any, channel: Any, y: Any, x: Any) -> tuple[Any, ...]:
        """Give four numbers or indices in the order that images, and results, have their dimensions."""
        return (n, channel, y, x) if self.is_nchw else (n, y, x, channel)


def block_of(layout: str) -> int:
    """Give the block of channels in a layout, 1 for plain ones.  Raises TuneError for an unknown layout."""
    if layout in ("NCHW", "NHWC"):
        return 1
    found = re.fullmatch(r"NCHW([1-9][0-9]*)c", layout)
    if found is None:
        raise TuneError("layout", f"unknown layout {layout!r}", advice="NCHW, NHWC, or NCHW[x]c such as NCHW16c")
    return int(found[1])


def channel_of(layout: str, at: Sequence[Expr]) -> Expr:
    """Give the channel of the element at indices `at` of an image."""
    match layout:
        case "NCHW":
            return at[1]
        case "NHWC":
            return at[3]
        case _:
            return at[1] * block_of(layout) + at[4]


def _is_nchw(layout: str) -> bool:
    if layout not in ("NCHW", "NHWC"):
        raise TuneError("conv2d", f"no such schedule in layout {layout}", advice="NCHW or NHWC")
    return layout == "NCHW"


def _numbers(tensor: Tensor) -> Sequence[int]:
    return [int_value(d) or 1 for d in tensor.shape]
