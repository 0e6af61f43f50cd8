"""The two expressions that loop nests do not have: an element of a tensor, and a reduction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ir.dtype import DType
from ..ir.expr import Const, Expr, Var

if TYPE_CHECKING:
    from .axis import Axis
    from .tensor import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Read(Expr):
    """The element of `tensor` at `indices`."""

    tensor: Tensor
    indices: tuple[Expr, ...]

    @property
    def dtype(self) -> DType:
        """Give the tensor's data type."""
        return self.tensor.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Reducer:
    """A way to combine values, possibly several at once (argmax combines an index and a value).

    left, right  the variables that stand for the running value and the next one, one of each per component
    result       the combination, in terms of `left` and `right`
    identity     what combined with any value gives that value
    name         for printing: "sum", "max", ...
    """

    name: str
    left: tuple[Var, ...]
    right: tuple[Var, ...]
    result: tuple[Expr, ...]
    identity: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Reduce(Expr):
    """`reducer` over all values of `axes` for which `condition` holds; only allowed as the whole body of a compute.

    values     one expression per component of the reducer
    init       start values in place of the identity, or an empty tuple
    component  which component of the result this expression gives
    """

    reducer: Reducer
    values: tuple[Expr, ...]
    axes: tuple[Axis, ...]
    condition: Expr
    init: tuple[Expr, ...]
    component: int

    @property
    def dtype(self) -> DType:
        """Give the data type of the component."""
        return self.values[self.component].dtype


def is_unconditional(reduce: Reduce) -> bool:
    """Tell whether the reduction takes every value of its axes."""
    return isinstance(reduce.condition, Const) and reduce.condition.value is True
