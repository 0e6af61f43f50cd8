"""Tensor intrinsics that come with the package: dot products of four bytes, for `tensorize`.

They are vpdpbusd (VNNI) on x86-64, sdot on AArch64, and widening multiplications elsewhere.
"""

from __future__ import annotations

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


@cache
def dot4_u8s8_i32(lanes: int) -> TensorIntrin:
    """Give C[l] = sum of A[r] * B[l, r] over r < 4, with A (4,) uint8, B (lanes, 4) int8, C (lanes,) int32."""
    return _dot4("dot4_u8s8_i32", "uint8", lanes)


@cache
def dot4_s8s8_i32(lanes: int) -> TensorIntrin:
    """Give C[l] = sum of A[r] * B[l, r] over r < 4, with A (4,) int8, B (lanes, 4) int8, C (lanes,) int32."""
    return _dot4("dot4_s8s8_i32", "int8", lanes)


def _dot4(name: str, left: str, lanes: int) -> TensorIntrin:
    a, b = placeholder((TAPS,), left, "A"), placeholder((lanes, TAPS), "int8", "B")
    r = reduce_axis((0, TAPS), "r")

    def element(lane: Expr) -> Expr:
        return sum(arith.cast("int32", a[r]) * arith.cast("int32", b[lane, r]), axis=r)  # type: ignore[return-value]

    c = compute((lanes,), element, name="C")

    def statements(ins: tuple[Buffer, ...], outs: tuple[Buffer, ...]) -> tuple[Stmt, Stmt, Stmt]:
        ib = builder.create()
        total = ib.buffer_ptr(outs[0])
        with ib.for_range(0, lanes, "lane", kind="vectorize") as lane:
            total[lane] = 0
        reset = ib.get()
        places = (outs[0].access_ptr("rw"), ins[0].access_ptr("r"), ins[1].access_ptr("r"))
        update = Evaluate(Call(name, (*places, arith.const(lanes)), arith.dtype_of("int32")))
        return seq(reset, update), reset, update

    return decl_tensor_intrin(c.op, statements, f"{name}_x{lanes}")
