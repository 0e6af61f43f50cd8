"""Geometry of windows that slide over images: strides, padding, dilation, sizes of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...ir import arith
from ...ir.errors import ExpressionError
from ...ir.expr import Expr

Pair = int | Sequence[int]


@dataclass(frozen=True, slots=True)
class Window:
    """A window of kernel_h x kernel_w taps over an image of height x width.

    stride, dilation  (vertical, horizontal)
    padding           (top, left, bottom, right) elements
    """

    kernel: tuple[Expr, Expr]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]

    def positions(self, image: Sequence[Expr]) -> tuple[Expr, Expr]:
        """Give the numbers of rows and columns of the result for an image of (height, width)."""
        return self._count(image[0], 0), self._count(image[1], 1)

    def _count(self, extent: Expr, dim: int) -> Expr:
        padded = extent + (self.padding[dim] + self.padding[dim + 2])
        span = (self.kernel[dim] - 1) * self.dilation[dim] + 1
        count = (padded - span) // self.stride[dim] + 1
        known = arith.int_value(count)
        if known is not None and known < 1:
            raise ExpressionError("window", f"it spans {span} of {padded} elements", advice="a larger image or padding")
        return count

    def tap(self, at: tuple[Expr, Expr], within: tuple[Expr, Expr]) -> tuple[Expr, Expr]:
        """Give the place in the padded image of tap `within` of the window at position `at`."""
        y, x = (a * s + w * d for a, s, w, d in zip(at, self.stride, within, self.dilation, strict=True))
        return y, x

    @property
    def attrs(self) -> dict[str, object]:
        """Give the geometry for templates."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}


def window(kernel: Sequence[Expr | int], stride: Pair, padding: Pair, dilation: Pair = 1) -> Window:
    """Give a window from stride and dilation as a number or a pair, and padding as a number, a pair or (t, l, b, r)."""
    height, width = (arith.as_expr(k) for k in kernel)
    return Window((height, width), pair("stride", stride, 1), edges(padding), pair("dilation", dilation, 1))


def pair(what: str, given: Pair, least: int) -> tuple[int, int]:
    """Give a number for both directions, or (vertical, horizontal)."""
    match given:
        case int() if given >= least:
            return given, given
        case [vertical, horizontal] if min(given) >= least:
            return vertical, horizontal
        case _:
            raise ExpressionError("window", f"{what} is {given}", advice=f"a number or a pair, at least {least}")


def edges(padding: Pair) -> tuple[int, int, int, int]:
    """Give padding as (top, left, bottom, right) from a number, (vertical, horizontal), or all four."""
    match padding:
        case int() | [_, _]:
            height, width = pair("padding", padding, 0)
            return height, width, height, width
        case [top, left, bottom, right] if min(padding) >= 0:
            return top, left, bottom, right
        case _:
            advice = "a number, a pair or (top, left, bottom, right)"
            raise ExpressionError("window", f"padding is {padding}", advice=advice)
