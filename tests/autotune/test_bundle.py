"""Bundles: what is built on one machine is what another one finds, measures and records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tilewright.autotune.bundle.bench import Bench
from tilewright.autotune.bundle.build import build_task
from tilewright.autotune.bundle.format import INDEX, Candidate, TaskBundle, read_task, task_files, write_task
from tilewright.autotune.bundle.measure import Plan, TaskResult, as_json, key_here, measure_bundle
from tilewright.autotune.records import Records, TaskRow
from tilewright.autotune.strategies.random import RandomStrategy
from tilewright.autotune.strategies.xgb import XgbStrategy
from tilewright.autotune.trial import Status, Trial
from tilewright.ir.errors import DeviceError, TuneError
from tilewright.runtime.cuda.device import Limits
from tilewright.runtime.cuda.emulated_device import EmulatedDevice

from .gpu_template import CONFLICTS, LARGE, RIGHT, RIGHT_AGAIN, transposition


def gpu_task(n: int = 64):
    return transposition(n, device="gpu")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TaskBundle]:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    return folder, build_task(gpu_task(), folder, 8, strategy=RandomStrategy)


def edited(candidate: Candidate, old: str, new: str) -> Candidate:
    """Give a candidate with another text; its machine code stays, which an emulation does not look at."""
    code = candidate.kernel.code
    assert old in code.source.text
    changed = type(code)(replace(code.source, text=code.source.text.replace(old, new, 1)), code.arch, code.cubin)
    return replace(candidate, index=candidate.index + 100, code_hash=f"{candidate.index:016x}",
                   kernel=replace(candidate.kernel, code=changed))  # fmt: skip


def measure(folder: Path, db: Path, **options: float) -> list[TaskResult]:
    with Records(db) as records:
        return list(measure_bundle(folder, "emulate", records, options.get("time_s", 600.0)))


# -- building -----------------------------------------------------------------------------------------------------


def test_a_bundle_has_each_kernel_once_and_says_why_others_are_not_there(
    bundle: tuple[Path, TaskBundle], tmp_path: Path
) -> None:
    _, made = bundle
    assert len({c.index for c in made.candidates} & {RIGHT, RIGHT_AGAIN}) == 1
    assert len({c.code_hash for c in made.candidates}) == len(made.candidates)
    assert {t.index: t.status for t in made.refused}[CONFLICTS] is Status.SCREEN
    task = gpu_task(1024)
    assert {t.index: t.status for t in build_task(task, tmp_path / "b", 8).refused}[LARGE] is Status.LIMIT


def test_the_default_configuration_comes_first(tmp_path: Path) -> None:
    task = gpu_task(1024)
    made = build_task(task, tmp_path / "b", 2, strategy=RandomStrategy, seed=3)
    tried = [*(t.index for t in made.refused), *(c.index for c in made.candidates)]
    assert task.config_space.default in tried


def test_what_is_read_is_what_was_written(bundle: tuple[Path, TaskBundle]) -> None:
    folder, made = bundle
    (path,) = task_files(folder)
    found = read_task(path)
    assert found.about == made.about and found.refused == made.refused
    for mine, theirs in zip(made.candidates, found.candidates, strict=True):
        assert (theirs.index, theirs.entities, theirs.steps) == (mine.index, mine.entities, mine.steps)
        assert theirs.kernel.code.source == mine.kernel.code.source
        assert theirs.kernel.code.cubin == mine.kernel.code.cubin
        assert theirs.kernel.signature == mine.kernel.signature
        assert theirs.kernel.figures == mine.kernel.figures and "occupancy" in theirs.kernel.figures


def test_the_same_seed_gives_the_same_bundle(bundle: tuple[Path, TaskBundle], tmp_path: Path) -> None:
    _, made = bundle
    again = build_task(gpu_task(), tmp_path / "b", 8, strategy=RandomStrategy, processes=2)
    assert [c.index for c in again.candidates] == [c.index for c in made.candidates]
    assert [c.code_hash for c in again.candidates] == [c.code_hash for c in made.candidates]


def test_tasks_and_candidates_are_added_to_a_bundle(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    build_task(gpu_task(64), folder, 1, strategy=RandomStrategy)
    build_task(gpu_task(128), folder, 1, strategy=RandomStrategy)
    more = build_task(gpu_task(64), folder, 8, strategy=RandomStrategy, seed=1)
    assert len(task_files(folder)) == 2
    assert len({c.index for c in more.candidates}) == len(more.candidates)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(TuneError, match="is there and is no bundle"):
        build_task(gpu_task(), tmp_path, 1)
    with pytest.raises(TuneError, match="is no bundle"):
        task_files(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_a_bundle_of_another_version_and_a_damaged_file_are_refused(
    bundle: tuple[Path, TaskBundle], tmp_path: Path
) -> None:
    path = write_task(tmp_path / "b", bundle[1])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(TuneError, match="cannot be read"):
        read_task(path)
    (tmp_path / "b" / INDEX).write_text(json.dumps({"format": "tilewright bundle", "version": 99}))
    with pytest.raises(TuneError, match="of version 99"):
        task_files(tmp_path / "b")


def test_records_of_a_gpu_teach_what_is_built_and_records_of_the_emulation_do_not(tmp_path: Path) -> None:
    task = gpu_task()
    entities = task.config_space.get(RIGHT).to_json()
    for machine, left_out in (("0123456789abcdef", True), ("emulated", False)):
        with Records(tmp_path / f"{machine}.db") as records:
            key = replace(task.key, machine=machine, codegen="another")
            records.add_task(TaskRow(key, task.name, task.args, task.flop))
            records.add(key, Trial(RIGHT, Status.OK, entities, seconds=[1e-6], median_s=1e-6, code_hash="a"))
            made = build_task(task, tmp_path / machine, 8, records=records, strategy=XgbStrategy)
        tried = {c.index for c in made.candidates} | {t.index for t in made.refused}
        assert not left_out or RIGHT not in tried
        assert f"{int(left_out)} records" in made.about.tuner


# -- measuring ----------------------------------------------------------------------------------------------------


def test_every_candidate_is_checked_and_recorded_under_the_key_of_the_emulation(
    bundle: tuple[Path, TaskBundle], tmp_path: Path
) -> None:
    folder, made = bundle
    (result,) = measure(folder, tmp_path / "r.db")
    assert result.counts == {Status.OK: len(made.candidates)} and result.new == len(made.candidates)
    assert result.origin == "direct evaluation in float64"
    with Records(tmp_path / "r.db") as records:
        (row,) = records.tasks()
        assert row.key == transposition(64).key  # as if it had been tuned here
        stored = records.trials(row.key)
    assert {t.index for t in stored} == {c.index for c in made.candidates} | {t.index for t in made.refused}
    data = as_json(result, False)
    json.dumps(data, allow_nan=False)
    assert data["gpu_times"] is False and data["ratio"] is None and data["bytes"] == 2 * 64 * 64 * 4


def test_a_second_run_goes_on_where_the_first_was_cut_short(bundle: tuple[Path, TaskBundle], tmp_path: Path) -> None:
    folder, made = bundle
    (first,) = measure(folder, tmp_path / "r.db", time_s=0.0)
    assert (first.new, first.unreached) == (0, len(made.candidates))
    (second,) = measure(folder, tmp_path / "r.db")
    assert (second.new, second.unreached) == (len(made.candidates), 0)
    (third,) = measure(folder, tmp_path / "r.db")
    assert (third.new, third.counts[Status.OK]) == (0, len(made.candidates))


def test_wrong_kernels_are_told_apart_and_the_others_go_on(bundle: tuple[Path, TaskBundle], tmp_path: Path) -> None:
    _, made = bundle
    good = next(c for c in made.candidates if "tw_barrier();" in c.kernel.code.source.text)
    racy = edited(good, "tw_barrier();", "")
    endless = edited(replace(good, index=good.index + 1), "tw_barrier();", "while (tw_thread_x() < 5) tw_barrier();")
    outside = edited(replace(good, index=good.index + 2), "tw_load_const(", "tw_load_const(1000000 + ")
    write_task(tmp_path / "b", replace(made, candidates=(racy, endless, outside, good), refused=()))
    (result,) = measure(tmp_path / "b", tmp_path / "r.db")
    found = {t.index: t.status for t in result.trials}
    assert found[racy.index] is Status.WRONG_RESULT
    assert found[endless.index] in (Status.RUN_TIMEOUT, Status.CRASH, Status.WRONG_RESULT)
    assert found[outside.index] is Status.CRASH
    assert found[good.index] is Status.OK and len(result.wrong) == 3


def test_a_task_that_means_something_else_here_is_skipped(bundle: tuple[Path, TaskBundle], tmp_path: Path) -> None:
    _, made = bundle
    about = replace(made.about, key=replace(made.about.key, expression="0" * 16))
    write_task(tmp_path / "b", replace(made, about=about))
    (result,) = measure(tmp_path / "b", tmp_path / "r.db")
    assert "another operator in this version" in result.skipped and not result.trials


def test_what_takes_too_long_in_the_emulator_is_skipped(tmp_path: Path) -> None:
    build_task(gpu_task(16384), tmp_path / "b", 1, strategy=RandomStrategy)
    (result,) = measure(tmp_path / "b", tmp_path / "r.db")
    assert "it takes a GPU" in result.skipped


def test_without_a_gpu_the_message_says_what_is_missing(bundle: tuple[Path, TaskBundle], tmp_path: Path) -> None:
    with Records(tmp_path / "r.db") as records, pytest.raises(DeviceError, match="No kernel for sm_90a can run"):
        list(measure_bundle(bundle[0], "gpu", records, 10.0))


def test_a_gpu_machines_key_has_its_fingerprint_and_the_builders_compiler(bundle: tuple[Path, TaskBundle]) -> None:
    about = bundle[1].about
    here, there = key_here(about, "emulate"), key_here(about, "gpu")
    assert here.machine == "emulated" != there.machine != ""
    assert there.codegen == about.key.codegen == gpu_task().key.codegen != here.codegen


def test_the_plan_divides_the_time() -> None:
    assert Plan(1, 300, 240.0).candidate_s == pytest.approx(0.79)
    assert str(Plan(1, 300, 240.0)).startswith("300 candidates of 1 tasks in 240 s")
    assert Plan(100, 300, 240.0).candidate_s == 0.0


# -- timing, on an emulation that takes itself for a GPU -----------------------------------------------------------


class Pretended(EmulatedDevice):
    """An emulation whose cache is small, and whose times are asked for like a GPU's."""

    is_gpu = True

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(shared_bytes=self.limits.shared_bytes, l2_bytes=40_000)


def test_arrays_are_used_in_turn_where_one_set_would_stay_in_the_cache(bundle: tuple[Path, TaskBundle]) -> None:
    _, made = bundle
    bench = Bench(Pretended(), made.about)
    addresses = [tuple(a.address for a in arrays) for arrays in bench._sets]
    assert len(set(addresses)) == 3 == -(-2 * 40_000 // made.about.bytes)
    result = bench.candidate(made.candidates[0].built, float("inf"))
    assert result.status is Status.OK and len(result.seconds) == 7
    outputs = [arrays[1].numpy() for arrays in bench._sets]
    assert all(np.array_equal(outputs[0], other) for other in outputs)


def test_slow_candidates_are_timed_once(bundle: tuple[Path, TaskBundle]) -> None:
    _, made = bundle
    bench = Bench(Pretended(), made.about)
    assert len(bench.candidate(made.candidates[0].built, 1e-12).seconds) == 1


def test_finalists_are_timed_in_turn(bundle: tuple[Path, TaskBundle]) -> None:
    _, made = bundle
    bench = Bench(Pretended(), made.about)
    results, vendor = bench.final([c.built for c in made.candidates], 5, 0.1)
    assert [len(r.seconds) for r in results] == [5] * len(made.candidates)
    assert not vendor.seconds and vendor.median_s is None
