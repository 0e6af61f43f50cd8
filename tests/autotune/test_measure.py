"""A search goes on whatever candidates do, and records what they did; all through real worker processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilewright import te
from tilewright.autotune import runner
from tilewright.autotune import task as tasks
from tilewright.autotune.builder import Built, build_candidate
from tilewright.autotune.measure import BuildRequest, MeasureOptions, Measurer, Stages, task_stages
from tilewright.autotune.records import Records
from tilewright.autotune.reference import make_reference
from tilewright.autotune.runner import measure_candidate, remeasure
from tilewright.autotune.space import Config
from tilewright.autotune.stages import peak_beside
from tilewright.autotune.strategies.grid import GridStrategy
from tilewright.autotune.task import Task
from tilewright.autotune.template import get_config, get_target, template
from tilewright.autotune.trial import Status
from tilewright.autotune.tuner import Tuner
from tilewright.codegen.llvm.compile import compile_ir
from tilewright.ir.errors import CodegenError, ScheduleError
from tilewright.ir.target import Target
from tilewright.runtime.timing import Timed, run_batch
from tilewright.schedule import create_schedule

KERNELS = {
    "segfault": "define i32 @main__packed(ptr %a) { store volatile i32 1, ptr null\n ret i32 0 }",
    "trap": "declare void @llvm.trap()\ndefine i32 @main__packed(ptr %a) { call void @llvm.trap()\n ret i32 0 }",
    "hang": "define i32 @main__packed(ptr %a) {\nentry:\n br label %l\nl:\n br label %l\n}",
    "no scratch": "define i32 @main__packed(ptr %a) { ret i32 1 }",
    "unwritten": "define i32 @main__packed(ptr %a) { ret i32 0 }",
}
ABORTS = "define float @f(float %a) { %r = fadd float %a, %a\n ret float %r }"  # BPF has no floats: LLVM gives up
EXPECTED = {
    "none": Status.OK,
    "refused": Status.INSTANTIATE,
    "uncodable": Status.CODEGEN,
    "own bug": Status.CODEGEN,
    "llvm aborts": Status.LLVM_ABORT,
    "compiles forever": Status.COMPILE_TIMEOUT,
    "compiler eats memory": Status.MEMORY,
    "segfault": Status.CRASH,
    "trap": Status.CRASH,
    "hang": Status.RUN_TIMEOUT,
    "no scratch": Status.MEMORY,
    "unwritten": Status.WRONG_RESULT,
    "wrong": Status.WRONG_RESULT,
    "none again": Status.OK,
}


@template("test.faulty")
def faulty(n: int) -> tuple[Any, list[Any]]:
    cfg = get_config()
    cfg.define_knob("fault", list(EXPECTED))
    fault = cfg["fault"].val
    if fault == "refused":
        raise ScheduleError("split", "factor must be at least 1, got 0")
    added = 2.0 if fault == "wrong" else 1.0
    a = te.placeholder((n,), name="A")
    b = te.compute((n,), lambda i: a[i] + added, name="B")
    return create_schedule([b]), [a, b]


def faulty_stages(task: Task) -> Stages:
    real = task_stages(task)

    def build(request: BuildRequest) -> Built:
        fault = request.config["fault"].val
        match fault:
            case "uncodable":
                raise CodegenError("llvm", "no such instruction")
            case "own bug":
                raise KeyError("internal")
            case "llvm aborts":
                compile_ir(ABORTS, Target(triple="bpf"))
            case "compiles forever":
                while True:
                    pass
            case "compiler eats memory":
                np.ones(1 << 44)
        if fault in KERNELS:
            code = compile_ir(f'target triple = "{task.target.triple}"\n{KERNELS[fault]}', task.target).code
            return replace(real.build(request), code=code, code_hash=fault)
        return real.build(request)

    return Stages(build, real.run)


def test_every_failure_has_its_class_and_the_search_goes_on(tmp_path: Path) -> None:
    task = tasks.create("test.faulty", (64,))
    options = MeasureOptions(build_timeout_s=3.0, run_timeout_s=3.0)
    with Records(tmp_path / "records.db") as records:
        tuner = Tuner(task, GridStrategy, options, records, stages=faulty_stages(task))
        result = tuner.tune(n_trial=100)
        stored = records.trials(task.key)
    names = list(EXPECTED)
    assert {names[t.index]: t.status for t in result.history} == EXPECTED
    searched = [t for t in stored if t.phase == "search"]
    assert {t.index: t.status for t in searched} == {t.index: t.status for t in result.history}
    assert all(t.error for t in searched if t.status is not Status.OK)
    assert result.best is not None and names[result.best.index] in ("none", "none again")


def test_equal_machine_code_is_measured_once() -> None:
    task = tasks.create("test.faulty", (64,))
    result = Tuner(task, GridStrategy, stages=faulty_stages(task), options=FAST).tune(n_trial=100)
    by_name = {list(EXPECTED)[t.index]: t for t in result.history}
    first, second = by_name["none"], by_name["none again"]
    assert second.duplicate and not first.duplicate
    assert second.seconds == first.seconds
    assert result.valid == 1


FAST = MeasureOptions(build_timeout_s=3.0, run_timeout_s=3.0, final_s=0.1)


def spilling(task: Task, index: int) -> int:
    return build_candidate(task, task.config_space.get(index), max_spills=None).spills


def test_candidates_that_spill_are_dropped_before_measuring() -> None:
    task = tasks.create("test.spilling", (64,))
    spills = [spilling(task, i) for i in range(len(task.config_space))]
    assert spills[0] == 0 and spills[1] > 0
    result = Tuner(task, GridStrategy, FAST).tune(n_trial=10)
    assert [t.status for t in sorted(result.history, key=lambda t: t.index)] == [Status.OK, Status.SPILL]


@template("test.wide")
def wide(n: int) -> tuple[Any, list[Any]]:
    """A product of matrices with register tiles of 4 or 8 rows."""
    a, b = te.placeholder((n, n), name="A"), te.placeholder((n, n), name="B")
    r = te.reduce_axis((0, n), name="r")
    c = te.compute((n, n), lambda i, j: te.sum(a[i, r] * b[r, j], axis=r), name="C")
    s = create_schedule([c])
    cfg = get_config()
    target = get_target()
    cfg.define_knob("rows", [4, 8])
    yo, yi = s[c].split(s[c].op.axis[0], factor=cfg["rows"].val)
    xo, xi = s[c].split(s[c].op.axis[1], factor=target.vector_bits // 32)
    s[c].reorder(yo, xo, s[c].op.reduce_axis[0], yi, xi)
    s[c].vectorize(xi)
    s[c].unroll(yi)
    return s, [a, b, c]


@template("test.spilling")
def two_tiles(n: int) -> tuple[Any, list[Any]]:
    """Two products of matrices in turn, with register tiles that fit, or that are far too large together."""
    a, b = te.placeholder((n, n), name="A"), te.placeholder((n, n), name="B")
    r = te.reduce_axis((0, n), name="r")
    both = te.comm_reducer(lambda x, y: (x[0] + y[0], x[1] + y[1]), lambda *types: [te.const(0.0, d) for d in types])
    c, d = te.compute((n, n), lambda i, j: both((a[i, r] * b[r, j], a[r, i] * b[r, j]), axis=r), name="C")
    s = create_schedule([c])
    cfg = get_config()
    target = get_target()
    cfg.define_knob("rows", [4, target.registers])  # the second wants twice the registers that there are
    yo, yi = s[c].split(s[c].op.axis[0], factor=cfg["rows"].val)
    xo, xi = s[c].split(s[c].op.axis[1], factor=target.vector_bits // 32)
    s[c].reorder(yo, xo, s[c].op.reduce_axis[0], yi, xi)
    s[c].vectorize(xi)
    s[c].unroll(yi)
    return s, [a, b, c, d]


# -- the reference ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "right"),
    [
        (lambda out: None, True),
        (lambda out: out.__imul__(1 + 2e-7), True),
        (lambda out: out.__setitem__((3, 5), np.nan), False),
        (lambda out: out.__setitem__((3, 5), out[3, 5] + 1e-3), False),
        (lambda out: out.__setitem__((0, 0), np.inf), False),
    ],
)
def test_verdict(change: Callable[[np.ndarray], object], right: bool) -> None:
    reference = make_reference(tasks.create("test.wide", (64,)).tensors)
    reference.poison()
    assert np.isnan(reference.arrays[2]).all() and not reference.verdict()[1]
    reference.arrays[2][...] = reference.arrays[0] @ reference.arrays[1]
    change(reference.arrays[2])
    assert reference.verdict()[1] is right


def test_one_missing_term_is_seen() -> None:
    """Tolerances must stay below what forgetting one of K products does, also for long sums."""
    task = tasks.create("test.wide", (512,))
    reference = make_reference(task.tensors)
    a, b, c = reference.arrays
    c[...] = a @ b
    assert reference.verdict()[1]
    c[...] = a[:, 1:] @ b[1:]
    assert not reference.verdict()[1]


def test_a_result_that_takes_too_long_is_compared_in_whole_rows_and_columns() -> None:
    task, told = tasks.create("test.wide", (256,)), []
    reference = make_reference(task.tensors, limit_s=1e-9, tell=told.append)
    a, b, c = reference.arrays
    rows, columns = reference.expected[2]
    assert rows.values.shape[1] == columns.values.shape[0] == 256 and max(rows.values.shape[0], 32) < 64
    assert "whole rows and columns" in told[0]
    reference.poison()
    c[...] = a @ b
    assert reference.verdict()[1]
    for place in ((0, 77), (77, 0), (255, 100), (100, 255)):  # borders, wherever along them
        right, c[place] = c[place], c[place] + 1
        assert not reference.verdict()[1]
        c[place] = right
    unseen = next((i, i) for i in range(256) if i not in rows.place[0] and i not in columns.place[1])
    c[unseen] = np.nan  # as poison is: nobody has written it
    assert not reference.verdict()[1]


def test_a_result_that_does_not_take_long_is_compared_whole() -> None:
    ((part,),) = make_reference(tasks.create("test.wide", (64,)).tensors, limit_s=60.0).expected.values()
    assert part.values.shape == (64, 64)


def test_candidate_is_measured_as_built() -> None:
    task = tasks.create("test.wide", (64,))
    built = build_candidate(task, task.config_space.get(0))
    measured = measure_candidate(built, make_reference(task.tensors), None)
    assert measured.status is Status.OK
    assert len(measured.seconds) > 1 and 0 < min(measured.seconds) < 1e-3
    broken = replace(built, code=b"not an object")
    assert measure_candidate(broken, make_reference(task.tensors), None).status is Status.CODEGEN


@pytest.mark.parametrize(
    ("call_s", "left_s", "seconds"),
    [(0.7, float("inf"), (0.7, 0.7)), (1.5, float("inf"), (1.5,)), (1.5, 2.0, (1.5,))],
    ids=["twice", "once after it was checked", "as it is checked"],
)
def test_a_candidate_that_takes_long_is_timed_seldom(
    call_s: float, left_s: float, seconds: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, calls = [0.0], []

    def batch(call: Timed, number: int) -> float:
        now[0] += call_s * number  # seconds, of a clock that nothing else moves
        calls.append(number)
        run_batch(call, number)
        return call_s * number

    monkeypatch.setattr(runner, "run_batch", batch)
    monkeypatch.setattr(runner.time, "perf_counter", lambda: now[0])
    task = tasks.create("test.wide", (64,))
    built = build_candidate(task, task.config_space.get(0))
    measured = measure_candidate(built, make_reference(task.tensors), None, left_s=left_s)
    assert measured.seconds == seconds
    assert len(calls) == {0.7: 4, 1.5: 2 if left_s > 2 else 1}[call_s]
    calls.clear()
    finals = remeasure([built, built], make_reference(task.tensors), None, 1, rounds=25, budget_s=0.5)
    assert [final.seconds for final in finals] == [(call_s,), (call_s,)]
    assert len(calls) == 2 * 2  # each is checked, and timed once


class Short:
    """One configuration, and hardly time for it."""

    def __init__(self, config: Config) -> None:
        self.left = [config]
        self.left_s = self.first_s = 0.01

    @property
    def exhausted(self) -> bool:
        return not self.left

    def take_config(self) -> Config | None:
        return self.left.pop() if self.left else None


def test_a_candidate_that_the_end_of_the_search_cuts_short_is_no_trial() -> None:
    task = tasks.create("test.wide", (64,))
    stages = Stages(task_stages(task).build, lambda _: time.sleep(600))
    with Measurer(task, FAST, stages) as measurer:
        assert list(measurer.stream(Short(task.config_space.default_config()), float("inf"), {})) == []


def test_affinity_is_given_back() -> None:
    before = os.sched_getaffinity(0)
    task = tasks.create("test.wide", (64,))
    Tuner(task, GridStrategy, FAST).tune(n_trial=1)
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("dtype", "target", "kind"),
    [
        ("float32", "llvm -mcpu=haswell", "fma"),
        ("int8", "llvm -mcpu=haswell", None),  # no instruction for products of bytes
        ("uint8", "llvm -mcpu=skylake-avx512 -mattr=+avx512vnni", "dot"),
    ],
)
def test_candidates_are_timed_beside_the_loop_of_their_products(dtype: str, target: str, kind: str | None) -> None:
    peak = peak_beside(tasks.create("matmul", (8, 8, 8, False, False, dtype), target))
    assert kind is None if peak is None else peak.name == f"peak_{kind}"
