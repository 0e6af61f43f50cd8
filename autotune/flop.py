"""Counting the floating-point operations of a tensor expression."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..ir.expr import Add, Call, Const, Div, Expr, FloorDiv, FloorMod, IfThenElse, Max, Min, Mul, Select, Sub
from ..ir.visit import children
from ..te.axis import Axis
from ..te.nodes import Read, Reduce
from ..te.operation import ComputeOp, Operation
from ..te.tensor import Tensor

_COUNTED = {Add, Sub, Mul, Div, FloorDiv, FloorMod, Min, Max, Call}


def count_flop(outputs: Sequence[Tensor]) -> float:
    """Give the arithmetic operations on tensor elements that computing `outputs` takes; a multiply-add counts 2.

    Index arithmetic does not count.  Axes of unknown extent count once.
    """
    return float(sum(_op_flop(op) for op in _operators(outputs)))


def _operators(outputs: Sequence[Tensor]) -> list[Operation]:
    found: dict[int, Operation] = {}
    stack = [t.op for t in outputs]
    while stack:
        op = stack.pop()
        if id(op) not in found:
            found[id(op)] = op
            stack.extend(t.op for t in op.inputs)
    return list(found.values())


def _op_flop(op: Operation) -> int:
    if type(op) is not ComputeOp:
        return 0
    points = _steps(op.axes)
    first = op.body[0]
    if type(first) is Reduce:
        combine = sum(_arithmetic(e) for e in first.reducer.result)
        return points * _steps(first.axes) * (combine + sum(_arithmetic(e) for e in first.values))
    return points * sum(_arithmetic(e) for e in op.body)


def _arithmetic(expression: Expr) -> int:
    count, stack, seen = 0, [expression], set[int]()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        count += type(node) in _COUNTED
        match node:
            case Read():  # its children are index arithmetic
                pass
            case Select(_, then, otherwise) | IfThenElse(_, then, otherwise):
                stack += [then, otherwise]
            case _:
                stack += children(node)  # type: ignore[arg-type]
    return count


def _steps(axes: Sequence[Axis]) -> int:
    return prod(a.extent.value for a in axes if type(a.extent) is Const)  # type: ignore[misc]
