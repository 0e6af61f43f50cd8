"""Steps for GPUs with bulk copies and clusters (sm_90a): who fills shared memory, and which blocks share a copy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.stmt import Annotation
from ..table import Table
from .marks import refuse_second_mark
from .step import Step

REGISTERS = range(24, 241, 8)  # of a thread, as setmaxnreg takes them
CLUSTERS = (1, 2, 4, 8)  # blocks; one alone where a tensor is too small for more
SPECIALIZED, CLUSTERED, STORED = "warp_specialize", "cluster", "bulk_store"


@dataclass(frozen=True, slots=True)
class WarpSpecialize(Step):
    """Let a warpgroup of its own fill the shared memory of a pipelined loop; 0 registers leave them as they are."""

    NAME: ClassVar[str] = SPECIALIZED

    axis: str
    producer_registers: int
    consumer_registers: int

    def apply(self, table: Table, number: int) -> Table:
        """Mark the loop."""
        stage, axis = self.state(table), self.leaf(table, self.axis)
        loop = stage.loop(axis)
        marks = {a.name: a.value for a in loop.annotations}
        if marks.get("transport") != "tma":
            fact = f"axis {axis.name} is {loop}, and only what bulk copies fill can be left to another warpgroup"
            raise self.refuse(table, stage, axis, fact, f'pipeline({axis.name}, stages=4, transport="tma") first')
        if SPECIALIZED in marks:
            raise self.refuse(table, stage, axis, f"axis {axis.name} is warp_specialized already", "one such step")
        registers = (self.producer_registers, self.consumer_registers)
        if registers != (0, 0) and not all(n in REGISTERS for n in registers):
            fact = f"producers are to have {registers[0]} registers and consumers {registers[1]}"
            raise self.refuse(table, stage, axis, fact, "24 to 240 in steps of 8 for both, or none for both")
        annotations = (
            *loop.annotations,
            Annotation(SPECIALIZED, 1),
            Annotation("producer_registers", registers[0]),
            Annotation("consumer_registers", registers[1]),
        )
        return table.updated(stage.with_loop(axis, replace(loop, annotations=annotations, step=number)))


@dataclass(frozen=True, slots=True)
class Cluster(Step):
    """Run the blocks of a loop as a cluster."""

    NAME: ClassVar[str] = CLUSTERED

    axis: str

    def apply(self, table: Table, number: int) -> Table:
        """Mark the loop."""
        stage, axis = self.state(table), self.leaf(table, self.axis)
        loop = stage.loop(axis)
        if not loop.thread.startswith("blockIdx"):
            fact = f"axis {axis.name} is {loop}, and clusters are made of blocks"
            raise self.refuse(table, stage, axis, fact, f'bind({axis.name}, "blockIdx.x") first')
        if axis.size not in CLUSTERS:
            fact = f"axis {axis.name} has the extent {axis.extent}"
            raise self.refuse(table, stage, axis, fact, "a split by 2, 4 or 8, whose inner loop is the cluster")
        annotations = (*loop.annotations, Annotation(CLUSTERED, 1))
        return table.updated(stage.with_loop(axis, replace(loop, annotations=annotations, step=number)))


@dataclass(frozen=True, slots=True)
class BulkStore(Step):
    """Leave the copy that the loops from an axis inwards make to the bulk copy engine."""

    NAME: ClassVar[str] = STORED

    axis: str

    def apply(self, table: Table, number: int) -> Table:
        """Mark the loop."""
        stage, axis = self.state(table), self.leaf(table, self.axis)
        refuse_second_mark(self, table, stage, axis)
        loop = stage.loop(axis)
        annotations = (*loop.annotations, Annotation(STORED, 1))
        return table.updated(stage.with_loop(axis, replace(loop, annotations=annotations, step=number)))
