"""What is said to be missing, for each thing that may be, and what is said to work anyway."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tilewright.ir.errors import ArgumentError, DeviceError
from tilewright.runtime.cuda import availability as module
from tilewright.runtime.cuda import devices
from tilewright.runtime.cuda.architecture import fullest, runs_on
from tilewright.runtime.cuda.availability import Problem, diagnose, probe

from .stand_in import HERE, compiled, install

H200 = {"name": "NVIDIA H200", "arch": "sm_90", "memory_bytes": 139 << 30, "driver": "13.0"}


def said(problem: str = "", detail: str = "", arch: str = "sm_90a", pycuda: bool = True, compiler: str = "NVRTC 13.0",
         emulator: str = "g++", gpu: dict | None = None) -> str:  # fmt: skip
    found = {"problem": problem, "detail": detail, **(gpu or {})}
    return diagnose(arch, found, pycuda, compiler, emulator).paragraph()


# -- what is said -----------------------------------------------------------------------------------------------------


def test_with_everything_there_nothing_is_missing() -> None:
    here = diagnose("sm_90a", {"problem": "", "detail": "", **H200}, True, "NVRTC 13.0", "g++")
    assert here.runs and here.problem is Problem.NONE
    assert here.paragraph().startswith("Kernels for sm_90a run on NVIDIA H200 (sm_90, 139 GiB, CUDA 13.0 driver).")


MISSING = {
    "no driver": (
        {"problem": "no_driver", "detail": "libcuda.so.1: cannot open shared object file"},
        ["there is no CUDA driver (libcuda.so.1: cannot open shared object file).", "an NVIDIA GPU with its driver"],
    ),
    "no driver, no PyCUDA": (
        {"problem": "no_driver", "detail": "libcuda.so.1", "pycuda": False},
        ["there is no CUDA driver (libcuda.so.1), and PyCUDA is not installed.", "tools/build_pycuda_wheel.py"],
    ),
    "no device": (
        {"problem": "no_device", "detail": "no CUDA-capable device is detected (status 100)"},
        ["the CUDA driver finds no GPU (no CUDA-capable device is detected (status 100)).", "CUDA_VISIBLE_DEVICES"],
    ),
    "no PyCUDA": (
        {"problem": "no_pycuda", "detail": "No module named 'pycuda'", "pycuda": False, "gpu": H200},
        ["PyCUDA is not installed; the GPU is NVIDIA H200", "pip install 'tilewright[cuda]'"],
    ),
    "PyCUDA does not load": (
        {"problem": "no_pycuda", "detail": "undefined symbol: cuArrayCreate_v2", "gpu": H200},
        ["PyCUDA does not load (undefined symbol: cuArrayCreate_v2)", "tools/build_pycuda_wheel.py"],
    ),
    "older GPU": (
        {"gpu": H200 | {"name": "NVIDIA A100", "arch": "sm_80"}},
        ["No kernel for sm_90a can run on a GPU here: the GPU is NVIDIA A100 (sm_80", "a target that this GPU runs"],
    ),
    "driver hangs": ({"problem": "hangs", "detail": "no answer within 60 s"}, ["does not answer", "nvidia-smi"]),
}


@pytest.mark.parametrize("case", MISSING)
def test_the_paragraph_names_what_is_missing_and_what_works_here(case: str) -> None:
    given, sentences = MISSING[case]
    text = said(**given)
    for sentence in sentences:
        assert sentence in text
    assert "\n" not in text
    assert "compiled for sm_90a by NVRTC 13.0" in text and "--build-only" in text
    assert "`--device emulate` runs the same source on the CPU, compiled by g++" in text


def test_without_a_compiler_it_says_how_to_get_one_and_promises_no_bundle() -> None:
    text = said("no_driver", "libcuda.so.1", compiler="")
    assert "neither NVRTC nor nvcc (pip install 'nvidia-cuda-nvrtc==13.0.*'" in text
    assert "--build-only" not in text and "--device emulate" in text


def test_without_a_host_compiler_it_promises_no_emulation() -> None:
    text = said("no_driver", "libcuda.so.1", emulator="")
    assert "no C++ compiler (apt install g++)" in text
    assert "--device emulate" not in text


@pytest.mark.parametrize(
    ("code", "device", "answer"),
    [
        ("sm_80", "sm_80", True),
        ("sm_80", "sm_86", True),
        ("sm_86", "sm_80", False),
        ("sm_80", "sm_90", False),
        ("sm_90a", "sm_90", True),
        ("sm_90", "sm_90", True),
        ("sm_100a", "sm_103", False),
        ("sm_100", "sm_103", True),
        ("sm_120", "sm_90", False),
    ],
)
def test_code_runs_on_later_devices_of_the_same_generation(code: str, device: str, answer: bool) -> None:
    assert runs_on(code, device) is answer


def test_code_for_a_device_uses_all_that_it_has() -> None:
    assert (fullest("sm_90"), fullest("sm_86")) == ("sm_90a", "sm_86")


# -- what is found ----------------------------------------------------------------------------------------------------


def probed(folder: Path | None, fake: str = "") -> dict:
    """Run the probe as a program, with the libraries of `folder` first."""
    environment = {"PATH": os.defpath, "LD_LIBRARY_PATH": str(folder or ""), "FAKE_CUDA": fake}
    script = Path(module.__file__).with_name("probe.py")
    done = subprocess.run(
        [sys.executable, "-S", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def driver_folder() -> Path:
    return compiled(HERE / "fake_driver.c", "libcuda.so.1").parent


def test_the_probe_asks_the_driver_for_its_gpu_and_then_for_pycuda() -> None:
    found = probed(driver_folder(), "sm_86")  # -S: without site-packages, so without PyCUDA
    assert (found["problem"], found["detail"]) == ("no_pycuda", "No module named 'pycuda'")
    assert (found["name"], found["arch"]) == ("CPU emulation (not a GPU)", "sm_86")
    assert (found["memory_bytes"], found["driver"]) == (1 << 30, "13.0")


def test_the_probe_quotes_a_driver_that_finds_no_gpu() -> None:
    found = probed(driver_folder(), "no_device")
    assert (found["problem"], found["detail"]) == ("no_device", "no CUDA-capable device is detected (status 100)")


def test_the_probe_says_what_loader_says_of_a_library_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.1").write_text("")
    found = probed(tmp_path)
    assert found["problem"] == "no_driver" and "file too short" in found["detail"]


@pytest.mark.parametrize(
    ("command", "detail"),
    [(["sleep", "10"], "no answer within 0"), (["sh", "-c", "kill -SEGV $$"], "ended with status -11")],
)
def test_a_driver_that_hangs_or_crashes_is_told(
    command: list[str], detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = subprocess.run
    monkeypatch.setattr(module, "PROBE_LIMIT_S", 0.3)
    monkeypatch.setattr(module.subprocess, "run", lambda _, **options: run(command, **options))
    found = probe.__wrapped__()
    assert found["problem"] == "hangs" and detail in found["detail"]


# -- devices by name --------------------------------------------------------------------------------------------------


@pytest.fixture
def no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_open", {})


def test_a_machine_without_a_gpu_says_so_where_one_is_asked_for(
    no_devices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setattr(module, "probe", lambda: {"problem": "no_driver", "detail": "libcuda.so.1: not here"})
    with pytest.raises(DeviceError, match=r"there is no CUDA driver \(libcuda.so.1: not here\)") as refused:
        devices.device("gpu")
    assert "emulate" in refused.value.advice


def test_a_gpu_that_is_there_but_refuses_is_quoted(no_devices: None, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    monkeypatch.setattr(module, "probe", lambda: {"problem": "", "detail": "", **H200})
    with pytest.raises(DeviceError, match=r"GPU 1 cannot be used: .*cuDeviceGet failed"):
        devices.device("gpu:1")


def test_a_device_is_made_once(no_devices: None, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    made = devices.device()
    try:
        assert devices.device("gpu") is made and devices.device("gpu:0") is made
        assert devices.has_context()
    finally:
        made.close()


@pytest.mark.parametrize("name", ["cpu", "gpu:", "gpu:x", "emulate:1", ""])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(f"there is no device {name!r}")):
        devices.device(name)
