"""Random programs: everything the analysis says holds at every point of a small domain."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from tilewright.ir.affine import affine_of
from tilewright.ir.expr import Expr, Not, Var
from tilewright.ir.interval import bounds, const_bounds, prove
from tilewright.ir.simplify import simplify
from tilewright.ir.visit import free_vars

from .evaluator import evaluate, points, run
from .programs import FREE, MEMORY, RANGES, Programs

POINTS = Random(0).sample(list(points(RANGES, FREE)), 250)
SEEDS = range(18)
PER_SEED = 25


def values(expr: Expr) -> list[tuple[dict[Var, int], object]]:
    """Give the value at each point where there is one."""
    found = []
    for env in POINTS:
        try:
            found.append((env, evaluate(expr, env, MEMORY)))
        except ZeroDivisionError:
            continue
    return found


def expressions(seed: int) -> list[Expr]:
    """Give index expressions, every third with values from memory and narrow integers."""
    programs = Programs(seed, data=seed % 3 == 0)
    return [programs.index(1 + n % 3) for n in range(PER_SEED)]


def conditions(seed: int) -> list[Expr]:
    """Give conditions, every third with narrow integers."""
    programs = Programs(seed + 1000, data=seed % 3 == 0)
    return [programs.condition(n % 3) for n in range(PER_SEED)]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_integer_linear_form_has_the_same_value(seed: int) -> None:
    for expr in expressions(seed):
        again = affine_of(expr).to_expr(expr.dtype)
        for env, value in values(expr):
            assert evaluate(again, env, MEMORY) == value, f"{expr} became {again}, at {env}"


@pytest.mark.parametrize("seed", SEEDS)
def test_simplified_expressions_have_the_same_value(seed: int) -> None:
    for expr in expressions(seed) + conditions(seed):
        again = simplify(expr, RANGES)
        for env, value in values(expr):
            assert evaluate(again, env, MEMORY) == value, f"{expr} became {again}, at {env}"


@pytest.mark.parametrize("seed", SEEDS)
def test_simplifying_twice_changes_nothing(seed: int) -> None:
    for expr in expressions(seed) + conditions(seed):
        once = simplify(expr, RANGES)
        twice = simplify(once, RANGES)
        assert twice is once, f"{once} became {twice}"


@pytest.mark.parametrize("seed", SEEDS)
def test_bounds_hold_all_values(seed: int) -> None:
    for expr in expressions(seed):
        interval = bounds(expr, RANGES)
        low, high = const_bounds(expr, RANGES)
        for end in (interval.lo, interval.hi):
            assert end is None or not any(v in RANGES for v in free_vars(end)), f"{expr}: {end}"
        for env, value in values(expr):
            where = f"{expr} is {value} at {env}"
            assert interval.lo is None or evaluate(interval.lo, env) <= value, f"{where}, not >= {interval.lo}"
            assert interval.hi is None or value <= evaluate(interval.hi, env), f"{where}, not <= {interval.hi}"
            assert low is None or low <= value, f"{where}, not >= {low}"
            assert high is None or value <= high, f"{where}, not <= {high}"


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_proved_is_true(seed: int) -> None:
    for condition in conditions(seed):
        for claim in (condition, Not(condition)):
            if prove(claim, RANGES):
                assert all(value for _, value in values(claim)), f"{claim} was proved"


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_proved_from_a_fact_is_true_where_the_fact_holds(seed: int) -> None:
    claims = conditions(seed)
    for fact, condition in itertools.pairwise(claims):
        for claim in (condition, Not(condition)):
            if prove(claim, RANGES, given=[fact]):
                holding = {id(env) for env, value in values(fact) if value}
                assert all(v for env, v in values(claim) if id(env) in holding), f"{fact} gave {claim}"


@pytest.mark.parametrize("seed", SEEDS)
def test_simplified_statements_do_the_same(seed: int) -> None:
    programs = Programs(seed)
    for _ in range(8):
        stmt = programs.stmt(3)
        again = simplify(stmt, RANGES)
        for env in POINTS[::5]:
            expected, found = dict(MEMORY), dict(MEMORY)
            try:
                run(stmt, env, expected)
            except ZeroDivisionError:
                continue
            run(again, env, found)
            assert found == expected, f"{stmt}\nbecame\n{again}\nat {env}"


@pytest.mark.parametrize("seed", SEEDS)
def test_statements_simplified_twice_stay_the_same_object(seed: int) -> None:
    programs = Programs(seed)
    for _ in range(8):
        once = simplify(programs.stmt(3), RANGES)
        assert simplify(once, RANGES) is once, str(once)


def test_the_random_conditions_are_often_decided() -> None:
    decided = sum(prove(c, RANGES) or prove(Not(c), RANGES) for seed in SEEDS for c in conditions(seed))
    assert decided > 60  # of 450: the tests above mean something
