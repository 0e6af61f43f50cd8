"""Words: several neighbouring elements in the 32 bits of one register."""

from __future__ import annotations

from collections.abc import Mapping

from ....ir import arith
from ....ir.dtype import DType, float32, uint16, uint32
from ....ir.expr import Address, Call, Const, Expr, FloorMod, Load, Var
from ....ir.interval import Interval
from ....ir.simplify import simplify
from ....ir.visit import substitute


def misplaced(source: Load, var: Var, count: int, ranges: Mapping[Var, Interval]) -> Expr | None:
    """Give by how many elements aligned runs of `var` begin after a multiple of `count` elements of memory.

    A run is `count` values of `var` from a multiple of `count` on.  None where its elements are no neighbours.
    """
    block, element = Var("block", minimum=0), Var("element", minimum=0)
    known = {**ranges, block: Interval(Const(0), None), element: Interval(Const(0), Const(count - 1))}
    offset: Expr = Const(0)
    for index, stride in zip(source.indices, source.buffer.dense_strides, strict=True):
        offset = arith.add(offset, arith.mul(index, stride))
    first = substitute(offset, {var: arith.mul(block, count)})
    here = substitute(offset, {var: arith.add(arith.mul(block, count), element)})
    if not arith.is_const(simplify(arith.sub(arith.sub(here, first), element), known), 0):
        return None
    return simplify(FloorMod(first, Const(count)), known)


def whole_word(
    value: Expr, var: Var, count: int, ranges: Mapping[Var, Interval], first: Expr | None = None
) -> Expr | None:
    """Give the load of `count` elements as one word, if they are neighbours in memory and aligned; else None.

    first  the value at the first of them, where that is not at 0
    """
    match value, value if first is None else first:
        case Load(buffer) as source, Load(_, indices) if count > 1 and buffer.scope in ("shared", "global"):
            off = misplaced(source, var, count, ranges)
            if off is not None and arith.is_const(off, 0):
                zero: dict[Var, Expr] = {var: Const(0)} if first is None else {}
                place = tuple(simplify(substitute(i, zero), ranges) for i in indices)
                return Call("load_word", (Address(buffer, place),), uint32)
    return None


def packed(values: list[Expr]) -> Expr:
    """Give a word of 1, 2 or 4 values, the first in its low bits; a float32 is rounded to tf32."""
    dtype = values[0].dtype
    if dtype == float32:
        return Call("to_tf32", (values[0],), uint32)
    word: Expr | None = None
    for place, value in enumerate(values):
        part = arith.bitwise("shift_left", bits_of(value), arith.const(place * dtype.bits, uint32))
        if place == 0:
            part = bits_of(value)
        word = part if word is None else arith.bitwise("bitwise_or", word, part)
    assert word is not None
    return word


def bits_of(value: Expr) -> Expr:
    """Give the bits of a value of at most 32 bits, with zeros above them."""
    if value.dtype.bits == 16:
        return arith.cast(uint32, Call("reinterpret", (value,), uint16))
    mask = arith.const((1 << value.dtype.bits) - 1, uint32)
    return arith.bitwise("bitwise_and", arith.cast(uint32, value), mask)


def unpacked(word: Expr, element: Expr, dtype: DType) -> Expr:
    """Give one element of a word."""
    if dtype == float32:
        return Call("reinterpret", (word,), float32)
    bits = arith.bitwise("shift_right", word, arith.mul(arith.cast(uint32, element), arith.const(dtype.bits, uint32)))
    if dtype.bits == 16:
        return Call("reinterpret", (arith.cast(uint16, bits),), dtype)
    return arith.cast(dtype, bits)
