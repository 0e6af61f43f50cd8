"""`precompute`: what is computed once for many calls, and the two functions it makes of a schedule."""

from __future__ import annotations

import numpy as np
import pytest

import tilewright
from tilewright import te
from tilewright.codegen.interp import interpret
from tilewright.ir.errors import ScheduleError
from tilewright.runtime.prepared import bind_prepared
from tilewright.schedule import Schedule, lower, lower_prepared, parameter_names
from tilewright.te.tensor import Tensor

M, N, K = 6, 10, 5


def product() -> tuple[Schedule, list[Tensor], Tensor]:
    """Give a product of matrices, its tensors, and the packed copy of the second factor, not yet precomputed."""
    a, b = te.placeholder((M, K), name="A"), te.placeholder((K, N), name="B")
    k = te.reduce_axis((0, K), name="k")
    c = te.compute((M, N), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="C")
    s = tilewright.create_schedule(c.op)
    packed = s.cache_read(b, "global", [c])
    assert isinstance(packed, Tensor)
    s[packed].transform_layout(lambda p, q: [q // 4, p, q % 4])
    return s, [a, b, c], packed


def values() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (M, K)).astype(np.float32), rng.uniform(-1, 1, (K, N)).astype(np.float32)


def test_the_two_functions() -> None:
    s, tensors, packed = product()
    s[packed].precompute()
    prepare, main = lower_prepared(s, tensors, "product")
    assert str(prepare).splitlines()[0] == ("def product_prepare(B: float32[5, 10], B_global: Out[float32[3, 5, 4]]):")
    assert str(main).splitlines()[0] == (
        "def product(A: float32[6, 5], B_global: float32[3, 5, 4], C: Out[float32[6, 10]]):"
    )
    assert "B[" not in str(main).replace("B_global", "P")


def test_one_after_the_other_they_give_what_the_whole_gives() -> None:
    s, tensors, packed = product()
    s[packed].precompute()
    a, b = values()
    whole, parts, kept = (np.full((M, N), np.nan, np.float32) for _ in range(3))
    interpret(lower(s, tensors), [a, b, whole])
    prepare, main = lower_prepared(s, tensors)
    panels = np.zeros((3, K, 4), np.float32)
    interpret(prepare, [b, panels])
    interpret(main, [a, panels, parts])
    np.testing.assert_array_equal(parts, whole)
    module = tilewright.build(lower_prepared(s, tensors, "product"))
    call = bind_prepared(module, "product", dict(zip(parameter_names(s, tensors), (a, b, kept), strict=True)))
    b[:] = 0  # the packed copy is what calls read
    call()
    np.testing.assert_allclose(kept, whole, rtol=2 * K * np.finfo(np.float32).eps, atol=1e-6)


def test_without_the_step_there_is_one_function() -> None:
    s, tensors, _ = product()
    assert [str(f) for f in lower_prepared(s, tensors)] == [str(lower(s, tensors))]


def test_a_constant_that_calls_read_too_stays_a_parameter() -> None:
    a = te.placeholder((N,), name="A")
    twice = te.compute((N,), lambda i: a[i] * 2, name="twice")
    c = te.compute((N,), lambda i: twice[i] + a[i], name="C")
    s = tilewright.create_schedule(c.op)
    s[twice].precompute()
    prepare, main = lower_prepared(s, [a, c])
    assert [p.name for p in prepare.params] == ["A", "twice"]
    assert [p.name for p in main.params] == ["twice", "A", "C"]


def test_what_only_the_preparation_reads_stays_in_it() -> None:
    w = te.placeholder((N,), name="W")
    first = te.compute((N,), lambda i: w[i] * 2, name="first")
    second = te.compute((N,), lambda i: first[i] + 1, name="second")
    c = te.compute((N,), lambda i: second[i] * 3, name="C")
    s = tilewright.create_schedule(c.op)
    s[first].precompute()
    s[second].precompute()
    prepare, main = lower_prepared(s, [w, c])
    assert [p.name for p in prepare.params] == ["W", "second"]
    assert [p.name for p in main.params] == ["second", "C"]
    array, made, out = np.arange(N, dtype=np.float32), np.zeros(N, np.float32), np.zeros(N, np.float32)
    interpret(prepare, [array, made])
    interpret(main, [made, out])
    np.testing.assert_array_equal(out, (array * 2 + 1) * 3)


def test_it_is_kept_in_json() -> None:
    s, tensors, packed = product()
    s[packed].precompute()
    again = Schedule.from_json(s.to_json(), [tensors[-1]])
    assert [str(f) for f in lower_prepared(again, tensors)] == [str(f) for f in lower_prepared(s, tensors)]


def test_what_reads_a_stage_of_every_call_is_refused() -> None:
    a = te.placeholder((N,), name="A")
    first = te.compute((N,), lambda i: a[i] * 2, name="first")
    second = te.compute((N,), lambda i: first[i] + 1, name="second")
    c = te.compute((N,), lambda i: second[i] * 3, name="C")
    s = tilewright.create_schedule(c.op)
    with pytest.raises(ScheduleError, match=r"precompute: stage second reads first, which every call computes"):
        s[second].precompute()
    s[first].precompute()
    s[second].precompute()
    s[first].compute_root()
    with pytest.raises(ScheduleError, match=r"stage second is computed ahead of the calls and reads first"):
        lower_prepared(s, [a, c])


def test_inputs_and_outputs_are_refused() -> None:
    s, (a, _, c), _ = product()
    with pytest.raises(ScheduleError, match="precompute: A is given, not computed"):
        s[a].precompute()
    with pytest.raises(ScheduleError, match="precompute: C is an output"):
        s[c].precompute()
