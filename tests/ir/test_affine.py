"""Integer-linear forms: equal values get equal forms, and only what is true of all integers is used."""

from __future__ import annotations

from itertools import permutations, product

import pytest

from tilewright.ir import arith
from tilewright.ir.affine import Opaque, affine_of, key_of
from tilewright.ir.arith import const
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import DType, float32, int32, int64, uint8
from tilewright.ir.expr import (
    Add,
    Call,
    Cast,
    Const,
    Expr,
    FloorDiv,
    FloorMod,
    IfThenElse,
    Load,
    Lt,
    Max,
    Min,
    Mul,
    Select,
    Sub,
    Var,
)
from tilewright.ir.visit import walk

from .evaluator import evaluate

i, j, k, x, y = (Var(name) for name in "ijkxy")
n, m = (Var(name, minimum=0) for name in "nm")
f = Var("f", minimum=1)
wide = Var("w", int64)
byte = Var("b", uint8)
table = Buffer("D", (const(8),), int32)

CANONICAL = [
    (j + i * 8 + 3, "i * 8 + j + 3"),
    (3 + i * 4 + j + i * 4, "i * 8 + j + 3"),
    (i - i, "0"),
    (3 - i, "3 - i"),
    (0 - i - j, "i * -1 - j"),
    (j - i * 8, "j - i * 8"),
    (i - 1 + 4, "i + 3"),
    ((n + 1) * m - m * n, "m"),
    ((i + j) * (i - j), "i * i - j * j"),
    ((i * 8 + j) // 8, "i + j // 8"),
    ((i * 8 + j) % 8, "j % 8"),
    ((i * 8 + j + 20) // 8, "i + (j + 4) // 8 + 2"),
    ((i * 6 + 3) // 4, "(i * 3 + 1) // 2"),
    ((i * 6 + 3) % 4, "(i + 1) % 2 * 2 + 1"),
    (x // 4 // 8, "x // 32"),
    ((x // 4 + y) // 8, "(y * 4 + x) // 32"),
    (x % 12 % 4, "x % 4"),
    ((x % 12 + y) % 4, "(x + y) % 4"),
    (x % 12 // 4, "x // 4 % 3"),
    (x // 4 * 4 + x % 4, "x"),
    (x // 20 * 20 + x // 5 % 4 * 5 + x % 5, "x"),
    ((x * 2) % 6 + (x * 2) // 6 * 6, "x * 2"),
    (x // -1, "x * -1"),
    (x % -1, "0"),
    ((i * f + j) // f, "i + j // f"),
    ((i * f + j) % f, "j % f"),
    ((f * i + f) // (f * 2), "(i + 1) // 2"),
    (x // 4 // f, "x // (f * 4)"),
    (x % (f * 4) // f, "x // f % 4"),
    (x // f * f + x % f, "x"),
    ((n + f - 1) // f, "(n - 1) // f + 1"),
    ((i * (n + 2) + j) // (n + 2), "i + j // (n + 2)"),
    (const(20) // (f * 8), "2 // f"),
    (const(5) // (f * 8), "0"),
    (arith.minimum(i, i + 2), "i"),
    (arith.maximum(i, i + 2), "i + 2"),
    (arith.minimum(i + j, i + n) - i, "min(j, n)"),
    (Select(i < 3, j + 1, 1 + j), "j + 1"),
    (Load(table, (j + 0 + i * 8,)) + 1, "D[i * 8 + j] + 1"),
    (Load(table, (i,)) * 2 - Load(table, (i,)), "D[i]"),
]


@pytest.mark.parametrize(("expr", "text"), CANONICAL, ids=[text for _, text in CANONICAL])
def test_the_canonical_text(expr: Expr, text: str) -> None:
    assert str(affine_of(expr).to_expr()) == text


def test_the_order_in_which_a_sum_is_written_does_not_matter() -> None:
    terms = [i * 8, j, k * 3, const(5)]
    texts = {str(affine_of(a + b + c + d).to_expr()) for a, b, c, d in permutations(terms)}
    assert texts == {"i * 8 + k * 3 + j + 5"}


def test_the_canonical_expression_has_itself_as_canonical_expression() -> None:
    for expr, _ in CANONICAL:
        once = affine_of(expr).to_expr()
        assert affine_of(once) == affine_of(expr)
        assert str(affine_of(once).to_expr()) == str(once)


SMALL = range(-9, 10)


@pytest.mark.parametrize("divisor", [d for d in range(-6, 7) if d])
@pytest.mark.parametrize("node", [FloorDiv, FloorMod])
def test_quotients_and_remainders_of_sums_hold_for_all_small_values(node: type, divisor: int) -> None:
    for a, b, c in product((-6, -4, -1, 2, 3, 4, 6, 8), (-2, 1, 4), (-5, 0, 3)):
        expr = node(i * a + j * b + c, Const(divisor))
        again = affine_of(expr).to_expr()
        for values in product((-5, -1, 0, 2, 7), (-3, 0, 1, 4)):
            env = dict(zip((i, j), values, strict=True))
            assert evaluate(again, env) == evaluate(expr, env), f"{expr} became {again}, at {env}"


@pytest.mark.parametrize("outer", [FloorDiv, FloorMod])
@pytest.mark.parametrize("inner", [FloorDiv, FloorMod])
def test_nested_quotients_and_remainders_hold_for_all_small_divisors(outer: type, inner: type) -> None:
    for d, e in product([d for d in range(-4, 7) if d], repeat=2):
        for c in (-1, 1, 2):
            expr = outer(inner(x, Const(d)) * c + y, Const(e))
            lone = outer(inner(x, Const(d)) * c, Const(e))
            for value in SMALL:
                env = {x: value, y: 3}
                assert evaluate(affine_of(expr).to_expr(), env) == evaluate(expr, env), f"{expr} at {env}"
                assert evaluate(affine_of(lone).to_expr(), env) == evaluate(lone, env), f"{lone} at {env}"


def test_a_quotient_and_a_remainder_join_only_when_they_make_the_whole() -> None:
    for a, b in product((-8, -4, 1, 4, 8, 12), (-2, -1, 1, 2, 3)):
        expr = x // 4 * a + x % 4 * b
        again = affine_of(expr).to_expr()
        assert all(evaluate(again, {x: value}) == evaluate(expr, {x: value}) for value in SMALL), f"{expr}: {again}"


@pytest.mark.parametrize("node", [FloorDiv, FloorMod])
def test_symbolic_divisors_hold_for_all_small_values(node: type) -> None:
    divisors = (n, f, f * 3, n * f, n + 1, n - 2, f * -2, n * 2)
    numerators = (
        i * n + j,
        i * f + j - 1,
        f * 3 * i + f,
        f * n * i + 2,
        i * (n + 1) + j,
        x // 3 + i,
        (i * f + x) % (f * 6),
        i * 4 + 3,
    )
    for a, b in product(numerators, divisors):
        expr = node(a, b)
        again = affine_of(expr).to_expr()
        for values in product((-2, 1, 3), (0, 2), (-7, 5), (1, 2, 3), (1, 3)):
            env = dict(zip((i, j, x, n, f), values, strict=True))
            if evaluate(b, env):
                assert evaluate(again, env) == evaluate(expr, env), f"{expr} became {again}, at {env}"


def test_values_from_memory_are_not_taken_apart_by_division() -> None:
    # 2**30 * 4 wraps to 0, so that (4 * D[i]) // 4 is not D[i]
    expr = Load(table, (i,)) * 4 // 4
    again = affine_of(expr).to_expr()
    memory = {(table, (0,)): 2**30}
    assert evaluate(again, {i: 0}, memory) == evaluate(expr, {i: 0}, memory) == 0


def test_a_sum_of_values_from_memory_is_not_widened_term_by_term() -> None:
    expr = Cast(Load(table, (i,)) + 1, int64)
    memory = {(table, (0,)): 2**31 - 1}
    assert evaluate(affine_of(expr).to_expr(int64), {i: 0}, memory) == -(2**31)


def test_narrow_integers_stay_atoms() -> None:
    total = Cast(byte + byte, int32)
    atom = affine_of(total).is_atom
    assert type(atom) is Opaque and atom.op is Cast
    assert evaluate(affine_of(total).to_expr(), {byte: 200}) == 144


def test_a_widened_index_is_the_index() -> None:
    form = affine_of(Cast(i * 8 + j, int64) * 1024)
    assert form.coefficient(i) == 8192
    assert str(form.to_expr(int64)) == "int64(i) * 8192 + int64(j) * 1024"


@pytest.mark.parametrize("dtype", [int32, int64])
def test_every_node_of_the_expression_has_the_type_asked_for(dtype: DType) -> None:
    expr = affine_of(Min(i * 8 + 3, j) // 4 + n).to_expr(dtype)
    arithmetic = [node for node in walk(expr) if type(node) in (Add, Sub, Mul, FloorDiv, Min, Const)]
    assert arithmetic and all(node.dtype == dtype for node in arithmetic)


def test_the_type_is_the_widest_of_the_atoms() -> None:
    assert affine_of(wide + 1).to_expr().dtype == int64
    assert affine_of(i + 1).to_expr().dtype == int32
    assert affine_of(Const(1 << 40, int64)).to_expr().dtype == int64


def test_coefficients_and_what_is_left_without_a_variable() -> None:
    form = affine_of(i * 8 + j + i * n + 3)
    assert form.coefficient(i) == 8
    assert str(form.without(i).to_expr()) == "i * n + j + 3"
    assert form.without(i).depends_on(i)
    assert not form.without(j).depends_on(j)
    assert affine_of(i // 2).coefficient(i) == 0 and affine_of(i // 2).depends_on(i)


def test_a_form_is_its_coefficient_times_the_atom_plus_the_rest() -> None:
    form = affine_of(i * 8 + i * n + i * i + j + 3)
    c, rest = form.factor(i)
    assert str(c.to_expr()) == "i + n + 8"
    assert c * affine_of(i) + rest == form


def test_arithmetic_of_forms_is_arithmetic_of_values() -> None:
    a, b = affine_of(i * 2 - n + 1), affine_of(n + i * -2 + j)
    for values in product(range(-2, 3), repeat=3):
        env = dict(zip((i, j, n), values, strict=True))
        p, q = evaluate(a.to_expr(), env), evaluate(b.to_expr(), env)
        assert evaluate((a + b).to_expr(), env) == p + q
        assert evaluate((a - b).to_expr(), env) == p - q
        assert evaluate((a * b).to_expr(), env) == p * q
        assert evaluate((-a * 3 + 4).to_expr(), env) == -p * 3 + 4


def test_equal_forms_hash_equal() -> None:
    a, b = affine_of((i + 1) // 2 + j), affine_of(j + (1 + i) // 2)
    assert a == b and hash(a) == hash(b)
    assert a != affine_of((i + 1) // 2 + k)


def test_literals_of_different_types_are_different_keys() -> None:
    keys = {key_of(c) for c in (const(True), const(1), const(1.0), const(1, uint8), const(0.0), const(-0.0))}
    assert len(keys) == 6


def test_a_call_with_an_effect_equals_only_itself() -> None:
    draw, again = (Call("rand", (), int32) for _ in range(2))
    assert affine_of(draw - draw).is_constant
    assert not affine_of(draw - again).is_constant
    assert affine_of(Call("popcount", (i,), int32) - Call("popcount", (i,), int32)).is_constant


def test_conditions_with_different_operators_are_different() -> None:
    assert affine_of(Select(i < 3, j, k)) != affine_of(Select(i <= 3, j, k))
    assert affine_of(Select(i < 3, j, k)) != affine_of(IfThenElse(i < 3, j, k))
    assert affine_of(Select(Lt(i, const(2) + 1), j, k)) == affine_of(Select(i < 3, j, k))


def test_a_sum_shared_many_times_takes_no_exponential_time() -> None:
    expr: Expr = i
    for _ in range(200):
        expr = expr + expr
    assert affine_of(expr).coefficient(i) == 2**200
    expr = i
    for _ in range(60):
        expr = Max(expr + expr, expr * 3)
    assert affine_of(expr).depends_on(i)


def test_a_long_sum_does_not_overflow_the_stack() -> None:
    expr: Expr = i
    for at in range(20_000):
        expr = expr + at % 3
    assert affine_of(expr).constant == sum(at % 3 for at in range(20_000))


def test_long_products_stay_products() -> None:
    a = i + j + k + x + y + n
    expr = a * (a + f)
    env = {v: at for at, v in enumerate((i, j, k, x, y, n, f))}
    assert len(affine_of(expr).terms) == 1
    assert evaluate(affine_of(expr).to_expr(), env) == evaluate(expr, env)


def test_an_expression_that_is_no_index_is_one_atom() -> None:
    value = Var("v", float32) * 2.0
    atom = affine_of(value).is_atom
    assert type(atom) is Opaque and atom.node is value
