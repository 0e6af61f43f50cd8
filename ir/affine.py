"""Integer-linear forms of expressions: a constant plus integer multiples of products of atoms.

An index such as `(i_o * 8 + i_i + 4) // 4 + n * m` becomes `{i_o: 2, (i_i // 4): 1, m * n: 1} + 1`: sums cancel,
products of symbols are multiplied out, and what is not linear (`//`, `%`, min, max, select, loads, calls) stays as an
`Opaque` atom whose own operands are in this form, so that equal values written differently become equal forms.

**Overflow.** int32 and int64 expressions over variables are indices: their arithmetic is taken not to overflow.  A form
that holds a value read from memory (`Affine.data`) may be any number, so that only rules which hold modulo 2**bits are
applied to it.  int4, int8, int16 and the unsigned types wrap: their operators are atoms and never taken apart.
A divisor is taken not to be zero, where the quotient has no value.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import fields
from typing import Any

from .division import floordiv, floormod, maximum, minimum, product, recombined, wraps
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
from .linear import Affine, Atom, Monomial, Opaque, is_index, of_atom, without_zeros
from .visit import children, map_children

__all__ = [
    "Affine",
    "Atom",
    "Normaliser",
    "Opaque",
    "affine_of",
    "canonical",
    "is_index",
    "is_pure",
    "key_of",
    "of_atom",
    "reads_memory",
]

LONGEST_SUM = 256  # nodes of a sum that are walked without remembering them


def affine_of(expr: Expr | int) -> Affine:
    """Give the form of an expression; what is not of type int32 or int64 is one opaque atom."""
    cls = type(expr)
    if cls is Const or cls is int:
        value = expr.value if cls is Const else expr  # type: ignore[union-attr]
        if type(value) is int:
            return Affine({}, value)
    return Normaliser().affine(expr)  # type: ignore[arg-type]


def canonical(expr: Expr) -> Expr:
    """Give the expression with all index arithmetic in it in canonical order."""
    if type(expr) is Var or type(expr) is Const:
        return expr
    if is_index(expr.dtype):
        return affine_of(expr).to_expr(expr.dtype)
    return map_children(expr, canonical)


def key_of(expr: Expr) -> Hashable:
    """Give a value that is equal for expressions of equal structure, up to the writing of index arithmetic."""
    return Normaliser().key(expr)


class Normaliser:
    """Turns expressions into forms, and nodes that they share once."""

    __slots__ = ("memo",)

    def __init__(self) -> None:
        self.memo: dict[int, tuple[Expr, Affine]] = {}  # nodes are kept, so that their identities stay taken

    def affine(self, expr: Expr) -> Affine:
        """Give the form of any expression."""
        return self.sum(expr) if is_index(expr.dtype) else of_atom(self.opaque(expr))

    def sum(self, root: Expr) -> Affine:
        """Give the form of an int32 or int64 expression."""
        terms: dict[Monomial, int] = {}
        constant = steps = 0
        nonlinear = False
        stack: list[tuple[Any, Any]] = [(root, 1)]
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
                    a: Any = node.a
                    b: Any = node.b
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
        result = Affine(without_zeros(terms), constant)
        return recombined(result) if nonlinear and len(result.terms) > 1 else result

    def part(self, node: Expr) -> Affine:
        """Give the form of a node, worked out once."""
        found = self.memo.get(id(node))
        if found is None:
            build = _BUILDERS.get(type(node))
            form = of_atom(self.opaque(node)) if build is None else build(self, node)
            found = self.memo[id(node)] = (node, form)
        return found[1]

    def pair(self, combine: Callable[[Affine, Affine], Affine], node: Any) -> Affine:
        """Give the combination of the forms of both operands."""
        return combine(self.sum(node.a), self.sum(node.b))

    def cast(self, node: Any) -> Affine:
        """Give the form of a widening cast of an index as if the cast were not there."""
        if is_index(node.value.dtype) and node.dtype.bits >= node.value.dtype.bits:
            inner = self.sum(node.value)
            if not wraps(inner):
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
        if type(node) is Call and not is_pure(node):
            return node
        cls = type(node)
        names = _FIELDS.get(cls)
        if names is None:
            names = _FIELDS[cls] = tuple(f.name for f in fields(cls))  # type: ignore[arg-type]
        return tuple([self.key(getattr(node, name)) for name in names])


def reads_memory(node: Expr) -> bool:
    """Tell whether the value depends on anything but variables: on memory, tensors, or what a call does."""
    stack: list[Any] = [node]
    while stack:
        here = stack.pop()
        cls = type(here)
        if cls in _OPERATORS:
            stack += (here.a, here.b)
        elif cls is not Var and cls is not Const:
            if cls not in _OF_VARIABLES and not (cls is Call and is_pure(here)):
                return True
            stack += children(here)
    return False


def is_pure(call: Call) -> bool:
    """Tell whether a call does nothing but give a value that its arguments decide."""
    known = INTRINSICS.get(call.name)
    return known is not None and known.effect is Effect.PURE


_OPERATORS = frozenset({Add, And, Div, Eq, FloorDiv, FloorMod, Le, Lt, Max, Min, Mul, Ne, Or, Sub})
_OF_VARIABLES = frozenset({Cast, IfThenElse, Not, Select})
_FIELDS: dict[type, tuple[str, ...]] = {}  # class -> names of its fields
_BUILDERS: dict[type, Callable[[Normaliser, Any], Affine]] = {
    Add: Normaliser.sum,
    Sub: Normaliser.sum,
    Mul: lambda n, node: n.pair(product, node),
    FloorDiv: lambda n, node: n.pair(floordiv, node),
    FloorMod: lambda n, node: n.pair(floormod, node),
    Min: lambda n, node: n.pair(minimum, node),
    Max: lambda n, node: n.pair(maximum, node),
    Cast: Normaliser.cast,
    Select: Normaliser.choice,
    IfThenElse: Normaliser.choice,
}
