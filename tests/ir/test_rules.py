"""Every rule, for every combination of small and extreme values of its variables."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from tilewright.ir.dtype import ALL, STORAGE_ONLY, DType, boolean, float32, float64, int32, uint8
from tilewright.ir.expr import Cast, Const, Expr, Var
from tilewright.ir.rules import ANYTHING, RULES, apply, cast_of_cast, holds_all
from tilewright.ir.visit import free_vars, rewrite, same, with_fields

from .evaluator import evaluate

VALUES: dict[DType, tuple[Any, ...]] = {
    boolean: (False, True),
    int32: (-3, -1, 0, 1, 2, 7, -(2**31), 2**31 - 1),
    uint8: (0, 1, 2, 100, 128, 255),
    float32: (0.0, -0.0, 1.0, -2.5, float("inf"), float("-inf"), float("nan")),
}


def text(value: Any) -> str:
    """Give a text that tells -0.0 from 0.0 and finds one NaN equal to another."""
    return repr(float(value)) if isinstance(value, float) else repr(value)


def instances(rule: tuple[Expr, Expr]) -> list[tuple[Expr, Expr]]:
    """Give the rule for each type that its variables may have."""
    pattern, result = rule
    names = free_vars(pattern)
    wide = [v for v in names if v in ANYTHING]
    if wide:
        return [typed(pattern, result, dict.fromkeys(wide, dtype)) for dtype in VALUES]
    integers = [v for v in names if v.dtype == int32]
    return [(pattern, result), *([typed(pattern, result, dict.fromkeys(integers, uint8))] if integers else [])]


def typed(pattern: Expr, result: Expr, types: dict[Var, DType]) -> tuple[Expr, Expr]:
    """Give pattern and result with other types of some variables."""
    new = {v: Var(v.name, dtype) for v, dtype in types.items()}
    dtype = next(iter(types.values()))

    def change(node: Any) -> Any:
        if type(node) is Const and node.dtype == int32:
            return with_fields(node, {"dtype": dtype})
        return new.get(node)

    return rewrite(pattern, change), rewrite(result, change)


@pytest.mark.parametrize("rule", RULES, ids=[f"{a} -> {b}" for a, b in RULES])
def test_the_rule_holds_for_all_values(rule: tuple[Expr, Expr]) -> None:
    for pattern, result in instances(rule):
        names = free_vars(pattern)
        for values in product(*(VALUES[v.dtype] for v in names)):
            env = dict(zip(names, values, strict=True))
            assert text(evaluate(result, env)) == text(evaluate(pattern, env)), f"{pattern} -> {result} at {env}"


@pytest.mark.parametrize("rule", RULES, ids=[f"{a} -> {b}" for a, b in RULES])
def test_the_rule_is_found_and_applied(rule: tuple[Expr, Expr]) -> None:
    for pattern, result in instances(rule):
        found = apply(pattern)
        assert found is not None
        names = free_vars(pattern)
        for values in product(*(VALUES[v.dtype][:3] for v in names)):
            env = dict(zip(names, values, strict=True))
            assert text(evaluate(found, env)) == text(evaluate(result, env)), f"{pattern} gave {found}, not {result}"
        assert found.dtype == pattern.dtype


def test_a_rule_does_not_fit_unequal_expressions_of_one_variable() -> None:
    a, b = Var("a", float32), Var("b", float32)
    for pattern, _ in RULES:
        names = list(free_vars(pattern))
        if len(names) == 1 and type(pattern).__name__ in ("Min", "Max", "Eq", "Le", "And", "Or"):
            mixed = type(pattern)(a, b)
            assert apply(mixed) is None, f"{mixed} met {pattern}"


def test_float_rules_leave_minus_zero_alone() -> None:
    v = Var("v", float32)
    assert apply(v - Const(-0.0, float32)) is None  # -0.0 - -0.0 is 0.0
    assert apply(v + Const(0.0, float32)) is None  # -0.0 + 0.0 is 0.0


NUMPY = [t for t in ALL if t not in STORAGE_ONLY]


def extremes(dtype: DType) -> list[Any]:
    """Give values at which conversions differ."""
    if dtype.is_float:
        return [0.0, -0.0, 1.5, -2.25, 100.0, 2.0**31, 1 / 3]
    if dtype == boolean:
        return [False, True]
    near = [v + d for v in (0, dtype.min_value, dtype.max_value, 2**24, 2**31, 2**53) for d in (-1, 0, 1)]
    return [int(v) for v in near if dtype.min_value <= v <= dtype.max_value]


def defined(value: Any, dtype: DType) -> bool:
    """Tell whether a value converts to `dtype`: floats out of range of an integer do not."""
    if not isinstance(value, (float, np.floating)) or dtype.is_float or dtype == boolean:
        return True
    return dtype.min_value <= int(value) <= dtype.max_value


@pytest.mark.parametrize("start", NUMPY, ids=str)
def test_casts_of_casts_hold_for_extreme_values(start: DType) -> None:
    value = Var("v", start)
    for wide, end in product(NUMPY, repeat=2):
        found = cast_of_cast(Cast(Cast(value, wide), end))
        if found is None:
            continue
        for raw in extremes(start):
            with np.errstate(all="ignore"):
                first = np.asarray(raw, str(start))[()]
                middle = first.astype(str(wide))
                if not defined(middle, end) or not defined(first, wide):
                    continue
                direct = first if found is value else first.astype(str(end))
                assert text(direct.item()) == text(middle.astype(str(end)).item()), f"{start} {wide} {end}: {raw}"


@pytest.mark.parametrize("wide", NUMPY, ids=str)
def test_a_type_that_holds_all_values_of_another_gives_them_back(wide: DType) -> None:
    for narrow in NUMPY:
        if holds_all(wide, narrow):
            for raw in extremes(narrow):
                first = np.asarray(raw, str(narrow))[()]
                back = first.astype(str(wide)).astype(str(narrow))
                assert back == first and text(back.item()) == text(first.item()), f"{narrow} in {wide}: {raw}"


def test_lossless_casts_are_found() -> None:
    value = Var("v", uint8)
    assert apply(Cast(Cast(value, int32), uint8)) is value
    assert same(apply(Cast(Cast(value, int32), float32)), Cast(value, float32))
    assert apply(Cast(Cast(Var("v", int32), uint8), int32)) is None
    assert apply(Cast(Cast(Var("v", int32), float64), uint8)) is None  # 300.0 is no uint8, 300 wraps
