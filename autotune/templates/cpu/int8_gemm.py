"""Products of bytes on processors: a register tile of rows by columns, four products to a lane.

    for rows in parallel(parts_m):
        for j in panels of columns:                          # a panel of B stays in the first cache
            for i in tiles of rows:
                for group in range(K / 4):                   # sums in registers
                    sums += dot4(A[i, group], B_panels[j, group])
                C[i, j] = epilogue(sums + offsets[j])

Panels of B hold four terms of each column side by side.  A is read as it is, row by row, unless it must be copied:
signed, across, or of terms that are no multiple of four.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import gcd
from typing import Any

import numpy as np

from .... import te
from ....ir import arith
from ....ir.expr import Expr
from ....schedule.schedule import Schedule, create_schedule
from ....te.operators.intrinsics import TAPS
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target, get_threads
from .. import register_tile as tile
from .algorithm import Plan
from .int8 import (
    DOTS,
    SIGNED_EXCESS,
    Offsets,
    accumulate,
    excess_of,
    fits_registers,
    offsets,
    tile_cycles,
    unrolled,
    unsigned,
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

    copied  (..., M, K / 4, 4) uint8, None where A is read itself; ... is the batch, if there is one
    packed  (batch * N / T, K / 4, T, 4) int8
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
    lanes = tile.lanes_of(get_target())
    _define(cfg, request, lanes)

    def scheduled() -> tuple[Schedule, Tensor]:
        stages = _declare(cfg, request, data_zero, lanes)
        s = create_schedule(stages.out.op)
        _schedule(cfg, s, stages, request, lanes)
        return s, stages.out

    return Plan("int8", KNOBS, lambda r, v: _share(request, lanes, r.val, v.val), TILE, scheduled)


def _share(request: ProductRequest, lanes: int, rows: Any, vectors: Any) -> Any:
    """Give how fast a register tile is in units of float32 multiply-adds: four products count as one at the peak."""
    groups = -(-request.k // TAPS)
    tiles = request.m // rows * tile_cycles(groups, rows, vectors) + tile_cycles(groups, request.m % rows, vectors)
    least = request.m * request.n * groups / lanes / DOTS
    met = gcd(request.k, ALIASED_BYTES) / ALIASED_BYTES  # the share of all rows of A that fall in one set
    waits = 1 + ALIASED * met * np.maximum(rows - STREAMS, 0)
    return TAPS * least / (np.ceil(request.n / (vectors * lanes)) * tiles * waits)


def _define(cfg: Knobs, request: ProductRequest, lanes: int) -> None:
    target, m = get_target(), request.m
    rows = [r[-1] for r in tile.row_candidates(m, 14)]
    vectors = [v for v in (2, 4, 3, 1, 6) if v == 1 or (v - 1) * lanes < request.n]
    fitting = [t for t in product(rows, vectors) if fits_registers(target, *t)]
    best = max(fitting, key=lambda t: float(_share(request, lanes, *t)))
    cfg.define_knob(ROWS, rows, default=best[0])
    cfg.define_knob(VECTORS, vectors, default=best[1])
    cfg.restrict(lambda r, v: fits_registers(target, r.val, v.val), *TILE)
    least = DECENT * float(_share(request, lanes, *best))
    cfg.restrict(lambda r, v: _share(request, lanes, r.val, v.val) >= least, *TILE)
    parts = [p for p in PART_COUNTS if p == 1 or m % p == 0]
    uneven = request.batch * -(-request.n // (best[1] * lanes)) % get_threads() != 0
    whole = [p for p in parts if m % (p * best[0]) == 0]
    cfg.define_knob(PARTS, parts, default=whole[-1] if uneven and whole else 1)
    cfg.restrict(lambda p, r: (p.val == 1) | (m % (p.val * r.val) == 0), PARTS, ROWS)
    groups = -(-request.k // TAPS)
    unrolls = [u for u in UNROLLS if groups % u == 0]
    cfg.define_knob(UNROLL, unrolls, default=unrolled(target, unrolls))
    cfg.define_knob(COPY, [AS_ROWS, AS_PANELS] if _must_copy(request) else [GIVEN, AS_PANELS])


def _must_copy(request: ProductRequest) -> bool:
    """Tell whether A is no matrix of unsigned rows of whole groups of four terms."""
    return str(request.a.dtype) == "int8" or not _lies_along(request.a, request) or request.k % TAPS != 0


def _lies_along(matrix: Tensor, request: ProductRequest) -> bool:
    """Tell whether the terms of a sum are neighbours in a factor."""
    kept, depth = ProductRequest.dimensions(matrix, request.product.op)
    return kept < depth


def _declare(cfg: Knobs, request: ProductRequest, data_zero: int, lanes: int) -> Stages:
    """Give the product by way of packed weights and tiles of sums."""
    a, m, n, outer = request.a, request.m, request.n, request.outer
    width, groups = cfg[VECTORS].val * lanes, -(-request.k // TAPS)
    blocks = -(-n // width)
    copied = None if cfg[COPY].val == GIVEN else _copied(request, groups)
    packed = _packed(request, groups, width)
    group, four = te.reduce_axis((0, groups), "group"), te.reduce_axis((0, TAPS), "four")

    def of_all(at: tuple[Expr, ...], block: Expr) -> Expr:
        return at[0] * blocks + block if at else block

    def total(*index: Expr) -> Expr:
        *at, i, block, lane = index
        left = a[(*at, i, group * TAPS + four)] if copied is None else copied[(*at, i, group, four)]
        right = packed[of_all(tuple(at), block), group, lane, four]
        return te.sum(left.astype("int32") * right.astype("int32"), axis=[group, four])

    sums = te.compute((*outer, m, blocks, width), total, name="sums")
    added, epilogue = offsets(packed, excess_of(a, data_zero), request.epilogue.bias), request.epilogue.without_bias

    def element(*index: Expr) -> Expr:
        *at, i, j = index
        value = sums[(*at, i, j // width, j % width)]
        if added is not None:
            value = value + added.total[of_all(tuple(at), j // width), j % width]
        return epilogue.element(value, index, j)

    return Stages(copied, packed, added, sums, te.compute((*outer, m, n), element, name="product"))


def _copied(request: ProductRequest, groups: int) -> Tensor:
    """Give unsigned rows of whole groups of four terms."""
    a, k = request.a, request.k
    rows = _lies_along(a, request)
    excess = SIGNED_EXCESS if str(a.dtype) == "int8" else 0

    def term(*index: Expr) -> Expr:
        *outer, i, group, r = index
        at = group * TAPS + r
        value = unsigned(a[(*outer, i, at)] if rows else a[(*outer, at, i)], excess)
        return value if k % TAPS == 0 else arith.if_then_else(at < k, value, arith.const(0, "uint8"))

    return te.compute((*request.outer, request.m, groups, TAPS), term, name="copied")


def _packed(request: ProductRequest, groups: int, width: int) -> Tensor:
    """Give panels of `width` columns, with zeros beyond the last column and the last term."""
    b, k, n = request.b, request.k, request.n
    rows, blocks = _lies_along(b, request), -(-n // width)

    def weight(number: Expr, group: Expr, lane: Expr, r: Expr) -> Expr:
        outer, block = ((number // blocks,), number % blocks) if request.outer else ((), number)
        at, column = group * TAPS + r, block * width + lane
        value = b[(*outer, column, at)] if rows else b[(*outer, at, column)]
        zero = arith.const(0, "int8")
        if k % TAPS:
            value = arith.if_then_else(at < k, value, zero)
        return arith.if_then_else(column < n, value, zero) if n % width else value

    return te.compute((request.batch * blocks, groups, width, TAPS), weight, name="packed")


def _schedule(cfg: Knobs, s: Schedule, stages: Stages, request: ProductRequest, lanes: int) -> None:
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
    accumulate(s, sums, width, cfg[UNROLL].val)
    if stages.copied is not None:
        _copy(cfg, s, stages.copied, lanes)
    _pack(s, stages.packed, _lies_along(request.b, request), lanes)
    if request.constant_b:
        s[stages.packed].precompute()
    if stages.offsets is not None:
        stages.offsets.schedule(s, request.constant_b)


def _pack(s: Schedule, packed: Tensor, along: bool, lanes: int) -> None:
    """Pack columns: four terms at a time where they are neighbours, else vectors of columns, four of them mixed."""
    stage = s[packed]
    block, group, lane, four = packed.op.axis
    stage.parallel(block)
    over, lane = stage.split(lane, factor=lanes)
    if along:
        stage.unroll(lane)
        stage.vectorize(four)
        return
    stage.reorder(block, group, over, four, lane)
    stage.vectorize(lane)
    stage.unroll(four)


def _copy(cfg: Knobs, s: Schedule, copied: Tensor, lanes: int) -> None:
    stage, rows = s[copied], cfg[ROWS].val
    *outer, i, group, four = copied.op.axis
    if cfg[COPY].val == AS_ROWS:
        tile.split_lanes(s, copied, stage.fuse(group, four), TAPS * lanes, TAPS * tile.size(group))
        tile.parallel_outer(s, copied, [*outer, i])
        return
    stage.transform_layout(lambda *at: [*at[:-3], at[-3] // rows, at[-2], at[-3] % rows, at[-1]])
    panel, i = stage.split(i, factor=rows)
    stage.reorder(*outer, panel, group, i, four)
    stage.vectorize(four)
    tile.parallel_outer(s, copied, [*outer, panel])
