"""Convolutions on processors with lanes along output channels, over weights packed as the register tile reads them.

    for rows, block, columns:                           registers: P pixels, some of one row or more, by T channels
        for y, x in window, y within the image:
            for c in channels:
                sums[p, t] += image[c, rows + y, columns + x + p] * packed[block, y, x, c, t]
        out[block + t, rows, columns + p] = sums[p, t]  transposed in registers where the result is in NCHW

The image is read one element at a time, whatever its layout, so that nothing of it is transposed: it is copied with
its padding on the left and on the right.  What a window takes from above or below the image is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import gcd, prod
from typing import Any

import numpy as np

from .... import te
from ....ir import arith
from ....ir.expr import Expr
from ....schedule.schedule import Schedule, create_schedule
from ....te.operators.window import Window
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target, get_threads
from .. import register_tile as tile
from ..convolution import Convolution
from . import turned as turning
from .algorithm import Plan
from .request import ConvolutionRequest

TILE = VECTORS, HEIGHT, WIDTH = "blocked_vectors", "blocked_height", "blocked_width"  # knobs: the register tile
CHANNELS, UNROLL = "blocked_channels", "blocked_unroll"  # knobs: the sum
OUTER, IMAGE, PREFETCH = "blocked_rows_outermost", "blocked_image", "blocked_prefetch"
GIVEN, COPIED = "given", "copied"  # values of IMAGE, with "HCW" and "CHW" for copies in NCHW

WIDTHS = (*range(1, 15), 16, 20, 24, 28)  # of register tiles

LOADS = 1.7  # a cycle
FETCH = 0.25  # cycles that a vector of weights costs beyond its loading
FROM_L2 = 3.2  # cycles for a vector at least, where the weights of a tile do not stay in L1
L1_BYTES = 32 << 10  # of weights that do
ENOUGH = 16  # multiply-adds of one product that hide its loop; more would be mixed, for want of registers
AROUND = 1.5  # cycles for a vector of sums: setting it to zero, transposing and storing it
WAY_BYTES, WAYS, LINE_BYTES = 4096, 8, 64  # of the L1 cache
L2_BYTES = 1 << 20  # of a result whose lines come back to L1 soon
EVICTED = 6  # cycles for a line of the result that leaves L1 between two stores, for each WAYS lines in its place
UNEVEN = 1.03  # of equal shares that the busiest thread may have to do
DECENT = 0.6  # of the best tile's share that others must promise
BAND_BYTES = 24 << 10  # of sums that stay in L1
LONG = 512  # products that are worth fetching and storing the sums
AHEAD = NONE, NEAR, FAR = 0, 16, 96  # terms of a sum for whose weights caches are asked ahead: not at all, where ...
FAR_BYTES = 12 << 20  # ... they lie beyond L2, and where they are so many that main memory has some of them
SPARE = 24  # sums of a tile that leave time for asking for what is near


@dataclass(frozen=True, slots=True)
class Stages:
    """What is computed, in order.

    copied  of the image, with padding of its rows and in its layout, what is needed; None where it is read itself
    packed  (ceil(F / T), C / D, KH, KW, D, T), where D channels are summed up at a time
    tiles   (N, ceil(F / T), OH, OW, T), the sums
    turned  the sums in the layout of the result; None where the result is made of `tiles` themselves
    out     the result
    """

    copied: Tensor | None
    packed: Tensor
    tiles: Tensor
    turned: Tensor | None
    out: Tensor


def plan(cfg: Knobs, request: ConvolutionRequest) -> Plan | None:
    """Give the plan of a convolution of 4-byte elements in NCHW or NHWC; groups must be whole vectors of channels."""
    conv = request.numbers()
    if conv is None or request.image.dtype.bits != 32:
        return None
    lanes = tile.lanes_of(get_target())
    if conv.groups > 1 and conv.filters % lanes:
        return None
    cost = TileCost.of(conv, lanes, get_threads())
    knobs = _define(cfg, conv, cost)

    def scheduled() -> tuple[Schedule, Tensor]:
        stages = _declare(cfg, request, conv, lanes)
        s = create_schedule(stages.out.op)
        _schedule(cfg, s, stages, conv, lanes, request.constant_weights)
        return s, stages.out

    return Plan("blocked", knobs, lambda v, h, w: cost.share(v.val, h.val, w.val), TILE, scheduled)


@dataclass(frozen=True, slots=True)
class TileCost:
    """What register tiles of a convolution cost; works on numbers and on arrays of them.

    positions, filters  of the result, with all groups
    terms               products in each sum
    seen                share of them whose row of the window lies in the image
    places              in L1 for the same pixel of all channels; 0 where it does not count
    """

    positions: tuple[int, int]
    filters: int
    terms: int
    images: int
    lanes: int
    threads: int
    seen: float = 1.0
    places: int = 0

    @classmethod
    def of(cls, conv: Convolution, lanes: int, threads: int) -> TileCost:
        """Give the cost of a convolution's tiles."""
        filters, seen = conv.filters * conv.groups, _rows_seen(conv)
        return cls(conv.positions, filters, conv.terms, conv.batch, lanes, threads, seen, _places(conv))

    def cycles(self, pixels: Any, vectors: Any) -> Any:
        """Give the cycles of one tile; none for no pixels."""
        work = pixels * vectors
        is_far = self.terms * vectors * self.lanes * 4 > L1_BYTES
        loading = np.maximum((pixels + vectors) / LOADS, np.where(is_far, vectors * FROM_L2, 4))
        step = np.maximum(np.maximum(work / 2, loading), 4) + vectors * FETCH
        return np.where(work > 0, self.terms * self.seen * step + work * AROUND, 0)

    def evicting(self, height: Any, width: Any, vectors: Any) -> Any:
        """Give the cycles that one tile takes longer as its channels' planes lie in the same few places of L1."""
        if not self.places:
            return 0.0
        planes = vectors * self.lanes
        crowd = planes / self.places / WAYS
        per_line = LINE_BYTES // 4
        lines = np.where(width % per_line == 0, width / per_line, (width - 1) / per_line + 1)
        return np.where(crowd > 1, height * planes * lines * crowd * EVICTED, 0)

    def share(self, vectors: Any, height: Any, width: Any) -> Any:
        """Give the share of the multiply-add peak; the last tiles of rows and columns are as small as they need be."""
        rows, columns = self.positions
        blocks = np.ceil(self.filters / (vectors * self.lanes))
        total = 0.0
        for h, down in ((height, rows // height), (rows % height, 1)):
            for w, across in ((width, columns // width), (columns % width, 1)):
                total = total + down * across * (self.cycles(h * w, vectors) + self.evicting(h, w, vectors))
        least = rows * columns * self.filters / self.lanes * self.terms / 2
        shared = np.where(blocks % self.threads == 0, 1, tile.coverage(rows * self.images, height * self.threads))
        return least / (blocks * total) * shared


def _rows_seen(conv: Convolution) -> float:
    """Give the share of all pairs of a row of the result and a row of the window that meet in the image."""
    geometry, (rows, _), (taps, _) = conv.geometry, conv.positions, conv.taps
    height, top = conv.height, geometry.padding[0]
    places = (y * geometry.stride[0] + t * geometry.dilation[0] - top for y in range(rows) for t in range(taps))
    return max(1, sum(0 <= place < height for place in places)) / (rows * taps)


def _places(conv: Convolution) -> int:
    """Give the sets of L1 that one pixel of all channels falls in; 0 where these are neighbours, or L2 has them all."""
    rows, columns = conv.positions
    plane_bytes = 4 * rows * columns
    if not conv.is_nchw or plane_bytes * conv.filters * conv.groups <= L2_BYTES:
        return 0
    return WAY_BYTES // max(gcd(plane_bytes, WAY_BYTES), LINE_BYTES)


def _define(cfg: Knobs, conv: Convolution, cost: TileCost) -> tuple[str, ...]:
    """Define the knobs, by default the tile that costs least; give their names."""
    target, (rows, columns), lanes = get_target(), conv.positions, cost.lanes
    whole = -(-conv.filters // lanes)
    vectors = [v for v in (1, 2, 3, 4) if v <= whole and (conv.groups == 1 or conv.filters % (v * lanes) == 0)]
    heights = [h for h in (1, 2, 3, 4) if h <= rows]
    widths = [w for w in WIDTHS if w <= columns]
    fitting = [t for t in product(vectors, heights, widths) if tile.fits_registers(target, t[1] * t[2], t[0])]
    shares = cost.share(*np.array(fitting).T)
    best = fitting[int(np.argmax(shares))]
    for name, values, default in zip(TILE, (vectors, heights, widths), best, strict=True):
        cfg.define_knob(name, values, default=default)
    cfg.restrict(lambda v, h, w: tile.fits_registers(target, h.val * w.val, v.val), *TILE)
    least = DECENT * float(shares.max())
    cfg.restrict(lambda v, h, w: cost.share(v.val, h.val, w.val) >= least, *TILE)
    _define_reduction(cfg, conv, prod(best))
    cfg.define_knob(OUTER, [True, False], default=_rows_outermost(cost, best))
    copies = ["HCW", "CHW"] if conv.is_nchw else [COPIED]
    given = [GIVEN] if _padded(conv) is conv.image else []
    is_read = conv.taps == (1, 1) and not _is_aliased(conv)
    cfg.define_knob(IMAGE, [*given, *copies] if is_read else [*copies, *given])
    cfg.define_knob(PREFETCH, list(AHEAD), default=terms_ahead(cost.filters * conv.terms, prod(best)))
    return (*TILE, CHANNELS, UNROLL, OUTER, IMAGE, PREFETCH)


def _rows_outermost(cost: TileCost, chosen: tuple[int, int, int]) -> bool:
    """Tell whether threads best share rows; blocks of channels that they share evenly are cut for them as well."""
    (vectors, height, _), threads = chosen, cost.threads
    blocks = -(-cost.filters // (vectors * cost.lanes))
    if cost.images % threads == 0 or blocks % threads == 0:
        return True
    by_rows, by_blocks = (uneven(cost.positions[0], height, blocks, order, threads) for order in (True, False))
    return by_rows < by_blocks + UNEVEN - 1


def terms_ahead(weights: int, sums: int) -> int:
    """Give for how many terms ahead the caches are best asked for weights.

    weights  how many there are in all
    sums     vectors of them in a register tile
    """
    if weights * 4 > FAR_BYTES:
        return FAR
    return NEAR if weights * 4 > L2_BYTES and sums >= SPARE else NONE


def _define_reduction(cfg: Knobs, conv: Convolution, sums: int) -> None:
    """Define in which parts the channels are summed up, and how many products of `sums` vectors are written out."""
    taps = conv.taps[0] * conv.taps[1]
    parts = [c for c in (64, 128, 256, 512) if conv.channels % c == 0 and LONG <= c * taps < conv.terms]
    cfg.define_knob(CHANNELS, [conv.channels, *parts])
    unrolls = [u for u in (1, 2, 3, 4) if conv.channels % u == 0]
    cfg.define_knob(UNROLL, unrolls, default=1 if sums >= ENOUGH else unrolls[-1])
    cfg.restrict(lambda c, u: c.val % u.val == 0, CHANNELS, UNROLL)


def _declare(cfg: Knobs, request: ConvolutionRequest, conv: Convolution, lanes: int) -> Stages:
    """Give the convolution by way of packed weights and tiles of sums."""
    block = lanes * cfg[VECTORS].val
    filters, outputs = conv.filters * conv.groups, request.declare()
    blocks = -(-filters // block)
    kernel, result = request.kernel, outputs.dtype
    (kh, kw), (rows, columns) = conv.taps, conv.positions
    depth = cfg[CHANNELS].val

    def weight(b: Expr, outer: Expr, y: Expr, x: Expr, c: Expr, lane: Expr) -> Expr:
        f, channel = b * block + lane, outer * depth + c
        value = kernel[f, channel, y, x] if conv.is_nchw else kernel[y, x, channel, f]
        return value if filters % block == 0 else arith.if_then_else(f < filters, value, arith.cast(kernel.dtype, 0))

    packed = te.compute((blocks, conv.channels // depth, kh, kw, depth, block), weight, name="packed")
    image, geometry = _image(cfg, conv)
    ends = zip((conv.channels, kh, kw), ("rc", "ry", "rx"), strict=True)
    rc, ry, rx = (te.reduce_axis((0, n), name) for n, name in ends)

    def total(n: Expr, b: Expr, y: Expr, x: Expr, lane: Expr) -> Expr:
        first = 0 if conv.groups == 1 else b * block // conv.filters * conv.channels
        row, column = geometry.tap((y, x), (ry.var, rx.var))
        row = row - geometry.padding[0]
        inside = arith.logical_and(row >= 0, row < conv.height) if any(geometry.padding[::2]) else None
        value = image[conv.place(n, first + rc, row, column)].astype(result)
        value = value * packed[b, rc // depth, ry, rx, rc % depth, lane].astype(result)
        return te.sum(value, axis=[rc, ry, rx], where=inside)

    tiles = te.compute((conv.batch, blocks, rows, columns, block), total, name="tiles")

    def element(*i: Expr) -> Expr:
        n, f, y, x = i if conv.is_nchw else (i[0], i[3], i[1], i[2])
        return tiles[n, f // block, y, x, f % block]

    turned, out = turning.declare(request, "conv2d", outputs, element)
    return Stages(None if image is conv.image else image, packed, tiles, turned, out)


def _padded(conv: Convolution) -> Tensor:
    """Give the image with its padding; of windows of several pixels, without that above and below."""
    _, left, _, right = conv.geometry.padding
    return conv.padded() if conv.taps == (1, 1) else conv.padded((0, left, 0, right))


def _image(cfg: Knobs, conv: Convolution) -> tuple[Tensor, Window]:
    """Give what is read, the image or a copy of all that is needed of it, and how windows slide over that."""
    padded, geometry = _padded(conv), conv.geometry
    if cfg[IMAGE].val == GIVEN or (padded is not conv.image and conv.taps != (1, 1)):
        return padded, geometry
    if conv.taps != (1, 1):
        return te.compute(padded.shape, lambda *i: padded[i], name="copied"), geometry

    def pixel(*i: Expr) -> Expr:
        n, c, y, x = i if conv.is_nchw else (i[0], i[3], i[1], i[2])
        zero = arith.as_expr(0)
        return padded[conv.place(n, c, *geometry.tap((y, x), (zero, zero)))]

    shape = conv.place(conv.batch, conv.channels * conv.groups, *conv.positions)
    needed = te.compute(shape, pixel, name="needed")
    return needed, replace(geometry, stride=(1, 1), padding=(0, 0, 0, 0))


def _schedule(cfg: Knobs, s: Schedule, stages: Stages, conv: Convolution, lanes: int, constant: bool) -> None:
    out, tiles = stages.out, stages.tiles
    n, f, y, x = out.op.axis if conv.is_nchw else (out.op.axis[0], out.op.axis[3], *out.op.axis[1:3])
    stage = s[out]
    in_parts = cfg[CHANNELS].val < conv.channels
    blocks, inside = stage.split(f, factor=lanes * cfg[VECTORS].val)
    vectors, lane = stage.split(inside, factor=lanes)
    bands, y = stage.split(y, factor=_band(cfg, conv, lanes))
    rows, row = stage.split(y, factor=cfg[HEIGHT].val)
    columns, column = stage.split(x, factor=cfg[WIDTH].val)
    shares, blocks = stage.split(blocks, nparts=_shares(cfg, conv, lanes))
    outer = [n, shares, bands, blocks] if cfg[OUTER].val else [n, shares, blocks, bands]
    if stages.turned is None:
        stage.reorder(*outer, rows, columns, vectors, row, column, lane)
        stage.vectorize(lane)
        tile.unroll_all(s, out, [vectors, row, column])
    else:
        stage.reorder(*outer, rows, columns, vectors, lane, row, column)
        stage.vectorize(column)
        tile.unroll_all(s, out, [vectors, lane, row])
        turning.schedule(s, stages.turned, out, columns, lanes, lanes * cfg[VECTORS].val)
    parallel = tile.parallel_outer(s, out, outer)
    s[tiles].compute_at(stage, parallel if in_parts else columns)
    s[tiles].set_scope("local")
    _accumulate(cfg, s, stages, lanes, in_parts)
    _pack(s, stages.packed, constant, lanes)
    if stages.copied is not None:
        _copy(cfg, s, stages.copied, conv, lanes)


def _shares(cfg: Knobs, conv: Convolution, lanes: int) -> int:
    """Give the parts that the blocks of channels are cut in: one for each thread where rows are not shared evenly."""
    threads, blocks = get_threads(), -(-conv.filters * conv.groups // (lanes * cfg[VECTORS].val))
    is_even = not cfg[OUTER].val or uneven(conv.positions[0], cfg[HEIGHT].val, blocks, True, threads) < UNEVEN
    return 1 if is_even or blocks % threads else threads


def uneven(rows: int, height: int, blocks: int, rows_outermost: bool, threads: int) -> float:
    """Give what the busiest thread has to do, relative to equal shares, of bands of rows by blocks of channels.

    height  rows of a band; the last one may have fewer
    """
    bands = [min(height, rows - first) for first in range(0, rows, height)]
    tasks = [band for band in bands for _ in range(blocks)] if rows_outermost else bands * blocks
    each, over = divmod(len(tasks), threads)
    ends = [part * each + min(part, over) for part in range(threads + 1)]
    most = max(sum(tasks[begin:end]) for begin, end in pairwise(ends))
    return most * threads / sum(tasks)


def _band(cfg: Knobs, conv: Convolution, lanes: int) -> int:
    """Give the rows whose sums are kept while another part of the channels is added to them."""
    height, (rows, columns) = cfg[HEIGHT].val, conv.positions
    if cfg[CHANNELS].val == conv.channels:
        return height
    most = BAND_BYTES // (4 * columns * lanes * cfg[VECTORS].val)
    return min(rows, max(height, most // height * height))


def _accumulate(cfg: Knobs, s: Schedule, stages: Stages, lanes: int, in_parts: bool) -> None:
    tiles, stage = stages.tiles, s[stages.tiles]
    n, b, y, x, inside = tiles.op.axis
    rc, ry, rx = tiles.op.reduce_axis
    vectors, lane = stage.split(inside, factor=lanes)
    parts, within = stage.split(rc, factor=cfg[CHANNELS].val)
    between, unrolled = stage.split(within, factor=cfg[UNROLL].val)
    loops = []
    if in_parts:
        yo, y = stage.split(y, factor=cfg[HEIGHT].val)
        xo, x = stage.split(x, factor=cfg[WIDTH].val)
        loops = [yo, xo]
    stage.reorder(n, b, parts, *loops, ry, rx, between, unrolled, y, x, vectors, lane)
    stage.vectorize(lane)
    tile.unroll_all(s, tiles, [unrolled, y, x, vectors])
    if cfg[PREFETCH].val:
        stage.prefetch(stages.packed, between, max(1, cfg[PREFETCH].val // cfg[UNROLL].val))


def _pack(s: Schedule, packed: Tensor, constant: bool, lanes: int) -> None:
    stage = s[packed]
    if constant:
        stage.precompute()
    _, lane = stage.split(packed.op.axis[-1], factor=lanes)
    stage.vectorize(lane)
    stage.parallel(stage.fuse(*packed.op.axis[:2]))


def _copy(cfg: Knobs, s: Schedule, copied: Tensor, conv: Convolution, lanes: int) -> None:
    """Copy the image with its padding; "HCW": all channels of a row side by side."""
    if cfg[IMAGE].val == "HCW":
        s[copied].transform_layout(lambda n, c, y, x: [n, y, c, x])
    if _is_aliased(conv):
        s[copied].storage_align(copied.op.axis[2], WAY_BYTES // 4, LINE_BYTES // 4)
    padded = tile.padded_input(copied)
    if padded is not None:
        s[padded].compute_inline()
    tile.copy_rows(s, copied, lanes, conv.is_nchw)


def _is_aliased(conv: Convolution) -> bool:
    """Tell whether neighbouring pixels of an image in NHWC fall in one set of the L1 cache.

    One channel of a tile's pixels is more than it holds: read where it lies, every line comes from L2 for each
    of its elements.
    """
    return not conv.is_nchw and conv.channels * conv.groups * conv.geometry.stride[1] * 4 % WAY_BYTES == 0
