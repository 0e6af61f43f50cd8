"""Accesses that are not proved to lie in their buffers, by loop ranges, lets and enclosing conditions."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import arith
from . import expr as e
from . import stmt as s
from .affine import reads_memory
from .buffer import Buffer
from .errors import VerifyError
from .interval import Interval, Known, negated
from .printer import expr_text, place_text
from .visit import children, of_kind


@dataclass(frozen=True, slots=True, eq=False)
class Access:
    """An access that is not proved to lie in its buffer.

    stmt       the statement that makes it
    dimension  the first dimension that is not proved
    """

    buffer: Buffer
    indices: tuple[e.Expr, ...]
    stmt: s.Stmt
    dimension: int

    def error(self, function: s.Function) -> VerifyError:
        """Give the refusal of this access."""
        text = f"{self.buffer.name}[{', '.join(map(expr_text, self.indices))}]"
        extent = expr_text(self.buffer.shape[self.dimension])
        fact = f"{text} is not proved to lie in its buffer: dimension {self.dimension} has extent {extent}"
        return VerifyError("verify", fact, where=place_text(function, self.stmt), advice="a guard around the access")


def unproved_accesses(function: s.Function) -> list[Access]:
    """Give the accesses that loop ranges, lets and enclosing conditions do not prove in bounds, in order."""
    inputs = frozenset(b for b in function.buffers if b not in function.outputs)
    search = _Search(inputs)
    search.stmt(function.body, Known({}))
    return search.found


@dataclass(slots=True)
class _Search:
    """The accesses found so far; what is known of the place is handed down."""

    inputs: frozenset[Buffer]
    found: list[Access] = field(default_factory=list)

    def stmt(self, stmt: s.Stmt, known: Known) -> None:
        """Look through a statement."""
        match stmt:
            case s.For(var, extent, body):
                self.expr(extent, stmt, known)
                self.stmt(body, known.within(var, Interval(arith.const(0, var.dtype), extent - 1)))
            case s.If(condition, then, otherwise):
                self.expr(condition, stmt, known)
                lasting = self.lasts(condition)
                self.stmt(then, known.assume(condition) if lasting else known)
                if otherwise is not None:
                    opposite = negated(condition) if lasting else None
                    self.stmt(otherwise, known.assume(opposite) if opposite is not None else known)
            case s.Let(var, value, body):
                self.expr(value, stmt, known)
                self.stmt(body, known.within(var, Interval(value, value)) if self.names_value(value) else known)
            case s.Store(buffer, indices):
                self.access(buffer, indices, stmt, known)
                self.parts(stmt, stmt, known)
            case _:
                self.parts(stmt, stmt, known)

    def parts(self, node: e.Expr | s.Stmt, stmt: s.Stmt, known: Known) -> None:
        """Look through what is directly in a node."""
        for child in children(node):
            match child:
                case e.Expr():
                    self.expr(child, stmt, known)
                case s.Stmt():
                    self.stmt(child, known)

    def expr(self, node: e.Expr, stmt: s.Stmt, known: Known) -> None:
        """Look through an expression; what is not evaluated unless a condition holds may rely on it."""
        match node:
            case e.IfThenElse(condition, then, otherwise):
                self.expr(condition, stmt, known)
                self.expr(then, stmt, known.assume(condition))
                self.unless(condition, otherwise, stmt, known)
            case e.And(a, b):
                self.expr(a, stmt, known)
                self.expr(b, stmt, known.assume(a))
            case e.Or(a, b):
                self.expr(a, stmt, known)
                self.unless(a, b, stmt, known)
            case e.Call("prefetch", (e.Address() as place, _)):  # of nothing, beyond the end, is harmless
                self.parts(place, stmt, known)
            case e.Load(buffer, indices) | e.Address(buffer, indices):
                self.access(buffer, indices, stmt, known)
                self.parts(node, stmt, known)
            case _:
                self.parts(node, stmt, known)

    def unless(self, condition: e.Expr, node: e.Expr, stmt: s.Stmt, known: Known) -> None:
        """Look through an expression that is evaluated where `condition` fails."""
        opposite = negated(condition)
        self.expr(node, stmt, known if opposite is None else known.assume(opposite))

    def access(self, buffer: Buffer, indices: tuple[e.Expr, ...], stmt: s.Stmt, known: Known) -> None:
        """Note an access unless every index is proved."""
        for dimension, (index, extent) in enumerate(zip(indices, buffer.shape, strict=True)):
            zero = arith.const(0, index.dtype)
            if not (known.proves(arith.le(zero, index)) and known.proves(arith.lt(index, extent))):
                self.found.append(Access(buffer, indices, stmt, dimension))
                return

    def lasts(self, condition: e.Expr) -> bool:
        """Tell whether a condition stays as it is while statements run: it reads no memory that they may write."""
        return all(load.buffer in self.inputs for load in of_kind(condition, e.Load))

    @staticmethod
    def names_value(value: e.Expr) -> bool:
        """Tell whether a let's variable may be replaced by its value wherever it stands."""
        return value.dtype.is_int and not reads_memory(value)
