"""`autotune batch_matmul`."""

from __future__ import annotations

import argparse
from typing import Any

from .operators import FLOATS, Operator, add_constant_b, constant_b


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--transpose-b", action=argparse.BooleanOptionalAction, default=True, help="B is (B, N, K), else (B, K, N)"
    )
    add_constant_b(parser)


def _arguments(shape: tuple[int, ...], flags: argparse.Namespace) -> tuple[Any, ...]:
    return *shape, flags.transpose_b


BATCH_MATMUL = Operator(
    name="batch_matmul",
    summary="a batch of products of matrices",
    form=("B", "M", "N", "K"),
    notes="C (B, M, N) = A (B, M, K) times B (B, N, K) transposed, for each of the batch",
    arguments=_arguments,
    add_flags=_add_flags,
    constant=constant_b,
    epilogue=True,
    dtypes=(*FLOATS, "tf32", "int8", "uint8"),
    example="--layer bert.scores --time 30s",
)
