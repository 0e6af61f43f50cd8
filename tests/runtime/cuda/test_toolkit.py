"""Where compilers and programs are found, and nvcc with a program in its place that records how it is called."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tilewright.ir.settings import Settings
from tilewright.runtime.cuda.compiler import toolkit
from tilewright.runtime.cuda.compiler.nvcc import Nvcc, find_nvcc
from tilewright.runtime.cuda.compiler.nvrtc import find_nvrtc
from tilewright.runtime.cuda.compiler.refusal import Refusal

NVCC = f"""#!{sys.executable}
import sys
from pathlib import Path

if "--version" in sys.argv:
    print("Cuda compilation tools, release 13.0, V13.0.88")
else:
    text = Path(sys.argv[-1]).read_text()
    if "nonsense" in text:
        print("kernel.cu(1): error: nonsense", file=sys.stderr)
        sys.exit(2)
    Path(sys.argv[sys.argv.index("-o") + 1]).write_text(text)
    print(*sys.argv[1:])
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A toolkit's folder that the settings name, with nvcc in it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").write_text(NVCC)
    (tmp_path / "bin" / "nvcc").chmod(0o755)
    monkeypatch.setattr(toolkit, "settings", lambda: Settings(cuda_home=str(tmp_path)))
    return tmp_path


def test_the_folder_of_the_settings_comes_first(home: Path) -> None:
    assert next(iter(toolkit.toolkits())) == home
    assert toolkit.program("nvcc") == home / "bin" / "nvcc"


def test_a_library_of_the_settings_comes_first_and_its_newest_version(home: Path) -> None:
    (home / "lib64").mkdir()
    for version in ("12", "13", "9.2"):
        (home / "lib64" / f"libnvrtc.so.{version}").touch()
    found = [path.name for path in toolkit.library_files("nvrtc") if path.parent == home / "lib64"]
    assert found == ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.9.2"]
    assert next(iter(toolkit.library_files("nvrtc"))) == home / "lib64" / "libnvrtc.so.13"


def test_a_file_that_cannot_be_loaded_is_passed_over(home: Path) -> None:
    (home / "lib").mkdir()
    (home / "lib" / "libnvrtc.so.13").write_text("no library")
    found = find_nvrtc.__wrapped__()
    assert found is not None and not found.path.startswith(str(home))


def test_wheels_are_found() -> None:
    assert any(path.name.startswith("libnvrtc.so") for path in toolkit.library_files("nvrtc"))
    assert toolkit.program("nvdisasm") is not None


def test_a_program_that_is_nowhere_is_none() -> None:
    assert toolkit.program("a-program-that-is-nowhere") is None


def test_nvcc_compiles_for_the_architecture_alone(home: Path) -> None:
    nvcc = find_nvcc.__wrapped__()
    assert nvcc == Nvcc(str(home / "bin" / "nvcc"), "nvcc 13.0.88")
    cubin, log = nvcc.compile("the text", "sm_90a", ["-DTW_BOUNDED_SPIN=9"])
    assert cubin == b"the text"
    flags = log.split()
    assert "--generate-code=arch=compute_90a,code=sm_90a" in flags and "--cubin" in flags
    assert "--ptxas-options=-v" in flags and "-DTW_BOUNDED_SPIN=9" in flags


def test_what_nvcc_refuses_comes_with_its_log(home: Path) -> None:
    nvcc = find_nvcc.__wrapped__()
    assert nvcc is not None
    with pytest.raises(Refusal, match=r"kernel\.cu\(1\): error: nonsense"):
        nvcc.compile("nonsense", "sm_80", [])
