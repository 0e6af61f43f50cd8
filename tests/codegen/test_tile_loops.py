"""Loops that carry a register tile: the schedule has said how far they are written out, LLVM does not go on."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tilewright.codegen.llvm.emit import GUARDED, WRITTEN_OUT, emit
from tilewright.codegen.pipeline import lower
from tilewright.ir.dtype import float32
from tilewright.ir.expr import Const, Load, Var
from tilewright.ir.stmt import Allocate, For, ForKind, Function, If, Stmt, Store, seq

from .machine import Loaded, host
from .test_llvm_nests import buffer, check

STEPS = 3


def summing(rows: int, few: Var | None = None) -> Function:
    """Give out[r, l] = sum over k of a[k, r] * b[k, l], with all rows in registers while k runs.

    few  a parameter: only that many lanes are summed up
    """
    a, b, out = buffer("a", STEPS, rows), buffer("b", STEPS, 16), buffer("out", rows, 16)
    sums = buffer("sums", rows, 16, scope="local")
    k, r, lane = Var("k"), Var("r"), Var("l")

    def over(body: Stmt) -> Stmt:
        return For(r, Const(rows), For(lane, Const(16), body, ForKind.VECTORIZED), ForKind.UNROLLED)

    here = Load(sums, (r, lane))
    step: Stmt = Store(sums, (r, lane), here + Load(a, (k, r)) * Load(b, (k, lane)))
    step = step if few is None else If(lane < few, step)
    body = seq(
        over(Store(sums, (r, lane), Const(0.0, float32))),
        For(k, Const(STEPS), over(step), ForKind.SERIAL),
        over(Store(out, (r, lane), here)),
    )
    params = (a, b, out) if few is None else (a, b, out, few)
    return Function("summing", params, Allocate(sums, body), (out,))


@pytest.mark.parametrize("rows", [1, 7, 8, 12])
def test_results_are_right_however_much_llvm_does(rows: int) -> None:
    check(summing(rows), efforts=("quick", "full"))


def test_a_tile_is_not_unrolled_further() -> None:
    """Every step written out would be that many times the multiplications; one may stand before the loop."""
    once, full = (len(re.findall(r"mul|vfn?madd", Loaded(summing(8), e).assembly)) for e in ("quick", "full"))
    assert once <= full <= 2 * once < STEPS * once


def test_loops_of_few_vectors_are_left_to_llvm() -> None:
    assert "unroll.disable" not in emit([lower(summing(7), host())], host())


@pytest.mark.parametrize(("rows", "effort"), [(7, "full"), (8, "quick")])
def test_llvm_does_no_more_for_a_tile_unless_asked_to(rows: int, effort: str) -> None:
    vectors = [len(re.findall(r"mul|vfn?madd", Loaded(summing(rows), e).assembly)) for e in ("auto", effort)]
    assert vectors[0] == vectors[1]


def test_a_loop_without_vectors_beside_a_tile_is_left_to_llvm() -> None:
    tiled, copied, i = summing(8), buffer("copied", 8, 16), Var("i")
    copy = For(i, Const(8), Store(copied, (i, i), Load(tiled.params[2], (i, i))))
    both = Function("both", (*tiled.params, copied), seq(tiled.body, copy), (*tiled.outputs, copied))
    marked = [WRITTEN_OUT in emit([lower(f, host())], host()) for f in (tiled, both)]
    assert marked == [True, False]


def test_a_tile_with_conditions_in_its_loop_has_a_mark_of_its_own() -> None:
    few = Var("few")
    texts = [emit([f], host()) for f in (summing(8), summing(8, few))]
    assert [(WRITTEN_OUT in text, GUARDED in text) for text in texts] == [(True, False), (False, True)]


@pytest.mark.parametrize("effort", ["auto", "quick", "full"])
def test_a_tile_with_conditions_at_every_effort(effort: str) -> None:
    a, b = (np.arange(STEPS * n, dtype=np.float32).reshape(STEPS, n) for n in (8, 16))
    out = np.full((8, 16), np.nan, np.float32)
    assert Loaded(summing(8, Var("few")), effort)(a, b, out, 5) == 0
    assert np.array_equal(out, a.T @ np.where(np.arange(16) < 5, b, 0))
