"""Winograd's convolutions of 3 x 3 windows on processors: tiles are transformed, multiplied and transformed back by
blocks that stay in the second cache.

for block of tile rows in parallel:
    for input channels:      pad, B^T d, (B^T d) B      -> tiles
    for output channels:
        for place in a tile: tiles x weights            -> products, a register tile of tiles by channels at a time
        A^T m, (A^T m) A                                -> result, by lines whose channels and pixels are then turned
                                                           where vectors of pixels are no whole tiles

Threads share blocks of tiles, or else output channels: each then transforms all tiles for its own part of the weights,
as reading what another processor has just written may cost more.

Weights are asked for in advance.  Errors are those of `te/operators/cook_toom.py`; tiles of 6 x 6 results are offered
where the user accepts theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ....ir.arith import int_value
from ....ir.expr import Expr
from ....schedule.schedule import Schedule, create_schedule
from ....schedule.stage import Stage
from ....te.axis import Axis
from ....te.operators.cook_toom import transforms
from ....te.operators.winograd import Sizes, Stages, winograd_lines, winograd_result, winograd_stages
from ....te.tensor import Tensor
from ....te.tolerance import tolerance
from ...space import Knobs
from ...template import get_target, get_threads
from .. import register_tile as tile
from . import turned as turning
from .algorithm import Plan
from .request import ConvolutionRequest
from .winograd_cost import Blocking, Cost, Shape

OUTPUTS = (4, 2, 6)  # rows and columns of a tile of the result
TILES = (8, 14, 16, 28, 56)  # at most, in a block
ROWS = (4, 5, 6, 7, 8, 9, 10, 12, 13, 14)  # tiles of a register tile
VECTORS = (1, 2, 3, 4)  # of output channels in a register tile
KNOBS = ("winograd_outputs", "winograd_tiles", "winograd_rows", "winograd_vectors", "winograd_whole")
AROUND = UNROLL, PREFETCH = "winograd_unroll", "winograd_prefetch"  # knobs of the sums' loop
NAME = "conv2d_winograd"  # of the result
AHEAD = (64, 0, 96)  # input channels for whose weights caches are asked ahead
FEWEST_SUMS = 8  # of a register tile: multiply-adds that the units have under way


class Choice(NamedTuple):
    """The values of the knobs, in the order of `KNOBS`, and of the sums' loop.

    outputs  rows and columns of a tile of the result
    most     tiles in a block
    rows     tiles of a register tile
    vectors  of output channels in a register tile
    whole    whether threads share panels of output channels, and each transforms all tiles for its own, else blocks
    unroll   input channels that are written out
    ahead    input channels for whose weights caches are asked ahead
    """

    outputs: int
    most: int
    rows: int
    vectors: int
    whole: bool
    unroll: int
    ahead: int


def plan(cfg: Knobs, request: ConvolutionRequest) -> Plan | None:
    """Give the plan of a convolution of 3 x 3 windows with stride 1 and channels that fill vectors, else None."""
    shape, lanes = Shape.of(request), tile.lanes_of(get_target())
    if shape is None or lanes < 2 or min(shape.channels, shape.filters) < lanes:
        return None
    if request.layout not in ("NCHW", "NHWC") and (shape.channels % lanes or shape.filters % lanes):
        return None
    outputs = _accurate(request, shape)
    if not outputs:
        return None
    cost = Cost(shape, lanes, get_threads(), request.constant_weights)
    _define(cfg, cost, outputs)

    def scheduled() -> tuple[Schedule, Tensor]:
        choice = Choice(*(cfg[name].val for name in (*KNOBS, *AROUND)))
        return _Nest(request, shape, lanes, choice).scheduled()

    return Plan("winograd", (*KNOBS, *AROUND), _estimate(cost), KNOBS, scheduled)


def _accurate(request: ConvolutionRequest, shape: Shape) -> list[int]:
    """Give the sizes of tiles whose errors stay within what is allowed for a direct convolution."""
    allowed = tolerance(request.declare())
    return [m for m in OUTPUTS if transforms(m, 3).relative_error(shape.channels) <= allowed]


def _define(cfg: Knobs, cost: Cost, outputs: list[int]) -> None:
    """Define the knobs; by default the estimate is at its best."""
    target, shape = get_target(), cost.shape
    vectors = [v for v in VECTORS if shape.filters % (v * cost.lanes) == 0] or [1]
    columns = (outputs, list(TILES), list(ROWS), vectors, [False, True])

    @cache
    def fits(rows: int, vectors: int) -> bool:
        return bool(tile.fits_registers(target, rows, vectors)) and rows * vectors >= FEWEST_SUMS

    @cache
    def is_first(outputs: int, most: int) -> bool:
        """Tell whether no lesser number of tiles makes the same blocks."""
        blocking = Blocking.of(shape, outputs, most)
        return all(Blocking.of(shape, outputs, t) != blocking for t in TILES if t < most)

    valid = [c for c in product(*columns) if is_first(c[0], c[1]) and fits(c[2], c[3])]
    best = max(valid, key=lambda c: cost.speedup(*c))
    for name, values, default in zip(KNOBS, columns, best, strict=True):
        cfg.define_knob(name, values, default=default)
    cfg.define_knob(UNROLL, [1, 2, 4, 8], default=4)
    cfg.define_knob(PREFETCH, list(AHEAD), default=AHEAD[0])
    cfg.restrict(lambda m, t: is_first(int(m.val), int(t.val)), *KNOBS[:2])
    cfg.restrict(lambda r, v: fits(int(r.val), int(v.val)), *KNOBS[2:4])


def _estimate(cost: Cost) -> Callable[..., Any]:
    """Give the speed that configurations promise, as a function of the values of `KNOBS`, single ones or arrays."""
    known = np.vectorize(cache(lambda *choice: cost.speedup(*choice)), otypes=[float])
    return lambda *columns: known(*(column.val for column in columns))


class _Nest:
    """The schedule of one choice."""

    def __init__(self, request: ConvolutionRequest, shape: Shape, lanes: int, choice: Choice) -> None:
        self.request, self.lanes, self.choice = request, lanes, choice
        blocking = Blocking.of(shape, choice.outputs, choice.most)
        self.sizes = Sizes(
            shape.batch, shape.height, shape.width, (shape.padding, shape.padding), shape.image,
            (shape.channels, shape.filters), lanes, lanes * choice.vectors, blocking.block,
        )  # fmt: skip
        self.stages, self.lines, self.turned, self.out = _declared(request, self.sizes, choice.outputs)
        self.s = create_schedule(self.out.op)

    def scheduled(self) -> tuple[Schedule, Tensor]:
        """Give the schedule and the result."""
        self.weights()
        block, channels = self.result()
        self.products(channels)
        self.tiles(block)
        return self.s, self.out

    def vectors(self, tensor: Tensor, axis: Axis) -> list[Axis]:
        """Cut an axis in vectors; gives the loops that it has become, the vectors written out."""
        loops, lane = tile.split_lanes(self.s, tensor, axis, self.lanes)
        tile.unroll_all(self.s, tensor, loops)
        return [*loops, lane]

    def weights(self) -> None:
        """Transform weights, ahead of the calls where they are constant: then with the least code to be compiled."""
        s, half, whole = self.s, self.stages.half_weights, self.stages.weights
        for stage, place in ((half, 1), (whole, 2)):
            axes = list(s[stage].op.axis)
            unrolled, channel = axes.pop(place), axes.pop()
            vectors, _ = tile.split_lanes(s, stage, channel, self.lanes)
            s[stage].reorder(*axes, *vectors, unrolled)
            s[stage].unroll(unrolled)
            if not self.request.constant_weights:
                tile.unroll_all(s, stage, vectors)
        s[whole].parallel(s[whole].op.axis[0])
        if self.request.constant_weights:
            s[half].parallel(s[half].op.axis[0])
            s[half].precompute()
            s[whole].precompute()
        else:
            s[half].compute_at(s[whole], s[whole].op.axis[0])

    def result(self) -> tuple[Axis, Axis]:
        """Order the stages that give the result; gives its loops over blocks of tiles and panels of channels."""
        stage, m = self.s[self.out], self.choice.outputs
        n, channel, y, x, inner = self.places(stage)
        (u, image), (v, rows), (w, columns) = (
            stage.split(axis, factor=size) for axis, size in zip((n, y, x), self.pixels(), strict=True)
        )
        row, p = stage.split(rows, factor=m)
        panel, vector = channel
        shares: list[Axis] = []
        if self.choice.whole:
            share, panel = stage.split(panel, nparts=get_threads())
            shares = [share]
        together = min(self.lanes, self.sizes.block[2] * m) if self.request.layout == "NCHW" else m
        column, pixels = stage.split(columns, factor=together)
        stage.reorder(*shares, u, v, w, panel, image, row, vector, p, column, pixels, inner)
        if self.turned is None:
            stage.unroll(pixels)
            stage.vectorize(inner)
        else:
            stage.reorder(inner, pixels)
            stage.unroll(inner)
            stage.vectorize(pixels)
            turning.schedule(self.s, self.turned, self.out, column, self.lanes, self.lanes)
        if self.lines is not None:
            self._lines(self.lines, p)
        parallel = tile.parallel_outer(self.s, self.out, shares or [u, v, w])
        rows_of = self.s[self.stages.rows]
        rows_of.compute_at(stage, row)
        *_, t, p, b, ki = rows_of.op.axis
        loops = self.vectors(self.stages.rows, ki)
        rows_of.reorder(b, t, *loops[:-1], p, loops[-1])
        rows_of.unroll(p)
        return w if shares else parallel, panel

    def _lines(self, lines: Tensor, at: Axis) -> None:
        """Transform products along rows, a line of pixels at a time, before channels and pixels are turned."""
        stage = self.s[lines]
        stage.compute_at(self.s[self.out], at)
        n, c, y, x, ci = lines.op.axis
        column, q = stage.split(x, factor=self.choice.outputs)
        stage.reorder(n, c, y, column, q, ci)
        stage.unroll(q)
        stage.vectorize(ci)

    def pixels(self) -> tuple[int, int, int]:
        """Give the images, and the rows and columns of the result, of one block."""
        images, rows, columns = self.sizes.block
        return images, rows * self.choice.outputs, columns * self.choice.outputs

    def places(self, stage: Stage) -> tuple[Axis, tuple[Axis, Axis], Axis, Axis, Axis]:
        """Give the result's axes: image, (panel of channels, vector within), y, x, and channels of a vector."""
        match self.request.layout:
            case "NCHW":
                n, channel, y, x = stage.op.axis
            case "NHWC":
                n, y, x, channel = stage.op.axis
            case _:
                n, channel, y, x, inner = stage.op.axis
                blocks = max(1, self.sizes.panel // tile.size(inner))
                return n, stage.split(channel, factor=blocks), y, x, inner
        panel, within = stage.split(channel, factor=self.sizes.panel)
        vector, inner = stage.split(within, factor=self.lanes)
        return n, (panel, vector), y, x, inner

    def products(self, channels: Axis) -> None:
        """Keep a tile of tiles by channels in registers over the sum."""
        s, products = self.s, self.stages.products
        sums = s.cache_write(products, "local")
        assert isinstance(sums, Tensor)
        stage = s[products]
        stage.compute_at(s[self.out], channels)
        *_, a, b, k, t, ki = stage.op.axis
        place = stage.fuse(a, b)
        tiles, row = stage.split(t, factor=self.choice.rows)
        stage.reorder(k, place, tiles, row, *self.vectors(products, ki))
        stage.unroll(row)
        inner = s[sums]
        inner.compute_at(stage, tiles)
        *_, t, ki = inner.op.axis
        c, ci = inner.op.reduce_axis
        ci, unrolled = inner.split(ci, factor=min(self.choice.unroll, self.lanes))
        inner.reorder(c, ci, unrolled, t, *self.vectors(sums, ki))
        tile.unroll_all(s, sums, [unrolled, t])
        if self.choice.ahead:
            inner.prefetch(self.stages.weights, ci, self.choice.ahead // tile.size(unrolled))

    def tiles(self, block: Axis) -> None:
        """Transform the image: of each block of channels what a block of tiles reads, then its tiles row by row."""
        s, data, columns, padded = self.s, self.stages.data, self.stages.columns, self.stages.padded
        stage = s[data]
        u, v, w, a, b, c, t, ci = stage.op.axis
        row, column = stage.split(t, factor=self.sizes.block[2])
        stage.reorder(u, v, w, c, row, a, column, b, ci)
        stage.unroll(b)
        stage.vectorize(ci)
        stage.compute_at(s[self.out], block)
        s[columns].compute_at(stage, row)
        n, c_, r, a, x, ci = s[columns].op.axis
        s[columns].reorder(n, c_, r, x, a, ci)
        s[columns].unroll(a)
        s[columns].vectorize(ci)
        s[padded].compute_at(stage, c)
        n, c_, y, x, ci = s[padded].op.axis
        if self.request.layout == "NCHW":
            s[padded].align_bounds(x, self.lanes)
            x, lane = s[padded].split(x, factor=self.lanes)
            s[padded].reorder(n, c_, y, x, ci, lane)
            s[padded].unroll(ci)
            s[padded].vectorize(lane)
        else:
            s[padded].vectorize(ci)


def _declared(
    request: ConvolutionRequest, sizes: Sizes, outputs: int
) -> tuple[Stages, Tensor | None, Tensor | None, Tensor]:
    """Give the chain for a request, lines of the result, sums that are turned if there are any, and the result."""
    image, kernel, forms = request.image, request.kernel, transforms(outputs, 3)
    total = request.declare()

    def chain(at: Callable[..., Any], weight: Callable[..., Any]) -> tuple[Stages, Callable[..., Any]]:
        stages = winograd_stages(at, weight, sizes, forms)
        return stages, winograd_result(stages, sizes, forms)

    match request.layout:
        case "NCHW":
            stages, element = chain(lambda n, c, y, x: image[n, c, y, x], lambda o, i, y, x: kernel[o, i, y, x])
            if sizes.lanes % outputs == 0:  # whole tiles are turned
                return stages, None, *turning.declare(request, NAME, total, element)
            lines, lanes = winograd_lines(element, sizes), sizes.lanes
            out = turning.declare(request, NAME, total, lambda n, c, y, x: lines[n, c // lanes, y, x, c % lanes])
            return stages, lines, *out
        case "NHWC":
            stages, element = chain(lambda n, c, y, x: image[n, y, x, c], lambda o, i, y, x: kernel[y, x, i, o])
            return stages, None, *turning.declare(request, NAME, total, lambda n, y, x, c: element(n, c, y, x))
    taken, made = (int_value(d) or 1 for d in kernel.shape[-2:])

    def weight(o: Expr, i: Expr, y: Expr, x: Expr) -> Any:
        return kernel[o // made, i // taken, y, x, i % taken, o % made]

    stages, element = chain(lambda n, c, y, x: image[n, c // taken, y, x, c % taken], weight)
    out = turning.declare(request, NAME, total, lambda n, c, y, x, ci: element(n, c * made + ci, y, x))
    return stages, None, *out
