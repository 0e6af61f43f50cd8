"""Steps that say how one loop is executed: vectorize, unroll, parallel, bind, pragma, tensorize."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.errors import RaceError
from ...ir.gpu import WARP
from ...ir.stmt import Annotation, ForKind
from ...te.axis import Axis, AxisKind
from ..intrinsics import intrinsic_named
from ..legality import collision
from ..table import StageState, Table
from .step import Step

MAX_LANES = 1024

THREAD_AXES = (
    *(f"blockIdx.{d}" for d in "xyz"), *(f"threadIdx.{d}" for d in "xyz"), "vthread", "vthread.x", "vthread.y",
    "vthread.z", "cthread",
)  # fmt: skip

WARP_AXES = {"warp": "threadIdx.y", "lane": "threadIdx.x"}  # names of the axes of blocks whose rows are warps

PRAGMAS = (
    "auto_unroll_max_step", "unroll_explicit", "parallel_launch_point", "parallel_stride_pattern",
    "parallel_barrier_when_finish", "prefetch_write", "debug_skip_region", "loop_partition_hint",
    "min_blocks",  # blocks that a multiprocessor of a GPU shall hold at once, which limits the registers of a thread
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MarkLoop(Step):
    """What vectorize, unroll and parallel share."""

    axis: str
    KIND: ClassVar[ForKind] = ForKind.SERIAL
    AT_ONCE: ClassVar[bool] = True  # iterations run at the same time

    def apply(self, table: Table, number: int) -> Table:
        """Set the kind of the loop."""
        stage, axis = self.state(table), self.leaf(table, self.axis)
        refuse_second_mark(self, table, stage, axis)
        if self.AT_ONCE:
            refuse_race(self, table, stage, axis)
        self.check(table, stage, axis)
        return table.updated(stage.with_loop(axis, replace(stage.loop(axis), kind=self.KIND, step=number)))

    def check(self, table: Table, stage: StageState, axis: Axis) -> None:
        """Refuse what this kind of loop cannot do."""


@dataclass(frozen=True, slots=True)
class Vectorize(MarkLoop):
    """Run the iterations as lanes of vector instructions."""

    NAME: ClassVar[str] = "vectorize"
    KIND: ClassVar[ForKind] = ForKind.VECTORIZED

    def check(self, table: Table, stage: StageState, axis: Axis) -> None:
        """Refuse symbolic and absurd numbers of lanes, and loops that other stages are computed in."""
        extent = axis.size
        if extent is None:
            fact = f"the extent {axis.extent} is not constant"
            raise self.refuse(table, stage, axis, fact, "split it by a constant factor and vectorize the inner loop")
        if extent > MAX_LANES:
            fact = f"{extent} lanes are more than {MAX_LANES}"
            raise self.refuse(table, stage, axis, fact, "split it by 4 to 64 and vectorize the inner loop")
        for guest, at in table.attached(stage):
            if at is axis:
                fact = f"stage {guest.id} is computed within each iteration (step {guest.placed_by})"
                raise self.refuse(table, stage, axis, fact, f"compute {guest.id} at a loop outside of {axis.name}")


@dataclass(frozen=True, slots=True)
class Unroll(MarkLoop):
    """Write the iterations out, in order."""

    NAME: ClassVar[str] = "unroll"
    KIND: ClassVar[ForKind] = ForKind.UNROLLED
    AT_ONCE: ClassVar[bool] = False

    def check(self, table: Table, stage: StageState, axis: Axis) -> None:
        """Refuse symbolic extents."""
        if axis.size is None:
            fact = f"the extent {axis.extent} is not constant"
            raise self.refuse(table, stage, axis, fact, "split it by a constant factor and unroll the inner loop")


@dataclass(frozen=True, slots=True)
class Parallel(MarkLoop):
    """Run the iterations on the threads of the pool."""

    NAME: ClassVar[str] = "parallel"
    KIND: ClassVar[ForKind] = ForKind.PARALLEL


TRANSPORTS = ("register", "cp_async", "tma")


@dataclass(frozen=True, slots=True)
class Pipeline(Step):
    """Fill the shared memory of later iterations of a serial loop while earlier ones are computed."""

    NAME: ClassVar[str] = "pipeline"

    axis: str
    stages: int
    transport: str

    def apply(self, table: Table, number: int) -> Table:
        """Mark the loop."""
        stage, axis = self.state(table), self.leaf(table, self.axis)
        refuse_second_mark(self, table, stage, axis)
        if self.stages < 2:
            fact = f"stages is {self.stages}"
            advice = "2 or more: one that is computed and those that are on their way"
            raise self.refuse(table, stage, axis, fact, advice)
        if self.transport not in TRANSPORTS:
            fact = f"there is no transport {self.transport!r}"
            raise self.refuse(table, stage, axis, fact, f"one of {', '.join(TRANSPORTS)}")
        if self.transport == "register" and self.stages != 2:
            fact = f"{self.stages} stages by way of registers, which hold one"
            raise self.refuse(table, stage, axis, fact, 'stages=2, or transport="cp_async"')
        marks = (Annotation("stages", self.stages), Annotation("transport", self.transport))
        loop = replace(stage.loop(axis), kind=ForKind.PIPELINED, annotations=marks, step=number)
        return table.updated(stage.with_loop(axis, loop))


@dataclass(frozen=True, slots=True)
class Bind(Step):
    """Give the iterations to the threads of a hardware thread axis."""

    NAME: ClassVar[str] = "bind"

    axis: str
    thread: str

    def apply(self, table: Table, number: int) -> Table:
        """Mark the loop as bound."""
        stage, axis = self.state(table), self.leaf(table, self.axis)
        thread = WARP_AXES.get(self.thread, self.thread)
        if thread not in THREAD_AXES:
            fact = f"there is no thread axis {self.thread!r}"
            raise self.refuse(table, stage, axis, fact, f"one of {', '.join((*THREAD_AXES, *WARP_AXES))}")
        if self.thread == "lane" and (axis.size is None or axis.size > WARP):
            fact = f"a warp has {WARP} lanes, and {axis.name} has {axis.extent} iterations"
            raise self.refuse(table, stage, axis, fact, f"split it by {WARP} and bind the inner loop")
        refuse_second_mark(self, table, stage, axis)
        if axis.kind is AxisKind.REDUCE and thread.startswith("threadIdx"):
            self.check_shared_reduction(table, stage, axis)
        else:
            refuse_race(self, table, stage, axis)
        for other in stage.leaves:
            if stage.loop(other).thread == thread and not thread.startswith("vthread"):
                fact = f"{thread} is bound to axis {other.name} already (step {stage.loop(other).step})"
                raise self.refuse(table, stage, axis, fact, "another thread axis, or fuse the two loops first")
        loop = replace(stage.loop(axis), kind=ForKind.THREAD, thread=thread, step=number)
        return table.updated(stage.with_loop(axis, loop))

    def check_shared_reduction(self, table: Table, stage: StageState, axis: Axis) -> None:
        """Refuse what threads cannot reduce together: an unknown number of them, results of several elements each."""
        if axis.size is None:
            fact = f"the extent {axis.extent} is not constant"
            raise self.refuse(table, stage, axis, fact, "split it by a constant factor and bind the inner loop")
        start = next(i for i, a in enumerate(stage.leaves) if a.kind is AxisKind.REDUCE)
        inner = [a.name for a in stage.leaves[start:] if a.kind is not AxisKind.REDUCE and a.size != 1]
        if inner:
            fact = f"threads that share a reduction give one result at a time, and {inner[0]} runs inside of it"
            raise self.refuse(table, stage, axis, fact, f"reorder {inner[0]} outside of the reduction")


@dataclass(frozen=True, slots=True)
class Pragma(Step):
    """Attach a hint to a loop."""

    NAME: ClassVar[str] = "pragma"

    axis: str
    pragma: str
    value: int | float | str = 1

    def apply(self, table: Table, number: int) -> Table:
        """Append the annotation."""
        stage, axis = self.state(table), self.leaf(table, self.axis)
        if self.pragma not in PRAGMAS:
            fact = f"there is no pragma {self.pragma!r}"
            raise self.refuse(table, stage, axis, fact, f"one of {', '.join(PRAGMAS)}")
        loop = stage.loop(axis)
        annotations = (*loop.annotations, Annotation(self.pragma, self.value))
        return table.updated(stage.with_loop(axis, replace(loop, annotations=annotations, step=number)))


@dataclass(frozen=True, slots=True)
class Tensorize(Step):
    """Replace the loops from an axis inwards by a tensor intrinsic; the match is checked when the nest is derived."""

    NAME: ClassVar[str] = "tensorize"

    axis: str
    intrinsic: str

    def apply(self, table: Table, number: int) -> Table:
        """Mark the axis with the intrinsic."""
        stage, axis = self.state(table), self.leaf(table, self.axis)
        refuse_second_mark(self, table, stage, axis)
        loop = replace(stage.loop(axis), intrinsic=intrinsic_named(self.intrinsic), step=number)
        return table.updated(stage.with_loop(axis, loop))


def refuse_second_mark(step: Step, table: Table, stage: StageState, axis: Axis) -> None:
    """Refuse to mark a loop that is marked already."""
    loop = stage.loop(axis)
    if loop.kind is not ForKind.SERIAL or loop.intrinsic is not None:
        fact = f"axis {axis.name} is already {loop} (step {loop.step})"
        raise step.refuse(table, stage, axis, fact, "one mark for each loop")


def refuse_race(step: Step, table: Table, stage: StageState, axis: Axis) -> None:
    """Refuse to run iterations at the same time that must come one after the other."""
    if axis.kind is AxisKind.SCAN:
        fact = f"step {axis.name} of a scan reads what step {axis.name} - 1 wrote"
        raise step.refuse(table, stage, axis, fact, "another axis of the update", RaceError)
    if axis.kind is AxisKind.REDUCE:
        raise step.refuse(
            table,
            stage,
            axis,
            f"axis {axis.name} is a reduction: {collision(stage, axis)}",
            f"s.rfactor({stage.id}, {axis.name}) makes it a spatial axis of a partial result",
            RaceError,
        )
