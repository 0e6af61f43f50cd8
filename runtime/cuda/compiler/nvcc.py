"""nvcc, the CUDA compiler of an installed toolkit: needs a host compiler, and takes longer than NVRTC."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from .refusal import Refusal
from .toolkit import program

TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Nvcc:
    """The program nvcc at `path`, and what it says of its version."""

    path: str
    identity: str

    def compile(self, text: str, arch: str, options: Sequence[str]) -> tuple[bytes, str]:
        """Give the cubin of CUDA C++ for `arch`, such as "sm_90a", and the log.  Raises Refusal with the log."""
        return self._compile(text, arch, ("--cubin", *options))

    def ptx(self, text: str, arch: str) -> str:
        """Give the PTX of CUDA C++ for `arch`.  Raises Refusal with the log."""
        return self._compile(text, arch, ("--ptx",))[0].decode()

    def _compile(self, text: str, arch: str, options: Sequence[str]) -> tuple[bytes, str]:
        with TemporaryDirectory(prefix="tilewright-") as folder:
            source, product = Path(folder, "kernel.cu"), Path(folder, "kernel.out")
            source.write_text(text, "utf-8")
            done = subprocess.run(
                [self.path, *self._flags(arch), *options, "-o", product, source],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
            )
            if done.returncode:
                raise Refusal(done.stdout + done.stderr)
            return product.read_bytes(), done.stdout + done.stderr

    @staticmethod
    def _flags(arch: str) -> list[str]:
        # Not -arch: for some outputs nvcc then adds a pass for the plain architecture, which lacks wgmma.
        code = f"arch={arch.replace('sm_', 'compute_')},code={arch}"
        return [f"--generate-code={code}", "--std=c++17", "--ptxas-options=-v"]


@cache
def find_nvcc() -> Nvcc | None:
    """Give the first nvcc that answers, or None."""
    path = program("nvcc")
    if path is None:
        return None
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S)
    version = re.search(r"\bV([\d.]+)", answer.stdout)
    return Nvcc(str(path), f"nvcc {version.group(1)}") if version else None
