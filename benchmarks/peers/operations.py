"""What is measured: operators on given shapes, apart from who computes them.

An operation names its operands, what it costs, and the template that computes it here.  Everything is float32,
row-major and plain unless a layout or a type is named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

Limit = Literal["fma", "dot", "copy", "read"]  # which loop of `tilewright.runtime.peak` bounds an operation
ROWS_FOR_ARITHMETIC = 16  # a core multiplies and adds about 16 times in the time it reads 4 bytes of main memory
TemplateCall = tuple[str, tuple[Any, ...]]  # a template and its arguments


@dataclass(frozen=True, slots=True)
class Operand:
    """An array of a call; constant ones, weights, may be prepared in any way before it."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    constant: bool = False

    @property
    def size_bytes(self) -> int:
        """Give its size in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution of images; depthwise where each channel is a group of its own.

    data     batch, channels, height, width, whatever the layout
    filters  output channels, kernel height, kernel width
    layout   "NCHW", "NHWC" with weights HWIO, or blocked "NCHW16c" with weights OIHW16i16o
    """

    data: tuple[int, int, int, int]
    filters: tuple[int, int, int]
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    layout: str = "NCHW"

    @property
    def depthwise(self) -> bool:
        """Tell whether each channel has one filter of its own."""
        return self.groups == self.data[1] == self.filters[0] > 1

    @property
    def limit(self) -> Limit:
        """Give what bounds it: for depthwise ones, of a few operations a byte, moving the bytes."""
        return "copy" if self.depthwise else "fma"

    @property
    def block(self) -> int:
        """Give the channels in a block, 1 for the plain layout."""
        return int(self.layout[4:-1] or 1)

    @property
    def plain_weights(self) -> tuple[int, int, int, int]:
        """Give the shape of the weights as OIHW."""
        count, height, width = self.filters
        return count, self.data[1] // self.groups, height, width

    @property
    def plain_result(self) -> tuple[int, int, int, int]:
        """Give the shape of the result as NCHW."""
        batch, _, *image = self.data
        count, *window = self.filters
        reach = (size + 2 * self.padding - self.dilation * (w - 1) for size, w in zip(image, window, strict=True))
        height, width = ((r - 1) // self.stride + 1 for r in reach)
        return batch, count, height, width

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Give image and weights in the layout."""
        return Operand("data", self._image(self.data)), Operand("kernel", self._weights(), constant=True)

    @property
    def result(self) -> Operand:
        """Give the result in the layout."""
        return Operand("out", self._image(self.plain_result))

    def _image(self, shape: tuple[int, int, int, int]) -> tuple[int, ...]:
        batch, channels, height, width = shape
        match self.layout:
            case "NCHW":
                return shape
            case "NHWC":
                return batch, height, width, channels
            case _:
                return batch, channels // self.block, height, width, self.block

    def _weights(self) -> tuple[int, ...]:
        count, depth, height, width = self.plain_weights
        match self.layout:
            case "NCHW":
                return self.plain_weights
            case "NHWC":
                return (height, width, count, 1) if self.depthwise else (height, width, depth, count)
            case _:
                return count // self.block, depth // self.block, height, width, self.block, self.block

    @property
    def terms(self) -> int:
        """Give the number of products in one sum."""
        return math.prod(self.plain_weights[1:])

    @property
    def flop(self) -> int:
        """Give the floating-point operations, two for each product."""
        return 2 * math.prod(self.plain_result) * self.terms

    @property
    def template(self) -> TemplateCall | None:
        """Give the template and its arguments."""
        tail = (self.stride, self.padding, self.dilation)
        if self.depthwise:
            return "depthwise_conv2d", (self.data, self.filters[1:], *tail, self.layout)
        return "conv2d", (self.data, self.filters, *tail, self.groups, self.layout, "float32", True)


@dataclass(frozen=True, slots=True)
class Transposed:
    """A transposed convolution of images in NCHW, weights (C, F / groups, KH, KW).

    data     batch, channels, height, width
    filters  output channels, kernel height, kernel width
    """

    data: tuple[int, int, int, int]
    filters: tuple[int, int, int]
    stride: int = 1
    padding: int = 0
    output_padding: int = 0
    groups: int = 1
    limit: ClassVar[Limit] = "fma"

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Give image and weights."""
        count, height, width = self.filters
        weights = (self.data[1], count // self.groups, height, width)
        return Operand("data", self.data), Operand("kernel", weights, constant=True)

    @property
    def result(self) -> Operand:
        """Give the result."""
        batch, _, *image = self.data
        count, *window = self.filters
        more = self.output_padding - 2 * self.padding
        height, width = ((size - 1) * self.stride + w + more for size, w in zip(image, window, strict=True))
        return Operand("out", (batch, count, height, width))

    @property
    def terms(self) -> int:
        """Give the most products in one sum."""
        window = (-(-n // self.stride) for n in self.filters[1:])
        return self.data[1] // self.groups * math.prod(window)

    @property
    def flop(self) -> int:
        """Give the floating-point operations, two for each product of a pixel and a tap."""
        return 2 * math.prod(self.data) * math.prod(self.filters) // self.groups

    @property
    def template(self) -> TemplateCall | None:
        """Give the template and its arguments."""
        window = (self.stride, self.padding, self.output_padding, self.groups)
        return "conv2d_transpose", (self.data, self.filters, *window, "NCHW", "float32", True)


@dataclass(frozen=True, slots=True)
class Product:
    """C (m, n) = A (m, k) B (k, n), or `batch` of them.

    constant  B holds weights
    """

    m: int
    n: int
    k: int
    batch: int = 0
    constant: bool = True

    @property
    def limit(self) -> Limit:
        """Give what bounds it: with few rows, reading B."""
        return "read" if self.m < ROWS_FOR_ARITHMETIC else "fma"

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Give A and B."""
        return Operand("A", self._shape(self.m, self.k)), Operand(
            "B", self._shape(self.k, self.n), "float32", self.constant
        )

    @property
    def result(self) -> Operand:
        """Give C."""
        return Operand("C", self._shape(self.m, self.n))

    def _shape(self, rows: int, columns: int) -> tuple[int, ...]:
        return (self.batch, rows, columns) if self.batch else (rows, columns)

    @property
    def flop(self) -> int:
        """Give the floating-point operations, two for each product."""
        return 2 * max(1, self.batch) * self.m * self.n * self.k

    @property
    def template(self) -> TemplateCall | None:
        """Give the template and its arguments."""
        if self.batch:
            return "batch_matmul", (self.batch, self.m, self.n, self.k, False)
        return "matmul", (self.m, self.n, self.k, False, False, "float32", self.constant)


@dataclass(frozen=True, slots=True)
class OnRows:
    """Something of every element of data (m, n)."""

    m: int
    n: int
    limit: ClassVar[Limit] = "copy"

    @property
    def result(self) -> Operand:
        """Give the result."""
        return Operand("out", (self.m, self.n))

    @property
    def flop(self) -> int:
        """Give nothing: bytes are what counts."""
        return 0


@dataclass(frozen=True, slots=True)
class Softmax(OnRows):
    """Softmax along the rows of data (m, n)."""

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Give the data."""
        return (Operand("data", (self.m, self.n)),)

    @property
    def template(self) -> TemplateCall | None:
        """Give the template and its arguments."""
        return "softmax", (self.m, self.n)


@dataclass(frozen=True, slots=True)
class LayerNorm(OnRows):
    """Normalized rows of data (m, n), times gamma (n,), plus beta (n,)."""

    epsilon: ClassVar[float] = 1e-5

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Give data, gamma and beta."""
        return (
            Operand("data", (self.m, self.n)),
            Operand("gamma", (self.n,), constant=True),
            Operand("beta", (self.n,), constant=True),
        )

    @property
    def template(self) -> TemplateCall | None:
        """Give the template and its arguments."""
        return "layer_norm", (self.m, self.n)


@dataclass(frozen=True, slots=True)
class BiasRelu(OnRows):
    """relu(data (m, n) + bias (n,)); one row is the sum of two arrays."""

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Give data and bias."""
        return Operand("data", (self.m, self.n)), Operand("bias", (self.n,))

    @property
    def template(self) -> TemplateCall | None:
        """Give the template and its arguments."""
        return "elementwise", (self.m, self.n, "relu")


@dataclass(frozen=True, slots=True)
class Unary(OnRows):
    """A function of every element of data (m, n)."""

    operator: Literal["relu", "exp", "tanh", "sigmoid", "gelu"]

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Give the data."""
        return (Operand("data", (self.m, self.n)),)

    @property
    def template(self) -> TemplateCall | None:
        """Give the template and its arguments."""
        return "generic", (self.operator, ((self.m, self.n),))


@dataclass(frozen=True, slots=True)
class Reduction:
    """The sums, means, greatest or least elements of data (m, n) along an axis, or where the greatest ones are."""

    m: int
    n: int
    axis: int
    operator: Literal["sum", "mean", "max", "min", "argmax"] = "sum"
    limit: ClassVar[Limit] = "read"

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Give the data."""
        return (Operand("data", (self.m, self.n)),)

    @property
    def result(self) -> Operand:
        """Give the result."""
        return Operand("out", ((self.n, self.m)[self.axis],), "int32" if self.operator == "argmax" else "float32")

    @property
    def flop(self) -> int:
        """Give nothing: bytes are what counts."""
        return 0

    @property
    def template(self) -> TemplateCall | None:
        """Give the template and its arguments."""
        return "reduction", (self.m, self.n, self.axis, self.operator)


@dataclass(frozen=True, slots=True)
class Fused:
    """A convolution or product whose sums get a bias, a residual and an activation, as far as these are asked for.

    residual    what is added besides, in the shape of the result
    activation  "" for none
    """

    of: Convolution | Product
    residual: bool = False
    activation: Literal["", "relu", "relu6", "gelu"] = ""

    @property
    def limit(self) -> Limit:
        """Give what bounds the sums."""
        return self.of.limit

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Give data, weights, bias and residual."""
        channels = self.of.filters[0] if isinstance(self.of, Convolution) else self.of.n
        bias = Operand("bias", (channels,), constant=True)
        residual = (Operand("residual", self.of.result.shape),) if self.residual else ()
        return (*self.of.operands, bias, *residual)

    @property
    def result(self) -> Operand:
        """Give the result."""
        return self.of.result

    @property
    def flop(self) -> int:
        """Give the operations of the sums."""
        return self.of.flop

    @property
    def template(self) -> TemplateCall | None:
        """Give the template and its arguments."""
        if self.of.template is None:
            return None
        name, arguments = self.of.template
        parts = ("bias", "residual" if self.residual else "", self.activation)
        dtype = ("float32",) if name == "depthwise_conv2d" else ()
        return name, (*arguments, *dtype, ",".join(part for part in parts if part))


@dataclass(frozen=True, slots=True)
class Quantized:
    """A convolution or product of bytes: u8 data by s8 weights, summed exactly, scaled, rounded, u8 again.

    All zero points are 0, as after a relu.  The result is sum * multiplier, to the nearest whole number in 0..255.

    residual  whether bytes in the shape of the result are added to it, and the sum is rounded once more; zero is then
              128 in the bytes that sums of products become, and 0 in the others
    """

    of: Convolution | Product
    residual: bool = False

    data_scale: ClassVar[float] = 1 / 64
    weight_scale: ClassVar[float] = 1 / 64

    @property
    def limit(self) -> Limit:
        """Give what bounds it: dot products, or for depthwise convolutions moving the bytes."""
        return "copy" if isinstance(self.of, Convolution) and self.of.depthwise else "dot"

    @property
    def own_zero(self) -> int:
        """Give the byte that stands for zero in what sums of products become."""
        return 128 if self.residual else 0

    @property
    def result_scale(self) -> float:
        """Give the scale of these bytes, for which most sums of random operands lie within them."""
        terms = self.of.terms if isinstance(self.of, Convolution) else self.of.k
        deviation = math.sqrt(terms) * 147 * 73  # of a sum, from the root mean squares of the operands
        return 3 * deviation * self.data_scale * self.weight_scale / (255 - self.own_zero)

    @property
    def residual_scale(self) -> float:
        """Give the scale of the residual."""
        return self.result_scale

    @property
    def sum_scale(self) -> float:
        """Give the scale of the sum with the residual: up to 127 + 255 steps of theirs."""
        return 1.5 * self.result_scale

    @property
    def addition(self) -> tuple[float, int, float, int]:
        """Give the quotients of float32 scales by that of the sum, each with its zero."""
        own, other, both = map(np.float32, (self.result_scale, self.residual_scale, self.sum_scale))
        return float(own / both), self.own_zero, float(other / both), 0

    @property
    def multiplier(self) -> float:
        """Give what sums are multiplied by."""
        return self.data_scale * self.weight_scale / self.result_scale

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Give data, weights and residual."""
        data, weights = self.of.operands
        given = Operand(data.name, data.shape, "uint8"), Operand(weights.name, weights.shape, "int8", constant=True)
        return (*given, Operand("residual", self.of.result.shape, "uint8")) if self.residual else given

    @property
    def result(self) -> Operand:
        """Give the result."""
        return Operand(self.of.result.name, self.of.result.shape, "uint8")

    @property
    def flop(self) -> int:
        """Give the operations, two for each product."""
        return self.of.flop

    @property
    def template(self) -> TemplateCall | None:
        """Give the template and its arguments; it rounds as ONNX says."""
        sums = ("uint8", "uint8", self.multiplier, False, 0, 0, True)  # no bias, zeros are 0, weights are constant
        if self.residual:
            sums = (*sums, None, self.addition)
        match self.of:
            case Convolution(depthwise=True) as of:
                window = (of.filters[1:], of.stride, of.padding, of.dilation, of.layout)
                return "qdepthwise_conv2d", (of.data, *window, *sums)
            case Convolution() as of:
                window = (of.stride, of.padding, of.dilation, of.groups, of.layout)
                return "qconv2d", (of.data, of.filters, *window, *sums)
            case Product(batch=0) as of:
                return "qmatmul", (of.m, of.n, of.k, False, *sums)


@dataclass(frozen=True, slots=True)
class Summed:
    """A product of bytes, u8 by s8, whose exact int32 sums are the result."""

    of: Product
    limit: ClassVar[Limit] = "dot"

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Give both factors."""
        a, b = self.of.operands
        return Operand(a.name, a.shape, "uint8"), Operand(b.name, b.shape, "int8", b.constant)

    @property
    def result(self) -> Operand:
        """Give the sums."""
        return Operand(self.of.result.name, self.of.result.shape, "int32")

    @property
    def flop(self) -> int:
        """Give the operations, two for each product."""
        return self.of.flop

    @property
    def template(self) -> TemplateCall | None:
        """Give the template and its arguments."""
        of = self.of
        if of.batch:
            return "batch_matmul", (of.batch, of.m, of.n, of.k, False, "uint8", of.constant)
        return "matmul", (of.m, of.n, of.k, False, False, "uint8", of.constant)


Operation = (
    Convolution | Transposed | Product | Softmax | LayerNorm | BiasRelu | Unary | Reduction | Quantized | Summed | Fused
)


def moved_bytes(operation: Operation) -> int:
    """Give the bytes of all operands and of the result, each counted once."""
    return sum(o.size_bytes for o in (*operation.operands, operation.result))


@dataclass(frozen=True, slots=True)
class Workload:
    """An operation with a name within its family."""

    name: str
    family: str
    operation: Operation

    @property
    def key(self) -> str:
        """Give a name that no workload of another family has."""
        return f"{self.family}.{self.name}"
