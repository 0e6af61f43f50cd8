"""Counting the arithmetic that expressions ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...ir import expr as e
from ...ir.errors import ExpressionError
from ...ir.visit import children, rewrite, substitute
from ..arguments import listed
from ..evaluate import operations
from ..nodes import Read, Reduce
from ..operation import ComputeOp
from ..tensor import Tensor

_COUNTED = (e.Add, e.Sub, e.Mul, e.Div, e.FloorDiv, e.FloorMod, e.Min, e.Max, e.Call)


def flops(outputs: Tensor | Sequence[Tensor], sizes: Mapping[e.Var, int] | None = None) -> int:
    """Give the operations on elements that computing `outputs` takes: a multiply-add 2, a maths function 1.

    Arithmetic of indices and conditions is not counted.  sizes gives the values of symbolic sizes.
    Raises ExpressionError for an extent that stays unknown.
    """
    wanted = listed(outputs)
    known: dict[e.Var, e.Expr] = {v: e.Const(n, v.dtype) for v, n in (sizes or {}).items()}
    return sum(_of_compute(op, known) for op in operations(wanted) if isinstance(op, ComputeOp))


def _of_compute(op: ComputeOp, sizes: Mapping[e.Var, e.Expr]) -> int:
    elements = math.prod(_extent(axis.extent, sizes) for axis in (*op.axis, *op.reduce_axis))
    match op.body[0]:
        case Reduce(reducer, values):
            return elements * sum(map(_operations, (*reducer.result, *values)))
        case _:
            return elements * sum(map(_operations, op.body))


def _operations(expression: e.Expr) -> int:
    """Give the number of distinct operations on elements; the inside of reads and conditions is left out."""
    seen: dict[int, e.Expr] = {}
    stack: list[e.Expr] = [expression]
    while stack:
        node = stack.pop()
        if id(node) in seen or node.dtype.kind.value == "bool":
            continue
        seen[id(node)] = node
        stack.extend(() if type(node) is Read else children(node))  # type: ignore[arg-type]
    return sum(type(node) in _COUNTED for node in seen.values())


def _extent(extent: e.Expr, sizes: Mapping[e.Var, e.Expr]) -> int:
    match _folded(substitute(extent, sizes)):
        case e.Const(value):
            return int(value)
        case _:
            raise ExpressionError("flops", f"the extent {extent} is unknown", advice="sizes={n: 1024}")


def _folded(extent: e.Expr) -> e.Expr:
    folds = {e.Add: e.Expr.__add__, e.Sub: e.Expr.__sub__, e.Mul: e.Expr.__mul__, e.FloorDiv: e.Expr.__floordiv__}
    return rewrite(extent, lambda n: folds[type(n)](n.a, n.b) if type(n) in folds else None)  # type: ignore[union-attr]
