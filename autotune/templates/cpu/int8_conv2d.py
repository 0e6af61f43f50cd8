"""Convolutions of bytes on processors: a register tile of pixels by channels, several products to a lane.

    image copied in groups of four channels, or of two that are widened, with padding
    for block in parallel(blocks of channels):
        for tile in tiles of pixels:
            for ry, rx, group in window and groups of channels:   # sums in registers
                sums += dot(copied[y + ry, group, x + rx], packed[block, ry, rx, group])
            turned = rows of pixels of what a residual in NCHW is added to, if there is one
            out[tile, block] = epilogue(sums + offsets[block])

Weights of a block hold a group of channels of each filter side by side.  What a window takes from beyond the image is
left out where it adds nothing and the tile allows it: from above and below for tiles of one row of pixels, on the left
and right for a whole row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
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
from ..epilogue import Epilogue
from . import turned as turning
from .algorithm import Plan
from .int8 import (
    DOTS,
    Factors,
    Offsets,
    accumulate,
    factors_for,
    fits_registers,
    offsets,
    tile_cycles,
    unrolled,
)
from .request import ConvolutionRequest

TILE = VECTORS, HEIGHT, WIDTH = "int8_vectors", "int8_height", "int8_width"  # knobs: the register tile
UNROLL, OUTER = "int8_unroll", "int8_rows_outermost"
KNOBS = (*TILE, UNROLL, OUTER)
DECENT = 0.7  # of the best tile's share that others must promise
STORE, STORED = 1.0, 16  # cycles for neighbouring results of one channel that are stored at once, so many at most
CHOSEN = 3.0  # times as many where it is only known in each block which channels there are
GUARDED = 1.15  # what tiles of several rows cost where a smaller one is left, and each tests which it is
WRITTEN_OUT = 10  # pairs of a tile in its row and a column of the window, at most, to leave columns out


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution, and as what its bytes are multiplied.

    lanes   of a vector of sums
    excess  how much greater the factors are than the pixels that are meant
    """

    conv: Convolution
    factors: Factors
    lanes: int
    excess: int

    @property
    def groups(self) -> int:
        """Give the groups of channels, `taps` to each, that one filter sees."""
        return -(-self.conv.channels // self.factors.taps)


@dataclass(frozen=True, slots=True)
class Stages:
    """What is computed, in order.

    copied  of the image, with padding, what is needed: (N, H, C / taps, W, taps) of NCHW, (N, H, W, C / taps, taps)
            of NHWC
    packed  (filters / T, KH, KW, C / groups / taps, T, taps)
    sums    (N, filters / T, OH, OW, T)
    turned  in the shape of the result, what a residual is added to; None where lanes are those of the result
    is_written_out  whether the columns of the window are, each of which is left out for some pixels
    """

    copied: Tensor
    packed: Tensor
    offsets: Offsets | None
    sums: Tensor
    turned: Tensor | None
    out: Tensor
    is_written_out: bool


def plan(cfg: Knobs, request: ConvolutionRequest) -> Plan | None:
    """Give the plan of a convolution of bytes whose sums are the result."""
    if str(request.kernel.dtype) != "int8" or request.result != "int32":
        return None
    return any_plan(cfg, request)


def any_plan(cfg: Knobs, request: ConvolutionRequest, data_zero: int = 0) -> Plan | None:
    """Give the plan of a convolution of bytes in NCHW or NHWC, whatever its result; groups must be whole vectors.

    data_zero  the number that stands for zero in the image
    """
    conv, lanes = request.numbers(), tile.lanes_of(get_target())
    if conv is None:
        return None
    factors = factors_for(get_target(), conv.batch * conv.pixels)
    if conv.groups > 1 and (conv.filters % lanes or conv.channels % factors.taps):
        return None
    layer = Layer(conv, factors, lanes, factors.excess_of(request.image, data_zero))
    share = partial(_share, layer, get_threads(), _seen(conv) if layer.excess == 0 else (1.0, 1.0))
    _define(cfg, layer, share)

    def scheduled() -> tuple[Schedule, Tensor]:
        stages = _declare(cfg, request, layer)
        s = create_schedule(stages.out.op)
        _schedule(cfg, s, stages, layer, request.constant_weights)
        return s, stages.out

    return Plan("int8", KNOBS, lambda v, h, w: share(v.val, h.val, w.val), TILE, scheduled)


def _seen(conv: Convolution) -> tuple[float, float]:
    """Give the share of all pairs of a row of the result and one of the window that meet in the image; of columns."""
    geometry = conv.geometry
    ends = zip(conv.positions, conv.taps, conv.extents, geometry.stride, geometry.dilation, strict=True)
    shares = []
    for (places, taps, extent, stride, dilation), before in zip(ends, geometry.padding[:2], strict=True):
        met = (0 <= p * stride + t * dilation - before < extent for p in range(places) for t in range(taps))
        shares.append(max(1, sum(met)) / (places * taps))
    return shares[0], shares[1]


def _share(layer: Layer, threads: int, seen: tuple[float, float], vectors: Any, height: Any, width: Any) -> Any:
    """Give how fast a register tile is in units of float32 multiply-adds: a step's products count as one at peak."""
    conv, lanes = layer.conv, layer.lanes
    rows, columns = conv.positions
    is_whole = (height == 1) & (np.ceil(columns / width) * conv.taps[1] <= WRITTEN_OUT)
    met = np.where(height == 1, seen[0], 1) * np.where(is_whole, seen[1], 1)
    steps, filters = conv.taps[0] * conv.taps[1] * layer.groups, conv.filters * conv.groups
    total = 0.0
    for h, down in ((height, rows // height), (rows % height, 1)):
        for w, across in ((width, columns // width), (columns % width, 1)):
            stored = _storing(layer, vectors, h, w)
            total = total + down * across * (tile_cycles(layer.factors, steps * met, h * w, vectors) + stored)
    total = total * np.where(rows % height > 0, GUARDED, 1)
    blocks = np.ceil(filters / (vectors * lanes))
    least = rows * columns * filters / lanes * steps / DOTS
    tasks = tile.coverage(conv.batch * blocks * np.ceil(rows / height), threads)
    return layer.factors.taps * least / (blocks * total) * tasks


def _storing(layer: Layer, vectors: Any, height: Any, width: Any) -> Any:
    """Give the cycles that a tile's results take to be stored, beyond those of whole vectors."""
    if not layer.conv.is_nchw:
        return 0.0
    filters, channels = layer.conv.filters * layer.conv.groups, vectors * layer.lanes
    is_masked = (filters % channels > 0) & (filters > channels)
    return height * np.where(is_masked, CHOSEN, 1) * STORE * channels * np.ceil(width / STORED)


def _define(cfg: Knobs, layer: Layer, share: Callable[..., Any]) -> None:
    target, conv, factors, lanes = get_target(), layer.conv, layer.factors, layer.lanes
    rows, columns = conv.positions
    whole = -(-conv.filters // lanes)
    vectors = [v for v in (1, 2, 3, 4) if v <= whole and (conv.groups == 1 or conv.filters % (v * lanes) == 0)]
    heights = [h for h in (1, 2, 3, 4) if h <= rows]
    widths = [c[-1] for c in tile.row_candidates(columns)]
    fitting = [t for t in product(vectors, heights, widths) if fits_registers(target, factors, t[1] * t[2], t[0])]
    best = max(fitting, key=lambda t: float(share(*t)))
    for name, values, default in zip(TILE, (vectors, heights, widths), best, strict=True):
        cfg.define_knob(name, values, default=default)
    cfg.restrict(lambda v, h, w: fits_registers(target, factors, h.val * w.val, v.val), *TILE)
    least = DECENT * float(share(*best))
    cfg.restrict(lambda v, h, w: share(v.val, h.val, w.val) >= least, *TILE)
    unrolls = [u for u in (1, 2, 4) if layer.groups % u == 0]
    cfg.define_knob(UNROLL, unrolls, default=unrolled(target, unrolls))
    cfg.define_knob(OUTER, [False, True] if whole > 1 else [False])


def _declare(cfg: Knobs, request: ConvolutionRequest, layer: Layer) -> Stages:
    """Give the convolution by way of a copy of the image, packed weights and tiles of sums."""
    conv, factors, groups, block = layer.conv, layer.factors, layer.groups, layer.lanes * cfg[VECTORS].val
    (kh, kw), (rows, columns) = conv.taps, conv.positions
    packed, leaves_out = _packed(layer, block), _leaves_out(cfg, layer)
    copied, geometry = _copied(layer, leaves_out[0])
    ends = zip((kh, kw, groups, factors.taps), ("ry", "rx", "group", "tap"), strict=True)
    ry, rx, group, tap = (te.reduce_axis((0, n), name) for n, name in ends)

    def total(n: Expr, b: Expr, y: Expr, x: Expr, lane: Expr) -> Expr:
        first = 0 if conv.groups == 1 else b * block // conv.filters * groups
        row, column = geometry.tap((y, x), (ry.var, rx.var))
        inside = _inside(conv, row, column, leaves_out)
        if leaves_out[0]:
            row = row - geometry.padding[0]
        at = (n, row, first + group, column) if conv.is_nchw else (n, row, column, first + group)
        weight = packed[b, ry, rx, group, lane, tap].astype("int32")
        return te.sum(copied[(*at, tap)].astype("int32") * weight, axis=[ry, rx, group, tap], where=inside)

    filters = conv.filters * conv.groups
    sums = te.compute((conv.batch, -(-filters // block), rows, columns, block), total, name="sums")
    added = offsets(factors, packed, layer.excess, request.epilogue.bias)
    epilogue = request.epilogue.without_bias

    def own(*i: Expr) -> Expr:
        n, f, y, x = i if conv.is_nchw else (i[0], i[3], i[1], i[2])
        value = sums[n, f // block, y, x, f % block]
        value = value if added is None else value + added.total[f // block, f % block]
        return epilogue.before_residual(value, f)

    shape = conv.place(conv.batch, filters, rows, columns)
    turned = _turned(shape, own, epilogue) if conv.is_nchw and epilogue.residual is not None else None

    def element(*i: Expr) -> Expr:
        value = own(*i) if turned is None else turned[i].astype("int32")
        return epilogue.with_residual(value, i, i[1] if conv.is_nchw else i[3])

    out = te.compute(shape, element, name="conv2d")
    return Stages(copied, packed, added, sums, turned, out, leaves_out[1])


def _turned(shape: Sequence[int], own: Callable[..., Expr], epilogue: Epilogue) -> Tensor:
    """Give what a residual is added to, in the shape of the result and its type, or as sums."""
    kind = "int32" if epilogue.addition is None else epilogue.dtype
    return te.compute(shape, lambda *i: own(*i).astype(kind), "turned")


def _leaves_out(cfg: Knobs, layer: Layer) -> tuple[bool, bool]:
    """Tell whether rows of the window beyond the image are left out, and whether columns are.

    One row of pixels has them in common; columns of a whole row of pixels are known where the window is written out.
    """
    conv = layer.conv
    padding, is_zero = conv.geometry.padding, layer.excess == 0 and conv.taps != (1, 1)
    if cfg[HEIGHT].val != 1 or not is_zero:
        return False, False
    is_whole = -(-conv.positions[1] // cfg[WIDTH].val) * conv.taps[1] <= WRITTEN_OUT
    return any(padding[::2]), any(padding[1::2]) and is_whole


def _inside(conv: Convolution, row: Expr, column: Expr, leaves_out: tuple[bool, bool]) -> Expr | None:
    """Give where an element of the padded image is one of the image, as far as the others are left out."""
    places = zip((row, column), conv.extents, conv.geometry.padding, leaves_out, strict=False)
    known = [(at - before, extent) for at, extent, before, is_left in places if is_left]
    return arith.logical_and(*(c for at, extent in known for c in (at >= 0, at < extent))) if known else None


def _packed(layer: Layer, block: int) -> Tensor:
    """Give the weights of blocks of filters, with zeros beyond the last filter and the last channel."""
    conv, taps = layer.conv, layer.factors.taps
    kernel, filters, weights = conv.kernel, conv.filters * conv.groups, layer.factors.weights

    def weight(b: Expr, y: Expr, x: Expr, group: Expr, lane: Expr, r: Expr) -> Expr:
        f, channel, zero = b * block + lane, group * taps + r, arith.const(0, weights)
        value = (kernel[f, channel, y, x] if conv.is_nchw else kernel[y, x, channel, f]).astype(weights)
        if conv.channels % taps:
            value = arith.if_then_else(channel < conv.channels, value, zero)
        return arith.if_then_else(f < filters, value, zero) if filters % block else value

    return te.compute((-(-filters // block), *conv.taps, layer.groups, block, taps), weight, name="packed")


def _copied(layer: Layer, without_rows: bool) -> tuple[Tensor, Window]:
    """Give a copy of what is needed of the image, as factors, and how windows slide over it.

    without_rows  whether what lies above and below the image is left out
    Rows of NCHW are as long as whole vectors, so that none has a mask for its end.
    """
    conv, factors, taps = layer.conv, layer.factors, layer.factors.taps
    geometry, image = conv.geometry, conv.image
    step, window = (1, 1), geometry
    extents = [
        (p - 1) * s + (k - 1) * d + 1
        for p, s, k, d in zip(conv.positions, geometry.stride, conv.taps, geometry.dilation, strict=True)
    ]
    if conv.taps == (1, 1):
        step, window, extents = geometry.stride, replace(geometry, stride=(1, 1)), list(conv.positions)
    (height, width), channels, (top, left) = conv.extents, conv.channels * conv.groups, geometry.padding[:2]
    if without_rows:
        top, extents[0] = 0, height

    def pixel(n: Expr, c: Expr, y: Expr, x: Expr) -> Expr:
        row, column = y * step[0] - top, x * step[1] - left
        value = factors.of_data(image, *conv.place(n, c, row, column))
        conditions = []
        if top or (extents[0] - 1) * step[0] - top >= height:
            conditions += [row >= 0, row < height]
        if left or (wide - 1) * step[1] - left >= width:
            conditions += [column >= 0, column < width]
        if channels % taps:
            conditions += [c < channels]
        inside = arith.const(True)
        for condition in conditions:
            inside = arith.logical_and(inside, condition)
        return arith.if_then_else(inside, value, arith.const(layer.excess, factors.data)) if conditions else value

    groups, (tall, wide) = -(-channels // taps), extents
    if conv.is_nchw:
        wide = -(-wide // layer.lanes) * layer.lanes
        shape = (conv.batch, tall, groups, wide, taps)
        return te.compute(shape, lambda n, y, g, x, r: pixel(n, g * taps + r, y, x), name="copied"), window
    shape = (conv.batch, tall, wide, groups, taps)
    return te.compute(shape, lambda n, y, x, g, r: pixel(n, g * taps + r, y, x), name="copied"), window


def _schedule(cfg: Knobs, s: Schedule, stages: Stages, layer: Layer, constant: bool) -> None:
    conv, lanes = layer.conv, layer.lanes
    out, sums, stage = stages.out, stages.sums, s[stages.out]
    n, f, y, x = out.op.axis if conv.is_nchw else (out.op.axis[0], out.op.axis[3], *out.op.axis[1:3])
    width = lanes * cfg[VECTORS].val
    blocks, inside = stage.split(f, factor=width)
    vectors, lane = stage.split(inside, factor=lanes)
    rows, row = stage.split(y, factor=cfg[HEIGHT].val)
    columns, column = stage.split(x, factor=cfg[WIDTH].val)
    outer = [n, rows, blocks] if cfg[OUTER].val else [n, blocks, rows]
    if stages.turned is None:
        stage.reorder(*outer, columns, vectors, row, column, lane)
        stage.vectorize(lane)
        tile.unroll_all(s, out, [vectors, row, column])
    else:
        stage.reorder(*outer, columns, vectors, lane, row, column)
        stage.vectorize(column)
        tile.unroll_all(s, out, [vectors, lane, row])
        turning.schedule(s, stages.turned, out, columns, lanes, width)
    tile.parallel_outer(s, out, outer)
    s[sums].compute_at(stage, columns)
    s[sums].set_scope("local")
    accumulate(s, layer.factors, sums, width, cfg[UNROLL].val)
    if stages.is_written_out:
        stage.unroll(columns)
        s[sums].unroll(sums.op.reduce_axis[1])
    _copy(s, stages.copied, conv, lanes)
    packing = s[stages.packed]
    if constant:
        packing.precompute()
    *outer, lane, tap = stages.packed.op.axis
    over, lane = packing.split(lane, factor=lanes)
    packing.reorder(*outer, over, tap, lane)
    packing.vectorize(lane)
    packing.unroll(tap)
    packing.parallel(packing.fuse(*outer[:3]))
    if stages.offsets is not None:
        stages.offsets.schedule(s, constant)


def _copy(s: Schedule, copied: Tensor, conv: Convolution, lanes: int) -> None:
    stage = s[copied]
    if conv.is_nchw:
        n, y, group, x, tap = copied.op.axis
        over, lane = stage.split(x, factor=lanes)
        stage.reorder(n, y, group, over, tap, lane)
        stage.vectorize(lane)
        stage.unroll(tap)
    else:
        n, y, x, group, tap = copied.op.axis
        taps = tile.size(tap)
        tile.split_lanes(s, copied, stage.fuse(group, tap), taps * lanes, taps * tile.size(group))
    stage.parallel(stage.fuse(n, y))
