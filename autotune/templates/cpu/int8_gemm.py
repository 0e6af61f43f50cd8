"""Products of bytes on processors: a register tile of rows by columns, several products to a lane.

    for rows in parallel(parts_m):
        for j in panels of columns:                          # a panel of B stays in the first cache
            for i in tiles of rows:
                for group in range(K / taps):                # sums in registers
                    sums += dot(A[i, group], B_panels[j, group])
                C[i, j] = epilogue(sums + offsets[j])

Panels of B hold `taps` terms of each column side by side: four bytes, or two numbers that bytes were widened to.  A is
read as it is, row by row, unless it must be copied: signed, across, widened, or of terms that are no multiple of four.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import gcd
from typing import Any

import numpy as np

from .... import te
from ....ir import arith
from ....ir.expr import Expr
from ....schedule.schedule import Schedule, create_schedule
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target, get_threads
from .. import register_tile as tile
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
from .product import ProductRequest

TILE = ROWS, VECTORS = "int8_rows", "int8_vectors"  # knobs: the register tile
PARTS, UNROLL, COPY = "int8_parts", "int8_unroll", "int8_copy"
GIVEN, AS_ROWS, AS_PANELS = "given", "rows", "panels"  # values of COPY
KNOBS = (*TILE, PARTS, UNROLL, COPY)
PART_COUNTS = (1, 2, 4, 8)  # of the rows; whole tiles of each, so that only the last rows of all are an edge
UNROLLS = (1, 2, 4)
ALIASED_BYTES = 4096  # rows at a multiple of this distance meet in one set of the first cache
STREAMS = 8  # rows read at once that cost nothing; what each further one costs as a share of the time ...
ALIASED = 0.08  # ... if all of them meet in one set, and so much less as they spread
DECENT = 0.7  # of the best tile's share that others must promise


@dataclass(frozen=True, slots=True)
class Stages:
    """What is computed, in order.

    copied  (..., M, K / taps, taps), None where A is read itself; ... is the batch, if there is one
    packed  (batch * N / T, K / taps, T, taps)
    sums    (..., M, N / T, T) int32
    """

    copied: Tensor | None
    packed: Tensor
    offsets: Offsets | None
    sums: Tensor
    out: Tensor


def plan(cfg: Knobs, request: ProductRequest) -> Plan | None:
    """Give the plan of a product of matrices of bytes, or a batch of them, whose sums are the result."""
    if request.result.ndim > 3 or str(request.b.dtype) != "int8" or str(request.product.dtype) != "int32":
        return None
    return any_plan(cfg, request)


def any_plan(cfg: Knobs, request: ProductRequest, data_zero: int = 0) -> Plan:
    """Give the plan of a product of bytes, whatever its result; `data_zero` stands for zero in the first factor."""
    lanes, factors = tile.lanes_of(get_target()), factors_for(get_target(), request.m)
    share = partial(_share, request, factors, lanes, get_threads())
    _define(cfg, request, factors, lanes, share)

    def scheduled() -> tuple[Schedule, Tensor]:
        stages = _declare(cfg, request, factors, data_zero, lanes)
        s = create_schedule(stages.out.op)
        _schedule(cfg, s, stages, request, factors, lanes)
        return s, stages.out

    return Plan("int8", KNOBS, lambda r, v: share(r.val, v.val), TILE, scheduled)


def _share(request: ProductRequest, factors: Factors, lanes: int, threads: int, rows: Any, vectors: Any) -> Any:
    """Give how fast a register tile is in units of float32 multiply-adds: a step's products count as one at peak."""
    groups = -(-request.k // factors.taps)
    whole, rest = (tile_cycles(factors, groups, r, vectors) for r in (rows, request.m % rows))
    tiles = request.m // rows * whole + rest
    least = request.m * request.n * groups / lanes / DOTS
    met = gcd(request.k, ALIASED_BYTES) / ALIASED_BYTES  # the share of all rows of A that fall in one set
    waits = 1 + ALIASED * met * np.maximum(rows - STREAMS, 0)
    blocks = np.ceil(request.n / (vectors * lanes))
    shared = tile.coverage(request.batch * blocks * _parts(request, lanes, threads, rows, vectors), threads)
    return factors.taps * least / (blocks * tiles * waits) * shared


def _parts(request: ProductRequest, lanes: int, threads: int, rows: Any, vectors: Any) -> Any:
    """Give in how many parts rows are best cut: where threads do not share the blocks of columns evenly, in many."""
    uneven = request.batch * np.ceil(request.n / (vectors * lanes)) % threads != 0
    most = np.max([np.where(request.m % (p * rows) == 0, p, 1) for p in PART_COUNTS], axis=0)
    return np.where(uneven, most, 1)


def _define(
    cfg: Knobs, request: ProductRequest, factors: Factors, lanes: int, share: Callable[[Any, Any], Any]
) -> None:
    target, m = get_target(), request.m
    rows = [r[-1] for r in tile.row_candidates(m, 14)]
    vectors = [v for v in (2, 4, 3, 1, 6) if v == 1 or (v - 1) * lanes < request.n]
    fitting = [t for t in product(rows, vectors) if fits_registers(target, factors, *t)]
    best = max(fitting, key=lambda t: float(share(*t)))
    cfg.define_knob(ROWS, rows, default=best[0])
    cfg.define_knob(VECTORS, vectors, default=best[1])
    cfg.restrict(lambda r, v: fits_registers(target, factors, r.val, v.val), *TILE)
    least = DECENT * float(share(*best))
    cfg.restrict(lambda r, v: share(r.val, v.val) >= least, *TILE)
    parts = [p for p in PART_COUNTS if p == 1 or m % p == 0]
    cfg.define_knob(PARTS, parts, default=int(_parts(request, lanes, get_threads(), *best)))
    cfg.restrict(lambda p, r: (p.val == 1) | (m % (p.val * r.val) == 0), PARTS, ROWS)
    groups = -(-request.k // factors.taps)
    unrolls = [u for u in UNROLLS if groups % u == 0]
    cfg.define_knob(UNROLL, unrolls, default=unrolled(target, unrolls))
    cfg.define_knob(COPY, [AS_ROWS, AS_PANELS] if _must_copy(request, factors) else [GIVEN, AS_PANELS])


def _must_copy(request: ProductRequest, factors: Factors) -> bool:
    """Tell whether A is no matrix of factors in rows of whole groups of terms."""
    return str(request.a.dtype) != factors.data or not _lies_along(request.a, request) or request.k % factors.taps != 0


def _lies_along(matrix: Tensor, request: ProductRequest) -> bool:
    """Tell whether the terms of a sum are neighbours in a factor."""
    kept, depth = ProductRequest.dimensions(matrix, request.product.op)
    return kept < depth


def _declare(cfg: Knobs, request: ProductRequest, factors: Factors, data_zero: int, lanes: int) -> Stages:
    """Give the product by way of packed weights and tiles of sums."""
    a, m, n, outer, taps = request.a, request.m, request.n, request.outer, factors.taps
    width, groups = cfg[VECTORS].val * lanes, -(-request.k // taps)
    blocks = -(-n // width)
    copied = None if cfg[COPY].val == GIVEN else _copied(request, factors, groups)
    packed = _packed(request, factors, groups, width)
    group, tap = te.reduce_axis((0, groups), "group"), te.reduce_axis((0, taps), "tap")

    def of_all(at: tuple[Expr, ...], block: Expr) -> Expr:
        return at[0] * blocks + block if at else block

    def total(*index: Expr) -> Expr:
        *at, i, block, lane = index
        left = a[(*at, i, group * taps + tap)] if copied is None else copied[(*at, i, group, tap)]
        right = packed[of_all(tuple(at), block), group, lane, tap]
        return te.sum(left.astype("int32") * right.astype("int32"), axis=[group, tap])

    sums = te.compute((*outer, m, blocks, width), total, name="sums")
    added = offsets(factors, packed, factors.excess_of(a, data_zero), request.epilogue.bias)
    epilogue = request.epilogue.without_bias

    def element(*index: Expr) -> Expr:
        *at, i, j = index
        value = sums[(*at, i, j // width, j % width)]
        if added is not None:
            value = value + added.total[of_all(tuple(at), j // width), j % width]
        return epilogue.element(value, index, j)

    return Stages(copied, packed, added, sums, te.compute((*outer, m, n), element, name="product"))


def _copied(request: ProductRequest, factors: Factors, groups: int) -> Tensor:
    """Give factors in rows of whole groups of terms."""
    a, k, taps = request.a, request.k, factors.taps
    rows = _lies_along(a, request)

    def term(*index: Expr) -> Expr:
        *outer, i, group, r = index
        at = group * taps + r
        value = factors.of_data(a, *outer, i, at) if rows else factors.of_data(a, *outer, at, i)
        return value if k % taps == 0 else arith.if_then_else(at < k, value, arith.const(0, factors.data))

    return te.compute((*request.outer, request.m, groups, taps), term, name="copied")


def _packed(request: ProductRequest, factors: Factors, groups: int, width: int) -> Tensor:
    """Give panels of `width` columns, with zeros beyond the last column and the last term."""
    b, k, n, taps = request.b, request.k, request.n, factors.taps
    rows, blocks = _lies_along(b, request), -(-n // width)

    def weight(number: Expr, group: Expr, lane: Expr, r: Expr) -> Expr:
        outer, block = ((number // blocks,), number % blocks) if request.outer else ((), number)
        at, column = group * taps + r, block * width + lane
        value = (b[(*outer, column, at)] if rows else b[(*outer, at, column)]).astype(factors.weights)
        zero = arith.const(0, factors.weights)
        if k % taps:
            value = arith.if_then_else(at < k, value, zero)
        return arith.if_then_else(column < n, value, zero) if n % width else value

    return te.compute((request.batch * blocks, groups, width, taps), weight, name="packed")


def _schedule(cfg: Knobs, s: Schedule, stages: Stages, request: ProductRequest, factors: Factors, lanes: int) -> None:
    out, sums = stages.out, stages.sums
    rows, width = cfg[ROWS].val, cfg[VECTORS].val * lanes
    stage = s[out]
    *outer, i, j = out.op.axis
    part, inside = stage.split(i, nparts=cfg[PARTS].val)
    io, ii = stage.split(inside, factor=rows)
    jo, ji = stage.split(j, factor=width)
    vectors, lane = stage.split(ji, factor=lanes)
    stage.reorder(*outer, part, jo, io, ii, vectors, lane)
    stage.vectorize(lane)
    tile.unroll_all(s, out, [ii, vectors])
    tile.parallel_outer(s, out, [*outer, part, jo])
    s[sums].compute_at(stage, io)
    s[sums].set_scope("local")
    accumulate(s, factors, sums, width, cfg[UNROLL].val)
    if stages.copied is not None:
        _copy(cfg, s, stages.copied, lanes)
    _pack(s, stages.packed, _lies_along(request.b, request), lanes)
    if request.constant_b:
        s[stages.packed].precompute()
    if stages.offsets is not None:
        stages.offsets.schedule(s, request.constant_b)


def _pack(s: Schedule, packed: Tensor, along: bool, lanes: int) -> None:
    """Pack columns: a group of terms at a time where they are neighbours, else vectors of columns, mixed."""
    stage = s[packed]
    block, group, lane, tap = packed.op.axis
    stage.parallel(block)
    over, lane = stage.split(lane, factor=lanes)
    if along:
        stage.unroll(lane)
        stage.vectorize(tap)
        return
    stage.reorder(block, group, over, tap, lane)
    stage.vectorize(lane)
    stage.unroll(tap)


def _copy(cfg: Knobs, s: Schedule, copied: Tensor, lanes: int) -> None:
    stage, rows = s[copied], cfg[ROWS].val
    *outer, i, group, tap = copied.op.axis
    if cfg[COPY].val == AS_ROWS:
        taps = tile.size(tap)
        tile.split_lanes(s, copied, stage.fuse(group, tap), taps * lanes, taps * tile.size(group))
        tile.parallel_outer(s, copied, [*outer, i])
        return
    stage.transform_layout(lambda *at: [*at[:-3], at[-3] // rows, at[-2], at[-3] % rows, at[-1]])
    panel, i = stage.split(i, factor=rows)
    stage.reorder(*outer, panel, group, i, tap)
    stage.vectorize(tap)
    tile.parallel_outer(s, copied, [*outer, panel])
