"""Memory that loop nests read and write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .dtype import DType
from .errors import ExpressionError

if TYPE_CHECKING:
    from .expr import Address, Expr


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """A dense array; two buffers never share memory, and each is told from the others by identity.

    shape    extents, outermost first; constants, or expressions in parameters such as `n`
    scope    where it lives: "global" (heap or argument), "local" (stack or registers of one thread),
             "shared" (a thread block's), "warp" (registers of a warp's lanes, as matrices of tensor cores)
    strides  distance in elements between neighbours along each dimension, or None for row-major without gaps
    align    alignment of the first element in bytes
    """

    name: str
    shape: tuple[Expr, ...]
    dtype: DType
    scope: str = "global"
    strides: tuple[Expr, ...] | None = None
    align: int = 64

    @property
    def dense_strides(self) -> tuple[Expr, ...]:
        """Give the distance in elements between neighbours along each dimension: row-major where none is given."""
        from . import arith  # expressions name buffers

        if self.strides is not None:
            return self.strides
        strides: list[Expr] = []
        stride: Expr = arith.const(1)
        for extent in reversed(self.shape):
            strides.append(stride)
            stride = arith.mul(stride, extent)
        return tuple(reversed(strides))

    def access_ptr(self, access_mask: str = "rw", *, offset: Expr | int = 0) -> Address:
        """Give the place of the element `offset` steps after the first, for a call that reads or writes from there on.

        access_mask  "r", "w" or "rw"
        Raises ExpressionError for any other.
        """
        from .expr import Address  # expressions name buffers

        if access_mask not in ("r", "w", "rw"):
            raise ExpressionError("access_ptr", f"unknown access {access_mask!r}", advice='"r", "w" or "rw"')
        return Address(self, self.unflatten(offset))

    def unflatten(self, offset: Expr | int) -> tuple[Expr, ...]:
        """Give the indices of the element `offset` steps after the first, in row-major order."""
        from . import arith  # expressions name buffers

        rest, indices = arith.as_expr(offset), []
        for size in reversed(self.shape[1:]):
            indices.append(arith.floormod(rest, size))
            rest = arith.floordiv(rest, size)
        return (*([rest] if self.shape else []), *reversed(indices))
