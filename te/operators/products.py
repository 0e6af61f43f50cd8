"""What operators that sum up products share."""

from __future__ import annotations

from collections.abc import Callable

from ...ir import arith
from ...ir.dtype import DType
from ...ir.errors import TypeMismatch
from ...ir.expr import Expr
from ..machine import PRECISION, TF32
from ..tensor import Tensor

Dtype = str | DType | None


def converter(data: Tensor, out_dtype: Dtype) -> Callable[[Expr], Expr]:
    """Give what converts elements to the type that products are summed in: `out_dtype`, or the data's own."""
    dtype = data.dtype if out_dtype is None else out_dtype
    return lambda x: arith.cast(dtype, x)


def precision_attrs(step: str, data: Tensor, precision: str) -> dict[str, object]:
    """Give the attributes that ask for a precision, "" for that of the data.

    Raises TypeMismatch for anything but "" and "tf32", and for tf32 of other data than float32.
    """
    if precision not in ("", TF32) or (precision and str(data.dtype) != "float32"):
        fact = f"precision {precision!r} of {data.dtype} data"
        raise TypeMismatch(step, fact, advice=f'"", or "{TF32}" for float32')
    return {PRECISION: precision} if precision else {}
