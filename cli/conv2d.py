"""`autotune conv2d`."""

from __future__ import annotations

import argparse
from typing import Any

from .operators import FLOATS, Operator, add_image_flags, add_variable_weights, check_window, constant_weights


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_image_flags(parser)
    add_variable_weights(parser)


def _arguments(shape: tuple[int, ...], flags: argparse.Namespace) -> tuple[Any, ...]:
    batch, channels, height, width, filters, kernel, stride, padding = shape
    check_window(kernel, padding, flags.dilation, height, width)
    data, weights = (batch, channels, height, width), (filters, kernel, kernel)
    return data, weights, stride, padding, flags.dilation, flags.groups, flags.layout


CONV2D = Operator(
    name="conv2d",
    summary="a 2-D convolution",
    form=("N", "CI", "H", "W", "CO", "K", "S", "P"),
    notes="batch, input channels, height, width, output channels, kernel, stride, padding; whatever the layout",
    arguments=_arguments,
    add_flags=_add_flags,
    dtypes=(*FLOATS, "tf32", "int8", "uint8"),
    constant=constant_weights,
    epilogue=True,
    relative_error=True,
    example="--shape 1,256,14,14,256,3,1,1 --layout NHWC --time 30s",
)
