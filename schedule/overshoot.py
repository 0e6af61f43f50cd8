"""What happens where the region of a stage reaches beyond its tensor: tails of tiles that do not divide."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from ..ir import arith
from ..ir.expr import Expr, Le, Lt
from ..ir.interval import prove
from ..ir.visit import substitute
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

    def of(self, stage: str) -> Overshoot:
        """Give how the stage treats them."""
        if stage not in self._known:
            self._known[stage] = self._choose(self._result.stages[stage])
        return self._known[stage]

    def _choose(self, derived: Derived) -> Overshoot:
        stage = derived.stage
        around = (*derived.enclosing, *derived.own_loops)
        own_memory = stage.attached is not None and stage.scan is None and stage.compute is not None
        if not own_memory or stage.predicate is not None or not any(v in self._result.threads for v in around):
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
            place = arith.sub(substitute(index, derived.index), start)
            if not (prove(Le(ZERO, place), self._result.ranges) and prove(Lt(place, extent), self._result.ranges)):
                return False
        return True
