"""Counting the arithmetic that expressions ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...ir import expr as e
from ...ir.dtype import boolean
from ...ir.visit import children
from ..arguments import listed
from ..evaluate import operations
from ..extents import Sizes, steps
from ..nodes import Read, Reduce
from ..operation import ComputeOp, Operation
from ..tensor import Tensor

_COUNTED = frozenset({e.Add, e.Sub, e.Mul, e.Div, e.FloorDiv, e.FloorMod, e.Min, e.Max, e.Call})


def flops(outputs: Tensor | Sequence[Tensor], sizes: Sizes | None = None) -> int:
    """Give the operations on elements that computing `outputs` takes: a multiply-add 2, a maths function 1.

    Arithmetic of indices and conditions is not counted.  sizes gives the values of symbolic sizes.
    Raises ExpressionError for an extent that stays unknown.
    """
    return sum(_of_operator(op, sizes) for op in operations(listed(outputs)))


def _of_operator(op: Operation, sizes: Sizes | None) -> int:
    match op:
        case ComputeOp(axes=axes, reduction=Reduce(reducer, values, over)):
            return steps("flops", (*axes, *over), sizes) * sum(map(_arithmetic, (*reducer.result, *values)))
        case ComputeOp(axes=axes, body=body):
            return steps("flops", axes, sizes) * sum(map(_arithmetic, body))
        case _:
            return 0


def _arithmetic(expression: e.Expr) -> int:
    """Give the number of distinct operations on elements; the inside of reads and conditions is left out."""
    seen: dict[int, e.Expr] = {}
    stack: list[e.Expr] = [expression]
    while stack:
        node = stack.pop()
        if id(node) in seen or node.dtype == boolean:
            continue
        seen[id(node)] = node
        stack.extend(_elements(node))
    return sum(type(node) in _COUNTED for node in seen.values())


def _elements(node: e.Expr) -> Iterable[e.Expr]:
    """Give the direct parts of `node` that are values of elements."""
    match node:
        case Read():
            return ()
        case _:
            return children(node)  # type: ignore[return-value]  # expressions hold no statements
