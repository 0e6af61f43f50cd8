"""What all templates of products share: a tile of results that stays in vector registers over the reduction."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ...codegen.llvm.features import is_aarch64
from ...ir.target import Target
from ...schedule.schedule import Schedule
from ...te.axis import Axis
from ...te.tensor import Tensor
from ..space import Knobs

ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 16, 20, 24, 28)  # sizes of a register tile worth trying
UNROLLS = (1, 2, 4, 8, 16)
L2_BYTES = 768 << 10  # of a residual that comes from beyond it


def lanes_of(target: Target, bits: int = 32) -> int:
    """Give the number of elements in one vector register."""
    return max(1, (target.vector_bits or 128) // bits)


def registers_of(target: Target) -> int:
    """Give the number of vector registers."""
    return target.registers or 16


def size(axis: Axis) -> int:
    """Give the extent of an axis of a tunable operator, whose shapes are constant."""
    assert axis.size is not None
    return axis.size


def row_candidates(extent: int, most: int = 28) -> list[tuple[int, int]]:
    """Give the splits of a dimension in register-tile rows: divisors first, then sizes that leave a tail."""
    sizes = [r for r in ROWS if r <= min(extent, most)]
    divisors = [r for r in sizes if extent % r == 0]
    return [(-1, r) for r in divisors + [r for r in sizes if r not in divisors]]


def first_of(candidates: Sequence[tuple[int, int]], *rows: int) -> tuple[int, int]:
    """Give the first split in `rows` rows that is a candidate, else the first candidate."""
    return next((r for r in ((-1, n) for n in rows) if r in candidates), candidates[0])


def vector_candidates(extent: int, lanes: int, most: int = 6) -> list[tuple[int, int]]:
    """Give the splits of a vectorized dimension in whole vectors; narrower ones where the dimension is short."""
    if extent < lanes:
        return [(-1, extent)]
    found = [(-1, lanes * n) for n in range(1, most + 1) if lanes * n <= extent]
    return [s for s in found if extent % s[1] == 0] or found


def fits_registers(target: Target, rows: int, vectors: int) -> bool:
    """Tell whether accumulators, one row of operands and a broadcast value fit (works on arrays, too).

    x86 multiplies by operands in memory; AArch64 reads the next ones ahead, in pairs.
    """
    operands = 2 * vectors + 2 if is_aarch64(target) else vectors + 1
    return rows * vectors + operands <= registers_of(target)


def estimate(rows: Any, vectors: Any) -> Any:
    """Give the share of the multiply-add peak that a register tile allows, from 0 to 1 (works on arrays, too).

    Two multiply-adds and two loads a cycle, and four cycles until a sum can be added to: what most current cores do.
    """
    work = rows * vectors / 2
    return work / np.maximum(np.maximum(work, (rows + vectors) / 2), 4)


def coverage(extent: int, part: Any) -> Any:
    """Give the share of `extent` that whole parts would have to do with (works on arrays, too)."""
    return extent / (np.ceil(extent / part) * part)


def accumulate(schedule: Schedule, out: Tensor) -> Tensor:
    """Compute `out` into registers, to be attached at the loop around the register tile; a local cache of a result."""
    if all(out.op is not result.op for result in schedule.outputs):
        schedule[out].set_scope("local")
        return out
    cache = schedule.cache_write(out, "local")
    assert isinstance(cache, Tensor)
    return cache


def ask_for_residual(schedule: Schedule, out: Tensor, residual: Tensor | None, tiles: Axis) -> None:
    """Let the loop over register tiles ask caches for the part of a large residual that the next tile is added to.

    Processors foresee neither its rows, which are short and far apart, nor its tiles, which lie a whole sum apart.
    """
    if residual is None or prod(size(axis) for axis in out.op.axis) * residual.dtype.bytes <= L2_BYTES:
        return
    schedule[out].prefetch(residual, tiles)


def split_lanes(
    schedule: Schedule, out: Tensor, axis: Axis, lanes: int, extent: int | None = None
) -> tuple[list[Axis], Axis]:
    """Cut an axis in whole vectors and vectorize the inner loop; gives the loops over vectors, and the lanes.

    extent  of the region that the axis will run over, where that is less than the axis' own
    """
    stage = schedule[out]
    extent = extent or size(axis)
    if extent <= lanes and extent == size(axis):
        stage.vectorize(axis)
        return [], axis
    outer, inner = stage.split(axis, factor=lanes)
    stage.vectorize(inner)
    return [outer], inner


def unroll_all(schedule: Schedule, out: Tensor, axes: Sequence[Axis]) -> None:
    """Unroll every axis."""
    for axis in axes:
        schedule[out].unroll(axis)


def parallel_outer(schedule: Schedule, out: Tensor, axes: Sequence[Axis]) -> Axis:
    """Fuse the outermost loops and run them on threads; gives the fused loop."""
    stage = schedule[out]
    fused = stage.fuse(*axes) if len(axes) > 1 else axes[0]
    stage.parallel(fused)
    return fused


def copy_stage(schedule: Schedule, copy: Tensor, lanes: int, parallel: bool) -> None:
    """Schedule a copying stage (padding, packing): vector lanes innermost, threads outermost."""
    stage = schedule[copy]
    axes = list(stage.op.axis)
    if size(axes[-1]) >= 2:
        split_lanes(schedule, copy, axes[-1], lanes)
    if parallel and len(axes) > 1:
        parallel_outer(schedule, copy, axes[: max(1, len(axes) - 2)])


def copy_rows(schedule: Schedule, copy: Tensor, lanes: int, is_nchw: bool) -> None:
    """Schedule a copy of an image: threads share its rows as they share those of the result that are made of them.

    So a row is in the cache of the core that reads it, and no two cores write to neighbouring rows at a time.
    """
    stage = schedule[copy]
    n, *_, last = stage.op.axis
    y = stage.op.axis[2 if is_nchw else 1]
    if size(last) >= 2:
        split_lanes(schedule, copy, last, lanes)
    stage.reorder(n, y, *(a for a in stage.op.axis[1:-1] if a is not y))
    parallel_outer(schedule, copy, [n, y])


def padded_input(out: Tensor) -> Tensor | None:
    """Give the padding that an operator reads through, or None."""
    return next((t for t in out.op.inputs if t.op.axis), None)


def define_reduction(cfg: Knobs, extent: int) -> None:
    """Add the knob that unrolls the innermost reduction loop."""
    cfg.define_knob("unroll_k", [u for u in UNROLLS if extent % u == 0], default=4 if extent % 4 == 0 else 1)
