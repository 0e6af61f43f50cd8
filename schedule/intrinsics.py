"""Tensor intrinsics by name, so that a tensorize step is data."""

from __future__ import annotations

from ..ir.errors import ScheduleError
from ..te.intrin import TensorIntrin

_BY_NAME: dict[str, TensorIntrin] = {}


def register_intrinsic(intrinsic: TensorIntrin) -> None:
    """Make `intrinsic` known by its name to schedules that are replayed; a later one of the same name replaces it."""
    _BY_NAME[intrinsic.name] = intrinsic


def intrinsic_named(name: str) -> TensorIntrin:
    """Give the registered intrinsic.  Raises ScheduleError if there is none."""
    found = _BY_NAME.get(name)
    if found is None:
        known = ", ".join(sorted(_BY_NAME)) or "none so far"
        raise ScheduleError(
            "tensorize",
            f"no tensor intrinsic is registered as {name!r}",
            advice=f"register_intrinsic(...) it in this process first; known: {known}",
        )
    return found
