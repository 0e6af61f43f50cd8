"""The files of benchmarks as modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def part(name: str, package: str = "peers") -> ModuleType:
    """Give a file of benchmarks/peers, or of another package there, as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(f"{package}.{name}")
    finally:
        sys.path.remove(str(BENCHMARKS))
