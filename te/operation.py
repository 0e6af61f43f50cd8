"""Operators: what gives tensors their values.

Operation
+-- PlaceholderOp    given by the caller
+-- ComputeOp        an expression for each element
+-- ScanOp           a recurrence along the first dimension
+-- ExternOp         statements, or somebody else's function
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..ir.buffer import Buffer
from ..ir.dtype import DType
from ..ir.expr import Expr
from ..ir.stmt import Stmt
from ..ir.visit import of_kind
from .axis import Axis
from .nodes import Read, Reduce
from .tensor import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """What all operators have.

    name   unique among the operators of a schedule (a schedule renames duplicates in its own table)
    tag    a word for templates to recognise an operator by, such as "conv2d_nchw"
    attrs  facts for templates and fusion, as (name, value) pairs
    """

    name: str
    tag: str = field(default="", kw_only=True)
    attrs: tuple[tuple[str, object], ...] = field(default=(), kw_only=True)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Give the tensors that are read, each once, in order of first appearance."""
        return ()

    @property
    def input_tensors(self) -> tuple[Tensor, ...]:
        """Give the inputs, by TVM's name."""
        return self.inputs

    @property
    def results(self) -> tuple[tuple[tuple[Expr, ...], DType], ...]:
        """Give the shape and data type of each result."""
        raise NotImplementedError

    @property
    def axis(self) -> tuple[Axis, ...]:
        """Give the spatial axes."""
        return ()

    @property
    def reduce_axis(self) -> tuple[Axis, ...]:
        """Give the reduction axes."""
        return ()

    def output(self, component: int) -> Tensor:
        """Give a result as a tensor.  Every call gives a new object; schedules look up operators, not tensors."""
        shape, dtype = self.results[component]
        name = self.name if len(self.results) == 1 else f"{self.name}.v{component}"
        return Tensor(name, shape, dtype, self, component)

    @property
    def num_outputs(self) -> int:
        """Give the number of results."""
        return len(self.results)


@dataclass(frozen=True, slots=True, eq=False)
class PlaceholderOp(Operation):
    """A tensor that the caller passes in."""

    shape: tuple[Expr, ...]
    dtype: DType

    @property
    def results(self) -> tuple[tuple[tuple[Expr, ...], DType], ...]:
        """Give the one shape and data type."""
        return ((self.shape, self.dtype),)


@dataclass(frozen=True, slots=True, eq=False)
class ComputeOp(Operation):
    """An expression for each element of one or several results of the same shape.

    axes   one per dimension
    body   one expression per result; either all are components of one Reduce, or none contains a Reduce
    reads  the tensors that are read, each once, in order of first appearance
    """

    axes: tuple[Axis, ...]
    body: tuple[Expr, ...]
    reads: tuple[Tensor, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reads", read_tensors(self.body))  # once: schedules ask for them at every step

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Give the tensors that are read."""
        return self.reads

    @property
    def axis(self) -> tuple[Axis, ...]:
        """Give the spatial axes, one per dimension."""
        return self.axes

    @property
    def reduction(self) -> Reduce | None:
        """Give the reduction that the operator is (its first component), or None."""
        match self.body[0]:
            case Reduce() as reduce:
                return reduce
            case _:
                return None

    @property
    def reduce_axis(self) -> tuple[Axis, ...]:
        """Give the reduction axes, in the order of `te.sum(..., axis=[...])`."""
        return () if self.reduction is None else self.reduction.axes

    @property
    def results(self) -> tuple[tuple[tuple[Expr, ...], DType], ...]:
        """Give the common shape with each body's data type."""
        shape = tuple(a.extent for a in self.axes)
        return tuple((shape, b.dtype) for b in self.body)


@dataclass(frozen=True, slots=True, eq=False)
class ScanOp(Operation):
    """A recurrence: result[t] is `update` at t, which reads `state` at earlier steps; `init` gives the first steps.

    scan_axis  the step, from the number of initial steps up to the length of the first dimension
    init       the initial steps, shape (steps, ...), one per state
    update     the values at a step, shape (length, ...), one per state
    state      placeholders that stand for the result inside `update`, one per state
    """

    scan_axis: Axis
    init: tuple[Tensor, ...]
    update: tuple[Tensor, ...]
    state: tuple[Tensor, ...]

    @property
    def axis(self) -> tuple[Axis, ...]:
        """Give the step axis alone; the other dimensions are the update's."""
        return (self.scan_axis,)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Give the initial values and the updates."""
        return self.init + self.update

    @property
    def results(self) -> tuple[tuple[tuple[Expr, ...], DType], ...]:
        """Give the states' shapes and data types."""
        return tuple((s.shape, s.dtype) for s in self.state)


@dataclass(frozen=True, slots=True, eq=False)
class ExternOp(Operation):
    """Statements over whole buffers.

    body    gives the statements from the buffers of the inputs and of the outputs
    shapes  shape and data type of each result
    """

    reads: tuple[Tensor, ...]
    shapes: tuple[tuple[tuple[Expr, ...], DType], ...]
    body: Callable[[tuple[Buffer, ...], tuple[Buffer, ...]], Stmt]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Give the tensors that are read."""
        return self.reads

    @property
    def results(self) -> tuple[tuple[tuple[Expr, ...], DType], ...]:
        """Give the shapes and data types as declared."""
        return self.shapes


def read_tensors(body: tuple[Expr, ...]) -> tuple[Tensor, ...]:
    """Give the tensors that expressions read, each (operator, result) once, in order of first appearance."""
    found: dict[tuple[int, int], Tensor] = {}
    for expression in body:
        for read in of_kind(expression, Read):
            found.setdefault((id(read.tensor.op), read.tensor.component), read.tensor)
    return tuple(found.values())
