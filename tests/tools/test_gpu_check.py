"""The check that is carried to a machine with a GPU, run on the emulator: little of everything, and its reports."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tilewright.autotune.template import template_names
from tilewright.codegen.cuda.preamble import names
from tilewright.runtime.cuda.emulated_device import EmulatedDevice

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def part(name: str) -> ModuleType:
    """Give a file of tools/gpu_check as a module."""
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module(f"gpu_check.{name}")
    finally:
        sys.path.remove(str(TOOLS))


def check(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gpu_check", *map(str, words)]
    return subprocess.run(command, cwd=TOOLS, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("carried")
    built = check("build", "--quick", "--folder", folder)
    assert built.returncode == 0, built.stderr
    assert json.loads((folder / "templates-unbuilt.json").read_text()) == []
    return folder


def test_the_whole_check_passes_on_the_emulator(carried: Path, tmp_path: Path) -> None:
    done = check("all", "--quick", "--device", "emulate", "--folder", carried, "--output", tmp_path / "results")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "results" / "table.md").read_text()
    heads = re.findall(r"^## (\w+): (passed|not run)", page, re.MULTILINE)
    passed = [name for name, state in heads if state == "passed"]
    assert "CPU emulation, not a GPU" in page and passed == ["facts", "wrappers", "templates", "tuned", "sanitizer"]
    assert "**Not run: counters: an emulation has no counters**" in page
    for phase in part("report").PHASES:
        data = json.loads((tmp_path / "results" / f"{phase}.json").read_text())
        assert data["gpu_times"] is False
    assert not re.search(r"GFLOP/s|GB/s", page)


def test_without_a_gpu_it_says_so(carried: Path) -> None:
    done = check("facts", "--folder", carried)
    assert done.returncode == 2 and "No kernel for sm_90a can run on a GPU here" in done.stderr


def test_the_launcher_runs_a_phase_where_it_lies(carried: Path, tmp_path: Path) -> None:
    (carried / "packages").mkdir(exist_ok=True)  # as if the wheels were installed
    words = ["facts", "--device", "emulate", "--output", str(tmp_path)]
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = subprocess.run(["sh", carried / "check.sh", *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "facts.json").exists()


def test_every_name_of_the_device_language_has_a_case() -> None:
    text = "".join(case.text for _, cases in part("wrappers").groups() for case in cases)
    assert names() - set(re.findall(r"\b(?:tw|TW)_\w+", text)) == {"TW_DEVICE"}


def test_a_case_whose_values_differ_is_told_with_its_place() -> None:
    wrappers = part("wrappers")
    (case,) = [c for _, cases in wrappers.groups() for c in cases if c.name == "floor_float32"]
    device = EmulatedDevice()
    (kernel,) = device.load(wrappers.CudaCode(wrappers.source_of([case]), "sm_90a"))
    assert wrappers.run_case(device, kernel, case) == ""
    right = case.expected["y"].copy()
    right[77] += 1
    fault = wrappers.run_case(device, kernel, replace(case, expected={"y": right}))
    assert fault.startswith("1 of 1024 elements: y[77] is ")


def test_tolerances_are_relative_and_special_values_must_be_equal() -> None:
    near = part("case")._near
    right = np.array([1.0, 0.0, np.inf, np.nan, 2.0], np.float32)
    found = np.array([1.0 + 1e-6, 0.0, np.inf, np.nan, 2.1], np.float32)
    assert near(found, right, 2e-6).tolist() == [True, True, True, True, False]
    assert near(np.full(5, np.nan, np.float32), right, 1.0).tolist() == [False, False, False, True, False]


def test_every_template_has_shapes_of_its_own() -> None:
    bundles, workloads = part("bundles"), part("workloads")
    registered = {name for name in template_names() if not name.startswith("test.")}
    assert registered == set(workloads.SMALL) | bundles.OF_ANY_OPERATOR | bundles.OF_PROCESSORS
    assert all(len(shapes) >= 6 for shapes in workloads.SMALL.values())
    assert set(workloads.LARGE) <= set(workloads.SMALL)
    assert len(workloads.RESNET50) == len(set(workloads.RESNET50)) == 23


def test_what_was_not_built_or_is_wrong_fails_the_check() -> None:
    report = part("report")
    task = {"failures": [], "skipped": "", "valid": 1}
    fine = {"tasks": [task], "unbuilt": [], "unchecked": []}
    assert report.passed("templates", fine)
    assert not report.passed("templates", fine | {"unbuilt": ["conv2d"]})
    assert not report.passed("templates", fine | {"unchecked": ["winograd"]})
    assert not report.passed("tuned", fine | {"tasks": [task | {"failures": [{}]}]})
    assert not report.passed("tuned", fine | {"tasks": []})
    assert not report.passed("wrappers", {"cases": 3, "failed": [{}]})
