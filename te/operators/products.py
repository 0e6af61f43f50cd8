"""What operators that sum up products share."""

from __future__ import annotations

from collections.abc import Callable

from ...ir import arith
from ...ir.dtype import DType
from ...ir.expr import Expr
from ..tensor import Tensor

Dtype = str | DType | None


def converter(data: Tensor, out_dtype: Dtype) -> Callable[[Expr], Expr]:
    """Give what converts elements to the type that products are summed in: `out_dtype`, or the data's own."""
    dtype = data.dtype if out_dtype is None else out_dtype
    return lambda x: arith.cast(dtype, x)
