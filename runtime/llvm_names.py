"""Names that LLVM knows: it ignores what it does not know, and some that it ignores end the process later."""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..ir.errors import TargetError

ARCHITECTURES = ("x86_64", "i686", "aarch64", "arm", "riscv64", "powerpc64le", "s390x", "wasm32")  # common ones
_HELP_LIMIT_S = 60.0


class Names(NamedTuple):
    """What LLVM knows of an architecture: processors and features."""

    processors: frozenset[str]
    features: frozenset[str]


@cache
def refuse_unknown(triple: str, cpu: str, features: str) -> None:
    """Raise TargetError for names of which LLVM knows nothing; blank ones are left out."""
    architecture = triple.split("-")[0]
    names = _known(architecture)
    if names is None:
        near = difflib.get_close_matches(architecture, ARCHITECTURES, n=3, cutoff=0.4)
        advice = f"an architecture first, such as {', '.join(near or ARCHITECTURES)}, as in x86_64-unknown-linux-gnu"
        raise TargetError("target", f"-mtriple={triple} begins with no architecture that LLVM knows", advice=advice)
    about = f"that LLVM knows for {architecture}"
    if cpu and cpu not in names.processors:
        fact = f"-mcpu={cpu} is no processor {about}"
        raise TargetError("target", fact, advice=_like(cpu, names.processors))
    for word in filter(None, features.split(",")):
        if word[0] not in "+-":
            raise TargetError("target", f"{word} in -mattr has no sign", advice=f"+{word} or -{word}")
        if word[1:] not in names.features:
            fact = f"{word} in -mattr is no feature {about}"
            raise TargetError("target", fact, advice=_like(word[1:], names.features))


def _like(word: str, known: Collection[str]) -> str:
    """Give the known words most like one; all where none is like it."""
    near = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.7)
    return " or ".join(near) or f"one of {', '.join(sorted(known))}"


@cache
def _known(architecture: str) -> Names | None:
    """Give what LLVM knows, None for an architecture that it has no code for."""
    command = [sys.executable, str(Path(__file__).with_name("llvm_help.py")), architecture]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_HELP_LIMIT_S, check=False)
    if done.returncode:
        return None
    processors, _, features = done.stderr.partition("Available features")
    listed = (frozenset(re.findall(r"^  (\S+) +- ", part, re.MULTILINE)) for part in (processors, features))
    return Names(*listed)
