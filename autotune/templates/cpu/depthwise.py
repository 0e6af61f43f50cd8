"""Depthwise convolutions on processors: a tile of pixels in registers, in which each input vector is loaded once.

The image is read where it lies: what a window takes from outside of it are masked lanes, or tiles of their own at the
edges.  Loads are what limits such a convolution, so the order within a tile decides:

rows     for rx, ry: for rows, columns: all rows of a tile with one weight; a column of input vectors stays in registers
window   for rows, columns: for ry, rx: one result after the other; a window of input vectors and all weights stay
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ....codegen.llvm.features import is_aarch64
from ....ir.target import Target
from ....schedule.schedule import Schedule, create_schedule
from ....te.axis import Axis
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target
from .. import register_tile as tile
from .algorithm import Plan

MOST_ROWS = 16
MOST_PRODUCTS = 512  # vector multiply-adds of one tile, all written out, once for each edge that it may lie at
MOST_IN_TWO_DIMENSIONS = 200  # the same of tiles that may lie at four edges
LOADED = 4  # registers for operands on their way, where multiply-adds take none from memory
CROSSING = 1.6  # loads that one unaligned load of a whole vector counts as, on average
LOW = 4  # rows of a tile along the width, beyond which LLVM mixes them ...
MIXED = 0.02  # ... and what each row of input costs then, as a share
LATENCY = 4  # cycles of a multiply-add: the sums of a tile as high as the image do not wait for each other
SHARED = 3  # columns of a window of stride 2 whose vectors stay in registers for the next column
VECTORS = (1, 2, 3, 4)  # of a tile, along the width
ORDERS = ("window", "rows")


@dataclass(frozen=True, slots=True)
class Layout:
    """What the axes of a result are for.

    outer   the outermost axes, which threads share
    lane    the axis whose neighbours become vector lanes: the innermost in memory
    window  height and width
    """

    outer: tuple[Axis, ...]
    height: Axis
    width: Axis
    lane: Axis
    window: tuple[int, int]
    stride: int

    @classmethod
    def of(cls, sums: Tensor, out: Tensor, layout: str, stride: int) -> Layout:
        """Give the roles in a layout."""
        axes = tuple(out.op.axis)
        kh, kw = (tile.size(a) for a in sums.op.reduce_axis)
        match layout:
            case "NCHW":
                return cls(axes[:2], axes[2], axes[3], axes[3], (kh, kw), stride)
            case "NHWC":
                return cls(axes[:1], axes[1], axes[2], axes[3], (kh, kw), stride)
            case _:
                return cls(axes[:2], axes[2], axes[3], axes[4], (kh, kw), stride)

    @property
    def is_along_width(self) -> bool:
        """Tell whether lanes are neighbouring pixels."""
        return self.lane is self.width


def plan(cfg: Knobs, sums: Tensor, out: Tensor, layout: str, stride: int) -> Plan:
    """Give the plan that reads the image where it lies, for a convolution by definition.

    out  the result that is made of `sums`, or these
    """
    roles, lanes = Layout.of(sums, out, layout, stride), tile.lanes_of(get_target())
    names, tiles = _define(cfg, roles, lanes, tile.padded_input(sums) is not None)

    def estimate(*sizes: Any) -> Any:
        return _promise(roles, lanes, *_sizes(*sizes))

    def scheduled() -> tuple[Schedule, Tensor]:
        s = create_schedule(out.op)
        _schedule(cfg, s, sums, out, roles)
        return s, out

    return Plan("direct", names, estimate, tiles, scheduled)


def _schedule(cfg: Knobs, s: Schedule, sums: Tensor, out: Tensor, roles: Layout) -> None:
    pad, lanes = tile.padded_input(sums), tile.lanes_of(get_target())
    within = pad is not None and cfg["pad"].val == "within"
    if pad is not None and not within:
        s[pad].compute_inline()
    cache = tile.accumulate(s, sums)
    ho, hi = cfg["tile_h"].apply(s, out, roles.height)
    lo, li = cfg["tile_lane"].apply(s, out, roles.lane)
    inner, outer = [hi], [ho, lo]  # the next tile lies beside this one in memory
    if not roles.is_along_width:
        wo, wi = cfg["tile_w"].apply(s, out, roles.width)
        inner.append(wi)
        outer = [ho, lo, wo] if cfg["blocks_outermost"].val else [ho, wo, lo]
    loops, lane = tile.split_lanes(s, out, li, lanes, cfg["tile_lane"].size[-1])
    channels = list(roles.outer)
    s[out].reorder(*channels, *outer, *inner, *loops, lane)
    tile.unroll_all(s, out, [*inner, *loops])
    shared = channels if roles.is_along_width or len(channels) > 1 else [*channels, outer[0]]
    parallel = tile.parallel_outer(s, out, shared)
    s[cache].compute_at(s[out], outer[-1])
    position = next(n for n, axis in enumerate(out.op.axis) if axis is roles.lane)
    _accumulate(cfg, s, cache, position, lanes)
    if within:
        assert pad is not None
        s[pad].compute_at(s[out], parallel)
        tile.copy_stage(s, pad, lanes, parallel=False)


def _define(cfg: Knobs, roles: Layout, lanes: int, is_padded: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Define sizes of the tile and the order in it; give the names of all knobs, and of the sizes."""
    height, width, across = (tile.size(a) for a in (roles.height, roles.width, roles.lane))
    target, registers = get_target(), tile.registers_of(get_target())
    rows = tile.row_candidates(height, MOST_ROWS)
    in_memory = not is_aarch64(target)  # weights, which multiply-adds of x86 read there
    order = ORDERS[0] if in_memory and roles.window[0] * roles.window[1] <= registers // 3 else ORDERS[1]
    names = ["tile_h", "tile_lane"]
    if roles.is_along_width:
        sizes = [n for n in (lanes * v for v in VECTORS) if n <= across and _ends_well(across % n, lanes)] or [across]
        columns = 1
    else:
        sizes = [min(across, lanes)]
        wide = tile.row_candidates(width, MOST_ROWS)
        names.append("tile_w")
        short = [w for w in (7, 8, 14, 6, 5, 4, 3, 2) if _fits(target, roles, lanes, 1, sizes[0], w, order)]
        columns = tile.first_of(wide, *short, 1)[1]
        cfg.define_split("tile_w", roles.width, "candidate", candidate=wide, default=(-1, columns))
    fitting = [t for t in product(rows, sizes) if _fits(target, roles, lanes, t[0][1], t[1], columns, order)]
    best = max(fitting, key=lambda t: float(_promise(roles, lanes, t[0][1], t[1], columns)))
    cfg.define_split("tile_h", roles.height, "candidate", candidate=rows, default=best[0])
    across_candidates = [(-1, n) for n in sizes]
    cfg.define_split("tile_lane", roles.lane, "candidate", candidate=across_candidates, default=(-1, best[1]))
    cfg.define_knob("order", list(ORDERS), default=order)
    if is_padded:
        cfg.define_knob("pad", ["inline", "within"])
    if not roles.is_along_width:
        cfg.define_knob("blocks_outermost", [False, True])
    cfg.restrict(lambda *k: _fits(target, roles, lanes, *_sizes(*k[:-1]), k[-1].val), *names, "order")
    others = ["order", *(["pad"] if is_padded else []), *([] if roles.is_along_width else ["blocks_outermost"])]
    return (*names, *others), tuple(names)


def _ends_well(rest: int, lanes: int) -> bool:
    """Tell whether the last tile of a row is of whole vectors, or part of one: not both in one tile of registers."""
    return rest <= lanes or rest % lanes == 0


def _sizes(h: Any, lane: Any, w: Any = None) -> tuple[Any, Any, Any]:
    """Give rows, elements across and columns of a tile."""
    return h.size[-1], lane.size[-1], 1 if w is None else w.size[-1]


def _fits(target: Target, roles: Layout, lanes: int, rows: Any, across: Any, columns: Any, order: Any) -> Any:
    """Tell whether a tile is not too long, and what its order keeps in registers fits there (works on arrays, too)."""
    kh, kw = roles.window
    vectors = -(-across // lanes)
    results = rows * columns * vectors
    heights = roles.stride * (rows - 1) + kh
    column = heights * columns * vectors + results + 1
    window = kh * np.where((rows > 1) & (columns > 1), roles.stride * (columns - 1) + kw, kw) + 3
    mixed = heights * vectors if roles.is_along_width and roles.stride > 1 else 0  # of two vectors
    if is_aarch64(target):
        column, window = column + mixed + LOADED, window + kh * kw
    else:
        column = column + mixed // 2
    most = MOST_PRODUCTS if roles.is_along_width else MOST_IN_TWO_DIMENSIONS
    kept = np.where(np.equal(order, "rows"), column, window)
    return ((results * kh * kw <= most) & (kept <= tile.registers_of(target))) | (results == 1)


def _promise(roles: Layout, lanes: int, rows: Any, across: Any, columns: Any) -> Any:
    """Give the share of the multiply-add peak that a tile allows: two of them and two loads a cycle."""
    (kh, kw), s = roles.window, roles.stride
    vectors = -(-across // lanes)
    results = rows * columns * vectors
    inputs = s * (rows - 1) + kh
    work, least, high = results * kh * kw / 2, 0, tile.coverage(tile.size(roles.height), rows)
    if roles.is_along_width and s == 1 and tile.size(roles.width) <= lanes:
        loads, covered, least = inputs * kw * CROSSING, tile.coverage(tile.size(roles.width), lanes), kh * kw * LATENCY
        high = 1  # a last tile of few rows is computed beside the first ones of the next channel
    elif roles.is_along_width:
        taken = kw if s == 1 else 2 * -(-kw // 2) if kw <= SHARED else 2 * kw
        loads = inputs * vectors * taken * CROSSING
        covered = tile.coverage(tile.size(roles.width), lanes) / (1 + MIXED * s * np.maximum(0, rows - LOW))
    else:
        loads = inputs * (s * (columns - 1) + kw) * vectors
        covered = tile.coverage(tile.size(roles.lane), lanes) * tile.coverage(tile.size(roles.width), columns)
    time = np.maximum(np.maximum(work, least), (loads + kh * kw + results) / 2) + 8
    return work / time * covered * high


def _accumulate(cfg: Knobs, s: Schedule, cache: Tensor, position: int, lanes: int) -> None:
    stage = s[cache]
    spatial = list(stage.op.axis)
    ry, rx = stage.op.reduce_axis
    loops, lane = tile.split_lanes(s, cache, spatial.pop(position), lanes, cfg["tile_lane"].size[-1])
    within = [rx, ry, *spatial, *loops] if cfg["order"].val == "rows" else [*spatial, *loops, ry, rx]
    stage.reorder(*within, lane)
    tile.unroll_all(s, cache, within)
