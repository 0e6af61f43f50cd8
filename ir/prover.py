"""Proofs of conditions from what is known at a place of a program."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import TYPE_CHECKING, Any

from .affine import affine_of, key_of, reads_memory
from .dtype import DType
from .expr import And, Const, Eq, Expr, Le, Lt, Ne, Not, Or, Sub
from .linear import ZERO, Affine, is_index
from .solver import MOST_SPLITS, Solver

if TYPE_CHECKING:
    from .interval import Known


class Prover(Solver):
    """Decides conditions at one place."""

    __slots__ = ("known",)

    def __init__(self, known: Known) -> None:
        super().__init__(known.ranges)
        self.known = known

    def proves(self, condition: Expr) -> bool:
        """Tell whether a condition always holds."""
        self.splits = MOST_SPLITS
        return self.holds(condition)

    def proves_at_least_0(self, form: Affine) -> bool:
        """Tell whether a form is never negative."""
        self.splits = MOST_SPLITS
        return not form.data and self.at_least_0(form)

    def proves_0(self, form: Affine, dtype: DType) -> bool:
        """Tell whether a form with terms, none of them data, is always 0; `dtype` is its type."""
        self.splits = MOST_SPLITS
        always = self.at_least_0(form) and self.at_least_0(-form)
        return always or (bool(self.known.truths) and self.is_given(Eq(form.to_expr(dtype), Const(0, dtype))))

    def proves_never_0(self, form: Affine, dtype: DType) -> bool:
        """Tell whether a form with terms, none of them data, is never 0; `dtype` is its type."""
        self.splits = MOST_SPLITS
        never = self.at_least_0(-form - 1) or self.at_least_0(form - 1)
        return never or (bool(self.known.truths) and self.is_given(Ne(form.to_expr(dtype), Const(0, dtype))))

    def holds(self, condition: Expr) -> bool:
        """Tell whether a condition always holds."""
        rule = _PROOFS.get(type(condition))
        return (rule is not None and rule(self, condition)) or self.is_given(condition)

    def is_given(self, condition: Expr) -> bool:
        """Tell whether a condition is known to hold as it stands."""
        return bool(self.known.truths) and key_of(condition) in self.known.truths

    def at_least_0(self, form: Affine) -> bool:
        """Tell whether `form` is never negative, by its bounds or by one known fact."""
        low = self.floor(form, 0)
        if low is not None and low >= 0:
            return True
        for fact in self.known.facts:
            for mono, c in fact.terms.items():
                k = form.terms.get(mono, 0) // c
                if k > 0:
                    low = self.floor(form - fact * k, 0)
                    if low is not None and low >= 0:
                        return True
                    break
        return False

    def ordered(self, a: Expr, b: Expr, gap: int) -> bool:
        """Tell whether a + gap <= b always holds, for gap 0 or 1."""
        if a.dtype.is_float:
            return False
        if is_index(a.dtype):
            difference = affine_of(Sub(b, a))
            if difference == ZERO and not gap:
                return True
            if not difference.data:  # what is read twice has cancelled: that says nothing where it may wrap
                return self.at_least_0(difference - gap) and not (reads_memory(a) or reads_memory(b))
        high, low = self.wrapping_span(a)[1], self.wrapping_span(b)[0]
        return high is not None and low is not None and high + gap <= low

    def equal(self, a: Expr, b: Expr) -> bool:
        """Tell whether two integers are always equal."""
        if a.dtype.is_float:
            return False
        if not is_index(a.dtype):
            return key_of(a) == key_of(b)
        difference = affine_of(Sub(b, a))
        if not difference.terms:
            return not difference.constant
        return not difference.data and self.at_least_0(difference) and self.at_least_0(-difference)

    def unequal(self, a: Expr, b: Expr) -> bool:
        """Tell whether two integers are never equal."""
        if a.dtype.is_float:
            return False
        if is_index(a.dtype):
            difference = affine_of(Sub(b, a))
            if not difference.terms:
                return difference.constant != 0
            if not difference.data and difference.constant % gcd(*difference.terms.values()):
                return True
        return self.ordered(a, b, 1) or self.ordered(b, a, 1)

    def either(self, a: Expr, b: Expr) -> bool:
        """Tell whether a or b always holds: the second may use that the first does not."""
        if self.holds(a) or self.holds(b):
            return True
        opposite = negated(a)
        return opposite is not None and Prover(self.known.assume(opposite)).holds(b)

    def fails(self, condition: Expr) -> bool:
        """Tell whether a condition never holds."""
        opposite = negated(condition)
        return opposite is not None and self.holds(opposite)


def negated(condition: Expr) -> Expr | None:
    """Give the opposite of a comparison of integers or of a connective without `not`, or None."""
    match condition:
        case Lt(a, b) if not a.dtype.is_float:
            return Le(b, a)
        case Le(a, b) if not a.dtype.is_float:
            return Lt(b, a)
        case Eq(a, b):
            return Ne(a, b)
        case Ne(a, b):
            return Eq(a, b)
        case Not(a):
            return a
        case And(a, b):
            return Or(_opposite(a), _opposite(b))
        case Or(a, b):
            return And(_opposite(a), _opposite(b))
    return None


def _opposite(condition: Expr) -> Expr:
    known = negated(condition)
    return Not(condition) if known is None else known


_PROOFS: dict[type, Callable[[Prover, Any], bool]] = {
    Const: lambda s, c: c.value is True,
    Lt: lambda s, c: s.ordered(c.a, c.b, 1),
    Le: lambda s, c: s.ordered(c.a, c.b, 0),
    Eq: lambda s, c: s.equal(c.a, c.b),
    Ne: lambda s, c: s.unequal(c.a, c.b),
    And: lambda s, c: s.holds(c.a) and s.holds(c.b),
    Or: lambda s, c: s.either(c.a, c.b),
    Not: lambda s, c: s.fails(c.a),
}
