"""Signatures of the functions that `ir.Call` can name: data that every backend reads.

A name that is not in the table is an external C function, which may read and write whatever addresses it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Effect(Enum):
    """What a call does besides giving a value."""

    PURE = "pure"
    READS = "reads memory"
    WRITES = "reads and writes memory"


@dataclass(frozen=True, slots=True)
class Intrinsic:
    """One function: its name, its number of arguments, and what it touches."""

    name: str
    arity: int
    effect: Effect = Effect.PURE


_FLOAT_MATH = (
    "exp", "exp2", "exp10", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "tanh", "sigmoid", "erf", "sin", "cos",
    "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "floor", "ceil", "trunc", "round",
    "nearbyint",
)  # fmt: skip

LDMATRIX = ("ldmatrix_x4", "ldmatrix_x4_trans", "ldmatrix_x2", "ldmatrix_x2_trans")
MMA = ("m16n8k16_f16", "m16n8k16_bf16", "m16n8k8_tf32", "m16n8k32_s8")

INTRINSICS = {
    i.name: i
    for i in (
        *(Intrinsic(name, 1) for name in _FLOAT_MATH),
        *(Intrinsic(name, 1) for name in ("abs", "isnan", "isinf", "isfinite", "bitwise_not", "popcount", "clz")),
        *(Intrinsic(name, 2) for name in ("pow", "atan2", "fmod", "hypot", "copysign", "nextafter", "ldexp")),
        *(Intrinsic(name, 2) for name in ("shift_left", "shift_right", "bitwise_and", "bitwise_or", "bitwise_xor")),
        Intrinsic("reinterpret", 1),  # the same bits as another type of equal width
        Intrinsic("fma", 3),  # a * b + c, rounded once
        Intrinsic("prefetch", 2, Effect.READS),  # (Address, 0 to read or 1 to write)
        # C[l] += sum over r < 4 of A[r] * B[4 * l + r], for l < lanes: (Address C, Address A, Address B, lanes)
        Intrinsic("dot4_u8s8_i32", 4, Effect.WRITES),  # C int32, A uint8, B int8, gap-free from the addresses on
        Intrinsic("dot4_s8s8_i32", 4, Effect.WRITES),
        # Threads of a GPU block.
        Intrinsic("barrier", 0, Effect.WRITES),  # all threads of the block
        Intrinsic("warp_barrier", 0, Effect.WRITES),
        Intrinsic("shuffle_xor", 2),  # (value, mask): the value of the lane whose number differs in the bits of `mask`
        Intrinsic("shuffle", 2),  # (value, lane)
        # Copies that run beside the thread: (Address to, Address from, bytes, valid bytes), the rest is filled with 0
        Intrinsic("cp_async", 4, Effect.WRITES),
        Intrinsic("cp_async_commit", 0, Effect.WRITES),
        Intrinsic("cp_async_wait", 1, Effect.WRITES),  # until at most so many groups are under way
        # Registers of tensor cores, by the lanes of a warp together: (Address of registers, Address of a row)
        *(Intrinsic(name, 2, Effect.WRITES) for name in LDMATRIX),
        # D += A B, each by the address of its registers
        *(Intrinsic(f"mma_{name}", 3, Effect.WRITES) for name in MMA),
        Intrinsic("to_tf32", 1),  # the bits of a float32 rounded to 10 bits of fraction, ties away from zero
        Intrinsic("dp4a_s8s8", 3),  # c + the sum of the products of four bytes, each four held in an int32
        Intrinsic("dp4a_u8s8", 3),
        Intrinsic("load_word", 1, Effect.READS),  # the four bytes at an address, which must be a multiple of 4
    )
}
