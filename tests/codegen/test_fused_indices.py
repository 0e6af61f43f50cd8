"""Quotient and remainder of one fused index: neighbours in memory.  Oracle: the interpreter."""

from __future__ import annotations

import pytest

from tilewright.codegen.llvm.emit import emit
from tilewright.codegen.pipeline import lower
from tilewright.ir.dtype import float32
from tilewright.ir.expr import Const, Load, Var
from tilewright.ir.stmt import For, ForKind, Function, Store

from .machine import host
from .test_llvm_nests import buffer, check


def copying(columns: int, lanes: int, shift: int = 0) -> Function:
    """Give out[p] = image[(p + shift) // columns, (p + shift) % columns], in vectors."""
    steps = 3
    image, out = buffer("image", -(-(steps * lanes + shift) // columns), columns), buffer("out", steps * lanes)
    i, lane = Var("i"), Var("l")
    p = i * lanes + lane
    value = Load(image, ((p + shift) // columns, (p + shift) % columns))
    inner = For(lane, Const(lanes), Store(out, (p,), value), ForKind.VECTORIZED)
    return Function("copying", (image, out), For(i, Const(steps), inner, ForKind.SERIAL), (out,))


@pytest.mark.parametrize("columns", [1, 4, 7, 14, 56])
@pytest.mark.parametrize("lanes", [4, 8, 12, 16])
@pytest.mark.parametrize("shift", [0, 3])
def test_rows_that_follow_each_other_are_read_across(columns: int, lanes: int, shift: int) -> None:
    function = copying(columns, lanes, shift)
    check(function)
    assert "gather" not in emit([lower(function, host())], host())


def test_multiples_of_the_divisor_may_be_missing_from_the_remainder() -> None:
    """As the simplifier leaves them out: (i * 32 + l) % 28 is (i * 4 + l) % 28."""
    image, out = buffer("image", 4, 28), buffer("out", 3 * 32)
    i, lane = Var("i"), Var("l")
    value = Load(image, ((i * 32 + lane) // 28, (i * 4 + lane) % 28))
    inner = For(lane, Const(32), Store(out, (i * 32 + lane,), value), ForKind.VECTORIZED)
    function = Function("less", (image, out), For(i, Const(3), inner, ForKind.SERIAL), (out,))
    check(function)
    assert "gather" not in emit([lower(function, host())], host())


def test_quotient_and_remainder_of_different_divisions_stay_apart() -> None:
    image, out = buffer("image", 16, 7, dtype=float32), buffer("out", 16)
    lane = Var("l")
    value = Load(image, (lane // 7, (lane + 1) % 7))
    check(Function("apart", (image, out), For(lane, Const(16), Store(out, (lane,), value), ForKind.VECTORIZED), (out,)))
