"""Memory that loop nests read and write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .dtype import DType

if TYPE_CHECKING:
    from .expr import Expr


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """A dense array; two buffers never share memory, and each is told from the others by identity.

    shape    extents, outermost first; constants, or expressions in parameters such as `n`
    scope    where it lives: "global" (heap or argument), "local" (stack or registers of one thread),
             "shared" (a thread block's)
    strides  distance in elements between neighbours along each dimension, or None for row-major without gaps
    align    alignment of the first element in bytes
    """

    name: str
    shape: tuple[Expr, ...]
    dtype: DType
    scope: str = "global"
    strides: tuple[Expr, ...] | None = None
    align: int = 64
