"""Proof that an operator reads its inputs in bounds, for every iteration and every condition on the way."""

from __future__ import annotations

from typing import NamedTuple

from ..ir import arith
from ..ir.affine import reads_memory
from ..ir.errors import ExpressionError
from ..ir.expr import And, Expr, IfThenElse, Le, Lt, Not, Or, Var
from ..ir.interval import Bounds, Interval, prove
from ..ir.visit import Node, children
from ..te.axis import Axis
from ..te.nodes import Read, Reduce
from ..te.operation import ComputeOp, Operation

Ranges = dict[Var, Interval]
Facts = tuple[Expr, ...]  # each at least 0 where it is known
Done = set[tuple[int, Facts] | tuple[int, int, Facts]]  # what was checked: (node, facts), (index, extent, facts)


class _Known(NamedTuple):
    """Where the axes of an operator lie, and what follows from it."""

    ranges: Ranges
    bounds: Bounds


def check_accesses(op: Operation, step: Axis | None = None) -> None:
    """Refuse a compute with an access that is not proved in bounds.

    step  the step axis of the scan that the operator is part of: its first dimension then runs over the steps alone

    Schedules keep the iterations of an operator, so one proof serves all of them.  Conditions of if_then_else and of
    `where=` count; those of select do not, since both sides of a select may be evaluated.
    Raises ExpressionError naming the access, the index, and the dimension.
    """
    match op:
        case ComputeOp(body=bodies):
            pass
        case _:
            return
    ranges: Ranges = {a.var: Interval(a.start, arith.sub(arith.add(a.start, a.extent), 1)) for a in op.axis}
    ranges |= {a.var: Interval(a.start, arith.sub(arith.add(a.start, a.extent), 1)) for a in op.reduce_axis}
    if step is not None and op.axis:
        ranges[op.axis[0].var] = Interval(step.start, arith.sub(arith.add(step.start, step.extent), 1))
    known, done = _Known(ranges, Bounds(ranges)), Done()
    for body in bodies:
        _check(op, body, known, (), done)


def _check(op: Operation, node: Node, known: _Known, facts: Facts, done: Done) -> None:
    if (id(node), facts) in done:
        return
    done.add((id(node), facts))
    match node:
        case IfThenElse(condition, then, otherwise):
            _check(op, condition, known, facts, done)
            _check(op, then, known, facts + _facts(condition), done)
            _check(op, otherwise, known, facts + _facts_of_negation(condition), done)
        case And(a, b):
            _check(op, a, known, facts, done)
            _check(op, b, known, facts + _facts(a), done)
        case Or(a, b):
            _check(op, a, known, facts, done)
            _check(op, b, known, facts + _facts_of_negation(a), done)
        case Reduce(values=values, condition=condition, init=init):
            _check(op, condition, known, facts, done)
            for value in values:
                _check(op, value, known, facts + _facts(condition), done)
            for start in init:
                _check(op, start, known, facts, done)
        case Read(tensor, indices):
            for index, extent, dimension in zip(indices, tensor.shape, range(len(indices)), strict=True):
                if (id(index), id(extent), facts) not in done:
                    _check_index(op, node, index, extent, dimension, known, facts)
                    done.add((id(index), id(extent), facts))
                _check(op, index, known, facts, done)
        case _:
            for child in children(node):
                _check(op, child, known, facts, done)


def _check_index(
    op: Operation, read: Read, index: Expr, extent: Expr, dimension: int, known: _Known, facts: Facts
) -> None:
    ranges = known.ranges
    if _is_plainly_inside(index, extent, ranges):
        return
    low, high = known.bounds.constant(index)
    if _is_within(low, high, extent) and not reads_memory(index):
        return
    if _holds(index, ranges, facts) and _holds(arith.sub(arith.sub(extent, 1), index), ranges, facts):
        return
    span = f"{'-inf' if low is None else low} to {'inf' if high is None else high}"
    raise ExpressionError(
        "compute",
        f"{read} in {op.name} is not proved in bounds: index {dimension}, `{index}`, may be {span} "
        f"and the extent is {extent}",
        where=f"  operator {op.name}, axes {', '.join(a.name for a in (*op.axis, *op.reduce_axis))}",
        advice="te.if_then_else(condition, element, otherwise) around it, or clip the index with min and max",
    )


def _is_plainly_inside(index: Expr, extent: Expr, ranges: Ranges) -> bool:
    """Tell whether `index` is an axis of known range that is within a known extent: most are, and need no proof."""
    range_of = ranges.get(index) if type(index) is Var else None
    if range_of is None or range_of.lo is None or range_of.hi is None:
        return False
    return _is_within(arith.int_value(range_of.lo), arith.int_value(range_of.hi), extent)


def _is_within(low: int | None, high: int | None, extent: Expr) -> bool:
    """Tell whether known bounds are within a known extent."""
    size = arith.int_value(extent)
    return low is not None and high is not None and size is not None and low >= 0 and high < size


def _holds(value: Expr, ranges: Ranges, facts: Facts) -> bool:
    """Tell whether `value` is at least 0: by the ranges alone, or because it exceeds a known fact."""
    if prove(Le(arith.const(0, value.dtype), value), ranges):
        return True
    return any(prove(Le(arith.const(0, value.dtype), arith.sub(value, fact)), ranges) for fact in facts)


def _facts(condition: Expr) -> Facts:
    """Give expressions that are at least 0 where `condition` holds."""
    match condition:
        case And(a, b):
            return _facts(a) + _facts(b)
        case Le(a, b) if a.dtype.is_int:
            return (arith.sub(b, a),)
        case Lt(a, b) if a.dtype.is_int:
            return (arith.sub(arith.sub(b, a), 1),)
        case Not(a):
            return _facts_of_negation(a)
        case _:
            return ()


def _facts_of_negation(condition: Expr) -> Facts:
    """Give expressions that are at least 0 where `condition` fails."""
    match condition:
        case Or(a, b):
            return _facts_of_negation(a) + _facts_of_negation(b)
        case Le(a, b) if a.dtype.is_int:
            return (arith.sub(arith.sub(a, b), 1),)
        case Lt(a, b) if a.dtype.is_int:
            return (arith.sub(a, b),)
        case Not(a):
            return _facts(a)
        case _:
            return ()
