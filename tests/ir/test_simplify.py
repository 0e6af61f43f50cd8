"""Simplification: what disappears and what the rest looks like; equality of meaning is in test_soundness."""

from __future__ import annotations

from typing import Any

import pytest

from tilewright.ir import arith
from tilewright.ir.arith import const
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import boolean, float32, int8, int32, int64, uint8
from tilewright.ir.expr import (
    Add,
    And,
    Call,
    Cast,
    Const,
    Expr,
    FloorDiv,
    IfThenElse,
    Load,
    Lt,
    Mul,
    Not,
    Or,
    Select,
    Sub,
    Var,
)
from tilewright.ir.interval import Interval, Ranges
from tilewright.ir.simplify import simplifier, simplify
from tilewright.ir.stmt import Allocate, Annotation, Evaluate, For, ForKind, If, Let, Seq, Stmt, Store
from tilewright.ir.visit import same, walk

i, j, k, x, y = (Var(name) for name in "ijkxy")
n = Var("n", minimum=0)
f = Var("f", minimum=1)
byte = Var("b", uint8)
flag = Var("p", boolean)
value = Var("v", float32)
A = Buffer("A", (const(64),), float32)
D = Buffer("D", (const(64),), int32)
RANGES: Ranges = {
    i: Interval(const(0), const(7)),
    j: Interval(const(0), const(7)),
    k: Interval(const(0), const(3)),
}

EXPRESSIONS = [
    ((i * 8 + j) // 8, "i"),
    ((i * 8 + j) % 8, "j"),
    ((i * 4 + k) // 8, "i // 2"),
    ((i * 4 + k) % 8, "i % 2 * 4 + k"),
    ((i * 4 + k + 4) // 8, "(i + 1) // 2"),
    ((x * 16 + i * 2 + 1) // 32, "x // 2"),
    (i % 16 + j // 8, "i"),
    ((i + 16) % 16, "i"),
    ((i + 24) // 8, "3"),
    (arith.minimum(i, 7), "i"),
    (arith.maximum(i - 8, 0), "0"),
    (arith.minimum(i, 5), "min(i, 5)"),
    (j + i * 8 + 0 * k, "i * 8 + j"),
    (x * 2 - x - x, "0"),
    (i < 8, "True"),
    (i * 8 + j >= 64, "False"),
    (i * 8 + j < 63, "i * 8 + j < 63"),
    (x * 8 < 60, "x < 8"),
    (x - 1 >= 0, "1 <= x"),
    (x <= 7, "x < 8"),
    (x - 1 < y + 2, "x < y + 3"),
    (Not(x < y), "y <= x"),
    ((x * 2).equal(y * 2 + 4), "x == y + 2"),
    ((x * 2).equal(y * 4 + 1), "False"),
    (arith.ne(i, 9), "True"),
    ((x * -1).equal(-3), "x == 3"),
    (And(x < 3, x < 5), "x < 3"),
    (And(x < 3, x > 5), "False"),
    (Or(x < 3, x >= 3), "True"),
    (And(flag, Not(Not(flag))), "p"),
    (IfThenElse(x < 4, Load(A, (arith.minimum(x, 3),)), const(0.0)), "if_then_else(x < 4, A[x], 0.0)"),
    (IfThenElse(i < 8, value, value + 1.0), "v"),
    (Select(i < 8, value, value + 1.0), "v"),
    (Select(x < 8, x + 1, 1 + x), "x + 1"),
    (Load(A, (j + i * 8 + 0,)), "A[i * 8 + j]"),
    (Load(A, (Load(D, (j + i * 8,)) + 1 + 2,)), "A[D[i * 8 + j] + 1 + 2]"),
    (value * 1.0, "v"),
    (value - value, "v - v"),  # NaN where v is infinite
    (value + 0.0, "v + 0.0"),  # 0.0 where v is -0.0
    (value * 0.0, "v * 0.0"),
    (Cast(Cast(byte, int32), uint8), "b"),
    (byte - byte, "uint8(0)"),
    (Add(byte, Const(0, uint8)), "b"),
    (Cast(x * 2 + 3, int64), "int64(x) * 2 + int64(3)"),
]


@pytest.mark.parametrize(("expr", "text"), EXPRESSIONS, ids=[f"{e} -> {t}" for e, t in EXPRESSIONS])
def test_the_simplified_text(expr: Expr, text: str) -> None:
    found = str(simplify(expr, RANGES)).replace("int64(3)", "3")
    assert found == text.replace("int64(3)", "3")


@pytest.mark.parametrize("expr", [e for e, _ in EXPRESSIONS], ids=[str(e) for e, _ in EXPRESSIONS])
def test_what_is_simple_comes_back_as_the_same_object(expr: Expr) -> None:
    once = simplify(expr, RANGES)
    assert simplify(once, RANGES) is once


def test_symbolic_tiles_come_apart() -> None:
    tile = {i: Interval(const(0), n - 1), j: Interval(const(0), f - 1)}
    assert simplify((i * f + j) // f, tile) is i
    assert simplify((i * f + j) % f, tile) is j


def test_a_select_does_not_use_its_condition_in_its_branches() -> None:
    # both branches of a select may be evaluated: A[x] might lie outside of A where x >= 4
    guarded = Select(x < 4, Load(A, (arith.minimum(x, 3),)), const(0.0))
    assert simplify(guarded) is guarded


def test_wrapping_integers_keep_what_wrapping_makes_true() -> None:
    narrow = FloorDiv(Mul(byte, Const(2, uint8)), Const(2, uint8))
    assert simplify(narrow) is narrow  # 128 * 2 // 2 is 0
    less = Lt(byte, Add(byte, Const(1, uint8)))
    assert simplify(less) is less  # fails at 255
    small = Var("s", int8)
    assert same(simplify(Add(Add(small, Const(100, int8)), Const(0, int8))), Add(small, Const(100, int8)))


def test_values_from_memory_keep_their_order() -> None:
    accumulate = Add(Load(D, (i,)), Mul(Load(D, (j,)), Load(D, (k,))))
    assert simplify(accumulate, RANGES) is accumulate
    product = Mul(Sub(Load(D, (i,)), Const(3)), Sub(Load(D, (j,)), Const(4)))
    assert simplify(product, RANGES) is product


def test_literals_fold_in_every_type() -> None:
    assert same(simplify(Add(Const(200, uint8), Const(100, uint8))), Const(44, uint8))
    assert same(simplify(Lt(Const(1, int8), Const(2, int8))), const(True))
    assert same(simplify(Cast(Const(3), float32)), Const(3.0, float32))


def test_a_literal_divisor_of_zero_is_left_to_the_machine() -> None:
    division = FloorDiv(Load(D, (i,)), Const(0))
    assert simplify(division) is division
    index = FloorDiv(x, Sub(n, n))
    assert str(simplify(index)) == "x // 0"


def test_a_call_keeps_its_effect() -> None:
    draws = Sub(Call("rand", (), int32), Call("rand", (), int32))
    assert simplify(draws) is draws


def store(index: Expr | int = 0, result: Any = 1.0) -> Store:
    """Give `A[index] = result`."""
    return Store(A, (arith.as_expr(index),), arith.as_expr(result, float32))


NOTHING = Seq(())


def text(stmt: Stmt) -> str:
    """Give the simplified statement as text."""
    return str(simplify(stmt)).strip()


def test_a_loop_of_one_step_is_its_body() -> None:
    assert text(For(i, n - n + 1, store(i * 8 + 3))) == "A[3] = 1.0"


def test_a_loop_of_no_steps_disappears() -> None:
    assert same(simplify(For(i, const(0), store())), NOTHING)
    assert same(simplify(For(i, arith.minimum(n, 0), store())), NOTHING)


@pytest.mark.parametrize(
    "loop",
    [
        For(i, const(1), store(i), ForKind.THREAD, "threadIdx.x"),
        For(i, const(1), store(i), annotations=(Annotation("import", 1),)),
        For(i, const(1), Allocate(Buffer("T", (i + 1,), float32, "local"), store(i))),
    ],
    ids=["thread", "pragma", "shape"],
)
def test_a_loop_of_one_step_that_says_more_stays(loop: For) -> None:
    found = simplify(loop)
    assert type(found) is For and found.var is i and str(found).endswith("A[0] = 1.0")


def test_the_range_of_a_loop_is_known_inside() -> None:
    nest = For(i, const(8), For(j, const(8), If(i * 8 + j < 64, store((i * 8 + j) // 8))))
    assert text(nest) == "for i in range(8):\n    for j in range(8):\n        A[i] = 1.0"


def test_a_loop_that_runs_has_a_positive_extent() -> None:
    nest = For(i, n, If(Const(1) <= n, store(i)))
    assert text(nest) == "for i in range(n):\n    A[i] = 1.0"


def test_a_condition_is_known_in_both_branches() -> None:
    inner = If(x < 4, store(1), store(2))
    nest = If(x < 4, inner, inner)
    assert text(nest) == "if x < 4:\n    A[1] = 1.0\nelse:\n    A[2] = 1.0"


def test_a_condition_on_a_tail_is_not_asked_twice() -> None:
    guard = i * f + j < n
    nest = For(i, n, For(j, f, If(guard, If(n > i * f + j, store(j)))))
    assert text(nest) == "for i in range(n):\n    for j in range(f):\n        if f * i + j < n:\n            A[j] = 1.0"


@pytest.mark.parametrize("check", [Load(D, (const(0),)) < 3, Load(A, (const(0),)) < 3.0], ids=str)
def test_a_condition_on_memory_is_asked_again_after_a_store(check: Expr) -> None:
    again = If(check, Store(D, (const(0),), const(9)))
    nest = If(check, Seq((store(), Store(D, (const(0),), const(5)), again)))
    assert simplify(nest) is nest


def test_an_if_without_statements_disappears_or_is_turned_around() -> None:
    assert same(simplify(If(x < 4, NOTHING)), NOTHING)
    assert text(If(x < 4, NOTHING, store())) == "if 4 <= x:\n    A[0] = 1.0"


def test_constant_conditions_choose() -> None:
    assert text(If(const(True), store(1), store(2))) == "A[1] = 1.0"
    assert text(If(const(False), store(1), store(2))) == "A[2] = 1.0"
    assert same(simplify(If(const(False), store(1))), NOTHING)


def test_sequences_lose_what_does_nothing() -> None:
    assert text(Seq((NOTHING, Seq((store(1), NOTHING)), Evaluate(const(0))))) == "A[1] = 1.0"


def test_an_allocation_around_nothing_disappears() -> None:
    assert same(simplify(Allocate(Buffer("T", (const(4),), float32), NOTHING)), NOTHING)


def test_lets_of_literals_and_variables_are_inlined() -> None:
    assert text(Let(x, const(3), Let(y, x, store(y * 2 + n)))) == "A[n + 6] = 1.0"
    assert text(Let(value, const(2.5), store(0, value))) == "A[0] = 2.5"


def test_other_lets_stay_and_their_value_is_known() -> None:
    nest = For(i, const(8), Let(x, i * 8 + 7, If(x < 64, store(x // 8))))
    found = simplify(nest)
    assert not any(type(node) is If for node in walk(found))
    assert any(type(node) is Let for node in walk(found))


def test_an_unchanged_nest_is_the_same_object() -> None:
    nest = For(i, n, Seq((store(i), If(i < 5, store(i + 1, value)), Let(x, i * 3, store(x)))))
    assert simplify(nest) is nest


def test_a_shared_expression_is_simplified_for_each_place() -> None:
    index = arith.minimum(x, 3)
    nest = Seq((If(x < 4, store(index)), store(index)))
    assert text(nest) == "if x < 4:\n    A[x] = 1.0\nA[min(x, 3)] = 1.0"


def test_one_simplifier_serves_many_expressions_and_learns_ranges_later() -> None:
    x, y = Var("x"), Var("y")
    ranges = {x: Interval(const(0), const(7))}
    simple = simplifier(ranges)
    assert str(simple(x // 8 + y % 4)) == "y % 4"
    z = Var("z")
    ranges[z] = Interval(const(0), const(3))
    assert str(simple(z % 4 + x // 8)) == "z"
    once = simple((x + 8) // 8)
    assert simple(once) is once
