"""Steps that say where a stage is computed: compute_at, compute_inline, compute_root, precompute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.stmt import ForKind
from ...te.operation import Operation
from ..table import Ahead, At, Inline, Root, StageState, Table, is_reduction, reads, scan_part
from .step import Step


@dataclass(frozen=True, slots=True)
class ComputeAt(Step):
    """Compute the stage within a loop of a stage that needs it."""

    NAME: ClassVar[str] = "compute_at"

    host: str
    axis: str

    def apply(self, table: Table, number: int) -> Table:
        """Set the place; that all consumers are within the loop is checked when the nest is derived."""
        stage, host = self.state(table), self.state(table, self.host)
        axis = self.leaf(table, self.axis, self.host)
        refuse_fixed(self, table, stage)
        refuse_outside_scan(self, table, stage, host)
        if host.id == stage.id or not depends(table, host, stage):
            fact = f"stage {host.id} does not read {stage.id}"
            consumers = ", ".join(c.id for c in table.consumers(stage)) or "none"
            raise self.refuse(table, host, axis, fact, f"a loop of a consumer of {stage.id}: {consumers}")
        if host.loop(axis).kind is ForKind.VECTORIZED:
            fact = f"axis {axis.name} of {host.id} is vectorized (step {host.loop(axis).step})"
            raise self.refuse(table, host, axis, fact, "a loop outside of it")
        return table.updated(replace(stage, place=At(host.id, axis), placed_by=number))


@dataclass(frozen=True, slots=True)
class ComputeInline(Step):
    """Compute the stage anew wherever it is read."""

    NAME: ClassVar[str] = "compute_inline"

    def apply(self, table: Table, number: int) -> Table:
        """Set the place.  Refused: reductions, outputs, operators without an expression."""
        stage = self.state(table)
        refuse_fixed(self, table, stage)
        if stage.compute is None or is_reduction(stage):
            what = "reduces" if is_reduction(stage) else "is no compute"
            fact = f"stage {stage.id} {what}: it has no expression to put in place of its elements"
            raise self.refuse(table, stage, None, fact, "compute_at a loop of its consumer")
        readers = [c for c in table.consumers(stage) if c.compute is None]
        if readers:
            fact = f"{readers[0].id}, which reads {stage.id}, takes whole buffers"
            raise self.refuse(table, stage, None, fact, "leave it at the root")
        return table.updated(replace(stage, place=Inline(), placed_by=number))


@dataclass(frozen=True, slots=True)
class ComputeRoot(Step):
    """Compute the stage whole, before everything that reads it."""

    NAME: ClassVar[str] = "compute_root"

    def apply(self, table: Table, number: int) -> Table:
        """Set the place."""
        stage = self.state(table)
        if stage.is_placeholder or scan_part(table, stage)[0] == "update":
            refuse_fixed(self, table, stage)
        refuse_outside_scan(self, table, stage, None)
        return table.updated(replace(stage, place=Root(), placed_by=number))


@dataclass(frozen=True, slots=True)
class Precompute(Step):
    """Compute the stage once for many calls, from inputs that stay the same."""

    NAME: ClassVar[str] = "precompute"

    def apply(self, table: Table, number: int) -> Table:
        """Set the place.  Refused: outputs and inputs; a stage that reads what every call computes anew."""
        stage = self.state(table)
        refuse_fixed(self, table, stage)
        changing = computed_in_calls(table, stage)
        if changing is not None:
            fact = f"stage {stage.id} reads {changing.id}, which every call computes"
            raise self.refuse(table, stage, None, fact, f"precompute {changing.id} first, or inline it")
        return table.updated(replace(stage, place=Ahead(), placed_by=number))


def computed_in_calls(table: Table, stage: StageState) -> StageState | None:
    """Give a stage that `stage` reads and that is neither an input nor computed ahead, or None."""
    for producer in map(table.stage_of, reads(stage.op)):
        found = computed_in_calls(table, producer) if producer.is_inline else producer
        if found is not None and not (found.is_placeholder or found.is_ahead):
            return found
    return None


def refuse_fixed(step: Step, table: Table, stage: StageState) -> None:
    """Refuse to move what the caller passes in or takes out, and what a scan stores in its result."""
    if stage.is_placeholder:
        raise step.refuse(table, stage, None, f"{stage.id} is given, not computed", "a stage that computes")
    if stage.is_output:
        fact = f"{stage.id} is an output: all of it is wanted"
        raise step.refuse(table, stage, None, fact, "cache_write it, and place the cache")
    part, scan = scan_part(table, stage)
    if part in ("init", "update"):
        fact = f"{stage.id} is the {part} of scan {scan} and writes into its result"
        raise step.refuse(table, stage, None, fact, "cache_write it, and place the cache")


def refuse_outside_scan(step: Step, table: Table, stage: StageState, host: StageState | None) -> None:
    """Refuse to compute what depends on the state of a scan anywhere but within the scan's steps."""
    part, scan = scan_part(table, stage)
    if part == "body" and (host is None or (host.id != scan and scan_part(table, host)[1] != scan)):
        fact = f"{stage.id} depends on the state of scan {scan}, which exists one step at a time"
        raise step.refuse(table, stage, None, fact, f"a loop of the update, or the step axis of {scan}")


def depends(table: Table, consumer: StageState, producer: StageState) -> bool:
    """Tell whether `consumer` reads `producer`, directly or through other stages."""
    seen: set[str] = set()
    todo: list[Operation] = [consumer.op]
    while todo:
        for tensor in reads(todo.pop()):
            stage = table.stage_of(tensor)
            if stage.id == producer.id:
                return True
            if stage.id not in seen:
                seen.add(stage.id)
                todo.append(stage.op)
    return False
