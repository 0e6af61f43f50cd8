"""A convolution as it was asked for of a processor."""

from __future__ import annotations

from dataclasses import dataclass

from ....te import operators
from ....te.tensor import Tensor
from ..convolution import Convolution


@dataclass(frozen=True, slots=True)
class ConvolutionRequest:
    """Image, weights, and how they are convolved.

    layout            "NCHW", "NHWC" or in blocks, "NCHW16c"
    result            type that is summed up and stored
    constant_weights  whether what is made of the weights alone may be made ahead of the calls
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

    def numbers(self) -> Convolution | None:
        """Give the convolution as numbers, or None for a layout in blocks."""
        if self.layout not in ("NCHW", "NHWC"):
            return None
        window = (self.stride, self.padding, self.dilation)
        return Convolution.of(self.image, self.kernel, *window, self.groups, self.layout)

    def declare(self) -> Tensor:
        """Give the convolution as its definition says it."""
        return operators.conv2d(
            self.image, self.kernel, self.stride, self.padding, self.dilation, self.layout, self.result, self.groups
        )
