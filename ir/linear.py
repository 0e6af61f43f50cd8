"""The data of integer-linear forms: a constant plus integer multiples of products of atoms.

Building them from expressions, and what may be assumed of overflow, is `ir.affine`; quotients are `ir.division`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, final

from . import arith
from .dtype import DType, Kind, int32, int64
from .expr import Add, Cast, Expr, Mul, Sub, Var
from .visit import map_children, walk


@final
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
        from .affine import canonical  # which needs these classes

        return _as_dtype(map_children(self.node, canonical), dtype)


LEAST, MOST = int32.min_value, int32.max_value
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
        return Affine(without_zeros(terms), self.constant * other.constant)

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
                    if type(atom) is not Opaque:
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
        return int32 if LEAST <= self.constant <= MOST else int64

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
    return (atom.name, id(atom) if type(atom) is not Opaque else 0)


def _print_order(term: tuple[Monomial, int]) -> tuple[bool, int, int, list[str]]:
    mono, c = term
    return (c < 0, -len(mono), -abs(c), [atom.name for atom in mono])


def _product(mono: Monomial, c: int, dtype: DType) -> Expr:
    result: Expr | None = None
    for atom in mono:
        factor = _as_dtype(atom, dtype) if type(atom) is not Opaque else atom.to_expr(dtype)
        result = factor if result is None else Mul(result, factor)
    assert result is not None
    return result if c == 1 else Mul(result, arith.const(c, dtype))


def _as_dtype(expr: Expr, dtype: DType) -> Expr:
    return expr if expr.dtype == dtype else Cast(expr, dtype)


def without_zeros(terms: dict[Monomial, int]) -> dict[Monomial, int]:
    """Give the terms whose coefficient is not 0."""
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


def is_index(dtype: DType) -> bool:
    """Tell whether arithmetic of this type is index arithmetic: int32 or int64."""
    return dtype.kind is Kind.INT and dtype.bits >= 32
