"""Operators that move bytes: normalized rows, reductions, elementwise ones."""

from __future__ import annotations

from ... import te
from ...ir.errors import TuneError
from ...schedule.schedule import Schedule, create_schedule
from ...te import operators
from ...te.tensor import Tensor
from ..template import template
from .generic import schedule_stages

REDUCTIONS = ("sum", "prod", "max", "min", "mean", "argmax", "argmin")


@template("softmax", version=2)
def softmax(m: int, n: int, dtype: str = "float32") -> tuple[Schedule, list[Tensor]]:
    """Give a tunable softmax along the rows of data (m, n)."""
    data = te.placeholder((m, n), dtype, name="data")
    return _scheduled([data], operators.softmax(data, axis=1))


@template("layer_norm", version=2)
def layer_norm(m: int, n: int, dtype: str = "float32") -> tuple[Schedule, list[Tensor]]:
    """Give a tunable normalization of the rows of data (m, n), with gamma (n,) and beta (n,)."""
    data = te.placeholder((m, n), dtype, name="data")
    gamma, beta = (te.placeholder((n,), dtype, name=name) for name in ("gamma", "beta"))
    return _scheduled([data, gamma, beta], operators.layer_norm(data, gamma, beta, axis=1))


@template("reduction", version=2)
def reduction(
    m: int, n: int, axis: int, operator: str = "sum", dtype: str = "float32"
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable reduction of data (m, n) along one axis.

    operator  one of `REDUCTIONS`
    """
    if operator not in REDUCTIONS:
        fact = f"{operator!r} is no reduction"
        raise TuneError("reduction", fact, advice=f"one of {', '.join(REDUCTIONS)}")
    data = te.placeholder((m, n), dtype, name="data")
    return _scheduled([data], getattr(operators, operator)(data, axis=axis))


@template("elementwise", version=2)
def elementwise(m: int, n: int, operator: str = "relu", dtype: str = "float32") -> tuple[Schedule, list[Tensor]]:
    """Give a tunable operator(data + bias) of data (m, n) and bias (n,), in one pass.

    operator  one of `te.operators` that takes one tensor
    """
    function = getattr(operators, operator, None)
    if function is None:
        advice = "an operator of one tensor, such as relu, gelu, sigmoid or tanh"
        raise TuneError("elementwise", f"there is no operator {operator!r}", advice=advice)
    data = te.placeholder((m, n), dtype, name="data")
    bias = te.placeholder((n,), dtype, name="bias")
    return _scheduled([data, bias], function(operators.add(data, bias)))


def _scheduled(inputs: list[Tensor], out: Tensor) -> tuple[Schedule, list[Tensor]]:
    s = create_schedule(out.op)
    schedule_stages(s)
    return s, [*inputs, out]
