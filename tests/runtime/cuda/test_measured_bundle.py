"""A bundle measured as on a GPU: by the adapter in a worker of its own, on a driver whose kernels are emulated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tilewright.autotune.bundle import measure
from tilewright.autotune.bundle.build import build_task
from tilewright.autotune.bundle.format import Candidate, write_task
from tilewright.autotune.records import Records
from tilewright.autotune.strategies.random import RandomStrategy
from tilewright.autotune.task import create
from tilewright.autotune.trial import Status

from .stand_in import emulated_cubin, install


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    monkeypatch.setattr(measure, "_require_gpu", lambda tasks: None)
    monkeypatch.setattr(measure, "machine_fingerprint", lambda target, device: "0123456789abcdef")


def emulated(candidate: Candidate, text: str | None = None) -> Candidate:
    """Give a candidate whose machine code is what the fake driver loads."""
    code = candidate.kernel.code
    source = code.source if text is None else replace(code.source, text=text)
    made = type(code)(code.source, code.arch, emulated_cubin(source, code.arch))
    return replace(candidate, kernel=replace(candidate.kernel, code=made))


def test_candidates_are_checked_timed_and_recorded_and_one_that_breaks_the_context_alone_is_lost(
    on_a_gpu: None, tmp_path: Path
) -> None:
    task = create("softmax", (8, 64), "cuda")
    made = build_task(task, tmp_path / "built", 3, strategy=RandomStrategy)
    first, second, third = made.candidates
    text = second.kernel.code.source.text
    outside = text.replace("tw_load_const(", "tw_load_const(100000000 + ", 1)
    assert outside != text
    changed = (emulated(first), replace(emulated(second, outside), code_hash="f" * 16), emulated(third))
    write_task(tmp_path / "bundle", replace(made, candidates=changed))
    with Records(tmp_path / "r.db") as records:
        (result,) = measure.measure_bundle(tmp_path / "bundle", "gpu", records, 300.0)
        (row,) = records.tasks()
        stored = records.trials(row.key)
    statuses = {t.index: t.status for t in result.trials}
    assert statuses == {first.index: Status.OK, second.index: Status.CRASH, third.index: Status.OK}
    assert {t.index for t in result.finals} == {first.index, third.index}
    assert row.key == replace(task.key, machine="0123456789abcdef")
    assert {t.phase for t in stored} == {"search", "final"}
    best = result.best
    assert best is not None and best.phase == "final" and best.gflops == task.flop / best.median_s / 1e9
    assert not result.vendor.seconds and result.vendor.error  # there is no PyTorch for it
    assert measure.as_json(result, True)["best"]["samples"] >= 5
