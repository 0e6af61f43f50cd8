"""Integer-linear forms: a constant plus integer multiples of products of atoms.

An index such as `(i_o * 8 + i_i + 4) // 4 + n * m` becomes `{i_o: 2, (i_i // 4): 1, m * n: 1} + 1`: sums cancel,
products of symbols are multiplied out, and what is not linear (`//`, `%`, min, max, select, loads, calls) stays as an
`Opaque` atom whose own operands are in this form, so that equal values written differently become equal forms.

**Overflow.** int32 and int64 expressions over variables are indices: their arithmetic is taken not to overflow.  A form
that holds a value read from memory (`Affine.data`) may be any number, so that only rules which hold modulo 2**bits are
applied to it.  int4, int8, int16 and the unsigned types wrap: their operators are atoms and never taken apart.
A divisor is taken not to be zero, where the quotient has no value.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, fields
from math import gcd
from typing import Any

from . import arith
from .dtype import DType, Kind, int32, int64
from .expr import (
    Add,
    And,
    Call,
    Cast,
    Const,
    Div,
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
from .intrinsics import INTRINSICS, Effect
from .visit import children, map_children, walk

LARGEST_PRODUCT = 24  # terms; a longer product stays an atom
LONGEST_SUM = 256  # nodes of a sum that are walked without remembering them


@dataclass(slots=True, eq=False)
class Opaque:
    """An atom that is not a variable, compared by structure.

    op        the class of the expression
    operands  its integer operands as forms: all of them for // % min max *, the two branches for a selection
    key       what makes two atoms of one class equal
    node      the expression it stands for, or None where `op` and `operands` say it all
    data      whether its value comes from memory or from a call
    """

    op: type[Expr]
    operands: tuple[Affine, ...]
    key: Hashable
    node: Expr | None = None
    data: bool = False
    _hash: int = 0
    _name: str = ""
    _vars: frozenset[Var] | None = None

    def __hash__(self) -> int:
        if not self._hash:
            self._hash = hash((self.op, self.key)) or 1
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(other) is Opaque and self.op is other.op and hash(self) == hash(other) and self.key == other.key

    @property
    def name(self) -> str:
        """Give a text that orders atoms."""
        if not self._name:
            self._name = f"~{self.op.__name__}{_text_of(self.key)}"
        return self._name

    @property
    def vars(self) -> frozenset[Var]:
        """Give the variables that the value depends on."""
        if self._vars is None:
            found = {v for a in self.operands for v in a.vars}
            if self.node is not None:
                found.update(n for n in walk(self.node) if type(n) is Var)
            self._vars = frozenset(found)
        return self._vars

    @property
    def dtype(self) -> DType:
        """Give the data type."""
        if self.node is not None:
            return self.node.dtype
        return int64 if any(a.dtype is int64 for a in self.operands) else int32

    def to_expr(self, dtype: DType) -> Expr:
        """Give the expression, its operands in canonical order; `dtype` is the type of // % min max *."""
        if self.node is None:
            return self.op(*[a.to_expr(dtype) for a in self.operands])  # type: ignore[call-arg]
        return _as_dtype(map_children(self.node, canonical), dtype)


Atom = Var | Opaque
Monomial = tuple[Atom, ...]  # a product of atoms, sorted by name


@dataclass(slots=True, eq=False)
class Affine:
    """`constant` plus the sum of `coefficient * monomial` over `terms`; immutable by convention.

    terms  non-zero coefficients, in order of first appearance
    """

    terms: dict[Monomial, int]
    constant: int = 0
    _hash: int = 0
    _vars: frozenset[Var] | None = None

    def __hash__(self) -> int:
        if not self._hash:
            self._hash = hash((frozenset(self.terms.items()), self.constant)) or 1
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(other) is Affine and self.constant == other.constant and self.terms == other.terms

    def __add__(self, other: Affine | int) -> Affine:
        if type(other) is int:
            return Affine(self.terms, self.constant + other)
        return self._plus(other, 1)  # type: ignore[arg-type]

    def __sub__(self, other: Affine | int) -> Affine:
        if type(other) is int:
            return Affine(self.terms, self.constant - other)
        return self._plus(other, -1)  # type: ignore[arg-type]

    def _plus(self, other: Affine, scale: int) -> Affine:
        terms = dict(self.terms)
        for mono, c in other.terms.items():
            total = terms.get(mono, 0) + scale * c
            if total:
                terms[mono] = total
            else:
                del terms[mono]
        return Affine(terms, self.constant + scale * other.constant)

    def __neg__(self) -> Affine:
        return Affine({m: -c for m, c in self.terms.items()}, -self.constant)

    def __mul__(self, other: Affine | int) -> Affine:
        if type(other) is int:
            if not other:
                return Affine({}, 0)
            return Affine({m: c * other for m, c in self.terms.items()}, self.constant * other)
        return self._times(other)  # type: ignore[arg-type]

    __rmul__ = __mul__

    def _times(self, other: Affine) -> Affine:
        terms: dict[Monomial, int] = {}
        for mono_a, c_a in self.terms.items():
            for mono_b, c_b in other.terms.items():
                mono = monomial(mono_a + mono_b)
                terms[mono] = terms.get(mono, 0) + c_a * c_b
            terms[mono_a] = terms.get(mono_a, 0) + c_a * other.constant
        for mono_b, c_b in other.terms.items():
            terms[mono_b] = terms.get(mono_b, 0) + c_b * self.constant
        return Affine(_without_zeros(terms), self.constant * other.constant)

    @property
    def is_constant(self) -> bool:
        """Tell whether the form has no atoms."""
        return not self.terms

    @property
    def vars(self) -> frozenset[Var]:
        """Give the variables that the value depends on, also those inside opaque atoms."""
        if self._vars is None:
            found: set[Var] = set()
            for mono in self.terms:
                for atom in mono:
                    if type(atom) is Var:
                        found.add(atom)
                    else:
                        found |= atom.vars
            self._vars = frozenset(found)
        return self._vars

    @property
    def data(self) -> bool:
        """Tell whether the form holds values from memory or from calls, so that its arithmetic may wrap."""
        return any(type(atom) is Opaque and atom.data for mono in self.terms for atom in mono)

    @property
    def dtype(self) -> DType:
        """Give int64 if an atom is int64 or the constant needs it, else int32."""
        if any(atom.dtype.bits > 32 for mono in self.terms for atom in mono):
            return int64
        return int32 if int32.min_value <= self.constant <= int32.max_value else int64

    @property
    def is_atom(self) -> Atom | None:
        """Give the atom if the form is just that, else None."""
        if len(self.terms) != 1 or self.constant:
            return None
        (mono, c), *_ = self.terms.items()
        return mono[0] if c == 1 and len(mono) == 1 else None

    @property
    def leading(self) -> int:
        """Give the coefficient of the term of highest degree and largest stride, 0 without terms."""
        order = sorted(self.terms.items(), key=lambda t: (-len(t[0]), -abs(t[1]), [atom.name for atom in t[0]]))
        return order[0][1] if order else 0

    def coefficient(self, var: Var) -> int:
        """Give the coefficient of `var` standing alone; `i * n` and `i // 2` do not count (see `depends_on`)."""
        return self.terms.get((var,), 0)

    def without(self, var: Var) -> Affine:
        """Give the form less its term `coefficient(var) * var`."""
        return Affine({m: c for m, c in self.terms.items() if m != (var,)}, self.constant)

    def depends_on(self, var: Var) -> bool:
        """Tell whether `var` occurs at all, in products and opaque atoms too."""
        return var in self.vars

    def factor(self, atom: Atom) -> tuple[Affine, Affine]:
        """Give (c, r) such that the form is `c * atom + r` and r has no monomial with `atom`."""
        inside: dict[Monomial, int] = {}
        outside: dict[Monomial, int] = {}
        constant = 0
        for mono, c in self.terms.items():
            if atom not in mono:
                outside[mono] = c
            elif len(mono) == 1:
                constant = c
            else:
                at = mono.index(atom)
                inside[mono[:at] + mono[at + 1 :]] = c
        return Affine(inside, constant), Affine(outside, self.constant)

    def to_expr(self, dtype: DType | None = None) -> Expr:
        """Give the expression in canonical order: positive terms first, larger strides first, the constant last."""
        dtype = dtype or self.dtype
        result: Expr | None = None
        for mono, c in sorted(self.terms.items(), key=_print_order):
            if result is None:
                if c < 0 < self.constant:
                    result = Sub(arith.const(self.constant, dtype), _product(mono, -c, dtype))
                else:
                    result = _product(mono, c, dtype)
            elif c > 0:
                result = Add(result, _product(mono, c, dtype))
            else:
                result = Sub(result, _product(mono, -c, dtype))
        if result is None:
            return arith.const(self.constant, dtype)
        if not self.constant or self._starts_with_constant():
            return result
        if self.constant > 0:
            return Add(result, arith.const(self.constant, dtype))
        return Sub(result, arith.const(-self.constant, dtype))

    def _starts_with_constant(self) -> bool:
        return self.constant > 0 and all(c < 0 for c in self.terms.values())

    def __repr__(self) -> str:
        return f"Affine({_text_of(self)})"


ZERO = Affine({}, 0)
ONE = Affine({}, 1)


def of_atom(atom: Atom) -> Affine:
    """Give the form of one atom."""
    return Affine({(atom,): 1}, 0)


def monomial(atoms: Iterable[Atom]) -> Monomial:
    """Give the product of `atoms`, in canonical order."""
    return tuple(sorted(atoms, key=_atom_order))


def _atom_order(atom: Atom) -> tuple[str, int]:
    return (atom.name, id(atom) if type(atom) is Var else 0)


def _print_order(term: tuple[Monomial, int]) -> tuple[bool, int, int, list[str]]:
    mono, c = term
    return (c < 0, -len(mono), -abs(c), [atom.name for atom in mono])


def _product(mono: Monomial, c: int, dtype: DType) -> Expr:
    result: Expr | None = None
    for atom in mono:
        factor = _as_dtype(atom, dtype) if type(atom) is Var else atom.to_expr(dtype)
        result = factor if result is None else Mul(result, factor)
    assert result is not None
    return result if c == 1 else Mul(result, arith.const(c, dtype))


def _as_dtype(expr: Expr, dtype: DType) -> Expr:
    return expr if expr.dtype == dtype else Cast(expr, dtype)


def _without_zeros(terms: dict[Monomial, int]) -> dict[Monomial, int]:
    return terms if all(terms.values()) else {m: c for m, c in terms.items() if c}


def _text_of(key: Any) -> str:
    if type(key) is Affine:
        parts = [f"{c}{''.join('*' + a.name for a in m)}" for m, c in sorted(key.terms.items(), key=_print_order)]
        return " + ".join([*parts, str(key.constant)])
    if type(key) is tuple:
        return f"({', '.join(_text_of(x) for x in key)})"
    if type(key) is frozenset:
        return f"({', '.join(sorted(_text_of(x) for x in key))})"
    return getattr(key, "__name__", "") or getattr(key, "name", "") or str(key)


# ---------------------------------------------------------------- division: Q, R with a = Q * b + R for any b != 0


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

    The constant of `a` counts for the monomial but not for the integer.
    """
    number = gcd(b.constant, *a.terms.values(), *b.terms.values())
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


def _wraps(a: Affine) -> bool:
    """Tell whether the value of `a` may differ from the integer that its terms add up to."""
    return a.data and a.is_atom is None


def _positive(a: Affine) -> bool:
    """Tell whether `a` is surely positive by the least values of its variables alone."""
    floor = a.constant
    for mono, c in a.terms.items():
        least = c
        for atom in mono:
            if type(atom) is not Var or atom.minimum is None or atom.minimum < 0:
                return False
            least *= atom.minimum
        if c < 0:
            return False
        floor += least
    return floor > 0


def _sole(a: Affine, op: type[Expr]) -> Opaque | None:
    """Give the atom of class `op` if it is the only one of its class in `a`, alone and with coefficient 1."""
    found = [m for m in a.terms if any(type(x) is Opaque and x.op is op for x in m)]
    if len(found) != 1 or len(found[0]) != 1 or a.terms[found[0]] != 1:
        return None
    return found[0][0]  # type: ignore[return-value]


def floordiv(a: Affine, b: Affine) -> Affine:
    """Give the form of a // b.

    (q*b + r) // b = q + r // b    (g*x + c) // (g*d) = (x + c//g) // d    (x // e + y) // d = (x + y*e) // (e*d), d > 0
    (x % (b*e)) // b = (x // b) % e, e > 0
    """
    if b == ZERO or _wraps(a) or _wraps(b):
        return of_atom(Opaque(FloorDiv, (a, b), (a, b), data=a.data or b.data))
    q, r = _split(a, b)
    if not r.terms and (not r.constant or not b.terms):
        return q
    number, mono = _common(r, b)
    if number > 1 or mono:
        return q + floordiv(_divided(r, number, mono), _divided(b, number, mono))
    inner = _sole(r, FloorDiv)
    if inner is not None and not r.data and _positive(b):
        x, e = inner.operands
        return q + floordiv(x + (r - of_atom(inner)) * e, e * b)
    inner = _sole(r, FloorMod)
    if inner is not None and not r.data and len(r.terms) == 1 and not r.constant:
        x, be = inner.operands
        e, left = _split(be, b)
        if left == ZERO and _positive(e):
            return q + floormod(floordiv(x, b), e)
    return q + of_atom(Opaque(FloorDiv, (r, b), (r, b), data=r.data or b.data))


def floormod(a: Affine, b: Affine) -> Affine:
    """Give the form of a % b.

    (q*b + r) % b = r % b    (g*x + c) % (g*d) = g * ((x + c//g) % d) + c % g    (x % (b*e) + y) % b = (x + y) % b
    """
    if b == ZERO or _wraps(a) or _wraps(b):
        return of_atom(Opaque(FloorMod, (a, b), (a, b), data=a.data or b.data))
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
    if _wraps(a) or _wraps(b):
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


# ---------------------------------------------------------------- from expressions


def affine_of(expr: Expr | int) -> Affine:
    """Give the form of an expression; what is not of type int32 or int64 is one opaque atom."""
    cls = type(expr)
    if cls is Const or cls is int:
        value = expr.value if cls is Const else expr  # type: ignore[union-attr]
        if type(value) is int:
            return Affine({}, value)
    return _Normaliser().affine(expr)  # type: ignore[arg-type]


def canonical(expr: Expr) -> Expr:
    """Give the expression with all index arithmetic in it in canonical order."""
    if type(expr) is Var or type(expr) is Const:
        return expr
    if is_index(expr.dtype):
        return affine_of(expr).to_expr(expr.dtype)
    return map_children(expr, canonical)


def is_index(dtype: DType) -> bool:
    """Tell whether arithmetic of this type is index arithmetic: int32 or int64."""
    return dtype.kind is Kind.INT and dtype.bits >= 32


def key_of(expr: Expr) -> Hashable:
    """Give a value that is equal for expressions of equal structure, up to the writing of index arithmetic."""
    return _Normaliser().key(expr)


class _Normaliser:
    """Turns the expressions of one call into forms; shared nodes once."""

    __slots__ = ("memo",)

    def __init__(self) -> None:
        self.memo: dict[int, Affine] = {}

    def affine(self, expr: Expr) -> Affine:
        """Give the form of any expression."""
        return self.sum(expr) if is_index(expr.dtype) else of_atom(self.opaque(expr))

    def sum(self, root: Expr) -> Affine:
        """Give the form of an int32 or int64 expression."""
        terms: dict[Monomial, int] = {}
        constant = steps = 0
        nonlinear = False
        stack: list[tuple[Any, int]] = [(root, 1)]
        while stack:
            node, scale = stack.pop()
            cls = type(node)
            if cls is Var:
                mono = (node,)
                terms[mono] = terms.get(mono, 0) + scale
                continue
            if cls is Const:
                constant += scale * node.value
                continue
            steps += 1
            if steps <= LONGEST_SUM:
                if cls is Add:
                    stack += ((node.b, scale), (node.a, scale))
                    continue
                if cls is Mul:
                    a, b = node.a, node.b
                    if type(b) is Const:
                        stack.append((a, scale * b.value))
                        continue
                    if type(a) is Const:
                        stack.append((b, scale * a.value))
                        continue
                elif cls is Sub:
                    stack += ((node.b, -scale), (node.a, scale))
                    continue
            part = self.part(node)
            nonlinear = True
            constant += scale * part.constant
            for mono, c in part.terms.items():
                terms[mono] = terms.get(mono, 0) + scale * c
        result = Affine(_without_zeros(terms), constant)
        return recombined(result) if nonlinear and len(result.terms) > 1 else result

    def part(self, node: Expr) -> Affine:
        """Give the form of a node, worked out once."""
        found = self.memo.get(id(node))
        if found is None:
            build = _BUILDERS.get(type(node))
            found = of_atom(self.opaque(node)) if build is None else build(self, node)
            self.memo[id(node)] = found
        return found

    def pair(self, combine: Callable[[Affine, Affine], Affine], node: Any) -> Affine:
        """Give the combination of the forms of both operands."""
        return combine(self.sum(node.a), self.sum(node.b))

    def cast(self, node: Any) -> Affine:
        """Give the form of a widening cast of an index as if the cast were not there."""
        if is_index(node.value.dtype) and node.dtype.bits >= node.value.dtype.bits:
            inner = self.sum(node.value)
            if not _wraps(inner):
                return inner
        return of_atom(self.opaque(node))

    def choice(self, node: Any) -> Affine:
        """Give the form of a selection, which is its branches' where they are equal."""
        branches = (self.sum(node.then), self.sum(node.otherwise))
        if branches[0] == branches[1]:
            return branches[0]
        key = (self.key(node.condition), *branches)
        return of_atom(Opaque(type(node), branches, key, node, reads_memory(node)))

    def opaque(self, node: Expr) -> Opaque:
        """Give an expression as one atom."""
        return Opaque(type(node), (), self.key_of_fields(node), node, reads_memory(node))

    def key(self, value: Any) -> Hashable:
        """Give what identifies an expression, a tuple of expressions, or a field of one."""
        cls = type(value)
        if cls is tuple:
            return tuple([self.key(x) for x in value])
        if cls is Var or not issubclass(cls, Expr):
            return value
        if cls is Const:
            return (str(value.value), value.dtype)
        if is_index(value.dtype):
            return self.sum(value)
        return (cls, self.key_of_fields(value))

    def key_of_fields(self, node: Expr) -> Hashable:
        """Give the keys of all fields; a call with an effect equals only itself."""
        if type(node) is Call and not _is_pure(node):
            return node
        cls = type(node)
        names = _FIELDS.get(cls)
        if names is None:
            names = _FIELDS[cls] = tuple(f.name for f in fields(cls))  # type: ignore[arg-type]
        return tuple([self.key(getattr(node, name)) for name in names])


def product(a: Affine, b: Affine) -> Affine:
    """Give the form of a * b, multiplied out unless that is long or may wrap."""
    if not a.terms or not b.terms:
        return a * b
    if len(a.terms) * len(b.terms) > LARGEST_PRODUCT or a.data or b.data:
        return of_atom(Opaque(Mul, (a, b), frozenset((a, b)), data=a.data or b.data))
    return a * b


def reads_memory(node: Expr) -> bool:
    """Tell whether the value depends on anything but variables: on memory, tensors, or what a call does."""
    stack: list[Any] = [node]
    while stack:
        here = stack.pop()
        cls = type(here)
        if cls in _OPERATORS:
            stack += (here.a, here.b)
        elif cls is not Var and cls is not Const:
            if cls not in _OF_VARIABLES and not (cls is Call and _is_pure(here)):
                return True
            stack += children(here)
    return False


def _is_pure(call: Call) -> bool:
    known = INTRINSICS.get(call.name)
    return known is not None and known.effect is Effect.PURE


_OPERATORS = frozenset({Add, And, Div, Eq, FloorDiv, FloorMod, Le, Lt, Max, Min, Mul, Ne, Or, Sub})
_OF_VARIABLES = frozenset({Cast, IfThenElse, Not, Select})
_FIELDS: dict[type, tuple[str, ...]] = {}  # class -> names of its fields
_BUILDERS: dict[type, Callable[[_Normaliser, Any], Affine]] = {
    Add: _Normaliser.sum,
    Sub: _Normaliser.sum,
    Mul: lambda n, node: n.pair(product, node),
    FloorDiv: lambda n, node: n.pair(floordiv, node),
    FloorMod: lambda n, node: n.pair(floormod, node),
    Min: lambda n, node: n.pair(minimum, node),
    Max: lambda n, node: n.pair(maximum, node),
    Cast: _Normaliser.cast,
    Select: _Normaliser.choice,
    IfThenElse: _Normaliser.choice,
}
