"""Putting the expressions of inlined stages in place of their elements."""

from __future__ import annotations

from dataclasses import replace

from ..ir.visit import Node, rewrite, substitute
from ..te.nodes import Read
from ..te.operation import ComputeOp
from .table import StageState, Table


def inlined(table: Table) -> Table:
    """Give the table without its inlined stages; producers are substituted before consumers."""
    chosen = {name for name, s in table.stages.items() if s.is_inline}
    if not chosen:
        return table
    bodies: dict[str, ComputeOp] = {}
    changed: list[StageState] = []
    for name, stage in table.stages.items():
        op = stage.compute
        if op is None:
            continue
        if any(table.aliases[id(t.op)] in chosen for t in op.inputs):
            op = _substituted(table, op, bodies)
            changed.append(replace(stage, op=op))
        if name in chosen:
            bodies[name] = op
    kept = table.updated(*changed)
    return replace(kept, stages={n: s for n, s in kept.stages.items() if n not in chosen})


def _substituted(table: Table, op: ComputeOp, bodies: dict[str, ComputeOp]) -> ComputeOp:
    def rule(node: Node) -> Node | None:
        match node:
            case Read(tensor, indices):
                producer = bodies.get(table.aliases[id(tensor.op)])
                if producer is None:
                    return None
                values = {a.var: i for a, i in zip(producer.axes, indices, strict=True)}
                return substitute(producer.body[tensor.component], values)
            case _:
                return None

    memo: dict[int, tuple[Node, Node]] = {}
    return replace(op, body=tuple(rewrite(b, rule, memo) for b in op.body))
