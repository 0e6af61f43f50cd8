"""The parser is the printer's inverse."""

import pytest

from tilewright.ir import arith
from tilewright.ir import expr as e
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import float32, int64
from tilewright.ir.errors import ParseError
from tilewright.ir.parser import parse_expr, parse_function, parse_stmt
from tilewright.ir.stmt import For, Seq

from .dump import dump
from .random_nest import random_function
from .test_printer import MATMUL, matmul

A = Buffer("A", (arith.const(4),), float32)
i, x, l64 = e.Var("i"), e.Var("x", float32), e.Var("l", int64)
NAMES = {"A": A, "i": i, "x": x, "l": l64}


def test_matmul_comes_back() -> None:
    assert dump(parse_function(MATMUL)).replace("name='j_1'", "name='j'") == dump(matmul())


@pytest.mark.parametrize("first", range(0, 400, 40))
def test_random_nests_come_back(first: int) -> None:
    for seed in range(first, first + 40):
        function = random_function(seed)
        text = str(function)
        back = parse_function(text)
        assert str(back) == text
        assert dump(back) == dump(function)


@pytest.mark.parametrize(
    "text",
    [
        "x + int32(3)", "int8(int32(3))", 'float32("-inf")', "l * 3 + 1", "select(x < 0.0, int64(1), int64(2))",
        "not (i < 3 and x == 0.5)", "f(address(A[i]), 3, dtype=float32)", "reinterpret(x, dtype=int32)",
        "pow(2.0, float64(x))", "float32(True)", "-3 * i", "min(-1, i) - -2", "fma(x, 2.0, A[i])",
        "prefetch(address(A[0]), 1)", "isfinite(float64(x))", "shift_left(l, 3)", "1e-30 * x",
    ],
)  # fmt: skip
def test_expressions_print_as_they_were_read(text: str) -> None:
    assert str(parse_expr(text, NAMES)) == text


def test_greater_is_less_with_operands_swapped() -> None:
    assert str(parse_expr("i > 3", NAMES)) == "3 < i"


def test_a_bare_integer_is_a_float_beside_floats() -> None:
    node = parse_expr("x * 2", NAMES)
    assert isinstance(node, e.Mul) and node.b.dtype == float32


def test_sizes_may_be_left_undeclared() -> None:
    function = parse_function("def f(C: Out[float32[n]]):\n    for i in range(n):\n        C[i] = 1")
    assert [v.name for v in function.size_vars] == ["n"]
    assert function.outputs == function.buffers


def test_a_name_bound_twice_alike_is_one_variable() -> None:
    stmt = parse_stmt("for i in range(4):\n    A[i] = 0.0\nfor i in range(4):\n    A[i] = 1.0", {"A": A})
    assert isinstance(stmt, Seq)
    first, second = stmt.body
    assert isinstance(first, For) and isinstance(second, For) and first.var is second.var


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        ("A[i = 3", "line 1, column 2", "Python syntax"),
        ("A[j] = 0.0", "line 1, column 3", "a variable, j is none here"),
        ("B[i] = 0.0", "line 1, column 1", "a buffer, B is none here"),
        ("for k in loop(3):\n    A[k] = 0.0", "line 1, column 10", "range(extent) or parallel(extent)"),
        ("for k in range(3):\n    while i:\n        pass", "line 2, column 5", "a loop, store, if"),
        ("A[i] = int8(300)", "line 1, column 13", "an integer in the range of int8"),
        ("A[i] = x if i else x", "line 1, column 8", "an expression of a loop nest"),
        ("T = allocate(12)", "line 1, column 14", "a type with a shape"),
        ("A[i] = select(x)", "line 1, column 8", "the right number of arguments of select"),
        ("v: int33 = 3", "line 1, column 4", "a scalar type such as int32"),
        ("for k in range(3, pragma=[1]):\n    pass", "line 1, column 19", "name=value"),
    ],
)
def test_refusals_say_where_and_what_was_expected(text: str, place: str, expected: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_stmt(text, NAMES)
    assert caught.value.fact.startswith(f"{place}: expected {expected}")
    assert "^" in caught.value.where


def test_a_function_is_asked_for() -> None:
    with pytest.raises(ParseError, match="one function"):
        parse_function("x = 3")
