"""Swizzled layouts: the pieces of each row in an order that depends on the row, against bank conflicts."""

from __future__ import annotations

from math import gcd

from ..ir import arith
from ..ir.errors import ScheduleError
from ..ir.expr import Expr, Var
from .table import StageState

PIECE_BYTES = 16  # what one lane reads at once, and what one row of an 8x8 matrix of 16-bit elements takes
PIECES_PER_LINE = 8  # all 32 banks of 4 bytes
LINE_ALIGN = 1024  # bytes: the order that copies and wgmma know is one of address bits, up to 8 rows of 128 bytes
PLAIN_ALIGN = 64  # bytes, as buffers have
KINDS = {"xor": 0, "32B": 32, "64B": 64, "128B": 128}  # bytes of a row, 0 for any number

Layout = tuple[tuple[Var, ...], tuple[Expr, ...]]


def swizzled(stage: StageState, extent: tuple[Expr, ...], element_bytes: int) -> tuple[Layout, tuple[Expr, ...]]:
    """Give the layout of a swizzled buffer of `extent`, and the buffer's shape: rows, pieces, elements of a piece.

        B[r, s]    ->    B[r, s // e ^ r // a % g, s % e]

    With e elements to a piece, g the power of two in the number of pieces, at most 8, and a = 8 / g rows to 128 bytes,
    pieces of 8 neighbouring rows that stand in one column lie in different banks.

        B[r, s]    ->    B[s // 64, r, s % 64 // 8 ^ r % 8, s % 8]        "128B", elements of 2 bytes

    A kind with a number of bytes keeps longer rows as panels of so many bytes, one after the other.
    Raises ScheduleError where rows are not of at least two pieces, or of no multiple of the kind's bytes.
    """
    dims = tuple(a.var for a in stage.op.axis)
    span = KINDS[stage.storage.swizzle]
    size = arith.int_value(extent[-1]) if extent else None
    if len(extent) < 2 or size is None:
        shape = ", ".join(map(str, extent))
        raise _refusal(stage, f"{stage.id} is kept as ({shape})", "at least two dimensions, the last one constant")
    row_bytes = size * element_bytes
    if span and row_bytes % span:
        kind = stage.storage.swizzle
        fact = f"rows of {size} elements are {row_bytes} bytes, and {kind} permutes rows of {span} bytes"
        raise _refusal(stage, fact, f'rows of multiples of {span // element_bytes} elements, or swizzle("xor")')
    pieces, rest = divmod(span or row_bytes, PIECE_BYTES)
    permuted = gcd(pieces, PIECES_PER_LINE)
    if rest or permuted < 2:
        fact = (
            f"rows of {size} elements are {row_bytes} bytes, and an even number of {PIECE_BYTES}-byte pieces is needed"
        )
        raise _refusal(stage, fact, f"rows of a multiple of {2 * PIECE_BYTES // element_bytes} elements")
    elements = PIECE_BYTES // element_bytes
    column, panel = (dims[-1], ()) if row_bytes == span or not span else _panel(dims[-1], span // element_bytes)
    row = _row(dims, extent) if span else dims[-2]
    turn = arith.floormod(arith.floordiv(row, PIECES_PER_LINE // permuted), permuted)
    piece = arith.bitwise("bitwise_xor", arith.floordiv(column, elements), turn)
    layout = (*panel, *dims[:-1], piece, arith.floormod(column, elements))
    panels = (arith.const(row_bytes // span),) if panel else ()
    return (dims, layout), (*panels, *extent[:-1], arith.const(pieces), arith.const(elements))


def alignment(stage: StageState) -> int:
    """Give the alignment in bytes of a stage's memory."""
    return LINE_ALIGN if KINDS.get(stage.storage.swizzle) else PLAIN_ALIGN


def _panel(column: Expr, width: int) -> tuple[Expr, tuple[Expr, ...]]:
    """Give a column within its panel of `width` columns, and the panel."""
    return arith.floormod(column, width), (arith.floordiv(column, width),)


def _row(dims: tuple[Var, ...], extent: tuple[Expr, ...]) -> Expr:
    """Give the number of a row among all that lie one after the other."""
    row: Expr = dims[0]
    for dim, size in zip(dims[1:-1], extent[1:-1], strict=True):
        row = arith.add(arith.mul(row, size), dim)
    return row


def _refusal(stage: StageState, fact: str, advice: str) -> ScheduleError:
    return ScheduleError("swizzle", fact, where=f"  stage {stage.id}", advice=advice)
