"""What this machine can do with CUDA kernels: run, emulate or only compile them; and what is missing for more."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...ir.errors import TargetError
from .architecture import DEFAULT_ARCH, runs_on
from .compiler.compile import find_compiler
from .emulator.toolchain import toolchain

PROBE_LIMIT_S = 60.0  # the first call of a driver may take some seconds on a machine with many GPUs


class Problem(Enum):
    """The first thing that keeps kernels from running on a GPU here."""

    NONE = ""
    NO_DRIVER = "no_driver"
    NO_DEVICE = "no_device"
    NO_PYCUDA = "no_pycuda"
    OTHER_ARCH = "other_arch"  # there is a GPU, which does not run code for the target
    HANGS = "hangs"  # the driver does not answer


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that the driver lists."""

    name: str
    arch: str
    memory_bytes: int
    driver: str

    def __str__(self) -> str:
        return f"{self.name} ({self.arch}, {self.memory_bytes / 2**30:.0f} GiB, CUDA {self.driver} driver)"


@dataclass(frozen=True, slots=True)
class Availability:
    """What there is for kernels of one architecture.

    detail    the loader's, driver's or importer's own words on the problem
    pycuda    whether PyCUDA is installed, be it of use or not
    compiler  what makes cubins, such as "NVRTC 13.0"; "" for nothing
    emulator  the C++ compiler of the emulation; "" for none
    """

    arch: str
    problem: Problem
    detail: str
    gpu: Gpu | None
    pycuda: bool
    compiler: str
    emulator: str

    @property
    def runs(self) -> bool:
        """Tell whether kernels run on a GPU here."""
        return self.problem is Problem.NONE

    def paragraph(self) -> str:
        """Give in one paragraph what is there, what is missing and how to get it, and what works here anyway."""
        return " ".join((*self._gpu_sentences(), *self._compiler_sentences(), *self._emulator_sentences()))

    def _gpu_sentences(self) -> list[str]:
        if self.runs:
            return [f"Kernels for {self.arch} run on {self.gpu}."]
        return [f"No kernel for {self.arch} can run on a GPU here: {self._missing()}", _REMEDIES[self.problem]]

    def _missing(self) -> str:
        too = "" if self.pycuda else ", and PyCUDA is not installed"
        match self.problem:
            case Problem.NO_DRIVER:
                return f"there is no CUDA driver ({self.detail}){too}."
            case Problem.NO_DEVICE:
                return f"the CUDA driver finds no GPU ({self.detail}){too}."
            case Problem.NO_PYCUDA if self.pycuda:
                return f"PyCUDA does not load ({self.detail}); the GPU is {self.gpu}."
            case Problem.NO_PYCUDA:
                return f"PyCUDA is not installed; the GPU is {self.gpu}."
            case Problem.OTHER_ARCH:
                return f"the GPU is {self.gpu}."
            case _:
                return f"the CUDA driver does not answer ({self.detail})."

    def _compiler_sentences(self) -> list[str]:
        if not self.compiler:
            return [
                "Kernels cannot be compiled either: there is neither NVRTC nor nvcc "
                "(pip install 'nvidia-cuda-nvrtc==13.0.*'; it needs no GPU and no driver)."
            ]
        works = f"Kernels are compiled for {self.arch} by {self.compiler}, which needs no GPU"
        if self.runs:
            return [f"{works}."]
        return [
            f"{works}: their registers, spills and instructions are checked here, "
            "and `--build-only -o bundle/` makes a bundle that `autotune measure bundle/` runs on a machine with a GPU."
        ]

    def _emulator_sentences(self) -> list[str]:
        if not self.emulator:
            return ["They cannot be emulated on the CPU: there is no C++ compiler (apt install g++)."]
        return [
            f"`--device emulate` runs the same source on the CPU, compiled by {self.emulator}, "
            "and checks every result; its times say nothing about a GPU."
        ]


_WHEEL = "(pip install 'tilewright[cuda]' where a CUDA toolkit is installed, or a wheel of tools/build_pycuda_wheel.py)"
_REMEDIES = {
    Problem.NO_DRIVER: f"It takes an NVIDIA GPU with its driver, libcuda.so.1, and PyCUDA {_WHEEL}.",
    Problem.NO_DEVICE: f"It takes an NVIDIA GPU that this process may use (CUDA_VISIBLE_DEVICES), and PyCUDA {_WHEEL}.",
    Problem.NO_PYCUDA: f"It takes PyCUDA {_WHEEL}.",
    Problem.OTHER_ARCH: "It takes a target that this GPU runs.",
    Problem.HANGS: "It takes a driver that works: see whether nvidia-smi answers.",
}


def availability(arch: str = DEFAULT_ARCH) -> Availability:
    """Give what this machine can do with kernels for `arch`, such as "sm_90a"; the first call takes some 0.1 s."""
    return diagnose(arch, probe(), find_spec("pycuda") is not None, _compiler(), _host_compiler())


def diagnose(arch: str, found: dict[str, Any], pycuda: bool, compiler: str, emulator: str) -> Availability:
    """Give the availability that the findings mean; `found` is what probe.py prints."""
    problem = Problem(found["problem"])
    gpu = Gpu(found["name"], found["arch"], found["memory_bytes"], found["driver"]) if "name" in found else None
    if problem is Problem.NONE and gpu is not None and not runs_on(arch, gpu.arch):
        problem = Problem.OTHER_ARCH
    return Availability(arch, problem, found["detail"], gpu, pycuda, compiler, emulator)


@cache
def probe() -> dict[str, Any]:
    """Give what probe.py finds, in a process of its own: this one may fork workers that use the driver afterwards."""
    command = [sys.executable, str(Path(__file__).with_name("probe.py"))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_LIMIT_S, check=True)
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"problem": Problem.HANGS.value, "detail": f"no answer within {PROBE_LIMIT_S:.0f} s"}
    except subprocess.CalledProcessError as error:
        return {"problem": Problem.HANGS.value, "detail": f"a call of it ended with status {error.returncode}"}


def _compiler() -> str:
    try:
        return find_compiler().identity
    except TargetError:
        return ""


def _host_compiler() -> str:
    try:
        found = toolchain()
    except TargetError:
        return ""
    first, *_ = found.version.splitlines() or [""]
    return " ".join((Path(found.compiler).name, *first.split()[-1:]))
