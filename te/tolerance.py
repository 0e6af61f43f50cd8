"""How far a computed float result may be from the exact one."""

from __future__ import annotations

import math
from dataclasses import replace

from ..ir import expr as e
from ..ir.errors import ExpressionError
from ..ir.visit import of_kind
from .evaluate import operations
from .extents import Sizes, steps
from .machine import PRECISION, RELATIVE_ERROR, TF32, TF32_ROUNDOFF, unit_roundoff
from .operation import ComputeOp, Operation, ScanOp
from .tensor import Tensor

_MATHS = 2 * 4  # units: vectorised maths functions may be 4 units in the last place off
_DEVIATIONS = 8  # of a random walk; one in 10^13 goes further


def tolerance(output: Tensor, sizes: Sizes | None = None) -> float:
    """Give the greatest error of `output` relative to the scale of its terms; 0 for integers.

    A sum of K terms in any order errs by less than K u, where u is half the distance from 1 to the next number, and
    since roundings are as good as independent, hardly ever by more than 8 sqrt(K) u: the lesser one counts.  Each
    product and each other operation adds u, a maths function 8 u (4 units in the last place).  Factors that are rounded
    to tf32 put independent errors on all terms, which together make 8 times its u at most.  Errors add along a chain
    of operators; twice the sum covers the one that is compared with.  Where terms may cancel, compare with the scale
    of the result, such as its root mean square, not element by element.  An operator whose user accepts more
    (`accepting`) has that.
    sizes  values of symbolic sizes
    Raises ExpressionError for a reduction whose extent stays unknown.
    Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, sections 3.1 and 4.2; Higham, Mary,
    A New Approach to Probabilistic Rounding Error Analysis, SIAM J. Sci. Comput. 41(5), 2019.
    """
    if not output.dtype.is_float:
        return 0.0
    errors: dict[Operation, float] = {}
    for op in operations([output]):
        inherited = max((errors[t.op] for t in op.inputs), default=0.0)
        accepted = dict(op.attrs).get(RELATIVE_ERROR, 0.0)
        assert isinstance(accepted, float)
        errors[op] = max(_amplified(op, inherited, sizes), accepted / 2)
    return 2 * errors[output.op]


def accepting(output: Tensor, relative_error: float | None) -> Tensor:
    """Give `output` with the attribute that its user accepts an error relative to its scale; as it is for None.

    Raises ExpressionError for an error that is not above 0 and at most 1, for one that a direct evaluation exceeds, and
    for integers, which are exact.
    """
    if relative_error is None:
        return output
    fact = f"a relative error of {relative_error:g}"
    least = tolerance(output)
    if least == 0:
        raise ExpressionError(RELATIVE_ERROR, f"{fact} for results of {output.dtype}, which are exact", advice="None")
    if not 0 < relative_error <= 1:
        raise ExpressionError(RELATIVE_ERROR, fact, advice="a number above 0 and at most 1, such as 2e-4")
    if relative_error < least:
        known = f"{fact} is accepted of {output.name}, whose direct evaluation may be off by {least:.2g}"
        raise ExpressionError(RELATIVE_ERROR, known, advice=f"{_rounded_up(least):g} or more, or None")
    attrs = (*output.op.attrs, (RELATIVE_ERROR, float(relative_error)))
    return replace(output.op, attrs=attrs).output(output.component)


def _rounded_up(x: float) -> float:
    """Give the next number of two digits."""
    unit = 10.0 ** (math.floor(math.log10(x)) - 1)
    return math.ceil(x / unit) * unit


def _amplified(op: Operation, inherited: float, sizes: Sizes | None) -> float:
    match op:
        case ComputeOp(body=body):
            terms = steps("tolerance", op.reduce_axis, sizes)
            unit = max((unit_roundoff(x.dtype) for x in body if x.dtype.is_float), default=0.0)
            factors = _DEVIATIONS * TF32_ROUNDOFF if dict(op.attrs).get(PRECISION) == TF32 else 0.0
            return inherited + unit * min(terms, _DEVIATIONS * math.sqrt(terms)) + sum(map(_rounding, body)) + factors
        case ScanOp():
            return inherited * steps("tolerance", [op.scan_axis], sizes)
        case _:
            return inherited


def _rounding(expression: e.Expr) -> float:
    """Give the rounding errors of the operations of an expression, each as if it were the last one."""
    operators = of_kind(expression, e.Add, e.Sub, e.Mul, e.Div, e.Cast)
    arithmetic = sum(unit_roundoff(x.dtype) for x in operators if x.dtype.is_float)
    return arithmetic + sum(_MATHS * unit_roundoff(x.dtype) for x in of_kind(expression, e.Call) if x.dtype.is_float)
