"""The commands for GPUs on a machine without one: what they say, what they build, what the emulation checks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tilewright.autotune import emulation
from tilewright.autotune.bundle.format import read_task, task_files
from tilewright.cli.main import main
from tilewright.runtime.cuda import availability

NO_GPU = {"problem": "no_driver", "detail": "libcuda.so.1: not there"}
SMALL = ["softmax", "--shape", "4,40", "--target", "cuda"]


@pytest.fixture(autouse=True)
def without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "probe", lambda: NO_GPU)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu") / "bundle"
    assert main([*SMALL, "--build-only", "-o", str(folder), "--trials", "3"]) == 0
    return folder


@pytest.mark.parametrize(
    "words", ["conv2d --target cuda", "conv2d --target cuda --layer resnet18.C6", "measure BUNDLE"]
)
def test_one_paragraph_says_what_is_missing_and_what_can_be_done(
    words: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words.replace("BUNDLE", f"{bundle} --db {tmp_path / 'r.db'}").split()
    assert main(given) == 1
    said = capsys.readouterr()
    paragraph = next(line for line in said.err.splitlines() if line.startswith("autotune: "))
    assert "there is no CUDA driver (libcuda.so.1: not there)" in paragraph
    assert "`--device emulate` runs the same source on the CPU" in paragraph
    assert "`--build-only -o bundle/` makes a bundle that `autotune measure bundle/` runs" in paragraph
    assert said.out == ""


def test_the_emulation_checks_candidates_to_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SMALL, "--device", "emulate", "--trials", "4", "--db", str(tmp_path / "r.db"), "--json", "-"]
    assert main(words) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["valid"] >= 1 and result["trials"] == 4 and result["best"]["max_rel_error"] < 1e-4
    assert (result["gpu_times"], result["device"], result["machine"]) == (False, "emulate", "CPU emulation (not a GPU)")
    assert "checked in 5 orders of its threads" in said.err and "say nothing of a GPU" in said.err


def test_a_shape_that_takes_too_long_to_emulate_is_refused_with_the_estimate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["matmul", "--shape", "4096,4096,4096", "--target", "cuda", "--device", "emulate"]
    assert main([*words, "--db", str(tmp_path / "r.db")]) == 1
    said = capsys.readouterr().err
    seconds = 5 * 2 * 4096**3 / emulation.FLOP_PER_S
    assert f"about {seconds:,.0f} s in the emulator" in said and "a --shape with" in said
    assert not (tmp_path / "r.db").exists()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_data_types_are_checked_too(dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SMALL, "--device", "emulate", "--trials", "1", "--db", str(tmp_path / "r.db"), "--json", "-"]
    assert main([*words, "--dtype", dtype]) == 0
    assert json.loads(capsys.readouterr().out)["dtype"] == dtype


def test_a_bundle_has_the_candidates_asked_for(bundle: Path) -> None:
    (task,) = map(read_task, task_files(bundle))
    assert len(task.candidates) == 3 and task.about.arch == "sm_90a"
    assert all(c.kernel.code.cubin.code[:4] == b"\x7fELF" for c in task.candidates)


def test_a_bundle_is_measured_and_its_records_merge(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there, here = tmp_path / "there.db", tmp_path / "here.db"
    words = ["measure", str(bundle), "--device", "emulate", "--db", str(there), "--json", str(tmp_path / "r.json")]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "3 candidates of 1 tasks in 240 s" in said.err and "CPU emulation (not a GPU)" in said.out
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["gpu_times"] is False and data["tasks"][0]["valid"] == 3
    assert main(["records", "merge", str(there), "--db", str(here)]) == 0
    assert main(["records", "merge", str(there), "--db", str(here)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert int(first.split()[0]) >= 3 and second.startswith("0 new trials")


def test_what_is_no_bundle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", str(tmp_path), "--device", "emulate", "--db", str(tmp_path / "r.db")]) == 1
    assert "is no bundle" in capsys.readouterr().err
