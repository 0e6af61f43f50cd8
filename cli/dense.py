"""`autotune dense`."""

from __future__ import annotations

import argparse
from typing import Any

from .operators import FLOATS, Operator


def _arguments(shape: tuple[int, ...], _: argparse.Namespace) -> tuple[Any, ...]:
    return shape


DENSE = Operator(
    name="dense",
    summary="a fully connected layer",
    form=("M", "N", "K"),
    notes="Y (M, N) = X (M, K) times W (N, K) transposed",
    arguments=_arguments,
    dtypes=(*FLOATS, "tf32", "int8"),
)
