"""Declarations: what they give, and what they refuse."""

import re

import numpy as np
import pytest

import tilewright.te as te
from tilewright.ir.errors import Error, ExpressionError, TypeMismatch
from tilewright.te.evaluate import evaluate


def refuses(sentence: str, kind: type[Error] = ExpressionError):
    return pytest.raises(kind, match=re.escape(sentence))


def test_axes_take_the_names_of_the_functions_arguments():
    t = te.compute((2, 3), lambda row, column: row + column)
    assert [a.name for a in t.op.axis] == ["row", "column"]


def test_varargs_name_axes_by_number_or_as_asked():
    assert [a.name for a in te.compute((2, 3), lambda *i: i[0]).op.axis] == ["i0", "i1"]
    named = te.compute((2, 3, 4), lambda n, *i: n, varargs_names=["y", "x"])
    assert [a.name for a in named.op.axis] == ["n", "y", "x"]


def test_an_argument_with_a_default_is_no_axis():
    t = te.compute((4,), lambda i, step=2: i * step)
    assert evaluate(t, {})[0].tolist() == [0, 2, 4, 6]


def test_a_tuple_gives_several_tensors_of_one_operator():
    a, b = te.compute((3,), lambda i: (i, i.astype("float32")))
    assert a.op is b.op
    assert (a.component, b.component) == (0, 1)
    assert (str(a.dtype), str(b.dtype)) == ("int32", "float32")


def test_a_reduction_starts_where_its_domain_says():
    k = te.reduce_axis((2, 5), "k")
    total = te.compute((1,), lambda _: te.sum(k.var, axis=k))
    assert evaluate(total, {})[0].tolist() == [2 + 3 + 4]


def test_thread_axes_take_a_tag_first_or_after_a_domain():
    assert te.thread_axis("threadIdx.x").thread == "threadIdx.x"
    bounded = te.thread_axis((0, 64), "threadIdx.y", "ty")
    assert (bounded.thread, bounded.name, bounded.extent.value) == ("threadIdx.y", "ty", 64)


def test_reducers_combine_values_where_no_axis_is_given():
    x, y = te.var("x"), te.var("y")
    assert str(te.max(x, y)) == str(te.maximum(x, y))
    assert str(te.sum(x, y, x)) == str(x + y + x)


def test_tensors_and_slices_stand_in_arithmetic():
    a, b = te.placeholder((2, 3), name="a"), te.placeholder((3,), name="b")
    x, y = np.arange(6, dtype="float32").reshape(2, 3), np.array([1, 2, 4], "float32")
    values = evaluate([2 * a + b, -a / b, np.float32(3) - a, a > b], {a: x, b: y})
    for got, want in zip(values, [2 * x + y, -x / y, 3 - x, x > y], strict=True):
        np.testing.assert_array_equal(got, want)
    picked = te.compute((3,), lambda i: a[1][i] * 2 + a[0][i])
    np.testing.assert_array_equal(evaluate(picked, {a: x})[0], x[1] * 2 + x[0])


@pytest.mark.parametrize("a", range(-9, 10))
@pytest.mark.parametrize("b", [-4, -1, 1, 3, 4])
def test_truncated_division_is_that_of_c(a, b):
    x, y = te.var("x"), te.var("y")
    both = te.compute((1,), lambda _: (te.truncdiv(x, y), te.truncmod(x, y)))
    quotient, rest = evaluate(list(both), {}, {x: a, y: b})
    assert (quotient[0], rest[0]) == (int(a / b), a - int(a / b) * b)
    assert te.truncdiv(te.const(a), te.const(b)).value == int(a / b)


def test_limits_of_types():
    assert te.max_value("int8").value == 127
    assert np.float32(te.max_value("float32").value) == np.finfo("float32").max
    assert te.min_value("float16").value == np.finfo("float16").min
    assert te.infinity("float32").value == np.inf


k4 = te.reduce_axis((0, 4), "k")
A = te.placeholder((4, 4), name="A")
N = te.placeholder((4,), "int32", name="N")
M = te.var("m")

REFUSALS = {
    "1 names of axes for 2 dimensions": lambda: te.compute((2, 2), lambda i: i),
    "3 names of axes for 2 dimensions": lambda: te.compute((2, 2), lambda i, j, k: i),
    "the function gives None": lambda: te.compute((2,), lambda i: None),
    "the function gives the Python value False": lambda: te.compute((4,), lambda i: A[i, 0] == A[i, 1]),
    "the function gives no result": lambda: te.compute((4,), lambda i: ()),
    "the reduction sum is a part of a larger": lambda: te.compute((4,), lambda i: te.sum(A[i, k4], axis=k4) * 2),
    "its values contain the reduction": lambda: te.sum(te.sum(A[0, k4], axis=k4), axis=k4),
    "1 are reductions": lambda: te.compute((4,), lambda i: (te.sum(A[i, k4], axis=k4), A[i, 0])),
    "the list of axes is empty": lambda: te.sum(A[0, k4], axis=[]),
    "is no reduction axis": lambda: te.sum(A[0, 0], axis=te.thread_axis("threadIdx.x")),
    "an axis is listed twice": lambda: te.sum(A[0, k4], axis=[k4, k4]),
    "the size is 0": lambda: te.placeholder((0, 4)),
    "the size is -3": lambda: te.reduce_axis((4, 1)),
    "the domain of k is 4": lambda: te.reduce_axis(4, "k"),
    "index A[0, 0] has type float32": lambda: A[A[0, 0], 0],
    "no tag": lambda: te.thread_axis(),
    "3 indices for 2 dimensions": lambda: A[0, 1, 2],
    "1 indices for 2 dimensions": lambda: A[0] + 1,
    "fcombine gives 1 values for 2": lambda: te.comm_reducer(lambda x, y: x[0], lambda a, b: (0, 0))(
        (A[0, k4], A[0, k4]), axis=k4
    ),
    "has no truth value": lambda: te.compute((4,), lambda i: 1.0 if A[i, 0] > 0 else 0.0),
    "the condition is the Python value": lambda: te.if_then_else(M == 3, 1, 2),
    "is no name of a C function": lambda: te.call_extern("int32", "no name"),
    "unknown kind 'fast'": lambda: te.ir_builder.create().for_range(0, 4, kind="fast").__enter__(),
    "no if_scope just before it": lambda: te.ir_builder.create().else_scope().__enter__(),
    "gives None, no statement": lambda: te.extern((4,), [A], lambda ins, outs: None),
    "1 in_buffers for 2 tensors": lambda: te.extern(
        (4,), [A, A], lambda ins, outs: None, in_buffers=[te.decl_buffer((4, 4))]
    ),
    "gives 4 parts": lambda: te.decl_tensor_intrin((A + A).op, lambda ins, outs: (te.const(0),) * 4),
    "is declared by": lambda: te.decl_tensor_intrin(A.op, lambda ins, outs: te.const(0)),
    "unknown access 'x'": lambda: te.decl_buffer((4,)).access_ptr("x"),
}
MISMATCHES = {
    "the size 1.5 is no integer": lambda: te.placeholder((1.5,)),
    "the size 'n' is no integer": lambda: te.placeholder(("n",)),
    "unknown data type 'float31'": lambda: te.placeholder((4,), "float31"),
    "the operand is int32": lambda: te.exp(N[0]),
    "the operand is float32": lambda: te.popcount(A[0, 0]),
    "the values are bool": lambda: te.sum(A[0, k4] > 0, axis=k4),
    "fcombine gives float32 for int32 values": lambda: te.comm_reducer(lambda x, y: (x + y) * 0.5, lambda t: 0)(
        N[k4], axis=k4
    ),
    "the condition has type float32": lambda: te.select(A[0, 0], 1, 2),
    "do not match: 4 beside 3": lambda: A + te.placeholder((3,)),
    "both operands are int32": lambda: N / 2,
    "has not the width of float64": lambda: te.reinterpret("float64", N[0]),
    "int32 has no infinity": lambda: te.infinity("int32"),
    "the inputs have 2 data types": lambda: te.extern((4,), [A, N], lambda ins, outs: None),
}


@pytest.mark.parametrize("sentence", REFUSALS)
def test_refusals(sentence):
    with refuses(sentence) as caught:
        REFUSALS[sentence]()
    assert caught.value.advice and __file__ in caught.value.site


@pytest.mark.parametrize("sentence", MISMATCHES)
def test_mismatches(sentence):
    with refuses(sentence, TypeMismatch) as caught:
        MISMATCHES[sentence]()
    assert caught.value.advice and __file__ in caught.value.site


def a_scan(length=4, init_rows=1, dtype="float32", back=1, state=None):
    state = te.placeholder((4, 3), name="s") if state is None else state
    init = te.compute((init_rows, 3), lambda t, i: te.const(0, dtype))
    update = te.compute((length, 3), lambda t, i: state[t - back, i] + 1)
    return te.scan(init, update, state)


SCANS = {
    "shapes differ": (TypeMismatch, lambda: a_scan(length=5)),
    "data types differ": (TypeMismatch, lambda: a_scan(dtype="float64")),
    "reads s at step t": (ExpressionError, lambda: a_scan(back=0)),
    "reads s at step t - -1": (ExpressionError, lambda: a_scan(back=-1)),
    "is no placeholder": (ExpressionError, lambda: a_scan(state=te.compute((4, 3), lambda i, j: te.const(0.0)))),
    "0 init, 1 update": (ExpressionError, lambda: te.scan([], A + A, A)),
    "is no tensor": (TypeMismatch, lambda: te.scan(1, A + A, A)),
}


@pytest.mark.parametrize("sentence", SCANS)
def test_scans_that_mean_nothing(sentence):
    kind, attempt = SCANS[sentence]
    with refuses(sentence, kind):
        attempt()


def test_the_builder_nests_loops_branches_and_memory():
    ib = te.ir_builder.create()
    out = ib.buffer_ptr(te.decl_buffer((2, 4), name="out"))
    with ib.for_range(1, 8, "i") as i:
        scratch = ib.allocate("float32", (1,), "scratch")
        scratch[0] = out[i] * 2
        with ib.if_scope(scratch[0] > 1):
            out[i // 4, i % 4] = scratch[0]
        with ib.else_scope():
            half = ib.let("half", scratch[0] * 0.5)
            out[i] = half
    text = str(ib.get())
    for line in ("for i in range(7", "scratch = allocate(float32[1]", "else:", "out[(i + 1) // 4, (i + 1) % 4] = half"):
        assert line in text


def test_extern_statements_name_the_callers_buffers():
    own_in, own_out = te.decl_buffer((4, 4), name="mine_in"), te.decl_buffer((4,), name="mine_out")

    def statements(ins, outs):
        ib = te.ir_builder.create()
        with ib.for_range(0, 4, "i") as i:
            ib.buffer_ptr(own_out)[i] = ib.buffer_ptr(own_in)[i, i]
        return ib.get()

    t = te.extern((4,), [A], statements, in_buffers=own_in, out_buffers=own_out)
    actual_in, actual_out = te.decl_buffer((4, 4), name="x"), te.decl_buffer((4,), name="y")
    assert "y[i] = x[i, i]" in str(t.op.body((actual_in,), (actual_out,)))


def test_a_tensor_intrinsic_holds_buffers_of_its_tensors():
    bound = te.decl_buffer((4,), name="bound")
    x = te.placeholder((4,), name="x")
    y = te.compute((4,), lambda i: x[i] + 1)

    def code(ins, outs):
        return te.call_extern("int32", "inc", outs[0].access_ptr("w"), ins[0].access_ptr("r", offset=2))

    intrin = te.decl_tensor_intrin(y.op, code, binds={x: bound})
    assert intrin.inputs == (bound,)
    assert (intrin.reset, intrin.update) == (None, None)
    assert "address(bound[2])" in str(intrin.body)


def test_a_tensor_is_no_sequence() -> None:
    A = te.placeholder((3, 4), name="A")
    for thing in (A, A[0]):
        with pytest.raises(ExpressionError, match="which has no elements to go through"):
            list(thing)
