"""Tensor intrinsics of warpgroups (sm_90a), for `tensorize`: products of 128 threads, operands in shared memory.

Each is the plain loop nest of its product, with an annotation that names the instruction, as those of single warps are.
"""

from __future__ import annotations

from functools import cache

from ...ir.errors import ExpressionError
from ..intrin import TensorIntrin
from .tensor_cores import Shape, product_intrinsic

WGMMA = "wgmma"  # annotates the loops of a matrix product with the instruction's name
ROWS, DEPTH = 64, 16  # of one instruction
COLUMNS = range(8, 257, 8)
KINDS = {"float16": "f16", "bfloat16": "bf16"}


@cache
def wgmma(dtype: str, n: int, transpose_a: bool = False, transpose_b: bool = False) -> TensorIntrin:
    """Give D[i, j] += sum of A[i, k] * B[k, j], summed in float32; i < 64, j < n, k < 16.

    dtype                     float16 or bfloat16
    n                         8 to 256, a multiple of 8
    transpose_a, transpose_b  A is read as A[k, i], B as B[j, k]
    D must be kept in scope "warpgroup"; A and B in scope "shared", swizzled by "32B", "64B" or "128B".
    Raises ExpressionError for other types and widths.
    """
    if dtype not in KINDS:
        raise ExpressionError("wgmma", f"no instruction for {dtype}", advice=f"one of {', '.join(KINDS)}")
    if n not in COLUMNS:
        raise ExpressionError("wgmma", f"no instruction of {n} columns", advice="8 to 256 in steps of 8")
    shape = Shape(f"m{ROWS}n{n}k{DEPTH}_{KINDS[dtype]}", ROWS, n, DEPTH, "float32")
    return product_intrinsic(WGMMA, shape, dtype, transpose_a, transpose_b)
