"""What depthwise convolutions of bytes share on processors: a copy of the padded image, and four taps to a lane.

Taps are summed up by dot products of four bytes: of a row of the window where lanes are pixels (`int8_depthwise_rows`),
of a column where they are channels (`int8_depthwise_columns`).  What is missing to four are weights of zero; so are the
places between the taps of a dilated window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ....codegen.llvm.dot import dot_instruction
from ....codegen.llvm.features import is_x86
from ....ir import arith
from ....ir.expr import Expr
from ....ir.target import Target
from ....schedule.schedule import Schedule
from ....te.operators.intrinsics import TAPS
from ....te.tensor import Tensor
from .. import register_tile as tile
from ..convolution import Convolution
from ..epilogue import Epilogue
from .int8 import BYTES, Offsets

MOST_DOTS = 160  # of a tile, all written out
CONSTANTS = 5  # registers that making bytes of sums takes
WIDENED, WIDENED_ELSEWHERE = 11, 13  # registers that products of widened bytes take, with x86's of pairs and without
FINISH = 8.0  # instructions that make a vector of sums bytes and store it
AROUND = 16.0  # instructions around a tile
WITHOUT = 4.0  # instructions of a dot product that is none of the processor's


@dataclass(frozen=True, slots=True)
class DepthwiseRequest:
    """A depthwise convolution of bytes as it was asked for.

    data_zero  the number that stands for zero in the image
    constant   whether what is made of the weights alone may be made ahead of the calls
    """

    conv: Convolution
    epilogue: Epilogue
    data_zero: int
    constant: bool

    @property
    def excess(self) -> int:
        """Give how much greater the unsigned numbers of the image are than those that are meant."""
        return BYTES.excess_of(self.conv.image, self.data_zero)

    @property
    def reach(self) -> tuple[int, int]:
        """Give the rows and columns that a window spans."""
        height, width = ((k - 1) * d + 1 for k, d in zip(self.conv.taps, self.conv.geometry.dilation, strict=True))
        return height, width

    def pixel(self, n: Expr, c: Expr, y: Expr, x: Expr) -> Expr:
        """Give an unsigned byte of the image with its padding: zero outside of the image, and of its channels."""
        conv, (top, left, _, _) = self.conv, self.conv.geometry.padding
        width = arith.int_value(conv.image.shape[3 if conv.is_nchw else 2]) or 1
        row, column = y - top, x - left
        value = BYTES.of_data(conv.image, *conv.place(n, c, row, column))
        inside = arith.const(True)
        for index, extent in ((row, conv.height), (column, width), (c, conv.groups)):
            inside = arith.logical_and(inside, arith.logical_and(index >= 0, index < extent))
        return arith.if_then_else(inside, value, arith.const(self.excess, "uint8"))

    def weight(self, c: Expr, row: Expr, column: Expr) -> Expr:
        """Give the weight at a place of a window, zero where it has no tap, and of channels that are not there."""
        kernel, places = self.conv.kernel, zip((row, column), self.conv.taps, self.conv.geometry.dilation, strict=True)
        inside, tap = c < self.conv.groups, []
        for place, taps, apart in places:
            within = arith.logical_and(place >= 0, place <= (taps - 1) * apart)
            inside = arith.logical_and(inside, arith.logical_and(within, place % apart < 1))
            tap.append(arith.minimum(arith.maximum(place // apart, 0), taps - 1))
        ry, rx = tap
        value = kernel[c, 0, ry, rx] if self.conv.is_nchw else kernel[ry, rx, c, 0]
        return arith.if_then_else(inside, value, arith.const(0, "int8"))


@dataclass(frozen=True, slots=True)
class Stages:
    """What is computed, in order; the shapes stand where they are declared.

    copied   the image with its padding, as unsigned bytes
    packed   the weights, four taps side by side
    offsets  what is added to each sum, None where nothing is
    """

    copied: Tensor
    packed: Tensor
    offsets: Offsets | None
    sums: Tensor
    out: Tensor

    def prepare(self, s: Schedule, constant: bool) -> None:
        """Schedule what is made of the weights alone, ahead of the calls where they are `constant`."""
        if constant:
            s[self.packed].precompute()
        if self.offsets is not None:
            self.offsets.schedule(s, constant)


def groups_of(taps: int) -> int:
    """Give the groups of four that a number of taps in a row makes."""
    return -(-taps // TAPS)


def fits_registers(target: Target, sums: Any, operands: Any) -> Any:
    """Tell whether vectors of sums and of operands stay in registers, or of widened bytes those of a product."""
    if dot_instruction(target) is not None:
        return sums + operands + CONSTANTS <= tile.registers_of(target)
    widened = WIDENED if is_x86(target) else operands + WIDENED_ELSEWHERE
    return sums + widened <= tile.registers_of(target)


def tile_instructions(target: Target, sums: Any, dots: Any, loading: Any) -> Any:
    """Give the instructions of a tile: of `sums` vectors, `dots` products of vectors, `loading` for operands."""
    each = 1.0 if dot_instruction(target) is not None else WITHOUT
    return np.where(sums > 0, dots * each + loading + sums * FINISH + AROUND, 0.0)


def share_of_peak(request: DepthwiseRequest, lanes: int, instructions: Any) -> Any:
    """Give the share of the float32 multiply-add peak: two of them, or four instructions, a cycle."""
    conv = request.conv
    return conv.multiplications / (2 * lanes) / (instructions / 4)
