"""Transposed convolutions to few channels on processors: lanes along channels and phases of the result together.

    for block, rows, columns:                           registers: P pixels by T channels of phases
        for y, x in taps of a phase:
            for c in channels:
                sums[p, t] += image[c, row - y, column - x + p] * packed[block, y, x, c, t]
    out[f, stride * row + ay, stride * column + ax] = sums[row, column, (ay, f, ax)]

One convolution with channels for all phases, each of which sees the same pixels; where a phase sees fewer taps than
others, weights are 0.
"""

from __future__ import annotations

from math import prod
from typing import Any

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
from .conv2d_blocked import TileCost
from .transposed_request import TransposedRequest, define_tile

TILE = VECTORS, HEIGHT, WIDTH = "merged_vectors", "merged_height", "merged_width"  # knobs: the register tile
COLUMNS = 16  # of the result that are written out
GATHERED = 2.0  # cycles for an element that is brought to its place


def plan(cfg: Knobs, request: TransposedRequest) -> Plan | None:
    """Give the plan of a convolution of 4-byte elements without groups to fewer channels than two vectors have."""
    lanes, conv = tile.lanes_of(get_target()), request.numbers()
    if request.image.dtype.bits != 32 or conv.groups > 1 or conv.filters >= 2 * lanes:
        return None
    phases, (ty, tx) = prod(request.geometry.stride), conv.taps
    places = _places(request)
    cost = TileCost(places, conv.filters * phases, conv.channels * ty * tx, conv.batch, lanes, get_threads())
    define_tile(cfg, TILE, cost, cost.share)
    # in cycles: the products of results and taps, and those that there are with the channels of all phases
    least, merged = (
        n * conv.channels * ty * tx / lanes / 2
        for n in (conv.batch * conv.filters * prod(conv.out), conv.batch * prod(places) * conv.filters * phases)
    )
    around = GATHERED * conv.batch * conv.filters * prod(conv.out)

    def made() -> tuple[Schedule, Tensor]:
        return _scheduled(cfg, request, places)

    def estimate(v: Any, h: Any, w: Any) -> Any:
        return least / (merged / cost.share(v.val, h.val, w.val) + around)

    return Plan("merged", TILE, estimate, TILE, made)


def _places(request: TransposedRequest) -> tuple[int, int]:
    """Give the rows and columns of pixels that the first taps of all results see, the lowest and highest included."""
    ends = zip(request.numbers().out, request.geometry.padding[:2], request.geometry.stride, strict=True)
    rows, columns = ((n - 1 + low) // s - low // s + 1 for n, low, s in ends)
    return rows, columns


def _scheduled(cfg: Knobs, request: TransposedRequest, places: tuple[int, int]) -> tuple[Schedule, Tensor]:
    geometry, conv, result = request.geometry, request.numbers(), request.out.dtype
    lanes, (down, across) = tile.lanes_of(get_target()), geometry.stride
    block, (ty, tx) = lanes * cfg[VECTORS].val, conv.taps
    blocks = -(-conv.filters * down * across // block)
    first = geometry.padding[0] // down, geometry.padding[1] // across  # row and column that the first result sees
    before = max(0, ty - 1 - first[0]), max(0, tx - 1 - first[1])
    after = [max(0, f + n - size) for f, n, size in zip(first, places, conv.image, strict=True)]
    image = request.image
    if any((*before, *after)):
        image = pad(image, request.place(0, 0, *before), request.place(0, 0, *after), name="padded")

    def weight(b: Expr, y: Expr, x: Expr, c: Expr, t: Expr) -> Expr:
        at = b * block + t
        ky, kx = at // (across * conv.filters) + y * down, at % across + x * across
        f = at // across % conv.filters
        inside = [at < conv.filters * down * across] if conv.filters * down * across % block else []
        inside += [ky < geometry.taps[0], kx < geometry.taps[1]]
        value = request.kernel[(c, f, ky, kx) if request.is_nchw else (ky, kx, f, c)]
        return arith.if_then_else(arith.logical_and(*inside), value, arith.cast(request.kernel.dtype, 0))

    packed = te.compute((blocks, ty, tx, conv.channels, block), weight, name="packed")
    ends = zip((conv.channels, ty, tx), ("rc", "ry", "rx"), strict=True)
    rc, ry, rx = (te.reduce_axis((0, n), name) for n, name in ends)

    def total(n: Expr, b: Expr, y: Expr, x: Expr, t: Expr) -> Expr:
        row, column = y + (first[0] + before[0]) - ry, x + (first[1] + before[1]) - rx
        value = image[request.place(n, rc, row, column)].astype(result)
        return te.sum(value * packed[b, ry, rx, rc, t].astype(result), axis=[rc, ry, rx])

    tiles = te.compute((conv.batch, blocks, *places, block), total, name="tiles")

    def element(*i: Expr) -> Expr:
        n, f, y, x = i if request.is_nchw else (i[0], i[3], i[1], i[2])
        y, x = y + geometry.padding[0], x + geometry.padding[1]
        at = (y % down * conv.filters + f) * across + x % across
        return tiles[n, at // block, y // down - first[0], x // across - first[1], at % block]

    names = [a.name for a in request.out.op.axis]
    out = te.compute(request.out.shape, element, name="conv2d_transpose", varargs_names=names)
    s = create_schedule(out.op)
    _schedule(cfg, s, request, (packed, tiles, out), lanes)
    if image is not request.image:
        request.copy(s, image, lanes)
    return s, out


def _schedule(
    cfg: Knobs, s: Schedule, request: TransposedRequest, stages: tuple[Tensor, Tensor, Tensor], lanes: int
) -> None:
    packed, tiles, out = stages
    n, f, y, x = out.op.axis if request.is_nchw else (out.op.axis[0], out.op.axis[3], *out.op.axis[1:3])
    across = request.geometry.stride[1]
    columns, column = s[out].split(x, factor=max(1, COLUMNS // across) * across)
    if request.is_nchw:
        s[out].reorder(n, y, f, columns, column)
        s[out].unroll(column)
    tile.parallel_outer(s, out, [n, y])  # rows, as of the sums: in the cache of the core that has made them
    n, b, y, x, inside = tiles.op.axis
    rc, ry, rx = tiles.op.reduce_axis
    stage = s[tiles]
    vectors, lane = stage.split(inside, factor=lanes)
    rows, y = stage.split(y, factor=cfg[HEIGHT].val)
    columns, x = stage.split(x, factor=cfg[WIDTH].val)
    stage.reorder(n, rows, b, columns, ry, rx, rc, y, x, vectors, lane)
    stage.vectorize(lane)
    tile.unroll_all(s, tiles, [y, x, vectors])
    tile.parallel_outer(s, tiles, [n, rows])
    request.pack(s, packed, 1, lanes)
