"""PyTorch without a compiler: its operators, and oneDNN's with weights that were packed before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from ..competitor import Form, Surroundings
from ..layouts import plain_weights
from ..operations import (
    BiasRelu,
    Convolution,
    Fused,
    LayerNorm,
    Operation,
    Product,
    Quantized,
    Reduction,
    Softmax,
    Transposed,
    Unary,
)
from .torch_fused import fused

Call = Callable[[], torch.Tensor]


class TorchCalls:
    """Operators on plain tensors; the fastest of several spellings counts."""

    version = torch.__version__

    def __init__(self, surroundings: Surroundings) -> None:
        """Set the threads."""
        torch.set_num_threads(surroundings.threads)
        torch.set_grad_enabled(False)
        torch.backends.mkldnn.set_flags(True)

    def forms(self, workload: str, operation: Operation, arrays: list[np.ndarray]) -> Iterator[Form]:
        """Give each spelling."""
        tensors = [torch.from_numpy(array) for array in arrays]
        for name, call in spellings(operation, tensors):
            yield Form(name, call, partial(_result, call))


def _result(call: Call) -> np.ndarray:
    found = call()
    plain = found.int_repr() if found.is_quantized else found
    return plain.contiguous().numpy().copy()


def spellings(operation: Operation, tensors: list[torch.Tensor]) -> Iterator[tuple[str, Call]]:
    """Give the ways to write an operation."""
    match operation:
        case Convolution(layout="NCHW"):
            yield from _convolutions(operation, *tensors)
        case Convolution(layout="NHWC"):
            yield from _channels_last(operation, *tensors)
        case Transposed():
            yield from _transposed(operation, *tensors)
        case Product(constant=constant):
            yield from _products(*tensors, constant=constant)
        case Softmax():
            yield "", partial(torch.softmax, tensors[0], 1)
        case LayerNorm(n=n, epsilon=epsilon):
            yield "", partial(torch.layer_norm, tensors[0], (n,), tensors[1], tensors[2], epsilon)
        case BiasRelu():
            yield "new", lambda: torch.relu_(tensors[0] + tensors[1])
            out = torch.empty_like(tensors[0])
            yield "into", lambda: torch.add(tensors[0], tensors[1], out=out).relu_()
        case Unary(operator=operator):
            yield from _functions(operator, tensors[0])
        case Reduction(axis=axis, operator=operator):
            yield "", partial(REDUCTIONS[operator], tensors[0], axis)
        case Quantized():
            yield from _quantized(operation, *tensors)
        case Fused():
            yield from fused(operation, *tensors)


REDUCTIONS = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin, "argmax": torch.argmax}


def _functions(operator: str, data: torch.Tensor) -> Iterator[tuple[str, Call]]:
    """Give a function of elements with a new result, and with one that is there."""
    new = torch.nn.functional.gelu if operator == "gelu" else getattr(torch, operator)
    yield "new", partial(new, data)
    out = torch.empty_like(data)
    into = {"gelu": torch.ops.aten.gelu.out, "relu": partial(torch.clamp_min, min=0)}.get(operator, new)
    yield "into", partial(into, data, out=out)


def _convolutions(
    conv: Convolution, data: torch.Tensor, weights: torch.Tensor, form: Any = torch.contiguous_format
) -> Iterator[tuple[str, Call]]:
    """Give the plain operator, and oneDNN's with packed weights: its result is NHWC, and is given another form."""
    numbers = [[n, n] for n in (conv.padding, conv.stride, conv.dilation)]
    padding, stride, dilation = numbers
    yield "eager", partial(torch.conv2d, data, weights, None, stride, padding, dilation, conv.groups)
    pack: Any = torch.ops.mkldnn._reorder_convolution_weight
    packed = pack(weights, padding, stride, dilation, conv.groups, list(data.shape))
    operator: Any = torch.ops.mkldnn._convolution_pointwise.default
    call = partial(operator, data, packed, None, padding, stride, dilation, conv.groups, "none", [], "")
    yield "packed", lambda: call().contiguous(memory_format=form)


def _channels_last(conv: Convolution, data: torch.Tensor, weights: torch.Tensor) -> Iterator[tuple[str, Call]]:
    """Give the same of views as NCHW that lie as NHWC, and so do their results."""
    kernel = torch.from_numpy(plain_weights(conv, weights.numpy())).contiguous(memory_format=torch.channels_last)
    image = data.permute(0, 3, 1, 2)
    for name, call in _convolutions(replace(conv, layout="NCHW"), image, kernel, torch.channels_last):
        yield name, lambda call=call: call().permute(0, 2, 3, 1)


def _transposed(conv: Transposed, data: torch.Tensor, weights: torch.Tensor) -> Iterator[tuple[str, Call]]:
    """Give the plain operator on both layouts of images: the second one's result is turned into NCHW."""
    window = [conv.stride] * 2, [conv.padding] * 2, [conv.output_padding] * 2, conv.groups
    yield "eager", partial(torch.conv_transpose2d, data, weights, None, *window)
    nhwc = weights.contiguous(memory_format=torch.channels_last)

    def turned() -> torch.Tensor:
        image = data.contiguous(memory_format=torch.channels_last)
        return torch.conv_transpose2d(image, nhwc, None, *window).contiguous()

    yield "channels last", turned


def _products(a: torch.Tensor, b: torch.Tensor, constant: bool) -> Iterator[tuple[str, Call]]:
    out = torch.matmul(a, b)
    yield "matmul", partial(torch.matmul, a, b, out=out)
    if not constant:
        return
    weights = b.t().contiguous()
    packed: Any = torch.ops.mkldnn._reorder_linear_weight(weights, a.shape[0])
    operator: Any = torch.ops.mkldnn._linear_pointwise.default
    yield "oneDNN packed", partial(operator, a, packed, None, "none", [], "")
    if torch.backends.mkl.is_available():
        mkl: Any = torch.ops.mkl._mkl_reorder_linear_weight(weights, a.shape[0])
        yield "MKL packed", partial(torch.ops.mkl._mkl_linear.default, a, mkl, weights, None, a.shape[0])


def _quantized(
    operation: Quantized, data: torch.Tensor, weights: torch.Tensor, *residual: torch.Tensor
) -> Iterator[tuple[str, Call]]:
    of, scale, zero = operation.of, operation.result_scale, operation.own_zero
    image = torch._make_per_tensor_quantized_tensor(data, operation.data_scale, 0)
    match of:
        case Convolution():
            pair = [of.stride] * 2, [of.padding] * 2, [of.dilation] * 2
            kernel = torch._make_per_tensor_quantized_tensor(weights, operation.weight_scale, 0)
            packed: Any = torch.ops.quantized.conv2d_prepack(kernel, None, *pair, of.groups)
            call = partial(torch.ops.quantized.conv2d.new, image, packed, scale, zero)
            sums = partial(_with_residual, operation, call, *residual)
            yield "", lambda: sums().contiguous()
        case Product():
            turned = torch._make_per_tensor_quantized_tensor(weights.t().contiguous(), operation.weight_scale, 0)
            linear: Any = torch.ops.quantized.linear_prepack(turned, None)
            call = partial(torch.ops.quantized.linear, image, linear, scale, zero)
            yield "", partial(_with_residual, operation, call, *residual)


def _with_residual(operation: Quantized, call: Call, *residual: torch.Tensor) -> torch.Tensor:
    """Give the sum of a result and a residual; the wrapper around its bytes is no copy."""
    out = call()
    for plain in residual:
        other = torch._make_per_tensor_quantized_tensor(plain, operation.residual_scale, 0)
        out = torch.ops.quantized.add(out, other, operation.sum_scale, 0)
    return out
