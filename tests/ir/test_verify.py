"""One test per rule of the verifier."""

import pytest

from tilewright.ir import arith
from tilewright.ir import expr as e
from tilewright.ir import stmt as s
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import float32
from tilewright.ir.errors import VerifyError
from tilewright.ir.parser import parse_function
from tilewright.ir.verify import unproved_accesses, verify
from tilewright.te.nodes import Read
from tilewright.te.operation import PlaceholderOp

from .random_nest import random_function

HEADER = "def f(A: float32[8], I: int32[8], C: Out[float32[8, n]], m: int32, *, n: int32 >= 0):\n"


def nest(*lines: str) -> s.Function:
    """Give the function of a body."""
    return parse_function(HEADER + "\n".join(f"    {line}" for line in lines))


@pytest.mark.parametrize("first", range(0, 200, 40))
def test_well_formed_nests_pass_with_bounds(first: int) -> None:
    for seed in range(first, first + 40):
        verify(random_function(seed), bounds=True)


@pytest.mark.parametrize(
    ("lines", "fact"),
    [
        (["for i in range(8):", "    C[i, 0] = A[i] * float64(2.0)"], "operands of Mul are float32 and float64"),
        (["for i in range(8):", "    C[i, 0] = A[i] // 2.0"], "operands of FloorDiv are float32"),
        (["C[m / 2, 0] = 0.0"], "operands of Div are int32"),
        (["C[0, 0] = select(m < int64(3), 1.0, 2.0)"], "operands of Lt are int32 and int64"),
        (["C[0, 0] = select(m, 1.0, 2.0)"], "the condition of a selection is int32"),
        (["C[0, 0] = select(m < 3, 1.0, float64(2.0))"], "operands of Select are float32 and float64"),
        (["C[0, 0] = select(not m, 1.0, 2.0)"], "the operand of not is int32"),
        (["C[0, 0] = select(m and m < 2, 1.0, 2.0)"], "operands of and, or are int32 and bool"),
        (["C[0, 0] = float32((m < 2) + (m < 3))"], "operands of Add are bool"),
        (["if m:", "    C[0, 0] = 0.0"], "the condition of if is int32"),
        (["C[A[0], 0] = 0.0"], "the index A[0] of C is float32"),
        (["C[0] = 0.0"], "C has 2 dimensions, indexed by 1"),
        (["C[0, 0] = A[m, 0]"], "A has 1 dimensions, indexed by 2"),
        (["C[0, 0] = m"], "C is float32, the value stored int32"),
        (["v: int64 = m", "C[0, 0] = 0.0"], "v is int64, its value int32"),
        (["for i in range(8, int64):", "    C[0, 0] = 0.0"], "i is int64, its extent int32"),
        (["for i in range(A[0]):", "    C[0, 0] = 0.0"], "the extent of i is float32"),
        (["for i in vectorized(n):", "    C[0, i] = 0.0"], "i is vectorized, its extent n is no literal"),
        (["for i in unrolled(m):", "    C[0, i] = 0.0"], "i is unrolled, its extent m is no literal"),
        (["for i in thread(8):", "    C[i, 0] = 0.0"], "i is thread with thread axis ''"),
        (["for i in range(8):", "    for i in range(8):", "        C[i, 0] = 0.0"], "i is bound within its own scope"),
        (["for i in range(8):", "    A[i] = 0.0"], "A is an input and is written"),
        (["C[0, 0] = pow(A[0])"], "pow takes 2 arguments, got 1"),
        (["dot4_s8s8_i32(address(I[0]), address(I[0]), address(I[0]), 8)"], "I is an input and is written"),
        (["prefetch(m, 0)"], "prefetch starts with m"),
        (["m + 1"], "the value of an expression is not used"),
        (["C[0, 0] = float32(address(A[0]))"], "an address is no number"),
        (["T = allocate(float32[8], align=48)", "C[0, 0] = 0.0"], "T is aligned to 48 bytes"),
        (["T = allocate(float32[8], strides=[8, 1])", "C[0, 0] = 0.0"], "T has 1 dimensions and 2 strides"),
    ],
)
def test_refusals(lines: list[str], fact: str) -> None:
    with pytest.raises(VerifyError) as caught:
        verify(nest(*lines))
    assert fact in caught.value.fact
    assert any(line.startswith(">") for line in caught.value.where.splitlines())


def test_refuses_variables_and_buffers_out_of_scope() -> None:
    i, out = e.Var("i"), Buffer("C", (arith.const(8),), float32)
    zero = arith.const(0.0)
    after = s.seq(s.For(i, arith.const(8), s.Store(out, (i,), zero)), s.Store(out, (i,), zero))
    with pytest.raises(VerifyError, match="the variable i is not in scope"):
        verify(s.Function("f", (out,), after, (out,)))
    scratch = Buffer("T", (arith.const(8),), float32)
    with pytest.raises(VerifyError, match="the buffer T is not in scope"):
        verify(s.Function("f", (out,), s.Store(out, (arith.const(0),), e.Load(scratch, (arith.const(0),))), (out,)))
    with pytest.raises(VerifyError, match="the output T is no parameter"):
        verify(s.Function("f", (out,), s.Store(out, (arith.const(0),), zero), (scratch,)))


def test_refuses_two_things_of_one_name() -> None:
    out = Buffer("C", (arith.const(8),), float32)
    loops = [s.For(v, arith.const(8), s.Store(out, (v,), arith.const(0.0))) for v in (e.Var("i"), e.Var("i"))]
    with pytest.raises(VerifyError, match="two different things are named i"):
        verify(s.Function("f", (out,), s.seq(*loops), (out,)))


def test_one_variable_may_be_bound_in_neighbouring_loops() -> None:
    verify(nest("for i in range(8):", "    C[i, 0] = 0.0", "for i in range(8):", "    C[i, 0] = 1.0"))


def test_refuses_nodes_of_tensor_expressions() -> None:
    out = Buffer("C", (arith.const(8),), float32)
    read = Read(PlaceholderOp("T", (arith.const(8),), float32).output(0), (arith.const(0),))
    with pytest.raises(VerifyError, match="Read is no expression of loop nests"):
        verify(s.Function("f", (out,), s.Store(out, (arith.const(0),), read), (out,)))


@pytest.mark.parametrize("kind", ["parallel(8)", "vectorized(8)", 'thread("threadIdx.x", 8)', "parallel(m)"])
@pytest.mark.parametrize("place", ["C[0, 0]", "C[i - i, m]", "C[m, 0]"])
def test_refuses_certain_races(kind: str, place: str) -> None:
    racing = nest(f"for i in {kind}:", f"    {place} = A[i]")
    with pytest.raises(VerifyError, match=r"iterations 0 and 1 of the .* loop i both store to C"):
        verify(racing)


@pytest.mark.parametrize(
    "body",
    [
        ["    C[i, 0] = 0.0"],
        ["    v = i * 2", "    C[0, v] = 0.0"],
        ["    C[I[i], 0] = 0.0"],
        ["    if i == 0:", "        C[0, 0] = 0.0"],
        ["    T = allocate(float32[1])", "    T[0] = 0.0"],
        ["    for j in range(4):", "        C[0, i * 4 + j] = 0.0"],
    ],
)
def test_stores_apart_are_no_race(body: list[str]) -> None:
    verify(nest("for i in parallel(8):", *body))


@pytest.mark.parametrize(
    "lines",
    [
        ["for i in range(8):", "    for j in range(n):", "        C[i, j] = A[i]"],
        ["for i in range(3):", "    for j in range(4):", "        if i * 4 + j < 8:", "            I[i * 4 + j] = 0"],
        ["for i in range(10):", "    v = i * 2 // 4", "    I[v] = 0"],
        ["I[0] = if_then_else(0 <= m and m < 8, I[m], 0)"],
        ["I[0] = if_then_else(m < 0 or 8 <= m or I[m] == 3, 0, I[m])"],
        ["if 0 <= m:", "    if 8 <= m:", "        I[0] = 1", "    else:", "        I[m] = 1"],
        ["I[m % 8] = 0"],
        ["I[max(0, min(m, 7))] = 0"],
    ],
)
def test_accesses_proved_in_bounds(lines: list[str]) -> None:
    assert unproved_accesses(nest(*lines)) == []


@pytest.mark.parametrize(
    ("lines", "access", "dimension"),
    [
        (["for i in range(9):", "    I[i] = 0"], "I[i]", 0),
        (["for i in range(8):", "    I[i - 1] = 0"], "I[i - 1]", 0),
        (["for i in range(8):", "    for j in range(n):", "        C[i, j + 1] = 0.0"], "C[i, j + 1]", 1),
        (["I[0] = select(0 <= m and m < 8, I[m], 0)"], "I[m]", 0),
        (["if m < 8:", "    I[m] = 0"], "I[m]", 0),
        (["if 0 <= C[0, 0]:", "    prefetch(address(I[8]), 0)"], "C[0, 0]", 1),
    ],
)
def test_accesses_not_proved(lines: list[str], access: str, dimension: int) -> None:
    function = nest(*lines)
    found = unproved_accesses(function)[0]
    assert str(e.Load(found.buffer, found.indices)) == access
    assert found.dimension == dimension
    assert f"{access} is not proved" in str(found.error(function))


def test_a_condition_on_memory_that_is_written_proves_nothing() -> None:
    text = "def f(A: float32[8], C: Out[int32[8]]):\n    if 0 <= C[0] and C[0] < 8:\n"
    text += "        C[0] = 100\n        C[C[0]] = 1\n"
    assert [str(e.Load(a.buffer, a.indices)) for a in unproved_accesses(parse_function(text))] == ["C[C[0]]"]


def test_bounds_are_refused_on_request() -> None:
    function = nest("for i in range(9):", "    I[i] = 0")
    function = s.Function("f", function.params, function.body, function.buffers)
    with pytest.raises(VerifyError, match=r"I\[i\] is not proved to lie in its buffer: dimension 0 has extent 8"):
        verify(function, bounds=True)
