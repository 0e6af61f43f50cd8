"""Depthwise convolutions of bytes in NHWC on processors: lanes are channels, which take four taps of a column each.

    for n, rows in parallel(images, groups of rows of the result), block of channels:     # small images: blocks, rows
        copied   the image's rows, four to a group, four bytes of a column and channel side by side
        for tile in tiles of columns:
            for group in groups of four rows, rx in window:               # sums in registers
                sums[row, x, 0 .. 15] += dot4(copied[group, x + rx, 0 .. 15], packed[row, rx, group, 0 .. 15])
            out[tile] = epilogue(sums + offsets)

A group of four rows makes more than one row of the result where windows are lower than it: two rows of 3x3 windows with
stride 1, whose weights are (w0, w1, w2, 0) for one and (0, w0, w1, w2) for the other.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np

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

TILE = COLUMNS, VECTORS = "dw8_columns", "dw8_vectors"  # knobs: the register tile, and vectors of a block of channels
MOST_NEAR = 12 << 10  # bytes of a copied block, beyond which it drives the image from the first cache
AROUND_BLOCK = 60.0  # instructions around a block of channels
SHORT = 4  # columns of a tile below which one that leaves a rest is better
MANY = 16  # groups of rows that threads share; where there are less, and less than blocks of channels, these
COPIED = 5.0  # instructions that put four rows side by side


def plan(cfg: Knobs, request: DepthwiseRequest) -> Plan:
    """Give the plan of a convolution in NHWC."""
    target, lanes = get_target(), tile.lanes_of(get_target())
    share = partial(_share, request, target)
    _define(cfg, request, target)

    def scheduled() -> tuple[Schedule, Tensor]:
        stages = _declare(request, lanes * cfg[VECTORS].val)
        s = create_schedule(stages.out.op)
        _schedule(cfg, s, stages, request, lanes)
        return s, stages.out

    return Plan("int8", TILE, lambda columns, vectors: share(columns.val, vectors.val), TILE, scheduled)


def _rows(request: DepthwiseRequest) -> tuple[int, int]:
    """Give the rows of the result that groups of four rows make, and the groups that these are."""
    groups = groups_of(request.reach[0])
    more = (groups * TAPS - request.reach[0]) // request.conv.geometry.stride[0]
    return min(more + 1, request.conv.positions[0]), groups


def _share(request: DepthwiseRequest, target: Target, columns: Any, vectors: Any) -> Any:
    conv, lanes, (rows, groups) = request.conv, tile.lanes_of(target), _rows(request)
    (height, width), wide = conv.positions, _wide(request)
    total = 0.0
    for x, across in ((columns, width // columns), (width % columns, 1)):
        dots = rows * x * conv.taps[1] * groups
        total = total + across * tile_instructions(target, rows * x, dots, x * conv.taps[1] * groups)
    blocks = -(-conv.groups // (lanes * vectors)) * vectors
    far = wide * groups * vectors * lanes * TAPS > MOST_NEAR
    each = total + wide * groups * np.where(far, 2 * COPIED, COPIED) + AROUND_BLOCK / vectors
    return share_of_peak(request, lanes, conv.batch * -(-height // rows) * blocks * each)


def _wide(request: DepthwiseRequest) -> int:
    """Give the columns of the image that windows reach."""
    return (request.conv.positions[1] - 1) * request.conv.geometry.stride[1] + request.reach[1]


def _define(cfg: Knobs, request: DepthwiseRequest, target: Target) -> None:
    conv, lanes, (rows, groups) = request.conv, tile.lanes_of(target), _rows(request)
    whole = -(-conv.groups // lanes)

    def fits(columns: int) -> bool:
        few = rows * columns * conv.taps[1] * groups <= MOST_DOTS
        return (few and fits_registers(target, rows * columns, 2 * rows)) or columns == 1

    columns = [w for _, w in tile.row_candidates(conv.positions[1], 16) if fits(w)]
    columns = [w for w in columns if conv.positions[1] % w == 0 and w >= SHORT] or columns
    vectors = [v for v in (1, 2, 3, 4) if whole % v == 0]
    best = max(product(columns, vectors), key=lambda t: float(_share(request, target, *t)))
    for name, values, default in zip(TILE, (columns, vectors), best, strict=True):
        cfg.define_knob(name, values, default=default)


def _declare(request: DepthwiseRequest, block: int) -> Stages:
    """Give the convolution by way of columns of four bytes.

    G rows of the result are made of the same groups of four rows, R of these:
    copied  (N, OH / G, R, W, C, 4), as wide as windows reach, whole blocks of channels
    packed  (C / T, G, KW, R, T, 4)
    sums    (N, C / T, OH / G, G, OW, T)
    out     (N, OH, OW, C)
    """
    conv, (rows, groups) = request.conv, _rows(request)
    (height, width), kw, (sy, sx) = conv.positions, conv.taps[1], conv.geometry.stride
    blocks, together, dx = -(-conv.groups // block), -(-height // rows), conv.geometry.dilation[1]

    def column(n: Expr, up: Expr, group: Expr, x: Expr, c: Expr, r: Expr) -> Expr:
        return request.pixel(n, c, up * (rows * sy) + group * TAPS + r, x)

    copied = te.compute((conv.batch, together, groups, _wide(request), blocks * block, TAPS), column, name="copied")

    def weight(b: Expr, row: Expr, rx: Expr, group: Expr, lane: Expr, r: Expr) -> Expr:
        return request.weight(b * block + lane, group * TAPS + r - row * sy, rx * dx)

    packed = te.compute((blocks, rows, kw, groups, block, TAPS), weight, name="packed")
    ends = zip((kw, groups, TAPS), ("rx", "group", "four"), strict=True)
    rx, group, four = (te.reduce_axis((0, n), name) for n, name in ends)

    def total(n: Expr, b: Expr, up: Expr, row: Expr, x: Expr, lane: Expr) -> Expr:
        value = copied[n, up, group, x * sx + rx * dx, b * block + lane, four].astype("int32")
        return te.sum(value * packed[b, row, rx, group, lane, four].astype("int32"), axis=[rx, group, four])

    sums = te.compute((conv.batch, blocks, together, rows, width, block), total, name="sums")
    added = offsets(BYTES, packed, request.excess, request.epilogue.bias, copies=True)
    epilogue = request.epilogue.without_bias

    def element(*at: Expr) -> Expr:
        n, y, x, c = at
        value = sums[n, c // block, y // rows, y % rows, x, c % block]
        return epilogue.element(value if added is None else value + added.total[c // block, c % block], at, c)

    out = te.compute((conv.batch, height, width, conv.groups), element, name="depthwise")
    return Stages(copied, packed, added, sums, out)


def _schedule(cfg: Knobs, s: Schedule, stages: Stages, request: DepthwiseRequest, lanes: int) -> None:
    out, sums, stage = stages.out, stages.sums, s[stages.out]
    n, y, x, c = out.op.axis
    together, row = stage.split(y, factor=_rows(request)[0])
    tiles, column = stage.split(x, factor=cfg[COLUMNS].val)
    blocks, inside = stage.split(c, factor=lanes * cfg[VECTORS].val)
    over, lane = stage.split(inside, factor=lanes)
    bands, parts = tile.size(stages.copied.op.axis[1]), tile.size(stages.packed.op.axis[0])
    outer = [together, blocks] if bands >= min(MANY, parts) else [blocks, together]
    stage.reorder(n, *outer, tiles, over, row, column, lane)
    stage.vectorize(lane)
    tile.unroll_all(s, out, [row, column])
    tile.parallel_outer(s, out, [n, outer[0]])
    s[sums].compute_at(stage, over)
    s[sums].set_scope("local")
    _accumulate(s, sums, lanes)
    _copy(s, stages.copied, lanes)
    s[stages.copied].compute_at(stage, outer[1])
    stages.prepare(s, request.constant)


def _accumulate(s: Schedule, sums: Tensor, lanes: int) -> None:
    stage = s[sums]
    *outer, row, x, lane = sums.op.axis
    rx, group, four = sums.op.reduce_axis
    stage.align_bounds(lane, lanes)
    over, lane = stage.split(lane, factor=lanes)
    stage.reorder(*outer, group, rx, x, row, over, lane, four)
    tile.unroll_all(s, sums, [group, rx, x, row, over])
    stage.tensorize(lane, operators.dot4_by_lane_u8s8_i32(lanes))


def _copy(s: Schedule, copied: Tensor, lanes: int) -> None:
    """Put the four rows of a group side by side, a vector of channels at a time."""
    stage = s[copied]
    n, together, group, x, c, four = copied.op.axis
    over, lane = stage.split(c, factor=lanes)
    stage.reorder(n, together, group, over, x, four, lane)
    stage.set_scope("local")
    stage.vectorize(lane)
    stage.unroll(four)
