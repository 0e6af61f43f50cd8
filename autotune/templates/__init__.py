"""Templates that come with the package: one file per family of operators."""

from .conv2d import conv2d
from .conv2d_transpose import conv2d_transpose
from .depthwise import depthwise_conv2d
from .generic import generic
from .matmul import batch_matmul, dense, matmul
from .quantized import qconv2d, qdepthwise_conv2d, qmatmul
from .rows import elementwise, layer_norm, reduction, softmax

__all__ = [
    "batch_matmul",
    "conv2d",
    "conv2d_transpose",
    "dense",
    "depthwise_conv2d",
    "elementwise",
    "generic",
    "layer_norm",
    "matmul",
    "qconv2d",
    "qdepthwise_conv2d",
    "qmatmul",
    "reduction",
    "softmax",
]
