"""A convolution as it was asked for of a processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....ir.expr import Expr
from ....te import operators
from ....te.tensor import Tensor
from ..convolution import Convolution, channel_of
from ..epilogue import NONE, Epilogue


@dataclass(frozen=True, slots=True)
class ConvolutionRequest:
    """Image, weights, and how they are convolved.

    layout            "NCHW", "NHWC" or in blocks, "NCHW16c"
    result            type that is summed up and stored
    constant_weights  whether what is made of the weights alone may be made ahead of the calls
    epilogue          what becomes of the sums
    relative_error    that its user accepts, or None for that of a direct evaluation
    """

    image: Tensor
    kernel: Tensor
    stride: int
    padding: int
    dilation: int
    groups: int
    layout: str
    result: str
    constant_weights: bool
    epilogue: Epilogue = NONE
    relative_error: float | None = None

    def numbers(self) -> Convolution | None:
        """Give the convolution as numbers, or None for a layout in blocks."""
        if self.layout not in ("NCHW", "NHWC"):
            return None
        window = (self.stride, self.padding, self.dilation)
        return Convolution.of(self.image, self.kernel, *window, self.groups, self.layout)

    def declare(self) -> Tensor:
        """Give the sums as the convolution's definition says them."""
        window = (self.stride, self.padding, self.dilation)
        return operators.conv2d(
            self.image, self.kernel, *window, self.layout, self.result, self.groups, self.relative_error
        )

    def finished(self, total: Expr, at: Sequence[Expr]) -> Expr:
        """Give the element of the result at indices `at`, from its sum."""
        return self.epilogue.element(total, at, channel_of(self.layout, at))

    def declare_result(self, total: Tensor) -> Tensor:
        """Give the result from a tensor of sums, as its definition says it."""
        return self.epilogue.declared(total, lambda at: channel_of(self.layout, at))
