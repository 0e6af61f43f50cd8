"""Iteration variables: the names of the dimensions that an operator runs over."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from ..ir import arith
from ..ir.expr import Const, Expr, Var
from .arithmetic import Arithmetic


class AxisKind(Enum):
    """What a dimension of an operator is for."""

    SPATIAL = "spatial"  # one element of the result for each value
    REDUCE = "reduce"  # combined by a reducer
    SCAN = "scan"  # one step of a recurrence after the other
    THREAD = "thread"  # a hardware thread index, for `bind`
    OPAQUE = "opaque"  # inside an extern operator or a tensorized body


_FIRST = arith.const(0)


class Domain(NamedTuple):
    """The values `min <= value < min + extent`."""

    min: Expr
    extent: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Axis(Arithmetic):
    """A dimension `start <= var < start + extent` of an operator, or a loop that a schedule step made of one.

    var     the variable that stands for the dimension in expressions
    thread  thread axis such as "threadIdx.x" for the THREAD kind, else ""
    TVM calls this class IterVar.
    """

    var: Var
    extent: Expr
    kind: AxisKind = AxisKind.SPATIAL
    start: Expr = _FIRST
    thread: str = ""

    @property
    def name(self) -> str:
        """Give the variable's name, which names the axis within its stage."""
        return self.var.name

    @property
    def size(self) -> int | None:
        """Give the extent as a number, or None where it is symbolic."""
        match self.extent:
            case Const(value):
                return int(value)
            case _:
                return None

    @property
    def dom(self) -> Domain:
        """Give start and extent, by TVM's names."""
        return Domain(self.start, self.extent)

    def as_expr(self) -> Expr:
        """Give the variable, so that an axis can stand in expressions: `A[i, k]`, `k + 1`."""
        return self.var

    def __repr__(self) -> str:
        return f"Axis({self.name}, {self.extent}, {self.kind.value})"

    def _combine(self, operation: Any, a: object, b: object) -> Expr:
        return operation(self.var if a is self else a, self.var if b is self else b)

    def equal(self, other: object) -> Expr:
        """Give the comparison of values, as an expression."""
        return self.var.equal(other)  # type: ignore[arg-type]
