"""Steps about caches, which change when data moves and never values: stores past them, and reads ahead."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.stmt import Annotation, ForKind
from ..table import Fetch, StageState, Table
from .step import Step

STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Stream(Step):
    """Store what the loops from an axis inwards compute past the caches."""

    NAME: ClassVar[str] = STREAM

    axis: str

    def apply(self, table: Table, number: int) -> Table:
        """Mark the loop.  Refused: sums, results that the kernel reads, other memory than the main one."""
        stage, axis = self.state(table), self.leaf(table, self.axis)
        for fact, advice in _obstacles(table, stage):
            raise self.refuse(table, stage, axis, fact, advice)
        loop = stage.loop(axis)
        marks = (*loop.annotations, Annotation(STREAM, 1))
        return table.updated(stage.with_loop(axis, replace(loop, annotations=marks, step=number)))


def _obstacles(table: Table, stage: StageState) -> list[tuple[str, str]]:
    """Give why results of a stage must stay in the caches, each reason with its remedy."""
    found: list[tuple[str, str]] = []
    for axis in stage.op.reduce_axis:
        fact = f"{stage.id} is summed up along {axis.name}: every term reads the result and stores it again"
        found.append((fact, f's.cache_write({stage.id}, "local") to sum in registers, and stream the copy'))
    for reader in table.consumers(stage):
        fact = f"{reader.id} reads {stage.id} again, which would have to come back from main memory"
        found.append((fact, f"stream the results of {reader.id}"))
    if stage.storage.scope not in ("", "global"):
        fact = f"{stage.id} is kept in {stage.storage.scope} memory, and only main memory lies beyond the caches"
        found.append((fact, 'a stage in "global" memory'))
    for axis in stage.leaves:
        if any(mark.name == STREAM for mark in stage.loop(axis).annotations):
            found.append((f"axis {axis.name} is streamed already (step {stage.loop(axis).step})", "one such step"))
    return found


@dataclass(frozen=True, slots=True)
class Prefetch(Step):
    """Ask for what a later iteration of a loop reads of a tensor."""

    NAME: ClassVar[str] = "prefetch"

    axis: str
    source: str  # stage whose result it is
    component: int
    offset: int

    def apply(self, table: Table, number: int) -> Table:
        """Note it at the loop.  Refused: offsets below 1, lanes, tensors that the loop does not read."""
        stage, axis, source = self.state(table), self.leaf(table, self.axis), self.state(table, self.source)
        loop = stage.loop(axis)
        if self.offset < 1:
            fact = f"offset is {self.offset}, and what earlier iterations read has been read"
            raise self.refuse(table, stage, axis, fact, "1 or more iterations ahead")
        if loop.kind is ForKind.VECTORIZED:
            fact = f"the iterations of {axis.name} run at once (step {loop.step})"
            raise self.refuse(table, stage, axis, fact, "a loop outside of it")
        if not {s.id for s in table.consumers(source)} & _computed_in(table, stage):
            fact = f"nothing that is computed in {stage.id} reads {source.id}"
            readers = ", ".join(s.id for s in table.consumers(source)) or "none"
            raise self.refuse(table, stage, axis, fact, f"a loop of a stage that reads it: {readers}")
        fetches = (*loop.fetches, self.fetch(source))
        return table.updated(stage.with_loop(axis, replace(loop, fetches=fetches, step=number)))

    def fetch(self, source: StageState) -> Fetch:
        """Give what is noted."""
        return Fetch(source.id, self.component, self.offset)


@dataclass(frozen=True, slots=True)
class PrefetchEvenly(Prefetch):
    """Ask for what a later iteration of a loop reads of a tensor, a part of it in each step of the loops inside."""

    NAME: ClassVar[str] = "prefetch_evenly"

    def fetch(self, source: StageState) -> Fetch:
        """Give what is noted."""
        return Fetch(source.id, self.component, self.offset, evenly=True)


def _computed_in(table: Table, stage: StageState) -> set[str]:
    """Give the ids of a stage, of those attached to it, and of those that are inlined."""
    found = {stage.id, *(s.id for s in table.stages.values() if s.is_inline)}
    for guest, _ in table.attached(stage):
        found |= _computed_in(table, guest)
    return found
