"""`tvm.topi.nn`: operators of neural networks."""

from ....te.operators import (
    batch_matmul,
    conv2d,
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

__all__ = [
    "batch_matmul", "conv2d", "conv2d_NCHWc", "conv2d_nchw", "conv2d_nhwc", "conv2d_transpose_nchw", "dense",
    "depthwise_conv2d_NCHWc", "depthwise_conv2d_nchw", "depthwise_conv2d_nhwc", "flatten", "global_pool",
    "layer_norm", "leaky_relu", "log_softmax", "matmul", "pad", "pool2d", "relu", "softmax",
]  # fmt: skip
