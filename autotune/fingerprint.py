"""A fingerprint of the compiler, so that records of different compilers are never mixed."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_FOLDERS = ("ir", "te", "schedule", "codegen")  # what decides the machine code of a configuration


@cache
def codegen_fingerprint() -> str:
    """Give a hash of the source text of everything between an expression and its machine code."""
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for folder in _FOLDERS:
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
