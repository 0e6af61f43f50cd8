"""The C++ compiler of this machine, and the folder that keeps what it made."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ....ir.errors import CompileError, TargetError
from ....ir.settings import settings
from ...host import host_target
from ..compiler.cubin_cache import CubinCache

SOURCES = Path(__file__).resolve().parent
COMPILERS = ("g++", "clang++", "c++")
LOG_LINES = 20  # of the compiler's log, in an error

_KILLED = re.compile(r"(\w+) signal terminated program (\w+)")  # as g++ tells of a program that it started


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A C++ compiler, and the folder of the shared objects that it made, which are found by their content."""

    compiler: str
    version: str
    folder: Path

    def build(self, texts: Sequence[Path | str], options: Sequence[str], key: Sequence[str] = ()) -> Path:
        """Give the shared object of one text, or of several files; compiled unless it is there already.

        key  what else decides the result
        Raises CompileError for text that the compiler refuses.
        """
        contents = [text if type(text) is str else Path(text).read_text() for text in texts]
        parts = json.dumps([self.version, *options, *key, *contents])
        digest = hashlib.sha256(parts.encode()).hexdigest()
        path = self.folder / digest[:2] / f"{digest[2:]}.so"
        if path.exists():
            with contextlib.suppress(OSError):
                os.utime(path)  # the time of the last use
            return path
        return self._compile(texts, options, path)

    def _compile(self, texts: Sequence[Path | str], options: Sequence[str], path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        os.close(handle)
        files = [str(text) for text in texts if type(text) is not str]
        command = [self.compiler, *options, "-o", name, *files, *([] if files else ["-x", "c++", "-"])]
        done = subprocess.run(
            command, input=None if files else str(texts[0]), capture_output=True, text=True, check=False
        )
        if done.returncode:
            os.unlink(name)
            raise _failure(self.compiler, done)
        os.replace(name, path)
        if path.parent.name == "00":  # about once in 256 entries
            CubinCache(self.folder, settings().cache_mb << 20).trim()
        return path


def _failure(compiler: str, done: subprocess.CompletedProcess[str]) -> CompileError:
    """Give what a compiler's end means: a text that it refuses, or a signal that ended it or a program of it."""
    log = "\n".join(done.stderr.splitlines()[:LOG_LINES])
    if done.returncode < 0:
        fact = f"{compiler} was ended by signal {-done.returncode} ({signal.strsignal(-done.returncode)})"
    elif killed := _KILLED.search(done.stderr):
        fact = f"{killed[2]} of {compiler} was ended by a signal ({killed[1]})"
    else:
        return CompileError("emulate", f"{compiler} refuses the text", where=log, advice="what its log says")
    return CompileError("emulate", fact, where=log, advice="more memory, or fewer processes at a time")


@cache
def toolchain() -> Toolchain:
    """Give the compiler of this machine.  Raises TargetError where there is none."""
    for name in COMPILERS:
        if found := shutil.which(name):
            version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
            return Toolchain(found, version, _folder())
    raise TargetError(
        "emulate",
        f"there is no C++ compiler: none of {', '.join(COMPILERS)} is on PATH",
        advice="apt install g++ (or clang); kernels compile to cubins without one",
    )


def _folder() -> Path:
    """Give the folder of the cache, or one that lasts as long as this process where that cannot be written."""
    folder = Path(settings().cache).expanduser() / "emulator"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="tilewright-emulator-"))


def runtime_library() -> Path:
    """Give the shared object of the runtime: fibers, memory, engines; it runs on this processor alone."""
    host = host_target()
    sources = sorted(SOURCES.glob("*.cpp"))
    headers = [(SOURCES / "machine.h").read_text()]
    tuned = ["-march=native"] if host.triple.startswith("x86_64") else []
    options = [
        "-std=c++17", "-O3", *tuned, "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-exceptions",
        "-fno-rtti", "-U_FORTIFY_SOURCE", "-fno-strict-aliasing", "-w",
    ]  # fmt: skip
    return toolchain().build(sources, options, (host.cpu, host.features, *headers))


def kernel_library(text: str) -> Path:
    """Give the shared object of kernels in the device language; `text` holds no include."""
    header = SOURCES / "device.h"
    fused = ["-mfma"] if "+fma," in f"{host_target().features}," else []  # or tw_fma is a slow call
    options = [
        "-std=c++17", "-O1", *fused, "-ffp-contract=off", "-fno-strict-aliasing", "-fno-math-errno", "-fwrapv",
        "-fPIC", "-shared", "-nostdlib", "-U_FORTIFY_SOURCE", "-w", "-include", str(header), "-lm",
    ]  # fmt: skip
    return toolchain().build([f'#line 1 "kernel"\n{text}'], options, (header.read_text(),))
