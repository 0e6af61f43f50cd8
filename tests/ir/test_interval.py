"""Bounds and proofs: what the scheduler asks, answered exactly; soundness at large is in test_soundness."""

from __future__ import annotations

import pytest

from tilewright.ir import arith
from tilewright.ir.affine import affine_of
from tilewright.ir.arith import const
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import float32, int8, int32, int64, uint8
from tilewright.ir.expr import Cast, Const, Expr, IfThenElse, Load, Mul, Not, Select, Var
from tilewright.ir.interval import Interval, Known, Ranges, bounds, const_bounds, negated, prove

i, j, k, x, y, i_o, i_i = (Var(name) for name in ("i", "j", "k", "x", "y", "i_o", "i_i"))
n, m = (Var(name, minimum=0) for name in "nm")
f, g = (Var(name, minimum=1) for name in "fg")
byte = Var("b", uint8)
table = Buffer("D", (const(8),), int32)
bytes_ = Buffer("B", (const(8),), uint8)


def ranges(**ends: tuple[Expr | int, Expr | int]) -> Ranges:
    """Give ranges by the names of the variables above."""
    variables = {v.name: v for v in (i, j, k, x, y, i_o, i_i)}
    return {variables[name]: Interval(arith.as_expr(lo), arith.as_expr(hi)) for name, (lo, hi) in ends.items()}


TILE = ranges(i_o=(0, 7), i_i=(0, 7))
SYMBOLIC_TILE = ranges(i_o=(0, m - 1), i_i=(0, f - 1))
CEIL_TILE = ranges(i_o=(0, (n + f - 1) // f - 1), i_i=(0, f - 1))

CONST_BOUNDS = [
    (i_o * 8 + i_i, TILE, (0, 63)),
    (i_o * 8 - i_i * 2 + 3, TILE, (-11, 59)),
    ((i_o * 8 + 7) - i_o * 8, {}, (7, 7)),
    ((i_o * 8 + i_i) // 8, TILE, (0, 7)),
    ((i_o * 8 + i_i) % 8, TILE, (0, 7)),
    (i_i % 16, TILE, (0, 7)),
    ((i_i + 16) % 16, TILE, (0, 7)),
    ((i_i + 30) % 16, ranges(i_i=(0, 1)), (14, 15)),
    (i_i % -16, TILE, (-15, 0)),
    (x // 4, ranges(x=(-5, 9)), (-2, 2)),
    (x // -4, ranges(x=(-5, 9)), (-3, 1)),
    (x // f, ranges(x=(0, 9)), (0, 9)),
    (x // f, ranges(x=(-9, -1)), (-9, -1)),
    ((x + 7) // 4 - x // 4, {}, (1, 2)),
    ((x + 7) // 4 - x // 4, ranges(x=(0, 100)), (1, 2)),
    ((x + 8) // 4 - x // 4, {}, (2, 2)),
    ((x + i) // 4 - x // 4, ranges(i=(0, 5)), (0, 2)),
    ((x + 3) // f - x // f, {}, (0, 3)),
    ((x + f - 1) // f - x // f, {}, (0, 1)),
    (x - x // 4 * 4, {}, (0, 3)),
    (x // 4 * 4 + 3 - x, {}, (0, 3)),
    (arith.minimum(i * 8 + 8, n) - i * 8, {}, (None, 8)),
    (arith.minimum(i * 8 + 8, 60) - i * 8, ranges(i=(0, 7)), (4, 8)),
    (arith.maximum(i - 1, 0), ranges(i=(0, 7)), (0, 6)),
    (Select(x < 3, i, i + 10), ranges(i=(0, 7)), (0, 17)),
    (IfThenElse(x < 3, i, i + 10) - i, {}, (0, 10)),
    (n - 1, {}, (-1, None)),
    (f * g, {}, (1, None)),
    (n * m + f, {}, (1, None)),
    (i * i, ranges(i=(-3, 5)), (-15, 25)),
    (i * j, ranges(i=(-3, 5), j=(-2, 4)), (-12, 20)),
    (k - i, ranges(i=(0, 7), k=(0, i + 3)), (-7, 3)),
    (k - i, ranges(k=(i, i + 3), i=(0, 7)), (0, 3)),
    (k - j, ranges(i=(0, 7), j=(i * 2, i * 2 + 1), k=(j, j + i)), (0, 7)),
    (i_o ^ (i_i % 4), TILE, (0, 7)),
    (i ^ 8, ranges(i=(0, 7)), (0, 15)),
    (i ^ j, ranges(i=(-1, 7), j=(0, 3)), (None, None)),
    (Load(table, (i,)), {}, (None, None)),
    (Cast(Load(bytes_, (i,)), int32) * 2 + 1, {}, (1, 511)),
    (Cast(byte + byte, int32), {}, (0, 255)),
    (Cast(Cast(byte, int32) + 1, int64), {}, (1, 256)),
    (byte, {byte: Interval(const(3, uint8), const(9, uint8))}, (3, 9)),
    (byte + 1, {byte: Interval(const(3, uint8), const(9, uint8))}, (4, 10)),
    (byte + 250, {byte: Interval(const(3, uint8), const(9, uint8))}, (0, 255)),
    (Var("v", float32) * 2.0, {}, (None, None)),
]


@pytest.mark.parametrize(("expr", "where", "expected"), CONST_BOUNDS, ids=[str(e) for e, _, _ in CONST_BOUNDS])
def test_integer_bounds(expr: Expr, where: Ranges, expected: tuple[int | None, int | None]) -> None:
    assert const_bounds(expr, where) == expected


SYMBOLIC_BOUNDS = [
    (x * 8 + i, ranges(i=(0, 7)), ("x * 8", "x * 8 + 7")),
    ((x + i) // 4, ranges(i=(0, 7)), ("x // 4", "(x + 3) // 4 + 1")),
    (i * f + j, ranges(i=(0, m - 1), j=(0, f - 1)), ("0", "f * m - 1")),
    (x * f + j, ranges(j=(0, f - 1)), ("f * x", "f * x + f - 1")),
    (arith.minimum(x + i, n), ranges(i=(0, 3)), ("min(x, n)", "min(x + 3, n)")),
    (n - i, ranges(i=(0, n - 1)), ("1", "n")),
    ((x + i) % 4, ranges(i=(0, 7)), ("0", "3")),
    (x % 4, {}, ("x % 4", "x % 4")),
]


@pytest.mark.parametrize(("expr", "where", "expected"), SYMBOLIC_BOUNDS, ids=[str(e) for e, _, _ in SYMBOLIC_BOUNDS])
def test_variables_without_a_range_stay_in_the_bounds(expr: Expr, where: Ranges, expected: tuple[str, str]) -> None:
    interval = bounds(expr, where)
    assert (str(interval.lo), str(interval.hi)) == expected


PROVED = [
    (i_o * 8 + i_i < 64, TILE),
    (i_o * 8 + i_i >= 0, TILE),
    (i_o * f + i_i < f * m, SYMBOLIC_TILE),
    (i_o * f + i_i >= 0, SYMBOLIC_TILE),
    (i_o * f < n, CEIL_TILE),
    (i_o * f + i_i < n + f - 1, CEIL_TILE),
    ((i_o * f + i_i) // f < m, SYMBOLIC_TILE),
    ((i_o * f + i_i) % f < f, SYMBOLIC_TILE),
    (((i_o * f + i_i) // f).equal(i_o), SYMBOLIC_TILE),
    (i_o * f + arith.minimum(i_i, n - 1 - i_o * f) < n, SYMBOLIC_TILE),
    ((i * 8 % 4).equal(0), {}),
    (arith.ne(i * 4 + 1, j * 2), {}),
    (arith.ne(i, 8), ranges(i=(0, 7))),
    (x // 4 * 4 <= x, {}),
    (x - 4 < x // 4 * 4, {}),
    (x // f * f <= x, {}),
    ((n + 7) // 8 * 8 >= n, {}),
    ((n + f - 1) // f * f >= n, {}),
    (arith.minimum(n, 8) <= n, {}),
    (arith.maximum(n, m) >= m, {}),
    (arith.logical_or(x < n, x >= n), {}),
    (arith.logical_and(i < 8, i > -1), ranges(i=(0, 7))),
    (Not(i > 7), ranges(i=(0, 7))),
    (Load(table, (i,)).equal(Load(table, (i + 0,))), {}),
    (Cast(Load(bytes_, (i,)), int32) < 256, {}),
    (byte <= 255, {}),
    (const(True), {}),
]


@pytest.mark.parametrize(("condition", "where"), PROVED, ids=[str(c) for c, _ in PROVED])
def test_true_conditions_are_proved(condition: Expr, where: Ranges) -> None:
    assert prove(condition, where)


UNPROVED = [
    (i_o * 8 + i_i < 63, TILE),
    (i_o * f + i_i < f * m - 1, SYMBOLIC_TILE),
    (i_o * f + i_i < n, CEIL_TILE),
    (x < x * 2, {}),
    (x - 3 < x // 4 * 4, {}),
    ((i * 8 % 16).equal(0), {}),
    (Load(table, (i,)) < Load(table, (i,)) + 1, {}),  # wraps at 2**31 - 1
    (byte < byte + 1, {}),  # wraps at 255
    (Var("v", float32) <= Var("v", float32) + 1.0, {}),
    (Mul(n, x) >= 0, {}),
    (const(False), {}),
]


@pytest.mark.parametrize(("condition", "where"), UNPROVED, ids=[str(c) for c, _ in UNPROVED])
def test_what_is_not_always_true_is_not_proved(condition: Expr, where: Ranges) -> None:
    assert not prove(condition, where)


def test_a_float_is_not_known_to_equal_itself() -> None:
    v = Var("v", float32)
    assert not prove(v.equal(v), {})


def test_a_nested_range_is_bounded_from_the_inside() -> None:
    where = ranges(i=(0, 7), j=(0, arith.minimum(7, n - 1 - i * 8)))
    assert prove(i * 8 + j < n, where)
    assert prove(i * 8 + j < 64, where)


def test_ranges_that_name_each_other_give_no_answer_and_end() -> None:
    where = ranges(i=(0, j), j=(0, i))
    assert const_bounds(i + j, where)[1] is None
    assert not prove(i + j < 100, where)


def test_an_unbounded_range_leaves_the_other_end() -> None:
    assert const_bounds(i * 2 + 1, {i: Interval(const(3), None)}) == (7, None)
    assert const_bounds(i * 2 + 1, {i: Interval(None, None)}) == (None, None)


def test_known_conditions_are_used() -> None:
    guard = i_o * f + i_i < n
    assert prove(guard, CEIL_TILE, given=[guard])
    assert prove(i_o * f + i_i < n + 3, CEIL_TILE, given=[guard])
    assert prove((i_o * f + i_i) * 4 + 3 < n * 4, CEIL_TILE, given=[guard])
    assert not prove(i_o * f + i_i + 1 < n, CEIL_TILE, given=[guard])


def test_the_opposite_of_an_or_is_two_facts() -> None:
    assert prove(i < 3, {}, given=[Not(arith.logical_or(i >= 3, j >= 3))])
    assert prove(j < 3, {}, given=[Not(arith.logical_or(i >= 3, j >= 3))])


def test_what_memory_held_is_not_a_fact() -> None:
    read = Load(table, (i,))
    assert not prove(read < 3, {}, given=[read < 3])


def test_a_bound_on_one_variable_narrows_its_range() -> None:
    known = Known(ranges(i=(0, 7))).assume(i * 2 < 7).assume(i >= 2)
    interval = known.ranges[i]
    assert (str(interval.lo), str(interval.hi)) == ("2", "3")


def test_a_weaker_bound_changes_nothing() -> None:
    known = Known(ranges(i=(0, 7)))
    assert known.assume(i < 20) is known


@pytest.mark.parametrize("condition", [i < j, i <= j, i.equal(j), arith.ne(i, j), Not(i < j), byte < 3])
def test_the_opposite_of_the_opposite_means_the_same(condition: Expr) -> None:
    opposite = negated(condition)
    assert opposite is not None
    again = negated(opposite)
    assert again is not None
    assert prove(arith.logical_or(Not(again), condition), {}) or str(again) in (str(condition), "i < j")


def test_a_comparison_of_floats_has_no_opposite() -> None:
    v = Var("v", float32)
    assert negated(v < 1.0) is None  # NaN < 1 and 1 <= NaN both fail


def test_narrow_arithmetic_that_may_wrap_has_the_bounds_of_its_type() -> None:
    small = Var("s", int8)
    where = {small: Interval(const(0, int8), const(100, int8))}
    assert const_bounds(small + 20, where) == (20, 120)
    assert const_bounds(small + 30, where) == (-128, 127)


def test_the_bounds_have_the_type_of_the_expression() -> None:
    interval = bounds(Cast(i, int64) * 8, ranges(i=(0, 7)))
    assert interval.hi is not None and interval.hi.dtype == int64


def test_many_extrema_take_no_exponential_time() -> None:
    expr: Expr = Const(0)
    for at in range(40):
        expr = expr + arith.minimum(Var(f"v{at}"), n + at)
    low, high = const_bounds(expr, {v: Interval(const(0), const(9)) for v in affine_of(expr).vars if v is not n})
    assert (low, high) == (0, 40 * 9)
