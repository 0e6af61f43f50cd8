"""Matrix descriptors of wgmma: what the hardware is told of an operand in shared memory, checked element by element.

An operand is a matrix of M or N rows by 16 of the depth, in rows of `span` bytes that are swizzled:

    along the depth ("K-major"):  8 rows of `span` bytes follow each other, groups of 8 rows are `stride` bytes apart
    along the rows ("MN-major"):  rows of `span` bytes hold neighbours in M or N; 8 of the depth follow each other,
                                  groups of 8 are `stride` bytes apart, the next `span` bytes of a row `leading` bytes

Source: PTX ISA, "Asynchronous Warpgroup Level Matrix Shared Memory Layout"; the canonical layouts of CUTLASS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....ir import arith
from ....ir.dtype import uint64
from ....ir.errors import CodegenError
from ....ir.expr import Address, Call, Const, Expr, Load, Var
from ....ir.interval import Ranges, const_bounds
from ....ir.simplify import simplify
from ....ir.visit import substitute, variables
from ..hopper.offsets import PIECE_BITS, ROW_BITS, ROWS, SPANS, Grid, byte_offsets, grid, swizzled

UNUSED_BYTES = 16  # what is written where a layout has no leading offset
MOST_PLACES = 4096  # of an operand among the others of its tile, all of which are checked


@dataclass(frozen=True, slots=True)
class Descriptor:
    """The layout of an operand; `along_rows` is 1 for MN-major operands."""

    span: int
    leading_bytes: int
    stride_bytes: int
    along_rows: int

    def call(self, place: Address) -> Call:
        """Give the descriptor of the operand that begins at `place`."""
        numbers = (Const(self.span), Const(self.leading_bytes), Const(self.stride_bytes))
        return Call("wgmma_desc", (place, *numbers), uint64)


def operand(load: Load, row: Var, rows: int, depth: Var, steps: int, ranges: Ranges) -> tuple[Address, Descriptor]:
    """Give the first element of an operand, and its layout.

    row, depth  the variables of its loops, of `rows` and `steps` iterations
    Raises CodegenError for an operand that is not in shared memory, or not laid out as wgmma can read it.
    """
    if load.buffer.scope != "shared":
        fact = f"wgmma reads {load.buffer.name}, which is kept in {load.buffer.scope} memory"
        raise CodegenError("cuda", fact, advice=f'set_scope("shared") for {load.buffer.name}')
    indices = _within_tile(load, row, depth)
    element = load.buffer.dtype.bytes
    points, first = _places(load, indices, row, rows, depth, steps, ranges)
    addresses = byte_offsets(load.buffer, indices, points).reshape(-1, rows, steps)
    for span in SPANS if not first else ():
        for along_rows in (0, 1):
            found = _fitted(addresses, span, along_rows, element)
            if found is not None and load.buffer.align % (span * ROWS) == 0:
                zeros: dict[Var, Expr] = {row: Const(0), depth: Const(0)}
                place = tuple(simplify(substitute(i, zeros), ranges) for i in load.indices)
                return Address(load.buffer, place), found
    fact = f"{load.buffer.name} is read at [{', '.join(map(str, load.indices))}], which is no layout of wgmma"
    advice = f'swizzle("128B") for {load.buffer.name}, in tiles of 8 rows that instructions begin at'
    raise CodegenError("cuda", fact, advice=advice)


def _within_tile(load: Load, row: Var, depth: Var) -> tuple[Expr, ...]:
    """Give the indices without those that only pick one of several tiles, each a multiple of all swizzles' period."""
    indices: list[Expr] = []
    size = load.buffer.dtype.bytes
    sizes = [arith.int_value(d) or 0 for d in load.buffer.shape]
    for d, index in enumerate(load.indices):
        picks = not {row, depth} & variables(index)
        tile = size * int(np.prod(sizes[d + 1 :]))
        indices.append(Const(0) if picks and tile % (max(SPANS) * ROWS) == 0 else index)
    return tuple(indices)


def _places(
    load: Load, indices: tuple[Expr, ...], row: Var, rows: int, depth: Var, steps: int, ranges: Ranges
) -> tuple[Grid, str]:
    """Give all points of the operand, wherever in its tile it is; and why that is not possible, or nothing."""
    extents: dict[Var, int] = {}
    for var in dict.fromkeys(v for i in indices for v in variables(i) if v not in (row, depth)):
        _, most = const_bounds(var, ranges)
        if most is None:
            return {}, f"{var.name} is not bounded"
        extents[var] = most + 1
    if int(np.prod(list(extents.values()))) > MOST_PLACES:
        return {}, f"more than {MOST_PLACES} places"
    return grid({**extents, row: rows, depth: steps}), ""


def _fitted(addresses: np.ndarray, span: int, along_rows: int, element: int) -> Descriptor | None:
    """Give the descriptor under which an operand has the given addresses (places, rows, steps), or None.

    That the operand begins where the swizzle changes nothing is part of it.
    """
    _, rows, steps = addresses.shape
    first = addresses[:, :1, :1]
    width = span // element
    if np.any((first >> ROW_BITS) % (span >> PIECE_BITS)):
        return None
    row, depth = np.arange(rows)[:, None], np.arange(steps)[None, :]

    def apart(rows_on: int, steps_on: int) -> int:
        inside = rows_on < rows and steps_on < steps
        return int(addresses[0, rows_on, steps_on] - addresses[0, 0, 0]) if inside else UNUSED_BYTES

    if along_rows:
        leading, stride = apart(width, 0), apart(0, ROWS)
        plain = row // width * leading + row % width * element + depth // ROWS * stride + depth % ROWS * span
    else:
        leading, stride = UNUSED_BYTES, apart(ROWS, 0)
        plain = row // ROWS * stride + row % ROWS * span + depth * element
    if min(leading, stride) < 0 or leading % UNUSED_BYTES or stride % UNUSED_BYTES:
        return None
    if not np.array_equal(swizzled(first + plain[None], span), addresses):
        return None
    return Descriptor(span, leading, stride, along_rows)
