"""What the end of the emulator's C++ compiler is taken for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilewright.ir.errors import CompileError
from tilewright.runtime.cuda.emulator.toolchain import Toolchain


def failure(tmp_path: Path, script: str) -> CompileError:
    """Give the error of a compiler that is a shell script."""
    compiler = tmp_path / "g++"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    with pytest.raises(CompileError) as caught:
        Toolchain(str(compiler), "1", tmp_path / "cache").build(["int x;"], [])
    assert not list(tmp_path.glob("cache/*/*")), "what was begun is removed"
    return caught.value


def test_a_compiler_that_a_signal_ends_has_refused_nothing(tmp_path: Path) -> None:
    error = failure(tmp_path, "kill -9 $$")
    assert error.fact == f"{tmp_path}/g++ was ended by signal 9 (Killed)"


def test_a_program_of_the_compiler_that_a_signal_ends_has_refused_nothing(tmp_path: Path) -> None:
    error = failure(tmp_path, "echo 'g++: fatal error: Killed signal terminated program cc1plus' >&2; exit 1")
    assert error.fact == f"cc1plus of {tmp_path}/g++ was ended by a signal (Killed)"


def test_a_text_that_is_refused_is_told_with_the_log(tmp_path: Path) -> None:
    error = failure(tmp_path, "echo 'kernel:1: error: no' >&2; exit 1")
    assert error.fact == f"{tmp_path}/g++ refuses the text" and "kernel:1: error: no" in str(error)
