"""How far a computed float result may be from the exact one."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..ir.expr import Call, Const, Expr
from ..ir.visit import walk
from .evaluate import operations
from .machine import unit_roundoff
from .operation import ComputeOp, Operation, ScanOp
from .tensor import Tensor

_MATHS_ULPS = 4  # the error that vectorised maths functions are allowed, in units in the last place


def tolerance(output: Tensor, lengths: Mapping[Operation, int] | None = None) -> float:
    """Give the greatest error of `output` relative to the sum of its terms' magnitudes; 0 for integers.

    A sum of K terms in any order errs by less than (K - 1) u, each product and each other operation by u, a maths
    function by 4 units in the last place (8 u), where u is half the distance from 1 to the next number.  Errors add
    along a chain of operators; twice the sum covers the one that is compared with.  Where terms may cancel, compare
    with the scale of the result (its largest magnitude), not element by element.
    lengths  terms per element of reductions and steps of scans whose extents are symbolic, by operator
    Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, sections 3.1 and 4.2.
    """
    if not output.dtype.is_float:
        return 0.0
    errors: dict[Operation, float] = {}
    for op in operations([output]):
        inherited = max((errors[t.op] for t in op.inputs), default=0.0)
        errors[op] = _amplified(op, inherited, lengths or {})
    return 2 * errors[output.op]


def _amplified(op: Operation, inherited: float, lengths: Mapping[Operation, int]) -> float:
    match op:
        case ComputeOp(body=body):
            nodes = [node for expression in body for node in walk(expression) if isinstance(node, Expr)]
            unit = max((unit_roundoff(x.dtype) for x in body if x.dtype.is_float), default=0.0)
            maths = sum(2 * _MATHS_ULPS for node in nodes if isinstance(node, Call))
            rounded = sum(node.dtype.is_float and not isinstance(node, Const) for node in nodes)
            return inherited + unit * (lengths.get(op, _terms(op)) + maths + rounded)
        case ScanOp():
            return inherited * lengths.get(op, _literal(op.scan_axis.extent))
        case _:
            return inherited


def _terms(op: ComputeOp) -> int:
    return math.prod(_literal(axis.extent) for axis in op.reduce_axis)


def _literal(extent: object) -> int:
    match extent:
        case Const(value):
            return int(value)
        case _:
            return 1
