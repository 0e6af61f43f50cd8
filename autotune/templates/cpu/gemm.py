"""Products of matrices on processors: a register tile of rows by columns, in blocks that fit the caches.

    for columns in parallel(parts_n):                   # or rows outermost, then columns
        for depth in range(parts_k):
            B_panels = B[depth, columns] packed         # or all of B ahead of the loops, or of the calls
            for rows in range(parts_m):
                A_panels = A[rows, depth] packed
                for j, i in tiles of the block:
                    C[i, j] += A_panels[i] * B_panels[j]   # sums in registers

While one panel of B that is packed ahead is read again and again, the next one is asked for, a little for each tile.
With one part of the depth, sums never leave the registers; with several, they wait in C.
"""

from __future__ import annotations

from typing import Any

from ....schedule.schedule import Schedule, create_schedule
from ....te.axis import Axis
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target, get_threads
from .. import register_tile as tile
from .algorithm import Plan
from .gemm_blocking import MODELLED, best, fits, share_of_peak
from .gemm_cost import L2_BYTES, ProductShape
from .product import ProductRequest

PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
VECTORS = (1, 2, 3, 4, 6, 8)
LEAST_ROWS = 8  # of a block
LEAST_DEPTH = 128  # terms that a sum adds up in registers, at least, before it waits in memory
PREFETCH = "prefetch_b"  # knob: what is asked for while a panel of B is read, if anything ...
AHEAD, PANEL = "ahead", "panel"  # ... what is so many terms further on, or, bit by bit, the next panel
TERMS_AHEAD = 128
FETCHED_ROWS = 12  # of the first factor, at least: with fewer, B is all that is waited for, and comes as fast as it can
KNOBS = (*MODELLED, "unroll_k", PREFETCH)


def plan(cfg: Knobs, request: ProductRequest) -> Plan:
    """Give the plan of a product, any."""
    shape, target = shape_of(request), get_target()
    choices = _choices(shape, request)
    chosen = best(shape, target, tuple(tuple(choices[name]) for name in MODELLED))
    for name, axis in (("tile_m", request.rows), ("tile_n", request.columns)):
        sizes = [(-1, size) for size in choices[name]]
        cfg.define_split(name, axis, "candidate", candidate=sizes, default=(-1, chosen[name]))
    for name in MODELLED[2:]:
        cfg.define_knob(name, choices[name], default=chosen[name])
    tile.define_reduction(cfg, request.k)
    packed = "none" not in choices["pack_b"]
    cfg.define_knob(PREFETCH, ["none", AHEAD, PANEL] if packed else ["none"], default=_prefetched(shape))
    cfg.restrict(lambda *columns: fits(shape, target, _values(*columns)), *MODELLED[:4])

    def scheduled() -> tuple[Schedule, Tensor]:
        s = create_schedule(request.result.op)
        _schedule(cfg, s, request)
        return s, request.result

    return Plan("gemm", KNOBS, lambda *columns: share_of_peak(shape, _values(*columns)), MODELLED, scheduled)


def _values(*columns: Any) -> dict[str, Any]:
    """Give the values of the first knobs of the model, from their entities."""
    sizes = [column.size[-1] for column in columns[:2]]
    return dict(zip(MODELLED, sizes + [column.val for column in columns[2:]], strict=False))


def shape_of(request: ProductRequest) -> ProductShape:
    """Give a product as the cost model knows it."""
    product = request.product.op
    places = (ProductRequest.dimensions(x, product) for x in (request.a, request.b))
    a_across, b_across = (kept < depth for kept, depth in places)
    return ProductShape(
        request.batch, request.m, request.n, request.k, a_across, b_across, request.constant_b,
        tile.lanes_of(get_target()), get_threads(),
    )  # fmt: skip


def _prefetched(shape: ProductShape) -> str:
    """Give what is best asked for of a second factor that is packed ahead and larger than the second cache."""
    is_far = shape.n * shape.k * 4 > L2_BYTES
    return PANEL if shape.constant_b and is_far and shape.m >= FETCHED_ROWS else "none"


def _choices(shape: ProductShape, request: ProductRequest) -> dict[str, list[Any]]:
    """Give the candidates of each knob of the model; register tiles by their size."""
    wide = [shape.lanes * v for v in VECTORS if shape.lanes * v < shape.n + shape.lanes]
    deep = [p for p in PARTS if shape.k >= p * LEAST_DEPTH] if request.in_place else []
    return {
        "tile_m": [size for _, size in tile.row_candidates(shape.m, 16)],
        "tile_n": [shape.n] if shape.n < shape.lanes else wide,
        "parts_m": [p for p in PARTS if p * LEAST_ROWS < shape.m + LEAST_ROWS],
        "parts_n": [p for p in PARTS if p * 2 * shape.lanes < shape.n + 2 * shape.lanes],
        "parts_k": deep or [1],
        "outer": ["columns", "rows"],
        "pack_a": ["none", "block"],
        "pack_b": ["whole"] if shape.constant_b else ["none", "block", "whole"],
    }


def _schedule(cfg: Knobs, s: Schedule, request: ProductRequest) -> None:
    """Attach sums and packed panels to the blocks that they belong to."""
    c, lanes = request.result, tile.lanes_of(get_target())
    stage = s[c]
    sums = c if cfg["parts_k"].val > 1 else tile.accumulate(s, request.product)
    *batch, rows, columns = c.op.axis
    io, ii = cfg["tile_m"].apply(s, c, rows)
    jo, ji = cfg["tile_n"].apply(s, c, columns)
    ic, io = stage.split(io, factor=-(-tile.size(io) // cfg["parts_m"].val))
    jc, jo = stage.split(jo, factor=-(-tile.size(jo) // cfg["parts_n"].val))
    loops, lane = tile.split_lanes(s, c, ji, lanes)
    columns_outer = cfg["outer"].val == "columns"
    outer, inner = (jc, ic) if columns_outer else (ic, jc)
    tile.unroll_all(s, c, [ii, *loops])
    if sums is c:
        first, terms = _cut_depth(cfg, s, c)
        along = terms[0]
        stage.reorder(*batch, outer, first, inner, jo, io, *terms, ii, *loops, lane)
        tile.parallel_outer(s, c, [*batch, outer])
    else:
        stage.reorder(*batch, outer, inner, jo, io, ii, *loops, lane)
        first = tile.parallel_outer(s, c, [*batch, outer])
        s[sums].compute_at(stage, io)
        along = _accumulate(cfg, s, sums, lanes)
    panels = _pack(cfg, s, request, sums, *((inner, first) if columns_outer else (first, inner)))
    if panels is not None and cfg[PREFETCH].val == AHEAD:
        s[sums].prefetch(panels, along, max(1, TERMS_AHEAD // cfg["unroll_k"].val))
    if panels is not None and cfg[PREFETCH].val == PANEL:
        stage.prefetch(panels, jo, evenly=True)


def _cut_depth(cfg: Knobs, s: Schedule, c: Tensor) -> tuple[Axis, tuple[Axis, Axis]]:
    """Cut the loop over terms in parts and these in unrolled ones."""
    stage, unrolled = s[c], cfg["unroll_k"].val
    depth = stage.op.reduce_axis[0]
    step = -(-tile.size(depth) // cfg["parts_k"].val)
    part, rest = stage.split(depth, factor=-(-step // unrolled) * unrolled)
    terms, term = stage.split(rest, factor=unrolled)
    stage.unroll(term)
    return part, (terms, term)


def _pack(cfg: Knobs, s: Schedule, request: ProductRequest, sums: Tensor, at_a: Axis, at_b: Axis) -> Tensor | None:
    """Pack the factors as the knobs say; `at_a` and `at_b` are the loops over the blocks of each.

    Gives the panels of the second factor, or None.
    """
    stage = s[request.result]
    if cfg["pack_a"].val == "block":
        s[_packed(s, request, request.a, sums, cfg["tile_m"].size[-1])].compute_at(stage, at_a)
    if cfg["pack_b"].val == "none":
        return None
    panels = _packed(s, request, request.b, sums, cfg["tile_n"].size[-1])
    if cfg["pack_b"].val == "block":
        s[panels].compute_at(stage, at_b)
        return panels
    tile.parallel_outer(s, panels, s[panels].leaf_iter_vars[: request.b.ndim - 1])
    if request.constant_b:
        s[panels].precompute()
    return panels


def _accumulate(cfg: Knobs, s: Schedule, sums: Tensor, lanes: int) -> Axis:
    """Order the computing stage: the sum outside of the register tile, its innermost part unrolled.

    Gives the loop over terms.
    """
    stage = s[sums]
    *spatial, columns = stage.op.axis
    outer, unrolled = stage.split(stage.op.reduce_axis[0], factor=cfg["unroll_k"].val)
    loops, lane = tile.split_lanes(s, sums, columns, lanes, cfg["tile_n"].size[-1])
    stage.reorder(outer, unrolled, *spatial, *loops, lane)
    tile.unroll_all(s, sums, [unrolled, *spatial, *loops])
    return outer


def _packed(s: Schedule, request: ProductRequest, matrix: Tensor, sums: Tensor, size: int) -> Tensor:
    """Copy a matrix into panels of `size` rows or columns, each contiguous as the register tile reads it.

    A panel holds `size` elements for each term of the sum, one after the other.  The loops are over batches, then
    panels, then what is in one.
    """
    kept, depth = ProductRequest.dimensions(matrix, request.product.op)
    copy = s.cache_read(matrix, "global", [sums])
    assert isinstance(copy, Tensor)
    stage, lanes = s[copy], tile.lanes_of(get_target())
    stage.transform_layout(lambda *i: [*i[: matrix.ndim - 2], i[kept] // size, i[depth], i[kept] % size])
    axes = list(stage.op.axis)
    batch = axes[: matrix.ndim - 2]
    panel, element = stage.split(axes[kept], factor=size)
    if depth < kept:
        stage.reorder(*batch, panel, axes[depth], element)
        if size > 1:
            tile.split_lanes(s, copy, element, lanes)
        return copy
    terms, term = stage.split(axes[depth], factor=lanes)
    groups, element = stage.split(element, factor=min(size, lanes))
    stage.reorder(*batch, panel, terms, groups, element, term)
    stage.unroll(element)
    stage.vectorize(term)
    return copy
