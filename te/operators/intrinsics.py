"""Tensor intrinsics that come with the package: dot products of four bytes or two 16-bit numbers, for `tensorize`.

Those of bytes are vpdpbusd (VNNI) on x86-64, sdot on AArch64, and widening multiplications elsewhere; those of 16-bit
numbers are vpmaddwd on x86-64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ...ir import arith
from ...ir.buffer import Buffer
from ...ir.expr import Call, Expr
from ...ir.stmt import Evaluate, Stmt, seq
from .. import builder
from ..compute import compute, placeholder, reduce_axis
from ..intrin import TensorIntrin, decl_tensor_intrin
from ..reducers import sum

TAPS = 4  # products that one instruction adds to a lane
STRIDED = "dot4_strided_u8s8_i32"


@cache
def dot4_u8s8_i32(lanes: int) -> TensorIntrin:
    """Give C[l] = sum of A[r] * B[l, r] over r < 4, with A (4,) uint8, B (lanes, 4) int8, C (lanes,) int32."""
    return _dot("dot4_u8s8_i32", TAPS, "uint8", "int8", lanes)


@cache
def dot4_s8s8_i32(lanes: int) -> TensorIntrin:
    """Give C[l] = sum of A[r] * B[l, r] over r < 4, with A (4,) int8, B (lanes, 4) int8, C (lanes,) int32."""
    return _dot("dot4_s8s8_i32", TAPS, "int8", "int8", lanes)


@cache
def dot2_s16s16_i32(lanes: int) -> TensorIntrin:
    """Give C[l] = sum of A[r] * B[l, r] over r < 2, with A (2,) int16, B (lanes, 2) int16, C (lanes,) int32."""
    return _dot("dot2_s16s16_i32", 2, "int16", "int16", lanes)


@cache
def dot4_by_lane_u8s8_i32(lanes: int) -> TensorIntrin:
    """Give C[l] = sum of A[l, r] * B[l, r] over r < 4, with A (lanes, 4) uint8, B (lanes, 4) int8, C (lanes,) int32."""
    a, b = placeholder((lanes, TAPS), "uint8", "A"), placeholder((lanes, TAPS), "int8", "B")
    name = f"dot4_by_lane_u8s8_i32_x{lanes}"
    return _declared(name, STRIDED, lanes, (TAPS, TAPS), lambda lane, r: (a[lane, r], b[lane, r]))


@cache
def dot4_sliding_u8s8_i32(lanes: int, step: int) -> TensorIntrin:
    """Give C[l] = sum of A[step * l + r] * B[r] over r < 4, with A uint8, B (4,) int8, C (lanes,) int32.

    step  1 or more; A has step * (lanes - 1) + 4 elements
    """
    a, b = placeholder((step * (lanes - 1) + TAPS,), "uint8", "A"), placeholder((TAPS,), "int8", "B")
    name = f"dot4_sliding{step}_u8s8_i32_x{lanes}"
    return _declared(name, STRIDED, lanes, (step, 0), lambda lane, r: (a[step * lane + r], b[r]))


def _dot(name: str, taps: int, left: str, right: str, lanes: int) -> TensorIntrin:
    a, b = placeholder((taps,), left, "A"), placeholder((lanes, taps), right, "B")
    return _declared(f"{name}_x{lanes}", name, lanes, (), lambda lane, r: (a[r], b[lane, r]), taps)


def _declared(
    name: str,
    call: str,
    lanes: int,
    steps: tuple[int, ...],
    factors: Callable[[Expr, Expr], tuple[Expr, Expr]],
    taps: int = TAPS,
) -> TensorIntrin:
    """Give the intrinsic that a call stands for, from the factors of a lane's r-th product."""
    axis = reduce_axis((0, taps), "r")

    def element(lane: Expr) -> Expr:
        left, right = factors(lane, axis.var)
        return sum(arith.cast("int32", left) * arith.cast("int32", right), axis=axis)

    c = compute((lanes,), element, name="C")

    def statements(ins: tuple[Buffer, ...], outs: tuple[Buffer, ...]) -> tuple[Stmt, Stmt, Stmt]:
        ib = builder.create()
        total = ib.buffer_ptr(outs[0])
        with ib.for_range(0, lanes, "lane", kind="vectorize") as lane:
            total[lane] = 0
        reset = ib.get()
        places = (outs[0].access_ptr("rw"), ins[0].access_ptr("r"), ins[1].access_ptr("r"))
        numbers = (arith.const(n) for n in (*steps, lanes))
        update = Evaluate(Call(call, (*places, *numbers), arith.dtype_of("int32")))
        return seq(reset, update), reset, update

    return decl_tensor_intrin(c.op, statements, name)
