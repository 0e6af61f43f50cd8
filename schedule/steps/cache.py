"""Steps that put a copy between a tensor and its readers or its writer: cache_read, cache_write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

from ...ir.expr import Expr, Var
from ...ir.visit import Node, rewrite
from ...te.axis import Axis
from ...te.nodes import Read
from ...te.operation import ComputeOp, ScanOp
from ...te.tensor import Tensor
from ..table import (
    At,
    Fuse,
    Place,
    Relation,
    Root,
    Split,
    StageState,
    Storage,
    Table,
    is_reduce_axis,
    scan_part,
)
from .step import Step
from .storage import check_scope


@dataclass(frozen=True, slots=True)
class CacheRead(Step):
    """Copy a tensor into a scope, and let the named readers read the copy."""

    NAME: ClassVar[str] = "cache_read"

    component: int
    scope: str
    readers: tuple[str, ...]
    cache: str  # name of the new stage

    def apply(self, table: Table, number: int) -> Table:
        """Insert the copying stage before the first reader."""
        source = self.state(table)
        check_scope(self, table, source, self.scope)
        tensor = source.op.output(self.component)
        readers = [self.state(table, name) for name in self.readers]
        for reader in readers:
            if reader.compute is None or reader.id not in {c.id for c in table.consumers(source)}:
                fact = f"stage {reader.id} does not read {source.id} element by element"
                names = ", ".join(c.id for c in table.consumers(source)) or "none"
                raise self.refuse(table, reader, None, fact, f"readers among {names}")
        axes = tuple(Axis(Var(f"ax{d}"), extent) for d, extent in enumerate(tensor.shape))
        copy = ComputeOp(self.cache, axes, (Read(tensor, tuple(a.var for a in axes)),))
        cached = copy.output(0)
        stage = replace(
            StageState.of(copy, self.cache), storage=Storage(scope=self.scope), place=place_of(table, source)
        )
        first = next(name for name in table.stages if name in self.readers)
        table = table.inserted(stage, before=first)
        redirect = self._redirect(table, source.id, cached)
        return table.updated(*(replace(r, op=with_body(r.op, redirect)) for r in readers))  # type: ignore[arg-type]

    def _redirect(self, table: Table, source: str, cached: Tensor) -> Callable[[Node], Node | None]:
        def rule(node: Node) -> Node | None:
            match node:
                case Read(tensor, indices) if (
                    tensor.component == self.component and table.aliases[id(tensor.op)] == source
                ):
                    return Read(cached, indices)
                case _:
                    return None

        return rule


def place_of(table: Table, stage: StageState) -> Place:
    """Give where a stage made from `stage` is computed at first: within the scan that it belongs to, else whole."""
    for scan in table.stages.values():
        match scan.op:
            case ScanOp(scan_axis=axis, state=state):
                states = [table.aliases[id(t.op)] for t in state if id(t.op) in table.aliases]
                part, name = scan_part(table, stage)
                if stage.id in states or (part in ("body", "update") and name == scan.id):
                    return At(scan.id, axis)
            case _:
                pass
    return Root()


def with_body(op: ComputeOp, rule: Callable[[Node], Node | None]) -> ComputeOp:
    """Give the operator with its expressions rewritten; the components of one reduction stay one."""
    memo: dict[int, tuple[Node, Node]] = {}
    return replace(op, body=tuple(rewrite(b, rule, memo) for b in op.body))


@dataclass(frozen=True, slots=True)
class CacheWrite(Step):
    """Compute a stage into a scope, and copy the result to where it belongs.

    What earlier steps made of the stage's loops goes with the computation; the copy starts with plain loops.
    """

    NAME: ClassVar[str] = "cache_write"

    scope: str
    cache: str  # name of the new stage

    def apply(self, table: Table, number: int) -> Table:
        """Insert the computing stage before the stage, which becomes the copy."""
        stage = self.state(table)
        check_scope(self, table, stage, self.scope)
        op = stage.compute
        if op is None:
            raise self.refuse(table, stage, None, f"{stage.id} is no compute", "a stage with an expression")
        for guest, at in table.attached(stage):
            fact = f"stage {guest.id} is computed at axis {at.name} of {stage.id} (step {guest.placed_by})"
            raise self.refuse(table, stage, at, fact, f"cache_write first, then compute_at a loop of {self.cache}")
        fresh = {a: _fresh(a) for a in stage.axes if not is_reduce_axis(a)}
        values = {a.var: b.var for a, b in fresh.items()}
        axes = tuple(fresh[a] for a in op.axes)
        cached = ComputeOp(self.cache, axes, tuple(_renamed(b, values) for b in op.body), tag=op.tag, attrs=op.attrs)
        cache = StageState(
            self.cache,
            cached,
            tuple(fresh.get(a, a) for a in stage.leaves),
            tuple(_moved(r, fresh) for r in stage.relations),
            MappingProxyType({fresh.get(a, a): loop for a, loop in stage.loops.items()}),
            place=place_of(table, stage),
            storage=Storage(scope=self.scope),
            taken=MappingProxyType({fresh.get(a, a): n for a, n in stage.taken.items()}),
        )
        reads = tuple(Read(cached.output(c), tuple(a.var for a in op.axes)) for c in range(op.num_outputs))
        copy = ComputeOp(op.name, op.axes, reads)
        gone = [a for a in stage.axes if a not in op.axes]
        plain = replace(
            stage, op=copy, leaves=op.axes, relations=(), loops=MappingProxyType({}), taken=MappingProxyType({})
        )
        return table.inserted(cache, before=stage.id).updated(plain.with_taken(number, *gone))


def _fresh(axis: Axis) -> Axis:
    return replace(axis, var=Var(f"{axis.name}_c", axis.var.dtype, axis.var.minimum))


def _renamed(body: Expr, values: Mapping[Var, Var]) -> Expr:
    return rewrite(body, lambda n: values.get(n) if isinstance(n, Var) else None)


def _moved(relation: Relation, fresh: Mapping[Axis, Axis]) -> Relation:
    match relation:
        case Split(parent, outer, inner, factor, nparts):
            return Split(fresh.get(parent, parent), fresh.get(outer, outer), fresh.get(inner, inner), factor, nparts)
        case Fuse(outer, inner, fused):
            return Fuse(fresh.get(outer, outer), fresh.get(inner, inner), fresh.get(fused, fused))
