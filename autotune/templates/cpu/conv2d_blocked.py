"""Convolutions on processors with lanes along output channels, over weights packed as the register tile reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .... import te
from ....ir import arith
from ....ir.expr import Expr
from ....schedule.schedule import Schedule, create_schedule
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target
from .. import register_tile as tile
from ..convolution import Convolution
from .algorithm import Plan
from .request import ConvolutionRequest

VECTORS, HEIGHT, WIDTH = "blocked_vectors", "blocked_height", "blocked_width"  # knobs: the register tile
CHANNELS, UNROLL, IMAGE = "blocked_channels", "blocked_unroll", "blocked_image"
OUTER = "blocked_rows_outermost"


BAND_BYTES = 24 << 10  # of sums


@dataclass(frozen=True, slots=True)
class Stages:
    """What is computed, in order.

    padded  (N, C, H, W) or (N, H, W, C), None for an image without padding
    packed  (filters / T, KH, C / groups, KW, T) or (filters / T, C / groups, KH, KW, T)
    tiles   (N, filters / T, OH, OW, T), the sums
    out     the result
    """

    padded: Tensor | None
    packed: Tensor
    tiles: Tensor
    out: Tensor


def plan(cfg: Knobs, request: ConvolutionRequest) -> Plan | None:
    """Give the plan of a convolution in NCHW or NHWC."""
    conv = request.numbers()
    if conv is None or request.image.dtype.bits != 32:
        return None
    lanes = tile.lanes_of(get_target())
    if conv.groups > 1 and conv.filters % lanes:
        return None
    knobs = _define(cfg, conv, lanes)

    def scheduled() -> tuple[Schedule, Tensor]:
        stages = _declare(cfg, request, conv, lanes)
        s = create_schedule(stages.out.op)
        _schedule(cfg, s, stages, conv, lanes, request.constant_weights)
        return s, stages.out

    return Plan("blocked", knobs, _estimate(conv), (VECTORS, HEIGHT, WIDTH), scheduled)


def _define(cfg: Knobs, conv: Convolution, lanes: int) -> tuple[str, ...]:
    target = get_target()
    whole = -(-conv.filters // lanes)
    vectors = [v for v in (2, 1, 3, 4, 6) if v <= whole and (conv.groups == 1 or conv.filters % (v * lanes) == 0)]
    rows, columns = conv.positions
    cfg.define_knob(VECTORS, vectors)
    wide = [c[-1] for c in tile.row_candidates(columns)]
    cfg.define_knob(WIDTH, wide, default=next((w for w in (14, 7, 8, 4) if w in wide), wide[0]))
    cfg.define_knob(HEIGHT, [h for h in (1, 2, 3, 4) if h <= rows])
    blocks = [c for c in (conv.channels, 128, 64, 32, 16) if conv.channels % c == 0]
    cfg.define_knob(CHANNELS, sorted(set(blocks)), default=blocks[0])
    cfg.define_knob(UNROLL, [u for u in (1, 2, 3, 4, 8) if conv.channels % u == 0])
    cfg.restrict(lambda c, u: c.val % u.val == 0, CHANNELS, UNROLL)
    cfg.define_knob(OUTER, [False, True])
    cfg.restrict(lambda v, h, w: tile.fits_registers(target, h.val * w.val, v.val), VECTORS, HEIGHT, WIDTH)
    names = (VECTORS, WIDTH, HEIGHT, CHANNELS, UNROLL, OUTER)
    if not conv.is_nchw or not any(conv.geometry.padding):
        return names
    cfg.define_knob(IMAGE, ["HCW", "CHW"])
    return (*names, IMAGE)


def _estimate(conv: Convolution) -> Callable[[Any, Any, Any], Any]:
    rows, columns = conv.positions

    def share(v: Any, h: Any, w: Any) -> Any:
        covered = tile.coverage(columns, w.val) * tile.coverage(rows, h.val)
        return tile.estimate(h.val * w.val, v.val) * covered

    return share


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
    padded = conv.padded()
    ry, rx, rc = (
        te.reduce_axis((0, n), name) for n, name in zip((kh, kw, conv.channels), ("ry", "rx", "rc"), strict=True)
    )

    def total(n: Expr, b: Expr, y: Expr, x: Expr, lane: Expr) -> Expr:
        first = 0 if conv.groups == 1 else b * block // conv.filters * conv.channels
        h, w = conv.geometry.tap((y, x), (ry.var, rx.var))
        value = padded[conv.place(n, first + rc, h, w)]
        return te.sum(
            value.astype(result) * packed[b, rc // depth, ry, rx, rc % depth, lane].astype(result), axis=[rc, ry, rx]
        )

    tiles = te.compute((conv.batch, blocks, rows, columns, block), total, name="tiles")

    def element(*i: Expr) -> Expr:
        n, f, y, x = i if conv.is_nchw else (i[0], i[3], i[1], i[2])
        return tiles[n, f // block, y, x, f % block]

    out = te.compute(outputs.shape, element, name="conv2d", varargs_names=[a.name for a in outputs.op.axis])
    return Stages(None if padded is conv.image else padded, packed, tiles, out)


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
    outer = [n, bands, blocks] if cfg[OUTER].val else [n, blocks, bands]
    stage.reorder(*outer, rows, columns, vectors, row, column, lane)
    stage.vectorize(lane)
    tile.unroll_all(s, out, [vectors, row, column])
    parallel = tile.parallel_outer(s, out, outer)
    s[tiles].compute_at(stage, parallel if in_parts else columns)
    s[tiles].set_scope("local")
    _accumulate(cfg, s, tiles, lanes, in_parts)
    _pack(s, stages.packed, constant, lanes)
    if stages.padded is not None:
        _pad(cfg, s, stages.padded, conv, lanes)


def _band(cfg: Knobs, conv: Convolution, lanes: int) -> int:
    """Give the rows whose sums are kept while another part of the channels is added to them."""
    height, (rows, columns) = cfg[HEIGHT].val, conv.positions
    if cfg[CHANNELS].val == conv.channels:
        return height
    most = BAND_BYTES // (4 * columns * lanes * cfg[VECTORS].val)
    return min(rows, max(height, most // height * height))


def _accumulate(cfg: Knobs, s: Schedule, tiles: Tensor, lanes: int, in_parts: bool) -> None:
    stage = s[tiles]
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


def _pack(s: Schedule, packed: Tensor, constant: bool, lanes: int) -> None:
    stage = s[packed]
    if constant:
        stage.precompute()
    _, lane = stage.split(packed.op.axis[-1], factor=lanes)
    stage.vectorize(lane)
    stage.parallel(stage.fuse(*packed.op.axis[:2]))


def _pad(cfg: Knobs, s: Schedule, padded: Tensor, conv: Convolution, lanes: int) -> None:
    """Copy the image with its padding, all channels of a row side by side."""
    if conv.is_nchw and cfg[IMAGE].val == "HCW":
        s[padded].transform_layout(lambda n, c, y, x: [n, y, c, x])
    tile.copy_stage(s, padded, lanes, parallel=True)
