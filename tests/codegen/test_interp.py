"""The interpreter against NumPy, node by node and type by type."""

import math
from fractions import Fraction

import numpy as np
import pytest

from tilewright.codegen import scalar
from tilewright.codegen.interp import interpret
from tilewright.ir.dtype import bfloat16, dtype_of, float16, int4
from tilewright.ir.errors import ArgumentError, CodegenError
from tilewright.ir.parser import parse_function

INTS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float32", "float64")


def run(text: str, *arrays: np.ndarray | int | float, **options: object) -> None:
    """Run a function given as text."""
    interpret(parse_function(text), arrays, **options)  # type: ignore[arg-type]


def elementwise(value: str, out: str, *arrays: np.ndarray, types: tuple[str, ...] = ()) -> np.ndarray:
    """Give `value`, in terms of A[i] and B[i], for each element."""
    n = len(arrays[0])
    types = types or tuple(str(a.dtype) for a in arrays)
    heads = [f"{name}: {dtype}[{n}]" for name, dtype in zip("AB", types, strict=False)]
    result = np.zeros(n, scalar.array_dtype(dtype_of(out)))
    text = f"def f({', '.join(heads)}, C: Out[{out}[{n}]]):\n    for i in range({n}):\n        C[i] = {value}"
    run(text, *arrays, result)
    return result


def some(dtype: str, seed: int, n: int = 64) -> np.ndarray:
    """Give values over the whole range of a type, with its extremes."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, n).astype(bool)
    if dtype.startswith("float"):
        values = (rng.standard_normal(n) * 10.0 ** rng.integers(-3, 4, n)).astype(dtype)
        values[:5] = [0.0, -0.0, np.inf, -np.inf, np.nan]
        return values
    info = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, n, dtype=dtype, endpoint=True)
    values[:3] = [info.min, info.max, 1]
    return rng.permutation(values)


@pytest.mark.parametrize("dtype", INTS + FLOATS)
@pytest.mark.parametrize(("symbol", "ufunc"), [("+", np.add), ("-", np.subtract), ("*", np.multiply)])
def test_sums_and_products_wrap_or_round_as_numpy_does(dtype: str, symbol: str, ufunc: np.ufunc) -> None:
    a, b = some(dtype, 1), some(dtype, 2)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(elementwise(f"A[i] {symbol} B[i]", dtype, a, b), ufunc(a, b))


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize(("symbol", "ufunc"), [("//", np.floor_divide), ("%", np.remainder)])
def test_integer_division_rounds_down(dtype: str, symbol: str, ufunc: np.ufunc) -> None:
    a, b = some(dtype, 1), some(dtype, 2)
    b[b == 0] = 3
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(elementwise(f"A[i] {symbol} B[i]", dtype, a, b), ufunc(a, b))


@pytest.mark.parametrize("dtype", FLOATS)
def test_float_division_follows_ieee(dtype: str) -> None:
    a, b = some(dtype, 1), some(dtype, 1)[::-1].copy()
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(elementwise("A[i] / B[i]", dtype, a, b), a / b)


def test_a_chain_of_wrapping_operations_wraps_once_it_is_observed() -> None:
    a, b = some("int32", 1), some("int32", 2)
    got = elementwise("(A[i] * B[i] + A[i] * 7 - B[i]) // 3", "int32", a, b)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got, (a * b + a * np.int32(7) - b) // np.int32(3))


@pytest.mark.parametrize("dtype", ("int8", "uint64", "float32", "float64", "bool"))
@pytest.mark.parametrize("symbol", ["<", "<=", "==", "!=", ">", ">="])
def test_comparisons(dtype: str, symbol: str) -> None:
    a, b = some(dtype, 1), some(dtype, 2)
    b[::3] = a[::3]
    expected = {"<": a < b, "<=": a <= b, "==": a == b, "!=": a != b, ">": a > b, ">=": a >= b}[symbol]
    np.testing.assert_array_equal(elementwise(f"A[i] {symbol} B[i]", "bool", a, b), expected)


def test_connectives() -> None:
    a, b = some("bool", 1), some("bool", 2)
    np.testing.assert_array_equal(elementwise("A[i] and not B[i]", "bool", a, b), a & ~b)
    np.testing.assert_array_equal(elementwise("A[i] or B[i]", "bool", a, b), a | b)


@pytest.mark.parametrize("dtype", ("int8", "uint32", "float32", "float64"))
def test_extrema_and_selection(dtype: str) -> None:
    a, b = some(dtype, 1), some(dtype, 2)
    np.testing.assert_array_equal(elementwise("min(A[i], B[i])", dtype, a, b), np.where(a < b, a, b))
    np.testing.assert_array_equal(elementwise("max(A[i], B[i])", dtype, a, b), np.where(a > b, a, b))
    np.testing.assert_array_equal(elementwise("select(A[i] < B[i], B[i], A[i])", dtype, a, b), np.where(a < b, b, a))


@pytest.mark.parametrize("source", (*INTS, *FLOATS, "bool"))
@pytest.mark.parametrize("target", (*INTS, *FLOATS, "bool"))
def test_casts(source: str, target: str) -> None:
    a = some(source, 3)
    if source in FLOATS and target in INTS:  # beyond the range a cast means nothing
        a = np.clip(np.nan_to_num(a), -100, 100) if target.startswith("int") else np.clip(np.nan_to_num(a), 0, 200)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(elementwise(f"{target}(A[i])", target, a), a.astype(target))


def test_float16_is_widened_and_rounded_to_even_when_stored() -> None:
    a, b = some("float16", 1), some("float16", 2)
    got = elementwise("A[i] * B[i] + A[i]", "float16", a, b)
    with np.errstate(all="ignore"):
        wide = a.astype(np.float32) * b.astype(np.float32) + a.astype(np.float32)
        np.testing.assert_array_equal(got, wide.astype(np.float16))


def test_bfloat16_rounds_to_even() -> None:
    a = np.array([1.0, 1.00390625, 1.01171875, 1.0078125, -3.14159, 3.0e38, np.inf, np.nan, 1e-40], np.float32)
    got = elementwise("bfloat16(A[i])", "bfloat16", a)
    assert [f"{x:04x}" for x in got] == ["3f80", "3f80", "3f82", "3f81", "c049", "7f62", "7f80", "7fc0", "0001"]
    np.testing.assert_array_equal(
        elementwise("float32(A[i])", "float32", got, types=("bfloat16",)),
        (got.astype(np.uint32) << 16).view(np.float32),
    )


def test_int4_takes_the_low_bits_with_their_sign() -> None:
    a = np.arange(-20, 20, dtype=np.int8)
    expected = ((a.astype(int) + 8) & 15) - 8
    np.testing.assert_array_equal(elementwise("int4(A[i])", "int4", a), expected)
    np.testing.assert_array_equal(elementwise("int32(A[i]) * 3", "int32", a, types=("int4",)), expected * 3)
    assert scalar.to_list(np.array([15], np.int8), int4) == [-1]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("name", "ufunc"),
    [(n, getattr(np, n)) for n in ("exp", "exp2", "log", "log1p", "sqrt", "tanh", "sin", "floor", "ceil", "trunc")]
    + [("atan", np.arctan), ("nearbyint", np.rint), ("abs", np.abs), ("erf", np.vectorize(math.erf))]
    + [("rsqrt", lambda x: 1 / np.sqrt(x)), ("sigmoid", lambda x: 1 / (1 + np.exp(-x)))]
    + [("round", lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x)), ("exp10", lambda x: np.power(10.0, x))],
)
def test_maths_functions_are_rounded_from_double(dtype: str, name: str, ufunc: np.ufunc) -> None:
    a = some(dtype, 4)
    with np.errstate(all="ignore"):
        expected = ufunc(a.astype(np.float64)).astype(dtype)
        np.testing.assert_array_equal(elementwise(f"{name}(A[i])", dtype, a), expected)


def test_functions_of_two_floats() -> None:
    a, b = some("float32", 5), some("float32", 6)
    with np.errstate(all="ignore"):
        for name, ufunc in (("pow", np.power), ("atan2", np.arctan2), ("hypot", np.hypot), ("fmod", np.fmod)):
            expected = ufunc(a.astype(np.float64), b.astype(np.float64)).astype(np.float32)
            np.testing.assert_array_equal(elementwise(f"{name}(A[i], B[i])", "float32", a, b), expected)
        np.testing.assert_array_equal(elementwise("nextafter(A[i], B[i])", "float32", a, b), np.nextafter(a, b))
        np.testing.assert_array_equal(elementwise("copysign(A[i], B[i])", "float32", a, b), np.copysign(a, b))
        np.testing.assert_array_equal(elementwise("ldexp(A[i], int32(3))", "float32", a), np.ldexp(a, 3))
        np.testing.assert_array_equal(elementwise("isnan(A[i])", "bool", a), np.isnan(a))


def nearest_float32(exact: Fraction) -> np.float32:
    """Give the float32 nearest to a rational, by comparing neighbours."""
    near = np.float32(float(exact))
    candidates = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    even = [int(x.view(np.uint32)) & 1 for x in candidates]
    return min(zip(candidates, even, strict=True), key=lambda c: (abs(Fraction(float(c[0])) - exact), c[1]))[0]


def test_fma_rounds_once() -> None:
    rng = np.random.default_rng(7)
    a, b = (rng.standard_normal(500).astype(np.float32) for _ in range(2))
    got = elementwise("fma(A[i], B[i], float32(float64(A[i]) * float64(B[i])) * -1.0)", "float32", a, b)
    for x, y, z in zip(a, b, got, strict=True):
        product = Fraction(float(x)) * Fraction(float(y))
        assert z == nearest_float32(product - Fraction(float(np.float32(np.float64(x) * np.float64(y)))))
    hard = np.array([1 + 2**-23], np.float32)  # the exact sum lies just above a tie of two float32
    tiny = elementwise("fma(A[i], 16777216.0, B[i])", "float32", hard, np.array([1 + 2.0**-23], np.float32))
    assert tiny[0] == nearest_float32(Fraction(float(hard[0])) * 16777216 + Fraction(float(hard[0])))


def test_functions_of_bits() -> None:
    a, b = some("int32", 8), some("int32", 9)
    np.testing.assert_array_equal(elementwise("bitwise_xor(A[i], bitwise_not(B[i]))", "int32", a, b), a ^ ~b)
    np.testing.assert_array_equal(elementwise("shift_left(A[i], 5)", "int32", a), a << 5)
    np.testing.assert_array_equal(elementwise("shift_right(A[i], 5)", "int32", a), a >> 5)
    ones = [bin(x & 0xFFFFFFFF).count("1") for x in a.tolist()]
    np.testing.assert_array_equal(elementwise("popcount(A[i])", "int32", a), ones)
    zeros = [32 - (x & 0xFFFFFFFF).bit_length() for x in a.tolist()]
    np.testing.assert_array_equal(elementwise("clz(A[i])", "int32", a), zeros)
    np.testing.assert_array_equal(elementwise("reinterpret(A[i], dtype=uint32)", "uint32", a), a.view(np.uint32))
    f = some("float32", 9)
    np.testing.assert_array_equal(elementwise("reinterpret(A[i], dtype=int32)", "int32", f), f.view(np.int32))


MATMUL = """\
def matmul(A: float32[m, k], B: float32[k, 24], C: Out[float32[m, 24]]):
    for i in parallel(m):
        for jo in range(3):
            acc = allocate(float32[8], "local")
            for z in vectorized(8):
                acc[z] = 0.0
            for r in range(k):
                for v in vectorized(8):
                    acc[v] = acc[v] + A[i, r] * B[r, jo * 8 + v]
            for w in vectorized(8):
                C[i, jo * 8 + w] = acc[w]
"""


@pytest.mark.parametrize("order", ["forward", "reversed"])
def test_matmul_of_symbolic_size(order: str) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((7, 20)).astype("f"), rng.standard_normal((20, 24)).astype("f")
    c, expected = np.zeros((7, 24), "f"), np.zeros((7, 24), "f")
    for r in range(20):  # the same order of additions
        expected += a[:, r : r + 1] * b[r : r + 1]
    run(MATMUL, a, b, c, order=order)
    np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize("kind", ["parallel(4)", "vectorized(4)", 'thread("threadIdx.x", 4)'])
def test_reversed_order_shows_what_depends_on_it(kind: str) -> None:
    text = f"def f(C: Out[int32[5]]):\n    for i in {kind}:\n        C[i + 1] = C[i]"
    forward, backward = np.arange(5, dtype=np.int32), np.arange(5, dtype=np.int32)
    run(text, forward)
    run(text, backward, order="reversed")
    assert forward.tolist() == [0, 0, 0, 0, 0]
    assert backward.tolist() == [0, 0, 1, 2, 3]


def test_lazy_operands_are_not_evaluated() -> None:
    out = np.zeros(6, np.float32)
    a = np.arange(4, dtype=np.float32)
    text = "def f(A: float32[4], C: Out[float32[6]]):\n    for i in range(6):\n        C[i] = {}"
    run(text.format("if_then_else(i < 4, A[i], -1.0)"), a, out)
    assert out.tolist() == [0, 1, 2, 3, -1, -1]
    run(text.format("float32(i < 4 and 1.0 < A[i])"), a, out)
    assert out.tolist() == [0, 0, 1, 1, 0, 0]
    run(text.format("float32(4 <= i or A[i] < 1.0)"), a, out)
    assert out.tolist() == [1, 0, 0, 0, 1, 1]


def test_let_if_and_scalars() -> None:
    text = """\
def f(C: Out[int64[n]], m: int32, x: float64):
    for i in range(n):
        v = int64(i) * int64(m)
        if v < 4:
            C[i] = v
        elif v == 6:
            C[i] = -1
        else:
            C[i] = int64(x)
"""
    out = np.zeros(5, np.int64)
    run(text, out, 2, 99.9)
    assert out.tolist() == [0, 2, 99, -1, 99]


def test_strided_buffers_and_addresses_agree() -> None:
    text = """\
def f(A: buffer(int32[3, 4], strides=[8, 1]), C: Out[int32[3, 4]]):
    T = allocate(int32[3, 4], strides=[5, 1])
    for i in range(3):
        for j in range(4):
            T[i, j] = A[i, j] + 1
    copy(address(T[1, 0]), address(C[0, 0]), 9)
"""

    def copy(source: np.ndarray, target: np.ndarray, count: int) -> None:
        target[:count] = source[:count]

    whole = np.arange(24, dtype=np.int32).reshape(3, 8)
    for a in (whole[:, :4], whole[:, :4].copy()):
        c = np.zeros((3, 4), np.int32)
        run(text, a, c, externs={"copy": copy})
        flat = c.reshape(-1)
        assert flat[:4].tolist() == [9, 10, 11, 12]  # then one element of padding
        assert flat[5:9].tolist() == [17, 18, 19, 20]


def test_an_external_function_gives_a_value_and_aliases_its_views() -> None:
    text = "def f(C: Out[float32[4]]):\n    C[3] = add(address(C[0]), address(C[2]), 2.0, dtype=float32)"

    def add(a: np.ndarray, b: np.ndarray, x: float) -> float:
        a[2] = x
        return b[0] + 1

    c = np.zeros(4, np.float32)
    run(text, c, externs={"add": add})
    assert c.tolist() == [0, 0, 2, 3]


DOT_PRODUCTS = (
    ("dot4_u8s8_i32", "uint8", "int8"),
    ("dot4_s8s8_i32", "int8", "int8"),
    ("dot2_s16s16_i32", "int16", "int16"),
)


@pytest.mark.parametrize(("name", "left", "right"), DOT_PRODUCTS)
def test_dot_products(name: str, left: str, right: str) -> None:
    taps = int(name[3])
    a, b = some(left, 1, 8), some(right, 2, 16 * taps)
    c = np.arange(16, dtype=np.int32)
    expected = c[:8] + b[8 * taps :].reshape(8, taps).astype(np.int32) @ a[4 : 4 + taps].astype(np.int32)
    call = f"{name}(address(C[0]), address(A[4]), address(B[{8 * taps}]), 8)"
    head = f"def f(A: {left}[8], B: {right}[{16 * taps}], C: Out[int32[16]]):"
    run(f"{head}\n    prefetch(address(A[0]), 0)\n    {call}", a, b, c)
    assert c.tolist() == [*expected, *range(8, 16)]


def test_dot_products_of_windows() -> None:
    a, b = some("uint8", 1, 20), some("int8", 2, 16)
    c = np.arange(5, dtype=np.int32)
    windows = np.array([a[2 + 3 * lane : 6 + 3 * lane].astype(np.int32) @ b[4:8].astype(np.int32) for lane in range(4)])
    call = "dot4_strided_u8s8_i32(address(C[0]), address(A[2]), address(B[4]), 3, 0, 4)"
    run(f"def f(A: uint8[20], B: int8[16], C: Out[int32[5]]):\n    {call}", a, b, c)
    assert c.tolist() == [*(np.arange(4) + windows), 4]


@pytest.mark.parametrize("depth", [14, 24])
def test_deep_nests(depth: int) -> None:
    lines = [f"{'    ' * (k + 1)}for i{k} in range({2 if k % 8 == 0 else 1}):" for k in range(depth)]
    lines.append("    " * (depth + 1) + "C[0] = C[0] + 1")
    c = np.zeros(1, np.int32)
    run("\n".join(["def f(C: Out[int32[1]]):", *lines]), c)
    assert c[0] == 2 ** len(range(0, depth, 8))


HEADER = "def f(A: float32[4, 2], C: Out[float32[n]], m: int32):\n"


@pytest.mark.parametrize(
    ("body", "fact"),
    [
        ("C[0] = A[m, 1]", r"A[4, 1] is outside of shape (4, 2)"),
        ("C[0] = A[1, m - 5]", r"A[1, -1] is outside of shape (4, 2)"),
        ("C[0 - m] = 1.0", r"C[-4] is outside of shape (3,)"),
        ("C[3 // (m - 4)] = 1.0", "a division by zero"),
        ("C[0 // (m - 4)] = 1.0", "a division by zero"),
        ("C[m % (m - 4)] = 1.0", "a division by zero"),
        ("nothing(m)", "no external function nothing"),
        (
            "T = allocate(float32[2])\n    T[0] = 1.0\n    C[0] = T[1]",
            "an element of T is read that nothing has written",
        ),
        ("T = allocate(int32[8])\n    dot4_s8s8_i32(address(T[0]), address(T[0]), address(T[0]), 1)", "an operand of"),
        ("T = allocate(int32[8])\n    dot4_s8s8_i32(address(T[0]), address(T[6]), address(T[0]), 1)", "past the end"),
        (
            "T = allocate(int32[8])\n    dot4_strided_u8s8_i32(address(C[0]), address(T[0]), address(T[0]), 2, 0, 4)",
            "past",
        ),
    ],
)
def test_refusals_while_running(body: str, fact: str) -> None:
    with pytest.raises(CodegenError) as caught:
        run(f"{HEADER}    {body}", np.ones((4, 2), "f"), np.zeros(3, "f"), 4)
    assert fact in caught.value.fact
    assert caught.value.advice
    if "external" not in fact:
        assert ">" in caught.value.where


@pytest.mark.parametrize(
    ("arrays", "fact"),
    [
        ((np.ones((4, 2), "f"), np.zeros(3, "f")), "f takes 3 arguments, got 2"),
        ((np.ones((4, 3), "f"), np.zeros(3, "f"), 4), "A has shape (4, 2), the array has (4, 3)"),
        ((np.ones((4, 2)), np.zeros(3, "f"), 4), "A is float32, the array is float64"),
        ((3, np.zeros(3, "f"), 4), "A is a buffer, the argument is int"),
        ((np.ones((4, 2), "f"), np.broadcast_to(np.float32(0), (3,)), 4), "C is written, the array is read-only"),
    ],
)
def test_refused_arguments(arrays: tuple, fact: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        run(f"{HEADER}    C[0] = 1.0", *arrays)
    assert fact in caught.value.fact


def test_a_size_that_no_dimension_shows_is_refused() -> None:
    with pytest.raises(ArgumentError, match="make n a parameter"):
        run("def f(C: Out[float32[n * 2]]):\n    C[0] = 1.0", np.zeros(4, "f"))


def test_an_array_keeps_elements_that_are_not_stored() -> None:
    for dtype in (float16, bfloat16):
        kept = some("uint16", 1) & 0x7BFF
        held = kept.view(scalar.array_dtype(dtype)).copy()
        run(f"def f(C: Out[{dtype}[64]]):\n    C[0] = C[0]", held)
        np.testing.assert_array_equal(held.view(np.uint16), kept)
