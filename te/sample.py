"""Which elements of its inputs a part of a tensor takes, and how many operations that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..ir import expr as e
from ..ir.arith import int_value
from ..ir.visit import of_kind
from .contraction import is_product
from .evaluate import Boxes, operations
from .extents import steps
from .grid import Box, Grid, Held, Kept, Run, expanded
from .machine import Machine
from .nodes import Read
from .operation import ComputeOp, Operation, PlaceholderOp
from .tensor import Tensor

OTHER_S = 3e-9  # of a term or element that is computed one by one


def needed(outputs: Sequence[Tensor], wanted: Boxes) -> Boxes:
    """Give the elements of each operator that `outputs` need of which only the elements `wanted` are asked for.

    outputs  all of one shape in numbers, as are all operators that they need
    wanted   elements of operators among the outputs; all of the others
    Operators of which all are needed are left out, and so are all before a scan or an extern operator.
    """
    boxes: dict[Operation, Box] = dict(wanted)
    whole: set[Operation] = {t.op for t in outputs if t.op not in wanted}
    for op in reversed(operations(outputs)):
        box = None if op in whole else boxes.get(op)
        match op:
            case ComputeOp() if box is not None:
                for read in _reads(op):
                    _widen(boxes, read.tensor.op, _touched(op, box, read))
            case _:
                whole |= {t.op for t in op.inputs}
    return {op: box for op, box in boxes.items() if op not in whole and any(k.at is not None for k in box)}


@dataclass(frozen=True, slots=True)
class Work:
    """What an evaluation has to do.

    products  terms of products of matrices
    others    all other terms, and elements
    """

    products: int
    others: int

    def seconds(self, product_s: float) -> float:
        """Give about how long it takes; `product_s` is the time of a term of a product of large matrices."""
        return self.products * product_s + self.others * OTHER_S


def work(outputs: Sequence[Tensor], boxes: Boxes) -> Work:
    """Give the work of evaluating `outputs` as a reference, of which only `boxes` are computed."""
    products = others = 0
    for op in operations(outputs):
        elements = _count(op, boxes)
        terms = elements * steps("sample", op.reduce_axis)
        reduce = op.reduction if type(op) is ComputeOp else None
        if reduce is not None and is_product(reduce, [axis.var for axis in op.axis], wide=True):
            products += terms
            others += sum(_count(tensor.op, boxes) for tensor in op.inputs)
        else:
            others += 0 if type(op) is PlaceholderOp else terms
        others += elements
    return Work(products, others)


def _count(op: Operation, boxes: Boxes) -> int:
    return math.prod(kept.count for kept in boxes.get(op) or whole_box(op))


def whole_box(op: Operation) -> Box:
    """Give all elements of an operator, whose extents are numbers."""
    sizes = [int_value(extent) for extent in op.results[0][0]]
    return tuple(Kept(size) for size in sizes if size is not None)


def _reads(op: ComputeOp) -> set[Read]:
    conditions = () if op.reduction is None else (op.reduction.condition, *(op.reduction.init or ()))
    return {read for root in (*op.body, *conditions) for read in of_kind(root, Read)}


def _touched(op: ComputeOp, box: Box, read: Read) -> Box:
    """Give the elements of a tensor that are read for the elements `box` of an operator."""
    ndim = len(box)
    env: dict[e.Var, object] = {axis.var: kept.axis(d) for d, (axis, kept) in enumerate(zip(op.axes, box, strict=True))}
    for place, axis in enumerate(op.reduce_axis, start=ndim):
        start, count = int_value(axis.start), steps("sample", [axis])
        env[axis.var] = Run(place, start or 0, 1, count) if count > 1 else start or 0
    grid = Grid(ndim + len(op.reduce_axis), env, Machine(), _nothing, {})
    whole = whole_box(read.tensor.op)
    return tuple(_along(grid, index, kept) for index, kept in zip(read.indices, whole, strict=True))


def _along(grid: Grid, index: e.Expr, kept: Kept) -> Kept:
    if any(of_kind(index, Read)):
        return kept
    values = np.unique(np.clip(np.asarray(expanded(grid.index(index), grid.ndim)), 0, kept.extent - 1))
    return kept if len(values) == kept.extent else Kept(kept.extent, values)


def _widen(boxes: dict[Operation, Box], op: Operation, more: Box) -> None:
    """Add elements to those that are needed of an operator."""
    known = boxes.get(op)
    boxes[op] = more if known is None else tuple(map(_union, known, more))


def _union(a: Kept, b: Kept) -> Kept:
    if a.at is None or b.at is None:
        return Kept(a.extent)
    both = np.union1d(a.at, b.at)
    return Kept(a.extent, None if len(both) == a.extent else both)


def _nothing(tensor: Tensor) -> Held:
    raise AssertionError(f"an index reads {tensor.name}")
