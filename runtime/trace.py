"""What is printed to standard error while compiling, as the debug level asks."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..codegen.llvm.compile import ObjectCode
from ..codegen.pipeline import Observation
from ..ir.settings import settings
from ..ir.stmt import Function

COMPILED, NEST, SOURCE, PASSES, ASSEMBLY = 1, 3, 4, 5, 6


def show_pass(done: Observation) -> None:
    """Print what one pass left."""
    what = str(done.function) if done.changed else "(unchanged)"
    show(PASSES, f"# {done.function.name} after {done.name}, {done.seconds * 1e3:.2f} ms\n{what}")


def show_nests(functions: Sequence[Function]) -> None:
    """Print nests as they are handed to code generation."""
    for function in functions:
        show(NEST, f"# {function.name}, before code generation\n{function}")


def show_code(functions: Sequence[Function], code: ObjectCode, seconds: float) -> None:
    """Print what was compiled, how long it took, and its texts."""
    names = ", ".join(function.name for function in functions)
    show(COMPILED, f"# compiled {names}: {len(code.code)} bytes in {seconds * 1e3:.1f} ms")
    show(SOURCE, code.text)
    if shows(ASSEMBLY):
        show(ASSEMBLY, code.assembly)


def shows(level: int) -> bool:
    """Tell whether what belongs to a level is printed."""
    return settings().debug >= level


def show(level: int, text: str) -> None:
    """Print a text that belongs to a level."""
    if shows(level):
        sys.stderr.write(f"{text.rstrip()}\n")
