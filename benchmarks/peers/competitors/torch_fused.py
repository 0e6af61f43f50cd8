"""PyTorch: what follows a convolution or product, as operators in a row, and fused into oneDNN's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from ..operations import Convolution, Fused, Product

Call = Callable[[], torch.Tensor]
IN_PLACE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "": lambda x: x,
    "relu": torch.relu_,
    "relu6": torch.nn.functional.relu6,
    "gelu": torch.nn.functional.gelu,
}
FUSED: dict[str, tuple[str, list[float], str]] = {  # name, numbers and kind, as oneDNN's operators are told
    "": ("none", [], ""),
    "relu": ("relu", [], ""),
    "relu6": ("hardtanh", [0.0, 6.0], ""),
    "gelu": ("gelu", [], "none"),
}


def fused(operation: Fused, *tensors: torch.Tensor) -> Iterator[tuple[str, Call]]:
    """Give each spelling."""
    match operation.of:
        case Convolution() as conv:
            yield from _convolutions(operation, conv, *tensors)
        case Product():
            yield from _products(operation, *tensors)


def _convolutions(
    operation: Fused,
    conv: Convolution,
    data: torch.Tensor,
    weights: torch.Tensor,
    bias: torch.Tensor,
    *residual: torch.Tensor,
) -> Iterator[tuple[str, Call]]:
    """Give operators in a row, and oneDNN's with packed weights: its result is NHWC, and is turned into NCHW."""
    padding, stride, dilation = ([n, n] for n in (conv.padding, conv.stride, conv.dilation))
    act = IN_PLACE[operation.activation]

    def eager() -> torch.Tensor:
        sums = torch.conv2d(data, weights, bias, stride, padding, dilation, conv.groups)
        return act(sums.add_(*residual) if residual else sums)

    yield "eager", eager
    pack: Any = torch.ops.mkldnn._reorder_convolution_weight
    packed = pack(weights, padding, stride, dilation, conv.groups, list(data.shape))
    window = (padding, stride, dilation, conv.groups)
    name, numbers, kind = FUSED[operation.activation]
    operator: Any = torch.ops.mkldnn._convolution_pointwise
    if not residual:
        plain = partial(operator.default, data, packed, bias, *window, name, numbers, kind)
        yield "oneDNN fused", lambda: plain().contiguous()
        return
    turned = partial(residual[0].contiguous, memory_format=torch.channels_last)

    def added() -> torch.Tensor:
        after = (None, [], None) if name == "none" else (name, numbers, kind)
        return operator.binary(data, turned(), packed, bias, *window, "add", 1.0, *after).contiguous()

    yield "oneDNN fused", added


def _products(
    operation: Fused, a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor, *residual: torch.Tensor
) -> Iterator[tuple[str, Call]]:
    act = IN_PLACE[operation.activation]

    def eager() -> torch.Tensor:
        sums = torch.addmm(bias, a, b)
        return act(sums.add_(*residual) if residual else sums)

    yield "eager", eager
    weights = b.t().contiguous()
    packed: Any = torch.ops.mkldnn._reorder_linear_weight(weights, a.shape[0])
    operator: Any = torch.ops.mkldnn._linear_pointwise
    if residual and not operation.activation:
        yield "oneDNN fused", partial(operator.binary, a, residual[0], packed, bias, "add")
    elif not residual:
        yield "oneDNN fused", partial(operator.default, a, packed, bias, *FUSED[operation.activation])
    if torch.backends.mkl.is_available():
        mkl: Any = torch.ops.mkl._mkl_reorder_linear_weight(weights, a.shape[0])
        linear = partial(torch.ops.mkl._mkl_linear.default, a, mkl, weights, bias, a.shape[0])
        yield "MKL packed", lambda: act(linear().add_(*residual) if residual else linear())
