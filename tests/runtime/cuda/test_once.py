"""The process that NVIDIA's tools are started on, by the adapter on a driver whose kernels are emulated."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from tilewright.autotune.bundle.build import build_task
from tilewright.autotune.bundle.format import write_task
from tilewright.autotune.strategies.random import RandomStrategy
from tilewright.autotune.task import create

from .stand_in import calls, emulated_cubin, stand_in_device

TOOLS = Path(__file__).resolve().parents[3] / "tools"


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("gpu_check.once")


@pytest.mark.parametrize(("changed", "fault"), [(False, ""), (True, "wrong_result: largest relative error is ")])
def test_a_candidate_is_compared_with_the_reference_or_launched_twice(
    once: ModuleType, changed: bool, fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = build_task(create("softmax", (8, 64), "cuda"), tmp_path / "built", 1, strategy=RandomStrategy)
    (candidate,) = made.candidates
    code = candidate.kernel.code
    text = code.source.text.replace("tw_exp(", "tw_sqrt(") if changed else code.source.text
    cubin = emulated_cubin(replace(code.source, text=text), code.arch)
    code = type(code)(code.source, code.arch, cubin)
    path = write_task(
        tmp_path / "carried",
        replace(made, candidates=(replace(candidate, kernel=replace(candidate.kernel, code=code)),)),
    )
    item = once.Item(str(path), str(candidate.index), str(made.about))
    with stand_in_device(monkeypatch) as device:
        # A library's table of names does not follow when a name is overwritten: it is loaded as it was.
        found, kernels = once._run(device, item, 0, "check")
        assert found.startswith(fault) and bool(found) is changed and kernels == ["main_kernel0"]
        calls()
        assert once._run(device, item, 0, "launch") == ("", ["main_kernel0"])
        assert calls().count("cuLaunchKernel") == 2
