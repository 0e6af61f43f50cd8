"""The tool that builds PyCUDA's wheel: its stub of the driver, and what it finds wrong with a wheel."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
CUDA_H = """
#define cuMemAlloc cuMemAlloc_v2
CUresult CUDAAPI cuInit(unsigned int Flags);
CUresult CUDAAPI cuMemAlloc(CUdeviceptr *dptr, size_t bytesize);
CUresult CUDAAPI cuGetErrorString(CUresult error, const char **pStr);
typedef void (*CUstreamCallback)(CUstream hStream);
"""
PROFILER_H = "CUresult cuProfilerInitialize(const char *configFile);\n"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_pycuda_wheel", ROOT / "tools" / "build_pycuda_wheel.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def include(tmp_path: Path) -> Path:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "cuda.h").write_text(CUDA_H)
    (tmp_path / "include" / "cudaProfiler.h").write_text(PROFILER_H)
    return tmp_path / "include"


def test_functions_are_found_in_both_headers_and_in_each_version(tool: ModuleType, include: Path) -> None:
    names = ["cuGetErrorString", "cuInit", "cuMemAlloc", "cuMemAlloc_v2", "cuProfilerInitialize"]
    assert tool.driver_functions(include) == names


def test_the_stub_finds_no_gpu_and_has_words_for_it(tool: ModuleType, include: Path, tmp_path: Path) -> None:
    stub = ctypes.CDLL(str(tool.build_stub(include, tmp_path / "stub")))
    assert stub.cuInit(0) == 100 == stub.cuMemAlloc_v2(None, 8) == stub.cuProfilerInitialize(None)
    text = ctypes.c_char_p()
    assert stub.cuGetErrorString(100, ctypes.byref(text)) == 0
    assert text.value == b"no CUDA device (stub)"
    assert (tmp_path / "stub" / "libcuda.so").resolve().name == "libcuda.so.1"


def wheel_with(tmp_path: Path, tool: ModuleType, include: Path, calls_driver: bool) -> Path:
    """Give a wheel whose module is linked with the stub, and calls it or not."""
    tool.build_stub(include, tmp_path / "stub")
    (tmp_path / "module.c").write_text(
        f"int cuInit(int); int f(void) {{ return {'cuInit(0)' if calls_driver else 0}; }}"
    )
    command = ["gcc", "-shared", "-fPIC", "-Wl,--as-needed", tmp_path / "module.c", "-o", tmp_path / "_driver.so"]
    subprocess.run([*command, f"-L{tmp_path}/stub", "-lcuda"], check=True)
    with zipfile.ZipFile(tmp_path / "pycuda.whl", "w") as wheel:
        wheel.write(tmp_path / "_driver.so", "pycuda/_driver.cpython-312.so")
    return tmp_path / "pycuda.whl"


def test_a_module_that_needs_the_driver_is_right(tool: ModuleType, include: Path, tmp_path: Path) -> None:
    assert list(tool.faults(wheel_with(tmp_path, tool, include, calls_driver=True), tmp_path)) == []


def test_a_module_that_forgot_the_driver_is_found(tool: ModuleType, include: Path, tmp_path: Path) -> None:
    (fault,) = tool.faults(wheel_with(tmp_path, tool, include, calls_driver=False), tmp_path)
    assert "_driver.cpython-312.so does not need libcuda.so.1" in fault


def test_a_wheel_without_the_module_is_found(tool: ModuleType, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pycuda.whl", "w") as wheel:
        wheel.writestr("pycuda/__init__.py", "")
    assert list(tool.faults(tmp_path / "pycuda.whl", tmp_path)) == ["pycuda.whl has no _driver module"]


def test_without_headers_the_places_looked_in_are_named(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no cuda.h and cudaProfiler.h below .*--toolkit"):
        tool.find_toolkit(str(tmp_path))
