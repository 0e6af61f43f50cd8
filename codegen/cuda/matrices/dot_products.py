"""Dot products of four bytes by one instruction of a thread."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ....ir import arith
from ....ir.dtype import int8, int32
from ....ir.expr import Call, Const, Expr, Load, Var
from ....ir.interval import Ranges
from ....ir.stmt import For, Store
from ....ir.target import Target
from ....ir.visit import Node, of_kind, rewrite, substitute
from ..kernel import Kernel
from .words import packed, whole_word

TAPS = 4


@dataclass(frozen=True, slots=True)
class SelectDotProducts:
    """Put dp4a in place of the loops that are marked as it.

    for r in range(4, dp4a="s8s8"):                        C[i] = dp4a_s8s8(load_word(address(A[i, 0])),
        C[i] = C[i] + int32(A[i, r]) * int32(B[r])    ->                    load_word(address(B[0])), C[i])

    Four bytes that are neighbours in memory, from a multiple of 4 on, are loaded at once, others put together.
    """

    def __call__(self, kernel: Kernel, target: Target) -> Kernel:
        """Give the kernel with its dot products by instructions."""
        ranges = kernel.ranges

        def rule(node: Node) -> Node | None:
            match node:
                case For(var, body=Store(buffer, indices) as store, annotations=annotations):
                    kinds = next((str(a.value) for a in annotations if a.name == "dp4a"), "")
                case _:
                    return None
            if not kinds:
                return None
            loads = [n for n in of_kind(store.value, Load) if n.buffer is not buffer]
            operands = sorted((loads[0], loads[-1]), key=lambda n: n.dtype == int8)  # uint8 is the left one
            words = [arith.cast(int32, self.word(n, var, ranges)) for n in operands]
            return Store(buffer, indices, Call(f"dp4a_{kinds}", (*words, Load(buffer, indices)), int32))

        return replace(kernel, body=rewrite(kernel.body, rule))

    @staticmethod
    def word(load: Load, var: Var, ranges: Ranges) -> Expr:
        """Give four elements as one word."""
        taps = [substitute(load, {var: Const(r)}) for r in range(TAPS)]
        whole = whole_word(load, var, TAPS, ranges)
        return packed(list(taps)) if whole is None else whole
