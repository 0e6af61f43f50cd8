"""Products with few rows or columns on processors: vectors along the depth, read where they lie.

    for rows in parallel(tiles of the longer side):
        for depth in range(k / 16):
            dots[row, column, 0 .. 15] += A[row, depth * 16 + 0 .. 15] * B[column, depth * 16 + 0 .. 15]
        C[row, column] = sum of dots[row, column]              # transposed in registers, then added up

Nothing of the longer side is packed, so it comes as fast as memory gives it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....schedule.schedule import Schedule, create_schedule
from ....te.axis import Axis
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target
from .. import register_tile as tile
from .algorithm import Plan
from .product import ProductRequest

MOST = 8  # rows or columns of the shorter side
ROWS = (16, 8, 4, 2, 1)  # of the longer side in a tile
KNOBS = ("dot_rows", "dot_unroll")
TRANSPOSE_CYCLES = 3.0  # for each sum, its lanes added up
TILE_CYCLES = 60.0  # of one tile, until the last lanes are added
WAIT_CYCLES = 0.4  # for each element of the longer side


@dataclass(frozen=True, slots=True)
class Sides:
    """The two factors and the axes of the result over what each keeps, the longer one first."""

    long: Tensor
    short: Tensor
    along: Axis
    across: Axis

    @classmethod
    def of(cls, request: ProductRequest) -> Sides:
        """Give the sides of a product."""
        if request.m >= request.n:
            return cls(request.a, request.b, request.rows, request.columns)
        return cls(request.b, request.a, request.columns, request.rows)


def plan(cfg: Knobs, request: ProductRequest) -> Plan | None:
    """Give the plan of a thin product whose longer side lies in memory along the depth."""
    sides, lanes = Sides.of(request), tile.lanes_of(get_target())
    few = tile.size(sides.across)
    kept, depth = ProductRequest.dimensions(sides.long, request.product.op)
    packed_ahead = request.constant_b and sides.long is request.b
    if few > MOST or kept > depth or packed_ahead or not request.in_place or lanes == 1 or request.k < 2 * lanes:
        return None
    target = get_target()
    rows = [r for r in ROWS if r <= tile.size(sides.along) and tile.fits_registers(target, r, few)] or [1]
    unrolls = [u for u in (1, 2, 4) if u * lanes <= request.k]
    estimate = _estimate(request, sides, lanes)
    cfg.define_knob("dot_rows", rows, default=max(rows, key=estimate))
    cfg.define_knob("dot_unroll", unrolls, default=unrolls[min(1, len(unrolls) - 1)])

    def scheduled() -> tuple[Schedule, Tensor]:
        s = create_schedule(request.result.op)
        _schedule(cfg, s, request, sides)
        return s, request.result

    return Plan("dots", KNOBS, lambda rows: estimate(rows.val), ("dot_rows",), scheduled)


def _estimate(request: ProductRequest, sides: Sides, lanes: int) -> Callable[[Any], Any]:
    """Give the share of the multiply-add peak that a number of rows promises."""
    many, few = tile.size(sides.along), tile.size(sides.across)

    def share(rows: Any) -> Any:
        step = np.maximum(np.maximum(rows * few / 2, (rows + few) / 2), 4)
        tiles = np.ceil(many / rows) * (request.k / lanes * step + TRANSPOSE_CYCLES * rows * few + TILE_CYCLES)
        waiting = WAIT_CYCLES * many * request.k / lanes
        return many * few * request.k / (2 * lanes) / (tiles + waiting)

    return share


def _schedule(cfg: Knobs, s: Schedule, request: ProductRequest, sides: Sides) -> None:
    """Sum up in lanes, move the lanes apart in registers, add them up as vectors of neighbouring results."""
    c, lanes = request.result, tile.lanes_of(get_target())
    stage, rows = s[c], cfg["dot_rows"].val
    _, term = stage.split(stage.op.reduce_axis[0], factor=lanes)
    dots = s.rfactor(c, term, c.ndim)
    assert isinstance(dots, Tensor)
    apart = s.cache_read(dots, "local", [c])
    assert isinstance(apart, Tensor)
    *batch, _, _ = c.op.axis
    outer, inner = stage.split(sides.along, factor=rows)
    lane = stage.op.reduce_axis[0]
    stage.reorder(*batch, outer, lane, sides.across, inner)
    tile.unroll_all(s, c, [lane, sides.across])
    stage.vectorize(inner)
    at = tile.parallel_outer(s, c, [*batch, outer])
    s[apart].compute_at(stage, at)
    s[dots].compute_at(stage, at)
    s[dots].set_scope("local")
    _move_lanes(s, apart, sides.along is request.rows)
    _sum_in_lanes(cfg, s, dots)
    if tile.size(sides.across) > 1:
        _lay_along_depth(s, request, sides.short, dots)


def _move_lanes(s: Schedule, apart: Tensor, rows_are_long: bool) -> None:
    """Copy sums so that neighbours along the longer side lie side by side, as vectors are stored."""
    stage = s[apart]
    *batch, i, j, lane = stage.op.axis
    along, across = (-3, -2) if rows_are_long else (-2, -3)
    stage.transform_layout(lambda *at: [*at[:-3], at[across], at[-1], at[along]])
    long, short = (i, j) if rows_are_long else (j, i)
    stage.reorder(*batch, short, long, lane)
    tile.unroll_all(s, apart, [short, long])
    stage.vectorize(lane)


def _sum_in_lanes(cfg: Knobs, s: Schedule, dots: Tensor) -> None:
    stage = s[dots]
    *spatial, lane = stage.op.axis
    outer, unrolled = stage.split(stage.op.reduce_axis[0], factor=cfg["dot_unroll"].val)
    stage.reorder(outer, unrolled, *spatial, lane)
    tile.unroll_all(s, dots, [unrolled, *spatial])
    stage.vectorize(lane)


def _lay_along_depth(s: Schedule, request: ProductRequest, matrix: Tensor, dots: Tensor) -> None:
    """Copy the shorter side so that its depth lies along memory, where it does not."""
    kept, depth = ProductRequest.dimensions(matrix, request.product.op)
    if kept < depth:
        return
    copy = s.cache_read(matrix, "global", [dots])
    assert isinstance(copy, Tensor)
    stage = s[copy]
    stage.transform_layout(lambda *at: [*at[: matrix.ndim - 2], at[kept], at[depth]])
    axes = list(stage.op.axis)
    terms, term = stage.split(axes[depth], factor=tile.lanes_of(get_target()))
    stage.reorder(*axes[: matrix.ndim - 2], terms, axes[kept], term)
    stage.vectorize(term)
    if request.constant_b and matrix is request.b:
        stage.precompute()
