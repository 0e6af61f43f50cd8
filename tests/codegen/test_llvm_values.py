"""Every operator on every data type, scalar and in vectors of common and odd widths: LLVM against NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tilewright.ir import arith
from tilewright.ir import expr as e
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import (
    DType,
    bfloat16,
    boolean,
    float16,
    float32,
    float64,
    int4,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from tilewright.ir.expr import Call, Const, Expr, Load, Var
from tilewright.ir.stmt import For, ForKind, Function, Stmt, Store, seq

from .machine import Loaded

LANES = (1, 2, 3, 4, 8, 16, 32)
INTEGERS = (int8, int16, int32, int64, uint8, uint16, uint32, uint64)
FLOATS = (float32, float64)
Case = tuple[Callable[[Expr, Expr], Expr], Callable[[np.ndarray, np.ndarray], np.ndarray]]


def run(
    cases: list[Case], inputs: list[tuple[np.ndarray, DType]], results: list[DType], lanes: int
) -> list[np.ndarray]:
    """Store each case's value of the inputs, element by element, and give the arrays written."""
    n = len(inputs[0][0])
    i = Var("i")
    sources = [Buffer(f"in{k}", (Const(n),), dtype) for k, (_, dtype) in enumerate(inputs)]
    targets = [Buffer(f"out{k}", (Const(n),), dtype) for k, dtype in enumerate(results)]
    o = Var("o")
    index = o * lanes + i if lanes > 1 else o
    operands = [Load(b, (index,)) for b in sources]
    stores = [Store(t, (index,), build(*operands)) for t, (build, _) in zip(targets, cases, strict=True)]
    body: Stmt = seq(*stores)
    if lanes > 1:
        body = For(i, Const(lanes), body, ForKind.VECTORIZED)
    function = Function("values", (*sources, *targets), For(o, Const(n // lanes), body), tuple(targets))
    outputs = [np.zeros(n, storage(dtype)) for dtype in results]
    assert Loaded(function)(*(a for a, _ in inputs), *outputs) == 0
    return outputs


def storage(dtype: DType) -> np.dtype:
    """Give the NumPy type whose bytes hold `dtype`."""
    return np.dtype({"bool": "bool", "int4": "int8", "bfloat16": "uint16"}.get(str(dtype), str(dtype)))


def integers(dtype: DType, seed: int, count: int = 96) -> np.ndarray:
    """Give values over the whole range of the type, its ends among them."""
    rng = np.random.default_rng(seed)
    values = rng.integers(dtype.min_value, dtype.max_value, count, endpoint=True, dtype=storage(dtype))
    values[:4] = [dtype.min_value, dtype.max_value, dtype.max_value, 1]
    return values


def floats(dtype: DType, seed: int, count: int = 96) -> np.ndarray:
    """Give values of both signs and many sizes, with zeros, infinities and NaN."""
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal(count) * 10.0 ** rng.integers(-3, 4, count)).astype(storage(dtype))
    values[:6] = rng.permutation(np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0]))
    return values


def check(cases: list[Case], inputs: list[tuple[np.ndarray, DType]], results: list[DType], lanes: int) -> None:
    """Assert that every case gives NumPy's bits (any NaN for a NaN)."""
    got = run(cases, inputs, results, lanes)
    arrays = [a for a, _ in inputs]
    for number, (array, (_, oracle)) in enumerate(zip(got, cases, strict=True)):
        with np.errstate(all="ignore"):
            expected = np.asarray(oracle(*arrays)).astype(array.dtype)
        np.testing.assert_array_equal(array, expected, err_msg=f"case {number} of {inputs[0][1]} x {lanes}")


def _nonzero(b: Expr) -> Expr:
    return e.Select(b.equal(0), arith.const(3, b.dtype), b)


def _np_nonzero(b: np.ndarray) -> np.ndarray:
    return np.where(b == 0, 3, b).astype(b.dtype)


def _floor_divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    exact = [int(x) // int(y) for x, y in zip(a, b, strict=True)]
    return np.array([arith.wrap(q, _dtype_of(a)) for q in exact], a.dtype)


def _dtype_of(a: np.ndarray) -> DType:
    return next(d for d in INTEGERS if str(d) == a.dtype.name)


INTEGER_CASES: list[Case] = [
    (lambda a, b: e.Add(a, b), lambda a, b: a + b),
    (lambda a, b: e.Sub(a, b), lambda a, b: a - b),
    (lambda a, b: e.Mul(a, b), lambda a, b: a * b),
    (lambda a, b: e.Add(e.Mul(a, b), a), lambda a, b: a * b + a),
    (lambda a, b: e.FloorDiv(a, _nonzero(b)), lambda a, b: _floor_divide(a, _np_nonzero(b))),
    (lambda a, b: e.FloorMod(a, _nonzero(b)), lambda a, b: np.mod(a, _np_nonzero(b))),
    (lambda a, b: a // 8, lambda a, b: a // a.dtype.type(8)),
    (lambda a, b: a % 8, lambda a, b: a % a.dtype.type(8)),
    (lambda a, b: a // 7, lambda a, b: a // a.dtype.type(7)),
    (lambda a, b: a % 7, lambda a, b: a % a.dtype.type(7)),
    (lambda a, b: e.Min(a, b), np.minimum),
    (lambda a, b: e.Max(a, b), np.maximum),
    (lambda a, b: e.Select(a < b, a, b), np.minimum),
    (lambda a, b: a & b, lambda a, b: a & b),
    (lambda a, b: a | b, lambda a, b: a | b),
    (lambda a, b: a ^ b, lambda a, b: a ^ b),
    (lambda a, b: e.Call("bitwise_not", (a,), a.dtype), lambda a, b: ~a),
    (lambda a, b: a << 3, lambda a, b: a << a.dtype.type(3)),
    (lambda a, b: a >> 2, lambda a, b: a >> a.dtype.type(2)),
    (lambda a, b: Call("abs", (a,), a.dtype), lambda a, b: np.abs(a)),
    (lambda a, b: Call("popcount", (a,), a.dtype), lambda a, b: [int(x).bit_count() for x in a.view(f"u{a.itemsize}")]),
]
FLOAT_CASES: list[Case] = [
    (lambda a, b: e.Add(a, b), lambda a, b: a + b),
    (lambda a, b: e.Sub(a, b), lambda a, b: a - b),
    (lambda a, b: e.Mul(a, b), lambda a, b: a * b),
    (lambda a, b: e.Div(a, b), lambda a, b: a / b),
    (lambda a, b: e.Min(a, b), lambda a, b: np.where(a < b, a, b)),
    (lambda a, b: e.Max(a, b), lambda a, b: np.where(a > b, a, b)),
    (lambda a, b: e.Select(e.Le(a, b), a, b), lambda a, b: np.where(a <= b, a, b)),
    (lambda a, b: e.IfThenElse(e.Or(a < 0, b < 0), a, b), lambda a, b: np.where((a < 0) | (b < 0), a, b)),
    *(
        (lambda a, b, name=name: Call(name, (a,), a.dtype), lambda a, b, f=f: f(a))
        for name, f in (
            ("sqrt", np.sqrt),
            ("floor", np.floor),
            ("ceil", np.ceil),
            ("trunc", np.trunc),
            ("nearbyint", np.rint),
            ("abs", np.abs),
        )
    ),
    (lambda a, b: Call("copysign", (a, b), a.dtype), np.copysign),
]
COMPARISONS: list[Case] = [
    (lambda a, b: e.Eq(a, b), lambda a, b: a == b),
    (lambda a, b: e.Ne(a, b), lambda a, b: a != b),
    (lambda a, b: e.Lt(a, b), lambda a, b: a < b),
    (lambda a, b: e.Le(a, b), lambda a, b: a <= b),
    (lambda a, b: e.Not(e.And(a < b, b < 5)), lambda a, b: ~((a < b) & (b < 5))),
    (lambda a, b: e.Or(a < b, e.Eq(a, b)), lambda a, b: a <= b),
]


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_operators(dtype: DType, lanes: int) -> None:
    inputs = [(integers(dtype, 1), dtype), (integers(dtype, 2), dtype)]
    check(INTEGER_CASES, inputs, [dtype] * len(INTEGER_CASES), lanes)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_float_operators(dtype: DType, lanes: int) -> None:
    inputs = [(floats(dtype, 1), dtype), (floats(dtype, 2), dtype)]
    check(FLOAT_CASES, inputs, [dtype] * len(FLOAT_CASES), lanes)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS], ids=str)
def test_comparisons(dtype: DType, lanes: int) -> None:
    make = floats if dtype.is_float else integers
    a, b = make(dtype, 1), make(dtype, 2)
    b[10:40] = a[10:40]
    check(COMPARISONS, [(a, dtype), (b, dtype)], [boolean] * len(COMPARISONS), lanes)


def _saturated(values: np.ndarray, target: DType) -> np.ndarray:
    whole = np.trunc(np.nan_to_num(values.astype(np.float64), nan=0.0))
    return np.array([int(min(max(v, target.min_value), target.max_value)) for v in whole], storage(target))


@pytest.mark.parametrize("lanes", LANES)
def test_floats_out_of_range_saturate_as_integers(lanes: int) -> None:
    special = [np.nan, np.inf, -np.inf, 2.0**31, -(2.0**31), 2147483520.0, -0.5, 255.5, 256.0, 127.9, -128.9, 3e38]
    values = np.array(special * 8, np.float32)
    targets = [int8, int16, int32, uint8, uint16]
    cases: list[Case] = [(lambda a, t=t: e.Cast(a, t), lambda a, t=t: _saturated(a, t)) for t in targets]
    check(cases, [(values, float32)], targets, lanes)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("target", [int8, uint8, int32], ids=str)
def test_clamped_floats_as_integers(target: DType, lanes: int) -> None:
    low, high = arith.const(-100.0 if target != uint8 else 0.0, float32), arith.const(127.0, float32)
    values = np.array([np.nan, np.inf, -np.inf, -101.0, 128.0, 0.5, 126.9, -0.1] * 12, np.float32)

    def oracle(least: bool) -> Callable[[np.ndarray], np.ndarray]:
        known = low.value if least else high.value  # what NaN becomes
        return lambda a: _saturated(np.clip(np.nan_to_num(a, nan=known), low.value, high.value), target)

    cases: list[Case] = [
        (lambda a: e.Cast(e.Min(e.Max(a, low), high), target), oracle(True)),
        (lambda a: e.Cast(e.Max(e.Min(a, high), low), target), oracle(False)),
    ]
    check(cases, [(values, float32)], [target, target], lanes)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("ends", [(-128.0, 127.0), (-300.0, 4e6), (-5e6, 5e6)], ids=str)
def test_clamped_floats_rounded_to_integers(ends: tuple[float, float], lanes: int) -> None:
    low, high = (arith.const(end, float32) for end in ends)
    special = [np.nan, np.inf, -np.inf, 0.5, 1.5, -0.5, -1.5, 2.4999998, 126.5, -128.5, 3999999.5, -4999999.5]
    values = np.array(special * 8, np.float32)
    targets = [int8, int32] if ends[1] < 128 else [int32]
    cases: list[Case] = [
        (
            lambda a, t=t: e.Cast(Call("nearbyint", (e.Min(e.Max(a, low), high),), float32), t),
            lambda a, t=t: _saturated(np.rint(np.clip(np.nan_to_num(a, nan=ends[0]), *ends)), t),
        )
        for t in targets
    ]
    check(cases, [(values, float32)], targets, lanes)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("source", [*INTEGERS, *FLOATS, boolean], ids=str)
def test_casts(source: DType, lanes: int) -> None:
    if source.is_float:
        values = np.random.default_rng(3).uniform(0, 100, 96).astype(storage(source))
    else:
        values = integers(source, 3) if source != boolean else np.arange(96) % 3 == 0
    targets = [*INTEGERS, *FLOATS, boolean]
    cases: list[Case] = [(lambda a, t=t: e.Cast(a, t), lambda a, t=t: a.astype(storage(t))) for t in targets]
    check(cases, [(values, source)], targets, lanes)


@pytest.mark.parametrize("lanes", LANES)
def test_float_tests(lanes: int) -> None:
    cases: list[Case] = [
        (lambda a, name=name: Call(name, (a,), boolean), getattr(np, name)) for name in ("isnan", "isinf", "isfinite")
    ]
    check(cases, [(floats(float32, 4), float32)], [boolean] * 3, lanes)


@pytest.mark.parametrize("lanes", LANES)
def test_reinterpret_keeps_bits(lanes: int) -> None:
    cases: list[Case] = [(lambda a: Call("reinterpret", (a,), int32), lambda a: a.view(np.int32))]
    check(cases, [(floats(float32, 5), float32)], [int32], lanes)


@pytest.mark.parametrize("lanes", LANES)
def test_a_product_added_rounds_once_or_twice(lanes: int) -> None:
    a, b = (np.random.default_rng(k).standard_normal(96).astype(np.float32) for k in (6, 7))
    got = run([(lambda a, b: e.Add(e.Mul(a, b), a), lambda a, b: a)], [(a, float32), (b, float32)], [float32], lanes)
    once = (a.astype(np.float64) * b + a).astype(np.float32)
    assert np.all((got[0] == once) | (got[0] == a * b + a))


@pytest.mark.parametrize("lanes", LANES)
def test_float16_computes_in_float32_and_rounds_on_store(lanes: int) -> None:
    a, b = (np.random.default_rng(k).standard_normal(96).astype(np.float16) for k in (8, 9))
    a[:3] = [np.inf, 6e-8, 65504]
    wide = lambda x: x.astype(np.float32)  # noqa: E731
    cases: list[Case] = [
        (lambda a, b: e.Sub(e.Mul(a, b), b), lambda a, b: wide(a) * wide(b) - wide(b)),
        (lambda a, b: e.Div(a, b), lambda a, b: wide(a) / wide(b)),
        (lambda a, b: e.Max(a, b), np.maximum),
        (lambda a, b: e.Cast(e.Add(e.Cast(a, float32), e.Cast(b, float32)), float16), lambda a, b: wide(a) + wide(b)),
    ]
    check(cases, [(a, float16), (b, float16)], [float16] * len(cases), lanes)


def to_bfloat(values: np.ndarray) -> np.ndarray:
    """Round float32 to nearest even bfloat16, as its 16 bits."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), (bits >> 16) | 0x40, rounded).astype(np.uint16)


def from_bfloat(bits: np.ndarray) -> np.ndarray:
    """Give the float32 of bfloat16 bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize("lanes", LANES)
def test_bfloat16_computes_in_float32_and_rounds_to_even(lanes: int) -> None:
    rng = np.random.default_rng(10)
    a = rng.integers(0, 0x7F80, 96).astype(np.uint16)  # denormals to the greatest finite number
    b = to_bfloat(rng.standard_normal(96))
    a[:3] = [0x7FC0, 0x7F80, 0x0001]
    cases: list[Case] = [
        (lambda a, b: e.Mul(a, b), lambda a, b: to_bfloat(from_bfloat(a) * from_bfloat(b))),
        (lambda a, b: e.Sub(a, b), lambda a, b: to_bfloat(from_bfloat(a) - from_bfloat(b))),
    ]
    got = run(cases, [(a, bfloat16), (b, bfloat16)], [bfloat16] * 2, lanes)
    with np.errstate(all="ignore"):
        expected = [oracle(a, b) for _, oracle in cases]
    for array, value in zip(got, expected, strict=True):
        nan = np.isnan(from_bfloat(value))
        np.testing.assert_array_equal(array[~nan], value[~nan])
        assert np.isnan(from_bfloat(array[nan])).all()


@pytest.mark.parametrize("lanes", LANES)
def test_int4_wraps_on_store(lanes: int) -> None:
    a, b = ((np.arange(96, dtype=np.int8) * k) % 16 - 8 for k in (3, 5))
    cases: list[Case] = [
        (lambda a, b: e.Add(a, b), lambda a, b: (a + b + 8) % 16 - 8),
        (lambda a, b: e.Mul(a, b), lambda a, b: (a.astype(int) * b + 8) % 16 - 8),
    ]
    check(cases, [(a.astype(np.int8), int4), (b.astype(np.int8), int4)], [int4] * 2, lanes)


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS, float16, bfloat16, boolean], ids=str)
def test_constants(dtype: DType) -> None:
    number: int | float | bool = {True: 0.1, False: 77}[dtype.is_float] if dtype != boolean else True
    out = Buffer("out", (Const(1),), dtype)
    function = Function("constant", (out,), Store(out, (Const(0),), Const(number, dtype)), (out,))
    array = np.zeros(1, storage(dtype))
    Loaded(function)(array)
    expected = to_bfloat(np.array([0.1])) if dtype == bfloat16 else np.array([number]).astype(storage(dtype))
    np.testing.assert_array_equal(array, expected)
