"""Fingerprints of compilers and machines, so that records of different ones are never mixed."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from ..ir.target import Target
from ..runtime.cuda.availability import probe
from ..runtime.host import machine

_FOLDERS = ("ir", "te", "schedule", "codegen")  # what decides the machine code of a configuration
EMULATED = "emulated"  # in place of a machine: times of this one say nothing about a GPU


def codegen_fingerprint(device: str = "") -> str:
    """Give a hash of everything that decides the machine code of a configuration.

    device  what runs kernels for a GPU: on a real one their compiler counts, too; "" for a processor
    Raises TargetError where there is no compiler for a GPU.
    """
    if not device or device == "emulate":
        return _own_fingerprint()
    from ..runtime.cuda.compiler.compile import find_compiler  # most programs need none of it

    return hashlib.sha256(f"{_own_fingerprint()}\n{find_compiler().identity}".encode()).hexdigest()[:12]


@cache
def _own_fingerprint() -> str:
    """Give a hash of the source text of everything between an expression and its machine code."""
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for folder in _FOLDERS:
        for path in sorted(p for form in ("*.py", "*.cuh") for p in (package / folder).rglob(form)):
            digest.update(path.relative_to(package).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def machine_fingerprint(target: Target, device: str = "") -> str:
    """Give what tells apart the machines that measure kernels for `target`: "emulated", or 16 hexadecimal digits.

    device  what runs kernels for a GPU
    """
    if target.kind != "cuda":
        return machine().key
    if device == "emulate":
        return EMULATED
    found = probe()
    about = "\n".join(str(found.get(name)) for name in ("name", "arch", "memory_bytes", "driver"))
    return hashlib.sha256(about.encode()).hexdigest()[:16]
