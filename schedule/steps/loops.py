"""Steps that reshape the loops of one stage: split, fuse, reorder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.arith import const
from ...ir.expr import Expr, Var
from ...te.axis import Axis, AxisKind
from ..table import At, Fuse, Loop, Split, StageState, Table, unused
from .step import Step, ceil_div


@dataclass(frozen=True, slots=True)
class SplitAxis(Step):
    """Cut a loop in two nested ones; exactly one of `factor` and `nparts` is given."""

    NAME: ClassVar[str] = "split"

    axis: str
    factor: int | None = None
    nparts: int | None = None

    def apply(self, table: Table, number: int) -> Table:
        """Replace the axis by two."""
        stage, axis = self.state(table), self.leaf(table, self.axis)
        self._check(table, stage, axis)
        refuse_if_used(self, table, stage, axis)
        outer_extent, inner_extent = split_extents(axis.extent, self.factor, self.nparts)
        names = {a.name for a in stage.axes}
        outer = Axis(Var(unused(f"{axis.name}_o", names)), outer_extent, axis.kind)
        inner = Axis(Var(unused(f"{axis.name}_i", names)), inner_extent, axis.kind)
        factor = None if self.factor is None else const(self.factor)
        nparts = None if self.nparts is None else const(self.nparts)
        at = stage.leaves.index(axis)
        leaves = (*stage.leaves[:at], outer, inner, *stage.leaves[at + 1 :])
        relations = (*stage.relations, Split(axis, outer, inner, factor, nparts))
        return table.updated(replace(stage, leaves=leaves, relations=relations).with_taken(number, axis))

    def _check(self, table: Table, stage: StageState, axis: Axis) -> None:
        if (self.factor is None) == (self.nparts is None):
            given = "neither" if self.factor is None else "both"
            raise self.refuse(table, stage, axis, f"{given} of factor and nparts given", "one of them")
        name, value = ("factor", self.factor) if self.factor is not None else ("nparts", self.nparts)
        if value is not None and value < 1:
            extent = axis.size
            advice = f"a {name} from 1 to {extent}" if extent else f"a {name} of at least 1"
            raise self.refuse(table, stage, axis, f"{name} must be at least 1, got {value}", advice)


def split_extents(extent: Expr, factor: int | None, nparts: int | None) -> tuple[Expr, Expr]:
    """Give the extents of outer and inner loop; a part is never longer than a constant `extent`."""
    total = Axis(Var("i"), extent).size
    if factor is not None:
        inner = const(factor if total is None else max(1, min(factor, total)))
        return ceil_div(extent, inner), inner
    assert nparts is not None, "one of both is given"
    outer = const(nparts if total is None else max(1, min(nparts, total)))
    return outer, ceil_div(extent, outer)


@dataclass(frozen=True, slots=True)
class FuseAxes(Step):
    """Make one loop of neighbouring ones, outermost first."""

    NAME: ClassVar[str] = "fuse"

    axes: tuple[str, ...]

    def apply(self, table: Table, number: int) -> Table:
        """Replace the axes by one, two at a time."""
        axes = [self.leaf(table, name) for name in self.axes]
        if len(axes) < 2:
            raise self.refuse(table, self.state(table), None, f"{len(axes)} axes given", "at least two neighbours")
        fused = axes[0]
        for inner in axes[1:]:
            table, fused = self._pair(table, fused, inner, number)
        return table

    def _pair(self, table: Table, outer: Axis, inner: Axis, number: int) -> tuple[Table, Axis]:
        stage = self.state(table)
        at = stage.leaves.index(outer)
        if stage.leaves[at + 1 : at + 2] != (inner,):
            order = ", ".join(a.name for a in stage.leaves)
            fact = f"{inner.name} is not the loop directly inside {outer.name}; the loops are {order}"
            raise self.refuse(table, stage, inner, fact, "reorder them to be neighbours first")
        if outer.kind is not inner.kind:
            fact = f"{outer.name} is a {outer.kind.value} axis and {inner.name} a {inner.kind.value} axis"
            raise self.refuse(table, stage, inner, fact, "fuse axes of one kind")
        refuse_if_used(self, table, stage, outer)
        refuse_if_used(self, table, stage, inner)
        name = unused(f"{outer.name}_{inner.name}", {a.name for a in stage.axes})
        fused = Axis(Var(name), outer.extent * inner.extent, outer.kind)
        leaves = (*stage.leaves[:at], fused, *stage.leaves[at + 2 :])
        relations = (*stage.relations, Fuse(outer, inner, fused))
        changed = replace(stage, leaves=leaves, relations=relations).with_taken(number, outer, inner)
        return table.updated(changed), fused


@dataclass(frozen=True, slots=True)
class Reorder(Step):
    """Put loops of one stage in the given order; loops not named keep their places."""

    NAME: ClassVar[str] = "reorder"

    axes: tuple[str, ...]

    def apply(self, table: Table, number: int) -> Table:
        """Permute the named leaves among the places that they hold."""
        stage = self.state(table)
        axes = [self.leaf(table, name) for name in self.axes]
        twice = [a.name for a in axes if axes.count(a) > 1]
        if twice:
            raise self.refuse(table, stage, None, f"axis {twice[0]} is given twice", "each axis once")
        order = iter(axes)
        leaves = tuple(next(order) if a in axes else a for a in stage.leaves)
        return table.updated(replace(stage, leaves=leaves))


def refuse_if_used(step: Step, table: Table, stage: StageState, axis: Axis) -> None:
    """Refuse to take an axis that another decision already relies on."""
    for guest in table.stages.values():
        match guest.place:
            case At(host, at) if host == stage.id and at is axis:
                fact = f"stage {guest.id} is computed at axis {axis.name} (step {guest.placed_by})"
                raise step.refuse(table, stage, axis, fact, f"{step.NAME} first, then compute_at one of the new axes")
            case _:
                pass
    loop = stage.loop(axis)
    if loop != Loop():
        fact = f"axis {axis.name} is already {loop} (step {loop.step})"
        raise step.refuse(table, stage, axis, fact, f"{step.NAME} first, then mark one of the new axes")
    if axis.kind is AxisKind.SCAN:
        raise step.refuse(table, stage, axis, "the steps of a scan run one after the other", "other axes")
