"""What all steps have: a name, fields that serialise, and finding the stages and axes that they name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...ir.errors import AxisGone, ScheduleError
from ...ir.expr import Expr
from ...te.axis import Axis
from ..table import Fuse, Split, StageState, Table


@dataclass(frozen=True, slots=True)
class Step:
    """One decision about one stage.

    Fields are strings, numbers and tuples of them, so that a step is JSON.  Axes are named by `axis_key`.
    """

    NAME: ClassVar[str] = ""  # as users call it

    stage: str

    def apply(self, table: Table, number: int) -> Table:
        """Give the table after this step, which is the schedule's step `number`.  Raises ScheduleError."""
        raise NotImplementedError

    def state(self, table: Table, name: str | None = None) -> StageState:
        """Give the stage called `name`, or this step's own."""
        wanted = self.stage if name is None else name
        found = table.stages.get(wanted)
        if found is None:
            raise ScheduleError(
                self.NAME, f"there is no stage {wanted}", advice=f"one of the stages {', '.join(table.stages)}"
            )
        return found

    def leaf(self, table: Table, key: str, name: str | None = None) -> Axis:
        """Give the loop of a stage that `key` names.  Raises AxisGone if a step has taken the axis."""
        stage = self.state(table, name)
        axis = axis_by_key(stage, key)
        if axis is None:
            loops = ", ".join(a.name for a in stage.leaves) or "none"
            raise ScheduleError(self.NAME, f"stage {stage.id} has no axis {key}", advice=f"its loops are {loops}")
        if axis not in stage.leaves:
            raise self.gone(table, stage, axis)
        return axis

    def gone(self, table: Table, stage: StageState, axis: Axis) -> AxisGone:
        """Give the error for an axis that is no loop any more, naming the step that took it."""
        by, parts = _taker(stage, axis)
        number = stage.taken.get(axis, -1)
        return AxisGone(
            self.NAME,
            f"axis {axis.name} of stage {stage.id} is no loop any more: step {number} ({by}) made {parts} of it",
            where=place_text(table, stage, None),
            advice=f"one of the loops {', '.join(a.name for a in stage.leaves)}",
        )

    def refuse(
        self, table: Table, stage: StageState, axis: Axis | None, fact: str, advice: str, error: type = ScheduleError
    ) -> ScheduleError:
        """Give the four-part error of this step at a place of the program."""
        return error(self.NAME, fact, where=place_text(table, stage, axis), advice=advice)


def _taker(stage: StageState, axis: Axis) -> tuple[str, str]:
    """Give the kind of step that took an axis, and the names of what it became."""
    for relation in stage.relations:
        match relation:
            case Split(parent=parent, outer=outer, inner=inner) if parent is axis:
                return "split", f"{outer.name} and {inner.name}"
            case Fuse(outer=outer, inner=inner, fused=fused) if axis in (outer, inner):
                return "fuse", fused.name
            case _:
                pass
    return "cache_write or rfactor", "another stage's loop"


def axis_key(stage: StageState, axis: Axis) -> str:
    """Give the name of `axis` in its stage; `name#2` is the second axis of that name."""
    name = axis.name
    same_name = [a for a in stage.axes if a.var.name == name]
    position = next((i for i, a in enumerate(same_name) if a is axis), 0)
    return name if position == 0 else f"{name}#{position + 1}"


def axis_by_key(stage: StageState, key: str) -> Axis | None:
    """Give the axis that `axis_key` called `key`, leaf or not, or None."""
    name, _, position = key.partition("#")
    same_name = [a for a in (*stage.axes, *stage.taken) if a.var.name == name]
    same_name = list(dict.fromkeys(same_name))
    index = int(position) - 1 if position else 0
    return same_name[index] if index < len(same_name) else None


def ceil_div(a: Expr, b: Expr) -> Expr:
    """Give the least integer not below a / b, for b > 0."""
    return (a + (b - 1)) // b


def place_text(table: Table, stage: StageState, axis: Axis | None) -> str:
    """Give the place for an error: stage and axis, and the loop nest with the axis' line marked."""
    from ..nest import marked_text  # lowering needs the table, not the steps

    header = f"  stage {stage.id}"
    if axis is not None:
        header += f", axis {axis.name} (extent {axis.extent})"
    return f"{header}\n{marked_text(table, stage, axis)}".rstrip()
