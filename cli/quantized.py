"""`autotune qmatmul` and `qconv2d`: products and convolutions of bytes whose sums are made bytes again."""

from __future__ import annotations

import argparse
import math
import re
from typing import Any

from ..ir.arith import dtype_of
from .arguments import UsageError, one_of
from .conv2d import CONV2D
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


def zero(text: str) -> int:
    """Read the byte that stands for zero."""
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
    add("--data-zero", type=zero, default=0, metavar="N", help="the byte that stands for zero in the data (default: 0)")
    add("--zero-point", type=zero, default=0, metavar="N", help="the same in the result (default: 0)")
    add_variable_weights(parser)


def _add_product_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--transpose-b", action="store_true", help="B is (N, K)")
    _add_flags(parser)


def _add_convolution_flags(parser: argparse.ArgumentParser) -> None:
    add_image_flags(parser)
    _add_flags(parser)


def _product(shape: tuple[int, ...], flags: argparse.Namespace) -> tuple[Any, ...]:
    return *shape, flags.transpose_b


def _last_arguments(flags: argparse.Namespace) -> tuple[Any, ...]:
    """Give types, scale, bias, zeros and constancy.  Raises UsageError for a zero that is no byte of its type."""
    for flag, value, name in (
        ("--data-zero", flags.data_zero, flags.dtype),
        ("--zero-point", flags.zero_point, flags.out_dtype),
    ):
        dtype = dtype_of(name)
        if not dtype.min_value <= value <= dtype.max_value:
            raise UsageError(f"{flag} {value} is no {name}", f"{dtype.min_value} to {dtype.max_value}")
    zeros = flags.data_zero, flags.zero_point
    return flags.dtype, flags.out_dtype, flags.multiplier, flags.bias, *zeros, constant_weights(flags)


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
