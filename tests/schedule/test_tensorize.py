"""Tensorize: the match of a stage's inner loops against the declaration of an intrinsic."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright import te
from tilewright.codegen.interp import interpret
from tilewright.ir.errors import ScheduleError
from tilewright.schedule import create_schedule, lower
from tilewright.te import operators
from tilewright.te.intrin import TensorIntrin


def add_intrinsic(size: int, doubled: bool = False) -> TensorIntrin:
    x = te.placeholder((size,), name="x")
    y = te.placeholder((size,), name="y")
    z = te.compute((size,), lambda i: x[i] + (y[i] * 2 if doubled else y[i]), name="z")

    def body(ins, outs):
        builder = te.ir_builder.create()
        left, right, result = (builder.buffer_ptr(b) for b in (*ins, *outs))
        with builder.for_range(0, size, name="lane") as lane:
            result[lane] = left[lane] + (right[lane] * 2 if doubled else right[lane])
        return builder.get()

    return te.decl_tensor_intrin(z.op, body, name=f"add_{size}_{doubled}")


def sum_of_vectors(n: int = 3, m: int = 8):
    a = te.placeholder((n, m), name="A")
    b = te.placeholder((n, m), name="B")
    c = te.compute((n, m), lambda i, j: a[i, j] + b[i, j], name="C")
    return a, b, c, create_schedule(c.op)


def run(schedule, args, *inputs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    result = np.full(shape, np.nan, np.float32)
    interpret(lower(schedule, args), [*inputs, result])
    return result


def test_matching_tile_becomes_the_intrinsic():
    a, b, c, s = sum_of_vectors()
    _, inner = s[c].split(c.op.axis[1], factor=4)
    s[c].tensorize(inner, add_intrinsic(4))
    x = np.arange(24, dtype=np.float32).reshape(3, 8)
    assert "for lane in range(4)" in str(s)
    np.testing.assert_array_equal(run(s, [a, b, c], x, x, shape=(3, 8)), x + x)


def test_mismatch_shows_both_expressions():
    a, b, c, s = sum_of_vectors()
    _, inner = s[c].split(c.op.axis[1], factor=4)
    s[c].tensorize(inner, add_intrinsic(4, doubled=True))
    with pytest.raises(ScheduleError) as refusal:
        lower(s, [a, b, c])
    assert "A[i, j] + B[i, j]" in refusal.value.fact
    assert "x[i] + y[i] * 2.0" in refusal.value.fact
    assert "test_tensorize.py" in refusal.value.site


def test_other_extent_is_refused_with_both():
    a, b, c, s = sum_of_vectors()
    _, inner = s[c].split(c.op.axis[1], factor=2)
    s[c].tensorize(inner, add_intrinsic(4))
    with pytest.raises(ScheduleError, match=r"the tile has extents \(j: 2\), and intrinsic add_4_False has \(i: 4\)"):
        lower(s, [a, b, c])


def test_tile_that_is_not_always_full_is_refused():
    a, b, c, s = sum_of_vectors(3, 10)
    _, inner = s[c].split(c.op.axis[1], factor=4)
    s[c].tensorize(inner, add_intrinsic(4))
    with pytest.raises(ScheduleError, match="the tile is not always full"):
        lower(s, [a, b, c])


def test_stage_within_the_tile_is_refused():
    a = te.placeholder((3, 8), name="A")
    b = te.placeholder((3, 8), name="B")
    p = te.compute((3, 8), lambda i, j: a[i, j] * 2, name="P")
    c = te.compute((3, 8), lambda i, j: p[i, j] + b[i, j], name="C")
    s = create_schedule(c.op)
    _, inner = s[c].split(c.op.axis[1], factor=4)
    s[c].tensorize(inner, add_intrinsic(4))
    s[p].compute_at(s[c], inner)
    with pytest.raises(ScheduleError, match="stage P is computed at axis j_i, which the intrinsic takes the place of"):
        lower(s, [a, b, c])


def test_operands_may_be_swapped():
    x = te.placeholder((8,), name="X")
    y = te.placeholder((8,), name="Y")
    c = te.compute((8,), lambda i: y[i] + x[i], name="C")
    s = create_schedule(c.op)
    _, inner = s[c].split(c.op.axis[0], factor=4)
    s[c].tensorize(inner, add_intrinsic(4))
    v = np.arange(8, dtype=np.float32)
    np.testing.assert_array_equal(run(s, [x, y, c], v, 2 * v, shape=(8,)), 3 * v)


def dot_product(depth: int, lanes: int):
    a = te.placeholder((4, depth), "uint8", name="A")
    b = te.placeholder((depth // 4, lanes, 4), "int8", name="B")
    over = te.reduce_axis((0, depth // 4), name="ko")
    four = te.reduce_axis((0, 4), name="ki")
    c = te.compute(
        (4, lanes),
        lambda i, j: te.sum(
            a[i, over * 4 + four].astype("int32") * b[over, j, four].astype("int32"), axis=[over, four]
        ),
        name="C",
    )
    return a, b, c, create_schedule(c.op)


def test_int8_dot_product_through_tensorize():
    a, b, c, s = dot_product(16, 16)
    i, j = c.op.axis
    over, four = c.op.reduce_axis
    s[c].reorder(i, over, j, four)
    s[c].tensorize(j, operators.dot4_u8s8_i32(16))
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (4, 16)).astype(np.uint8)
    y = rng.integers(-128, 128, (4, 16, 4)).astype(np.int8)
    result = np.empty((4, 16), np.int32)
    interpret(lower(s, [a, b, c]), [x, y, result])
    expected = np.einsum("nkr,klr->nl", x.reshape(4, 4, 4).astype(np.int32), y.astype(np.int32))
    np.testing.assert_array_equal(result, expected)


def dots_where(condition):
    """Give sums over k and four of bytes, where a condition of k, j and four holds, and their schedule."""
    a = te.placeholder((3, 4), "uint8", name="A")
    b = te.placeholder((3, 16, 4), "int8", name="B")
    k, four = te.reduce_axis((0, 3), "k"), te.reduce_axis((0, 4), "four")

    def element(j):
        value = a[k, four].astype("int32") * b[k, j, four].astype("int32")
        return te.sum(value, axis=[k, four], where=condition(k, j, four))

    c = te.compute((16,), element, name="C")
    s = create_schedule(c.op)
    s[c].reorder(k, c.op.axis[0], four)
    s[c].tensorize(c.op.axis[0], operators.dot4_u8s8_i32(16))
    return a, b, c, s


def test_terms_that_whole_tiles_leave_out_are_left_out():
    a, b, c, s = dots_where(lambda k, j, four: k > 0)
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (3, 4), np.uint8), random.integers(-128, 128, (3, 16, 4), np.int8)
    found = np.zeros(16, np.int32)
    interpret(lower(s, [a, b, c]), [x, y, found])
    np.testing.assert_array_equal(found, np.einsum("kr,kjr->j", x[1:].astype(int), y[1:].astype(int)))


@pytest.mark.parametrize("condition", [lambda k, j, four: four > 0, lambda k, j, four: j < 8], ids=["four", "j"])
def test_terms_that_parts_of_tiles_leave_out_are_refused(condition):
    a, b, c, s = dots_where(condition)
    with pytest.raises(ScheduleError, match="the loops compute"):
        lower(s, [a, b, c])
