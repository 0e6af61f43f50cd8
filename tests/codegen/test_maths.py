"""Vector maths functions: error within the stated bounds, special values, every number of lanes, no hidden calls."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from tilewright.codegen.llvm.features import has
from tilewright.codegen.llvm.maths import ERROR_BOUNDS, ErrorBound, vector_maths
from tilewright.codegen.llvm.maths.functions import FLOAT_RECIPES, RECIPES
from tilewright.ir.dtype import DType, float16, float32, float64
from tilewright.ir.errors import CodegenError
from tilewright.ir.intrinsics import INTRINSICS
from tilewright.ir.target import Target

from .loader import Loaded, assembly, elementwise, host, plain

TARGETS = {"fused": (host(), 16, False), "sse2": (plain(), 4, False)}  # with and without fused multiply-add
if has(host(), "avx512vl"):
    TARGETS["scaling"] = (host(), 8, True)
SPECIALS = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0]
PAIRED = [*SPECIALS, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 2.5, -2.5, 1e9, -1e9, 16777217.0, 33554431.0]
ELEMENT = {float32: "float", float64: "double"}
Reference = Callable[..., np.ndarray]


def erf(x: np.ndarray) -> np.ndarray:
    """Give erf as 2 / sqrt(pi) * exp(-x**2) * sum of 2**n x**(2n+1) / (2n+1)!!, all terms of one sign."""
    bounded = np.clip(x, -7, 7)
    term = bounded.copy()
    total = term.copy()
    for n in range(1, 180):
        term = term * (2 * bounded * bounded / (2 * n + 1))
        total += term
    pi = np.arccos(np.array(-1, x.dtype))
    return np.where(np.abs(x) > 6.9, np.sign(x), 2 / np.sqrt(pi) * np.exp(-bounded * bounded) * total)


REFERENCES: dict[str, Reference] = {
    "exp10": lambda x: np.power(x.dtype.type(10), x),
    "sigmoid": lambda x: np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x))),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "erf": erf,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "pow": np.power,
}


def reference(name: str, *arguments: np.ndarray) -> np.ndarray:
    """Give the function computed with at least 11 bits more than its arguments have."""
    wider = np.float64 if arguments[0].dtype == np.float32 else np.longdouble
    with np.errstate(all="ignore"):
        return REFERENCES.get(name, getattr(np, name, None))(*(x.astype(wider) for x in arguments))  # type: ignore[misc]


def module(name: str, dtype: DType, lanes: int, inputs: int = 1, scales: bool = False) -> str:
    function = vector_maths(name, dtype, lanes, scales)
    definitions = [*function.declares, function.definition]
    return elementwise(function.symbol, definitions, ELEMENT[dtype], lanes, inputs)


def compute(
    name: str, dtype: DType, lanes: int, target: Target, *arguments: np.ndarray, scales: bool = False
) -> np.ndarray:
    """Apply the compiled function to arrays of any length."""
    count = len(arguments[0])
    chunks = -(-count // lanes)
    padded = [np.concatenate([x, np.ones(chunks * lanes - count, x.dtype)]).astype(str(dtype)) for x in arguments]
    result = np.empty_like(padded[0])
    Loaded(module(name, dtype, lanes, len(arguments), scales), target).call("run", *padded, result, chunks)
    return result[:count]


def every_exponent(dtype: DType, count: int) -> np.ndarray:
    """Give `count` numbers spread over all bit patterns: both signs, denormals, NaNs."""
    random = np.random.default_rng(dtype.bits)
    steps = np.linspace(0, 2.0**dtype.bits, count, endpoint=False).astype(f"uint{dtype.bits}")
    noise = random.integers(0, 2**dtype.bits // count, count, dtype=f"uint{dtype.bits}")
    return (steps + noise).view(str(dtype))


def samples(dtype: DType, limit: float) -> np.ndarray:
    """Give arguments over all exponents, and more where the functions do their work."""
    random = np.random.default_rng(7)
    count = (1 << 20) if dtype == float32 else (1 << 16)
    spreads = [random.uniform(-size, size, count // 4) for size in (1, 3, 20, 110, 800, min(limit, 1e9))]
    near_one = 1 + random.uniform(-1, 1, count // 8) * 2.0 ** random.uniform(-30, 0, count // 8)
    quarter_turns = np.arange(1, count // 8) * (math.pi / 2)
    parts = [every_exponent(dtype, count), np.array(SPECIALS), *spreads, near_one, quarter_turns]
    x = np.concatenate([part.astype(str(dtype)) for part in parts])
    return x[~(np.abs(x) > limit)]


def arguments_of(bound: ErrorBound) -> list[np.ndarray]:
    """Give sampled arguments; second ones are the first in another order, with every pair of special values."""
    x = samples(bound.dtype, bound.limit)
    if INTRINSICS[bound.name].arity == 1:
        return [x]
    pairs = np.array(np.meshgrid(PAIRED, PAIRED)).reshape(2, -1).astype(x.dtype)
    other = np.random.default_rng(11).permutation(x)
    with np.errstate(all="ignore"):
        similar = x * np.random.default_rng(12).uniform(0.1, 4, len(x)).astype(x.dtype)
    return [np.concatenate([pairs[0], x, x]), np.concatenate([pairs[1], other, similar])]


def last_places(exact: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Give the unit in the last place of numbers of `dtype` beside each exact value."""
    info = np.finfo(dtype)
    with np.errstate(all="ignore"):
        top = np.ldexp(exact.dtype.type(1), info.maxexp)
        _, exponent = np.frexp(np.where(np.isnan(exact), 0, np.clip(exact, -top, top)))
        return np.ldexp(exact.dtype.type(1), np.clip(exponent - 1, info.minexp, info.maxexp - 1) - info.nmant)


def ulp_errors(got: np.ndarray, exact: np.ndarray, units: np.ndarray | None = None) -> np.ndarray:
    """Give |got - exact| in units in the last place of `exact`; infinite where only one of the two is NaN.

    Overflow counts as the number after the greatest one, so an infinity may stand for an exact value near it.
    """
    with np.errstate(all="ignore"):
        top = np.ldexp(exact.dtype.type(1), np.finfo(got.dtype).maxexp)
        finite = np.where(np.isinf(got), np.copysign(top, got), got.astype(exact.dtype))
        errors = np.abs(finite - np.clip(exact, -top, top)) / (
            last_places(exact, got.dtype) if units is None else units
        )
    errors[np.isnan(got) & np.isnan(exact)] = 0
    errors[np.isnan(got) != np.isnan(exact)] = np.inf
    return errors


@lru_cache(maxsize=1)  # tests of one bound follow one another
def answers(bound: ErrorBound) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Give sampled arguments, the exact values, and their units in the last place: the same for every target."""
    arguments = arguments_of(bound)
    exact = reference(bound.name, *arguments)
    return arguments, exact, last_places(exact, arguments[0].dtype)


def bound_name(bound: ErrorBound) -> str:
    return f"{bound.name}-{bound.dtype}"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("bound", ERROR_BOUNDS, ids=bound_name)
def test_error_is_within_the_stated_bound(bound: ErrorBound, target: str) -> None:
    machine, lanes, scales = TARGETS[target]
    arguments, exact, units = answers(bound)
    got = compute(bound.name, bound.dtype, lanes, machine, *arguments, scales=scales)
    errors = ulp_errors(got, exact, units)
    worst = int(np.argmax(errors))
    assert errors[worst] <= bound.ulp, f"{bound.name}{[x[worst] for x in arguments]}: {errors[worst]} ULP"


@pytest.mark.parametrize("bound", ERROR_BOUNDS, ids=bound_name)
def test_special_values_are_those_of_ieee(bound: ErrorBound) -> None:
    grid = np.meshgrid(*[np.array(PAIRED, str(bound.dtype))] * INTRINSICS[bound.name].arity)
    arguments = [axis.ravel() for axis in grid]
    got = compute(bound.name, bound.dtype, 4, host(), *arguments)
    want = reference(bound.name, *arguments).astype(got.dtype)
    special = np.isnan(want) | np.isinf(want) | (want == 0)
    np.testing.assert_array_equal(got[special], want[special])
    zero = want == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", ["exp", "exp2", "exp10"])
def test_underflow_is_gradual_and_ends_in_zero(name: str, dtype: DType) -> None:
    base = {"exp": math.e, "exp2": 2.0, "exp10": 10.0}[name]
    lowest = math.log(float(np.finfo(str(dtype)).smallest_subnormal), base)
    got = compute(name, dtype, 4, host(), np.array([lowest * 0.99, lowest * 1.02, -1e30]))
    assert 0 < got[0] < np.finfo(str(dtype)).tiny
    assert list(got[1:]) == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_one_huge_angle_sends_the_vector_to_the_c_library(name: str, dtype: DType) -> None:
    x = np.array([0.5, 1e22, 3.0, -7e9]).astype(str(dtype))
    got = compute(name, dtype, 4, host(), x)
    assert ulp_errors(got, reference(name, x)).max() <= 1.0


@pytest.mark.parametrize("lanes", [2, 3, 5, 8, 12, 16, 32, 64])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sin", "erf"])
def test_results_do_not_depend_on_the_number_of_lanes(name: str, dtype: DType, lanes: int) -> None:
    x = np.linspace(0.01, 9.0, 200).astype(str(dtype))
    np.testing.assert_array_equal(compute(name, dtype, lanes, host(), x), compute(name, dtype, 1, host(), x))


@pytest.mark.parametrize("lanes", [1, 4, 5])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize(("name", "oracle"), [("fmod", np.fmod), ("nextafter", np.nextafter)])
def test_functions_without_a_recipe_call_the_c_library(name: str, oracle: Reference, dtype: DType, lanes: int) -> None:
    x, y = (np.linspace(a, b, 60).astype(str(dtype)) for a, b in ((-9.0, 7.0), (0.5, 3.0)))
    np.testing.assert_array_equal(compute(name, dtype, lanes, host(), x, y), oracle(x, y))


@pytest.mark.skipif("scaling" not in TARGETS, reason="this processor has no AVX-512")
@pytest.mark.parametrize("lanes", [2, 3, 5, 12, 16, 40, 64])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_scaling_takes_any_number_of_lanes(lanes: int, dtype: DType) -> None:
    x = np.linspace(-110, 85, 700).astype(str(dtype))
    whole, some = (compute("exp", dtype, n, host(), x, scales=True) for n in (8, lanes))
    np.testing.assert_array_equal(some, whole)


@pytest.mark.parametrize("bound", [b for b in ERROR_BOUNDS if math.isinf(b.limit)], ids=bound_name)
def test_recipes_without_a_limit_compile_without_calls_even_for_sse2(bound: ErrorBound) -> None:
    text = assembly(module(bound.name, bound.dtype, 4, INTRINSICS[bound.name].arity), plain())
    assert not re.search(r"\bcall", text)


def test_a_wide_exp_is_near_twenty_instructions() -> None:
    target = Target(triple="x86_64-unknown-linux-gnu", cpu="cascadelake")
    function = vector_maths("exp", float32, 16)
    text = assembly(function.definition + f"""
define <16 x float> @one(<16 x float> %x) {{
  %y = call <16 x float> {function.symbol}(<16 x float> %x)
  ret <16 x float> %y
}}
""", target)  # fmt: skip
    assert len(re.findall(r"^\tv\w+", text, re.MULTILINE)) <= 28  # constants in registers included


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_ldexp_takes_integers_as_exponents(dtype: DType, lanes: int) -> None:
    function = vector_maths("ldexp", dtype, lanes)
    text = elementwise("@scaled", [*function.declares, function.definition, scaled(function.symbol, dtype, lanes)],
                       ELEMENT[dtype], lanes)  # fmt: skip
    x = np.linspace(-2, 2, 8).astype(str(dtype))
    result = np.empty_like(x)
    Loaded(text, host()).call("run", x, result, 8 // lanes)
    np.testing.assert_array_equal(result, np.ldexp(x, 3))


def scaled(symbol: str, dtype: DType, lanes: int) -> str:
    kind, number = (ELEMENT[dtype], "3") if lanes == 1 else (f"<{lanes} x {ELEMENT[dtype]}>", "splat (i32 3)")
    word = "i32" if lanes == 1 else f"<{lanes} x i32>"
    return f"""
define internal {kind} @scaled({kind} %x) {{
  %y = call {kind} {symbol}({kind} %x, {word} {number})
  ret {kind} %y
}}
"""


def test_other_data_types_are_refused() -> None:
    with pytest.raises(CodegenError, match="no version for float16"):
        vector_maths("exp", float16, 4)


def test_documentation_states_the_bounds() -> None:
    page = (Path(__file__).parents[2] / "docs" / "maths.md").read_text()
    stated = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+|C) \|", page, re.MULTILINE)
    ulps = {(bound.name, str(bound.dtype)): str(bound.ulp) for bound in ERROR_BOUNDS}
    assert stated == [(name, ulps[name, "float32"], ulps.get((name, "float64"), "C")) for name in FLOAT_RECIPES]


def test_every_recipe_has_a_bound() -> None:
    recipes = {(name, float32) for name in FLOAT_RECIPES} | {(name, float64) for name in RECIPES}
    assert {(bound.name, bound.dtype) for bound in ERROR_BOUNDS} == recipes
