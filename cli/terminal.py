"""Writing for people: consoles, and numbers as text."""

from __future__ import annotations

import sys

from rich.console import Console

PLAIN_COLUMNS = 120  # of a table that goes to a file or a pipe


def console(stderr: bool = False) -> Console:
    """Give the console of standard output or standard error; a terminal's own width, else a fixed one."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else PLAIN_COLUMNS)


def time_text(seconds: float) -> str:
    """Give a time with four digits in a unit that suits it."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.4g} {unit}"
    return f"{seconds / 1e-9:.4g} ns"


def clock(seconds: float) -> str:
    """Give `0:07`, `1:23` or `2:01:05`."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
