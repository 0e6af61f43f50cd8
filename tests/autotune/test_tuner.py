"""The search from end to end on a small matrix product: limits, resuming, interruption, lookups."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilewright import te
from tilewright.autotune import task as tasks
from tilewright.autotune.autotvm_log import read_line, read_log, write_line, write_log
from tilewright.autotune.history import apply_history_best, best_config, config_of
from tilewright.autotune.measure import MeasureOptions, Stages
from tilewright.autotune.records import Records, TaskRow
from tilewright.autotune.runner import Measured
from tilewright.autotune.space import Config, ConfigSpace
from tilewright.autotune.stages import task_stages
from tilewright.autotune.strategies.random import RandomStrategy
from tilewright.autotune.template import find_template, get_config, template
from tilewright.autotune.templates import matmul as packaged_matmul
from tilewright.autotune.trial import Status, Trial
from tilewright.autotune.tuner import Progress, Tuner
from tilewright.ir.errors import ArgumentError, RecordError, TargetError, TuneError
from tilewright.runtime.build import build
from tilewright.runtime.host import cpu_count
from tilewright.schedule.schedule import Schedule, create_schedule
from tilewright.te.operators.flops import flops

from .matmul_template import matmul

SHAPE = (64, 64, 64)
WORD: Any = "9"  # where a number belongs
FAST = MeasureOptions(final_s=0.1, rounds=5)


@pytest.fixture(scope="module")
def task() -> tasks.Task:
    return tasks.create("test.matmul", SHAPE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


def test_code_for_another_architecture_is_not_tuned_here() -> None:
    arm = tasks.create("test.matmul", SHAPE, "llvm -mtriple=aarch64-linux-gnu -mcpu=neoverse-n1")
    with pytest.raises(TargetError, match=r"the code is for neoverse-n1, this machine is"):
        Tuner(arm, options=FAST).tune(n_trial=2)


def test_default_is_measured_first_and_again_at_the_end(task: tasks.Task) -> None:
    result = Tuner(task, options=FAST).tune(n_trial=12)
    default = task.config_space.default
    assert result.history[0].index == default
    assert result.default is not None and result.default.index == default
    assert result.best is not None and result.best.median_s <= result.default.median_s  # type: ignore[operator]
    assert result.best.interval_s is not None
    low, high = result.best.interval_s
    assert low <= (result.best.median_s or 0) <= high
    assert 0 < result.peak_fraction < 1.1
    assert len({t.index for t in result.history}) == len(result.history) == 12


def test_the_same_search_again_measures_nothing_known(task: tasks.Task, path: Path) -> None:
    with Records(path) as records:
        first = Tuner(task, RandomStrategy, FAST, records).tune(n_trial=10)
        again = Tuner(task, RandomStrategy, FAST, records).tune(n_trial=10)
        more = Tuner(task, RandomStrategy, FAST, records).tune(n_trial=15)
    assert (first.new, again.new, more.new) == (10, 0, 5)
    assert again.best is not None
    assert len({t.index for t in more.history}) == 15


def test_a_template_called_directly_is_for_this_machine() -> None:
    schedule, _ = packaged_matmul(64, 64, 64)
    default = tasks.create("matmul", (64, 64, 64))
    assert schedule.to_json() == default.instantiate(default.config_space.default_config())[0].to_json()


def test_limits(task: tasks.Task) -> None:
    timed = Tuner(task, RandomStrategy, FAST).tune(time_s=2.5)  # ends: there are many more configurations
    assert 0 < timed.new < len(task.config_space)
    stopped = Tuner(task, RandomStrategy, FAST).tune(early_stopping=5, n_trial=500)
    assert stopped.new < 500
    with pytest.raises(TuneError, match="no limit is given"):
        Tuner(task).tune()


def test_interruption_keeps_everything(task: tasks.Task, path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done == 7:
            raise KeyboardInterrupt

    with Records(path) as records:
        result = Tuner(task, RandomStrategy, FAST, records).tune(n_trial=50, callbacks=[interrupt])
        stored = [t for t in records.trials(task.key) if t.phase == "search"]
    assert len(stored) == len(result.history) == 7
    assert result.best is not None


SEARCH = """
import sys, matmul_template
from tilewright.autotune import task
from tilewright.autotune.records import Records
from tilewright.autotune.tuner import Tuner
made = task.create("test.matmul", (64, 64, 64))
show = lambda progress: print(progress.done, flush=True)
with Records(sys.argv[1]) as records:
    print("new", Tuner(made, records=records).tune(n_trial=int(sys.argv[2]), callbacks=[show]).new)
"""


def test_killed_search_is_resumed(path: Path) -> None:
    here = {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", SEARCH, str(path)]
    search = subprocess.Popen(
        [*command, "1000"], stdout=subprocess.PIPE, text=True, env=os.environ | here, start_new_session=True
    )
    assert search.stdout is not None
    shown = [search.stdout.readline() for _ in range(60)]
    os.kill(search.pid, signal.SIGKILL)
    shown += search.communicate()[0].splitlines()
    with Records(path) as records:
        (recorded,) = records.tasks()
        kept = len(records.known(recorded.key))
    assert len(shown) - 32 <= kept
    again = [*command, str(kept + 10)]
    done = subprocess.run(again, capture_output=True, text=True, env=os.environ | here, timeout=120)
    assert done.stdout.splitlines()[-1] == "new 10", done.stderr


def test_tuned_kernel_computes_the_product(task: tasks.Task, path: Path) -> None:
    a, b = (np.random.default_rng(n).standard_normal((64, 64)).astype(np.float32) for n in (0, 1))
    with Records(path) as records:
        best = Tuner(task, RandomStrategy, FAST, records).tune(n_trial=8).best
        assert best is not None
        with apply_history_best(records), warnings.catch_warnings():
            warnings.simplefilter("error")
            schedule, tensors = matmul(*SHAPE)
    assert schedule.to_json() == best.steps
    out = np.empty((64, 64), np.float32)
    build(schedule, tensors)(a, b, out)
    np.testing.assert_allclose(out, a @ b, rtol=0, atol=64 * 2.0**-23 * 8)  # K terms of up to 8, rounded once each


def test_lookup_that_misses_warns_once_and_says_why(task: tasks.Task, path: Path) -> None:
    other = tasks.create("test.matmul", (32, 64, 64))
    with Records(path) as records:
        records.add(other.key, ok_trial(other, 3))
        with apply_history_best(records), pytest.warns(UserWarning, match="expression") as caught:
            schedule, _ = matmul(*SHAPE)
            matmul(*SHAPE)
    assert len(caught) == 1 and "default schedule is used" in str(caught[0].message)
    default, _ = task.instantiate(ConfigSpace())
    assert schedule.to_json() == default.to_json()


def test_lookup_takes_another_machines_best_with_a_warning(task: tasks.Task, path: Path) -> None:
    with Records(path) as records:
        records.add(replace(task.key, machine="elsewhere"), ok_trial(task, 5))
        with pytest.warns(UserWarning, match="elsewhere"):
            assert best_config(records, task) == task.config_space.get(5)


def ok_trial(task: tasks.Task, index: int) -> Trial:
    entities = task.config_space.get(index).to_json()
    return Trial(index, Status.OK, entities, "", [1e-3], 1e-3, (1e-3, 1e-3))  # type: ignore[arg-type]


# -- tasks and templates ------------------------------------------------------------------------------------------


def test_keys_follow_what_matters(task: tasks.Task) -> None:
    assert tasks.create("test.matmul", [64, 64, 64]).key == task.key
    others = [
        tasks.create("test.matmul", (64, 64, 32)),
        tasks.create("test.matmul", SHAPE, "llvm -vector-width=256"),
        tasks.create("test.matmul", SHAPE, threads=2),
    ]
    assert len({task.key.digest, *(t.key.digest for t in others)}) == 4


def test_every_configuration_can_be_made_again_from_its_record(task: tasks.Task) -> None:
    for index in (0, 17, 101):
        config = task.config_space.get(index)
        trial = ok_trial(task, index)
        assert config_of(trial) == config
        assert task.instantiate(config_of(trial))[0].to_json() == task.instantiate(config)[0].to_json()


def test_flop_of_a_product_and_of_a_padded_sum(task: tasks.Task) -> None:
    assert task.flop == 2 * 64**3
    a = te.placeholder((10,), name="A")
    padded = te.compute((12,), lambda i: te.if_then_else((i >= 1) & (i < 11), a[i - 1], 0.0), name="P")
    r = te.reduce_axis((0, 3), name="r")
    c = te.compute((10,), lambda i: te.sum(padded[i + r], axis=r), name="C")
    assert flops(c) == 10 * 3


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: tasks.create("test.nothing", ()), "no template 'test.nothing'"),
        (lambda: tasks.create("test.matmul", (object(), 1, 1)), "not plain data"),
        (
            lambda: tasks.create("conv2d", ((1, 8, 8, 8), (8, 3, 3))),
            r"conv2d takes \(data, filters, stride, padding, dilation=1, .*given 2 arguments: .*'stride'",
        ),
        (lambda: tasks.create("test.matmul", SHAPE * 2), r"takes \(.*\), and is given 6 arguments: too many"),
        (lambda: Tuner(tasks.create("test.matmul", SHAPE)).tune(WORD), "n_trial='9' is a str"),
        (get_config, "no template is running"),
        (lambda: template("test.matmul")(lambda m: None), "already the template"),  # type: ignore[arg-type,return-value]
    ],
)
def test_refusals(act: object, sentence: str) -> None:
    with pytest.raises(TuneError, match=sentence):
        act()  # type: ignore[operator]


def test_threads_of_a_task_that_are_no_number_are_refused() -> None:
    with pytest.raises(ArgumentError, match="task: threads='9' is a str"):
        tasks.create("test.matmul", SHAPE, threads=WORD)


def test_without_time_to_measure_again_the_best_of_the_search_counts() -> None:
    task = tasks.create("test.matmul", SHAPE)
    stages = Stages(task_stages(task).build, lambda request: Measured(request.built.index, seconds=(30.0,)))
    result = Tuner(task, RandomStrategy, stages=stages).tune(n_trial=1, time_s=60.0)
    assert result.best is not None and result.best.phase == "search" and result.best.median_s == 30.0


def test_template_called_alone_takes_the_default() -> None:
    schedule, _ = matmul(*SHAPE)
    task = tasks.create("test.matmul", SHAPE)
    assert schedule.to_json() == task.instantiate(ConfigSpace())[0].to_json()
    assert find_template("test.matmul").name == "test.matmul"


# -- AutoTVM's logs -----------------------------------------------------------------------------------------------

LINE = (
    '{"input": ["llvm -mcpu=core-avx2", "tutorial/matmul", [512, 512, 512, "float32"], {}], "config": {"index": 45, '
    '"code_hash": null, "entity": [["tile_y", "sp", [-1, 64]], ["tile_x", "sp", [-1, 16]], ["ann", "an", ["vec"]], '
    '["order", "re", [1, 0]], ["unroll", "ot", true]]}, "result": [[0.0021, 0.0023], 0, 0.7, 1634571283.1], '
    '"version": 0.2, "tvm_version": "0.8.0"}'
)


def test_autotvm_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(f"# a comment\n\n{LINE}\n")
    ((target, name, args, trial),) = read_log(tmp_path / "log.json")
    assert (target, name, args) == ("llvm -mcpu=core-avx2", "tutorial/matmul", [512, 512, 512, "float32"])
    assert trial.status is Status.OK and trial.median_s == pytest.approx(0.0022)
    config: Config = config_of(trial)
    assert config["tile_y"].size == (-1, 64) and config["unroll"].val is True and config["order"].perm == (1, 0)


def test_autotvm_lines_survive_a_round_trip(task: tasks.Task, tmp_path: Path) -> None:
    row = TaskRow(task.key, task.name, task.args, task.flop)
    failed = Trial(9, Status.WRONG_RESULT, timestamp=3.0)
    write_log(tmp_path / "log.json", [(row, ok_trial(task, 7)), (row, failed)])
    first, second = read_log(tmp_path / "log.json")
    assert first[3].entities == ok_trial(task, 7).entities and first[3].seconds == [1e-3]
    assert second[3].status is Status.WRONG_RESULT and second[3].median_s is None
    assert read_line(write_line(row, failed))[3].index == 9


def test_other_lines_are_refused() -> None:
    with pytest.raises(RecordError, match="not a line of an AutoTVM log"):
        read_line('{"input": []}')


def test_search_begins_with_what_was_best_elsewhere(task: tasks.Task, path: Path) -> None:
    best_elsewhere = 77
    assert task.config_space.is_valid_index(best_elsewhere)
    with Records(path) as records:
        records.add(replace(task.key, machine="elsewhere"), ok_trial(task, best_elsewhere))
        result = Tuner(task, RandomStrategy, FAST, records).tune(n_trial=6)
    assert [t.index for t in result.history[:2]] == [task.config_space.default, best_elsewhere]
    assert len({t.index for t in result.history}) == 6


def test_kernels_that_take_every_core_are_measured_undisturbed() -> None:
    task = tasks.create("test.matmul", SHAPE, threads=cpu_count())
    result = Tuner(task, RandomStrategy, FAST).tune(n_trial=10)
    assert result.best is not None and len(result.history) == 10


@template("test.hopeless")
def hopeless(n: int) -> tuple[Schedule, list[te.Tensor]]:
    """A schedule of something else than what is meant, whatever the configuration."""
    get_config().define_knob("value", list(range(n)))
    a = te.placeholder((8,), name="A")
    meant = te.compute((8,), lambda i: a[i] + 1.0, name="B")
    done = te.compute((8,), lambda i: a[i] + 2.0, name="B")
    get_config().define_meaning([a, meant])
    return create_schedule(done.op), [a, done]


def test_search_ends_when_everything_fails_alike() -> None:
    result = Tuner(tasks.create("test.hopeless", (5000,)), RandomStrategy, FAST).tune(time_s=60)
    assert result.best is None and 64 <= result.new < 200
    assert set(result.counts) == {Status.WRONG_RESULT}
