"""A product of matrices as it was asked for of a processor."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ....ir.dtype import float32
from ....ir.visit import of_kind
from ....te.axis import Axis
from ....te.nodes import Read
from ....te.operation import ComputeOp, Operation
from ....te.tensor import Tensor
from .. import register_tile as tile
from ..epilogue import Epilogue, last


@dataclass(frozen=True, slots=True)
class ProductRequest:
    """Two matrices, or batches of them, and their product.

    product     the sums
    result      what is stored: the sums, or what the epilogue makes of them
    constant_b  whether what is made of the second factor alone may be made ahead of the calls
    """

    a: Tensor
    b: Tensor
    product: Tensor
    result: Tensor
    constant_b: bool
    epilogue: Epilogue

    @classmethod
    def of(cls, a: Tensor, b: Tensor, product: Tensor, constant_b: bool, epilogue: Epilogue) -> ProductRequest:
        """Give the request for what an epilogue makes of a product."""
        return cls(a, b, product, epilogue.declared(product, last), constant_b, epilogue)

    @property
    def rows(self) -> Axis:
        """Give the axis over the rows of the result."""
        return self.result.op.axis[-2]

    @property
    def columns(self) -> Axis:
        """Give the axis over the columns of the result."""
        return self.result.op.axis[-1]

    @property
    def in_place(self) -> bool:
        """Tell whether the sums can wait in the result for the rest of their terms."""
        return self.result is self.product and self.result.dtype == float32

    @property
    def outer(self) -> tuple[int, ...]:
        """Give the extents of the batch, none where there is one product alone."""
        return tuple(tile.size(axis) for axis in self.result.op.axis[:-2])

    @property
    def batch(self) -> int:
        """Give the number of products."""
        return prod(self.outer)

    @property
    def m(self) -> int:
        """Give the number of rows."""
        return tile.size(self.rows)

    @property
    def n(self) -> int:
        """Give the number of columns."""
        return tile.size(self.columns)

    @property
    def k(self) -> int:
        """Give the number of terms of a sum."""
        return tile.size(self.product.op.reduce_axis[0])

    @staticmethod
    def dimensions(matrix: Tensor, product: Operation) -> tuple[int, int]:
        """Give the dimension of a factor that the product keeps, and the one that it sums over."""
        assert isinstance(product, ComputeOp)
        depth = product.reduce_axis[0].var
        read = next(r for r in of_kind(product.body[0], Read) if r.tensor.op is matrix.op)
        summed = next(d for d, index in enumerate(read.indices) if index is depth)
        return (matrix.ndim - 1, summed) if summed == matrix.ndim - 2 else (matrix.ndim - 2, summed)
