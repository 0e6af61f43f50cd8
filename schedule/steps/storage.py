"""Steps about how results are kept: scope, padding, copies, layout, swizzle, and which elements are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import ClassVar

from ...ir.arith import const
from ...ir.errors import ParseError
from ...ir.expr import Const, Expr, FloorDiv, FloorMod, Var
from ...ir.parser import parse_expr
from ...ir.simplify import simplify
from ...ir.visit import substitute
from ...te.axis import Axis
from ..swizzle import KINDS
from ..table import StageState, Table
from .place import refuse_fixed
from .step import Step

SCOPES = ("global", "local", "shared", "warp", "warpgroup")


@dataclass(frozen=True, slots=True)
class SetScope(Step):
    """Keep the stage in the given memory."""

    NAME: ClassVar[str] = "set_scope"

    scope: str

    def apply(self, table: Table, number: int) -> Table:
        """Set the scope.  Refused: unknown scopes, tensors of the caller."""
        stage = self.state(table)
        refuse_fixed(self, table, stage)
        check_scope(self, table, stage, self.scope)
        return table.updated(replace(stage, storage=replace(stage.storage, scope=self.scope)))


def check_scope(step: Step, table: Table, stage: StageState, scope: str) -> None:
    """Refuse a scope that no machine has."""
    if scope not in SCOPES:
        raise step.refuse(table, stage, None, f"there is no scope {scope!r}", f"one of {', '.join(SCOPES)}")


@dataclass(frozen=True, slots=True)
class StorageAlign(Step):
    """Pad the stride of a dimension to `offset` modulo `factor` elements, against bank and cache-set conflicts."""

    NAME: ClassVar[str] = "storage_align"

    axis: str
    factor: int
    offset: int

    def apply(self, table: Table, number: int) -> Table:
        """Note the padding."""
        stage = self.state(table)
        refuse_fixed(self, table, stage)
        axis = next((a for a in stage.op.axis if a.name == self.axis), None)
        if axis is None:
            names = ", ".join(a.name for a in stage.op.axis)
            fact = f"{self.axis} is no dimension of {stage.id}"
            raise self.refuse(table, stage, None, fact, f"one of its dimensions {names}")
        if self.factor < 1 or not 0 <= self.offset < self.factor:
            fact = f"factor is {self.factor} and offset {self.offset}"
            raise self.refuse(table, stage, None, fact, "a factor of at least 1 and an offset from 0 to factor - 1")
        _refuse_second_layout(self, table, stage)
        aligns = (*stage.storage.aligns, (axis, self.factor, self.offset))
        return table.updated(replace(stage, storage=replace(stage.storage, aligns=aligns)))


@dataclass(frozen=True, slots=True)
class DoubleBuffer(Step):
    """Keep two copies and use them in turn, so that filling one can overlap reading the other."""

    NAME: ClassVar[str] = "double_buffer"

    def apply(self, table: Table, number: int) -> Table:
        """Note it.  Refused: a stage that is computed only once."""
        stage = self.state(table)
        refuse_fixed(self, table, stage)
        if stage.attached is None:
            fact = f"{stage.id} is computed once, so there is nothing to overlap"
            raise self.refuse(table, stage, None, fact, "compute_at a loop first")
        return table.updated(replace(stage, storage=replace(stage.storage, double_buffer=True)))


@dataclass(frozen=True, slots=True)
class TransformLayout(Step):
    """Keep the stage with its dimensions re-indexed; `layout` holds expressions in the names of its dimensions."""

    NAME: ClassVar[str] = "transform_layout"

    layout: tuple[str, ...]

    def apply(self, table: Table, number: int) -> Table:
        """Parse and set the layout.

        Refused: tensors of the caller; a map that is not one to one, or takes a padded dimension apart.
        """
        stage = self.state(table)
        if stage.is_output or stage.is_placeholder:
            fact = f"{stage.id} belongs to the caller, who has laid it out"
            raise self.refuse(table, stage, None, fact, "cache_read or cache_write it, and transform the cache")
        if stage.compute is None:
            raise self.refuse(table, stage, None, f"{stage.id} is no compute", "a stage with an expression")
        _refuse_second_layout(self, table, stage, transformed=False)
        layout = tuple(self._parsed(table, stage, text) for text in self.layout)
        if not is_one_to_one(stage.op.axis, layout):
            fact = f"the mapping to [{', '.join(self.layout)}] cannot be proved one to one"
            raise self.refuse(
                table, stage, None, fact, "a permutation of the dimensions, each whole or as d // n and d % n"
            )
        apart = [a.name for a, _, _ in stage.storage.aligns if all(e is not a.var for e in layout)]
        if apart:
            fact = f"the stride of {apart[0]} is padded, and the mapping takes {apart[0]} apart"
            raise self.refuse(table, stage, None, fact, f"a mapping with {apart[0]} whole among the new indices")
        return table.updated(replace(stage, storage=replace(stage.storage, layout=layout)))

    def _parsed(self, table: Table, stage: StageState, text: str) -> Expr:
        names = {a.name: a.var for a in stage.op.axis}
        try:
            return parse_expr(text, names)
        except ParseError as error:
            raise self.refuse(table, stage, None, error.fact, f"expressions in {', '.join(names)}") from None


@dataclass(frozen=True, slots=True)
class Swizzle(Step):
    """Permute the 16-byte pieces of each row by an exclusive or with the row's number."""

    NAME: ClassVar[str] = "swizzle"

    kind: str

    def apply(self, table: Table, number: int) -> Table:
        """Note the kind.  Refused: tensors of the caller, unknown kinds, a layout that is set already."""
        stage = self.state(table)
        refuse_fixed(self, table, stage)
        if self.kind not in KINDS:
            raise self.refuse(table, stage, None, f"there is no swizzle {self.kind!r}", f"one of {', '.join(KINDS)}")
        _refuse_second_layout(self, table, stage, padded=bool(stage.storage.aligns))
        return table.updated(replace(stage, storage=replace(stage.storage, swizzle=self.kind)))


def _refuse_second_layout(
    step: Step, table: Table, stage: StageState, padded: bool = False, transformed: bool = True
) -> None:
    """Refuse to lay out a stage in two ways that do not go together."""
    storage = stage.storage
    ways = {
        "storage_align": padded,
        "transform_layout": transformed and storage.layout is not None,
        "swizzle": storage.swizzle != "",
    }
    for by in (name for name, taken in ways.items() if taken):
        raise step.refuse(table, stage, None, f"{stage.id} is laid out by {by} already", "one layout for each stage")


EXHAUSTIVE_ELEMENTS = 4096


def is_one_to_one(axes: Sequence[Axis], layout: Sequence[Expr]) -> bool:
    """Tell whether different elements are sure to keep different places, none of them negative.

    True if every dimension stands among the new indices whole, or as both `d // n` and `d % n`; small tensors of
    constant shape are tried out.
    """
    if all(_recoverable(a.var, layout) for a in axes):
        return True
    sizes = [a.size for a in axes]
    known = [n for n in sizes if n is not None]
    if len(known) < len(sizes) or prod(known) > EXHAUSTIVE_ELEMENTS:
        return False
    places: set[tuple[int, ...]] = set()
    for point in product(*(range(n) for n in known)):
        values = {a.var: const(i) for a, i in zip(axes, point, strict=True)}
        place = [simplify(substitute(e, values)) for e in layout]
        numbers = tuple(int(p.value) for p in place if isinstance(p, Const))
        if len(numbers) < len(place) or min(numbers, default=0) < 0 or numbers in places:
            return False
        places.add(numbers)
    return True


def _recoverable(var: Var, layout: Sequence[Expr]) -> bool:
    quotients: set[int] = set()
    remainders: set[int] = set()
    for expression in layout:
        match expression:
            case Var() if expression is var:
                return True
            case FloorDiv(a, Const(n)) if a is var and n > 0:
                quotients.add(int(n))
            case FloorMod(a, Const(n)) if a is var and n > 0:
                remainders.add(int(n))
            case _:
                pass
    return bool(quotients & remainders)


@dataclass(frozen=True, slots=True)
class SetStorePredicate(Step):
    """Store elements only where a condition on the stage's axes holds; the others keep what the memory held."""

    NAME: ClassVar[str] = "set_store_predicate"

    condition: str

    def apply(self, table: Table, number: int) -> Table:
        """Parse and set the condition."""
        stage = self.state(table)
        names = {a.name: a.var for a in stage.axes if a.name.isidentifier()}
        try:
            condition = parse_expr(self.condition, names)
        except ParseError as error:
            advice = f"a comparison in {', '.join(names)}"
            if "threadIdx" in self.condition:
                advice = "no such step where threads share a reduction, which is stored once; else " + advice
            raise self.refuse(table, stage, None, error.fact, advice) from None
        return table.updated(replace(stage, predicate=condition))
