"""Sums of products of bytes, made bytes again; sums of bytes whose scales differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...ir import arith
from ...ir.errors import TypeMismatch
from ...ir.expr import Expr
from .. import math
from ..compute import compute
from ..tensor import Tensor

BYTES = ("int8", "uint8")
Clip = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Addition:
    """How bytes are added to others: (byte - zero) * scale + (other - other_zero) * other_scale.

    Scales are relative to that of the result, as float32.
    """

    scale: float
    zero: int
    other_scale: float
    other_zero: int

    def constant(self, zero_point: int) -> float:
        """Give what is the same for all bytes; `zero_point` is the result's."""
        own, other = np.float32(self.scale), np.float32(self.other_scale)
        less = np.float64(own) * self.zero + np.float64(other * np.float32(self.other_zero))  # a fused multiply-add
        return float(np.float32(zero_point) - np.float32(less))


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
    whole = _nearest(value.astype("float32") * scale, zero_point, out_dtype, clip)
    return whole.astype(out_dtype) if zero_point == 0 else (whole.astype("int32") + zero_point).astype(out_dtype)


def requantized_wide(value: Expr, scale: Expr, zero_point: int, out_dtype: str) -> Expr:
    """Give the same as an int32."""
    return _nearest(value.astype("float32") * scale, zero_point, out_dtype, None).astype("int32") + zero_point


def add_quantized(a: Tensor, b: Tensor, by: Addition, zero_point: int = 0, clip: Clip | None = None) -> Tensor:
    """Give the sum of two tensors of bytes whose scales and zeros differ, in the shape and type of `a`.

    clip  the least and the greatest byte, within those of the type
    Products and sums are float32, each sum with its product rounded once; `zero_point` is added before halves are
    rounded to even numbers: QLinearAdd as onnxruntime computes it on x86-64 with AVX2.
    Raises TypeMismatch for other types than bytes, for two of them, and for a clip beyond them.
    Source: ONNX Runtime operators, com.microsoft.QLinearAdd.
    """
    out_dtype = str(a.dtype)
    if out_dtype not in BYTES:
        raise TypeMismatch("add_quantized", f"a sum of {out_dtype}", advice=" or ".join(BYTES))
    _check("the other addend", b, out_dtype, "add_quantized")
    return compute(a.shape, lambda *i: added(a[i], b[i], by, zero_point, out_dtype, clip), name="T_add_quantized")


def added(a: Expr, b: Expr, by: Addition, zero_point: int, out_dtype: str, clip: Clip | None = None) -> Expr:
    """Give one element of `add_quantized`, from integers."""
    own, other, constant = (
        arith.const(number, "float32") for number in (by.scale, by.other_scale, by.constant(zero_point))
    )
    total = math.fma(a.astype("float32"), own, math.fma(b.astype("float32"), other, constant))
    return _nearest(total, 0, out_dtype, clip).astype(out_dtype)


def _nearest(value: Expr, zero_point: int, out_dtype: str, clip: Clip | None) -> Expr:
    """Give the whole number next to a float32, within the ends of a type or of a clip as they are without its zero."""
    least, most = (arith.const(float(end - zero_point), "float32") for end in ends_of(out_dtype, clip))
    return math.nearbyint(arith.minimum(arith.maximum(value, least), most))


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


def _check(what: str, tensor: Tensor, dtype: str, step: str = "requantize") -> None:
    if str(tensor.dtype) != dtype:
        raise TypeMismatch(step, f"{what} is {tensor.dtype}", advice=dtype)
