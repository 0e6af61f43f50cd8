"""Step about how much of its tensor an attached stage computes: align_bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..table import Table
from .place import refuse_fixed
from .step import Step


@dataclass(frozen=True, slots=True)
class AlignBounds(Step):
    """Compute multiples of `factor` elements along a dimension, even where readers need fewer."""

    NAME: ClassVar[str] = "align_bounds"

    axis: str
    factor: int

    def apply(self, table: Table, number: int) -> Table:
        """Note the factor.  Refused: tensors of the caller, an axis that is no dimension, factors below 1."""
        stage = self.state(table)
        refuse_fixed(self, table, stage)
        axis = next((a for a in stage.op.axis if a.name == self.axis), None)
        if axis is None:
            fact = f"{self.axis} is no dimension of {stage.id}"
            names = ", ".join(a.name for a in stage.op.axis)
            raise self.refuse(table, stage, None, fact, f"one of its dimensions {names}")
        if self.factor < 1:
            fact = f"factor must be at least 1, got {self.factor}"
            raise self.refuse(table, stage, None, fact, "the extent of a tile along the dimension")
        return table.updated(replace(stage, bounds=(*stage.bounds, (axis, self.factor))))
