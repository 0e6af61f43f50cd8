"""A text that two programs share exactly when they say the same, and its hash: the key of tuning records.

Names do not count: operators, axes and variables are numbered in the order in which a walk from the outputs meets
them, equal sub-expressions get one number however they are shared in memory, and tags are left out; of attributes
those count that say how exact results must be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..ir.buffer import Buffer
from ..ir.dtype import DType
from ..ir.errors import ExpressionError
from ..ir.expr import Const, Expr, Var
from ..ir.stmt import Stmt
from .arguments import listed
from .axis import Axis
from .evaluate import operations
from .extern import buffer_like
from .machine import PRECISION, RELATIVE_ERROR
from .nodes import Reducer
from .operation import ComputeOp, ExternOp, Operation, PlaceholderOp, ScanOp
from .tensor import Tensor

_VERSION = 1  # raised when the text changes for the same program


def content_hash(outputs: Tensor | Sequence[Tensor]) -> str:
    """Give 64 hexadecimal digits (SHA-256) that depend on what `outputs` compute and not on names."""
    return hashlib.sha256(canonical_text(outputs).encode()).hexdigest()


def canonical_text(outputs: Tensor | Sequence[Tensor]) -> str:
    """Give the program as numbered definitions, one a line, producers first.

    Raises ExpressionError for what has no content to compare, such as a value that is no part of the language.
    """
    wanted = listed(outputs)
    text = _Text()
    for op in operations(wanted):
        text.operator(op)
    results = ", ".join(text.tensor(t) for t in wanted)
    return "\n".join([f"tilewright te {_VERSION}", *text.lines, f"outputs {results}"]) + "\n"


@dataclass(slots=True)
class _Text:
    """The definitions so far."""

    lines: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)  # from a definition to its number
    operators: dict[Operation, int] = field(default_factory=dict)
    symbols: dict[object, str] = field(default_factory=dict)  # names of free variables and of buffers
    bound: dict[Var, str] = field(default_factory=dict)  # names of the variables that the operator at hand binds
    written: dict[int, tuple[object, str]] = field(default_factory=dict)  # by identity, the object kept alive

    def operator(self, op: Operation) -> None:
        """Define an operator.  Its axes and its reducer's variables are numbered afresh."""
        self.written.clear()
        self.bound = {axis.var: f"i{n}" for n, axis in enumerate((*op.axis, *op.reduce_axis))}
        exactness = [f" {name} {self.plain(value)}" for name, value in op.attrs if name in (PRECISION, RELATIVE_ERROR)]
        text = "".join([_OPERATORS[type(op)](self, op), *exactness])
        self.operators[op] = len(self.operators)
        self.lines.append(f"@{self.operators[op]} = {text}")

    def tensor(self, tensor: Tensor) -> str:
        """Give the name of an operator's result."""
        return f"@{self.operators[tensor.op]}.{tensor.component}"

    def symbol(self, kind: str, key: object) -> str:
        """Give the name of a variable or buffer, numbered at its first appearance."""
        return self.symbols.setdefault(key, f"{kind}{len(self.symbols)}")

    def many(self, items: Sequence[object]) -> str:
        """Give a sequence."""
        return f"({', '.join(self.item(x) for x in items)})"

    def item(self, value: object) -> str:
        """Give anything that a node holds: nodes by number, others written out."""
        match value:
            case Expr() | Stmt():
                return self.node(value)
            case tuple():
                return self.many(value)
            case Tensor():
                return self.tensor(value)
            case Axis():
                return self.axis(value)
            case Buffer():
                return self.buffer(value)
            case Reducer():
                return self.reducer(value)
            case _:
                return self.plain(value)

    def plain(self, value: object) -> str:
        """Give a number, word or data type."""
        match value:
            case None | bool() | int() | str() | DType():
                return repr(value)
            case float():
                return value.hex()
            case _ if hasattr(value, "value"):  # a member of an enumeration
                return repr(value.value)  # type: ignore[union-attr]
            case _ if hasattr(value, "__dataclass_fields__"):
                return f"{type(value).__name__}{self.many([getattr(value, f.name) for f in fields(value)])}"  # type: ignore[arg-type]
            case _:
                raise ExpressionError("content_hash", f"{value!r} has no content to compare", advice="plain numbers")

    def node(self, node: Any) -> str:
        """Give the number of an expression or statement, defined where it is new."""
        known = self.written.get(id(node))
        if known is not None:
            return known[1]
        match node:
            case Var(_, dtype):
                result = f"{self.bound.get(node) or self.symbol('v', node)}:{dtype}"
            case Const(value, dtype):
                result = f"{self.plain(value)}:{dtype}"
            case _:
                parts = ", ".join(self.item(getattr(node, f.name)) for f in fields(node))
                result = self.define(f"{type(node).__name__}({parts})")
        self.written[id(node)] = (node, result)
        return result

    def define(self, text: str) -> str:
        """Give the number of a definition; equal ones share it."""
        if text not in self.numbers:
            self.numbers[text] = len(self.numbers)
            self.lines.append(f"%{self.numbers[text]} = {text}")
        return f"%{self.numbers[text]}"

    def axis(self, axis: Axis) -> str:
        """Give an axis with its domain."""
        return f"{self.item(axis.var)} in [{self.item(axis.start)}, +{self.item(axis.extent)}]"

    def buffer(self, buffer: Buffer) -> str:
        """Give a buffer with all that its meaning depends on."""
        name = self.symbol("b", buffer)
        return f"{name}{self.many(buffer.shape)}:{buffer.dtype}:{buffer.scope}:{self.item(buffer.strides)}"

    def reducer(self, reducer: Reducer) -> str:
        """Give a reducer by what it does."""
        self.bound |= {var: f"x{n}" for n, var in enumerate((*reducer.left, *reducer.right))}
        names = self.many((*reducer.left, *reducer.right))
        return f"{names} -> {self.many(reducer.result)} from {self.many(reducer.identity)}"

    def results(self, op: Operation) -> str:
        """Give the shapes and data types of an operator's results."""
        return "; ".join(f"{self.many(shape)}:{dtype}" for shape, dtype in op.results)


def _compute(text: _Text, op: ComputeOp) -> str:
    axes, reduction = text.many(op.axes), op.reduction
    if reduction is None:
        return f"compute {axes} of {text.many(op.body)}"
    domain, reducer = text.many(reduction.axes), text.reducer(reduction.reducer)
    rest = f"{text.many(reduction.values)} where {text.item(reduction.condition)} init {text.many(reduction.init)}"
    return f"reduce {axes} over {domain} by {reducer} of {rest}"


def _scan(text: _Text, op: ScanOp) -> str:
    parts = (op.init, op.update, op.state)
    return f"scan {text.axis(op.scan_axis)} {' '.join(text.many(p) for p in parts)} {text.results(op)}"


def _extern(text: _Text, op: ExternOp) -> str:
    ins = tuple(buffer_like(t) for t in op.reads)
    outs = tuple(buffer_like(op.output(i)) for i in range(op.num_outputs))
    buffers = text.many((*ins, *outs))
    return f"extern {text.many(op.reads)} {buffers} {text.results(op)} {text.item(op.body(ins, outs))}"


_OPERATORS: dict[type, Callable[[_Text, Any], str]] = {
    PlaceholderOp: lambda text, op: f"placeholder {text.results(op)}",
    ComputeOp: _compute,
    ScanOp: _scan,
    ExternOp: _extern,
}
