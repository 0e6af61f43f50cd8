"""Steps about caches: the nests they mean, what they refuse, and that values are the same."""

from __future__ import annotations

import numpy as np
import pytest

import tilewright
from tilewright import te
from tilewright.codegen.interp import interpret
from tilewright.ir.errors import ScheduleError
from tilewright.ir.verify import verify
from tilewright.schedule import Schedule, create_schedule, lower

N = 256


def doubled(n: int = N):
    a = te.placeholder((n,), name="A")
    c = te.compute((n,), lambda i: a[i] * 2.0, name="C")
    return a, c, create_schedule(c.op)


def summed():
    a = te.placeholder((8, 48), name="A")
    k = te.reduce_axis((0, 48), name="k")
    c = te.compute((8,), lambda i: te.sum(a[i, k], axis=k), name="C")
    return a, c, k, create_schedule(c.op)


def lines(schedule: Schedule) -> list[str]:
    return str(schedule).splitlines()


def test_stream_names_the_buffer_at_the_loop() -> None:
    _, c, s = doubled()
    outer, inner = s[c].split(c.op.axis[0], factor=16)
    s[c].vectorize(inner)
    s[c].stream(outer)
    assert lines(s)[:2] == ["for i_o in range(16, stream='C'):", "    for i_i in vectorized(16):"]
    assert lines(Schedule.from_json(s.to_json(), [c])) == lines(s)


def test_streamed_copy_of_a_sum_in_registers() -> None:
    a, c, _, s = summed()
    total = s.cache_write(c, "local")
    s[c].stream(s[c].op.axis[0])
    s[total].compute_at(s[c], s[c].op.axis[0])
    x, y = np.arange(384, dtype="float32").reshape(8, 48), np.zeros(8, "float32")
    tilewright.build(s, [a, c])["main"](x, y)
    np.testing.assert_array_equal(y, x.sum(axis=1))


def refused(step, *words: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        step()
    text = str(caught.value)
    assert [word for word in words if word not in text] == []


def test_sums_are_not_streamed() -> None:
    _, c, k, s = summed()
    fact = "stream: C is summed up along k: every term reads the result and stores it again"
    refused(lambda: s[c].stream(c.op.axis[0]), fact, "stage C, axis i (extent 8)", 'try: s.cache_write(C, "local")')


def test_what_another_stage_reads_is_not_streamed() -> None:
    a = te.placeholder((N,), name="A")
    b = te.compute((N,), lambda i: a[i] * 2.0, name="B")
    c = te.compute((N,), lambda i: b[i] + 1.0, name="C")
    s = create_schedule(c.op)
    fact = "stream: C reads B again, which would have to come back from main memory"
    refused(lambda: s[b].stream(b.op.axis[0]), fact, "try: stream the results of C")


def test_registers_are_not_streamed() -> None:
    _, c, s = doubled()
    local = s.cache_write(c, "local")
    refused(lambda: s[local].stream(s[local].op.axis[0]), "stream: C reads C_local again")


def test_one_stage_is_streamed_once() -> None:
    _, c, s = doubled()
    s[c].stream(c.op.axis[0])
    refused(lambda: s[c].stream(c.op.axis[0]), "stream: axis i is streamed already (step 0)", "try: one such step")


def columns():
    a = te.placeholder((N, N), name="A")
    c = te.compute((N, N), lambda i, j: a[j, i] + a[j, 0], name="C")
    return a, c, create_schedule(c.op)


def test_prefetch_asks_for_each_line_of_a_later_iteration() -> None:
    a, c, s = doubled()
    outer, inner = s[c].split(c.op.axis[0], factor=64)
    s[c].vectorize(inner)
    s[c].prefetch(a, outer, 2)
    assert lines(s) == [
        "for i_o in range(4):",
        "    for i_i_line in unrolled(4):",
        "        prefetch(address(A[i_o * 64 + i_i_line * 16 + 128]), 0)",
        "    for i_i in vectorized(64):",
        "        C[i_o * 64 + i_i] = A[i_o * 64 + i_i] * 2.0",
    ]
    assert lines(Schedule.from_json(s.to_json(), [c])) == lines(s)


def test_prefetch_of_columns_asks_for_a_line_in_every_row() -> None:
    a, c, s = columns()
    s[c].prefetch(a, c.op.axis[0])
    assert lines(s)[:3] == [
        "for i in range(256):",
        "    for j_line in range(256):",
        "        prefetch(address(A[j_line, i + 1]), 0)",
    ]
    function = lower(s, [a, c])
    verify(function)
    x, y, z = (np.zeros((N, N), "float32") for _ in range(3))
    x[...] = np.random.default_rng(0).random((N, N))
    tilewright.build(function)["main"](x, y)
    np.testing.assert_array_equal(y, x.T + x[:, 0])
    interpret(function, [x, z])
    np.testing.assert_array_equal(z, y)


def test_neighbours_in_a_line_are_asked_for_once() -> None:
    a = te.placeholder((N + 2, N), name="A")
    c = te.compute((N, N - 2), lambda i, j: a[i, j] + a[i, j + 2] + a[i + 2, j], name="C")
    s = create_schedule(c.op)
    outer, _ = s[c].split(c.op.axis[1], factor=32)
    s[c].prefetch(a, outer, 1)
    asked = [line.strip() for line in lines(s) if "prefetch" in line]
    assert asked == [
        "prefetch(address(A[i, j_o * 32 + j_i_line * 16 + 32]), 0)",
        "prefetch(address(A[i + 2, j_o * 32 + j_i_line_ * 16 + 32]), 0)",
    ]


@pytest.mark.parametrize("width", [56, 28])
def test_pixels_that_are_counted_through_lie_side_by_side(width: int) -> None:
    a = te.placeholder((8, width, width), name="A")
    c = te.compute((8, width * width), lambda f, p: a[f, p // width, p % width] * 2.0, name="C")
    s = create_schedule(c.op)
    outer, inner = s[c].split(c.op.axis[1], factor=32)
    s[c].prefetch(a, outer)
    assert sum("prefetch(address(A[f, " in line for line in lines(s)) == 1
    assert "for p_i_line in unrolled(2):" in (line.strip() for line in lines(s))


def test_prefetch_for_a_stage_within_the_loop() -> None:
    a = te.placeholder((N, 32), name="A")
    b = te.compute((N, 32), lambda i, j: a[i, j] * 2.0, name="B")
    c = te.compute((N, 32), lambda i, j: b[i, j] + 1.0, name="C")
    s = create_schedule(c.op)
    s[b].compute_at(s[c], c.op.axis[0])
    s[c].prefetch(a, c.op.axis[0], 3)
    asked = [line.strip() for line in lines(s) if "prefetch" in line]
    assert asked == ["prefetch(address(A[i + 3, j_1_line * 16]), 0)"]


def panels(terms: int = 64):
    """Give a product with panels of its second factor: (3, terms, 16), one for 16 columns."""
    a, p = te.placeholder((8, terms), name="A"), te.placeholder((3, terms, 16), name="P")
    k = te.reduce_axis((0, terms), "k")
    c = te.compute((8, 48), lambda i, j: te.sum(a[i, k] * p[j // 16, k, j % 16], axis=k), name="C")
    s = create_schedule(c.op)
    rows, columns = c.op.axis
    panel, lane = s[c].split(columns, factor=16)
    s[c].reorder(panel, rows, k, lane)
    s[c].vectorize(lane)
    return a, p, c, s, panel


def test_prefetch_evenly_asks_for_a_part_of_the_next_panel_in_each_step() -> None:
    a, p, c, s, panel = panels()
    s[c].prefetch(p, panel, evenly=True)
    assert lines(s) == [
        "for j_o in range(3):",
        "    for i in range(8):",
        "        for j_i_init in vectorized(16):",
        "            C[i, j_o * 16 + j_i_init] = 0.0",
        "        for k in range(64):",
        "            prefetch(address(P[(j_o + 1) % 3, 0, i * 128 + k // 8 * 16]), 0)",
        "            for j_i in vectorized(16):",
        "                C[i, j_o * 16 + j_i] = C[i, j_o * 16 + j_i] + A[i, k] * P[j_o, k, j_i]",
    ]
    assert lines(Schedule.from_json(s.to_json(), [c])) == lines(s)
    verify(lower(s, [a, p, c]))


def test_prefetch_evenly_asks_for_several_lines_where_there_are_few_steps() -> None:
    _, p, c, s, panel = panels()
    _, inner = s[c].split(s[c].leaf_iter_vars[2], factor=32)
    s[c].unroll(inner)
    s[c].prefetch(p, panel, evenly=True)
    asked = [line.strip() for line in lines(s) if "prefetch" in line]
    further = ("", " + 16", " + 32", " + 48")
    assert asked == [f"prefetch(address(P[(j_o + 1) % 3, 0, i * 128 + k_o * 64{line}]), 0)" for line in further]


def test_prefetch_evenly_without_loops_inside_asks_at_once() -> None:
    nests = []
    for evenly in (False, True):
        a, c, s = doubled()
        outer, inner = s[c].split(c.op.axis[0], factor=64)
        s[c].vectorize(inner)
        s[c].prefetch(a, outer, evenly=evenly)
        nests.append(lines(s))
    assert nests[0] == nests[1]


def test_prefetch_evenly_of_no_one_piece_is_refused() -> None:
    a, c, s = columns()
    s[c].prefetch(a, c.op.axis[0], evenly=True)
    fact = "prefetch: iterations of i in stage C read nothing of A that moves with it, or no one piece of it"
    refused(lambda: lower(s, [a, c]), fact, "try: a loop whose iterations read different elements, of a tensor")


def test_prefetch_backwards_is_refused() -> None:
    a, c, s = doubled()
    fact = "prefetch: offset is 0, and what earlier iterations read has been read"
    refused(lambda: s[c].prefetch(a, c.op.axis[0], 0), fact, "try: 1 or more iterations ahead")


def test_prefetch_of_lanes_is_refused() -> None:
    a, c, s = doubled()
    s[c].vectorize(c.op.axis[0])
    fact = "prefetch: the iterations of i run at once (step 0)"
    refused(lambda: s[c].prefetch(a, c.op.axis[0]), fact, "try: a loop outside of it")


def test_prefetch_of_what_is_not_read_is_refused() -> None:
    _, c, s = doubled()
    fact = "prefetch: nothing that is computed in C reads C"
    refused(lambda: s[c].prefetch(c, c.op.axis[0]), fact, "try: a loop of a stage that reads it: none")


def test_prefetch_where_every_iteration_reads_the_same_is_refused() -> None:
    a = te.placeholder((N,), name="A")
    c = te.compute((4, N), lambda i, j: a[j] * 2.0, name="C")
    s = create_schedule(c.op)
    s[c].prefetch(a, c.op.axis[0])
    fact = "prefetch: iterations of i in stage C read nothing of A that moves with it"
    refused(lambda: lower(s, [a, c]), fact, "try: a loop whose iterations read different elements")
