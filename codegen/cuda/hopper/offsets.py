"""Where the elements of a tile lie, by evaluating index expressions: exact, whatever swizzles and divisions they hold.

Shared memory is swizzled by address bits: the number of a 16-byte piece, bits 4 to 6, is changed by the bits above it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ....ir import arith
from ....ir.buffer import Buffer
from ....ir.expr import Const, Expr, Var
from ....ir.visit import variables
from ..screens.lanes import Points

PIECE_BITS, ROW_BITS = 4, 7  # of an address: pieces of 16 bytes, rows of 128
COPY_ALIGN = 128  # bytes
SPANS = (128, 64, 32)  # bytes of a swizzled row
ROWS = 8  # after which the order of pieces repeats in rows of 128 bytes

Grid = dict[Var, np.ndarray]


def grid(extents: Mapping[Var, int]) -> Grid:
    """Give all points of a box: for each variable its values, one after the other, the last variable fastest."""
    axes = np.meshgrid(*(np.arange(n) for n in extents.values()), indexing="ij")
    return {var: axis.ravel() for var, axis in zip(extents, axes, strict=True)}


def values_at(expr: Expr, points: Grid, others: int = 0) -> np.ndarray:
    """Give the values of an index expression at points; variables that have no values there are `others`."""
    first = next(iter(points.values()))
    rest = {v: others for v in variables(expr) if v not in points}
    return np.broadcast_to(np.asarray(Points({**points, **rest})(expr)), first.shape)


def byte_offsets(buffer: Buffer, indices: Sequence[Expr], points: Grid) -> np.ndarray:
    """Give the bytes between the first element of a buffer and those at points."""
    strides = [arith.int_value(s) for s in buffer.dense_strides]
    terms = (values_at(i, points) * (s or 0) for i, s in zip(indices, strides, strict=True))
    total: np.ndarray = sum(terms, np.zeros(1, np.int64))  # type: ignore[assignment]
    return total * buffer.dtype.bytes


def swizzled(addresses: np.ndarray, span: int) -> np.ndarray:
    """Give where a swizzle puts what has the given addresses: rows of `span` bytes, 0 for none."""
    pieces = max(1, span >> PIECE_BITS)
    return addresses ^ ((addresses >> ROW_BITS) % pieces << PIECE_BITS)


def repeat_bytes(span: int) -> int:
    """Give the bytes after which a swizzle repeats, 0 for none; copies begin at multiples of them, and of 128."""
    return max(COPY_ALIGN, span * ROWS)


def at(values: Mapping[Var, int]) -> dict[Var, Expr]:
    """Give values as constants, for substitution."""
    return {v: Const(n, v.dtype) for v, n in values.items()}
