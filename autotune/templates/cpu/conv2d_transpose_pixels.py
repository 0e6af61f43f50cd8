"""Transposed convolutions to few channels on processors: lanes along the columns that a phase of the result sees.

    for band of places, rows' phase ay:
        for block of channels, columns:             registers: F channels by R rows by phases ax by V vectors of columns
            for c in channels; y, x in taps of a phase:
                sums[f, r, ax, v] += packed[ay, f, c, y, x, ax] * image[c, row + r - y, column + v - x]
            out[f, stride * row + ay, columns] = the sums of all ax, side by side

No lane is left to channels that there are not. The window is a multiple of the stride.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np

from .... import te
from ....ir import arith
from ....ir.expr import Expr
from ....schedule.schedule import Schedule, create_schedule
from ....te.operators.pad import pad
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target, get_threads
from .. import register_tile as tile
from .algorithm import Plan
from .transposed_request import Share, TransposedRequest

TILE = CHANNELS, ROWS, VECTORS = "pixels_channels", "pixels_rows", "pixels_vectors"  # knobs: the register tile
LOADS = 1.5  # a cycle, of which many lie across two lines
JOINED = 3.0  # cycles for a vector of the result: its sums leave registers and are put side by side
DECENT = 0.6  # of the best tile's share that others must promise


def plan(cfg: Knobs, request: TransposedRequest) -> Plan | None:
    """Give the plan of a convolution of 4-byte elements in NCHW to fewer channels than two vectors have."""
    lanes, conv, stride = tile.lanes_of(get_target()), request.numbers(), request.geometry.stride
    if request.image.dtype.bits != 32 or conv.groups > 1 or conv.filters >= 2 * lanes or not request.is_nchw:
        return None
    if any(n % s for n, s in zip(request.geometry.taps, stride, strict=True)):
        return None
    if conv.out[1] < stride[1] * lanes // 2:
        return None
    share = _share(request, lanes)
    if not _define(cfg, request, share, lanes):
        return None

    def made() -> tuple[Schedule, Tensor]:
        return _scheduled(cfg, request, lanes)

    return Plan("pixels", TILE, lambda f, r, v: share(f.val, r.val, v.val), TILE, made)


def _places(request: TransposedRequest) -> tuple[int, int]:
    """Give the rows and columns of one phase of the result."""
    rows, columns = (-(-n // s) for n, s in zip(request.numbers().out, request.geometry.stride, strict=True))
    return rows, columns


def _share(request: TransposedRequest, lanes: int) -> Share:
    """Give the share of the multiply-add peak that channels, rows and vectors of a register tile promise."""
    conv, (down, across), threads = request.numbers(), request.geometry.stride, get_threads()
    (height, width), terms = _places(request), conv.channels * prod(conv.taps)

    def share(channels: Any, rows: Any, vectors: Any) -> Any:
        sums, loads = channels * rows * vectors * across, (channels + rows * vectors) * across
        step = np.maximum(np.maximum(sums / 2, loads / LOADS), 4)
        bands = np.ceil(np.ceil(height / rows) / threads) * threads
        tiles = bands * down * np.ceil(conv.filters / channels) * np.ceil(width / (vectors * lanes))
        least = conv.filters * height * width * down * across / lanes * terms / 2
        return least / (tiles * (terms * step + sums * JOINED))

    return share


def _define(cfg: Knobs, request: TransposedRequest, share: Share, lanes: int) -> bool:
    """Define the knobs, by default the tile of the greatest share; tell whether any tile fits the registers."""
    target, across, (height, width) = get_target(), request.geometry.stride[1], _places(request)
    columns = (
        [f for f in range(1, 9) if f <= request.numbers().filters],
        [r for r in (1, 2, 3, 4) if r <= height],
        [v for v in (1, 2, 3, 4) if (v - 1) * lanes < width],
    )

    def fits(channels: Any, rows: Any, vectors: Any) -> Any:
        return tile.fits_registers(target, channels * rows * across, vectors)

    fitting = [c for c in product(*columns) if fits(*c)]
    if not fitting:
        return False
    best = max(fitting, key=lambda c: float(share(*c)))
    for name, values, default in zip(TILE, columns, best, strict=True):
        cfg.define_knob(name, values, default=default)
    cfg.restrict(lambda f, r, v: fits(f.val, r.val, v.val), *TILE)
    least = DECENT * float(share(*best))
    cfg.restrict(lambda f, r, v: share(f.val, r.val, v.val) >= least, *TILE)
    return True


def _scheduled(cfg: Knobs, request: TransposedRequest, lanes: int) -> tuple[Schedule, Tensor]:
    geometry, conv = request.geometry, request.numbers()
    (down, across), (top, left) = geometry.stride, geometry.padding[:2]
    (ty, tx), block, span = conv.taps, cfg[CHANNELS].val, lanes * cfg[VECTORS].val
    blocks, rows = -(-conv.filters // block), -(-conv.out[0] // down)
    rows = -(-rows // cfg[ROWS].val) * cfg[ROWS].val
    width = -(-conv.out[1] // (across * span)) * span
    before = max(0, ty - 1 - top // down), max(0, tx - 1 - left // across)
    last = rows - 1 + (down - 1 + top) // down, width - 1 + (across - 1 + left) // across
    after = [max(0, at - (n - 1)) for at, n in zip(last, conv.image, strict=True)]
    image = pad(request.image, (0, 0, *before), (0, 0, *after), name="padded")

    def weight(ay: Expr, b: Expr, c: Expr, y: Expr, x: Expr, f: Expr, ax: Expr) -> Expr:
        at = b * block + f
        value = request.kernel[c, at, y * down + ay, x * across + ax]
        none = arith.cast(request.kernel.dtype, 0)
        return value if conv.filters % block == 0 else arith.if_then_else(at < conv.filters, value, none)

    packed = te.compute((down, blocks, conv.channels, ty, tx, block, across), weight, name="packed")
    rc, ry, rx = (te.reduce_axis((0, n), name) for n, name in ((conv.channels, "rc"), (ty, "ry"), (tx, "rx")))

    def lowest(phase: Expr, stride: int, low: int) -> Expr:
        return ((phase - low) % stride + low) // stride

    def total(n: Expr, b: Expr, ay: Expr, y: Expr, f: Expr, ax: Expr, x: Expr) -> Expr:
        row = y + lowest(ay, down, top) + before[0] - ry
        column = x + lowest(ax, across, left) + before[1] - rx
        return te.sum(image[n, rc, row, column] * packed[ay, b, rc, ry, rx, f, ax], axis=[rc, ry, rx])

    tiles = te.compute((conv.batch, blocks, down, rows, block, across, width), total, name="tiles")

    def element(n: Expr, f: Expr, y: Expr, x: Expr) -> Expr:
        at = (f // block, (y + top) % down, y // down, f % block, (x + left) % across, x // across)
        return tiles[(n, *at)]

    names = [a.name for a in request.out.op.axis]
    out = te.compute(request.out.shape, element, name="conv2d_transpose", varargs_names=names)
    s = create_schedule(out.op)
    _schedule(cfg, s, request, (packed, tiles, out), lanes)
    request.copy(s, image, lanes)
    return s, out


def _schedule(
    cfg: Knobs, s: Schedule, request: TransposedRequest, stages: tuple[Tensor, Tensor, Tensor], lanes: int
) -> None:
    packed, tiles, out = stages
    (down, across), stage = request.geometry.stride, s[out]
    n, f, y, x = out.op.axis
    b, f = stage.split(f, factor=cfg[CHANNELS].val)
    bands, y = stage.split(y, factor=down * cfg[ROWS].val)
    y, phase = stage.split(y, factor=down)
    columns, x = stage.split(x, factor=across * lanes * cfg[VECTORS].val)
    vectors, lane = stage.split(x, factor=lanes)
    stage.reorder(n, bands, phase, b, columns, f, y, vectors, lane)
    stage.vectorize(lane)
    tile.unroll_all(s, out, [f, y, vectors])
    tile.parallel_outer(s, out, [n, bands])
    s[tiles].compute_at(stage, columns)
    s[tiles].set_scope("local")
    sums = s.cache_write(tiles, "local")
    assert isinstance(sums, Tensor)
    for made in (tiles, sums):
        *outer, column = made.op.axis
        loops, lane = tile.split_lanes(s, made, column, lanes)
        if made is sums:
            rc, ry, rx = sums.op.reduce_axis
            s[sums].reorder(*outer[:3], rc, ry, rx, *outer[3:], *loops, lane)
        tile.unroll_all(s, made, [*outer[3:], *loops])
    s[sums].compute_at(s[tiles], tiles.op.axis[2])
    if request.constant_weights:
        s[packed].precompute()
    tile.parallel_outer(s, packed, packed.op.axis[:2])
