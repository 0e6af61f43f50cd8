"""`autotune conv2d_transpose`."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import UsageError, count, natural
from .operators import Operator, add_variable_weights, constant_weights


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layout", default="NCHW", help="NCHW (default) or NHWC")
    what = "rows and columns that the result has more, at the bottom and on the right: less than the stride"
    parser.add_argument("--output-padding", type=natural, default=0, metavar="N", help=what)
    parser.add_argument("--groups", type=count, default=1, metavar="N", help="of channels convolved by themselves")
    add_variable_weights(parser)


def _arguments(shape: tuple[int, ...], flags: argparse.Namespace) -> tuple[Any, ...]:
    batch, channels, height, width, filters, kernel, stride, padding = shape
    if flags.output_padding >= stride:
        raise UsageError(f"--output-padding {flags.output_padding} with a stride of {stride}", f"less than {stride}")
    for size in (height, width):
        if (size - 1) * stride + kernel + flags.output_padding <= 2 * padding:
            fact = f"padding {padding} leaves nothing of {(size - 1) * stride + kernel} elements"
            raise UsageError(fact, "less padding")
    data, weights = (batch, channels, height, width), (filters, kernel, kernel)
    return data, weights, stride, padding, flags.output_padding, flags.groups, flags.layout


CONV2D_TRANSPOSE = Operator(
    name="conv2d_transpose",
    summary="a transposed 2-D convolution",
    form=("N", "CI", "H", "W", "CO", "K", "S", "P"),
    notes="batch, input channels, height, width, output channels, kernel, stride, padding left out of the result",
    arguments=_arguments,
    add_flags=_add_flags,
    constant=constant_weights,
    example="--shape 1,256,14,14,128,4,2,1 --time 30s",
)
