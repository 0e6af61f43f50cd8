"""The device language has two sets of bodies, one for GPUs and one for the emulator: they are the same language."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

from tilewright.codegen.cuda.preamble import names

from .wrappers import HOPPER, SM_80, kernel

HEADER = Path(str(files("tilewright.runtime.cuda.emulator") / "device.h"))


def test_both_define_the_same_names() -> None:
    header = HEADER.read_text()
    spelled = set(re.findall(r"\b(?:tw|TW)_\w*[A-Za-z0-9]\b", header))
    pasted = {f"tw_{name}" for name in re.findall(r"^TWE_MATHS_\d\((\w+)", header, re.MULTILINE)}
    assert spelled | pasted == names()


def test_what_compiles_for_gpus_compiles_for_the_emulator(tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    assert compiler is not None, "the emulator needs g++ or clang++"
    kernels = "".join(kernel(f"k{number}", wrapper) for number, wrapper in enumerate((*SM_80, *HOPPER)))
    source = tmp_path / "kernels.cpp"
    source.write_text(f'#include "{HEADER}"\n{kernels}')
    done = subprocess.run([compiler, "-std=c++17", "-fsyntax-only", source], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
