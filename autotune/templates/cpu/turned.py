"""Sums with lanes along channels whose result lies along rows of pixels, and a residual beside it.

    for ... columns:
        tiles   in registers: pixels by vectors of channels
        turned  the same, channels by rows of pixels        # transposed in registers
        out     epilogue(turned, residual), row by row

Without a residual nothing but the result itself lies along rows, and it is transposed when it is stored.
"""

from __future__ import annotations

from collections.abc import Callable

from .... import te
from ....ir.expr import Expr
from ....schedule.schedule import Schedule
from ....te.axis import Axis
from ....te.tensor import Tensor
from .. import register_tile as tile
from .request import ConvolutionRequest


def declare(
    request: ConvolutionRequest, name: str, sums: Tensor, element: Callable[..., Expr]
) -> tuple[Tensor | None, Tensor]:
    """Give turned sums, None where there is no need for them, and the result.

    sums     by the definition of the convolution
    element  gives a sum by the indices of the result
    """
    names = [axis.name for axis in sums.op.axis]
    if request.layout != "NCHW" or request.epilogue.residual is None:
        out = te.compute(sums.shape, lambda *i: request.finished(element(*i), i), name, varargs_names=names)
        return None, out
    turned = te.compute(sums.shape, element, "turned", varargs_names=names)
    return turned, te.compute(sums.shape, lambda *i: request.finished(turned[i], i), name, varargs_names=names)


def schedule(s: Schedule, turned: Tensor, out: Tensor, at: Axis, lanes: int, channels: int) -> None:
    """Transpose `channels` channels of a tile of pixels at a loop of the result."""
    stage = s[turned]
    stage.compute_at(s[out], at)
    stage.set_scope("local")
    n, f, y, x = turned.op.axis
    loops, lane = tile.split_lanes(s, turned, f, lanes, channels)
    stage.reorder(n, *loops, y, x, lane)
    tile.unroll_all(s, turned, [*loops, y, x])
