"""Products with few results of long sums on processors: threads share the sums, not the results.

    for part in parallel(range(P)):                     # of the depth
        for columns, rows in tiles:
            for k in range(K / P):
                sums[i, j] += A[i, part * K / P + k] * B[part * K / P + k, j]       # in registers
            partial[part, i, j] = sums[i, j]
    C[i, j] = epilogue(partial[0, i, j] + ... + partial[P - 1, i, j])

As a computation it is a batch of P products, and the cost model takes it for one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import Any

from .... import te
from ....ir import arith
from ....ir.expr import Expr
from ....schedule.schedule import Schedule, create_schedule
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target, get_threads
from .. import register_tile as tile
from ..epilogue import last
from .algorithm import Plan
from .gemm import shape_of
from .gemm_cost import Blocking
from .product import ProductRequest

KNOBS = PARTS, ROWS, VECTORS, UNROLL = "split_parts", "split_rows", "split_vectors", "split_unroll"
PART_COUNTS = (2, 3, 4, 6, 8)
LONG = 1024  # terms of a sum, at least
FEW = 2048  # results, at most: with more of them there are enough tiles for threads to share
JOIN_CYCLES = 2.0  # for a vector of one part's sums that is written, read and added
JOIN_LAUNCH = 400.0  # cycles until the results are begun, when all parts are done


@dataclass(frozen=True, slots=True)
class Stages:
    """What is computed, in order.

    packed   (P, panels, K / P, T); None where B is read as it lies
    partial  (P, M, panels, T), sums
    out      (M, N)
    """

    packed: Tensor | None
    partial: Tensor
    out: Tensor


def plan(cfg: Knobs, request: ProductRequest) -> Plan | None:
    """Give the plan of a product with few results and long sums that several threads can share evenly."""
    threads = get_threads()
    parts = [p for p in PART_COUNTS if request.k % p == 0 and p % threads == 0]
    few = request.m * request.n <= FEW and request.k >= LONG
    if threads == 1 or not parts or not few or request.result.ndim != 2 or request.a.dtype.bits != 32:
        return None
    share = _share(request)
    _define(cfg, request, parts, share)

    def scheduled() -> tuple[Schedule, Tensor]:
        stages = _declare(cfg, request)
        s = create_schedule(stages.out.op)
        _schedule(cfg, s, request, stages)
        return s, stages.out

    return Plan("split", KNOBS, lambda p, r, v: share(p.val, r.val, v.val), KNOBS[:3], scheduled)


def _is_across(request: ProductRequest) -> bool:
    """Tell whether the terms of a sum, not the columns, are neighbours in B."""
    kept, depth = ProductRequest.dimensions(request.b, request.product.op)
    return kept < depth


def _is_packed(request: ProductRequest) -> bool:
    return request.constant_b or _is_across(request)


def _share(request: ProductRequest) -> Callable[[Any, Any, Any], Any]:
    """Give the share of the peak that a number of parts and a register tile promise."""
    whole = shape_of(request)
    results = request.m * request.n / whole.lanes

    def share(parts: Any, rows: Any, vectors: Any) -> Any:
        shape = replace(whole, batch=parts, k=request.k // parts)
        packs_b = "whole" if _is_packed(request) else "none"
        blocking = Blocking(rows, vectors, 1, 1, 1, True, False, packs_b)
        cycles = whole.multiplying() / shape.share_of_peak(blocking)
        return whole.multiplying() / (cycles + JOIN_LAUNCH + JOIN_CYCLES * parts * results)

    return share


def _define(cfg: Knobs, request: ProductRequest, parts: list[int], share: Callable[[Any, Any, Any], Any]) -> None:
    """Define the knobs, by default those that promise most."""
    target = get_target()
    lanes = tile.lanes_of(target)
    rows = [r for _, r in tile.row_candidates(request.m, 14)]
    vectors = [v for v in (1, 2, 3, 4, 6, 8) if v == 1 or (v - 1) * lanes < request.n]
    fitting = [c for c in product(parts, rows, vectors) if tile.fits_registers(target, *c[1:])]
    best = max(fitting, key=lambda c: float(share(*c)))
    for name, values, default in zip(KNOBS, (parts, rows, vectors), best, strict=False):
        cfg.define_knob(name, values, default=default)
    cfg.restrict(lambda r, v: tile.fits_registers(target, r.val, v.val), ROWS, VECTORS)
    cfg.define_knob(UNROLL, [1, 2, 4], default=4)


def _declare(cfg: Knobs, request: ProductRequest) -> Stages:
    """Give the product by way of sums over parts of the depth."""
    m, n, parts = request.m, request.n, cfg[PARTS].val
    width = min(n, cfg[VECTORS].val * tile.lanes_of(get_target()))
    panels, step = -(-n // width), request.k // parts
    a, b = (_element(x, request) for x in (request.a, request.b))

    def weight(p: Expr, panel: Expr, k: Expr, lane: Expr) -> Expr:
        column = panel * width + lane
        value = b(column, p * step + k)
        zero = arith.const(0, str(value.dtype))
        return value if n % width == 0 else arith.if_then_else(column < n, value, zero)

    packed = te.compute((parts, panels, step, width), weight, "packed") if _is_packed(request) else None
    depth = te.reduce_axis((0, step), "k")

    def total(p: Expr, i: Expr, panel: Expr, lane: Expr) -> Expr:
        right = weight(p, panel, depth.var, lane) if packed is None else packed[p, panel, depth, lane]
        return te.sum(a(i, p * step + depth.var) * right, axis=depth)

    partial = te.compute((parts, m, panels, width), total, "partial")

    def element(i: Expr, j: Expr) -> Expr:
        sums = [partial[p, i, j // width, j % width] for p in range(parts)]
        return request.epilogue.element(reduce(lambda x, y: x + y, sums), (i, j), last((i, j)))

    return Stages(packed, partial, te.compute((m, n), element, "product"))


def _element(matrix: Tensor, request: ProductRequest) -> Callable[[Expr, Expr], Any]:
    """Give an element of a factor by the row or column of the result, and the term."""
    kept, depth = ProductRequest.dimensions(matrix, request.product.op)
    return (lambda x, k: matrix[x, k]) if kept < depth else (lambda x, k: matrix[k, x])


def _schedule(cfg: Knobs, s: Schedule, request: ProductRequest, stages: Stages) -> None:
    lanes, partial = tile.lanes_of(get_target()), stages.partial
    sums = s.cache_write(partial, "local")
    assert isinstance(sums, Tensor)
    stage = s[partial]
    part, rows, panel, inside = partial.op.axis
    io, ii = stage.split(rows, factor=cfg[ROWS].val)
    loops, lane = tile.split_lanes(s, partial, inside, lanes)
    stage.reorder(part, panel, io, ii, *loops, lane)
    tile.unroll_all(s, partial, [ii, *loops])
    stage.parallel(part)
    _accumulate(cfg, s, sums, lanes)
    s[sums].compute_at(stage, io)
    if stages.packed is not None:
        _pack(s, request, stages.packed, lanes)
    _join(s, stages.out, lanes)


def _accumulate(cfg: Knobs, s: Schedule, sums: Tensor, lanes: int) -> None:
    stage = s[sums]
    *spatial, inside = sums.op.axis
    outer, unrolled = stage.split(sums.op.reduce_axis[0], factor=cfg[UNROLL].val)
    loops, lane = tile.split_lanes(s, sums, inside, lanes)
    stage.reorder(outer, unrolled, *spatial, *loops, lane)
    tile.unroll_all(s, sums, [unrolled, *spatial, *loops])


def _pack(s: Schedule, request: ProductRequest, packed: Tensor, lanes: int) -> None:
    stage = s[packed]
    part, panel, step, lane = packed.op.axis
    if _is_across(request):
        step, inner = stage.split(step, factor=lanes)
        stage.reorder(part, panel, step, lane, inner)
        stage.vectorize(inner)
    else:
        tile.split_lanes(s, packed, lane, lanes)
    stage.parallel(part)
    if request.constant_b:
        stage.precompute()


def _join(s: Schedule, out: Tensor, lanes: int) -> None:
    tile.split_lanes(s, out, out.op.axis[1], lanes)
