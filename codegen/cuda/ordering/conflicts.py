"""Whether two accesses to shared memory may meet: different threads, one element, one of them a write.

The indices of both are equal in all dimensions: a system of integer-linear equations.  A variable that is the same for
both accesses cancels; one that each has for itself (a thread index, a loop variable below the place where they meet)
is an unknown difference within a known range.  Equations fall apart like the digits of a number: where the small terms
together stay below the unit of the large ones, both parts are 0 on their own.  What comes out is that there is no
solution, or that all thread indices are equal, or neither, which is a conflict.

    S[i*256 + t] and S[i'*256 + t'], t < 256:   256*(i - i') + (t - t') = 0   ->   i = i' and t = t'
    S[k % 3] and S[(k + 2) % 3]:                2 = 0 modulo 3                ->   no solution
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd, inf

from ....ir.affine import affine_of
from ....ir.division import floordiv
from ....ir.expr import Call, Const, Expr, FloorDiv, FloorMod, Ne, Var
from ....ir.interval import Known, Ranges
from ....ir.linear import Affine, Monomial, Opaque
from ....ir.prover import Prover
from ....ir.solver import Solver
from ....ir.visit import substitute
from ..kernel import THREAD_VARS, Kernel
from .accesses import Access

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Meeting:
    """How often two statements meet.

    depth    loops around both whose iteration is the same for both
    later    the loop, if any, of which the second access is in a later iteration than the first
    next     whether that is the next one; else any later one
    """

    depth: int
    later: Var | None = None
    next: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class _Term:
    """One unknown of an equation: `factor` times a value in `low` to `high`; `mono` if it is a difference of those."""

    factor: int
    low: float
    high: float
    mono: Monomial | None = None

    @property
    def span(self) -> Span:
        a, b = self.factor * self.low, self.factor * self.high
        return (a, b) if self.factor > 0 else (b, a)


class Conflicts:
    """Answers for one kernel, each worked out once."""

    def __init__(self, kernel: Kernel) -> None:
        self._threads = tuple(v for v, n in zip(THREAD_VARS, kernel.block, strict=True) if n > 1)
        self._answers: dict[tuple[int, int, Meeting], tuple[Access, Access, bool]] = {}
        self._moved: dict[tuple[int, Var], tuple[Access, Access]] = {}
        self._spans: dict[int, tuple[Ranges, Solver, dict[Monomial, Span]]] = {}

    def possible(self, a: Access, b: Access, meeting: Meeting) -> bool:
        """Tell whether `a`, then `b` in another thread may touch one element, one of them writing."""
        if a.buffer is not b.buffer or not (a.writes or b.writes) or not self._threads:
            return False
        if a.forms is None or b.forms is None:
            return True
        key = (id(a), id(b), meeting)
        found = self._answers.get(key)
        if found is None:
            found = self._answers[key] = (a, b, self._meet(a, b, meeting))
        return found[2]

    def disjoint(self, a: Access, b: Access, meeting: Meeting) -> bool:
        """Tell whether it is proved that the accesses touch different elements, whatever the threads."""
        if a.buffer is not b.buffer:
            return True
        if a.forms is None or b.forms is None:
            return False
        return self._system(a, b, meeting) is None

    def _meet(self, a: Access, b: Access, meeting: Meeting) -> bool:
        system = self._system(a, b, meeting)
        if system is None:
            return False
        if not (a.collective or b.collective):
            if all((v,) in system.equal or self._is_pinned(v, a, b) for v in self._threads):
                return False
        return not (a.known.facts or b.known.facts) or not _proved_apart(system)

    def _is_pinned(self, thread: Var, a: Access, b: Access) -> bool:
        """Tell whether the conditions around both accesses leave one thread index, the same."""
        low, high = self.span((thread,), a.known)
        return low == high and self.span((thread,), b.known) == (low, high)

    def _system(self, a: Access, b: Access, meeting: Meeting) -> _System | None:
        """Give the solved system, None if it has no solution."""
        later = meeting.later
        if later is not None and meeting.next:
            b = self._next(a, b, later)
        split = {*THREAD_VARS, *a.loops[meeting.depth :], *b.loops[meeting.depth :]}
        if a.floating or b.floating:
            split.update(a.loops, b.loops)
        if later is not None:
            if meeting.next:
                split.discard(later)
            else:
                split.add(later)
        system = _System(self, a, b, split, later if later in split else None)
        assert a.forms is not None and b.forms is not None
        pairs = list(zip(a.forms, b.forms, strict=True))
        if any(_apart_by_modulus(left, right, split) for left, right in pairs):  # most often by their versions
            return None
        if not all(system.solve(system.terms(left, right), left.constant - right.constant) for left, right in pairs):
            return None
        return system if system.derive() else None

    def _next(self, a: Access, b: Access, var: Var) -> Access:
        """Give `b` one iteration after `a`, in terms of the loop variable of `a`."""
        key = (id(b), var)
        if key not in self._moved:
            one_more = var + 1
            self._moved[key] = (b, replace(b, forms=b.forms_at(var, one_more), known=b.known_at(var, one_more)))
        moved = self._moved[key][1]
        mine, other = a.known.ranges.get(var), moved.known.ranges.get(var)
        return moved if mine is None or mine is other else replace(moved, known=moved.known.within(var, mine))

    def span(self, mono: Monomial, known: Known) -> Span:
        """Give the range of a product."""
        entry = self._spans.get(id(known.ranges))
        if entry is None:
            entry = self._spans[id(known.ranges)] = (known.ranges, Solver(known.ranges), {})
        _, solver, spans = entry
        found = spans.get(mono)
        if found is None:
            if len(mono) == 1 and type(mono[0]) is not Opaque:
                low, high = solver.span_of(mono[0]) or solver.span(Affine({mono: 1}, 0))
            else:
                low, high = solver.span(Affine({mono: 1}, 0))
            found = spans[mono] = (-inf if low is None else low, inf if high is None else high)
        return found


class _System:
    """Equations between the indices of two accesses.

    split   variables that each access has for itself
    later   the one of them that is greater in the second access, if any
    equal   terms that are known to be the same for both
    """

    def __init__(self, conflicts: Conflicts, a: Access, b: Access, split: set[Var], later: Var | None) -> None:
        self.spans, self.a, self.b, self.split, self.later = conflicts.span, a, b, split, later
        self.equal: set[Monomial] = set()
        self._digits: list[Opaque] = []

    def terms(self, left: Affine, right: Affine) -> list[_Term]:
        """Give the unknowns of left - right."""
        found: list[_Term] = []
        for mono, c in left.terms.items():
            other = right.terms.get(mono, 0)
            if self.is_split(mono):
                if c == other:
                    found.append(self.difference(mono, c))
                    self._remember(mono)
                else:
                    found.append(_Term(c, *self.spans(mono, self.a.known)))
                    if other:
                        found.append(_Term(-other, *self.spans(mono, self.b.known)))
            elif c != other:
                found.append(_Term(c - other, *self.common(mono)))
        for mono, c in right.terms.items():
            if mono not in left.terms:
                span = self.spans(mono, self.b.known) if self.is_split(mono) else self.common(mono)
                found.append(_Term(-c, *span))
        return found

    def is_split(self, mono: Monomial) -> bool:
        """Tell whether the value of a product may differ between the accesses."""
        for atom in mono:
            if type(atom) is Opaque:
                if atom.data or not self.split.isdisjoint(atom.vars):
                    return True
            elif atom in self.split:
                return True
        return False

    def common(self, mono: Monomial) -> Span:
        """Give the range of what both accesses have in common."""
        (low, high), (floor, ceiling) = self.spans(mono, self.a.known), self.spans(mono, self.b.known)
        return max(low, floor), min(high, ceiling)

    def difference(self, mono: Monomial, factor: int) -> _Term:
        """Give the difference of a product between both accesses."""
        (low, high), (floor, ceiling) = self.spans(mono, self.a.known), self.spans(mono, self.b.known)
        if self.later is not None and mono == (self.later,):
            return _Term(factor, low - ceiling, -1)
        return _Term(factor, low - ceiling, high - floor, None if _has_data(mono) else mono)

    def _remember(self, mono: Monomial) -> None:
        atom = mono[0]
        if len(mono) == 1 and type(atom) is Opaque and (_remainder(mono) or _exclusive_or(atom)):
            self._digits.append(atom)

    def derive(self) -> bool:
        """Use what equal terms say of their operands; False if that has no solution.

        x // d = y // d and x % d = y % d  ->  x = y        p ^ q = r ^ q  ->  p = r
        """
        done: set[Opaque] = set()
        changed = True
        while changed:
            changed = False
            for atom in [a for a in self._digits if a not in done and (a,) in self.equal]:
                value = self.operand(atom)
                if value is not None:
                    done.add(atom)
                    changed = True
                    if not self.solve(self.terms(value, value), 0):
                        return False
        return True

    def operand(self, atom: Opaque) -> Affine | None:
        """Give an operand of an equal term that is equal, too."""
        if atom.node is None:
            value, modulus = atom.operands
            return value if self.is_equal(floordiv(value, modulus)) or self.is_near(value, modulus) else None
        a, b = (affine_of(arg) for arg in _exclusive_or(atom))
        return a if self.is_equal(b) else b if self.is_equal(a) else None

    def is_near(self, value: Affine, modulus: Affine) -> bool:
        """Tell whether the values of both accesses are less than the modulus apart.

        (256*i + t) // 9 is the same for both, and so is i  ->  for 4*i + t, as for t, they are less than 9 apart
        """
        if any(map(self.is_split, modulus.terms)):
            return False
        for atom, *others in self.equal:
            if type(atom) is Opaque and not others and atom.op is FloorDiv and atom.node is None:
                dividend, divisor = atom.operands
                if divisor == modulus and not any(map(self.is_split, (dividend - value).terms)):
                    return True
        return False

    def is_equal(self, form: Affine) -> bool:
        """Tell whether a form is known to be the same for both accesses."""
        return all(mono in self.equal or not self.is_split(mono) or self.is_of_equals(mono) for mono in form.terms)

    def is_of_equals(self, mono: Monomial) -> bool:
        """Tell whether a term is computed from what is known to be the same."""
        atom = mono[0]
        if len(mono) > 1 or type(atom) is not Opaque or atom.data or not atom.operands:
            return False
        return atom.node is None and all(map(self.is_equal, atom.operands))

    def solve(self, terms: list[_Term], constant: int) -> bool:
        """Take `sum of terms + constant == 0` apart; False if it has no solution."""
        low, high = _sum_of([t.span for t in terms])
        if low + constant > 0 or high + constant < 0:
            return False
        if not terms:
            return True
        unit = gcd(*[t.factor for t in terms])
        if constant % unit:
            return False
        if len(terms) == 1:
            if constant == 0 and terms[0].mono is not None:
                self.equal.add(terms[0].mono)
            return True
        for unit in sorted({abs(t.factor) for t in terms}):
            small = [t for t in terms if t.factor % unit]
            if not small:
                continue
            low, high = _sum_of([t.span for t in small])
            if low == -inf or high == inf:
                continue
            first = _first_at_least(int(low), -constant, unit)  # values of the small terms that leave a multiple
            if first > high:
                return False
            if first + unit > high:
                large = [t for t in terms if not t.factor % unit]
                return self.solve(small, -first) and self.solve(large, constant + first)
        return True


def _first_at_least(low: int, residue: int, unit: int) -> int:
    """Give the least number from `low` on that is `residue` modulo `unit`."""
    return low + (residue - low) % unit


def _sum_of(spans: list[Span]) -> Span:
    return sum(low for low, _ in spans), sum(high for _, high in spans)


def _has_data(mono: Monomial) -> bool:
    return any(type(atom) is Opaque and atom.data for atom in mono)


def _remainder(mono: Monomial) -> Opaque | None:
    """Give the atom of a term that is a remainder and nothing else."""
    atom = mono[0]
    return atom if len(mono) == 1 and type(atom) is Opaque and atom.op is FloorMod and atom.node is None else None


def _exclusive_or(atom: Opaque) -> tuple[Expr, ...]:
    """Give the operands of an atom that is an exclusive or, as in swizzled indices; none for others."""
    match atom.node:
        case Call("bitwise_xor", args):
            return args
        case _:
            return ()


def _apart_by_modulus(left: Affine, right: Affine, split: set[Var]) -> bool:
    """Tell whether the forms differ modulo some number, whatever the variables are: x % m is x modulo m."""
    if not any(_remainder(mono) for form in (left, right) for mono in form.terms):
        return False
    modulus = 0
    sides: list[Affine] = []
    for form in (left, right):
        plain = Affine(form.terms, form.constant)
        for mono, c in form.terms.items():
            atom = _remainder(mono)
            if atom is not None and not atom.operands[1].terms:
                modulus = gcd(modulus, c * atom.operands[1].constant)
                plain = plain - Affine({mono: c}) + atom.operands[0] * c
        sides.append(plain)
    if not modulus:
        return False
    a, b = sides
    for mono in {**a.terms, **b.terms}:
        p, q = a.terms.get(mono, 0), b.terms.get(mono, 0)
        own = _has_data(mono) or not split.isdisjoint(Affine({mono: 1}).vars)
        modulus = gcd(modulus, p, q) if own else gcd(modulus, p - q)
    return (a.constant - b.constant) % modulus != 0


def _proved_apart(system: _System) -> bool:
    """Tell whether some index differs by what the conditions around both accesses say."""
    a, b = system.a, system.b
    twins = {v: Var(f"{v.name}'", v.dtype, v.minimum) for v in system.split}
    ranges = dict(a.known.ranges)
    for var, twin in twins.items():
        if var in b.known.ranges:
            ranges[twin] = b.known.ranges[var]
    facts = [*a.known.facts, *(_renamed(f, twins) for f in b.known.facts)]
    prover = Prover(Known(ranges, tuple(facts)))
    assert a.forms is not None and b.forms is not None
    for left, right in zip(a.forms, b.forms, strict=True):
        difference = left - _renamed(right, twins)
        if not difference.data and prover.proves(Ne(difference.to_expr(), Const(0, difference.dtype))):
            return True
    return False


def _renamed(form: Affine, twins: dict[Var, Var]) -> Affine:
    if not any(v in twins for v in form.vars):
        return form
    return affine_of(substitute(form.to_expr(), twins))
