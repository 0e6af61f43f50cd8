"""Bounds of integer expressions over ranges of variables, and proofs of conditions.

The expression is brought to its integer-linear form, so that correlated terms cancel, then each ranged variable is
replaced by the end of its range that its coefficient's sign asks for.  A range may name other variables, ranged or
symbolic; a coefficient may be a symbol such as a tile factor, its sign known from `Var.minimum`.  All answers are
sound, under the assumption on index arithmetic stated in `ir.affine`: None, or False, means "not known".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import gcd, inf
from typing import Any

from . import arith
from .affine import (
    ONE,
    Affine,
    Atom,
    Monomial,
    Opaque,
    affine_of,
    floordiv,
    floormod,
    is_index,
    key_of,
    maximum,
    minimum,
    of_atom,
    reads_memory,
)
from .dtype import int32, int64
from .expr import (
    Add,
    And,
    Cast,
    Const,
    Eq,
    Expr,
    FloorDiv,
    FloorMod,
    IfThenElse,
    Le,
    Lt,
    Max,
    Min,
    Mul,
    Ne,
    Not,
    Or,
    Select,
    Sub,
    Var,
)

MOST_ELIMINATIONS = 64  # replaced atoms per question; ranges that name each other in a circle end here
MOST_SPLITS = 12  # case distinctions on min, max and select per question


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
    if not is_index(expr.dtype):
        lo, hi = const_bounds(expr, ranges)
        return Interval(*[None if x is None else arith.const(x, expr.dtype) for x in (lo, hi)])
    solver = Solver(Known(ranges))
    form = affine_of(expr)
    lo, hi = (-form, form) if form.data else (solver.greatest(-form, False), solver.greatest(form, False))
    if form.data:
        low, high = solver.data_span(form)
        lo, hi = (None if low is None else Affine({}, -low)), (None if high is None else Affine({}, high))
    dtype = expr.dtype
    return Interval(None if lo is None else (-lo).to_expr(dtype), None if hi is None else hi.to_expr(dtype))


def const_bounds(expr: Expr, ranges: Ranges) -> tuple[int | None, int | None]:
    """Give integer bounds of `expr`; a variable not in `ranges` is only known to be at least its `minimum`."""
    solver = Solver(Known(ranges))
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
        return Solver(self).proves(condition)


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


Ends = tuple[Affine | None, Affine | None]
Span = tuple[int | None, int | None]


class Solver:
    """Answers questions about one place; remembers the ends of ranges it has looked at."""

    __slots__ = ("_ends", "_spans", "known", "ranges", "splits")

    def __init__(self, known: Known) -> None:
        self.known = known
        self.ranges = known.ranges
        self.splits = MOST_SPLITS
        self._ends: dict[Var, Ends] = {}
        self._spans: dict[Var, Span | None] = {}

    def span(self, form: Affine) -> Span:
        """Give integer bounds of a form."""
        self.splits = MOST_SPLITS
        return self.floor(form), self.ceiling(form)

    def proves(self, condition: Expr) -> bool:
        """Tell whether a condition always holds."""
        self.splits = MOST_SPLITS
        return self.holds(condition)

    def proves_at_least_0(self, form: Affine) -> bool:
        """Tell whether a form is never negative."""
        self.splits = MOST_SPLITS
        return not form.data and self.at_least_0(form)

    # ------------------------------------------------------------ integer bounds

    def floor(self, form: Affine, enough: int | None = None) -> int | None:
        """Give an integer that `form` is never less than, any if it is at least `enough`."""
        top = self.ceiling(-form, None if enough is None else -enough)
        return None if top is None else -top

    def ceiling(self, form: Affine, enough: int | None = None) -> int | None:
        """Give an integer that `form` is never greater than, any if it is at most `enough`."""
        independent = self._independent_ends(form)
        if independent is not None:
            total = form.constant
            for c, end in independent:
                if end is None:
                    return None
                total += c * end
            return total
        if form.data:
            return self.data_span(form)[1]
        return self._symbolic_ceiling(form, enough)

    def _independent_ends(self, form: Affine) -> list[tuple[int, int | None]] | None:
        """Give each coefficient with the end of its atom, if the atoms share no variable and all ranges are integers."""
        found: list[tuple[int, int | None]] = []
        opaque: list[tuple[int, Opaque]] = []
        for mono, c in form.terms.items():
            atom = mono[0]
            if len(mono) > 1:
                return None
            if type(atom) is Var:
                span = self.span_of(atom)
                if span is None:
                    return None
                found.append((c, span[c > 0]))
            else:
                opaque.append((c, atom))
        if opaque:
            if form.data or len(form.vars) != len(found) + sum(len(atom.vars) for _, atom in opaque):
                return None
            if any(self.span_of(v) is None for _, atom in opaque for v in atom.vars):
                return None
            for c, atom in opaque:
                end = self.end(atom, c > 0, True)
                found.append((c, None if end is None else end.constant))
        return found

    def _symbolic_ceiling(self, form: Affine, enough: int | None) -> int | None:
        best: int | None = None
        for reading in self.readings(form):
            open_form = self.greatest(reading, False)
            if open_form is None:
                continue
            for closing in self.readings(open_form) if open_form.terms else (open_form,):
                top = self.greatest(closing, True)
                if top is not None and (best is None or top.constant < best):
                    best = top.constant
                    if enough is not None and best <= enough:
                        return best
        return best

    def span_of(self, var: Var) -> Span | None:
        """Give the range of a variable if its ends are integers or unbounded, else None."""
        if var not in self._spans:
            lo, hi = self.ends_of(var)
            known = (lo is None or not lo.terms) and (hi is None or not hi.terms)
            ends = (None if lo is None else lo.constant, None if hi is None else hi.constant)
            self._spans[var] = ends if known else None
        return self._spans[var]

    def ends_of(self, var: Var) -> Ends:
        """Give the ends of a variable's range; without a range, its least value."""
        found = self._ends.get(var)
        if found is None:
            interval = self.ranges.get(var)
            lo = hi = None
            if interval is not None:
                lo = None if interval.lo is None else affine_of(interval.lo)
                hi = None if interval.hi is None else affine_of(interval.hi)
            if lo is None and var.minimum is not None:
                lo = Affine({}, var.minimum)
            found = self._ends[var] = (lo, hi)
        return found

    def data_span(self, form: Affine) -> Span:
        """Give bounds of a sum of values from memory, unbounded if the sum might wrap."""
        lo = hi = form.constant
        for mono, c in form.terms.items():
            low, high = self.hull(mono, c)
            lo, hi = lo + low, hi + high
        dtype = int64 if form.dtype is int64 else int32
        return (lo, hi) if dtype.min_value <= lo and hi <= dtype.max_value else (None, None)  # type: ignore[return-value]

    def hull(self, mono: Monomial, c: int) -> tuple[float, float]:
        """Give bounds of c * mono with the atoms taken as independent; infinite where unbounded."""
        lo: float = c
        hi: float = c
        for atom in mono:
            low, high = self._atom_span(atom)
            corners = [x * y if x and y else 0 for x in (lo, hi) for y in (low, high)]
            lo, hi = min(corners), max(corners)
        return lo, hi

    def _atom_span(self, atom: Atom) -> tuple[float, float]:
        if type(atom) is Var:
            form = of_atom(atom)
            low, high = self.floor(form), self.ceiling(form)
        else:
            lo, hi = self.end(atom, False, True), self.end(atom, True, True)
            low, high = lo and lo.constant, hi and hi.constant
        return (-inf if low is None else low, inf if high is None else high)

    # ------------------------------------------------------------ elimination

    def greatest(self, form: Affine, closed: bool) -> Affine | None:
        """Give a form without ranged variables that `form` is never greater than, or None.

        closed  eliminate all other variables too, which leaves a constant
        """
        current = form if closed or len(form.terms) < 3 else self._without_plain(form)
        for _ in range(MOST_ELIMINATIONS):
            atom = self._next(current, closed)
            if atom is None:
                return current
            c, rest = current.factor(atom)
            sign = self._sign(c, atom)
            if not sign:
                raised = self._without_products(current, atom)
            elif type(atom) is Opaque and atom.op in _CHOICES and self.splits > 0:
                return self._by_cases(atom, c, rest, sign, closed)
            else:
                end = self.end(atom, sign > 0, closed)
                raised = None if end is None else rest + c * end
            if raised is None:
                return None
            current = raised
        return None

    def _without_plain(self, form: Affine) -> Affine:
        """Eliminate at once, if all atoms are variables that stand alone, those with integers as ends."""
        rest: dict[Monomial, int] = {}
        total = form.constant
        for mono, c in form.terms.items():
            atom = mono[0]
            if len(mono) > 1 or type(atom) is not Var:
                return form
            span = self.span_of(atom)
            if span is None:
                return form
            end = span[c > 0]
            if end is None or atom not in self.ranges:
                rest[mono] = c
            else:
                total += c * end
        return Affine(rest, total)

    def _next(self, form: Affine, closed: bool) -> Atom | None:
        """Give the atom to eliminate: choices, then other opaque atoms, then variables whose ranges name others."""
        opaque: Opaque | None = None
        variables: list[Var] = []
        for mono in form.terms:
            for atom in mono:
                if type(atom) is Var:
                    if (closed or atom in self.ranges) and atom not in variables:
                        variables.append(atom)
                elif closed or not atom.vars.isdisjoint(self.ranges):
                    if atom.op in _CHOICES:
                        return atom
                    opaque = opaque or atom
        if opaque is not None or len(variables) < 2:
            return opaque or (variables[0] if variables else None)
        named = {v for var in variables for end in self.ends_of(var) if end is not None and end.terms for v in end.vars}
        return next((v for v in variables if v not in named), variables[0])

    def _sign(self, c: Affine, atom: Atom) -> int:
        """Give 1 or -1 if the coefficient never is of the other sign, or 0."""
        if not c.terms:
            return 1 if c.constant > 0 else -1
        if any(atom in mono for mono in c.terms):
            return 0
        low = self.floor(c, 0)
        if low is not None and low >= 0:
            return 1
        high = self.ceiling(c, 0)
        return -1 if high is not None and high <= 0 else 0

    def _without_products(self, form: Affine, atom: Atom) -> Affine | None:
        """Replace the terms that hold `atom` by an integer that they never exceed."""
        rest: dict[Monomial, int] = {}
        total: float = form.constant
        for mono, c in form.terms.items():
            if atom in mono:
                total += self.hull(mono, c)[1]
            else:
                rest[mono] = c
        return None if total == inf else Affine(rest, int(total))

    def _by_cases(self, atom: Opaque, c: Affine, rest: Affine, sign: int, closed: bool) -> Affine | None:
        """Bound rest + c * atom for each value that a min, max or selection may take."""
        self.splits -= 1
        cases = [self.greatest(rest + c * operand, closed) for operand in atom.operands]
        if atom.op is (Min if sign > 0 else Max):  # each case is a bound
            a, b = cases
            return b if a is None else a if b is None else minimum(a, b)
        a, b = cases
        return None if a is None or b is None else maximum(a, b)

    # ------------------------------------------------------------ ends of atoms

    def end(self, atom: Atom, upper: bool, closed: bool) -> Affine | None:
        """Give a form that bounds `atom` from above or below."""
        if type(atom) is Var:
            return self.ends_of(atom)[upper]
        bound = _ENDS.get(atom.op)
        if bound is not None and atom.node is None:
            return bound(self, atom, upper, closed)
        lo, hi = self._choice_span(atom) if atom.operands else self._node_span(atom.node)
        return _constant(hi if upper else lo)

    def of_form(self, form: Affine, upper: bool, closed: bool) -> Affine | None:
        """Give a bound of `form` from above or below."""
        if form.data:
            return _constant(self.ceiling(form) if upper else self.floor(form))
        if upper:
            return self.greatest(form, closed)
        least = self.greatest(-form, closed)
        return None if least is None else -least

    def _is_fixed(self, form: Affine, closed: bool) -> bool:
        return not form.terms if closed else form.vars.isdisjoint(self.ranges)

    def quotient_end(self, atom: Opaque, upper: bool, closed: bool) -> Affine | None:
        """Bound x // d."""
        x, d = atom.operands
        low = self.floor(d)
        high = self.ceiling(d)
        positive = low is not None and low > 0
        if not positive and not (high is not None and high < 0):
            return None
        if self._is_fixed(d, closed):
            end = self.of_form(x, upper == positive, closed)
            return None if end is None else floordiv(end, d)
        if not positive:
            return None
        top = self.ceiling(x) if upper else self.floor(x)
        if top is None:
            return None
        divisor = low if (top >= 0) is upper else high
        if divisor is None:
            return Affine({}, 0 if top >= 0 else -1)
        return Affine({}, top // divisor)

    def remainder_end(self, atom: Opaque, upper: bool, closed: bool) -> Affine | None:
        """Bound x % d: by x itself where it lies in one period, else by the divisor."""
        x, d = atom.operands
        low = self.floor(d)
        if low is None or low <= 0:
            high = self.ceiling(d)
            if high is None or high >= 0:
                return None
            if upper:
                return Affine({}, 0)
            end = self.of_form(d, False, closed)
            return None if end is None else end + 1
        least, most = self.floor(x), self.ceiling(x)
        if not d.terms and least is not None and most is not None and least // low == most // low:
            end = self.of_form(x, upper, closed)
            return None if end is None else end - low * (least // low)
        if d.terms and least is not None and least >= 0:
            past = self.ceiling(x - d, -1)
            if past is not None and past < 0:
                return self.of_form(x, upper, closed)
        if not upper:
            return Affine({}, 0)
        if least is not None and least >= 0 and most is not None and most < low:
            return Affine({}, most)
        end = self.of_form(d, True, closed)
        return None if end is None else end - 1

    def product_end(self, atom: Opaque, upper: bool, closed: bool) -> Affine | None:
        """Bound a product that was too long to multiply out."""
        lows = [(self.floor(x), self.ceiling(x)) for x in atom.operands]
        spans = [(-inf if lo is None else lo, inf if hi is None else hi) for lo, hi in lows]
        (a, b), (c, d) = spans
        corners = [x * y if x and y else 0 for x in (a, b) for y in (c, d)]
        top = max(corners) if upper else min(corners)
        return None if top in (inf, -inf) or atom.data else Affine({}, int(top))

    def _choice_span(self, atom: Opaque) -> Span:
        """Give bounds of a min, max or selection from those of its operands taken alone."""
        lows, highs = zip(*[(self.floor(x), self.ceiling(x)) for x in atom.operands], strict=True)
        low: int | None = None if None in lows else min(lows)  # type: ignore[type-var]
        high: int | None = None if None in highs else max(highs)  # type: ignore[type-var]
        if atom.op is Min:
            high = min((x for x in highs if x is not None), default=None)
        if atom.op is Max:
            low = max((x for x in lows if x is not None), default=None)
        return low, high

    def _node_span(self, node: Expr | None) -> Span:
        """Give bounds of an atom that has no integer operands, from its type."""
        match node:
            case Cast(value, dtype):
                inner = self.wrapping_span(value) if not value.dtype.is_float else (None, None)
                fits = inner[0] is not None and inner[1] is not None
                if fits and dtype.min_value <= inner[0] and inner[1] <= dtype.max_value:  # type: ignore[operator]
                    return inner
        return (None, None)

    def wrapping_span(self, expr: Expr) -> Span:
        """Give bounds of a non-float expression whose arithmetic may wrap."""
        if is_index(expr.dtype):
            form = affine_of(expr)
            return self.floor(form), self.ceiling(form)
        least, most = int(expr.dtype.min_value), int(expr.dtype.max_value)
        exact = self._exact_span(expr)
        if exact is not None and exact[0] is not None and exact[1] is not None and least <= exact[0] and exact[1] <= most:
            return exact
        return least, most

    def _exact_span(self, expr: Expr) -> Span | None:
        """Give bounds of a narrow integer as if it did not wrap."""
        match expr:
            case Const(value):
                return int(value), int(value)
            case Var() if expr in self.ranges:
                return self.span_of(expr)
            case Cast(value) if not value.dtype.is_float:
                return self.wrapping_span(value)
            case Add(a, b) | Sub(a, b) | Mul(a, b) | Min(a, b) | Max(a, b):
                (al, ah), (bl, bh) = self.wrapping_span(a), self.wrapping_span(b)
                if al is None or ah is None or bl is None or bh is None:
                    return None
                compute: Callable[[int, int], int] = _EXACT[type(expr)]
                corners = [compute(x, y) for x in (al, ah) for y in (bl, bh)]
                return min(corners), max(corners)
        return None

    # ------------------------------------------------------------ other readings of one form

    def readings(self, form: Affine) -> Iterator[Affine]:
        """Give forms that `form` is never greater than: itself, and what is known of quotients."""
        yield form
        quotients = [
            (m, atom) for m in form.terms for atom in m if type(atom) is Opaque and atom.op is FloorDiv and not atom.data
        ]
        if not quotients:
            return
        paired = self._paired(form, quotients)
        if paired is not None:
            yield paired
        multiplied = form
        for mono, atom in quotients:
            multiplied = _multiplied(multiplied, mono, atom)
        if multiplied is not form:
            yield multiplied

    def _paired(self, form: Affine, quotients: list[tuple[Monomial, Opaque]]) -> Affine | None:
        """Use x // d - y // d <= ceil((x - y) / d)."""
        current = form
        for mono, atom in quotients:
            for other_mono, other in quotients:
                k = min(current.terms.get(mono, 0), -current.terms.get(other_mono, 0))
                if k <= 0 or len(mono) > 1 or len(other_mono) > 1 or atom.operands[1] != other.operands[1]:
                    continue
                d = self.floor(atom.operands[1])
                most = self.ceiling(atom.operands[0] - other.operands[0])
                if d is None or d <= 0 or most is None:
                    continue
                if most < 0:
                    high = self.ceiling(atom.operands[1])
                    rounded = 0 if high is None else -(-most // high)
                else:
                    rounded = -(-most // d)
                current = current - Affine({mono: k, other_mono: -k}) + k * rounded
        return None if current is form else current

    # ------------------------------------------------------------ conditions

    def holds(self, condition: Expr) -> bool:
        """Tell whether a condition always holds."""
        rule = _PROOFS.get(type(condition))
        if rule is not None and rule(self, condition):
            return True
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
            if not difference.data or (not difference.terms and not difference.constant and not gap):
                return self.at_least_0(difference - gap)
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
        return opposite is not None and Solver(self.known.assume(opposite)).holds(b)

    def fails(self, condition: Expr) -> bool:
        """Tell whether a condition never holds."""
        opposite = negated(condition)
        return opposite is not None and self.holds(opposite)


def _constant(value: int | None) -> Affine | None:
    return None if value is None else Affine({}, value)


def _multiplied(form: Affine, mono: Monomial, atom: Opaque) -> Affine:
    """Use d * (x // d) = x - x % d for the term of `mono`, which has the factor `atom`."""
    c = form.terms.get(mono, 0)
    x, d = atom.operands
    others = list(mono)
    others.remove(atom)
    scale = c
    if not d.terms:
        if c % d.constant:
            return form
        scale = c // d.constant
    else:
        factor, *more = d.terms.items()
        if more or d.constant or c % factor[1] or any(a not in others for a in factor[0]):
            return form
        for a in factor[0]:
            if a not in others:
                return form
            others.remove(a)
        scale = c // factor[1]
    scaled = Affine({tuple(others): scale}) if others else ONE * scale
    return form - Affine({mono: c}) + (x - floormod(x, d)) * scaled


_CHOICES = frozenset({Min, Max, Select, IfThenElse})
_ENDS: dict[type, Callable[[Solver, Opaque, bool, bool], Affine | None]] = {
    FloorDiv: Solver.quotient_end,
    FloorMod: Solver.remainder_end,
    Mul: Solver.product_end,
}
_EXACT: dict[type, Callable[[int, int], int]] = {
    Add: lambda x, y: x + y,
    Sub: lambda x, y: x - y,
    Mul: lambda x, y: x * y,
    Min: min,
    Max: max,
}
_PROOFS: dict[type, Callable[[Solver, Any], bool]] = {
    Const: lambda s, c: c.value is True,
    Lt: lambda s, c: s.ordered(c.a, c.b, 1),
    Le: lambda s, c: s.ordered(c.a, c.b, 0),
    Eq: lambda s, c: s.equal(c.a, c.b),
    Ne: lambda s, c: s.unequal(c.a, c.b),
    And: lambda s, c: s.holds(c.a) and s.holds(c.b),
    Or: lambda s, c: s.either(c.a, c.b),
    Not: lambda s, c: s.fails(c.a),
}
