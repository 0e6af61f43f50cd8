"""Building expressions: literals, common types, trivial folding, refusals."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tilewright.ir import arith
from tilewright.ir.arith import as_expr, cast, const, wrap
from tilewright.ir.dtype import (
    ALL,
    DType,
    boolean,
    float16,
    float32,
    int8,
    int32,
    int64,
    uint8,
    uint32,
)
from tilewright.ir.errors import ExpressionError, TypeMismatch
from tilewright.ir.expr import Add, And, Call, Cast, Const, Expr, FloorDiv, Lt, Not, Or, Select, Var
from tilewright.ir.visit import same

i, j = Var("i"), Var("j")
p, q = Var("p", boolean), Var("q", boolean)
byte = Var("b", uint8)
v = Var("v", float32)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(3, int32), (-(2**31), int32), (2**31, int64), (2.5, float32), (True, boolean)],
)
def test_literals_have_their_natural_type(value: Any, dtype: DType) -> None:
    literal = const(value)
    assert (literal.value, literal.dtype) == (value, dtype)
    assert type(literal.value) is type(value)


@pytest.mark.parametrize("dtype", [t for t in ALL if t.is_int], ids=str)
def test_wrapping_is_what_numpy_does(dtype: DType) -> None:
    for value in (-300, -129, -1, 0, 127, 128, 200, 255, 256, 2**31, 2**32 + 5, -(2**31) - 1, 2**63):
        step = 1 << dtype.bits
        assert dtype.min_value <= wrap(value, dtype) <= dtype.max_value
        assert (wrap(value, dtype) - value) % step == 0


def test_numbers_of_numpy_keep_their_type() -> None:
    assert same(as_expr(np.float16(2.5)), Const(2.5, float16))
    assert same(as_expr(np.uint8(3)), Const(3, uint8))
    assert same(as_expr(np.bool_(True)), Const(True, boolean))


def test_other_objects_are_refused() -> None:
    with pytest.raises(TypeMismatch, match="'text' is no expression"):
        as_expr("text")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (byte + 1, uint8),
        (1 + byte, uint8),
        (i + 1.5, float32),
        (v + 1, float32),
        (p + 1, int32),
        (byte + i, int32),
        (i + v, float32),
        (i * (1 << 40), int64),
        (byte + 300, int32),
        (byte + -1, uint8),
        (Var("u", uint32) + Const(1, int32), int32),
    ],
)
def test_the_type_of_both_operands(expr: Add, expected: DType) -> None:
    assert expr.dtype == expr.a.dtype == expr.b.dtype == expected


def test_a_literal_that_does_not_fit_keeps_its_value() -> None:
    assert (i * (1 << 40)).b.value == 1 << 40  # type: ignore[attr-defined]
    assert (byte + 300).b.value == 300  # type: ignore[attr-defined]


FOLDED: list[tuple[Expr, Expr]] = [
    (i + 0, i),
    (0 + i, i),
    (i - 0, i),
    (i * 1, i),
    (1 * i, i),
    (i * 0, const(0)),
    (i // 1, i),
    (i % 1, const(0)),
    (0 // i, const(0)),
    (const(7) // 2, const(3)),
    (const(-7) // 2, const(-4)),
    (const(-7) % 4, const(1)),
    (const(200, uint8) + 100, const(44, uint8)),
    (const(-128, int8) // const(-1, int8), const(-128, int8)),
    (arith.minimum(3, const(5)), const(3)),
    (arith.maximum(i, i), i),
    (const(3) < 4, const(True)),
    (const(3).equal(4), const(False)),
    (arith.ne(const(1.5), 2.5), const(True)),
    (arith.logical_not(const(True)), const(False)),
    (arith.logical_and(), const(True)),
    (arith.logical_or(), const(False)),
    (arith.logical_and(const(True), p), p),
    (arith.logical_or(const(False), p), p),
    (arith.select(const(True), i, j), i),
    (arith.if_then_else(const(False), i, j), j),
    (-const(3), const(-3)),
]


@pytest.mark.parametrize(("found", "expected"), FOLDED, ids=[str(e) for _, e in FOLDED])
def test_what_folds(found: Expr, expected: Expr) -> None:
    assert same(found, expected)


def test_floats_are_not_folded() -> None:
    assert type(const(1.0) + 2.0) is Add
    assert type(v + 0.0) is Add
    assert str(v * 1.0) == "v * 1.0"


@pytest.mark.parametrize("compute", [operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod])
def test_folding_of_integers_is_arithmetic(compute: Callable[[Any, Any], Any]) -> None:
    for a in range(-7, 8):
        for b in (-3, -1, 1, 2, 5):
            assert same(compute(const(a), b), const(compute(a, b)))


def test_connectives_nest_from_the_left() -> None:
    r = Var("r", boolean)
    assert same(arith.logical_and(p, q, r), And(And(p, q), r))
    assert same(arith.logical_or(p, q, r), Or(Or(p, q), r))
    assert same(arith.logical_not(p), Not(p))


def test_comparisons_turn_towards_less() -> None:
    assert same(i > j, Lt(j, i))
    assert same(i >= j, j <= i)


def test_the_branches_of_a_choice_get_one_type() -> None:
    choice = arith.select(i < 3, 1, v)
    assert type(choice) is Select
    assert choice.then.dtype == choice.otherwise.dtype == float32


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        (int8, const(200), const(-56, int8)),
        (int32, const(-2.75), const(-2)),
        (float32, const(3), const(3.0)),
        (int32, const(True), const(1)),
        (int32, i, i),
    ],
)
def test_casts_of_literals_fold(dtype: DType, value: Expr, expected: Expr) -> None:
    assert same(cast(dtype, value), expected)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [(float32, const((1 << 24) + 1)), (float16, const(0.1)), (int32, const(float("inf"))), (boolean, const(3))],
)
def test_casts_that_round_or_have_no_value_do_not_fold(dtype: DType, value: Expr) -> None:
    assert type(cast(dtype, value)) is Cast


def test_bits_of_integers_are_calls_and_of_bools_connectives() -> None:
    shifted = i << 2
    assert type(shifted) is Call and (shifted.name, shifted.dtype) == ("shift_left", int32)
    assert same(p & q, And(p, q))
    assert same(p | q, Or(p, q))


REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: i / j, TypeMismatch, "both operands are int32"),
    (lambda: i // 0, ExpressionError, "the divisor is 0"),
    (lambda: i % 0, ExpressionError, "the divisor is 0"),
    (lambda: v // 2.0, TypeMismatch, "operands are float32"),
    (lambda: v & v, TypeMismatch, "operands are float32"),
    (lambda: i + (i == j), ExpressionError, "Python bool"),
    (lambda: arith.select(i == j, i, j), ExpressionError, "Python value False"),
    (lambda: arith.select(i, i, j), TypeMismatch, "the condition has type int32"),
    (lambda: arith.logical_and(p, True), ExpressionError, "Python value True"),
    (lambda: bool(i < j), ExpressionError, "no truth value"),
    (lambda: 0 < i < 3, ExpressionError, "no truth value"),
    (lambda: cast("int33", i), TypeMismatch, "unknown data type"),
]


@pytest.mark.parametrize(("build", "error", "fact"), REFUSED, ids=[fact for _, _, fact in REFUSED])
def test_what_is_refused(build: Callable[[], object], error: type[Exception], fact: str) -> None:
    with pytest.raises(error, match=fact) as refusal:
        build()
    assert "try: " in str(refusal.value) and "test_arith.py:" in str(refusal.value)


def test_a_divisor_that_is_not_a_literal_is_not_refused() -> None:
    assert type(i // j) is FloorDiv
