"""What happens where the region of a stage reaches beyond its tensor: tails of tiles that do not divide."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from ..ir import arith
from ..ir.expr import Add, Cast, Expr, Le, Lt, Mul
from ..ir.interval import prove
from ..ir.simplify import simplifier
from ..ir.visit import same, substitute
from ..te.axis import Axis
from ..te.nodes import Read, Reducer, is_unconditional
from ..te.operation import ComputeOp
from .derive import ZERO, Derivation, Derived, accesses
from .storage import Key, Store


class Overshoot(Enum):
    """How a stage treats elements of its region that lie outside of its tensor, which no result depends on."""

    GUARDED = "guarded"  # they are not computed
    FILLED = "filled"  # they become 0
    COMPUTED = "computed"  # they are computed like any other, from what was computed or filled for the same reason


class Overshoots:
    """Chooses for each stage.

    On a CPU tails are guarded, and code generation splits them off.  The threads of a GPU run in step, so that a guard
    in the innermost loop costs all of them: what is kept in shared memory or registers is filled, or computed anyway.
    """

    def __init__(self, result: Derivation, stores: Mapping[Key, Store]) -> None:
        self._result, self._stores = result, stores
        self._known: dict[str, Overshoot] = {}
        self._simple = simplifier(result.ranges)

    def of(self, stage: str) -> Overshoot:
        """Give how the stage treats them."""
        if stage not in self._known:
            self._known[stage] = self._choose(self._result.stages[stage])
        return self._known[stage]

    def guards(self, derived: Derived) -> tuple[Expr, ...]:
        """Give the conditions under which iterations of a stage count, without those that make no difference.

        What a sum of products adds beyond its end is 0 where the factors there are filled with 0.
        """
        if self.of(derived.stage.id) is not Overshoot.COMPUTED:
            return derived.guards
        return tuple(guard for guard in derived.guards if not self._adds_nothing(derived, guard))

    def _adds_nothing(self, derived: Derived, guard: Expr) -> bool:
        """Tell whether iterations in which `guard` does not hold add 0 to a sum."""
        op = derived.stage.compute
        reduction = op.reduction if op is not None else None
        if reduction is None or not _is_sum(reduction.reducer) or not is_unconditional(reduction):
            return False
        axis = next((a for a in reduction.axes if same(Lt(derived.index[a.var], a.extent), guard)), None)
        return axis is not None and self._is_zero(reduction.values[0], axis)

    def _is_zero(self, value: Expr, axis: Axis) -> bool:
        """Tell whether a value is 0 where `axis` is beyond its end."""
        match value:
            case Cast(value=inner):
                return self._is_zero(inner, axis)
            case Add(a, b) | Mul(a, b):
                return self._is_zero(a, axis) and self._is_zero(b, axis)
            case Read(tensor, indices):
                return self._reads_zero(self._result.stages[self._result.table.aliases[id(tensor.op)]], indices, axis)
            case _:
                return False

    def _reads_zero(self, producer: Derived, indices: tuple[Expr, ...], axis: Axis) -> bool:
        """Tell whether what a stage has at `indices` is 0 where `axis`, which is one of them, is beyond its end."""
        place = next((d for d, index in enumerate(indices) if index is axis.var), None)
        if place is None:
            return False
        twin = producer.stage.op.axis[place]
        alike = all(arith.is_const(a.start, 0) for a in (axis, twin)) and prove(arith.eq(axis.extent, twin.extent), {})
        match self.of(producer.stage.id), producer.stage.op:
            case Overshoot.FILLED, ComputeOp():
                return alike
            case Overshoot.COMPUTED, ComputeOp(body=(value,), reduction=None):
                return alike and self._is_zero(value, twin)
            case _:
                return False

    def _choose(self, derived: Derived) -> Overshoot:
        stage = derived.stage
        own_memory = stage.attached is not None and stage.scan is None and stage.compute is not None
        if not own_memory or stage.predicate is not None or not self._result.is_of_gpu(stage):
            return Overshoot.GUARDED
        if all(self._is_there(derived, key, indices) for key, indices in self._reads(derived)):
            return Overshoot.COMPUTED
        return Overshoot.GUARDED if stage.op.reduce_axis else Overshoot.FILLED

    def _reads(self, derived: Derived) -> list[tuple[Key, tuple[Expr, ...] | None]]:
        aliases = self._result.table.aliases
        return [((aliases[id(t.op)], t.component), indices) for t, indices in accesses(derived.stage)]

    def _is_there(self, derived: Derived, key: Key, indices: tuple[Expr, ...] | None) -> bool:
        """Tell whether everything that the stage reads there, overshoot included, has a value."""
        producer = self._result.stages[key[0]]
        if indices is None or producer.stage.attached is None or producer.stage.compute is None:
            return False
        if producer.domain and self.of(key[0]) is Overshoot.GUARDED:
            return False
        starts, extents = producer.region.start, producer.region.extent
        for index, start, extent in zip(indices, starts, extents, strict=True):
            place = arith.sub(derived.together(substitute(index, derived.apart), self._simple), start)
            if not (prove(Le(ZERO, place), self._result.ranges) and prove(Lt(place, extent), self._result.ranges)):
                return False
        return True


def _is_sum(reducer: Reducer) -> bool:
    match reducer.result:
        case (Add(a, b),):
            return {a, b} == {*reducer.left, *reducer.right}
        case _:
            return False
