"""A template tuned in TVM 0.9's spelling, its log, and what is built from the best of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilewright.compat import tvm
from tilewright.compat.tvm import autotvm, te


@autotvm.template("test.compat.matmul")
def matmul(N, L, M, dtype):
    A = te.placeholder((N, L), name="A", dtype=dtype)
    B = te.placeholder((L, M), name="B", dtype=dtype)
    k = te.reduce_axis((0, L), name="k")
    C = te.compute((N, M), lambda i, j: te.sum(A[i, k] * B[k, j], axis=k), name="C")
    s = te.create_schedule(C.op)
    y, x = s[C].op.axis
    k = s[C].op.reduce_axis[0]
    cfg = autotvm.get_config()
    cfg.define_split("tile_y", y, num_outputs=2)
    cfg.define_split("tile_x", x, num_outputs=2)
    yo, yi = cfg["tile_y"].apply(s, C, y)
    xo, xi = cfg["tile_x"].apply(s, C, x)
    s[C].reorder(yo, xo, k, yi, xi)
    return s, [A, B, C]


ARGS = (32, 24, 48, "float32")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("autotvm") / "matmul.log"
    task = autotvm.task.create("test.compat.matmul", args=ARGS, target="llvm")
    assert len(task.config_space) == 6 * 10
    tuner = autotvm.tuner.RandomTuner(task)
    measure_option = autotvm.measure_option(
        builder=autotvm.LocalBuilder(), runner=autotvm.LocalRunner(number=5, repeat=1)
    )
    tuner.tune(
        n_trial=8,
        measure_option=measure_option,
        callbacks=[autotvm.callback.log_to_file(path), autotvm.callback.progress_bar(8, prefix="matmul")],
    )
    assert tuner.best_config is not None and tuner.best_flops > 0
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_log_has_a_line_for_each_trial_in_autotvms_format(log: Path):
    rows = lines(log)
    assert len(rows) == 8
    assert {tuple(row) for row in rows} == {("input", "config", "result", "version", "tvm_version")}
    assert all(row["input"][1:] == ["test.compat.matmul", list(ARGS), {}] for row in rows)
    assert all([e[:2] for e in row["config"]["entity"]] == [["tile_y", "sp"], ["tile_x", "sp"]] for row in rows)
    assert any(row["result"][1] == 0 for row in rows)


def test_the_best_of_the_log_is_built(log: Path):
    best = min((r for r in lines(log) if r["result"][1] == 0), key=lambda r: min(r["result"][0]))
    with autotvm.apply_history_best(str(log)) as history, tvm.target.Target("llvm"):
        s, arg_bufs = matmul(*ARGS)
        func = tvm.build(s, arg_bufs)
        config = history.query("llvm", json.dumps(["test.compat.matmul", *ARGS]))
    assert config is not None and config.index == best["config"]["index"]
    inner = best["config"]["entity"][0][2][-1]
    expected = f"for i_i in range({inner})" if 1 < inner < ARGS[0] else "for"
    assert expected in str(s)
    a, b = np.random.rand(32, 24).astype("float32"), np.random.rand(24, 48).astype("float32")
    c = tvm.nd.empty((32, 48))
    func(tvm.nd.array(a), tvm.nd.array(b), c)
    tvm.testing.assert_allclose(c.numpy(), a @ b, rtol=1e-5)


def test_records_are_read_written_and_picked_from(log: Path, tmp_path: Path):
    records = list(autotvm.record.load_from_file(log))
    again = [autotvm.record.decode(autotvm.record.encode(*pair)) for pair in records]
    assert [(i.config, r.costs, r.error_no) for i, r in again] == [(i.config, r.costs, r.error_no) for i, r in records]
    autotvm.record.pick_best(log, tmp_path / "best.log")
    (best,) = lines(tmp_path / "best.log")
    assert min(best["result"][0]) == min(min(r["result"][0]) for r in lines(log) if r["result"][1] == 0)
    with autotvm.apply_history_best(records):
        s, _ = matmul(*ARGS)
    with autotvm.apply_history_best(tmp_path / "best.log"):
        t, _ = matmul(*ARGS)
    assert str(s) == str(t)


def test_a_log_of_another_kind_of_target_is_not_used(log: Path, tmp_path: Path):
    other = [row | {"input": ["cuda -arch=sm_90", *row["input"][1:]]} for row in lines(log)]
    (tmp_path / "cuda.log").write_text("".join(f"{json.dumps(row)}\n" for row in other))
    history = autotvm.apply_history_best(tmp_path / "cuda.log")
    workload = json.dumps(["test.compat.matmul", *ARGS])
    assert history.query("llvm", workload) is None
    assert history.query("cuda", workload) is not None


def test_without_a_record_the_default_is_used_with_a_warning(log: Path):
    with autotvm.apply_history_best(log), pytest.warns(UserWarning, match="no record; its default schedule is used"):
        matmul(16, 16, 16, "float32")


@pytest.mark.parametrize("tuner", ["XGBTuner", "GATuner", "GridSearchTuner"])
def test_every_tuner_searches(tuner: str):
    task = autotvm.task.create("test.compat.matmul", args=(16, 8, 16, "float32"), target="llvm")
    search = getattr(autotvm.tuner, tuner)(task)
    search.tune(n_trial=4, measure_option=autotvm.measure_option(builder="local", runner="local"))
    assert search.result is not None and len(search.result.history) == 4


def test_other_machines_are_refused():
    with pytest.raises(tvm.TVMError, match="kernels are measured on this machine alone"):
        autotvm.RPCRunner("android", host="0.0.0.0", port=9190)
