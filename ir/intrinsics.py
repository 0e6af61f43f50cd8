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

DOTS = {  # dot products, and how many products each adds to a lane
    "dot4_u8s8_i32": 4,
    "dot4_s8s8_i32": 4,
    "dot4_strided_u8s8_i32": 4,
    "dot2_s16s16_i32": 2,
}

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
        # C[l] += sum over r < n of A[r] * B[n * l + r], for l < lanes: (Address C, Address A, Address B, lanes), where
        # C is int32, A and B are what the name says, gap-free from the addresses on
        *(Intrinsic(name, 4, Effect.WRITES) for name in ("dot4_u8s8_i32", "dot4_s8s8_i32", "dot2_s16s16_i32")),
        # The same of A[a_step * l + r] * B[b_step * l + r]: (Address C, Address A, Address B, a_step, b_step, lanes)
        Intrinsic("dot4_strided_u8s8_i32", 6, Effect.WRITES),
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
        # Of warpgroups (sm_90a): D += A B by (Address of registers, descriptors of A and of B, 1 to add or 0 to set,
        # columns, 1 where A lies along its rows, 1 where B lies along its columns)
        Intrinsic("wgmma_f16", 7, Effect.WRITES),
        Intrinsic("wgmma_bf16", 7, Effect.WRITES),
        Intrinsic("wgmma_desc", 4, Effect.READS),  # (Address, swizzle, leading bytes, stride bytes)
        Intrinsic("wgmma_fence", 0, Effect.WRITES),
        Intrinsic("wgmma_commit", 0, Effect.WRITES),
        Intrinsic("wgmma_wait", 1, Effect.WRITES),  # until at most so many groups are under way
        # Barriers in shared memory that count arrivals and bytes
        Intrinsic("mbar_init", 2, Effect.WRITES),  # (Address, arrivals)
        Intrinsic("mbar_fence_init", 0, Effect.WRITES),
        Intrinsic("mbar_arrive", 1, Effect.WRITES),
        Intrinsic("mbar_arrive_cluster", 2, Effect.WRITES),  # (Address, block of the cluster)
        Intrinsic("mbar_expect_tx", 2, Effect.WRITES),  # (Address, bytes): arrives, too
        Intrinsic("mbar_wait", 2, Effect.WRITES),  # (Address, parity of the phase that must have ended)
        # Bulk copies: (Address to, tensor map, Address of an mbarrier, coordinates, innermost first)
        *(Intrinsic(f"tma_load_{rank}d", 3 + rank, Effect.WRITES) for rank in (2, 3, 4)),
        Intrinsic("tma_load_2d_multicast", 6, Effect.WRITES),  # and the mask of the cluster's blocks that get it
        Intrinsic("tma_store_2d", 4, Effect.READS),  # (tensor map, Address from, coordinates)
        Intrinsic("tma_store_commit", 0, Effect.WRITES),
        Intrinsic("tma_store_wait", 1, Effect.WRITES),  # until what all but so many groups store has been read
        Intrinsic("fence_async", 0, Effect.WRITES),  # of this thread's writes to shared memory, before bulk copies
        Intrinsic("barrier_named", 2, Effect.WRITES),  # (number, threads)
        Intrinsic("cluster_barrier", 0, Effect.WRITES),
        Intrinsic("setmaxnreg_inc", 1, Effect.WRITES),
        Intrinsic("setmaxnreg_dec", 1, Effect.WRITES),
        Intrinsic("to_tf32", 1),  # the bits of a float32 rounded to 10 bits of fraction, ties away from zero
        Intrinsic("dp4a_s8s8", 3),  # c + the sum of the products of four bytes, each four held in an int32
        Intrinsic("dp4a_u8s8", 3),
        Intrinsic("load_word", 1, Effect.READS),  # the four bytes at an address, which must be a multiple of 4
    )
}
