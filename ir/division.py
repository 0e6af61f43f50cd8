"""Quotients, remainders, extrema and products of integer-linear forms.

Every rule holds for all integers, up to the assumption on overflow that `ir.affine` states.
"""

from __future__ import annotations

from math import gcd

from .expr import Expr, FloorDiv, FloorMod, Max, Min, Mul
from .linear import ZERO, Affine, Atom, Monomial, Opaque, of_atom

LARGEST_PRODUCT = 24  # terms; a longer product stays an atom


def _split(a: Affine, b: Affine) -> tuple[Affine, Affine]:
    """Give (q, r) such that a = q * b + r, with every multiple of `b` that shows moved into q."""
    if not b.terms:
        whole, rest = {}, {}
        for mono, c in a.terms.items():
            if c % b.constant:
                rest[mono] = c
            else:
                whole[mono] = c // b.constant
        q, r = divmod(a.constant, b.constant)
        return Affine(whole, q), Affine(rest, r)
    lead, lead_c = min(b.terms.items(), key=lambda t: (-len(t[0]), [atom.name for atom in t[0]]))
    found: dict[Monomial, int] = {}
    for mono, c in a.terms.items():
        quotient = None if c % lead_c else _cancel(mono, lead)
        if quotient is not None:
            found[quotient] = c // lead_c
    constant = found.pop((), 0)
    if not found and not constant:
        return ZERO, a
    q = Affine(found, constant)
    r = a - q * b
    return (q, r) if len(r.terms) < len(a.terms) else (ZERO, a)


def _cancel(mono: Monomial, by: Monomial) -> Monomial | None:
    """Give mono / by, or None if `by` is no factor."""
    rest = list(mono)
    for atom in by:
        if atom not in rest:
            return None
        rest.remove(atom)
    return tuple(rest)


def _common(a: Affine, b: Affine) -> tuple[int, Monomial]:
    """Give the greatest integer and the greatest monomial that divide all terms of both forms.

    The constant of `a` need not be divisible by the integer where b > 0: what is left is less than one step of it.
    """
    number = gcd(b.constant, *a.terms.values(), *b.terms.values())
    if not _never_negative(b):
        number = gcd(number, a.constant)
    if a.constant or b.constant:
        return number, ()
    shared: list[Atom] = []
    first, *others = [*a.terms, *b.terms]
    for atom in first:
        if all(m.count(atom) > shared.count(atom) for m in others):
            shared.append(atom)
    return number, tuple(shared)


def _divided(a: Affine, number: int, mono: Monomial) -> Affine:
    """Give a / (number * mono), rounding the constant down; both divide all terms."""
    terms: dict[Monomial, int] = {}
    constant = a.constant // number
    for m, c in a.terms.items():
        quotient = _cancel(m, mono) if mono else m
        assert quotient is not None
        if quotient:
            terms[quotient] = c // number
        else:
            constant += c // number
    return Affine(terms, constant)


def wraps(a: Affine) -> bool:
    """Tell whether the value of `a` may differ from the integer that its terms add up to."""
    return a.data and a.is_atom is None


def _never_negative(a: Affine) -> bool:
    """Tell whether `a` is at least 0 by the least values of its variables alone; a divisor then is positive."""
    floor = a.constant
    for mono, c in a.terms.items():
        least = c
        for atom in mono:
            if type(atom) is Opaque or atom.minimum is None or atom.minimum < 0:
                return False
            least *= atom.minimum
        if c < 0:
            return False
        floor += least
    return floor >= 0


def _sole(a: Affine, op: type[Expr]) -> Opaque | None:
    """Give the atom of class `op` if it is the only one of its class in `a`, alone and with coefficient 1."""
    found = [m for m in a.terms if any(type(x) is Opaque and x.op is op for x in m)]
    if len(found) != 1 or len(found[0]) != 1 or a.terms[found[0]] != 1:
        return None
    return found[0][0]  # type: ignore[return-value]


def floordiv(a: Affine, b: Affine) -> Affine:
    """Give the form of a // b.

    (q*b + r) // b = q + r // b    (g*x + c) // (g*d) = (x + c//g) // d    (x // e + y) // d = (x + y*e) // (e*d), d > 0
    (x % (b*e)) // b = (x // b) % e, e > 0    a // -d = -a // d
    """
    if b == ZERO or wraps(a) or wraps(b):
        return of_atom(Opaque(FloorDiv, (a, b), (a, b), data=a.data or b.data))
    if b.constant < 0 and not b.terms and not a.data:
        return floordiv(-a, -b)
    q, r = _split(a, b)
    if not r.terms and (not r.constant or not b.terms):
        return q
    number, mono = _common(r, b)
    if number > 1 or mono:
        return q + floordiv(_divided(r, number, mono), _divided(b, number, mono))
    inner = _sole(r, FloorDiv)
    if inner is not None and not r.data and _never_negative(b):
        x, e = inner.operands
        return q + floordiv(x + (r - of_atom(inner)) * e, e * b)
    inner = _sole(r, FloorMod)
    if inner is not None and not r.data and len(r.terms) == 1 and not r.constant:
        x, be = inner.operands
        e, left = _split(be, b)
        if left == ZERO and _never_negative(e):
            return q + floormod(floordiv(x, b), e)
    return q + of_atom(Opaque(FloorDiv, (r, b), (r, b), data=r.data or b.data))


def floormod(a: Affine, b: Affine) -> Affine:
    """Give the form of a % b.

    (q*b + r) % b = r % b    (g*x + c) % (g*d) = g * ((x + c//g) % d) + c % g    (x % (b*e) + y) % b = (x + y) % b
    The literal of a negative divisor: a % -d = -(-a % d)
    """
    if b == ZERO or wraps(a) or wraps(b):
        return of_atom(Opaque(FloorMod, (a, b), (a, b), data=a.data or b.data))
    if b.constant < 0 and not b.terms and not a.data:
        return -floormod(-a, -b)
    r = _without_inner_mods(_split(a, b)[1], b)
    if not r.terms and (not r.constant or not b.terms):
        return Affine({}, r.constant)
    number, mono = _common(r, b)
    if number == 1 and not mono:
        return of_atom(Opaque(FloorMod, (r, b), (r, b), data=r.data or b.data))
    atom = floormod(_divided(r, number, mono), _divided(b, number, mono))
    scale = Affine({mono: number}, 0) if mono else Affine({}, number)
    return atom * scale + r.constant % number


def _without_inner_mods(a: Affine, b: Affine) -> Affine:
    """Give a form equal to `a` modulo `b` with each term c * (x % m) where b divides c * m replaced by c * x."""
    for mono, c in a.terms.items():
        atom = mono[0]
        if len(mono) == 1 and type(atom) is Opaque and atom.op is FloorMod:
            x, m = atom.operands
            if not atom.data and _split(m * c, b)[1] == ZERO:
                return _without_inner_mods(_split(a + (x - of_atom(atom)) * c, b)[1], b)
    if b.terms:
        return a
    d = abs(b.constant)
    return Affine({m: c if abs(c) < d else c % d for m, c in a.terms.items()}, a.constant)


def minimum(a: Affine, b: Affine) -> Affine:
    """Give the form of min(a, b): min(a, a + k) is decided, min(a + c, b + c) = min(a, b) + c."""
    return _extremum(Min, a, b)


def maximum(a: Affine, b: Affine) -> Affine:
    """Give the form of max(a, b), as `minimum`."""
    return _extremum(Max, a, b)


def _extremum(op: type[Expr], a: Affine, b: Affine) -> Affine:
    if a == b:
        return a
    if wraps(a) or wraps(b):
        return of_atom(Opaque(op, (a, b), frozenset((a, b)), data=True))
    difference = a - b
    if not difference.terms:
        return b if (difference.constant > 0) is (op is Min) else a
    terms = {m: c for m, c in a.terms.items() if b.terms.get(m) == c}
    common = Affine(terms, a.constant if a.terms and b.terms and a.constant == b.constant else 0)
    if terms or common.constant:
        a, b = a - common, b - common
    return common + of_atom(Opaque(op, (a, b), frozenset((a, b)), data=a.data or b.data))


def recombined(a: Affine) -> Affine:
    """Give the form with each pair c*m*(x // m) + c*(x % m) replaced by c*x."""
    for mono, c in a.terms.items():
        for at, atom in enumerate(mono):
            if type(atom) is not Opaque or atom.op is not FloorMod:
                continue
            x, m = atom.operands
            others = Affine({}, c) if len(mono) == 1 else Affine({mono[:at] + mono[at + 1 :]: c})
            quotient = floordiv(x, m) * m * others
            if len(quotient.terms) == 1 and not quotient.constant:
                (partner, coefficient), *_ = quotient.terms.items()
                if a.terms.get(partner) == coefficient:
                    return recombined(a - quotient - Affine({mono: c}) + x * others)
    return a


def product(a: Affine, b: Affine) -> Affine:
    """Give the form of a * b, multiplied out unless that is long or may wrap."""
    if not a.terms or not b.terms:
        return a * b
    if len(a.terms) * len(b.terms) > LARGEST_PRODUCT or a.data or b.data:
        return of_atom(Opaque(Mul, (a, b), frozenset((a, b)), data=a.data or b.data))
    return a * b
