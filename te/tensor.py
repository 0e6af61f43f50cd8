"""Tensors: the values that operators compute, addressed element by element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from ..ir import arith
from ..ir.dtype import DType
from ..ir.errors import ExpressionError
from ..ir.expr import Expr
from .arguments import listed
from .arithmetic import Arithmetic
from .nodes import Read

if TYPE_CHECKING:
    from .operation import Operation


@dataclass(frozen=True, slots=True, eq=False)
class Tensor(Arithmetic):
    """One result of an operator.

    shape  extents, outermost first
    op     the operator that gives it, and which of its results it is
    """

    name: str
    shape: tuple[Expr, ...]
    dtype: DType
    op: Operation
    component: int = 0

    @property
    def ndim(self) -> int:
        """Give the number of dimensions."""
        return len(self.shape)

    def __call__(self, *indices: object) -> Any:
        """Give the element at `indices`, as `self[indices]` does."""
        return self[indices]

    def __getitem__(self, indices: Any) -> Any:  # an element, or a slice where indices are missing
        index = listed(indices)
        if len(index) < self.ndim:
            return TensorSlice(self, index)
        if len(index) > self.ndim:
            raise ExpressionError(
                self.name,
                f"{len(index)} indices for {self.ndim} dimensions",
                advice=f"one index for each of {tuple(map(str, self.shape))}",
            )
        nodes = tuple(arith.as_expr(i) for i in index)
        for node in nodes:
            if not node.dtype.is_int:
                raise ExpressionError(self.name, f"index {node} has type {node.dtype}", advice="an integer index")
        return Read(self, nodes)

    def __iter__(self) -> NoReturn:  # Python would try A[0], A[1], ... without end
        fact = f"{self} is an expression, which has no elements to go through"
        raise ExpressionError(self.name, fact, advice=f"[{self.name}] where several tensors may stand, else indices")

    def as_expr(self) -> Expr:
        """Give the element of a tensor without dimensions.  Raises ExpressionError for any other."""
        return TensorSlice(self, ()).as_expr()

    def _combine(self, operation: Any, a: object, b: object) -> Tensor:
        from .broadcast import broadcast  # it declares tensors

        return broadcast(operation, a, b, name=f"T_{operation.__name__}")

    def __repr__(self) -> str:
        return f"Tensor({self.name}, [{', '.join(map(str, self.shape))}], {self.dtype})"


@dataclass(frozen=True, slots=True, eq=False)
class TensorSlice(Arithmetic):
    """A tensor with its first indices given, as in `A[i][j]`."""

    tensor: Tensor
    indices: tuple[object, ...]

    def __getitem__(self, indices: Any) -> Any:  # an element, or a slice where indices are missing
        more = listed(indices)
        return self.tensor[self.indices + more]

    def __iter__(self) -> NoReturn:
        self.tensor.__iter__()

    def as_expr(self) -> Expr:
        """Give the element, if enough indices are given.  Raises ExpressionError otherwise."""
        if len(self.indices) != self.tensor.ndim:
            raise ExpressionError(
                self.tensor.name,
                f"{len(self.indices)} indices for {self.tensor.ndim} dimensions",
                advice=f"one index for each of {tuple(map(str, self.tensor.shape))}",
            )
        return Read(self.tensor, tuple(arith.as_expr(i) for i in self.indices))  # type: ignore[arg-type]

    def _combine(self, operation: Any, a: object, b: object) -> Expr:
        return operation(arith.as_expr(a) if a is self else a, arith.as_expr(b) if b is self else b)  # type: ignore[arg-type]
