"""Softmax and normalization of layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...ir.expr import Expr
from ..axis import Axis
from ..compute import compute, reduce_axis
from ..math import exp, log, rsqrt
from ..reducers import max, sum
from ..tensor import Tensor
from .reduction import extent_of, normalized


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Give exp(x) over its sum along `axis`, of any shape; the greatest element is subtracted before exp.

    Each element is multiplied by the reciprocal of the sum, one division for all.
    """
    (along,) = normalized("softmax", x, axis)
    greatest = _along(x, (along,), max, lambda *i: x[i], "T_softmax_maxelem")
    powers = compute(x.shape, lambda *i: exp(x[i] - greatest[_without(i, (along,))]), name="T_softmax_exp")
    total = _along(x, (along,), sum, lambda *i: powers[i], "T_softmax_expsum")
    return compute(
        x.shape,
        lambda *i: powers[i] * (1.0 / total[_without(i, (along,))]),
        name="T_softmax_norm",
        tag="softmax_output",
        attrs={"axis": along},
    )


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Give the logarithm of softmax(x), of any shape, without dividing."""
    (along,) = normalized("log_softmax", x, axis)
    greatest = _along(x, (along,), max, lambda *i: x[i], "T_softmax_maxelem")
    total = _along(x, (along,), sum, lambda *i: exp(x[i] - greatest[_without(i, (along,))]), "T_softmax_expsum")

    def element(*i: Expr) -> Expr:
        rest = _without(i, (along,))
        return x[i] - greatest[rest] - log(total[rest])

    return compute(x.shape, element, name="T_log_softmax", tag="log_softmax_output", attrs={"axis": along})


def layer_norm(
    data: Tensor, gamma: Tensor | None, beta: Tensor | None, axis: int | Sequence[int] = -1, epsilon: float = 1e-5
) -> Tensor:
    """Give (data - mean) / sqrt(variance + epsilon) * gamma + beta, of data's shape.

    Mean and variance are taken along `axis`, in two passes; gamma and beta have the extents of these axes, or are
    None for 1 and 0.
    """
    axes = normalized("layer_norm", data, axis)
    count = extent_of(data, axes)
    total = _along(data, axes, sum, lambda *i: data[i], "T_sum")
    mean = compute(total.shape, lambda *i: total[i] / count, name="T_mean")

    def squared(*i: Expr) -> Expr:
        deviation = data[i] - mean[_without(i, axes)]
        return deviation * deviation

    spread = _along(data, axes, sum, squared, "T_squares")

    def element(*i: Expr) -> Expr:
        rest, own = _without(i, axes), tuple(i[axis] for axis in axes)
        value = (data[i] - mean[rest]) * rsqrt(spread[rest] / count + epsilon)
        value = value if gamma is None else value * gamma[own]
        return value if beta is None else value + beta[own]

    return compute(data.shape, element, name="T_layer_norm", tag="layer_norm", attrs={"axis": axes, "epsilon": epsilon})


def _along(x: Tensor, axes: tuple[int, ...], reducer: Callable, value: Callable[..., Expr], name: str) -> Tensor:
    """Give `reducer` of the values at all indices along `axes`; these dimensions are left out of the result."""
    over: list[Axis] = [reduce_axis((0, x.shape[axis]), f"k{axis}") for axis in axes]

    def element(*i: Expr) -> Expr:
        index = list(i)
        for axis, one in zip(axes, over, strict=True):
            index.insert(axis, one.var)
        return reducer(value(*index), axis=over)

    return compute(_without(x.shape, axes), element, name=name, tag="comm_reduce")


def _without(items: tuple[Expr, ...], dims: tuple[int, ...]) -> tuple[Expr, ...]:
    return tuple(item for dim, item in enumerate(items) if dim not in dims)
