"""Depthwise convolutions of small images in NCHW with lanes along channels, which images have to be turned for.

    for n, block of channels:
        turned   all pixels of the block, channels side by side     # transposed in registers
        padded   the same, with what windows take from outside of the image
        weights  of the block, channels side by side                # transposed in registers
        for rows, columns:                                          # registers: a tile of pixels
            for ry, rx: sums += padded * weights
            out = sums                                              # transposed in registers

Where a row of the result is shorter than a vector, lanes along pixels would idle; here all of them work.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
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

TILE = ROWS, COLUMNS = "turned_rows", "turned_columns"  # knobs: the register tile
UNROLL = "turned_unroll"  # knob: whether the taps of a row are written out
MOST_PADDED = 400  # vectors of one block; their copying is written out
TURNED = 2.8  # cycles for a vector that is transposed
LATENCY = 4  # cycles of a multiply-add
AROUND = 3  # loads that a tap costs beyond those of its pixels


@dataclass(frozen=True, slots=True)
class Strips:
    """A row of `count` elements cut in strips of `lanes`; the last one begins early, so that it is whole."""

    count: int
    lanes: int

    @property
    def number(self) -> int:
        """Give the number of strips."""
        return -(-self.count // self.lanes)

    def first(self, strip: Expr) -> Expr:
        """Give the first element of a strip."""
        return arith.minimum(strip * self.lanes, self.count - self.lanes)

    def place(self, element: Any) -> tuple[Expr, Expr]:
        """Give the strip that has an element, and the place there."""
        strip = element // self.lanes
        early = strip // (self.number - 1) * (self.number * self.lanes - self.count)
        return strip, arith.minimum(element % self.lanes + early, self.lanes - 1)


@dataclass(frozen=True, slots=True)
class Stages:
    """What is computed, in order; T pixels or taps in a strip, of T channels of a block.

    turned   (N, C / T, strips, T, T)
    padded   (N, C / T, H, W, T), as high and wide as windows reach
    weights  (C / T, strips, T, T)
    sums     (N, C / T, OH, OW, T)
    out      (N, C, OH, OW)
    """

    turned: Tensor
    padded: Tensor
    weights: Tensor
    sums: Tensor
    out: Tensor


def plan(cfg: Knobs, conv: Convolution, epilogue: Epilogue) -> Plan | None:
    """Give the plan for small images of whole blocks of channels, and windows of more taps than there are lanes."""
    lanes, (height, width) = tile.lanes_of(get_target()), _reach(conv)
    pixels, taps = conv.height * _width(conv), conv.taps[0] * conv.taps[1]
    if not conv.is_nchw or str(conv.image.dtype) != "float32" or epilogue.residual is not None:
        return None
    if conv.groups % lanes or min(pixels, taps) <= lanes or height * width > MOST_PADDED:
        return None

    def estimate(rows: Any, columns: Any) -> Any:
        return _share(conv, lanes, rows.val, columns.val)

    def scheduled() -> tuple[Schedule, Tensor]:
        stages = _declare(conv, epilogue, lanes)
        s = create_schedule(stages.out.op)
        _schedule(cfg, s, stages, lanes)
        return s, stages.out

    return Plan("turned", _define(cfg, conv, lanes), estimate, TILE, scheduled)


def _width(conv: Convolution) -> int:
    return arith.int_value(conv.image.shape[3]) or 1


def _reach(conv: Convolution) -> tuple[int, int]:
    """Give the height and width of the image with its padding."""
    top, left, bottom, right = conv.geometry.padding
    return conv.height + top + bottom, _width(conv) + left + right


def _define(cfg: Knobs, conv: Convolution, lanes: int) -> tuple[str, ...]:
    """Define the knobs, by default the tile that promises most; give their names."""
    (height, width), target = conv.positions, get_target()
    rows = [r for r in (1, 2, 3, 4, 7) if r <= height]
    columns = sorted({c for c in (1, 2, 3, 4, 5, 6, 7, 8, 10, 14, width) if c <= width})
    fitting = [t for t in product(rows, columns) if tile.fits_registers(target, t[0] * t[1], 1)]
    best = max(fitting, key=lambda t: float(_share(conv, lanes, *t)))
    for name, values, default in zip(TILE, (rows, columns), best, strict=True):
        cfg.define_knob(name, values, default=default)
    cfg.restrict(lambda r, c: tile.fits_registers(target, r.val * c.val, 1), *TILE)
    cfg.define_knob(UNROLL, [False, True])
    return (*TILE, UNROLL)


def _share(conv: Convolution, lanes: int, rows: Any, columns: Any) -> Any:
    """Give the share of the multiply-add peak: two of them, or two loads, a cycle."""
    (height, width), (high, wide), taps = conv.positions, _reach(conv), conv.taps[0] * conv.taps[1]
    summing = 0.0
    for h, down in ((rows, height // rows), (height % rows, 1)):
        for w, across in ((columns, width // columns), (width % columns, 1)):
            tap = np.maximum((h * w + AROUND) / 2, LATENCY)
            summing = summing + np.where(h * w > 0, down * across * taps * tap, 0)
    strips = Strips(conv.height * _width(conv), lanes).number + Strips(taps, lanes).number
    turning = (strips * lanes + height * width) * TURNED
    return height * width * taps / 2 / (summing + turning + high * wide)


def _declare(conv: Convolution, epilogue: Epilogue, lanes: int) -> Stages:
    """Give the convolution by way of vectors of channels."""
    image, kernel, geometry, (kh, kw) = conv.image, conv.kernel, conv.geometry, conv.taps
    batch, blocks, width = conv.batch, conv.groups // lanes, _width(conv)
    pixels, taps = Strips(conv.height * width, lanes), Strips(kh * kw, lanes)
    top, left, _, _ = geometry.padding

    def pixel(n: Expr, b: Expr, strip: Expr, p: Expr, lane: Expr) -> Expr:
        at = pixels.first(strip) + p
        return image[n, b * lanes + lane, at // width, at % width]

    turned = te.compute((batch, blocks, pixels.number, lanes, lanes), pixel, name="turned")

    def around(n: Expr, b: Expr, y: Expr, x: Expr, lane: Expr) -> Expr:
        row, column = y - top, x - left
        inside = arith.logical_and(row >= 0, row < conv.height)
        inside = arith.logical_and(inside, arith.logical_and(column >= 0, column < width))
        at = arith.maximum(arith.minimum(row * width + column, pixels.count - 1), 0)
        return arith.if_then_else(inside, turned[n, b, *pixels.place(at), lane], arith.cast("float32", 0))

    padded = te.compute((batch, blocks, *_reach(conv), lanes), around, name="padded")

    def weight(b: Expr, strip: Expr, p: Expr, lane: Expr) -> Expr:
        at = taps.first(strip) + p
        return kernel[b * lanes + lane, 0, at // kw, at % kw]

    weights = te.compute((blocks, taps.number, lanes, lanes), weight, name="weights")
    ry, rx = te.reduce_axis((0, kh), "ry"), te.reduce_axis((0, kw), "rx")

    def total(n: Expr, b: Expr, y: Expr, x: Expr, lane: Expr) -> Expr:
        value = padded[n, b, *geometry.tap((y, x), (ry.var, rx.var)), lane]
        return te.sum(value * weights[b, *taps.place(ry * kw + rx), lane], axis=[ry, rx])

    sums = te.compute((batch, blocks, *conv.positions, lanes), total, name="sums")

    def element(*at: Expr) -> Expr:
        n, c, y, x = at
        return epilogue.element(sums[n, c // lanes, y, x, c % lanes], at, c)

    shape = (batch, conv.groups, *conv.positions)
    out = te.compute(shape, element, "depthwise", varargs_names=["n", "c", "y", "x"])
    return Stages(turned, padded, weights, sums, out)


def _schedule(cfg: Knobs, s: Schedule, stages: Stages, lanes: int) -> None:
    stage = s[stages.out]
    n, c, y, x = stages.out.op.axis
    block, lane = stage.split(c, factor=lanes)
    rows, row = stage.split(y, factor=cfg[ROWS].val)
    columns, column = stage.split(x, factor=cfg[COLUMNS].val)
    stage.reorder(n, block, rows, columns, row, column, lane)
    stage.vectorize(lane)
    tile.unroll_all(s, stages.out, [row, column])
    parallel = tile.parallel_outer(s, stages.out, [n, block])
    for tensor in (stages.turned, stages.padded, stages.weights):
        s[tensor].compute_at(stage, parallel)
        s[tensor].set_scope("local")
    for tensor in (stages.turned, stages.weights):
        *outer, along, channel = tensor.op.axis
        s[tensor].reorder(*outer, channel, along)
        s[tensor].vectorize(along)
        s[tensor].unroll(channel)
    *_, high, wide, channel = stages.padded.op.axis
    s[stages.padded].vectorize(channel)
    tile.unroll_all(s, stages.padded, [high, wide])
    s[stages.sums].compute_at(stage, columns)
    s[stages.sums].set_scope("local")
    _accumulate(cfg, s, stages.sums)


def _accumulate(cfg: Knobs, s: Schedule, sums: Tensor) -> None:
    n, block, y, x, lane = sums.op.axis
    ry, rx = sums.op.reduce_axis
    s[sums].reorder(n, block, ry, rx, y, x, lane)
    s[sums].vectorize(lane)
    tile.unroll_all(s, sums, [rx, y, x] if cfg[UNROLL].val else [y, x])
