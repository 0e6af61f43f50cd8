"""The two expressions that loop nests do not have: an element of a tensor, and a reduction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ir import arith
from ..ir.dtype import DType
from ..ir.expr import Expr, Var

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

    def text(self, print_expr: Callable[[Expr], str]) -> str:
        """Give `A[i, k]`."""
        return f"{self.tensor.name}[{', '.join(map(print_expr, self.indices)) or '()'}]"


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

    def text(self, print_expr: Callable[[Expr], str]) -> str:
        """Give `sum(A[i, k], axis=[k], where=k < n)`, with `[component]` after it for a tuple reducer."""
        values = ", ".join(map(print_expr, self.values))
        words = [values if len(self.values) == 1 else f"({values})"]
        words.append(f"axis=[{', '.join(print_expr(axis.var) for axis in self.axes)}]")
        if not is_unconditional(self):
            words.append(f"where={print_expr(self.condition)}")
        if self.init:
            words.append(f"init=[{', '.join(map(print_expr, self.init))}]")
        which = f"[{self.component}]" if len(self.values) > 1 else ""
        return f"{self.reducer.name}({', '.join(words)}){which}"


def is_unconditional(reduce: Reduce) -> bool:
    """Tell whether the reduction takes every value of its axes."""
    return arith.is_known(reduce.condition, True)
