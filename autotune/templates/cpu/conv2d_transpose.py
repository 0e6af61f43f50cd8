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
from typing import Any

from .... import te
from ....ir import arith
from ....ir.arith import int_value
from ....ir.expr import Expr
from ....schedule.schedule import Schedule, create_schedule
from ....te.operators.conv2d_transpose import Enlargement
from ....te.operators.pad import pad
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target, get_threads
from .. import register_tile as tile
from . import rows as by_stages
from .algorithm import Plan, choose
from .conv2d_blocked import TileCost

TILE = VECTORS, HEIGHT, WIDTH = "phases_vectors", "phases_height", "phases_width"  # knobs: the register tile
UNROLL, OUTER, BAND = "phases_unroll", "phases_rows_outermost", "phases_band"
DECENT = 0.6  # of the best tile's share that others must promise
BANDS = (16 << 10, 64 << 10, 256 << 10)  # bytes of sums between tiles and the result
NEAR = 64 << 10  # of them by default
COLUMNS = 16  # of the result that are turned together
MOST_STRIDE = 8


@dataclass(frozen=True, slots=True)
class TransposedRequest:
    """A transposed convolution as it was asked for, `out` as its definition says it.

    constant_weights  whether what is made of the weights alone may be made ahead of the calls
    """

    image: Tensor
    kernel: Tensor
    out: Tensor
    geometry: Enlargement
    groups: int
    is_nchw: bool
    constant_weights: bool


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
class Numbers:
    """A transposed convolution as numbers.

    channels, filters  of one group
    places             rows and columns of one phase of the result
    height             rows of the image
    before, after      rows and columns above and left of the image, and below and right of it, that are seen
    """

    batch: int
    channels: int
    filters: int
    groups: int
    places: tuple[int, int]
    height: int
    before: tuple[int, int]
    after: tuple[int, int]

    @classmethod
    def of(cls, request: TransposedRequest) -> Numbers:
        """Give the numbers."""
        image = [int_value(d) or 1 for d in request.image.shape]
        out = [int_value(d) or 1 for d in request.out.shape]
        if not request.is_nchw:
            image, out = ([n, c, h, w] for n, h, w, c in (image, out))
        places, before, after = [], [], []
        for dim in (0, 1):
            stride, low = request.geometry.stride[dim], request.geometry.padding[dim]
            count = -(-out[2 + dim] // stride)
            places.append(count)
            before.append(max(0, request.geometry.most_taps(dim) - 1 - low // stride))
            after.append(max(0, count - 1 + (stride - 1 + low) // stride - (image[2 + dim] - 1)))
        groups = request.groups
        return cls(
            image[0], image[1] // groups, out[1] // groups, groups,
            (places[0], places[1]), image[2], (before[0], before[1]), (after[0], after[1]),
        )  # fmt: skip


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
    by_phases = plan(cfg, request)
    if by_phases is not None:
        return choose(cfg, [by_phases]).scheduled()
    s = create_schedule(request.out.op)
    by_stages.schedule_stages(cfg, s)
    return s, request.out


def plan(cfg: Knobs, request: TransposedRequest) -> Plan | None:
    """Give the plan of a convolution of 4-byte elements; groups must be whole vectors of channels."""
    numbers, lanes = Numbers.of(request), tile.lanes_of(get_target())
    if request.image.dtype.bits != 32 or max(request.geometry.stride) > MOST_STRIDE:
        return None
    if numbers.groups > 1 and numbers.filters % lanes:
        return None
    taps = (-(-n // s) for n, s in zip(request.geometry.taps, request.geometry.stride, strict=True))
    ty, tx = taps
    phases = request.geometry.stride[0] * request.geometry.stride[1]
    cost = TileCost(
        numbers.places, numbers.filters * numbers.groups, numbers.channels * ty * tx, numbers.batch * phases,
        lanes, get_threads(),
    )  # fmt: skip
    knobs = _define(cfg, numbers, cost)

    def made() -> tuple[Schedule, Tensor]:
        nest = _Nest(cfg, request, numbers, lanes)
        return nest.scheduled(), nest.out

    return Plan("phases", knobs, lambda v, h, w: cost.share(v.val, h.val, w.val), TILE, made)


def _define(cfg: Knobs, numbers: Numbers, cost: TileCost) -> tuple[str, ...]:
    """Define the knobs, by default the tile that costs least; give their names."""
    target, (rows, columns), lanes = get_target(), numbers.places, cost.lanes
    whole = -(-cost.filters // lanes)
    vectors = [v for v in (1, 2, 3, 4) if v <= whole and (numbers.groups == 1 or numbers.filters % (v * lanes) == 0)]
    heights = [h for h in (1, 2, 3, 4) if h <= rows]
    widths = [c[-1] for c in tile.row_candidates(columns)]
    fitting = [t for t in product(vectors, heights, widths) if tile.fits_registers(target, t[1] * t[2], t[0])]
    best = max(fitting, key=lambda t: float(cost.share(*t)))
    for name, values, default in zip(TILE, (vectors, heights, widths), best, strict=True):
        cfg.define_knob(name, values, default=default)
    cfg.restrict(lambda v, h, w: tile.fits_registers(target, h.val * w.val, v.val), *TILE)
    least = DECENT * float(cost.share(*best))
    cfg.restrict(lambda v, h, w: cost.share(v.val, h.val, w.val) >= least, *TILE)
    unrolls = [u for u in (1, 2, 4) if numbers.channels % u == 0]
    cfg.define_knob(UNROLL, unrolls, default=unrolls[-1])
    cfg.define_knob(OUTER, [False, True])
    cfg.define_knob(BAND, list(BANDS), default=NEAR)
    return (*TILE, UNROLL, OUTER, BAND)


class _Nest:
    """The schedule of one choice."""

    def __init__(self, cfg: Knobs, request: TransposedRequest, numbers: Numbers, lanes: int) -> None:
        self.cfg, self.request, self.numbers, self.lanes = cfg, request, numbers, lanes
        self.geometry = request.geometry
        self.block = lanes * cfg[VECTORS].val
        self.blocks = -(-numbers.filters * numbers.groups // self.block)
        self.rows_are_padded = cfg[HEIGHT].val > 1  # else those outside of the image are left out
        self.before = self.rows_are_padded * numbers.before[0], numbers.before[1]
        self.padded = self._padded()
        kinds = product(*(Phases.of(self.geometry.taps[d], self.geometry.stride[d]) for d in (0, 1)))
        self.kinds = [self._kind(down, across) for down, across in kinds]
        self.out = self._result()
        self.s = create_schedule(self.out.op)

    def place(self, n: Any, channel: Any, y: Any, x: Any) -> tuple[Any, ...]:
        """Give four numbers or indices in the order that images, and results, have their dimensions."""
        return (n, channel, y, x) if self.request.is_nchw else (n, y, x, channel)

    def _padded(self) -> Tensor:
        after, image = (self.rows_are_padded * self.numbers.after[0], self.numbers.after[1]), self.request.image
        if not any((*self.before, *after)):
            return image
        return pad(image, self.place(0, 0, *self.before), self.place(0, 0, *after), name="padded")

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
            inside = None if self.rows_are_padded else arith.logical_and(row >= 0, row < numbers.height)
            value = self.padded[self.place(n, first + rc, row, column)].astype(result)
            value = value * packed[ay, ax, b, ry, rx, rc, lane].astype(result)
            return te.sum(value, axis=[rc, ry, rx], where=inside)

        shape = (numbers.batch, self.blocks, down.count, across.count, *numbers.places, self.block)
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
            self._pack(kind)
        if self.padded is not self.request.image:
            self._copy()
        return s

    def _band(self) -> int:
        """Give the rows of a phase whose sums are kept until they are written."""
        height, (rows, columns) = self.cfg[HEIGHT].val, self.numbers.places
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

    def _pack(self, kind: Kind) -> None:
        stage = self.s[kind.packed]
        if self.request.constant_weights:
            stage.precompute()
        _, lane = stage.split(kind.packed.op.axis[-1], factor=self.lanes)
        stage.vectorize(lane)
        stage.parallel(stage.fuse(*kind.packed.op.axis[:3]))

    def _copy(self) -> None:
        """Copy the image with its padding, in NCHW with all channels of a row side by side."""
        if self.request.is_nchw:
            self.s[self.padded].transform_layout(lambda n, c, y, x: [n, y, c, x])
        tile.copy_stage(self.s, self.padded, self.lanes, parallel=True)


def _within(at: Expr, phases: Phases, stride: int) -> Iterator[Expr]:
    """Give the conditions under which a phase is one of these."""
    if phases.first:
        yield at >= phases.first
    if phases.first + phases.count < stride:
        yield at < phases.first + phases.count
