"""Candidates for a GPU: each refusal has its class, and the emulation checks the others to the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tilewright.autotune.build_cuda import EMULATED
from tilewright.autotune.builder import build_candidate
from tilewright.autotune.built import Built
from tilewright.autotune.measure import MeasureOptions, Measurer, task_stages
from tilewright.autotune.records import Records
from tilewright.autotune.requests import FinalRequest, RunRequest
from tilewright.autotune.runner import Measured
from tilewright.autotune.strategies.grid import GridStrategy
from tilewright.autotune.strategies.xgb import XgbStrategy
from tilewright.autotune.task import Task
from tilewright.autotune.trial import Status
from tilewright.autotune.tuner import Tuner
from tilewright.ir.errors import DeviceError
from tilewright.runtime.cuda import availability
from tilewright.runtime.cuda.devices import device

from .gpu_template import CONFLICTS, LARGE, RIGHT, RIGHT_AGAIN, transposition

FAST = MeasureOptions(build_timeout_s=60.0, final_s=0.1)


def built(task: Task, index: int, max_spills: int | None = 0, device: str = EMULATED) -> Built:
    return build_candidate(task, task.config_space.get(index), max_spills=max_spills, device=device)


def measured(task: Task, candidate: Built) -> Measured:
    return task_stages(task).run(device(EMULATED), RunRequest(candidate, float("inf")))


def edited(candidate: Built, change: Callable[[str], str]) -> Built:
    """Give a candidate whose text is changed."""
    assert candidate.gpu is not None
    code = candidate.gpu.code
    text = change(code.source.text)
    assert text != code.source.text
    other = type(code)(replace(code.source, text=text), code.arch)
    return replace(candidate, gpu=replace(candidate.gpu, code=other))


# -- building -----------------------------------------------------------------------------------------------------


def test_what_exceeds_a_limit_is_not_compiled() -> None:
    failed = built(transposition(1024), LARGE)
    assert failed.status is Status.LIMIT
    assert failed.error.startswith("limits: a block needs 1024 KiB of shared memory, sm_90a has 227 KiB for one")
    assert "A_shared (512, 512) float32, shared: 1024 KiB" in failed.error
    assert failed.steps and not failed.code_hash


def test_what_is_slow_for_sure_is_not_compiled() -> None:
    failed = built(transposition(64), CONFLICTS)
    assert (failed.status, failed.gpu) == (Status.SCREEN, None)
    assert failed.error == "main_kernel0: 32 turns of the banks for each load of A_shared, at most 2"


def test_screens_are_not_asked_where_everything_is_wanted() -> None:
    assert built(transposition(64), CONFLICTS, max_spills=None).status is Status.OK


def test_a_candidate_is_compiled_for_its_architecture() -> None:
    candidate = built(transposition(64, "cuda -arch=sm_80"), RIGHT, device="gpu")
    assert candidate.status is Status.OK and candidate.gpu is not None
    cubin = candidate.gpu.code.cubin
    assert cubin.arch == "sm_80" and cubin.code[:4] == b"\x7fELF"
    assert candidate.spills == 0


def test_the_hash_tells_launches_apart() -> None:
    task = transposition(64)
    hashes = [built(task, index).code_hash for index in (RIGHT, RIGHT_AGAIN)]
    assert hashes[0] == hashes[1] != built(transposition(128), RIGHT).code_hash


# -- checking -----------------------------------------------------------------------------------------------------


def test_a_right_candidate_is_right_in_all_orders_of_threads() -> None:
    task = transposition(64)
    result = measured(task, built(task, RIGHT))
    assert (result.status, result.max_rel_error) == (Status.OK, 0.0)
    assert len(result.seconds) == 1 and result.peak_gflops == 0.0


def test_a_missing_barrier_is_a_wrong_result() -> None:
    task = transposition(64)
    racy = edited(built(task, RIGHT), lambda text: text.replace("tw_barrier();", ""))
    result = measured(task, racy)
    assert result.status is Status.WRONG_RESULT and not result.seconds
    assert "main_kernel0" in result.error


def test_other_values_are_a_wrong_result() -> None:
    task = transposition(64)
    wrong = edited(built(task, RIGHT), lambda text: text.replace("tw_store(", "tw_store(1 + ", 1))
    assert measured(task, wrong).status in (Status.WRONG_RESULT, Status.CRASH)


def test_an_access_outside_is_a_crash() -> None:
    task = transposition(64)
    outside = edited(built(task, RIGHT), lambda text: text.replace("tw_load_const(", "tw_load_const(100000 + "))
    assert measured(task, outside).status is Status.CRASH


def test_candidates_are_compared_in_one_request() -> None:
    task = transposition(64)
    candidates = tuple(built(task, index, max_spills=None) for index in (CONFLICTS, RIGHT))
    results = task_stages(task).run(device(EMULATED), FinalRequest(candidates, 5, 0.1))
    assert [(r.index, r.status, len(r.seconds)) for r in results] == [(0, Status.OK, 1), (1, Status.OK, 1)]


# -- searching ----------------------------------------------------------------------------------------------------


def test_a_search_on_the_emulated_device_goes_to_the_end(tmp_path: Path) -> None:
    task = transposition(1024)
    with Records(tmp_path / "records.db") as records:
        result = Tuner(task, GridStrategy, FAST, records).tune(n_trial=8)
        stored = records.trials(task.key)
    assert {t.index: t.status for t in result.history} == dict(
        enumerate([Status.SCREEN, Status.OK, Status.LIMIT, Status.LIMIT] * 2)
    )
    assert [t.index for t in result.history if t.duplicate] == [RIGHT_AGAIN]
    assert result.best is not None and result.best.index in (RIGHT, RIGHT_AGAIN)
    assert {t.phase for t in stored} == {"search", "final"}


def test_the_model_search_skips_what_the_screens_refuse() -> None:
    task = transposition(1024)
    result = Tuner(task, XgbStrategy, FAST).tune(n_trial=8)
    assert task.config_space.figures is not None
    assert result.best is not None and result.best.index in (RIGHT, RIGHT_AGAIN)


def test_records_of_the_emulation_are_no_records_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    emulated = transposition(64).key
    assert emulated.machine == "emulated"
    assert emulated.target == "cuda -arch=sm_90a"
    assert transposition(64, device="gpu").key.machine not in ("emulated", "")


def test_a_search_without_a_gpu_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "probe", lambda: {"problem": "no_driver", "detail": "libcuda.so.1: not found"})
    with pytest.raises(DeviceError, match="there is no CUDA driver") as caught:
        Measurer(transposition(64, device="gpu"), FAST)
    assert "--device emulate" in str(caught.value)
