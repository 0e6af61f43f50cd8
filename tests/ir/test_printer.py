"""The text of nests."""

import pytest

from tilewright.ir import arith
from tilewright.ir import expr as e
from tilewright.ir import stmt as s
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import boolean, float32, float64, int8, int32, int64
from tilewright.ir.printer import expr_text, function_text, place_text, stmt_text
from tilewright.te.axis import Axis, AxisKind
from tilewright.te.nodes import Read, Reduce, Reducer
from tilewright.te.operation import PlaceholderOp

c = arith.const
i, j, k = e.Var("i"), e.Var("j"), e.Var("k")
p, q = e.Var("p", boolean), e.Var("q", boolean)
x, y = e.Var("x", float32), e.Var("y", float32)
n = e.Var("n", int32, 0)
A = Buffer("A", (c(4), n), float32)


def matmul() -> s.Function:
    b = Buffer("B", (n, c(16)), float32)
    out = Buffer("C", (c(4), c(16)), float32, align=32)
    acc = Buffer("acc", (c(16),), float32, "local")
    init = s.For(j, c(16), s.Store(acc, (j,), c(0.0)), s.ForKind.VECTORIZED)
    j2, j3 = e.Var("j"), e.Var("j3")
    product = e.Load(A, (i, k)) * e.Load(b, (k, j2))
    update = s.Store(acc, (j2,), e.Load(acc, (j2,)) + product)
    lanes = s.For(j2, c(16), update, s.ForKind.VECTORIZED, annotations=(s.Annotation("pragma_x", 1),))
    last = s.If(j3 < n, s.Store(out, (i, j3), e.Load(acc, (j3,))), s.Evaluate(e.Call("log_miss", (j3,), int32)))
    nest = s.Allocate(acc, s.seq(init, s.For(k, n, lanes), s.For(j3, c(16), last)))
    whole = s.For(i, c(4), nest, s.ForKind.THREAD, "blockIdx.x")
    return s.Function("matmul", (A, b, out, e.Var("m")), whole, (out,))


MATMUL = """\
def matmul(A: float32[4, n], B: float32[n, 16], C: Out[buffer(float32[4, 16], align=32)], m: int32, *, n: int32 >= 0):
    for i in thread("blockIdx.x", 4):
        acc = allocate(float32[16], "local")
        for j in vectorized(16):
            acc[j] = 0.0
        for k in range(n):
            for j_1 in vectorized(16, pragma_x=1):
                acc[j_1] = acc[j_1] + A[i, k] * B[k, j_1]
        for j3 in range(16):
            if j3 < n:
                C[i, j3] = acc[j3]
            else:
                log_miss(j3)"""


def test_function_is_python_in_our_style() -> None:
    assert function_text(matmul()) == MATMUL


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (e.Sub(i, e.Sub(j, k)), "i - (j - k)"),
        (e.Sub(e.Sub(i, j), k), "i - j - k"),
        (e.Mul(e.Add(i, j), k), "(i + j) * k"),
        (e.FloorMod(e.FloorDiv(i, c(4)), c(8)), "i // 4 % 8"),
        (e.FloorDiv(i, e.FloorMod(j, k)), "i // (j % k)"),
        (e.And(p, e.And(q, p)), "p and (q and p)"),
        (e.And(e.Or(p, q), p), "(p or q) and p"),
        (e.Not(e.And(p, q)), "not (p and q)"),
        (e.Not(e.Lt(i, j)), "not i < j"),
        (e.Eq(e.Lt(i, j), p), "(i < j) == p"),
        (e.Mul(i, c(-3)), "i * -3"),
        (e.Min(i, e.Max(j, c(0))), "min(i, max(j, 0))"),
        (e.Select(p, x, c(1.0)), "select(p, x, 1.0)"),
        (e.IfThenElse(e.Le(c(0), i), e.Load(A, (i, j)), c(0.0)), "if_then_else(0 <= i, A[i, j], 0.0)"),
        (e.Call("exp", (x,), float32), "exp(x)"),
        (e.Call("pow", (c(2.0), x), float32), "pow(2.0, x)"),
        (e.Call("reinterpret", (x,), int32), "reinterpret(x, dtype=int32)"),
        (e.Call("isnan", (x,), boolean), "isnan(x)"),
        (e.Call("ours", (e.Address(A, (c(0), j)), i), float32), "ours(address(A[0, j]), i, dtype=float32)"),
        (e.Load(Buffer("S", (), float32), ()), "S[()]"),
    ],
)
def test_operators_take_the_fewest_parentheses(node: e.Expr, text: str) -> None:
    assert expr_text(node) == text


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (c(3), "3"),
        (c(0.1), "0.1"),
        (c(True), "True"),
        (c(3, "int64"), "int64(3)"),
        (c(1 << 40), "int64(1099511627776)"),
        (c(0.1, "float64"), "float64(0.1)"),
        (e.Var("l", int64) * 3 + 1, "l * 3 + 1"),
        (e.Add(x, c(3)), "x + int32(3)"),
        (e.Cast(c(3), int8), "int8(int32(3))"),
        (e.Cast(x, float64), "float64(x)"),
        (c(float("inf")), 'float32("inf")'),
        (c(float("-inf"), "float64"), 'float64("-inf")'),
        (x * float("nan"), 'x * float32("nan")'),
        (e.Lt(c(1, "int8"), e.Var("b", int8)), "1 < b"),
    ],
)
def test_literals_are_bare_where_neighbours_show_the_type(node: e.Expr, text: str) -> None:
    assert expr_text(node) == text


def test_equal_names_of_different_variables_are_told_apart() -> None:
    assert expr_text(e.Add(e.Add(e.Var("i"), e.Var("i")), e.Var("i_1"))) == "i + i_1 + i_1_1"


def test_names_become_identifiers() -> None:
    assert expr_text(e.Add(e.Var("i.outer"), e.Var("for"))) == "i_outer + for_"


def test_a_long_chain_prints_without_recursing_along_it() -> None:
    node: e.Expr = i
    for _ in range(3000):
        node = e.Add(node, j)
    assert expr_text(node) == "i" + " + j" * 3000


def test_scopes_that_end_within_a_block_are_with_blocks() -> None:
    scratch = Buffer("T", (c(2),), float32)
    inner = s.Allocate(scratch, s.Store(scratch, (c(0),), c(0.0)))
    let = s.Let(e.Var("v", int64), c(3, "int64"), s.Evaluate(e.Call("f", (), int32)))
    text = stmt_text(s.Seq((inner, let, let)))
    assert text == (
        "with allocate(float32[2]) as T:\n    T[0] = 0.0\nwith let(3, int64) as v:\n    f()\nv: int64 = 3\nf()"
    )


def test_mark_and_note() -> None:
    store = s.Store(A, (i, c(0)), c(1.0))
    loop = s.For(i, c(4), store)
    text = stmt_text(loop, mark=store, note={id(loop): "the rows"})
    assert text == "  for i in range(4):  # the rows\n>     A[i, 0] = 1.0"


def test_place_leaves_out_what_is_far_from_the_mark() -> None:
    stores = [s.Store(A, (i, c(at)), c(1.0)) for at in range(9)]
    function = s.Function("f", (A,), s.For(i, c(4), s.Seq(tuple(stores))), (A,))
    assert place_text(function, stores[7], context=1) == (
        "  def f(A: Out[float32[4, n]], *, n: int32 >= 0):\n"
        "      for i in range(4):\n"
        "          ...\n"
        "          A[i, 6] = 1.0\n"
        ">         A[i, 7] = 1.0\n"
        "          A[i, 8] = 1.0"
    )


def test_nodes_of_other_layers_print_themselves() -> None:
    tensor = PlaceholderOp("T", (c(4), c(8)), float32).output(0)
    axis = Axis(k, c(8), AxisKind.REDUCE)
    read = Read(tensor, (i, k))
    add = Reducer("sum", (x,), (y,), (x + y,), (c(0.0),))
    assert expr_text(Reduce(add, (read * 2.0,), (axis,), c(True), (), 0)) == "sum(T[i, k] * 2.0, axis=[k])"
    guarded = Reduce(add, (read,), (axis,), k < 3, (c(1.0),), 0)
    assert expr_text(guarded) == "sum(T[i, k], axis=[k], where=k < 3, init=[1.0])"
