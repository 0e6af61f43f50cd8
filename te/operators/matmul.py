"""Products of matrices."""

from __future__ import annotations

from collections.abc import Callable

from ...ir import arith
from ...ir.errors import TypeMismatch
from ...ir.expr import Expr
from ..arguments import differ
from ..broadcast import broadcast
from ..compute import compute, reduce_axis
from ..reducers import sum
from ..tensor import Tensor
from .products import Dtype, converter, precision_attrs


def matmul(
    tensor_a: Tensor,
    tensor_b: Tensor,
    bias: Tensor | None = None,
    out_dtype: Dtype = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
    activation: Callable[[Tensor], Tensor] | None = None,
    precision: str = "",
) -> Tensor:
    """Give A @ B + bias, shape (M, N), from A (M, K) and B (K, N).

    transpose_a, transpose_b  A is (K, M), B is (N, K)
    bias                      (N,), added to each row
    activation                an operator of the result, such as `relu`
    precision                 "tf32" lets tensor cores round the factors of a float32 product to 10 bits of fraction
    """
    attrs = precision_attrs("matmul", tensor_a, precision)
    return _product("matmul", tensor_a, tensor_b, bias, out_dtype, (transpose_a, transpose_b), activation, attrs)


def dense(
    data: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    out_dtype: Dtype = None,
    activation: Callable[[Tensor], Tensor] | None = None,
    precision: str = "",
) -> Tensor:
    """Give data @ weight.T + bias, shape (M, N), from data (M, K) and weight (N, K); see `matmul`."""
    attrs = precision_attrs("dense", data, precision)
    return _product("dense", data, weight, bias, out_dtype, (False, True), activation, attrs)


def batch_matmul(
    tensor_a: Tensor,
    tensor_b: Tensor,
    oshape: object = None,
    out_dtype: Dtype = None,
    transpose_a: bool = False,
    transpose_b: bool = True,
    precision: str = "",
) -> Tensor:
    """Give the product of each pair of matrices, shape (batch, M, N), from A (batch, M, K) and B (batch, N, K).

    A batch of 1 stands for any number.  oshape is the result's shape, for the reader.
    transpose_a, transpose_b  A is (batch, K, M); B is (batch, K, N) where transpose_b is False
    precision                 as of `matmul`
    """
    _check_ranks("batch_matmul", tensor_a, tensor_b, 3)
    many_a, many_b = tensor_a.shape[0], tensor_b.shape[0]
    one_a, one_b = arith.is_const(many_a, 1), arith.is_const(many_b, 1)
    if not (one_a or one_b):
        _check_equal("batch_matmul", "batches", many_a, many_b)
    rows, depth = _sides(tensor_a, 1, transpose_a)
    columns, other_depth = _sides(tensor_b, 1, not transpose_b)
    _check_equal("batch_matmul", "K", depth, other_depth)
    k = reduce_axis((0, depth), "k")
    convert = converter(tensor_a, out_dtype)

    def element(b: Expr, i: Expr, j: Expr) -> Expr:
        at_a = (arith.const(0) if one_a else b, *((k, i) if transpose_a else (i, k)))
        at_b = (arith.const(0) if one_b else b, *((j, k) if transpose_b else (k, j)))
        return sum(convert(tensor_a[at_a]) * convert(tensor_b[at_b]), axis=k)

    attrs = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    attrs |= precision_attrs("batch_matmul", tensor_a, precision)
    return compute((many_b if one_a else many_a, rows, columns), element, "T_batch_matmul", "batch_matmul", attrs)


def _product(
    tag: str,
    a: Tensor,
    b: Tensor,
    bias: Tensor | None,
    out_dtype: Dtype,
    transposes: tuple[bool, bool],
    activation: Callable[[Tensor], Tensor] | None,
    more: dict[str, object],
) -> Tensor:
    transpose_a, transpose_b = transposes
    _check_ranks(tag, a, b, 2)
    rows, depth = _sides(a, 0, transpose_a)
    columns, other_depth = _sides(b, 0, not transpose_b)
    _check_equal(tag, "K", depth, other_depth)
    k = reduce_axis((0, depth), "k")
    convert = converter(a, out_dtype)

    def element(i: Expr, j: Expr) -> Expr:
        left = a[(k, i) if transpose_a else (i, k)]
        return sum(convert(left) * convert(b[(j, k) if transpose_b else (k, j)]), axis=k)

    attrs = {"transpose_a": transpose_a, "transpose_b": transpose_b, **more}
    result = compute((rows, columns), element, f"T_{tag}", tag, attrs)
    if bias is not None:
        result = broadcast(arith.add, result, bias, name="T_add")
    return result if activation is None else activation(result)


def _sides(matrix: Tensor, first: int, swapped: bool) -> tuple[Expr, Expr]:
    """Give the extents of the dimension that stays and of the one that is summed over."""
    kept, summed = matrix.shape[first], matrix.shape[first + 1]
    return (summed, kept) if swapped else (kept, summed)


def _check_ranks(step: str, a: Tensor, b: Tensor, rank: int) -> None:
    if a.ndim != rank or b.ndim != rank:
        raise TypeMismatch(step, f"operands have {a.ndim} and {b.ndim} dimensions", advice=f"{rank} each")


def _check_equal(step: str, what: str, a: Expr, b: Expr) -> None:
    if differ(a, b):
        raise TypeMismatch(step, f"{what} is {a} for the first operand, {b} for the second", advice="equal numbers")
