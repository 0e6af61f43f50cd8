"""Each step: the nest it means, and each of its refusals."""

from __future__ import annotations

import pytest

from tilewright import te
from tilewright.ir.errors import AxisGone, RaceError, ScheduleError
from tilewright.schedule import create_schedule, lower


def vector(n: int = 16):
    a = te.placeholder((n,), name="A")
    b = te.compute((n,), lambda i: a[i] + 1.0, name="B")
    return a, b, create_schedule(b.op)


def chain(n: int = 16):
    a = te.placeholder((n,), name="A")
    b = te.compute((n,), lambda i: a[i] + 1.0, name="B")
    c = te.compute((n,), lambda j: b[j] * 2.0, name="C")
    return a, b, c, create_schedule(c.op)


def product(n: int = 8, m: int = 8, k: int = 8):
    a = te.placeholder((n, k), name="A")
    b = te.placeholder((k, m), name="B")
    over = te.reduce_axis((0, k), name="k")
    c = te.compute((n, m), lambda i, j: te.sum(a[i, over] * b[over, j], axis=over), name="C")
    return a, b, c, create_schedule(c.op)


def nest(schedule) -> list[str]:
    return str(schedule).splitlines()


def test_unscheduled_reduction():
    _, _, _, s = product()
    assert nest(s) == [
        "for i in range(8):",
        "    for j in range(8):",
        "        C[i, j] = 0.0",
        "        for k in range(8):",
        "            C[i, j] = C[i, j] + A[i, k] * B[k, j]",
    ]


def test_split_that_divides_needs_no_guard():
    _, b, s = vector(16)
    s[b].split(b.op.axis[0], factor=4)
    assert nest(s) == [
        "for i_o in range(4):",
        "    for i_i in range(4):",
        "        B[i_o * 4 + i_i] = A[i_o * 4 + i_i] + 1.0",
    ]


def test_split_that_does_not_divide_is_guarded():
    _, b, s = vector(10)
    s[b].split(b.op.axis[0], factor=4)
    assert nest(s) == [
        "for i_o in range(3):",
        "    for i_i in range(4):",
        "        if i_o * 4 + i_i < 10:",
        "            B[i_o * 4 + i_i] = A[i_o * 4 + i_i] + 1.0",
    ]


def test_split_by_parts():
    _, b, s = vector(10)
    outer, inner = s[b].split(b.op.axis[0], nparts=2)
    assert (outer.extent.value, inner.extent.value) == (2, 5)


def test_split_beyond_the_extent_is_the_extent():
    _, b, s = vector(10)
    s[b].split(b.op.axis[0], factor=64)
    assert nest(s) == ["for i_i in range(10):", "    B[i_i] = A[i_i] + 1.0"]


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ({}, "neither of factor and nparts given"),
        ({"factor": 2, "nparts": 2}, "both of factor and nparts given"),
        ({"factor": 0}, "factor must be at least 1, got 0"),
        ({"nparts": -1}, "nparts must be at least 1, got -1"),
        ({"factor": 2.5}, "factor is 2.5"),
    ],
)
def test_split_refuses(arguments, fact):
    _, b, s = vector()
    with pytest.raises(ScheduleError) as refusal:
        s[b].split(b.op.axis[0], **arguments)
    assert refusal.value.fact == fact


def test_refusal_has_four_parts_and_the_users_line():
    _, b, s = vector(10)
    with pytest.raises(ScheduleError) as refusal:
        s[b].split(b.op.axis[0], factor=0)
    text = str(refusal.value)
    assert text.startswith("split: factor must be at least 1, got 0\n  at ")
    assert "test_steps.py:" in text
    assert "stage B, axis i (extent 10)" in text
    assert "> for i in range(10):" in text
    assert text.endswith("try: a factor from 1 to 10")


def test_axis_that_is_gone_names_the_step_that_took_it():
    _, b, s = vector()
    axis = b.op.axis[0]
    s[b].split(axis, factor=4)
    with pytest.raises(AxisGone, match=r"step 0 \(split\) made i_o and i_i of it"):
        s[b].vectorize(axis)


def test_fuse():
    _, _, c, s = product(4, 6, 2)
    s[c].fuse(*c.op.axis)
    assert nest(s)[:2] == ["for i_j in range(24):", "    C[i_j // 6, i_j % 6] = 0.0"]


def test_fuse_refuses_what_is_not_neighbouring():
    _, _, c, s = product()
    i, j = c.op.axis
    with pytest.raises(ScheduleError, match="i is not the loop directly inside j; the loops are i, j, k"):
        s[c].fuse(j, i)


def test_fuse_refuses_a_reduction_with_a_spatial_axis():
    _, _, c, s = product()
    with pytest.raises(ScheduleError, match="j is a spatial axis and k a reduce axis"):
        s[c].fuse(c.op.axis[1], c.op.reduce_axis[0])


def test_reorder_moves_the_start_of_a_reduction():
    _, _, c, s = product()
    i, j = c.op.axis
    s[c].reorder(i, c.op.reduce_axis[0], j)
    assert nest(s) == [
        "for i in range(8):",
        "    for j_init in range(8):",
        "        C[i, j_init] = 0.0",
        "    for k in range(8):",
        "        for j in range(8):",
        "            C[i, j] = C[i, j] + A[i, k] * B[k, j]",
    ]


def test_reorder_refuses_an_axis_of_another_stage():
    _, b, c, s = chain()
    with pytest.raises(ScheduleError, match="axis j of stage C is no axis of stage B"):
        s[b].reorder(c.op.axis[0])


def test_reorder_refuses_an_axis_twice():
    _, b, s = vector()
    with pytest.raises(ScheduleError, match="axis i is given twice"):
        s[b].reorder(b.op.axis[0], b.op.axis[0])


@pytest.mark.parametrize("step", ["parallel", "vectorize"])
def test_racing_reduction_is_refused_with_the_colliding_iterations(step):
    _, _, c, s = product()
    with pytest.raises(RaceError, match=r"i=0, j=0, k=0 and i=0, j=0, k=1 both update C\[0, 0\]"):
        getattr(s[c], step)(c.op.reduce_axis[0])


def test_bind_of_a_reduction_to_blocks_is_refused():
    _, _, c, s = product()
    with pytest.raises(RaceError, match="both update C"):
        s[c].bind(c.op.reduce_axis[0], te.thread_axis("blockIdx.x"))


def test_threads_that_share_a_reduction_give_one_result_at_a_time():
    _, _, c, s = product()
    i, j = c.op.axis
    (k,) = c.op.reduce_axis
    s[c].reorder(i, k, j)
    with pytest.raises(ScheduleError, match="one result at a time, and j runs inside of it"):
        s[c].bind(k, te.thread_axis("threadIdx.x"))


def test_threads_that_share_a_reduction_add_their_parts_at_the_end():
    _, _, c, s = product()
    (k,) = c.op.reduce_axis
    _, lane = s[c].split(k, factor=4)
    s[c].bind(lane, te.thread_axis("threadIdx.x"))
    text = str(s)
    assert text.index('in thread("threadIdx.x", 4') < text.index("C_part0[0] = 0.0") < text.index("for k_o in range(2)")
    assert "C[i, j] = C[i, j] + C_part0[0]" in text


def test_pipeline_keeps_as_many_copies_of_shared_stages_as_iterations_are_under_way():
    a, _, c, s = product()
    (k,) = c.op.reduce_axis
    outer, _ = s[c].split(k, factor=2)
    s[c].reorder(outer, *c.op.axis)
    shared = s.cache_read(a, "shared", [c])
    s[shared].compute_at(s[c], outer)
    s[c].pipeline(outer, stages=3, transport="cp_async")
    assert 'allocate(float32[3, 8, 2], "shared")' in str(s)
    assert "in pipelined(4, stages=3, transport='cp_async')" in str(s)


@pytest.mark.parametrize(
    ("stages", "transport", "fact"),
    [
        (1, "register", "stages is 1"),
        (2, "ship", "no transport 'ship'"),
        (3, "register", "3 stages by way of registers"),
    ],
)
def test_pipeline_refusals(stages, transport, fact):
    _, _, c, s = product()
    with pytest.raises(ScheduleError, match=fact):
        s[c].pipeline(c.op.reduce_axis[0], stages, transport)


def test_marks_show_in_the_nest():
    _, _, c, s = product()
    i, j = c.op.axis
    s[c].parallel(i)
    s[c].unroll(c.op.reduce_axis[0])
    s[c].vectorize(j)
    text = str(s)
    assert "for i in parallel(8):" in text
    assert "for j in vectorized(8):" in text
    assert "for k in unrolled(8):" in text


def test_second_mark_is_refused():
    _, b, s = vector()
    s[b].parallel(b.op.axis[0])
    with pytest.raises(ScheduleError, match="axis i is already parallel \\(step 0\\)"):
        s[b].vectorize(b.op.axis[0])


def test_vectorize_refuses_a_symbolic_extent():
    n = te.size_var("n")
    a = te.placeholder((n,), name="A")
    b = te.compute((n,), lambda i: a[i] + 1.0, name="B")
    s = create_schedule(b.op)
    with pytest.raises(ScheduleError, match="the extent n is not constant"):
        s[b].vectorize(b.op.axis[0])


def test_symbolic_size_splits_with_a_guard():
    n = te.size_var("n")
    a = te.placeholder((n,), name="A")
    b = te.compute((n,), lambda i: a[i] + 1.0, name="B")
    s = create_schedule(b.op)
    s[b].split(b.op.axis[0], factor=8)
    assert nest(s) == [
        "for i_o in range((n + 7) // 8):",
        "    for i_i in range(8):",
        "        if i_o * 8 + i_i < n:",
        "            B[i_o * 8 + i_i] = A[i_o * 8 + i_i] + 1.0",
    ]


def test_compute_at_computes_what_one_iteration_reads():
    _, b, c, s = chain()
    outer, _ = s[c].split(c.op.axis[0], factor=4)
    s[b].compute_at(s[c], outer)
    assert nest(s) == [
        "for j_o in range(4):",
        '    B = allocate(float32[4], "local")',
        "    for i in range(4):",
        "        B[i] = A[j_o * 4 + i] + 1.0",
        "    for j_i in range(4):",
        "        C[j_o * 4 + j_i] = B[j_i] * 2.0",
    ]


def test_compute_at_of_a_window_takes_the_halo():
    a = te.placeholder((18,), name="A")
    b = te.compute((18,), lambda i: a[i] + 1.0, name="B")
    c = te.compute((16,), lambda j: b[j] + b[j + 2], name="C")
    s = create_schedule(c.op)
    outer, _ = s[c].split(c.op.axis[0], factor=4)
    s[b].compute_at(s[c], outer)
    assert '    B = allocate(float32[6], "local")' in nest(s)


def test_compute_at_refuses_a_host_that_does_not_read_the_stage():
    a, b, _, s = chain()
    d = te.compute((16,), lambda i: a[i], name="D")
    s = create_schedule([b.op, d.op])
    with pytest.raises(ScheduleError, match="B is an output: all of it is wanted"):
        s[b].compute_at(s[d], d.op.axis[0])


def test_compute_at_with_a_consumer_outside_is_refused_with_the_line_of_the_step():
    a = te.placeholder((16,), name="A")
    b = te.compute((16,), lambda i: a[i] + 1.0, name="B")
    c = te.compute((16,), lambda j: b[j] * 2.0, name="C")
    d = te.compute((16,), lambda m: b[m] + c[m], name="D")
    s = create_schedule(d.op)
    s[b].compute_at(s[c], c.op.axis[0])
    with pytest.raises(ScheduleError, match="but D, which is outside of it, reads B") as refusal:
        lower(s, [a, d])
    assert "test_steps.py" in refusal.value.site


def test_split_of_an_attach_point_is_refused():
    _, b, c, s = chain()
    s[b].compute_at(s[c], c.op.axis[0])
    with pytest.raises(ScheduleError, match=r"stage B is computed at axis j \(step 0\)"):
        s[c].split(c.op.axis[0], factor=4)


def test_compute_inline():
    _, b, _, s = chain()
    s[b].compute_inline()
    assert nest(s) == ["for j in range(16):", "    C[j] = (A[j] + 1.0) * 2.0"]


def test_inline_of_a_reduction_is_refused():
    a = te.placeholder((4, 4), name="A")
    k = te.reduce_axis((0, 4), name="k")
    b = te.compute((4,), lambda i: te.sum(a[i, k], axis=k), name="B")
    c = te.compute((4,), lambda i: b[i] + 1.0, name="C")
    s = create_schedule(c.op)
    with pytest.raises(ScheduleError, match="stage B reduces"):
        s[b].compute_inline()


def test_cache_write_keeps_the_result_in_its_scope():
    _, _, c, s = product()
    cached = s.cache_write(c, "local")
    s[cached].compute_at(s[c], c.op.axis[1])
    assert nest(s) == [
        "for i in range(8):",
        "    for j in range(8):",
        '        C_local = allocate(float32[1, 1], "local")',
        "        C_local[0, 0] = 0.0",
        "        for k in range(8):",
        "            C_local[0, 0] = C_local[0, 0] + A[i, k] * B[k, j]",
        "        C[i, j] = C_local[0, 0]",
    ]


def test_cache_write_takes_earlier_loops_along():
    _, _, c, s = product()
    s[c].split(c.op.axis[1], factor=4)
    cached = s.cache_write(c, "global")
    assert [a.name for a in s[cached].leaf_iter_vars] == ["i_c", "j_o_c", "j_i_c", "k"]
    assert [a.name for a in s[c].leaf_iter_vars] == ["i", "j"]


def test_cache_read_copies_for_its_readers():
    a, b, c, s = chain()
    copy = s.cache_read(a, "local", [b])
    s[copy].compute_at(s[b], b.op.axis[0])
    assert "    A_local[0] = A[i]" in nest(s)
    assert "    B[i] = A_local[0] + 1.0" in nest(s)


def test_cache_read_refuses_a_reader_that_does_not_read():
    a, _, c, s = chain()
    with pytest.raises(ScheduleError, match="stage C does not read A"):
        s.cache_read(a, "local", [c])


def test_unknown_scope_is_refused():
    _, b, c, s = chain()
    with pytest.raises(ScheduleError, match="there is no scope 'lokal'"):
        s[b].set_scope("lokal")


def test_rfactor_makes_two_reductions():
    a = te.placeholder((16,), name="A")
    k = te.reduce_axis((0, 16), name="k")
    b = te.compute((1,), lambda i: te.sum(a[k], axis=k), name="B")
    s = create_schedule(b.op)
    _, inner = s[b].split(k, factor=4)
    partial = s.rfactor(b, inner)
    s[partial].vectorize(s[partial].op.axis[0])
    text = nest(s)
    assert "B_rf = allocate(float32[4, 1])" in text[0]
    assert "for k_i_v in range(4):" in text[-2]


def test_rfactor_refuses_a_spatial_axis():
    _, _, c, s = product()
    with pytest.raises(ScheduleError, match="axis i is no reduction"):
        s.rfactor(c, c.op.axis[0])


def test_storage_align_pads_the_stride():
    a, b, c, s = chain()
    x = te.placeholder((8, 8), name="X")
    y = te.compute((8, 8), lambda i, j: x[i, j] + 1.0, name="Y")
    z = te.compute((8, 8), lambda i, j: y[j, i], name="Z")
    s = create_schedule(z.op)
    s[y].storage_align(y.op.axis[0], 16, 1)
    assert "Y = allocate(float32[8, 8], strides=[17, 1])" in nest(s)


def test_storage_align_pads_a_dimension_that_the_layout_keeps_whole():
    x = te.placeholder((8, 8), name="X")
    y = te.compute((8, 8), lambda i, j: x[i, j] + 1.0, name="Y")
    z = te.compute((8, 8), lambda i, j: y[j, i], name="Z")
    s = create_schedule(z.op)
    s[y].storage_align(y.op.axis[1], 16, 1)
    s[y].transform_layout(lambda i, j: [j, i])
    text = nest(s)
    assert "Y = allocate(float32[8, 8], strides=[17, 1])" in text
    assert "        Y[j_1, i_1] = X[i_1, j_1] + 1.0" in text


def test_transform_layout_refuses_to_take_a_padded_dimension_apart():
    _, b, _, s = chain()
    s[b].storage_align(b.op.axis[0], 16, 1)
    with pytest.raises(ScheduleError, match="the stride of i is padded"):
        s[b].transform_layout(lambda i: [i % 4, i // 4])


def test_double_buffer_uses_two_copies_in_turn():
    _, b, c, s = chain()
    outer, _ = s[c].split(c.op.axis[0], factor=4)
    s[b].compute_at(s[c], outer)
    s[b].double_buffer()
    assert "        C[j_o * 4 + j_i] = B[j_o % 2, j_i] * 2.0" in nest(s)


def test_double_buffer_refuses_what_is_computed_once():
    _, b, _, s = chain()
    with pytest.raises(ScheduleError, match="B is computed once"):
        s[b].double_buffer()


def test_transform_layout_reindexes_writer_and_reader():
    _, b, _, s = chain()
    s[b].transform_layout(lambda i: [i % 4, i // 4])
    assert "    B[i % 4, i // 4] = A[i] + 1.0" in nest(s)
    assert "    C[j] = B[j % 4, j // 4] * 2.0" in nest(s)


def test_transform_layout_that_is_not_one_to_one_is_refused():
    _, b, _, s = chain()
    with pytest.raises(ScheduleError, match="one to one"):
        s[b].transform_layout(lambda i: [i // 4])


def test_scan_of_two_states_keeps_each_in_one_buffer():
    p, v = te.placeholder((8, 4), name="p"), te.placeholder((8, 4), name="v")
    first = te.compute((1, 4), lambda _, i: 1.0, name="first")
    rest = te.compute((1, 4), lambda _, i: 2.0, name="rest")
    next_p = te.compute((8, 4), lambda t, i: p[t - 1, i] + v[t - 1, i], name="next_p")
    next_v = te.compute((8, 4), lambda t, i: v[t - 1, i] - p[t - 1, i], name="next_v")
    both = te.scan([first, rest], [next_p, next_v], [p, v], name="both")
    s = create_schedule(both[0].op)
    assert str(lower(s, [both[0]])).count("both_v1 = allocate(float32[8, 4])") == 1


def test_store_predicate_guards_the_store():
    _, b, s = vector()
    s[b].set_store_predicate(b.op.axis[0].var < 7)
    assert "    if i < 7:" in nest(s)


def test_pragma_annotates_the_loop():
    _, b, s = vector()
    s[b].pragma(b.op.axis[0], "auto_unroll_max_step", 8)
    assert nest(s)[0] == "for i in range(16, auto_unroll_max_step=8):"


def test_unknown_pragma_is_refused():
    _, b, s = vector()
    with pytest.raises(ScheduleError, match="there is no pragma 'fast'"):
        s[b].pragma(b.op.axis[0], "fast")


def test_refused_step_leaves_the_schedule_as_it_was():
    _, b, s = vector()
    before = s.to_json()
    with pytest.raises(ScheduleError):
        s[b].split(b.op.axis[0], factor=0)
    assert s.to_json() == before


def test_warps_and_lanes_are_rows_and_columns_of_a_block():
    _, b, s = vector()
    (i,) = b.op.axis
    warp, lane = s[b].split(i, factor=4)
    s[b].bind(warp, "warp")
    s[b].bind(lane, te.thread_axis("lane"))
    assert 'in thread("threadIdx.y"' in str(s)
    assert 'in thread("threadIdx.x", 4)' in str(s)


def test_a_warp_has_32_lanes():
    a = te.placeholder((64,), name="A")
    b = te.compute((64,), lambda i: a[i], name="B")
    s = create_schedule(b.op)
    with pytest.raises(ScheduleError, match="a warp has 32 lanes, and i has 64 iterations"):
        s[b].bind(b.op.axis[0], "lane")
