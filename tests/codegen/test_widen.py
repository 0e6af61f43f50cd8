"""Guards without the lane of a vector: the same truth for every lane, over exhaustive small ranges."""

from __future__ import annotations

from itertools import product

import pytest

from tilewright.codegen.passes.widen import WidenGuards
from tilewright.ir import arith
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import float32
from tilewright.ir.expr import Const, Expr, Le, Lt, Var
from tilewright.ir.printer import stmt_text
from tilewright.ir.stmt import For, ForKind, If, Stmt, Store
from tilewright.ir.target import Target
from tilewright.ir.visit import free_vars, statements

GPU = Target.parse("cuda -arch=sm_80")
ROW, LANE, N = Var("i", minimum=0), Var("j", minimum=0), Var("n", minimum=0)
OUT = Buffer("B", (Const(64),), float32)


def guarded(condition: Expr, lanes: int, kind: ForKind = ForKind.VECTORIZED) -> Stmt:
    store = Store(OUT, (LANE,), Const(1.0, float32))
    return For(ROW, Const(8), For(LANE, Const(lanes), If(condition, store), kind))


def widened(condition: Expr, lanes: int) -> Expr:
    """Give what the pass makes of the condition of a vector loop."""
    made = WidenGuards()(guarded(condition, lanes), GPU)
    (branch,) = (s for s in statements(made) if type(s) is If)
    return branch.condition


def truths(condition: Expr, lanes: int) -> list[bool]:
    holds = eval(f"lambda i, j: {condition}")
    return [bool(holds(i, j)) for i, j in product(range(8), range(lanes))]


@pytest.mark.parametrize("lanes", [2, 3, 4, 8])
def test_conditions_stay_as_true_as_they_were(lanes: int):
    """All of a * i + j + c < d, of <=, and with sides exchanged, for small a, c and d."""
    taken = 0
    for step, shift, bound, node in product((1, 2, 3, 4, 6, 8, 16), range(-2, 3), range(0, 34, 4), (Lt, Le)):
        index = arith.add(arith.add(arith.mul(ROW, step), LANE), shift)
        for condition in (node(index, Const(bound)), node(Const(bound), index)):
            made = widened(condition, lanes)
            assert truths(made, lanes) == truths(condition, lanes), f"{condition} -> {made}"
            taken += LANE not in free_vars(made)
    assert taken >= 50


def test_multiples_of_the_lanes_lose_the_lane():
    condition = arith.lt(arith.add(arith.mul(ROW, 4), LANE), Const(24))
    assert str(widened(condition, 4)) == "i * 4 < 24"


@pytest.mark.parametrize(("bound", "kept"), [(24, False), (26, True), (23, True)])
def test_bounds_within_a_vector_keep_it(bound: int, kept: bool):
    condition = arith.lt(arith.add(arith.mul(ROW, 4), LANE), Const(bound))
    assert (LANE in free_vars(widened(condition, 4))) == kept


def test_symbolic_bounds_that_are_multiples_lose_the_lane():
    condition = arith.lt(arith.add(arith.mul(ROW, 4), LANE), arith.mul(N, 4))
    assert LANE not in free_vars(widened(condition, 4))
    assert LANE in free_vars(widened(arith.lt(arith.add(arith.mul(ROW, 4), LANE), N), 4))


def test_other_loops_keep_their_conditions():
    condition = arith.lt(arith.add(arith.mul(ROW, 4), LANE), Const(24))
    before = guarded(condition, 4, ForKind.SERIAL)
    assert stmt_text(WidenGuards()(before, GPU)) == stmt_text(before)
