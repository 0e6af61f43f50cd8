"""Direct evaluation against NumPy."""

import math
import re

import numpy as np
import pytest

import tilewright.te as te
from tilewright.codegen.interp import interpret
from tilewright.ir.errors import ArgumentError, ExpressionError
from tilewright.te.evaluate import evaluate

rng = np.random.default_rng(7)


def floats(*shape):
    return rng.standard_normal(shape).astype("float32")


def along(length, name="k"):
    return te.reduce_axis((0, length), name)


def test_symbolic_sizes_come_from_the_arrays_shapes():
    n, m = te.var("n"), te.var("m")
    a, k = te.placeholder((n, m)), te.reduce_axis((0, m), "k")
    x = floats(5, 7)
    got = evaluate(te.compute((n,), lambda i: te.sum(a[i, k], axis=k)), {a: x}, accumulate="float64")[0]
    np.testing.assert_array_equal(got, x.sum(1, dtype="float64").astype("float32"))


def test_sizes_and_scalars_may_be_given_by_name():
    n, alpha = te.var("n"), te.var("alpha", "float32")
    t = te.compute((n,), lambda i: i * alpha)
    assert evaluate(t, {}, {"n": 3, "alpha": 0.5})[0].tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 300, 1), (2, 1, 300000)])
def test_sums_over_domains_of_any_size_and_order(shape):
    a = te.placeholder(shape)
    i, k = along(shape[0], "i"), along(shape[2])
    x = floats(*shape)
    t = te.compute((shape[1],), lambda j: te.sum(a[i, j, k], axis=[k, i]))
    got = evaluate(t, {a: x}, accumulate="float64")[0]
    # float64 sums of K terms err by less than K * 2**-53 of the terms' magnitudes, below one rounding to float32
    np.testing.assert_allclose(got, x.sum((0, 2), dtype="float64"), rtol=2**-23, atol=2**-24)


def test_float32_sums_are_accumulated_in_float32_as_declared():
    a, k = te.placeholder((3,)), along(3)
    t = te.compute((1,), lambda _: te.sum(a[k], axis=k))
    x = np.array([2.0**24, 1, 1], "float32")
    assert evaluate(t, {a: x}, accumulate="float64")[0][0] == 2.0**24 + 2


def test_integers_wrap():
    a = te.placeholder((4,), "int8")
    x, k = np.array([100, 100, -128, 3], "int8"), along(4)
    total = te.compute((1,), lambda _: te.sum(a[k], axis=k))
    values = evaluate([te.compute((4,), lambda i: a[i] * a[i] + 100), total], {a: x})
    np.testing.assert_array_equal(values[0], (x.astype(int) ** 2 + 100).astype("int8"))
    assert values[1][0] == 75 and values[1].dtype == np.int8


def test_division_rounds_to_minus_infinity():
    a = te.placeholder((5,), "int32")
    x = np.array([-7, -1, 0, 1, 7], "int32")
    t = te.compute((5,), lambda i: (a[i] // 2, a[i] % 3))
    quotient, rest = evaluate(list(t), {a: x})
    assert quotient.tolist() == [v // 2 for v in x.tolist()]
    assert rest.tolist() == [v % 3 for v in x.tolist()]


def test_floats_to_integers_truncate_and_wrap():
    a = te.placeholder((5,))
    x = np.array([-1.9, 2.9, 300.0, np.nan, np.inf], "float32")
    assert evaluate(te.compute((5,), lambda i: a[i].astype("int8")), {a: x})[0].tolist() == [-1, 2, 44, 0, 0]


def test_float16_is_computed_in_float32_and_rounded_when_stored():
    a = te.placeholder((1000,), "float16")
    x = floats(1000).astype("float16")
    got = evaluate(te.compute((1000,), lambda i: a[i] * a[i] + a[i]), {a: x})[0]
    wide = x.astype("float32")
    np.testing.assert_array_equal(got, (wide * wide + wide).astype("float16"))


def test_float16_sums_round_at_each_step():
    a, k = te.placeholder((3,), "float16"), along(3)
    x = np.array([2048, 1, 1], "float16")
    assert evaluate(te.compute((1,), lambda _: te.sum(a[k], axis=k)), {a: x})[0][0] == 2048


@pytest.mark.parametrize(
    ("value", "bits"),
    [(1.0, 0x3F80), (1 + 2**-8, 0x3F80), (1 + 3 * 2**-8, 0x3F82), (1 + 2**-8 + 2**-20, 0x3F81), (math.nan, 0x7FC0)],
)
def test_bfloat16_rounds_to_nearest_even(value, bits):
    a = te.placeholder((1,))
    got = evaluate(te.compute((1,), lambda i: a[i].astype("bfloat16")), {a: np.array([value], "float32")})[0]
    assert got.dtype == np.uint16 and int(got[0]) == bits


def test_int4_wraps_and_is_held_in_int8():
    a = te.placeholder((3,), "int4")
    got = evaluate(te.compute((3,), lambda i: a[i] + a[i]), {a: np.array([7, -8, 3], "int8")})[0]
    assert got.dtype == np.int8 and got.tolist() == [-2, 0, 6]


def test_a_guarded_read_may_leave_the_bounds():
    a = te.placeholder((4, 4))
    x = floats(4, 4)
    inside = lambda i, j: te.all(i >= 1, i < 5, j >= 1, j < 5)  # noqa: E731
    t = te.compute((6, 6), lambda i, j: te.if_then_else(inside(i, j), a[i - 1, j - 1], 0.5))
    np.testing.assert_array_equal(evaluate(t, {a: x})[0], np.pad(x, 1, constant_values=np.float32(0.5)))


def test_a_condition_guards_the_reads_of_later_conditions():
    a = te.placeholder((3,))
    x = np.array([1, -1, 1], "float32")
    t = te.compute((4,), lambda i: te.if_then_else(te.all(i >= 1, a[i - 1] > 0), 1, 0))
    assert evaluate(t, {a: x})[0].tolist() == [0, 1, 0, 1]
    either = te.compute((4,), lambda i: te.if_then_else(te.any(i >= 3, a[i] > 0), 1, 0))
    assert evaluate(either, {a: x})[0].tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(
    ("element", "position"),
    [
        (lambda a, i: a[i + 1], "read at 4 of dimension 0"),
        (lambda a, i: a[i - 1], "read at -1 of dimension 0"),
        (lambda a, i: te.select(i < 3, a[i + 1], 0.0), "read at 4 of dimension 0"),
        (lambda a, i: te.if_then_else(i > 1, a[i * i], 0.0), "read at 4 of dimension 0"),
    ],
)
def test_a_read_out_of_bounds_is_refused(element, position):
    a = te.placeholder((4,), name="a")
    with pytest.raises(ExpressionError, match=position):
        evaluate(te.compute((4,), lambda i: element(a, i)), {a: floats(4)})


def test_reads_at_affine_mixed_and_computed_indices():
    a = te.placeholder((6, 7, 8), name="a")
    x = floats(6, 7, 8)
    t = te.compute(
        (3, 2, 4),
        lambda i, j, l: a[2 * i + j, j * 3, 7 - 2 * l] + a[i, i, l] + a[(i * j) % 5, 6, l] + a[5, 0, l] + a[l, 1, j],  # noqa: E741
    )
    want = np.empty((3, 2, 4), "float32")
    for i, j, n in np.ndindex(3, 2, 4):
        first = x[2 * i + j, j * 3, 7 - 2 * n] + x[i, i, n] + x[(i * j) % 5, 6, n]
        want[i, j, n] = first + x[5, 0, n] + x[n, 1, j]
    np.testing.assert_array_equal(evaluate(t, {a: x})[0], want)


@pytest.mark.parametrize("length", [1, 7, 5000])
def test_tuple_reducers_combine_in_order(length):
    first = te.comm_reducer(
        lambda x, y: (te.select(x[1] >= y[1], x[0], y[0]), te.select(x[1] >= y[1], x[1], y[1])),
        lambda i, v: (-1, te.min_value(v)),
        name="argmax",
    )
    a, k = te.placeholder((3, length)), along(length)
    x = rng.integers(0, 9, (3, length)).astype("float32")
    index, value = te.compute((3,), lambda i: first((k.var, a[i, k]), axis=k))
    got = evaluate([index, value], {a: x})
    np.testing.assert_array_equal(got[0], x.argmax(1))
    np.testing.assert_array_equal(got[1], x.max(1))


def test_init_and_where():
    a, k = te.placeholder((5, 6), "int32"), along(6)
    x = rng.integers(-9, 9, (5, 6)).astype("int32")
    t = te.compute((5,), lambda i: te.sum(a[i, k], axis=k, where=a[i, k] > 0, init=i * 100))
    np.testing.assert_array_equal(evaluate(t, {a: x})[0], np.where(x > 0, x, 0).sum(1) + 100 * np.arange(5))
    guarded = te.compute((5,), lambda i: te.max(a[i, k + 3], axis=k, where=k < 3))
    np.testing.assert_array_equal(evaluate(guarded, {a: x})[0], x[:, 3:].max(1))


def test_quantifiers():
    a, k = te.placeholder((4, 3)), along(3)
    x = np.array([[1, 1, 1], [1, -1, 1], [-1, -1, -1], [-1, 1, 1]], "float32")
    t = te.compute((4,), lambda i: te.all(a[i, k] > 0, axis=k)), te.compute((4,), lambda i: te.any(a[i, k] > 0, axis=k))
    every, some = evaluate(list(t), {a: x})
    assert every.tolist() == [True, False, False, False] and some.tolist() == [True, True, False, True]


def test_the_greatest_of_numbers_and_nan_is_as_the_loop_gives_it():
    a, k = te.placeholder((3,)), along(3)
    t = te.compute((1,), lambda _: te.max(a[k], axis=k))
    assert evaluate(t, {a: np.array([5, np.nan, 2], "float32")})[0][0] == 2


def test_a_scan_runs_step_by_step():
    m, n = te.var("m"), te.var("n")
    x, state = te.placeholder((m, n), name="x"), te.placeholder((m, n), name="state")
    init = te.compute((2, n), lambda t, i: x[t, i])
    inner = te.compute((m, n), lambda t, i: state[t - 1, i] - state[t - 2, i])
    update = te.compute((m, n), lambda t, i: inner[t, i] + x[t, i])
    data = rng.integers(-9, 9, (6, 3)).astype("float32")
    want = data.copy()
    for step in range(2, 6):
        want[step] += want[step - 1] - want[step - 2]
    np.testing.assert_array_equal(evaluate(te.scan(init, update, state, inputs=[x]), {x: data})[0], want)


def test_a_scan_of_two_states():
    a, b = te.placeholder((5, 1), "int32", name="a"), te.placeholder((5, 1), "int32", name="b")
    zero, one = te.compute((1, 1), lambda t, i: te.const(0)), te.compute((1, 1), lambda t, i: te.const(1))
    next_a = te.compute((5, 1), lambda t, i: b[t - 1, i])
    next_b = te.compute((5, 1), lambda t, i: a[t - 1, i] + b[t - 1, i])
    fib, _ = te.scan([zero, one], [next_a, next_b], [a, b])
    assert evaluate(fib, {})[0][:, 0].tolist() == [0, 1, 1, 2, 3]


def reverse(length):
    def statements(ins, outs):
        ib = te.ir_builder.create()
        with ib.for_range(0, length, "i") as i:
            ib.buffer_ptr(outs[0])[i] = ib.buffer_ptr(ins[0])[length - 1 - i]
        return ib.get()

    return statements


def test_extern_operators_run_their_statements_or_a_function():
    a = te.placeholder((5,), name="a")
    t = te.extern((5,), [a], reverse(5), name="reverse")
    x = floats(5)
    np.testing.assert_array_equal(evaluate(t + 1, {a: x}, interpret=interpret)[0], x[::-1] + 1)
    np.testing.assert_array_equal(evaluate(t, {a: x}, externs={"reverse": np.flip})[0], x[::-1])
    with pytest.raises(ExpressionError, match="given by statements"):
        evaluate(t, {a: x})


def test_external_functions_in_expressions():
    a = te.placeholder((5,))
    t = te.compute((5,), lambda i: te.call_extern("float32", "twice", a[i]))
    x = floats(5)
    np.testing.assert_array_equal(evaluate(t, {a: x}, externs={"twice": lambda v: v * 2})[0], x * 2)
    with pytest.raises(ExpressionError, match="twice is an external function"):
        evaluate(t, {a: x})


PYTHON = {
    "exp": math.exp, "log": lambda v: math.log(abs(v)), "sqrt": lambda v: math.sqrt(abs(v)), "tanh": math.tanh,
    "erf": math.erf, "sin": math.sin, "cos": math.cos, "atan": math.atan, "floor": math.floor, "ceil": math.ceil,
    "trunc": math.trunc, "sigmoid": lambda v: 1 / (1 + math.exp(-v)), "rsqrt": lambda v: 1 / math.sqrt(abs(v)),
    "round": lambda v: math.copysign(math.floor(abs(v) + 0.5), v), "nearbyint": round, "exp2": lambda v: 2.0**v,
}  # fmt: skip


@pytest.mark.parametrize("name", PYTHON)
def test_functions_are_rounded_once(name):
    a = te.placeholder((64,))
    x = np.concatenate([floats(60) * 3, np.array([0.5, 1.5, 2.5, -2.5], "float32")])
    positive = name in ("log", "sqrt", "rsqrt")
    t = te.compute((64,), lambda i: getattr(te, name)(te.abs(a[i]) if positive else a[i]))
    want = np.array([PYTHON[name](float(v)) for v in x], "float32")
    np.testing.assert_array_almost_equal_nulp(evaluate(t, {a: x})[0], want, nulp=1)  # ours is rounded in float64 first


def test_bits():
    a = te.placeholder((5,), "int32")
    x = np.array([0, 1, -1, 255, -(2**31)], "int32")
    t = te.compute(
        (5,), lambda i: (te.popcount(a[i]), te.clz(a[i]), a[i] ^ 5, a[i] >> 1, te.reinterpret("uint32", a[i]))
    )
    got = [v.tolist() for v in evaluate(list(t), {a: x})]
    unsigned = [int(v) & 0xFFFFFFFF for v in x]
    assert got[0] == [v.bit_count() for v in unsigned]
    assert got[1] == [32 - v.bit_length() for v in unsigned]
    assert got[2:] == [[int(v) ^ 5 for v in x], [int(v) >> 1 for v in x], unsigned]


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (floats(3, 4), "has shape (4, 4), the array has (3, 4)"),
        (floats(4, 4).astype("float64"), "is float32, the array is float64"),
        (None, "no array for the placeholder a"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(array, sentence):
    a = te.placeholder((4, 4), name="a")
    with pytest.raises(ArgumentError, match=re.escape(sentence)):
        evaluate(a + 1, {} if array is None else {a: array})


def test_an_axis_that_is_not_reduced_over_is_refused():
    a, k = te.placeholder((4, 4)), along(4, "loose")
    with pytest.raises(ExpressionError, match="the variable loose has no value"):
        evaluate(te.compute((4,), lambda i: a[i, k]), {a: floats(4, 4)})
