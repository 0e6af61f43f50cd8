"""Sums of products of bytes, made bytes again."""

from __future__ import annotations

from ...ir import arith
from ...ir.errors import TypeMismatch
from ...ir.expr import Expr
from .. import math
from ..compute import compute
from ..tensor import Tensor

BYTES = ("int8", "uint8")
Clip = tuple[int, int]


def requantize(
    total: Tensor,
    scale: Tensor | float,
    zero_point: int = 0,
    out_dtype: str = "uint8",
    axis: int = -1,
    bias: Tensor | None = None,
    clip: Clip | None = None,
) -> Tensor:
    """Give round((total + bias) * scale) + zero_point, saturated, as bytes in the shape of `total`.

    total      int32
    scale      float32 along `axis`, or one number for all
    bias       int32 along `axis`
    out_dtype  "uint8" or "int8"
    clip       the least and the greatest byte, within those of the type: (zero_point, 255) is relu of uint8
    The sum wraps in 32 bits and is rounded to float32, so is the product; halves are rounded to even numbers: the rule
    of QLinearConv and QLinearMatMul.
    Raises TypeMismatch for a total or bias that is not int32, a scale that is not float32, other results than bytes,
    a clip beyond them.
    Source: ONNX operators, QuantizeLinear.
    """
    _check("total", total, "int32")
    if bias is not None:
        _check("bias", bias, "int32")
    if isinstance(scale, Tensor):
        _check("scale", scale, "float32")
    if out_dtype not in BYTES:
        raise TypeMismatch("requantize", f"a result of {out_dtype}", advice=" or ".join(BYTES))
    ends_of(out_dtype, clip)

    def element(*i: Expr) -> Expr:
        value = total[i] if bias is None else total[i] + bias[i[axis]]
        return requantized(value, _along(scale, i[axis]), zero_point, out_dtype, clip)

    attrs: dict[str, object] = {"zero_point": zero_point}
    return compute(total.shape, element, name="T_requantize", tag="requantize", attrs=attrs)


def requantized(value: Expr, scale: Expr, zero_point: int, out_dtype: str, clip: Clip | None = None) -> Expr:
    """Give one element of `requantize`, from an int32 that has the bias."""
    least, most = (arith.const(float(end - zero_point), "float32") for end in ends_of(out_dtype, clip))
    whole = math.nearbyint(arith.minimum(arith.maximum(value.astype("float32") * scale, least), most))
    return whole.astype(out_dtype) if zero_point == 0 else (whole.astype("int32") + zero_point).astype(out_dtype)


def ends_of(out_dtype: str, clip: Clip | None) -> Clip:
    """Give the least and the greatest byte of a type, or of a clip.  Raises TypeMismatch for a clip beyond them."""
    dtype = arith.dtype_of(out_dtype)
    least, most = int(dtype.min_value), int(dtype.max_value)
    if clip is None:
        return least, most
    if not least <= clip[0] <= clip[1] <= most:
        fact = f"results from {clip[0]} to {clip[1]} in {out_dtype}"
        raise TypeMismatch("requantize", fact, advice=f"two numbers in order, from {least} to {most}")
    return clip


def _along(scale: Tensor | float, channel: Expr) -> Expr:
    return scale[channel] if isinstance(scale, Tensor) else arith.const(scale, "float32")


def _check(what: str, tensor: Tensor, dtype: str) -> None:
    if str(tensor.dtype) != dtype:
        raise TypeMismatch("requantize", f"{what} is {tensor.dtype}", advice=dtype)
