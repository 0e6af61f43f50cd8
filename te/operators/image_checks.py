"""What convolutions refuse of images and weights."""

from __future__ import annotations

from ...ir.errors import TypeMismatch
from ...ir.expr import Expr
from ..arguments import differ
from ..tensor import Tensor


def check_ranks(step: str, data: Tensor, data_rank: int, kernel: Tensor, kernel_rank: int) -> None:
    """Raise TypeMismatch unless both tensors have so many dimensions."""
    if data.ndim != data_rank or kernel.ndim != kernel_rank:
        ranks = f"data has {data.ndim} dimensions and kernel {kernel.ndim}"
        raise TypeMismatch(step, ranks, advice=f"{data_rank} and {kernel_rank}")


def check_equal(step: str, what: str, a: Expr, b: Expr) -> None:
    """Raise TypeMismatch where a size of the data and one of the kernel are known to differ."""
    if differ(a, b):
        raise TypeMismatch(step, f"{what}: {a} of data, {b} of kernel", advice="equal numbers")
