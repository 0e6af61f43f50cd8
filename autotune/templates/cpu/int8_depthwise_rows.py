"""Depthwise convolutions of bytes in NCHW on processors: lanes are pixels, which take four taps of a row each.

    for n, c in parallel(images, channels):
        copied   the channel, with padding, as unsigned bytes
        for tile in tiles of pixels:
            for taps in groups of four, ry in window:                     # sums in registers
                sums[0 .. 15] += dot4(copied[y + ry, x + taps + 0 .. 18], packed[ry, taps])
            out[tile] = epilogue(sums + offset)

The windows of 16 lanes are 19 bytes, 34 with stride 2, which are loaded once and moved to their lanes.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

from .... import te
from ....ir.expr import Expr
from ....ir.target import Target
from ....schedule.schedule import Schedule, create_schedule
from ....te import operators
from ....te.operators.intrinsics import TAPS
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target
from .. import register_tile as tile
from .algorithm import Plan
from .int8 import BYTES, offsets
from .int8_depthwise import (
    MOST_DOTS,
    DepthwiseRequest,
    Stages,
    fits_registers,
    groups_of,
    share_of_peak,
    tile_instructions,
)

TILE = ROWS, VECTORS = "dw8_rows", "dw8_vectors"  # knobs: the register tile
MOST_LOCAL = 1 << 15  # bytes of a copied channel on the stack
WINDOWS = 2.0  # instructions for a vector of windows: its bytes are loaded, and moved


def plan(cfg: Knobs, request: DepthwiseRequest) -> Plan:
    """Give the plan of a convolution in NCHW."""
    target, lanes = get_target(), tile.lanes_of(get_target())
    share = partial(_share, request, target)
    _define(cfg, request, target)

    def scheduled() -> tuple[Schedule, Tensor]:
        stages = _declare(request, lanes)
        s = create_schedule(stages.out.op)
        _schedule(cfg, s, stages, request, lanes)
        return s, stages.out

    return Plan("int8", TILE, lambda rows, vectors: share(rows.val, vectors.val), TILE, scheduled)


def _windows(request: DepthwiseRequest, rows: Any, vectors: Any) -> Any:
    """Give the vectors of windows that a tile takes of one group of four columns of taps."""
    (dy, _), (sy, _) = request.conv.geometry.dilation, request.conv.geometry.stride
    kh = request.conv.taps[0]
    return vectors * (kh * rows if sy % dy and dy > 1 else sy * (rows - 1) + (kh - 1) * dy + 1)


def _share(request: DepthwiseRequest, target: Target, rows: Any, vectors: Any) -> Any:
    conv, lanes = request.conv, tile.lanes_of(target)
    groups, (height, width) = groups_of(request.reach[1]), conv.positions
    total = 0.0
    for r, down in ((rows, height // rows), (height % rows, 1)):
        dots, windows = r * vectors * conv.taps[0] * groups, _windows(request, r, vectors) * groups
        total = total + down * tile_instructions(target, r * vectors, dots, windows * WINDOWS)
    across = -(-width // lanes) / vectors
    return share_of_peak(request, lanes, conv.batch * conv.groups * across * total)


def _define(cfg: Knobs, request: DepthwiseRequest, target: Target) -> None:
    conv, lanes = request.conv, tile.lanes_of(target)
    groups, whole = groups_of(request.reach[1]), -(-conv.positions[1] // lanes)

    def fits(rows: int, vectors: int) -> bool:
        few = rows * vectors * conv.taps[0] * groups <= MOST_DOTS
        return (few and fits_registers(target, rows * vectors, _windows(request, rows, vectors))) or rows * vectors == 1

    rows = [r for r in (1, 2, 3, 4, 5, 6, 7, 8, 14) if r <= conv.positions[0]]
    vectors = [v for v in (1, 2, 3, 4, 7) if whole % v == 0]
    best = max((t for t in product(rows, vectors) if fits(*t)), key=lambda t: float(_share(request, target, *t)))
    for name, values, default in zip(TILE, (rows, vectors), best, strict=True):
        cfg.define_knob(name, values, default=default)
    cfg.restrict(lambda r, v: fits(r.val, v.val), *TILE)


def _row(columns: int, step: int, groups: int, lanes: int) -> int:
    """Give the length of a copied row: whole registers, so that what is loaded lies within what was stored at once."""
    needed, register = (columns - 1) * step + groups * TAPS, lanes * TAPS
    return -(-needed // register) * register


def _declare(request: DepthwiseRequest, lanes: int) -> Stages:
    """Give the convolution by way of rows of four bytes.

    copied  (N, C, H, W), as high and wide as windows reach
    packed  (C / T, KH, KW / 4, T, 4)
    sums    (N, C, OH, OW), rows of whole vectors
    out     (N, C, OH, OW)
    """
    conv = request.conv
    (kh, _), (height, width), groups = conv.taps, conv.positions, groups_of(request.reach[1])
    (sy, sx), (dy, _) = conv.geometry.stride, conv.geometry.dilation
    whole = -(-width // lanes) * lanes
    high, wide = (height - 1) * sy + request.reach[0], _row(whole, sx, groups, lanes)
    copied = te.compute((conv.batch, conv.groups, high, wide), request.pixel, name="copied")

    def weight(b: Expr, row: Expr, group: Expr, lane: Expr, r: Expr) -> Expr:
        return request.weight(b * lanes + lane, row * dy, group * TAPS + r)

    packed = te.compute((-(-conv.groups // lanes), kh, groups, lanes, TAPS), weight, name="packed")
    ends = zip((kh, groups, TAPS), ("ry", "group", "four"), strict=True)
    ry, group, four = (te.reduce_axis((0, n), name) for n, name in ends)

    def total(n: Expr, c: Expr, y: Expr, x: Expr) -> Expr:
        value = copied[n, c, y * sy + ry * dy, x * sx + group * TAPS + four].astype("int32")
        return te.sum(value * packed[c // lanes, ry, group, c % lanes, four].astype("int32"), axis=[ry, group, four])

    sums = te.compute((conv.batch, conv.groups, height, whole), total, name="sums")
    added, epilogue = offsets(BYTES, packed, request.excess, request.epilogue.bias), request.epilogue.without_bias

    def element(*at: Expr) -> Expr:
        c, value = at[1], sums[at]
        return epilogue.element(value if added is None else value + added.total[c // lanes, c % lanes], at, c)

    shape = (conv.batch, conv.groups, height, width)
    return Stages(copied, packed, added, sums, te.compute(shape, element, name="depthwise"))


def _schedule(cfg: Knobs, s: Schedule, stages: Stages, request: DepthwiseRequest, lanes: int) -> None:
    out, sums, stage = stages.out, stages.sums, s[stages.out]
    n, c, y, x = out.op.axis
    vectors = cfg[VECTORS].val
    rows, row = stage.split(y, factor=cfg[ROWS].val)
    tiles, inside = stage.split(x, factor=vectors * lanes)
    over, lane = stage.split(inside, factor=lanes)
    stage.reorder(n, c, rows, tiles, row, over, lane)
    stage.vectorize(lane)
    tile.unroll_all(s, out, [row, over])
    at = tile.parallel_outer(s, out, [n, c])
    s[sums].compute_at(stage, tiles)
    s[sums].set_scope("local")
    _accumulate(s, sums, lanes, request.conv.geometry.stride[1])
    copying = s[stages.copied]
    copying.compute_at(stage, at)
    *_, high, wide = (tile.size(a) for a in stages.copied.op.axis)
    if high * wide <= MOST_LOCAL:
        copying.set_scope("local")
    copying.align_bounds(stages.copied.op.axis[3], wide)
    copying.vectorize(stages.copied.op.axis[3])
    stages.prepare(s, request.constant)


def _accumulate(s: Schedule, sums: Tensor, lanes: int, step: int) -> None:
    stage = s[sums]
    n, c, y, x = sums.op.axis
    ry, group, four = sums.op.reduce_axis
    over, lane = stage.split(x, factor=lanes)
    stage.reorder(n, c, group, ry, y, over, lane, four)
    tile.unroll_all(s, sums, [group, ry, y, over])
    stage.align_bounds(x, lanes)
    stage.tensorize(lane, operators.dot4_sliding_u8s8_i32(lanes, step))
