"""Depthwise convolutions in NCHW with stride 2 and large windows: even and odd columns are put apart ahead of the sums.

    for n, c:
        for rows:                                       # or once for all of them
            halves  columns 0, 2, 4 .. of each row, then 1, 3, 5 .., with what windows take from outside of the image
            for columns:                                # registers: a tile of results, lanes along columns
                for rx, ry: sums += halves * weight
                out = sums

Neighbouring results then read neighbours.  From the image as it lies, each tap of a window would pick every other
element of two vectors that all cross the border of a cache line, for each row anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .... import te
from ....ir import arith
from ....ir.expr import Expr
from ....schedule.schedule import Schedule, create_schedule
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target
from .. import register_tile as tile
from ..convolution import Convolution
from ..epilogue import Epilogue
from .algorithm import Plan

ROWS = "halves_rows"  # knob: rows of the register tile, of one vector each
PLANE = "halves_plane"  # knob: whether an image is put apart at once, or the rows of each tile
GEOMETRY = ((2, 2), (1, 1))  # stride and dilation
LEAST_WIDTH = 4  # columns of a window
MOST_ROWS = 16
CROSSING = 1.5  # loads that a load counts as which may begin anywhere
APART = 2.0  # cycles for each vector that is put apart
AROUND = 8  # cycles of a tile beside its sums


def plan(cfg: Knobs, conv: Convolution, epilogue: Epilogue) -> Plan | None:
    """Give the plan for stride 2, windows of `LEAST_WIDTH` columns and results as wide as a vector, or almost."""
    lanes, (kh, kw) = tile.lanes_of(get_target()), conv.taps
    if not conv.is_nchw or str(conv.image.dtype) != "float32" or kw < LEAST_WIDTH:
        return None
    rows = [r for r in range(1, min(MOST_ROWS, conv.positions[0]) + 1) if _fits(kh, r)]
    if (conv.geometry.stride, conv.geometry.dilation) != GEOMETRY or 3 * conv.positions[1] < 2 * lanes or not rows:
        return None

    def estimate(chosen: Any) -> Any:
        return _share(conv, lanes, chosen.val)

    def scheduled() -> tuple[Schedule, Tensor]:
        halves, sums, out = _declare(conv, epilogue, lanes)
        s = create_schedule(out.op)
        _schedule(cfg, s, halves, sums, out, lanes)
        return s, out

    cfg.define_knob(ROWS, rows, default=max(rows, key=lambda r: float(_share(conv, lanes, r))))
    cfg.define_knob(PLANE, [False, True])
    return Plan("halves", (ROWS, PLANE), estimate, (ROWS,), scheduled)


def _fits(kh: int, rows: int) -> bool:
    """Tell whether sums, a column of the rows that they are of, and a weight fit in registers."""
    return rows + 2 * (rows - 1) + kh + 1 <= tile.registers_of(get_target())


def _share(conv: Convolution, lanes: int, rows: Any) -> Any:
    """Give the share of the multiply-add peak: two of them, or two loads, a cycle."""
    (height, width), (kh, kw) = conv.positions, conv.taps
    loads = (2 * (rows - 1) + kh) * kw * CROSSING + kh * kw
    tiles = np.ceil(height / rows) * -(-width // lanes)
    apart = (2 * height + kh) * 2 * _vectors(conv, lanes) * APART
    return height * width * kh * kw / lanes / 2 / (tiles * (np.maximum(rows * kh * kw, loads) / 2 + AROUND) + apart)


def _vectors(conv: Convolution, lanes: int) -> int:
    """Give the vectors of half a row, which the last tap reads beyond."""
    return -(-(conv.positions[1] + (conv.taps[1] - 1) // 2) // lanes)


def _declare(conv: Convolution, epilogue: Epilogue, lanes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Give halves (N, C, H, 2, W / 2) with padding, sums and results, both (N, C, OH, OW)."""
    image, kernel, (kh, kw) = conv.image, conv.kernel, conv.taps
    (high, wide), (top, left, _, _) = conv.positions, conv.geometry.padding
    width, shape = arith.int_value(image.shape[3]) or 1, (conv.batch, conv.groups, high, wide)

    def half(n: Expr, c: Expr, y: Expr, odd: Expr, x: Expr) -> Expr:
        row, column, zero = y - top, x * 2 + odd - left, arith.cast("float32", 0)
        is_column = arith.logical_and(column >= 0, column < width)
        element = arith.if_then_else(is_column, image[n, c, row, column], zero)
        return arith.if_then_else(arith.logical_and(row >= 0, row < conv.height), element, zero)

    rows = 2 * (high - 1) + kh
    halves = te.compute((conv.batch, conv.groups, rows, 2, _vectors(conv, lanes) * lanes), half, name="halves")
    ry, rx = te.reduce_axis((0, kh), "ry"), te.reduce_axis((0, kw), "rx")

    def total(n: Expr, c: Expr, y: Expr, x: Expr) -> Expr:
        value = halves[n, c, y * 2 + ry, rx.var % 2, x + rx.var // 2]
        return te.sum(value * kernel[c, 0, ry, rx], axis=[ry, rx])

    sums = te.compute(shape, total, name="sums")

    def element(*at: Expr) -> Expr:
        return epilogue.element(sums[at], at, at[1])

    return halves, sums, te.compute(shape, element, "depthwise", varargs_names=["n", "c", "y", "x"])


def _schedule(cfg: Knobs, s: Schedule, halves: Tensor, sums: Tensor, out: Tensor, lanes: int) -> None:
    stage = s[out]
    n, c, y, x = out.op.axis
    rows, row = stage.split(y, factor=cfg[ROWS].val)
    columns, lane = stage.split(x, factor=lanes)
    stage.reorder(n, c, rows, columns, row, lane)
    stage.vectorize(lane)
    stage.unroll(row)
    parallel = tile.parallel_outer(s, out, [n, c])
    s[halves].compute_at(stage, parallel if cfg[PLANE].val else rows)
    s[halves].set_scope("local")
    *outer, odd, at = halves.op.axis
    vector, lane = s[halves].split(at, factor=lanes)
    s[halves].reorder(*outer, vector, odd, lane)
    s[halves].vectorize(lane)
    tile.unroll_all(s, halves, [vector, odd])
    s[sums].compute_at(stage, columns)
    s[sums].set_scope("local")
    *outer, y, x = sums.op.axis
    ry, rx = sums.op.reduce_axis
    s[sums].reorder(*outer, rx, ry, y, x)
    s[sums].vectorize(x)
    tile.unroll_all(s, sums, [rx, ry, y])
