"""The step that makes a reduction loop a spatial axis of a partial result: rfactor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

from ...ir import arith
from ...ir.expr import Expr, Var
from ...ir.visit import substitute
from ...te.axis import Axis, AxisKind
from ...te.nodes import Read, Reduce
from ...te.operation import ComputeOp
from ..relations import extents_of, guards_of, values_of
from ..table import StageState, Table, is_reduce_axis, is_reduction
from .cache import place_of
from .step import Step, axis_key


@dataclass(frozen=True, slots=True)
class RFactor(Step):
    """Reduce in two stages: the new one keeps the values of `axis` apart, the old one combines them.

    factor_axis  position of the new dimension in the partial result
    """

    NAME: ClassVar[str] = "rfactor"

    axis: str
    factor_axis: int
    partial: str  # name of the new stage

    def apply(self, table: Table, number: int) -> Table:
        """Insert the partial stage; the stage reduces over the factored axis alone."""
        stage, axis = self.state(table), self.leaf(table, self.axis)
        self._check(table, stage, axis)
        op = stage.compute
        assert op is not None
        partial = self._partial(stage, op, axis)
        final, over = self._final(stage, op, axis, partial)
        spatial = tuple(r for r in stage.relations if not is_reduce_axis(next(iter(_parents(r)))))
        leaves = (*(a for a in stage.leaves if not is_reduce_axis(a)), over)
        loops = MappingProxyType({a: loop for a, loop in stage.loops.items() if not is_reduce_axis(a)})
        gone = [a for a in stage.axes if is_reduce_axis(a)]
        combined = replace(stage, op=final, leaves=leaves, relations=spatial, loops=loops).with_taken(number, *gone)
        made = replace(StageState.of(partial, self.partial), place=place_of(table, stage))
        return table.inserted(made, before=stage.id).updated(combined)

    def _check(self, table: Table, stage: StageState, axis: Axis) -> None:
        if not is_reduction(stage) or not is_reduce_axis(axis):
            fact = f"axis {axis.name} is no reduction"
            names = [a.name for a in stage.leaves if is_reduce_axis(a)]
            raise self.refuse(table, stage, axis, fact, f"a reduction loop: {', '.join(names) or 'there is none'}")
        dims = len(stage.op.axis)
        if not -1 - dims <= self.factor_axis <= dims:
            fact = f"factor_axis is {self.factor_axis} for a result of {dims} dimensions"
            raise self.refuse(table, stage, axis, fact, f"a position from 0 to {dims}")
        for guest, at in table.attached(stage):
            fact = f"stage {guest.id} is computed at axis {at.name} (step {guest.placed_by})"
            raise self.refuse(table, stage, at, fact, "rfactor first, then compute_at")
        reduction = stage.compute and stage.compute.reduction
        if reduction is not None and reduction.init:
            fact = "the reduction has start values, which two stages would both take in"
            raise self.refuse(table, stage, axis, fact, "a reduction without init, and add the start afterwards")

    def _partial(self, stage: StageState, op: ComputeOp, axis: Axis) -> ComputeOp:
        """Give the operator that reduces over every reduction loop but `axis`."""
        leaves = [a for a in stage.leaves if is_reduce_axis(a)]
        roots = {a: a.extent for a in stage.roots}
        extents = extents_of(stage.relations, roots)
        fresh = {a: self._axis_for(a, extents, a is axis) for a in leaves}
        spatial = {a: replace(a, var=Var(a.name, a.var.dtype)) for a in op.axes}
        starts: dict[Axis, Expr] = {a: b.var for a, b in fresh.items()}
        reductions = tuple(r for r in stage.relations if is_reduce_axis(next(iter(_parents(r)))))
        values = values_of(reductions, extents, starts)
        guards = [condition for _, condition in guards_of(reductions, extents, values)]
        replaced: dict[Var, Expr] = {a.var: arith.add(a.start, values[a]) for a in op.reduce_axis}
        replaced |= {a.var: b.var for a, b in spatial.items()}
        axes = tuple(b for a, b in fresh.items() if a is not axis)
        body = tuple(self._factored(b, axes, replaced, guards) for b in op.body)
        dims = list(spatial.values())
        at = self.factor_axis if self.factor_axis >= 0 else len(dims) + 1 + self.factor_axis
        dims.insert(at, fresh[axis])
        return ComputeOp(self.partial, tuple(dims), body)

    def _axis_for(self, axis: Axis, extents: Mapping[Axis, Expr], factored: bool) -> Axis:
        kind = AxisKind.SPATIAL if factored else AxisKind.REDUCE
        return Axis(Var(axis.name), extents[axis], kind)

    def _factored(self, body: Expr, axes: tuple[Axis, ...], replaced: Mapping[Var, Expr], guards: list[Expr]) -> Expr:
        assert isinstance(body, Reduce)
        values = tuple(substitute(v, replaced) for v in body.values)
        condition = arith.logical_and(substitute(body.condition, replaced), *guards)
        if axes:
            return Reduce(body.reducer, values, axes, condition, (), body.component)
        identity = body.reducer.identity[body.component]
        return arith.if_then_else(condition, values[body.component], identity)

    def _final(self, stage: StageState, op: ComputeOp, axis: Axis, partial: ComputeOp) -> tuple[ComputeOp, Axis]:
        """Give the operator that combines the partial results, and its reduction axis."""
        first = op.reduction
        assert first is not None
        dims = len(op.axes)
        at = self.factor_axis if self.factor_axis >= 0 else dims + 1 + self.factor_axis
        over = Axis(Var(f"{axis_key(stage, axis).replace('#', '_')}_v"), partial.axes[at].extent, AxisKind.REDUCE)
        index: list[Expr] = [a.var for a in op.axes]
        index.insert(at, over.var)
        reads = tuple(Read(partial.output(c), tuple(index)) for c in range(partial.num_outputs))
        body = tuple(Reduce(first.reducer, reads, (over,), arith.const(True), (), c) for c in range(len(op.body)))
        return replace(op, body=body), over


def _parents(relation: object) -> tuple[Axis, ...]:
    parent = getattr(relation, "parent", None)
    return (parent,) if parent is not None else (relation.outer, relation.inner)  # type: ignore[attr-defined]
