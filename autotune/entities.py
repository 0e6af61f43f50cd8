"""Entities: one decision each, taken from a knob's candidates, and how to apply it to a schedule.

Names, fields and the JSON form `[kind, value]` are AutoTVM's, so its logs can be read and written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

from ..ir.errors import TuneError

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Stage(Protocol):
    """The steps that entities apply; a stage of a schedule has them."""

    def split(self, parent: Any, factor: int | None = None, nparts: int | None = None) -> tuple[Any, Any]:
        """Cut a loop in two."""
        ...

    def reorder(self, *axes: Any) -> Any:
        """Nest loops in the order given."""
        ...

    def unroll(self, axis: Any) -> Any:
        """Write a loop out."""
        ...

    def vectorize(self, axis: Any) -> Any:
        """Execute a loop as vector lanes."""
        ...

    def parallel(self, axis: Any) -> Any:
        """Execute a loop on several cores."""
        ...


@dataclass(frozen=True, slots=True)
class SplitEntity:
    """Factors of a loop, outermost first; the first is -1: whatever remains."""

    size: tuple[int, ...]

    def apply(self, schedule: Any, op: Any, axis: Any) -> list[Any]:
        """Split `axis` of the stage of `op`; give the loops, outermost first."""
        stage: Stage = schedule[op]
        loops = []
        for position in range(1, len(self.size)):
            outer, axis = stage.split(axis, factor=prod(self.size[position:]))
            loops.append(outer)
        return [*loops, axis]

    def to_json(self) -> list[Json]:
        """Give `["sp", [-1, ...]]`."""
        return ["sp", list(self.size)]


@dataclass(frozen=True, slots=True)
class ReorderEntity:
    """An order of loops: position i takes the loop `perm[i]`."""

    perm: tuple[int, ...]

    def apply(self, schedule: Any, op: Any, axes: Sequence[Any]) -> list[Any]:
        """Reorder `axes` of the stage of `op`; give them in the new order, outermost first."""
        if len(axes) != len(self.perm):
            raise TuneError("reorder", f"{len(axes)} axes for a knob of {len(self.perm)}", advice="the axes defined")
        order = [axes[i] for i in self.perm]
        if self.perm != tuple(range(len(axes))):
            schedule[op].reorder(*order)
        return order

    def to_json(self) -> list[Json]:
        """Give `["re", [0, 1, ...]]`."""
        return ["re", list(self.perm)]


@dataclass(frozen=True, slots=True)
class AnnotateEntity:
    """A word for each loop: "none", "unroll", "vec" or "parallel"."""

    anns: tuple[str, ...]

    def apply(
        self,
        schedule: Any,
        op: Any,
        axes: Sequence[Any],
        axis_lens: Sequence[int] | None = None,
        max_unroll: int | None = None,
        vec_size: Sequence[int] | None = None,
    ) -> list[Any]:
        """Annotate `axes` of the stage of `op`; give them back.

        axis_lens   extents, needed by the two limits below
        max_unroll  loops that are longer stay as they are
        vec_size    loops of any other length are not vectorized
        """
        stage: Stage = schedule[op]
        lengths = axis_lens or [0] * len(axes)
        for axis, word, length in zip(axes, self.anns, lengths, strict=True):
            if word == "unroll" and not (max_unroll and length > max_unroll):
                stage.unroll(axis)
            elif word == "vec" and not (vec_size and length not in vec_size):
                stage.vectorize(axis)
            elif word == "parallel":
                stage.parallel(axis)
        return list(axes)

    def to_json(self) -> list[Json]:
        """Give `["an", [word, ...]]`."""
        return ["an", list(self.anns)]


@dataclass(frozen=True, slots=True)
class OtherOptionEntity:
    """A value that the template itself interprets."""

    val: Any

    def to_json(self) -> list[Json]:
        """Give `["ot", value]`."""
        return ["ot", self.val]


Entity = SplitEntity | ReorderEntity | AnnotateEntity | OtherOptionEntity


def entity_from_json(kind: str, value: Any) -> Entity:
    """Give the entity of `[kind, value]`.  Raises TuneError for an unknown kind."""
    match kind:
        case "sp":
            return SplitEntity(tuple(value))
        case "re":
            return ReorderEntity(tuple(value))
        case "an":
            return AnnotateEntity(tuple(value))
        case "ot":
            return OtherOptionEntity(tuple(value) if type(value) is list else value)
        case _:
            raise TuneError("entity", f"unknown kind {kind!r}", advice="one of sp, re, an, ot")
