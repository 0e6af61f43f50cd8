"""What becomes of the sums of a product or convolution while they are in registers, before their only store.

In order: a bias is added, then a residual; an activation is applied; the value is requantized or converted.  A residual
of bytes is added to what the sums are as bytes of their own scale, and their sum is rounded again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ... import te
from ...ir import arith
from ...ir.errors import TuneError
from ...ir.expr import Expr
from ...te import operators
from ...te.activations import ACTIVATIONS
from ...te.compute import compute
from ...te.operators.quantize import Addition, Clip, added, requantized, requantized_wide
from ...te.tensor import Tensor

BIAS, RESIDUAL = "bias", "residual"
Channel = Callable[[Sequence[Expr]], Expr]  # gives the channel of an element of the result, from its indices
FORM = f"{BIAS}, {RESIDUAL} and one of {', '.join(ACTIVATIONS)}, in this order, such as bias,residual,relu"


@dataclass(frozen=True, slots=True)
class EpilogueForm:
    """An epilogue as workloads name it.

    bias        whether a tensor (channels,) is added
    residual    whether a tensor in the shape of the result is added
    activation  one of `te.activations.ACTIVATIONS`, or "" for none
    """

    bias: bool = False
    residual: bool = False
    activation: str = ""

    @classmethod
    def parse(cls, text: str) -> EpilogueForm:
        """Read the parts between commas, in their order; "" for none.  Raises TuneError for any other text."""
        parts = text.split(",") if text else []
        activation = next((p for p in parts if p in ACTIVATIONS), "")
        form = cls(BIAS in parts, RESIDUAL in parts, activation)
        if str(form) != text:
            raise TuneError("epilogue", f"{text!r} is no epilogue", advice=FORM)
        return form

    def __str__(self) -> str:
        """Give the parts with commas between."""
        parts = (BIAS if self.bias else "", RESIDUAL if self.residual else "", self.activation)
        return ",".join(part for part in parts if part)

    def of(self, total: Tensor, channels: int, dtype: str = "") -> Epilogue:
        """Give the epilogue of sums, with tensors of its own.

        dtype  of the result, and of bias and residual; that of the sums by default
        """
        kind = dtype or str(total.dtype)
        bias = te.placeholder((channels,), kind, name=BIAS) if self.bias else None
        residual = te.placeholder(total.shape, kind, name=RESIDUAL) if self.residual else None
        return Epilogue(bias, residual, self.activation, dtype=kind)


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What becomes of a sum: itself, where nothing is given.

    bias        (channels,)
    residual    in the shape of the result
    activation  one of `te.activations.ACTIVATIONS`, or ""
    scale       of int32 sums that are made bytes, as `operators.requantize` does, one number or one for each channel
    zero_point  of the result
    clip        its least and its greatest byte, None for those of their type
    dtype       of the result; "" for that of the sum
    addition    how a residual of bytes is added to the sums made bytes; None for one that is added to the sums
    """

    bias: Tensor | None = None
    residual: Tensor | None = None
    activation: str = ""
    scale: Tensor | float | None = None
    zero_point: int = 0
    clip: Clip | None = None
    dtype: str = ""
    addition: Addition | None = None

    @property
    def given(self) -> list[Tensor]:
        """Give its tensors, in the order of calls."""
        return [t for t in (self.scale, self.bias, self.residual) if isinstance(t, Tensor)]

    @property
    def without_bias(self) -> Epilogue:
        """Give the rest, for sums that have the bias."""
        return replace(self, bias=None)

    def changes(self, total: Tensor) -> bool:
        """Tell whether the result is another than the sums."""
        return bool(self.given or self.activation) or self.scale is not None or self.dtype not in ("", str(total.dtype))

    def declared(self, total: Tensor, channel: Channel) -> Tensor:
        """Give the result by definition, from sums; `channel` finds the channel of an element."""
        if not self.changes(total):
            return total
        names = [axis.name for axis in total.op.axis]
        return compute(total.shape, lambda *i: self.element(total[i], i, channel(i)), "T_epilogue", varargs_names=names)

    def requantized(self, total: Tensor, axis: int) -> Tensor:
        """Give the bytes by definition, from int32 sums of products of data whose zero is 0; channels along `axis`."""
        assert self.scale is not None
        if self.addition is None or self.residual is None:
            return operators.requantize(total, self.scale, self.zero_point, self.dtype, axis, self.bias, self.clip)
        own = operators.requantize(total, self.scale, self.addition.zero, self.dtype, axis, self.bias)
        return operators.add_quantized(own, self.residual, self.addition, self.zero_point, self.clip)

    def element(self, total: Expr, at: Sequence[Expr], channel: Expr) -> Expr:
        """Give the element of the result at indices `at`, from its sum."""
        return self.with_residual(self.before_residual(total, channel), at, channel)

    def before_residual(self, total: Expr, channel: Expr) -> Expr:
        """Give what a residual is added to: the sum with its bias, as a byte where the residual is one, in int32."""
        value: Any = total
        if self.bias is not None:
            value = value + self.bias[channel].astype(value.dtype)
        if self.addition is None:
            return value
        return requantized_wide(value, self._scale_of(channel), self.addition.zero, self.dtype)

    def with_residual(self, value: Any, at: Sequence[Expr], channel: Expr) -> Expr:
        """Give the element of the result at indices `at`, from what a residual is added to."""
        if self.residual is not None and self.addition is not None:
            return added(value, self.residual[tuple(at)], self.addition, self.zero_point, self.dtype, self.clip)
        if self.residual is not None:
            value = value + self.residual[tuple(at)].astype(value.dtype)
        if self.activation:
            value = ACTIVATIONS[self.activation](value)
        if self.scale is not None:
            return requantized(value, self._scale_of(channel), self.zero_point, self.dtype, self.clip)
        return value.astype(self.dtype) if self.dtype else value

    def _scale_of(self, channel: Expr) -> Expr:
        assert self.scale is not None
        return self.scale[channel] if isinstance(self.scale, Tensor) else arith.const(self.scale, "float32")


NONE = Epilogue()


def last(at: Sequence[Expr]) -> Expr:
    """Give the last index: the channel of a row."""
    return at[-1]
