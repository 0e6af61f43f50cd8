"""`autotune qmatmul`, `qconv2d`, `qdepthwise_conv2d`: products and convolutions of bytes, whose sums are made bytes."""

from __future__ import annotations

import argparse
import math
import re
from typing import Any

from ..ir.arith import dtype_of
from .arguments import UsageError, one_of
from .conv2d import CONV2D
from .depthwise_conv2d import DEPTHWISE_CONV2D, add_geometry
from .matmul import MATMUL
from .operators import Operator, add_image_flags, add_variable_weights, constant_weights

BYTES = ("uint8", "int8")


def multiplier(text: str) -> float:
    """Read the scale of all sums: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def byte(text: str) -> int:
    """Read a byte, such as that which stands for zero."""
    if not re.fullmatch(r"-?[0-9]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer")
    return int(text)


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    kind = one_of("type of a byte", BYTES)
    what = "scale of all sums (default: a tensor of scales, one for each output channel or column)"
    add("--multiplier", type=multiplier, metavar="X", help=what)
    add("--bias", action="store_true", help="an int32 tensor is added to the sums, one for each channel or column")
    add("--out-dtype", type=kind, default="uint8", metavar="NAME", help=f"of the result: {', '.join(BYTES)}")
    add("--data-zero", type=byte, default=0, metavar="N", help="the byte that stands for zero in the data (default: 0)")
    add("--zero-point", type=byte, default=0, metavar="N", help="the same in the result (default: 0)")
    what = "least and greatest byte of the result, such as 7 255 for relu with a zero point of 7 (default: its type's)"
    add("--clip", type=byte, nargs=2, metavar="N", help=what)
    what = "a tensor of the result's shape and type is added to the bytes that the sums become: (byte - Z) * M + "
    what += "(other - W) * N, rounded; M and N are scales by that of the result, and --zero-point is the result's"
    add("--residual", nargs=4, metavar=("M", "Z", "N", "W"), help=what)
    add_variable_weights(parser)


def _add_product_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--transpose-b", action="store_true", help="B is (N, K)")
    _add_flags(parser)


def _add_convolution_flags(parser: argparse.ArgumentParser) -> None:
    add_image_flags(parser)
    _add_flags(parser)


def _add_depthwise_flags(parser: argparse.ArgumentParser) -> None:
    add_geometry(parser, "NCHW (default) or NHWC")
    _add_flags(parser)


def _product(shape: tuple[int, ...], flags: argparse.Namespace) -> tuple[Any, ...]:
    return *shape, flags.transpose_b


def _residual(flags: argparse.Namespace) -> tuple[float, int, float, int] | None:
    """Give the numbers of an addition.  Raises UsageError for what are none."""
    if flags.residual is None:
        return None
    own, zero, other, other_zero = flags.residual
    try:
        return multiplier(own), byte(zero), multiplier(other), byte(other_zero)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"--residual: {error}", "a scale, a zero, a scale and a zero: 0.8 0 1.1 0") from None


def _last_arguments(flags: argparse.Namespace) -> tuple[Any, ...]:
    """Give what follows the shape, up to the last that is no default: types, scale, bias, zeros, ...

    Raises UsageError for bytes that are none of their type.
    """
    residual = _residual(flags)
    for flag, value, name in (
        ("--data-zero", flags.data_zero, flags.dtype),
        ("--zero-point", flags.zero_point, flags.out_dtype),
        *(("--clip", end, flags.out_dtype) for end in flags.clip or ()),
        *(("--residual", zero, flags.out_dtype) for zero in (residual or ())[1::2]),
    ):
        dtype = dtype_of(name)
        if not dtype.min_value <= value <= dtype.max_value:
            raise UsageError(f"{flag} {value} is no {name}", f"{dtype.min_value} to {dtype.max_value}")
    zeros = flags.data_zero, flags.zero_point
    clip = None if flags.clip is None else tuple(flags.clip)
    last = () if clip is None and residual is None else (clip,) if residual is None else (clip, residual)
    return flags.dtype, flags.out_dtype, flags.multiplier, flags.bias, *zeros, constant_weights(flags), *last


QMATMUL = Operator(
    name="qmatmul",
    summary="a product of bytes, requantized",
    form=MATMUL.form,
    notes="C (M, N) = A (M, K) times int8 B (K, N), summed in int32, scaled, rounded and made bytes again",
    arguments=_product,
    add_flags=_add_product_flags,
    dtypes=BYTES,
    last_arguments=_last_arguments,
    example="--shape 128,768,768 --multiplier 0.002 --bias --time 30s",
    layers_of="dense",
)
QCONV2D = Operator(
    name="qconv2d",
    summary="a 2-D convolution of bytes, requantized",
    form=CONV2D.form,
    notes=f"{CONV2D.notes}; weights are int8, sums int32, which are scaled, rounded and made bytes again",
    arguments=CONV2D.arguments,
    add_flags=_add_convolution_flags,
    dtypes=BYTES,
    last_arguments=_last_arguments,
    example="--shape 1,128,28,28,128,3,1,1 --layout NHWC --data-zero 128 --time 30s",
    layers_of="conv2d",
)
QDEPTHWISE_CONV2D = Operator(
    name="qdepthwise_conv2d",
    summary="a 2-D convolution of bytes, each channel by itself, requantized",
    form=DEPTHWISE_CONV2D.form,
    notes=f"{DEPTHWISE_CONV2D.notes}; weights are int8, sums int32, which are scaled, rounded and made bytes again",
    arguments=DEPTHWISE_CONV2D.arguments,
    add_flags=_add_depthwise_flags,
    dtypes=BYTES,
    last_arguments=_last_arguments,
    example="--layer mobilenetv2.dw56_144k3s1 --bias --time 30s",
    layers_of="depthwise_conv2d",
)
