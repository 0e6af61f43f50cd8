"""`autotune depthwise_conv2d`."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import count
from .operators import FLOATS, Operator, check_window


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_geometry(parser, "NCHW (default), NHWC, or NCHW16c: data and weights in blocks of 16 channels")


def add_geometry(parser: argparse.ArgumentParser, layouts: str) -> None:
    """Add the flags for the layout, one of those that `layouts` tells, and for the distance of taps."""
    parser.add_argument("--layout", default="NCHW", help=layouts)
    parser.add_argument("--dilation", type=count, default=1, metavar="N", help="distance of the kernel's taps")


def _arguments(shape: tuple[int, ...], flags: argparse.Namespace) -> tuple[Any, ...]:
    batch, channels, height, width, kernel, stride, padding = shape
    check_window(kernel, padding, flags.dilation, height, width)
    data, window = (batch, channels, height, width), (kernel, kernel)
    return data, window, stride, padding, flags.dilation, flags.layout


DEPTHWISE_CONV2D = Operator(
    name="depthwise_conv2d",
    summary="a 2-D convolution of each channel by itself",
    form=("N", "C", "H", "W", "K", "S", "P"),
    notes="batch, channels, height, width, kernel, stride, padding; whatever the layout",
    arguments=_arguments,
    add_flags=_add_flags,
    dtypes=(*FLOATS, "int8"),
    epilogue=True,
    example="--shape 1,144,56,56,3,1,1 --time 30s",
)
