"""What products and convolutions of bytes share on processors: several products to a lane, and what becomes of sums.

Dot products of four take unsigned data by signed weights.  Signed data are taken 128 greater, and 128 times the sums of
the weights are subtracted in the end, together with what a zero point of the data adds.  Processors without such an
instruction multiply pairs of 16-bit numbers: bytes are widened once, weights where they are packed, data in a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .... import te
from ....codegen.llvm.dot import dot_instruction
from ....codegen.llvm.features import is_x86
from ....ir import arith
from ....ir.expr import Expr
from ....ir.target import Target
from ....schedule.schedule import Schedule
from ....te import operators
from ....te.intrin import TensorIntrin
from ....te.operators.intrinsics import TAPS
from ....te.tensor import Tensor
from .. import register_tile as tile

SIGNED_EXCESS = 128
DOTS = 2  # vectors of dot products a cycle ...
LATENCY = 4  # ... and cycles until a sum of four products can be added to
LOADS = 1.7  # a cycle
ISSUED = 5.0  # instructions a cycle
STEP = 0.3  # cycles around the dot products of one step
AROUND = 4.0  # cycles for a vector of sums: setting it to zero, making it bytes and storing it
TILE = 20.0  # cycles around a tile


@dataclass(frozen=True, slots=True)
class Factors:
    """As what bytes are multiplied.

    taps           products that a lane adds up in one step
    data, weights  types of the numbers that are multiplied
    dot            gives the step for a number of lanes
    """

    taps: int
    data: str
    weights: str
    dot: Callable[[int], TensorIntrin]

    def excess_of(self, data: Tensor, data_zero: int) -> int:
        """Give how much greater the factors are than the numbers that are meant; `data_zero` stands for zero."""
        return data_zero + self.moved(data)

    def moved(self, data: Tensor) -> int:
        """Give how much greater the factors are than the data."""
        return SIGNED_EXCESS if str(data.dtype) == "int8" and self.data == "uint8" else 0

    def of_data(self, data: Tensor, *index: Expr) -> Expr:
        """Give an element of the data as a factor."""
        value, moved = data[index], self.moved(data)
        return (value.astype("int32") + moved).astype(self.data) if moved else value.astype(self.data)


BYTES = Factors(TAPS, "uint8", "int8", operators.dot4_u8s8_i32)
PAIRS = Factors(2, "int16", "int16", operators.dot2_s16s16_i32)
MANY = 8  # rows or pixels for which it pays to read weights of twice the size


def factors_for(target: Target, rows: int) -> Factors:
    """Give as what bytes are best multiplied: weights are read once for a few of `rows`."""
    return PAIRS if dot_instruction(target) is None and is_x86(target) and rows >= MANY else BYTES


@dataclass(frozen=True, slots=True)
class Offsets:
    """What is added to the sums of each channel, and what that is made of.

    ones, sums   (taps,) and (blocks, lanes) int32: the weights' sums; None where the data have no excess
    total        (blocks, lanes) int32
    """

    factors: Factors

    ones: Tensor | None
    sums: Tensor | None
    total: Tensor

    def schedule(self, s: Schedule, constant: bool) -> None:
        """Sum up by dot products, ahead of the calls where the weights are constant."""
        stages = [t for t in (self.ones, self.sums, self.total) if t is not None]
        if constant:
            for tensor in stages:
                s[tensor].precompute()
        if self.sums is not None:
            stage = s[self.sums]
            lane, (*outer, four) = self.sums.op.axis[-1], self.sums.op.reduce_axis
            stage.reorder(self.sums.op.axis[0], *outer, lane, four)
            stage.tensorize(lane, self.factors.dot(tile.size(lane)))
        s[self.total].vectorize(self.total.op.axis[-1])


def offsets(factors: Factors, packed: Tensor, excess: int, bias: Tensor | None, copies: bool = False) -> Offsets | None:
    """Give what is added to each sum, None where nothing is.

    packed  (blocks, ..., lanes, taps), zero where there are no weights; those of a batch one after another
    copies  whether the second dimension counts copies of the weights
    bias    (channels,) int32, of each of the batch
    """
    blocks, *depths, lanes, _ = packed.shape
    if excess == 0 and bias is None:
        return None
    ones = sums = None
    if excess:
        taps, one = factors.taps, arith.const(1, factors.data)
        ones = te.compute((taps,), lambda r: one + 0 * r.astype(factors.data), name="ones")
        axes: list[Any] = [te.reduce_axis((0, d), f"r{k}") for k, d in enumerate(depths[int(copies) :])]
        at = [0, *axes] if copies else axes
        four = te.reduce_axis((0, taps), "four")

        def weights_of(b: Expr, lane: Expr) -> Expr:
            value = packed[(b, *at, lane, four)].astype("int32")
            return te.sum(ones[four].astype("int32") * value, axis=[*axes, four])

        sums = te.compute((blocks, lanes), weights_of, name="weight_sums")

    def offset(b: Expr, lane: Expr) -> Expr:
        less = arith.const(0, "int32") if sums is None else sums[b, lane] * -excess
        if bias is None:
            return less
        each = (bias.shape[0] + lanes - 1) // lanes  # blocks of one of a batch
        channel = b % each * lanes + lane
        own = arith.if_then_else(channel < bias.shape[0], bias[channel], arith.const(0, "int32"))
        return less + own

    return Offsets(factors, ones, sums, te.compute((blocks, lanes), offset, name="offsets"))


def fits_registers(target: Target, factors: Factors, rows: int, vectors: int) -> bool:
    """Tell whether sums and operands fit.

    A product of pairs takes a register until it is added; bytes that are widened to be multiplied take several.
    """
    if dot_instruction(target) is not None:
        return tile.fits_registers(target, rows, vectors)
    if factors is PAIRS:
        return rows * vectors + vectors + 2 <= tile.registers_of(target)
    operands = 2 * vectors + 3 if is_x86(target) else 4 * vectors + 4
    return rows * vectors + operands <= tile.registers_of(target)


def unrolled(target: Target, choices: list[int]) -> int:
    """Give the steps to write out by default: two, or one where the next step's products would need registers."""
    return choices[min(1, len(choices) - 1)] if dot_instruction(target) is not None else choices[0]


def tile_cycles(factors: Factors, steps: Any, rows: Any, vectors: Any) -> Any:
    """Give the cycles of a register tile of `steps` dot products a sum; none for no rows.  Works on arrays, too."""
    work = rows * vectors
    waiting = (rows + vectors + 2 * work) / ISSUED if factors is PAIRS else LATENCY
    step = np.maximum(np.maximum(work / DOTS, (rows + vectors) / LOADS), waiting) + STEP
    return np.where(work > 0, steps * step + work * AROUND + TILE, 0.0)


def accumulate(s: Schedule, factors: Factors, sums: Tensor, width: int, unrolled: int) -> None:
    """Order a computing stage of (..., lanes) over (..., groups, taps): dot products over whole tiles in registers."""
    stage = s[sums]
    *spatial, lane = sums.op.axis
    *outer, group, four = sums.op.reduce_axis
    group, inner = stage.split(group, factor=unrolled)
    stage.reorder(*outer, group, inner, *spatial, lane, four)
    tile.unroll_all(s, sums, [inner, *spatial])
    stage.align_bounds(lane, width)
    stage.tensorize(lane, factors.dot(width))
