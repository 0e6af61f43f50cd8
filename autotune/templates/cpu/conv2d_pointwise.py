"""Convolutions of single pixels in NCHW on processors: products of matrices with lanes along all pixels of a channel.

    for block, pixels in parallel:                      registers: T channels by V vectors of pixels
        for c in channels:
            sums[t, v] += packed[block, c, t] * image[c, pixels + v]

Nothing is transposed, and channels that are no whole vectors are no loss.
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
from ...template import get_target, get_threads
from .. import register_tile as tile
from ..convolution import Convolution
from .algorithm import Plan
from .request import ConvolutionRequest

TILE = CHANNELS, VECTORS = "pointwise_channels", "pointwise_vectors"  # knobs: the register tile
UNROLL, OUTER = "pointwise_unroll", "pointwise_pixels_outermost"
CHOSEN = (*TILE, OUTER)  # by their cost

LOADS = 1.7  # a cycle
ACROSS = 0.75  # further loads that a vector costs which may lie across two lines
FETCH = 0.1  # cycles that a vector of pixels costs beyond its loading, as it comes from L2
AROUND = 0.5  # cycles for a vector of sums: setting it to zero and storing it
GUARDED = 0.98  # share of the speed where the last block of channels is not whole
COPIED = 0.4  # cycles for an element that is copied because pixels are left out
L2_BYTES = 768 << 10  # of an image that every block of channels reads again ...
NEARLY, FAR = 0.995, 0.9  # ... and the shares of the speed where it is no larger, and where it is
DECENT = 0.6  # of the best tile's share that others must promise


@dataclass(frozen=True, slots=True)
class Stages:
    """What is computed, in order.

    dense   (N, C, OH, OW), the pixels that are needed; None where all are
    packed  (ceil(F / T), C, T)
    sums    (N, ceil(F / T), T, pixels)
    out     the result
    """

    dense: Tensor | None
    packed: Tensor
    sums: Tensor
    out: Tensor


@dataclass(frozen=True, slots=True)
class TileCost:
    """What register tiles cost; works on numbers and on arrays of them."""

    pixels: int
    filters: int
    channels: int
    lanes: int
    threads: int
    copied: int  # elements

    @classmethod
    def of(cls, conv: Convolution, lanes: int, threads: int) -> TileCost:
        """Give the cost of a convolution's tiles."""
        copied = conv.pixels * conv.channels if conv.geometry.stride != (1, 1) else 0
        return cls(conv.pixels, conv.filters, conv.channels, lanes, threads, copied)

    def cycles(self, channels: Any, vectors: Any) -> Any:
        """Give the cycles of one tile; none for no vectors."""
        work = channels * vectors
        across = ACROSS if self.pixels % self.lanes else 0
        step = np.maximum(np.maximum(work / 2, (channels + vectors * (1 + across)) / LOADS), 4) + vectors * FETCH
        return np.where(work > 0, self.channels * step + work * AROUND, 0)

    def share(self, channels: Any, vectors: Any, by_pixels: Any) -> Any:
        """Give the share of the multiply-add peak; the last tile of pixels is as small as it need be.

        by_pixels  whether threads share tiles of pixels, else blocks of channels
        """
        blocks, parts = np.ceil(self.filters / channels), -(-self.pixels // self.lanes)
        tiles, (whole, rest) = np.ceil(parts / vectors), np.divmod(parts, vectors)
        one, last = self.cycles(channels, vectors), self.cycles(channels, rest)
        most = np.ceil(tiles / self.threads)  # of the first thread, which has no tile that is not whole if it can
        pixels = blocks * (np.minimum(most, whole) * one + (most > whole) * last)
        near = np.where(4 * self.pixels * self.channels <= L2_BYTES, NEARLY, FAR)
        filters = np.ceil(blocks / self.threads) * (whole * one + last) / near
        cycles = np.where(by_pixels, pixels, filters) + COPIED * self.copied / self.threads
        least = self.pixels * self.filters / self.lanes * self.channels / 2 / self.threads
        return np.where(self.filters % channels == 0, 1, GUARDED) * least / cycles


def plan(cfg: Knobs, request: ConvolutionRequest) -> Plan | None:
    """Give the plan of a convolution with windows of one pixel, without padding or groups, of 4-byte elements."""
    conv = request.numbers()
    lanes = tile.lanes_of(get_target())
    if conv is None or conv.taps != (1, 1) or not conv.is_nchw or conv.groups > 1 or any(conv.geometry.padding):
        return None
    if request.image.dtype.bits != 32 or conv.pixels < lanes:
        return None
    cost = TileCost.of(conv, lanes, get_threads())
    knobs = _define(cfg, conv, cost)

    def scheduled() -> tuple[Schedule, Tensor]:
        stages = _declare(cfg, request, conv)
        s = create_schedule(stages.out.op)
        _schedule(cfg, s, stages, lanes, request)
        return s, stages.out

    return Plan("pointwise", knobs, lambda c, v, o: cost.share(c.val, v.val, o.val), CHOSEN, scheduled)


def _define(cfg: Knobs, conv: Convolution, cost: TileCost) -> tuple[str, ...]:
    """Define the knobs, by default the tile that costs least; give their names."""
    target = get_target()
    channels = [c for c in tile.ROWS if min(4, conv.filters) <= c <= conv.filters]
    vectors = [v for v in (1, 2, 3, 4, 6) if v * cost.lanes <= conv.pixels]
    fitting = [t for t in product(channels, vectors, (True, False)) if tile.fits_registers(target, *t[:2])]
    best = max(fitting, key=lambda t: float(cost.share(*t)))
    for name, values, default in zip(CHOSEN, (channels, vectors, [True, False]), best, strict=True):
        cfg.define_knob(name, values, default=default)
    cfg.restrict(lambda c, v: tile.fits_registers(target, c.val, v.val), *TILE)
    least = DECENT * float(cost.share(*best))
    cfg.restrict(lambda c, v, o: cost.share(c.val, v.val, o.val) >= least, *CHOSEN)
    cfg.define_knob(UNROLL, [u for u in (1, 2, 4) if conv.channels % u == 0])
    return (*CHOSEN, UNROLL)


def _declare(cfg: Knobs, request: ConvolutionRequest, conv: Convolution) -> Stages:
    """Give the convolution by way of packed weights and sums over pixels in a row."""
    block, (rows, columns) = cfg[CHANNELS].val, conv.positions
    kernel, outputs = request.kernel, request.declare()
    blocks, zero = -(-conv.filters // block), arith.as_expr(0)

    def weight(b: Expr, c: Expr, t: Expr) -> Expr:
        f = b * block + t
        value = kernel[f, c, 0, 0]
        none = arith.cast(kernel.dtype, 0)
        return value if conv.filters % block == 0 else arith.if_then_else(f < conv.filters, value, none)

    packed = te.compute((blocks, conv.channels, block), weight, name="packed")
    image = conv.image
    if conv.geometry.stride != (1, 1):
        shape = (conv.batch, conv.channels, rows, columns)
        tap = conv.geometry.tap
        image = te.compute(shape, lambda n, c, y, x: conv.image[(n, c, *tap((y, x), (zero, zero)))], name="dense")
    rc = te.reduce_axis((0, conv.channels), "rc")

    def total(n: Expr, b: Expr, t: Expr, p: Expr) -> Expr:
        pixel = image[n, rc, p // columns, p % columns].astype(outputs.dtype)
        return te.sum(pixel * packed[b, rc, t].astype(outputs.dtype), axis=rc)

    sums = te.compute((conv.batch, blocks, block, rows * columns), total, name="sums")
    names = [a.name for a in outputs.op.axis]
    out = te.compute(
        outputs.shape,
        lambda *i: request.finished(sums[i[0], i[1] // block, i[1] % block, i[2] * columns + i[3]], i),
        name="conv2d",
        varargs_names=names,
    )
    return Stages(None if image is conv.image else image, packed, sums, out)


def _schedule(cfg: Knobs, s: Schedule, stages: Stages, lanes: int, request: ConvolutionRequest) -> None:
    out, stage = stages.out, s[stages.out]
    n, f, y, x = out.op.axis
    blocks, channel = stage.split(f, factor=cfg[CHANNELS].val)
    pixels = stage.fuse(y, x)
    parts, inside = stage.split(pixels, factor=lanes * cfg[VECTORS].val)
    vectors, lane = stage.split(inside, factor=lanes)
    outer, between = (parts, blocks) if cfg[OUTER].val else (blocks, parts)
    stage.reorder(n, outer, between, channel, vectors, lane)
    stage.vectorize(lane)
    tile.unroll_all(s, out, [channel, vectors])
    stage.parallel(outer)  # not fused with others, so that the last pixels are told apart
    tile.ask_for_residual(s, out, request.epilogue.residual, between)
    s[stages.sums].compute_at(stage, between)
    s[stages.sums].set_scope("local")
    _accumulate(cfg, s, stages.sums, lanes)
    if request.constant_weights:
        s[stages.packed].precompute()
    tile.parallel_outer(s, stages.packed, stages.packed.op.axis[:1])
    if stages.dense is not None:
        tile.copy_rows(s, stages.dense, lanes, is_nchw=True)


def _accumulate(cfg: Knobs, s: Schedule, sums: Tensor, lanes: int) -> None:
    stage = s[sums]
    n, b, channel, pixels = sums.op.axis
    outer, unrolled = stage.split(sums.op.reduce_axis[0], factor=cfg[UNROLL].val)
    vectors, lane = stage.split(pixels, factor=lanes)
    stage.reorder(n, b, outer, unrolled, channel, vectors, lane)
    stage.vectorize(lane)
    tile.unroll_all(s, sums, [unrolled, channel, vectors])
