"""Tensor intrinsics of tensor cores: products of small matrices by one instruction of a warp, for `tensorize`.

Each is the plain loop nest of its product, with an annotation on the outermost loop that names the instruction.  So the
nest means the same everywhere; code generation for a GPU puts the instruction in the loops' place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ...ir import arith
from ...ir.buffer import Buffer
from ...ir.errors import ExpressionError
from ...ir.expr import Add, Const, Expr, Load, Mul, Var
from ...ir.stmt import Annotation, For, Stmt, Store, seq
from ..compute import compute, placeholder, reduce_axis
from ..intrin import TensorIntrin, decl_tensor_intrin
from ..reducers import sum

MMA = "mma"  # annotates the loops of a matrix product with the instruction's name
DP4A = "dp4a"  # annotates the loop of a dot product of four bytes with the operands' types


@dataclass(frozen=True, slots=True)
class Shape:
    """One mma instruction: D (m, n) += A (m, k) B (k, n), summed in `total`."""

    name: str
    m: int
    n: int
    k: int
    total: str


SHAPES = {  # by the type of the operands
    "float16": Shape("m16n8k16_f16", 16, 8, 16, "float32"),
    "bfloat16": Shape("m16n8k16_bf16", 16, 8, 16, "float32"),
    "float32": Shape("m16n8k8_tf32", 16, 8, 8, "float32"),
    "int8": Shape("m16n8k32_s8", 16, 8, 32, "int32"),
}


@cache
def mma(dtype: str, transpose_a: bool = False, transpose_b: bool = False) -> TensorIntrin:
    """Give D[i, j] += sum of A[i, k] * B[k, j], summed in float32 or, for int8, in int32.

    dtype                     float16, bfloat16 (k = 16), float32 (rounded to tf32 on the tensor core, k = 8) or
                              int8 (k = 32); i < 16, j < 8
    transpose_a, transpose_b  A is read as A[k, i], B as B[j, k]
    All three must be kept in scope "warp".  Raises ExpressionError for other types.
    """
    shape = SHAPES.get(dtype)
    if shape is None:
        raise ExpressionError("mma", f"no instruction for {dtype}", advice=f"one of {', '.join(SHAPES)}")
    return product_intrinsic(MMA, shape, dtype, transpose_a, transpose_b)


def product_intrinsic(mark: str, shape: Shape, dtype: str, transpose_a: bool, transpose_b: bool) -> TensorIntrin:
    """Give D[i, j] += sum of A[i, k] * B[k, j] as the loops over i, j and k, the outermost marked by `mark`.

    transpose_a, transpose_b  A is read as A[k, i], B as B[j, k]
    """
    a = placeholder((shape.k, shape.m) if transpose_a else (shape.m, shape.k), dtype, "A")
    b = placeholder((shape.n, shape.k) if transpose_b else (shape.k, shape.n), dtype, "B")
    r = reduce_axis((0, shape.k), "r")

    def element(i: Expr, j: Expr) -> Expr:
        left, right = a[(r, i) if transpose_a else (i, r)], b[(j, r) if transpose_b else (r, j)]
        return sum(arith.cast(shape.total, left) * arith.cast(shape.total, right), axis=r)  # type: ignore[return-value]

    def statements(ins: tuple[Buffer, ...], outs: tuple[Buffer, ...]) -> tuple[Stmt, Stmt, Stmt]:
        (left, right), (total,) = ins, outs
        i, j, k = Var("i", minimum=0), Var("j", minimum=0), Var("k", minimum=0)
        at_a, at_b = ((k, i) if transpose_a else (i, k)), ((j, k) if transpose_b else (k, j))
        step = _product_step(total, (i, j), Load(left, at_a), Load(right, at_b))
        loops = _loops([(j, shape.n), (k, shape.k)], step)
        update = For(i, Const(shape.m), loops, annotations=(Annotation(mark, shape.name),))
        y, x = Var("i", minimum=0), Var("j", minimum=0)
        zero = arith.const(0, total.dtype)
        reset = _loops([(y, shape.m), (x, shape.n)], Store(total, (y, x), zero))
        return seq(reset, update), reset, update

    c = compute((shape.m, shape.n), element, name="D")
    letters = ("t" if transpose_a else "n") + ("t" if transpose_b else "n")
    return decl_tensor_intrin(c.op, statements, f"{mark}_{shape.name}_{letters}")


@cache
def dp4a(left: str = "int8") -> TensorIntrin:
    """Give C[0] += sum of A[r] * B[r] over r < 4, with A of type `left`, int8 or uint8, B int8, C int32.

    Raises ExpressionError for other types.
    """
    if left not in ("int8", "uint8"):
        raise ExpressionError("dp4a", f"no instruction for {left}", advice="int8 or uint8")
    taps = 4
    a, b = placeholder((taps,), left, "A"), placeholder((taps,), "int8", "B")
    r = reduce_axis((0, taps), "r")

    def element(_: Expr) -> Expr:
        return sum(arith.cast("int32", a[r]) * arith.cast("int32", b[r]), axis=r)  # type: ignore[return-value]

    def statements(ins: tuple[Buffer, ...], outs: tuple[Buffer, ...]) -> tuple[Stmt, Stmt, Stmt]:
        (total,), first, k = outs, (Const(0),), Var("r", minimum=0)
        step = _product_step(total, first, Load(ins[0], (k,)), Load(ins[1], (k,)))
        kinds = f"{'u8' if left == 'uint8' else 's8'}s8"
        update = For(k, Const(taps), step, annotations=(Annotation(DP4A, kinds),))
        reset = Store(total, first, arith.const(0, total.dtype))
        return seq(reset, update), reset, update

    return decl_tensor_intrin(compute((1,), element, name="C").op, statements, f"dp4a_{left}")


def _product_step(total: Buffer, place: tuple[Expr, ...], left: Load, right: Load) -> Stmt:
    product = Mul(arith.cast(total.dtype, left), arith.cast(total.dtype, right))
    return Store(total, place, Add(Load(total, place), product))


def _loops(loops: list[tuple[Var, int]], body: Stmt) -> Stmt:
    for var, extent in reversed(loops):
        body = For(var, Const(extent), body)
    return body
