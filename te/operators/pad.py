"""Padding."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import arith
from ...ir.errors import ExpressionError
from ...ir.expr import Expr
from ..compute import compute
from ..tensor import Tensor

Size = Expr | int


def pad(
    data: Tensor,
    pad_before: Sequence[Size],
    pad_after: Sequence[Size] | None = None,
    pad_value: Expr | float = 0.0,
    name: str = "PadInput",
) -> Tensor:
    """Give `data` (d0, d1, ...) with elements put around it: (b0 + d0 + a0, b1 + d1 + a1, ...).

    pad_after  as pad_before by default
    Raises ExpressionError where there is not one number per dimension.
    """
    after = pad_before if pad_after is None else pad_after
    if len(pad_before) != data.ndim or len(after) != data.ndim:
        numbers = f"{len(pad_before)} numbers before and {len(after)} after"
        raise ExpressionError("pad", f"{numbers} for {data.ndim} dimensions", advice="one per dimension")
    value = arith.cast(data.dtype, arith.as_expr(pad_value, data.dtype))

    def element(*i: Expr) -> Expr:
        inside = []
        for index, low, high, extent in zip(i, pad_before, after, data.shape, strict=True):
            inside += [] if _is_zero(low) else [index >= low]
            inside += [] if _is_zero(high) else [index < extent + low]
        at = data[tuple(index - low for index, low in zip(i, pad_before, strict=True))]
        return arith.if_then_else(arith.logical_and(*inside), at, value) if inside else at  # type: ignore[arg-type]

    shape = [arith.add(extent, arith.add(b, a)) for extent, b, a in zip(data.shape, pad_before, after, strict=True)]
    return compute(shape, element, name=name, tag="injective,pad")


def pad_image(
    data: Tensor, rows: int, columns: int, padding: tuple[int, int, int, int], value: Expr | float = 0.0
) -> Tensor:
    """Give `data` padded by (top, left, bottom, right) in dimensions `rows` and `columns`; itself for no padding."""
    if not any(padding):
        return data
    before, after = [0] * data.ndim, [0] * data.ndim
    before[rows], before[columns], after[rows], after[columns] = padding
    return pad(data, before, after, value, name="data_pad")


def _is_zero(size: Size) -> bool:
    return arith.is_const(arith.as_expr(size), 0)
