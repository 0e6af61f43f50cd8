"""Bounds of integer expressions over ranges of variables, and proofs of conditions.

The expression is brought to its integer-linear form, so that correlated terms cancel, then each ranged variable is
replaced by the end of its range that its coefficient's sign asks for.  A range may name other variables, ranged or
symbolic; a coefficient may be a symbol such as a tile factor, its sign known from `Var.minimum`.  All answers are
sound, under the assumption on index arithmetic stated in `ir.affine`: None, or False, means "not known".
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from . import arith
from .affine import affine_of, key_of, reads_memory
from .expr import And, Const, Eq, Expr, Le, Lt, Not, Or, Sub, Var
from .linear import Affine, is_index
from .prover import Prover, negated
from .solver import Solver

__all__ = ["Bounds", "Interval", "Known", "Ranges", "bounds", "const_bounds", "negated", "prove"]


@dataclass(frozen=True, slots=True)
class Interval:
    """All integers from `lo` to `hi`, both included; None is unbounded."""

    lo: Expr | None
    hi: Expr | None


Ranges = Mapping[Var, Interval]


def bounds(expr: Expr, ranges: Ranges) -> Interval:
    """Give the least and the greatest value that `expr` can have; variables not in `ranges` stay symbolic.

    The ends are not always reached.  Floats and values from memory are unbounded, up to what their type holds.
    """
    return Bounds(ranges).of(expr)


def const_bounds(expr: Expr, ranges: Ranges) -> tuple[int | None, int | None]:
    """Give integer bounds of `expr`; a variable not in `ranges` is only known to be at least its `minimum`."""
    return Bounds(ranges).constant(expr)


class Bounds:
    """What `bounds` and `const_bounds` give for many expressions within the same ranges, whose ends it remembers."""

    __slots__ = ("_solver",)

    def __init__(self, ranges: Ranges) -> None:
        self._solver = Solver(ranges)

    def of(self, expr: Expr) -> Interval:
        """Give what `bounds` gives."""
        if not is_index(expr.dtype):
            ends = self.constant(expr)
            return Interval(*[None if x is None else arith.const(x, expr.dtype) for x in ends])
        solver = self._solver.asked()
        form = affine_of(expr)
        found = solver.of_form(form, False, False), solver.of_form(form, True, False)
        return Interval(*[None if end is None else end.to_expr(expr.dtype) for end in found])

    def constant(self, expr: Expr) -> tuple[int | None, int | None]:
        """Give what `const_bounds` gives."""
        solver = self._solver.asked()
        if is_index(expr.dtype):
            form = affine_of(expr)
            return solver.floor(form), solver.ceiling(form)
        return (None, None) if expr.dtype.is_float else solver.wrapping_span(expr)


def prove(condition: Expr, ranges: Ranges, given: Sequence[Expr] = ()) -> bool:
    """Tell whether `condition` holds for all values of the variables; False also where that is not known.

    given  conditions that are known to hold
    """
    known = Known(ranges)
    for fact in given:
        known = known.assume(fact)
    return known.proves(condition)


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of the variables at a place of a program.

    ranges  where variables lie
    facts   forms that are at least 0
    truths  keys of conditions that hold and are no inequality
    """

    ranges: Ranges
    facts: tuple[Affine, ...] = ()
    truths: frozenset[Hashable] = field(default_factory=frozenset)

    def within(self, var: Var, interval: Interval) -> Known:
        """Give what is known once `var` lies in `interval`."""
        return replace(self, ranges={**self.ranges, var: interval})

    def assume(self, condition: Expr) -> Known:
        """Give what is known where `condition` holds; conditions on memory add nothing, for memory changes."""
        match condition:
            case And(a, b) | Not(Or(Not(a), Not(b))):
                return self.assume(a).assume(b)
            case Not(a) if (opposite := negated(a)) is not None:
                return self.assume(opposite)
            case Const():
                return self
        if reads_memory(condition):
            return self
        match condition:
            case Lt(a, b) if is_index(a.dtype):
                return self._at_least_0(affine_of(Sub(b, a)) - 1)
            case Le(a, b) if is_index(a.dtype):
                return self._at_least_0(affine_of(Sub(b, a)))
            case Eq(a, b) if is_index(a.dtype):
                difference = affine_of(Sub(b, a))
                return self._at_least_0(difference)._at_least_0(-difference)
        return replace(self, truths=self.truths | {key_of(condition)})

    def _at_least_0(self, form: Affine) -> Known:
        """Add a fact; an integer bound on a single variable becomes part of the variable's range."""
        match list(form.terms.items()):
            case []:
                return self
            case [((Var() as var,), c)]:
                end = -(form.constant // c) if c > 0 else form.constant // -c
                tightened = self._tightened(var, end, c > 0)
                if tightened is not None:
                    return tightened
        return replace(self, facts=(*self.facts, form))

    def _tightened(self, var: Var, end: int, lower: bool) -> Known | None:
        old = self.ranges.get(var, Interval(None, None))
        edge = old.lo if lower else old.hi
        if edge is None and lower and var.minimum is not None:
            edge = Const(var.minimum)
        if edge is not None:
            form = affine_of(edge)
            if form.terms:
                return None
            if (form.constant >= end) if lower else (form.constant <= end):
                return self
        new = arith.const(end, var.dtype)
        return self.within(var, Interval(new, old.hi) if lower else Interval(old.lo, new))

    def proves(self, condition: Expr) -> bool:
        """Tell whether `condition` follows."""
        return Prover(self).proves(condition)
