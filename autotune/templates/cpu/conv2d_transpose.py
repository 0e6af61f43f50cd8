"""Transposed convolutions on processors: each phase of the result is an ordinary convolution with its own taps.

    for block, band of rows:
        for phases (ay, ax) that see equally many taps:      rows and columns `stride` apart
            for rows, columns of the phase:                  registers: P pixels by T channels
                for y, x in taps of the phase, y within the image:
                    for c in channels:
                        sums[ay, ax, p, t] += image[c, row - y, column - x + p] * packed[ay, ax, block, y, x, c, t]
        out[block + t, band, :] = the sums of all phases, side by side again, transposed where the result is in NCHW

The sums of a band lie in a near cache meanwhile.  Where stride divides the window, all phases see equally many taps;
else there are up to four kinds of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
from . import conv2d_transpose_merged, conv2d_transpose_pixels
from . import rows as by_stages
from .algorithm import Plan, choose
from .conv2d_blocked import AHEAD, TileCost, terms_ahead
from .transposed_request import Numbers, TransposedRequest, define_tile

TILE = VECTORS, HEIGHT, WIDTH = "phases_vectors", "phases_height", "phases_width"  # knobs: the register tile
UNROLL, OUTER, BAND, PREFETCH = "phases_unroll", "phases_rows_outermost", "phases_band", "phases_prefetch"
SCATTERED = 8.0  # cycles for an element that no whole vector of channels brings to its place
BANDS = (16 << 10, 64 << 10, 256 << 10)  # bytes of sums between tiles and the result
NEAR = 64 << 10  # of them by default
COLUMNS = 16  # of the result that are turned together
MOST_STRIDE = 8


@dataclass(frozen=True, slots=True)
class Phases:
    """Phases `first`, `first + 1`, ... that see `taps` rows (columns) of the window each."""

    first: int
    count: int
    taps: int

    @classmethod
    def of(cls, taps: int, stride: int) -> list[Phases]:
        """Give all phases of a window's rows, those with more taps first; phases without any are left out."""
        more = taps % stride
        kinds = [cls(0, more, -(-taps // stride)), cls(more, stride - more, taps // stride)]
        return [k for k in kinds if k.count and k.taps]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of the image.

    places         rows and columns of one phase of the result
    before, after  rows and columns above and left of the image, and below and right of it, that are seen
    rows           share of all pairs of a row of the result and a row of the window that meet in the image
    """

    places: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    rows: float

    @classmethod
    def of(cls, request: TransposedRequest, numbers: Numbers) -> Seen:
        """Give what all phases together see."""
        strides, low = request.geometry.stride, request.geometry.padding
        rows, columns = (-(-n // s) for n, s in zip(numbers.out, strides, strict=True))
        before = (max(0, numbers.taps[d] - 1 - low[d] // strides[d]) for d in (0, 1))
        last = (n - 1 + (s - 1 + p) // s for n, s, p in zip((rows, columns), strides, low[:2], strict=True))
        after = (max(0, at - (size - 1)) for at, size in zip(last, numbers.image, strict=True))
        (top, left), (bottom, right) = before, after
        pairs = ((y + low[0]) // strides[0] - tap for y in range(numbers.out[0]) for tap in range(numbers.taps[0]))
        meeting = max(1, sum(0 <= row < numbers.image[0] for row in pairs)) / (numbers.out[0] * numbers.taps[0])
        return cls((rows, columns), (top, left), (bottom, right), meeting)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is computed of phases that see equally many taps.

    packed  (rows, columns of phases, ceil(F / T), KY, KX, C, T)
    tiles   (N, ceil(F / T), rows, columns of phases, OH / stride, OW / stride, T), the sums
    """

    down: Phases
    across: Phases
    packed: Tensor
    tiles: Tensor


def scheduled(cfg: Knobs, request: TransposedRequest) -> tuple[Schedule, Tensor]:
    """Give a schedule of a transposed convolution, and its result."""
    cfg.define_meaning([request.image, request.kernel, request.out])
    ways = plan_phases, conv2d_transpose_merged.plan, conv2d_transpose_pixels.plan
    plans = [plan for make in ways if (plan := make(cfg, request)) is not None]
    if plans:
        return choose(cfg, plans).scheduled()
    s = create_schedule(request.out.op)
    by_stages.schedule_stages(cfg, s)
    return s, request.out


def plan_phases(cfg: Knobs, request: TransposedRequest) -> Plan | None:
    """Give the plan of a convolution of 4-byte elements; groups must be whole vectors of channels."""
    numbers, lanes = request.numbers(), tile.lanes_of(get_target())
    if request.image.dtype.bits != 32 or max(request.geometry.stride) > MOST_STRIDE:
        return None
    if numbers.groups > 1 and numbers.filters % lanes:
        return None
    filters, phases = numbers.filters * numbers.groups, prod(request.geometry.stride)
    terms, images = numbers.channels * prod(numbers.taps), numbers.batch * phases
    seen = Seen.of(request, numbers)
    cost = TileCost(seen.places, filters, terms, images, lanes, get_threads())

    def share(vectors: Any, height: Any, width: Any) -> Any:
        """Give the share of the peak; tiles of one row leave out what they would see above and below the image."""
        return cost.share(vectors, height, width) / np.where(height == 1, seen.rows, 1.0)

    best = define_tile(cfg, TILE, cost, share, numbers.groups)
    unrolls = [u for u in (1, 2, 4) if numbers.channels % u == 0]
    cfg.define_knob(UNROLL, unrolls)
    weights = filters * numbers.channels * prod(request.geometry.taps)
    is_shared = get_threads() > 1 and prod(numbers.image) * numbers.channels * numbers.groups >= weights
    cfg.define_knob(OUTER, [False, True], default=is_shared)  # threads read the less of what is larger
    cfg.define_knob(BAND, list(BANDS), default=NEAR)
    cfg.define_knob(PREFETCH, list(AHEAD), default=terms_ahead(weights, prod(best)))
    scattered = SCATTERED * lanes * images * prod(cost.positions) * (filters % lanes) * 2

    def made() -> tuple[Schedule, Tensor]:
        nest = _Nest(cfg, request, numbers, lanes)
        return nest.scheduled(), nest.out

    def estimate(v: Any, h: Any, w: Any) -> Any:
        least = images * prod(cost.positions) * filters * terms
        return least / (least / share(v.val, h.val, w.val) + scattered)

    return Plan("phases", (*TILE, UNROLL, OUTER, BAND, PREFETCH), estimate, TILE, made)


class _Nest:
    """The schedule of one choice."""

    def __init__(self, cfg: Knobs, request: TransposedRequest, numbers: Numbers, lanes: int) -> None:
        self.cfg, self.request, self.numbers, self.lanes = cfg, request, numbers, lanes
        self.geometry = request.geometry
        self.block = lanes * cfg[VECTORS].val
        self.blocks = -(-numbers.filters * numbers.groups // self.block)
        self.seen = Seen.of(request, numbers)
        self.rows_are_padded = cfg[HEIGHT].val > 1  # else those outside of the image are left out
        self.before = self.rows_are_padded * self.seen.before[0], self.seen.before[1]
        self.padded = self._padded()
        kinds = product(*(Phases.of(self.geometry.taps[d], self.geometry.stride[d]) for d in (0, 1)))
        self.kinds = [self._kind(down, across) for down, across in kinds]
        self.out = self._result()
        self.s = create_schedule(self.out.op)

    def _padded(self) -> Tensor:
        after, image = (self.rows_are_padded * self.seen.after[0], self.seen.after[1]), self.request.image
        if not any((*self.before, *after)):
            return image
        return pad(image, self.request.place(0, 0, *self.before), self.request.place(0, 0, *after), name="padded")

    def _kind(self, down: Phases, across: Phases) -> Kind:
        packed = self._packed(down, across)
        numbers, geometry, result = self.numbers, self.geometry, self.request.out.dtype
        rc, ry, rx = (
            te.reduce_axis((0, n), name)
            for n, name in zip((numbers.channels, down.taps, across.taps), ("rc", "ry", "rx"), strict=True)
        )

        def lowest(phases: Phases, number: Expr, dim: int) -> Expr:
            """Give the row, or column, of the image with its padding that the lowest place of a phase sees first."""
            stride, low = geometry.stride[dim], geometry.padding[dim]
            return ((phases.first + number - low) % stride + low) // stride + self.before[dim]

        def total(n: Expr, b: Expr, ay: Expr, ax: Expr, y: Expr, x: Expr, lane: Expr) -> Expr:
            first = 0 if numbers.groups == 1 else b * self.block // numbers.filters * numbers.channels
            row, column = y + lowest(down, ay, 0) - ry, x + lowest(across, ax, 1) - rx
            inside = None if self.rows_are_padded else arith.logical_and(row >= 0, row < numbers.image[0])
            value = self.padded[self.request.place(n, first + rc, row, column)].astype(result)
            value = value * packed[ay, ax, b, ry, rx, rc, lane].astype(result)
            return te.sum(value, axis=[rc, ry, rx], where=inside)

        shape = (numbers.batch, self.blocks, down.count, across.count, *self.seen.places, self.block)
        return Kind(down, across, packed, te.compute(shape, total, name="tiles"))

    def _packed(self, down: Phases, across: Phases) -> Tensor:
        numbers, kernel, strides = self.numbers, self.request.kernel, self.geometry.stride
        filters = numbers.filters * numbers.groups

        def weight(ay: Expr, ax: Expr, b: Expr, y: Expr, x: Expr, c: Expr, lane: Expr) -> Expr:
            f = b * self.block + lane
            group = 0 if numbers.groups == 1 else f // numbers.filters * numbers.channels
            ky, kx = down.first + ay + y * strides[0], across.first + ax + x * strides[1]
            at = (group + c, f % numbers.filters)
            value = kernel[(*at, ky, kx) if self.request.is_nchw else (ky, kx, *reversed(at))]
            whole = filters % self.block == 0
            return value if whole else arith.if_then_else(f < filters, value, arith.cast(kernel.dtype, 0))

        shape = (down.count, across.count, self.blocks, down.taps, across.taps, numbers.channels, self.block)
        return te.compute(shape, weight, name="packed")

    def _result(self) -> Tensor:
        """Give the result, each element from the phases that it belongs to; 0 where they see no taps."""
        outputs, strides, block = self.request.out, self.geometry.stride, self.block

        def element(*i: Expr) -> Expr:
            n, f, y, x = i if self.request.is_nchw else (i[0], i[3], i[1], i[2])
            ay, ax = ((at + self.geometry.padding[d]) % strides[d] for d, at in enumerate((y, x)))
            value: Expr = arith.cast(outputs.dtype, 0)
            for kind in reversed(self.kinds):
                at = (ay - kind.down.first, ax - kind.across.first)
                taken = kind.tiles[n, f // block, *at, y // strides[0], x // strides[1], f % block]
                inside = [*_within(ay, kind.down, strides[0]), *_within(ax, kind.across, strides[1])]
                value = arith.if_then_else(arith.logical_and(*inside), taken, value) if inside else taken
            return value

        names = [a.name for a in outputs.op.axis]
        return te.compute(outputs.shape, element, name="conv2d_transpose", varargs_names=names)

    def scheduled(self) -> Schedule:
        """Give the schedule."""
        s, out, (stride, across) = self.s, self.out, self.geometry.stride
        axes = out.op.axis
        n, f, y, x = axes if self.request.is_nchw else (axes[0], axes[3], *axes[1:3])
        stage = s[out]
        blocks, inside = stage.split(f, factor=self.block)
        vectors, lane = stage.split(inside, factor=self.lanes)
        bands, y = stage.split(y, factor=self._band() * stride)
        y, phase = stage.split(y, factor=stride)
        columns, column = stage.split(x, factor=COLUMNS // across * across)
        outer = [n, bands, blocks] if self.cfg[OUTER].val else [n, blocks, bands]
        stage.reorder(*outer, y, phase, columns, vectors, column, lane)
        stage.vectorize(lane)
        is_even = len(self.kinds) == 1
        tile.unroll_all(s, out, [vectors, column] if is_even else [phase, vectors, column])
        parallel = tile.parallel_outer(s, out, outer)
        for kind in self.kinds:
            s[kind.tiles].compute_at(stage, parallel)
            s[kind.tiles].set_scope("local")
            self._accumulate(kind)
            self.request.pack(s, kind.packed, 3, self.lanes)
        if self.padded is not self.request.image:
            self.request.copy(s, self.padded, self.lanes)
        return s

    def _band(self) -> int:
        """Give the rows of a phase whose sums are kept until they are written."""
        height, (rows, columns) = self.cfg[HEIGHT].val, self.seen.places
        phases = self.geometry.stride[0] * self.geometry.stride[1]
        most = self.cfg[BAND].val // (4 * phases * columns * self.block)
        return min(rows, max(height, most // height * height))

    def _accumulate(self, kind: Kind) -> None:
        s, stage = self.s, self.s[kind.tiles]
        n, b, ay, ax, y, x, inside = kind.tiles.op.axis
        rc, ry, rx = kind.tiles.op.reduce_axis
        vectors, lane = stage.split(inside, factor=self.lanes)
        between, unrolled = stage.split(rc, factor=self.cfg[UNROLL].val)
        yo, y = stage.split(y, factor=self.cfg[HEIGHT].val)
        xo, x = stage.split(x, factor=self.cfg[WIDTH].val)
        stage.reorder(n, b, ay, ax, yo, xo, ry, rx, between, unrolled, y, x, vectors, lane)
        stage.vectorize(lane)
        tile.unroll_all(s, kind.tiles, [unrolled, y, x, vectors])
        if self.cfg[PREFETCH].val:
            stage.prefetch(kind.packed, between, max(1, self.cfg[PREFETCH].val // self.cfg[UNROLL].val))


def _within(at: Expr, phases: Phases, stride: int) -> Iterator[Expr]:
    """Give the conditions under which a phase is one of these."""
    if phases.first:
        yield at >= phases.first
    if phases.first + phases.count < stride:
        yield at < phases.first + phases.count
