"""Settings: what people choose by environment variables.  Nothing else reads the environment.

A setting never decides what a kernel computes, and is never tuned; what is tuned is a configuration of a search space.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from .errors import SettingError

PREFIX = "TILEWRIGHT_"


def _within(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    read.__doc__ = f"an integer from {low} to {high}"
    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    read.__doc__ = f"one of {', '.join(words)}"
    return read


def _path(text: str) -> str:
    """a path; `~` is the home directory"""
    if not text:
        raise ValueError
    return text


def _setting(default: object, read: Callable[[str], object], sentence: str) -> Any:
    return field(default=default, metadata={"read": read, "sentence": sentence})


@dataclass(frozen=True, slots=True)
class Settings:
    """One field per environment variable: `debug` is TILEWRIGHT_DEBUG."""

    debug: int = _setting(
        0,
        _within(0, 6),
        "What is printed to standard error: 1 what was compiled and timings, 2 schedule steps, 3 the loop nest, "
        "4 generated source, 5 the nest after each pass, 6 assembly.",
    )
    num_threads: int = _setting(
        0,
        _within(0, 256),
        "Threads of a parallel loop, where 0 is one for each processor that the process may run on.",
    )
    pin: str = _setting(
        "spread",
        _one_of("spread", "pin", "none"),
        "Where worker threads run: spread over the allowed processors, pinned to one each, or left to the system.",
    )
    spin_us: int = _setting(
        50,
        _within(0, 1_000_000),
        "Microseconds for which a thread of the pool waits for work in a loop before it sleeps.",
    )
    db: str = _setting(
        "~/.local/share/tilewright/records.db",
        _path,
        "The record database that is read and written where no other is named.",
    )
    defaults: str = _setting(
        "shipped",
        _one_of("shipped", "rules"),
        "What a kernel takes that nobody tuned: shipped records and the shipped model where they know the processor, "
        "or the templates' rules alone.",
    )
    cache_entries: int = _setting(
        256,
        _within(0, 1_000_000),
        "Compiled kernels that are kept in memory for programs that are built again.",
    )
    cache: str = _setting(
        "~/.cache/tilewright",
        _path,
        "Folder where compiled CUDA kernels are kept for later processes.",
    )
    cache_mb: int = _setting(
        1000,
        _within(0, 1_000_000),
        "Megabytes of each kind of compiled kernels in that folder, above which those unused longest are dropped.",
    )
    cuda_compiler: str = _setting(
        "auto",
        _one_of("auto", "nvrtc", "nvcc"),
        "What compiles CUDA kernels: NVRTC, nvcc, or NVRTC where it is found and else nvcc.",
    )
    cuda_home: str = _setting(
        "",
        _path,
        "Folder of a CUDA toolkit whose libraries and programs come before all others.",
    )


def variable(name: str) -> str:
    """Give the environment variable of the field `name`."""
    return PREFIX + name.upper()


def read(environment: Mapping[str, str]) -> Settings:
    """Give the settings that `environment` chooses; an empty variable is one that is not there.

    Raises SettingError for a value that is not allowed, and for a variable with our prefix that means nothing.
    """
    known = {variable(f.name): f for f in fields(Settings)}
    for name in environment:
        if name.startswith(PREFIX) and name not in known:
            raise SettingError("settings", f"there is no setting {name}", advice=f"one of {', '.join(known)}")
    chosen = {}
    for name, setting in known.items():
        text = environment.get(name, "").strip()
        if text:
            chosen[setting.name] = _value(name, text, setting.metadata["read"])
    return Settings(**chosen)


def _value(name: str, text: str, read_value: Callable[[str], object]) -> object:
    try:
        return read_value(text)
    except ValueError:
        raise SettingError("settings", f"{name} is {text!r}", advice=f"{read_value.__doc__}") from None


@cache
def settings() -> Settings:
    """Give the settings of this process, read at the first call and fixed from then on."""
    return read(os.environ)
