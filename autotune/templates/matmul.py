"""Products of matrices: a register tile of rows by columns, over panels of A and B that are packed as they are used.

The `dtype` of a workload is that of both factors: float16 and bfloat16 are summed up in float32 and stored rounded,
int8 gives int32.  "tf32" stands for float32 whose factors tensor cores may round to 10 bits of fraction.
"""

from __future__ import annotations

from ... import te
from ...ir.visit import of_kind
from ...schedule.schedule import Schedule, create_schedule
from ...schedule.stage import Stage
from ...te import operators
from ...te.axis import Axis
from ...te.nodes import Read
from ...te.operation import ComputeOp
from ...te.tensor import Tensor
from ..space import Knobs
from ..template import get_config, get_target, template
from . import register_tile as tile
from .cuda import products
from .product_types import ProductTypes

SCHEDULERS = {"cuda": products.schedule}  # by kind of target; `_schedule` for the others


@template("matmul")
def matmul(
    m: int, n: int, k: int, transpose_a: bool = False, transpose_b: bool = False, dtype: str = "float32"
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable C (m, n) = A (m, k) B (k, n), row-major; any packing is part of the kernel.

    transpose_a, transpose_b  A is (k, m), B is (n, k)
    """
    types = ProductTypes.of(dtype)
    a = te.placeholder((k, m) if transpose_a else (m, k), types.operands, name="A")
    b = te.placeholder((n, k) if transpose_b else (k, n), types.operands, name="B")
    c = operators.matmul(a, b, None, types.total, transpose_a, transpose_b, precision=types.precision)
    return _scheduled(a, b, types.stored(c))


@template("dense")
def dense(m: int, n: int, k: int, dtype: str = "float32") -> tuple[Schedule, list[Tensor]]:
    """Give a tunable Y (m, n) = X (m, k) W (n, k) transposed; any packing is part of the kernel."""
    types = ProductTypes.of(dtype)
    x = te.placeholder((m, k), types.operands, name="data")
    w = te.placeholder((n, k), types.operands, name="weight")
    return _scheduled(x, w, types.stored(operators.dense(x, w, None, types.total, precision=types.precision)))


@template("batch_matmul")
def batch_matmul(
    batch: int, m: int, n: int, k: int, transpose_b: bool = True, dtype: str = "float32"
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable C (batch, m, n) = A (batch, m, k) B (batch, n, k), or B (batch, k, n) without `transpose_b`."""
    types = ProductTypes.of(dtype)
    a = te.placeholder((batch, m, k), types.operands, name="A")
    b = te.placeholder((batch, n, k) if transpose_b else (batch, k, n), types.operands, name="B")
    c = operators.batch_matmul(a, b, None, types.total, transpose_b=transpose_b, precision=types.precision)
    return _scheduled(a, b, types.stored(c))


def _scheduled(a: Tensor, b: Tensor, c: Tensor) -> tuple[Schedule, list[Tensor]]:
    s = create_schedule(c.op)
    SCHEDULERS.get(get_target().kind, _schedule)(get_config(), s)
    return s, [a, b, c]


def _schedule(cfg: Knobs, s: Schedule) -> None:
    """Schedule a product: register tiles of C, in blocks of rows, over panels of columns."""
    c = s.outputs[0]
    product = c if c.op.reduce_axis else c.op.inputs[0]  # which the result rounds
    a, b = product.op.inputs
    lanes = tile.lanes_of(get_target())
    *batch, rows, columns = c.op.axis
    _define(cfg, rows, columns, product.op.reduce_axis[0], lanes)
    cache = tile.accumulate(s, product)
    io, ii = cfg["tile_m"].apply(s, c, rows)
    jo, ji = cfg["tile_n"].apply(s, c, columns)
    block, io = s[c].split(io, factor=cfg["block_m"].val)
    loops, lane = tile.split_lanes(s, c, ji, lanes)
    outer, between = (jo, block) if cfg["columns_outermost"].val else (block, jo)
    s[c].reorder(*batch, outer, between, io, ii, *loops, lane)
    tile.unroll_all(s, c, [ii, *loops])
    parallel = tile.parallel_outer(s, c, [*batch, outer])
    s[cache].compute_at(s[c], io)
    _accumulate(cfg, s, cache, lanes)
    _pack(cfg, s, a, cache, "pack_a", cfg["tile_m"].size[-1], s[c], parallel)
    _pack(cfg, s, b, cache, "pack_b", cfg["tile_n"].size[-1], s[c], parallel)


def _define(cfg: Knobs, rows: Axis, columns: Axis, depth: Axis, lanes: int) -> None:
    m, n, k = (tile.size(axis) for axis in (rows, columns, depth))
    target = get_target()
    sizes = tile.row_candidates(m, 16)
    cfg.define_split("tile_m", rows, "candidate", candidate=sizes, default=tile.first_of(sizes, 8, 6, 4))
    cfg.define_split("tile_n", columns, "candidate", candidate=tile.vector_candidates(n, lanes))
    cfg.define_knob("block_m", [f for f in (1, 2, 4, 8, 16, 32) if f <= m], default=4 if m >= 4 else 1)
    cfg.define_knob("columns_outermost", [False, True])
    cfg.define_knob("pack_a", ["none", "part", "whole"], default="none")
    cfg.define_knob("pack_b", ["none", "part", "whole"], default="whole")
    tile.define_reduction(cfg, k)
    cfg.restrict(lambda r, c: tile.fits_registers(target, r.size[-1], -(-c.size[-1] // lanes)), "tile_m", "tile_n")
    cfg.restrict(lambda p, first: (p.val != "part") | ~first.val.astype(bool), "pack_a", "columns_outermost")
    cfg.restrict(lambda p, first: (p.val != "part") | first.val.astype(bool), "pack_b", "columns_outermost")
    cfg.define_estimate(
        lambda r, c: tile.estimate(r.size[-1], -(-c.size[-1] // lanes)) * tile.coverage(m, r.size[-1]),
        "tile_m",
        "tile_n",
    )
    cfg.define_feature("panel", lambda r, b: r.size[-1] * b.val * k, "tile_m", "block_m")


def _accumulate(cfg: Knobs, s: Schedule, cache: Tensor, lanes: int) -> None:
    """Order the computing stage: the sum outside of the register tile, its innermost part unrolled."""
    stage = s[cache]
    *spatial, columns = stage.op.axis
    outer, unrolled = stage.split(stage.op.reduce_axis[0], factor=cfg["unroll_k"].val)
    loops, lane = tile.split_lanes(s, cache, columns, lanes, cfg["tile_n"].size[-1])
    stage.reorder(outer, unrolled, *spatial, *loops, lane)
    tile.unroll_all(s, cache, [unrolled, *spatial, *loops])


def _pack(
    cfg: Knobs, s: Schedule, matrix: Tensor, cache: Tensor, knob: str, size: int, host: Stage, parallel: Axis
) -> None:
    """Copy a matrix into panels of `size` rows or columns, each panel contiguous as the register tile reads it.

    A panel holds `size` elements for each step of the sum, one after the other.
    """
    where = cfg[knob].val
    if where == "none":
        return
    copy = s.cache_read(matrix, "global", [cache])
    assert isinstance(copy, Tensor)
    stage = s[copy]
    compute = cache.op
    assert isinstance(compute, ComputeOp)
    kept = _kept_dimension(matrix, compute)
    depth = (set(range(matrix.ndim)) - {kept} - set(range(matrix.ndim - 2))).pop()
    stage.transform_layout(lambda *i: [*i[: matrix.ndim - 2], i[kept] // size, i[depth], i[kept] % size])
    axes = list(stage.op.axis)
    panel, element = stage.split(axes[kept], factor=size)
    stage.reorder(*axes[: matrix.ndim - 2], panel, axes[depth], element)
    if size > 1:
        tile.split_lanes(s, copy, element, tile.lanes_of(get_target()))
    if where == "part":
        stage.compute_at(host, parallel)
    else:
        tile.parallel_outer(s, copy, [*axes[: matrix.ndim - 2], panel])


def _kept_dimension(matrix: Tensor, product: ComputeOp) -> int:
    """Give the dimension of an operand that the product keeps, the other of its last two being summed over."""
    depth = product.reduce_axis[0].var
    read = next(r for r in of_kind(product.body[0], Read) if r.tensor.op is matrix.op)
    summed = next(d for d, index in enumerate(read.indices) if index is depth)
    return matrix.ndim - 1 if summed == matrix.ndim - 2 else matrix.ndim - 2
