"""Swizzled layouts: the pieces of each row in an order that depends on the row, against bank conflicts."""

from __future__ import annotations

from math import gcd

from ..ir import arith
from ..ir.errors import ScheduleError
from ..ir.expr import Expr, Var
from .table import StageState

PIECE_BYTES = 16  # what one lane reads at once, and what one row of an 8x8 matrix of 16-bit elements takes
PIECES_PER_LINE = 8  # all 32 banks of 4 bytes
KINDS = {"xor": 0, "32B": 32, "64B": 64, "128B": 128}  # bytes of a row, 0 for any number

Layout = tuple[tuple[Var, ...], tuple[Expr, ...]]


def swizzled(stage: StageState, extent: tuple[Expr, ...], element_bytes: int) -> tuple[Layout, tuple[Expr, ...]]:
    """Give the layout of a swizzled buffer of `extent`, and the buffer's shape: rows, pieces, elements of a piece.

        B[r, s]    ->    B[r, s // e ^ r // a % g, s % e]

    With e elements to a piece, g the power of two in the number of pieces, at most 8, and a = 8 / g rows to 128 bytes,
    pieces of 8 neighbouring rows that stand in one column lie in different banks.
    Raises ScheduleError where rows are not of at least two pieces, or not as long as the kind asks for.
    """
    dims = tuple(a.var for a in stage.op.axis)
    kind = stage.storage.swizzle
    size = arith.int_value(extent[-1]) if extent else None
    if len(extent) < 2 or size is None:
        shape = ", ".join(map(str, extent))
        raise _refusal(stage, f"{stage.id} is kept as ({shape})", "at least two dimensions, the last one constant")
    row_bytes = size * element_bytes
    pieces, rest = divmod(row_bytes, PIECE_BYTES)
    permuted = gcd(pieces, PIECES_PER_LINE)
    if rest or permuted < 2:
        fact = (
            f"rows of {size} elements are {row_bytes} bytes, and an even number of {PIECE_BYTES}-byte pieces is needed"
        )
        raise _refusal(stage, fact, f"rows of a multiple of {2 * PIECE_BYTES // element_bytes} elements")
    if KINDS[kind] not in (0, row_bytes):
        fact = f"rows of {size} elements are {row_bytes} bytes, and {kind} permutes rows of {KINDS[kind]} bytes"
        raise _refusal(stage, fact, f'rows of {KINDS[kind] // element_bytes} elements, or swizzle("xor")')
    row, column = dims[-2:]
    elements = PIECE_BYTES // element_bytes
    turn = arith.floormod(arith.floordiv(row, PIECES_PER_LINE // permuted), permuted)
    piece = arith.bitwise("bitwise_xor", arith.floordiv(column, elements), turn)
    layout = (*dims[:-1], piece, arith.floormod(column, elements))
    return (dims, layout), (*extent[:-1], arith.const(pieces), arith.const(elements))


def _refusal(stage: StageState, fact: str, advice: str) -> ScheduleError:
    return ScheduleError("swizzle", fact, where=f"  stage {stage.id}", advice=advice)
