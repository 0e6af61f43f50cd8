"""`autotune matmul`."""

from __future__ import annotations

import argparse
from typing import Any

from .operators import FLOATS, Operator, add_constant_b, constant_b


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--transpose-a", action="store_true", help="A is (K, M)")
    parser.add_argument("--transpose-b", action="store_true", help="B is (N, K)")
    add_constant_b(parser)


def _arguments(shape: tuple[int, ...], flags: argparse.Namespace) -> tuple[Any, ...]:
    return *shape, flags.transpose_a, flags.transpose_b


MATMUL = Operator(
    name="matmul",
    summary="a product of matrices",
    form=("M", "N", "K"),
    notes="C (M, N) = A (M, K) times B (K, N), row-major; packing, if any, is part of the kernel",
    arguments=_arguments,
    add_flags=_add_flags,
    constant=constant_b,
    epilogue=True,
    dtypes=(*FLOATS, "tf32", "int8", "uint8"),
    example="--shape 512,512,512 --constant-b --time 30s",
)
