"""Bounds of integer-linear forms: elimination of variables and opaque atoms by the ends of their ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING

from .affine import affine_of
from .division import floordiv, floormod, maximum, minimum
from .dtype import int32, int64
from .expr import Add, Call, Cast, Const, Expr, FloorDiv, FloorMod, IfThenElse, Max, Min, Mul, Select, Sub, Var
from .linear import ONE, ZERO, Affine, Atom, Monomial, Opaque, is_index, of_atom

if TYPE_CHECKING:
    from .interval import Ranges

MOST_ELIMINATIONS = 64  # replaced atoms per question; ranges that name each other in a circle end here
MOST_SPLITS = 12  # case distinctions on min, max and select per question

Ends = tuple[Affine | None, Affine | None]
Span = tuple[int | None, int | None]


class Solver:
    """Bounds forms over ranges of variables; remembers the ends of the ranges it has looked at."""

    __slots__ = ("_ends", "_spans", "ranges", "splits")

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges
        self.splits = MOST_SPLITS
        self._ends: dict[Var, Ends] = {}
        self._spans: dict[Var, Span | None] = {}

    def asked(self) -> Solver:
        """Begin a question: give the solver with all case distinctions to be made."""
        self.splits = MOST_SPLITS
        return self

    def span(self, form: Affine) -> Span:
        """Give integer bounds of a form."""
        self.splits = MOST_SPLITS
        return self.floor(form), self.ceiling(form)

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
        """Give each coefficient with its atom's end, if atoms share no variables and all ranges are integers."""
        found: list[tuple[int, int | None]] = []
        opaque: list[tuple[int, Opaque]] = []
        for mono, c in form.terms.items():
            atom = mono[0]
            if len(mono) > 1:
                return None
            if type(atom) is not Opaque:
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
                found.append((c, self._integer_end(atom, c > 0)))
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
        if type(atom) is not Opaque:
            form = of_atom(atom)
            low, high = self.floor(form), self.ceiling(form)
        else:
            low, high = self._integer_end(atom, False), self._integer_end(atom, True)
        return (-inf if low is None else low, inf if high is None else high)

    # ------------------------------------------------------------ elimination

    def greatest(self, form: Affine, closed: bool) -> Affine | None:
        """Give a form without ranged variables that `form` is never greater than, or None.

        closed  eliminate all other variables too, which leaves a constant
        """
        current = form if closed or len(form.terms) < 3 else self._without_plain(form)
        for _ in range(MOST_ELIMINATIONS):
            candidates = self._candidates(current, closed)
            if not candidates:
                return current
            atom, c, rest, sign = self._eliminable(current, candidates)
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
            if len(mono) > 1 or type(atom) is Opaque:
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

    def _eliminable(self, form: Affine, candidates: list[Atom]) -> tuple[Atom, Affine, Affine, int]:
        """Give the first atom whose coefficient has a known sign, its coefficient, the rest, and the sign or 0."""
        for atom in candidates:
            c, rest = form.factor(atom)
            sign = self._sign(c, atom)
            if sign:
                return atom, c, rest, sign
        return candidates[0], ZERO, form, 0

    def _candidates(self, form: Affine, closed: bool) -> list[Atom]:
        """Give the atoms to eliminate: choices, other opaque atoms, then variables that no other's range names."""
        choices: list[Atom] = []
        opaque: list[Atom] = []
        variables: list[Atom] = []
        for mono in form.terms:
            for atom in mono:
                if type(atom) is not Opaque:
                    if (closed or atom in self.ranges) and atom not in variables:
                        variables.append(atom)
                elif closed or not atom.vars.isdisjoint(self.ranges):
                    (choices if atom.op in _CHOICES else opaque).append(atom)
        if len(variables) > 1:
            ends = [end for var in variables if type(var) is not Opaque for end in self.ends_of(var)]
            named = {v for end in ends if end is not None and end.terms for v in end.vars}
            if named:
                variables.sort(key=lambda v: v in named)
        return choices + opaque + variables

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

    def _integer_end(self, atom: Opaque, upper: bool) -> int | None:
        """Give an integer that bounds `atom` from above or below."""
        end = self.end(atom, upper, True)
        if end is None or not end.terms:
            return None if end is None else end.constant
        return self.ceiling(end) if upper else self.floor(end)

    def end(self, atom: Atom, upper: bool, closed: bool) -> Affine | None:
        """Give a form that bounds `atom` from above or below."""
        if type(atom) is not Opaque:
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
        return None if least is None else negated(least)

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
        if divisor is not None and divisor <= 0:
            return None  # no value satisfies what is known
        if divisor is None:
            return ZERO if top >= 0 else Affine({}, -1)
        return Affine({}, top // divisor)

    def remainder_end(self, atom: Opaque, upper: bool, closed: bool) -> Affine | None:
        """Bound x % d: by x itself where it lies in one period, else by the divisor."""
        x, d = atom.operands
        low = self.floor(d)
        if low is None or low <= 0:
            high = self.ceiling(d)
            if high is None or high >= 0:
                return None
            return ZERO if upper else d + 1
        least, most = self.floor(x), self.ceiling(x)
        if not d.terms and least is not None and most is not None and least // low == most // low and not x.data:
            return x - low * (least // low)
        if d.terms and least is not None and least >= 0 and not x.data:
            past = self.ceiling(x - d, -1)
            if past is not None and past < 0:
                return x
        if not upper:
            return ZERO
        if least is not None and least >= 0 and most is not None and most < low:
            return Affine({}, most)
        return d - 1

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
            case Call("bitwise_xor", (a, b)):  # of numbers from 0 on, as swizzled indices are
                ends = (self.wrapping_span(a), self.wrapping_span(b))
                if all(low is not None and low >= 0 and high is not None for low, high in ends):
                    return 0, (1 << max(high.bit_length() for _, high in ends)) - 1  # type: ignore[union-attr]
        return (None, None)

    def wrapping_span(self, expr: Expr) -> Span:
        """Give bounds of a non-float expression whose arithmetic may wrap."""
        if is_index(expr.dtype):
            form = affine_of(expr)
            return self.floor(form), self.ceiling(form)
        least, most = int(expr.dtype.min_value), int(expr.dtype.max_value)
        exact = self._exact_span(expr)
        if (
            exact is not None
            and exact[0] is not None
            and exact[1] is not None
            and least <= exact[0]
            and exact[1] <= most
        ):
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
        atoms = [(m, atom) for m in form.terms for atom in m if type(atom) is Opaque]
        quotients = [(m, atom) for m, atom in atoms if atom.op is FloorDiv and not atom.data]
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


def negated(form: Affine) -> Affine:
    """Give -form, with -max(a, b) written as min(-a, -b)."""
    result = ZERO - form.constant
    for mono, c in form.terms.items():
        atom = mono[0]
        if c > 0 and len(mono) == 1 and type(atom) is Opaque and atom.op in (Min, Max) and atom.node is None:
            a, b = atom.operands
            result = result + (maximum(-a, -b) if atom.op is Min else minimum(-a, -b)) * c
        else:
            result = result - Affine({mono: c})
    return result


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
