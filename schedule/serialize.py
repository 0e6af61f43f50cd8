"""Steps as versioned JSON text, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from ..ir.errors import ScheduleError
from .steps.bounds import AlignBounds
from .steps.cache import CacheRead, CacheWrite
from .steps.caches import Prefetch, PrefetchEvenly, Stream
from .steps.hopper import BulkStore, Cluster, WarpSpecialize
from .steps.loops import FuseAxes, Reorder, SplitAxis
from .steps.marks import Bind, Parallel, Pipeline, Pragma, Tensorize, Unroll, Vectorize
from .steps.place import ComputeAt, ComputeInline, ComputeRoot, Precompute
from .steps.rfactor import RFactor
from .steps.step import Step
from .steps.storage import DoubleBuffer, SetScope, SetStorePredicate, StorageAlign, Swizzle, TransformLayout

VERSION = 1

STEPS: dict[str, type[Step]] = {
    cls.NAME: cls
    for cls in (
        SplitAxis, FuseAxes, Reorder, Vectorize, Unroll, Parallel, Bind, Pipeline, Pragma, Tensorize, ComputeAt,
        ComputeInline, ComputeRoot, AlignBounds, SetScope, StorageAlign, Swizzle, DoubleBuffer, TransformLayout,
        SetStorePredicate, CacheRead, CacheWrite, RFactor, WarpSpecialize, Cluster, BulkStore, Precompute, Stream,
        Prefetch,
        PrefetchEvenly,
    )
}  # fmt: skip


def step_to_data(step: Step) -> list[Any]:
    """Give a step as `[name, field, field, ...]`."""
    return [step.NAME, *(getattr(step, f.name) for f in fields(step))]


def steps_to_json(steps: Sequence[Step]) -> str:
    """Give the steps as one line of JSON."""
    return json.dumps({"version": VERSION, "steps": [step_to_data(s) for s in steps]}, separators=(",", ":"))


def steps_from_json(text: str) -> list[Step]:
    """Give the steps that `steps_to_json` wrote.

    Raises ScheduleError for text that is no JSON, another version, an unknown step, or fields that do not fit.
    """
    try:
        data = json.loads(text)
        version, rows = data["version"], data["steps"]
    except (ValueError, KeyError, TypeError) as error:
        fact = f"the text is no saved schedule ({error})"
        raise ScheduleError("from_json", fact, advice="text that Schedule.to_json wrote") from None
    if version != VERSION:
        fact = f"the schedule has format version {version}; this is version {VERSION}"
        raise ScheduleError("from_json", fact, advice="save it again with this version")
    return [_step(number, row) for number, row in enumerate(rows)]


def _step(number: int, row: Any) -> Step:
    words: list[Any] = row if isinstance(row, list) and row else [None]
    name, *values = words
    cls = STEPS.get(name)
    if cls is None:
        raise ScheduleError(
            "from_json", f"step {number} is of unknown kind {name!r}", advice=f"one of {', '.join(STEPS)}"
        )
    if len(values) != len(fields(cls)):
        fact = f"step {number} ({name}) has {len(values)} fields, not {len(fields(cls))}"
        raise ScheduleError("from_json", fact, advice="text that Schedule.to_json wrote")
    arguments: list[Any] = [tuple(v) if isinstance(v, list) else v for v in values]
    return cls(*arguments)
