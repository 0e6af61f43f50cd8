"""`tvm.autotvm.callback`: what may be called after each measurement."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .measure import MeasureInput, MeasureResult
from .record import encode

__all__ = ["log_to_file", "progress_bar"]


def log_to_file(file_out: str | Path) -> Callable[..., None]:
    """Give a callback that appends each measurement to a log of AutoTVM's format."""

    def callback(_: Any, inputs: list[MeasureInput], results: list[MeasureResult]) -> None:
        with open(file_out, "a", encoding="utf-8") as log:
            log.writelines(f"{encode(i, r)}\n" for i, r in zip(inputs, results, strict=True))

    return callback


def progress_bar(total: int, prefix: str = "", si_prefix: str = "G") -> Callable[..., None]:
    """Give a callback that writes the progress to standard error, on one line."""
    done = 0

    def callback(tuner: Any, inputs: list[MeasureInput], _: list[MeasureResult]) -> None:
        nonlocal done
        done += len(inputs)
        end = "\n" if done >= total else ""
        sys.stderr.write(f"\r{prefix} best {tuner.best_flops / 1e9:.2f} GFLOP/s, {done} of {total}{end}")
        sys.stderr.flush()

    return callback
