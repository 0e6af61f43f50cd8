"""`autotune dense`."""

from __future__ import annotations

import argparse
from typing import Any

from .operators import FLOATS, Operator, add_variable_weights, constant_weights


def _arguments(shape: tuple[int, ...], _: argparse.Namespace) -> tuple[Any, ...]:
    return shape


DENSE = Operator(
    name="dense",
    summary="a fully connected layer",
    form=("M", "N", "K"),
    notes="Y (M, N) = X (M, K) times W (N, K) transposed",
    arguments=_arguments,
    add_flags=add_variable_weights,
    dtypes=(*FLOATS, "tf32", "int8", "uint8"),
    constant=constant_weights,
    epilogue=True,
    example="--layer bert.qkv --time 30s",
)
