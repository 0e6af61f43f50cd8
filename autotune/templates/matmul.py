"""Products of matrices, in every storage of the factors and by whatever algorithm the target has for them.

The `dtype` of a workload is that of both factors: float16 and bfloat16 are summed up in float32 and stored rounded,
int8 gives int32, and so does uint8, which is multiplied by int8.  "tf32" stands for float32 whose factors tensor cores
may round to 10 bits of fraction.
"""

from __future__ import annotations

from ... import te
from ...ir.arith import int_value
from ...schedule.schedule import Schedule, create_schedule
from ...te import operators
from ...te.tensor import Tensor
from ..template import get_config, get_target, template
from .cpu import products as cpu_products
from .cpu.product import ProductRequest
from .epilogue import EpilogueForm
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
    epilogue: str = "",
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable C (m, n) = A (m, k) B (k, n), row-major.

    transpose_a, transpose_b  A is (k, m), B is (n, k)
    constant_b  whether what is made of B alone may be made ahead of the calls; on a GPU it never is
    epilogue    what becomes of the sums, with a bias (n,), see `EpilogueForm`; its tensors follow B in calls
    """
    types = ProductTypes.of(dtype)
    a = te.placeholder((k, m) if transpose_a else (m, k), types.operands, name="A")
    b = te.placeholder((n, k) if transpose_b else (k, n), types.weights, name="B")
    c = operators.matmul(a, b, None, types.total, transpose_a, transpose_b, precision=types.precision)
    return _scheduled(a, b, c, constant_b, epilogue, types)


@template("dense")
def dense(
    m: int, n: int, k: int, dtype: str = "float32", constant_weights: bool = False, epilogue: str = ""
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable Y (m, n) = X (m, k) W (n, k) transposed.

    constant_weights  whether what is made of W alone may be made ahead of the calls; on a GPU it never is
    epilogue          what becomes of the sums, with a bias (n,), see `EpilogueForm`; its tensors follow W in calls
    """
    types = ProductTypes.of(dtype)
    x = te.placeholder((m, k), types.operands, name="data")
    w = te.placeholder((n, k), types.weights, name="weight")
    y = operators.dense(x, w, None, types.total, precision=types.precision)
    return _scheduled(x, w, y, constant_weights, epilogue, types)


@template("batch_matmul")
def batch_matmul(
    batch: int,
    m: int,
    n: int,
    k: int,
    transpose_b: bool = True,
    dtype: str = "float32",
    constant_b: bool = False,
    epilogue: str = "",
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable C (batch, m, n) = A (batch, m, k) B (batch, n, k), or B (batch, k, n) without `transpose_b`.

    constant_b  whether what is made of B alone may be made ahead of the calls; on a GPU it never is
    epilogue    what becomes of the sums, with a bias (n,), see `EpilogueForm`; its tensors follow B in calls
    """
    types = ProductTypes.of(dtype)
    a = te.placeholder((batch, m, k), types.operands, name="A")
    b = te.placeholder((batch, n, k) if transpose_b else (batch, k, n), types.weights, name="B")
    c = operators.batch_matmul(a, b, None, types.total, transpose_b=transpose_b, precision=types.precision)
    return _scheduled(a, b, c, constant_b, epilogue, types)


def _scheduled(
    a: Tensor, b: Tensor, sums: Tensor, constant_b: bool, epilogue: str, types: ProductTypes
) -> tuple[Schedule, list[Tensor]]:
    form, columns = EpilogueForm.parse(epilogue), int_value(sums.shape[-1]) or 1
    request = ProductRequest.of(a, b, sums, constant_b, form.of(sums, columns, types.result))
    inputs = [a, b, *request.epilogue.given]
    if epilogue:
        get_config().add_flop(operators.flops(sums))
    if get_target().kind == "cuda":
        s = create_schedule(request.result.op)
        from .cuda import products as cuda_products  # most programs need none of it

        cuda_products.schedule(get_config(), s)
        return s, [*inputs, request.result]
    s, out = cpu_products.scheduled(get_config(), request)
    return s, [*inputs, out]
