"""What is computed of a stage: as little as its readers need, or whole tiles where align_bounds asks for them."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright import te
from tilewright.codegen.interp import interpret
from tilewright.ir.errors import ScheduleError
from tilewright.schedule import Schedule, create_schedule, lower


def chain(n: int, padded: int):
    a = te.placeholder((padded,), name="A")
    b = te.compute((padded,), lambda i: a[i] + 1.0, name="B")
    c = te.compute((n,), lambda j: b[j] * 2.0, name="C")
    s = create_schedule(c.op)
    outer, _ = s[c].split(c.op.axis[0], factor=4)
    s[b].compute_at(s[c], outer)
    return a, b, c, s


def test_a_remainder_that_is_a_loop_needs_one_element():
    a = te.placeholder((3, 4), name="A")
    b = te.compute((3, 4), lambda i, j: a[i, j] + 1.0, name="B")
    c = te.compute((24,), lambda i: b[i // 8, i % 8 // 2] * 2.0, name="C")
    s = create_schedule(c.op)
    outer, inner = s[c].split(c.op.axis[0], factor=8)
    middle, _ = s[c].split(inner, factor=2)
    s[b].compute_at(s[c], middle)
    assert str(s).splitlines() == [
        "for i_o in range(3):",
        "    for i_i_o in range(4):",
        '        B = allocate(float32[1, 1], "local")',
        "        B[0, 0] = A[i_o, i_i_o] + 1.0",
        "        for i_i_i in range(2):",
        "            C[i_o * 8 + i_i_o * 2 + i_i_i] = B[0, 0] * 2.0",
    ]


def test_a_region_becomes_a_multiple_of_the_factor():
    _, b, _, s = chain(3, 16)
    s[b].align_bounds(b.op.axis[0], 8)
    assert str(s).splitlines() == [
        'B = allocate(float32[8], "local")',
        "for i in range(8):",
        "    B[i] = A[i] + 1.0",
        "for j_i in range(3):",
        "    C[j_i] = B[j_i] * 2.0",
    ]


def test_a_region_that_is_one_already_stays():
    a, b, c, s = chain(12, 12)
    before = str(lower(s, [a, c]))
    s[b].align_bounds(b.op.axis[0], 4)
    assert str(lower(s, [a, c])) == before


@pytest.mark.parametrize(("n", "padded"), [(3, 16), (10, 16), (10, 10), (5, 6), (1, 1)])
def test_values_are_the_same_also_where_the_tile_leaves_the_tensor(n: int, padded: int):
    a, b, c, s = chain(n, padded)
    s[b].align_bounds(b.op.axis[0], 8)
    x, result = np.arange(padded, dtype=np.float32), np.zeros(n, np.float32)
    interpret(lower(s, [a, c]), [x, result])
    np.testing.assert_array_equal(result, (x[:n] + 1) * 2)


def test_it_is_replayed():
    _, b, c, s = chain(3, 16)
    s[b].align_bounds(b.op.axis[0], 8)
    assert str(Schedule.from_json(s.to_json(), [c])) == str(s)


def test_factors_below_one_are_refused():
    _, b, _, s = chain(3, 16)
    with pytest.raises(ScheduleError, match="factor must be at least 1, got 0"):
        s[b].align_bounds(b.op.axis[0], 0)


def test_an_axis_that_is_no_dimension_is_refused():
    _, b, _, s = chain(3, 16)
    outer, _ = s[b].split(b.op.axis[0], factor=2)
    with pytest.raises(ScheduleError, match="i_o is no dimension of B"):
        s[b].align_bounds(outer, 8)


def test_outputs_are_refused():
    _, _, c, s = chain(3, 16)
    with pytest.raises(ScheduleError):
        s[c].align_bounds(c.op.axis[0], 8)
