"""Lowering: arguments, accesses that are not proved, scans, symbolic sizes."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright import te
from tilewright.codegen.interp import interpret
from tilewright.ir.errors import ExpressionError, ScheduleError
from tilewright.runtime.host import host_target
from tilewright.schedule import create_schedule, default_schedule, lower
from tilewright.te import operators
from tilewright.te.evaluate import evaluate


def plus_one():
    a = te.placeholder((8,), name="A")
    b = te.compute((8,), lambda i: a[i] + 1.0, name="B")
    return a, b, create_schedule(b.op)


def test_missing_input_is_refused():
    _, b, s = plus_one()
    with pytest.raises(ScheduleError, match="input A is not among the arguments"):
        lower(s, [b])


def test_missing_output_is_refused():
    a, _, s = plus_one()
    with pytest.raises(ScheduleError, match="output B is not among the arguments"):
        lower(s, [a])


def test_repeated_argument_is_refused():
    a, b, s = plus_one()
    with pytest.raises(ScheduleError, match="tensor A is given twice"):
        lower(s, [a, a, b])


def test_foreign_tensor_is_refused():
    a, b, s = plus_one()
    other = te.compute((8,), lambda i: a[i], name="other")
    with pytest.raises(ScheduleError, match="argument 2, other, is no tensor of the scheduled program"):
        lower(s, [a, b, other])


def test_arguments_keep_their_order_and_outputs_are_known():
    a, b, s = plus_one()
    function = lower(s, [b, a])
    assert [p.name for p in function.params] == ["B", "A"]
    assert [o.name for o in function.outputs] == ["B"]


def test_access_out_of_bounds_is_refused_with_its_range():
    a = te.placeholder((8,), name="A")
    b = te.compute((8,), lambda i: a[i + 1], name="B")
    with pytest.raises(ExpressionError, match=r"index 0, `i \+ 1`, may be 1 to 8 and the extent is 8"):
        create_schedule(b.op)


def test_condition_proves_an_access():
    a = te.placeholder((8,), name="A")
    b = te.compute((8,), lambda i: te.if_then_else(i + 1 < 8, a[i + 1], 0.0), name="B")
    assert create_schedule(b.op).steps == ()


def test_select_proves_nothing_for_it_may_evaluate_both_sides():
    a = te.placeholder((8,), name="A")
    b = te.compute((8,), lambda i: te.select(i + 1 < 8, a[i + 1], 0.0), name="B")
    with pytest.raises(ExpressionError, match="is not proved in bounds"):
        create_schedule(b.op)


def test_symbolic_sizes_are_parameters():
    n = te.size_var("n")
    a = te.placeholder((n, n), name="A")
    k = te.reduce_axis((0, n), name="k")
    b = te.compute((n,), lambda i: te.sum(a[i, k], axis=k), name="B")
    s = create_schedule(b.op)
    s[b].split(b.op.axis[0], factor=4)
    x = np.arange(49, dtype=np.float32).reshape(7, 7)
    result = np.empty(7, np.float32)
    interpret(lower(s, [a, b]), [x, result])
    np.testing.assert_array_equal(result, x.sum(axis=1))


def test_scan_with_scheduled_update():
    steps, width = 5, 6
    x = te.placeholder((steps, width), name="X")
    state = te.placeholder((steps, width), name="S")
    init = te.compute((1, width), lambda _, i: x[0, i], name="init")
    update = te.compute((steps, width), lambda t, i: state[t - 1, i] + x[t, i], name="update")
    result = te.scan(init, update, state, inputs=[x])
    s = create_schedule(result.op)
    _, inner = s[update].split(update.op.axis[1], factor=4)
    s[update].vectorize(inner)
    data = np.arange(30, dtype=np.float32).reshape(steps, width)
    out = np.empty((steps, width), np.float32)
    interpret(lower(s, [x, result]), [data, out])
    np.testing.assert_array_equal(out, np.cumsum(data, axis=0))


def test_what_depends_on_a_scans_state_stays_within_its_steps():
    x = te.placeholder((5, 6), name="X")
    state = te.placeholder((5, 6), name="S")
    init = te.compute((1, 6), lambda _, i: x[0, i], name="init")
    middle = te.compute((5, 6), lambda t, i: state[t - 1, i] * 2.0, name="middle")
    update = te.compute((5, 6), lambda t, i: middle[t, i] + x[t, i], name="update")
    result = te.scan(init, update, state, inputs=[x])
    s = create_schedule(result.op)
    with pytest.raises(ScheduleError, match="middle depends on the state of scan"):
        s[middle].compute_root()


@pytest.mark.parametrize("shape", [(5, 7), (64, 33), (1, 128)])
def test_default_schedule_computes_what_the_expression_says(shape):
    n, m = shape
    a = te.placeholder((n, 9), name="A")
    b = te.placeholder((9, m), name="B")
    c = operators.relu(operators.matmul(a, b))
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-3, 4, s).astype(np.float32) for s in ((n, 9), (9, m)))
    result = np.empty(shape, np.float32)
    interpret(lower(default_schedule(c, host_target()), [a, b, c]), [x, y, result])
    np.testing.assert_array_equal(result, evaluate([c], {a: x, b: y})[0])
