"""Products of matrices, in every storage of the factors and by whatever algorithm the target has for them.

The `dtype` of a workload is that of both factors: float16 and bfloat16 are summed up in float32 and stored rounded,
int8 gives int32, and so does uint8, which is multiplied by int8.  "tf32" stands for float32 whose factors tensor cores
may round to 10 bits of fraction.
"""

from __future__ import annotations

from ... import te
from ...schedule.schedule import Schedule, create_schedule
from ...te import operators
from ...te.tensor import Tensor
from ..template import get_config, get_target, template
from .cpu import products as cpu_products
from .cpu.product import ProductRequest
from .cuda import products as cuda_products
from .product_types import ProductTypes


@template("matmul")
def matmul(
    m: int,
    n: int,
    k: int,
    transpose_a: bool = False,
    transpose_b: bool = False,
    dtype: str = "float32",
    constant_b: bool = False,
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable C (m, n) = A (m, k) B (k, n), row-major.

    transpose_a, transpose_b  A is (k, m), B is (n, k)
    constant_b  whether what is made of B alone may be made ahead of the calls; on a GPU it never is
    """
    types = ProductTypes.of(dtype)
    a = te.placeholder((k, m) if transpose_a else (m, k), types.operands, name="A")
    b = te.placeholder((n, k) if transpose_b else (k, n), types.weights, name="B")
    c = operators.matmul(a, b, None, types.total, transpose_a, transpose_b, precision=types.precision)
    return _scheduled(a, b, types.stored(c), constant_b)


@template("dense")
def dense(
    m: int, n: int, k: int, dtype: str = "float32", constant_weights: bool = False
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable Y (m, n) = X (m, k) W (n, k) transposed.

    constant_weights  whether what is made of W alone may be made ahead of the calls; on a GPU it never is
    """
    types = ProductTypes.of(dtype)
    x = te.placeholder((m, k), types.operands, name="data")
    w = te.placeholder((n, k), types.weights, name="weight")
    y = operators.dense(x, w, None, types.total, precision=types.precision)
    return _scheduled(x, w, types.stored(y), constant_weights)


@template("batch_matmul")
def batch_matmul(
    batch: int,
    m: int,
    n: int,
    k: int,
    transpose_b: bool = True,
    dtype: str = "float32",
    constant_b: bool = False,
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable C (batch, m, n) = A (batch, m, k) B (batch, n, k), or B (batch, k, n) without `transpose_b`.

    constant_b  whether what is made of B alone may be made ahead of the calls; on a GPU it never is
    """
    types = ProductTypes.of(dtype)
    a = te.placeholder((batch, m, k), types.operands, name="A")
    b = te.placeholder((batch, n, k) if transpose_b else (batch, k, n), types.weights, name="B")
    c = operators.batch_matmul(a, b, None, types.total, transpose_b=transpose_b, precision=types.precision)
    return _scheduled(a, b, types.stored(c), constant_b)


def _scheduled(a: Tensor, b: Tensor, c: Tensor, constant_b: bool) -> tuple[Schedule, list[Tensor]]:
    if get_target().kind == "cuda":
        s = create_schedule(c.op)
        cuda_products.schedule(get_config(), s)
        return s, [a, b, c]
    s, out = cpu_products.scheduled(get_config(), ProductRequest(a, b, c, constant_b))
    return s, [a, b, out]
