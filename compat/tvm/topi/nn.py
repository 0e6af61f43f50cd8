"""`tvm.topi.nn`: operators of neural networks."""

from typing import Any

from ....te import operators
from ....te.operators import (
    batch_matmul,
    conv2d_nchw,
    conv2d_NCHWc,
    conv2d_nhwc,
    conv2d_transpose_nchw,
    dense,
    depthwise_conv2d_nchw,
    depthwise_conv2d_NCHWc,
    depthwise_conv2d_nhwc,
    flatten,
    global_pool,
    layer_norm,
    leaky_relu,
    log_softmax,
    matmul,
    pad,
    pool2d,
    relu,
    softmax,
)
from ....te.tensor import Tensor

__all__ = [
    "batch_matmul", "conv2d", "conv2d_NCHWc", "conv2d_nchw", "conv2d_nhwc", "conv2d_transpose_nchw", "dense",
    "depthwise_conv2d_NCHWc", "depthwise_conv2d_nchw", "depthwise_conv2d_nhwc", "flatten", "global_pool",
    "layer_norm", "leaky_relu", "log_softmax", "matmul", "pad", "pool2d", "relu", "softmax",
]  # fmt: skip


def conv2d(
    input: Tensor,
    filter: Tensor,
    strides: Any,
    padding: Any,
    dilation: Any,
    layout: str = "NCHW",
    out_dtype: str | None = None,
) -> Tensor:
    """Give the convolution in a layout, by TVM's names of the parameters."""
    return operators.conv2d(input, filter, strides, padding, dilation, layout, out_dtype)
