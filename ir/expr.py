"""Scalar expressions: one frozen class per operation.

Nodes compare and hash by identity, so that a pass can memoise by object and `match` stays cheap; `same(a, b)` in
`ir.visit` compares structure.  Constructors build exactly what they are given; the operators `+ - * / // % < <=`
and the functions of `ir.arith` convert Python numbers, unify data types and fold what is trivial.
`//` and `%` round towards minus infinity, as in Python.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import arith
from .dtype import DType, boolean, int32, int64

if TYPE_CHECKING:
    from .buffer import Buffer

Number = int | float | bool


class Expr:
    """A value computed from loop variables, parameters and memory."""

    __slots__ = ()

    @property
    def dtype(self) -> DType:
        """Give the data type of the value."""
        raise TypeError(f"{type(self).__name__} has no data type")

    def __add__(self, other: Expr | Number) -> Expr:
        return arith.add(self, other)

    def __radd__(self, other: Expr | Number) -> Expr:
        return arith.add(other, self)

    def __sub__(self, other: Expr | Number) -> Expr:
        return arith.sub(self, other)

    def __rsub__(self, other: Expr | Number) -> Expr:
        return arith.sub(other, self)

    def __mul__(self, other: Expr | Number) -> Expr:
        return arith.mul(self, other)

    def __rmul__(self, other: Expr | Number) -> Expr:
        return arith.mul(other, self)

    def __truediv__(self, other: Expr | Number) -> Expr:
        return arith.div(self, other)

    def __rtruediv__(self, other: Expr | Number) -> Expr:
        return arith.div(other, self)

    def __floordiv__(self, other: Expr | Number) -> Expr:
        return arith.floordiv(self, other)

    def __rfloordiv__(self, other: Expr | Number) -> Expr:
        return arith.floordiv(other, self)

    def __mod__(self, other: Expr | Number) -> Expr:
        return arith.floormod(self, other)

    def __rmod__(self, other: Expr | Number) -> Expr:
        return arith.floormod(other, self)

    def __neg__(self) -> Expr:
        return arith.sub(arith.const(0, self.dtype), self)

    def __lt__(self, other: Expr | Number) -> Expr:
        return arith.lt(self, other)

    def __le__(self, other: Expr | Number) -> Expr:
        return arith.le(self, other)

    def __gt__(self, other: Expr | Number) -> Expr:
        return arith.lt(other, self)

    def __ge__(self, other: Expr | Number) -> Expr:
        return arith.le(other, self)

    def __lshift__(self, other: Expr | Number) -> Expr:
        return arith.bitwise("shift_left", self, other)

    def __rshift__(self, other: Expr | Number) -> Expr:
        return arith.bitwise("shift_right", self, other)

    def __and__(self, other: Expr | Number) -> Expr:
        return arith.bitwise("bitwise_and", self, other)

    def __or__(self, other: Expr | Number) -> Expr:
        return arith.bitwise("bitwise_or", self, other)

    def __xor__(self, other: Expr | Number) -> Expr:
        return arith.bitwise("bitwise_xor", self, other)

    def __bool__(self) -> bool:
        raise arith.truth_refusal(self)

    def equal(self, other: Expr | Number) -> Expr:
        """Give the comparison `self == other` as an expression (`==` itself compares Python objects)."""
        return arith.eq(self, other)

    def astype(self, dtype: str | DType) -> Expr:
        """Give the value converted to `dtype`; floats round to nearest, floats to integers truncate."""
        return arith.cast(dtype, self)

    def __str__(self) -> str:
        from .printer import expr_text  # the printer needs these classes

        return expr_text(self)

    __repr__ = __str__


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Const(Expr):
    """A literal; integers and bools hold a Python int or bool, floats a Python float."""

    value: Number
    dtype: DType = int32  # type: ignore[assignment]  # a field takes the place of the property

    def __index__(self) -> int:
        """Give an integer literal as Python's, so that constant shapes serve as NumPy's: `np.empty(A.shape)`."""
        return operator.index(self.value)  # type: ignore[arg-type]  # which refuses floats


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Var(Expr):
    """A named scalar: a loop variable, a let-bound value, or a parameter such as a symbolic size.

    minimum  a lower bound known of the value (0 for sizes), or None
    """

    name: str
    dtype: DType = int32  # type: ignore[assignment]
    minimum: int | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Cast(Expr):
    """The value converted to another data type."""

    value: Expr
    dtype: DType  # type: ignore[assignment]


class Binary(Expr):
    """Two operands of one data type, which is the result's."""

    __slots__ = ()
    a: Expr
    b: Expr

    @property
    def dtype(self) -> DType:
        """Give the operands' data type."""
        node: Expr = self.a
        while isinstance(node, Binary):
            node = node.a
        return node.dtype


class Comparison(Expr):
    """Two operands of one data type compared; the result is a bool."""

    __slots__ = ()
    a: Expr
    b: Expr

    @property
    def dtype(self) -> DType:
        """Give bool."""
        return boolean


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Add(Binary):
    """a + b; integers wrap."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Sub(Binary):
    """a - b; integers wrap."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Mul(Binary):
    """a * b; integers wrap."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Div(Binary):
    """a / b of floats."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FloorDiv(Binary):
    """The greatest integer not above a / b."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FloorMod(Binary):
    """a - (a // b) * b; takes the sign of b."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Min(Binary):
    """The lesser of a and b; for floats `a if a < b else b`."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Max(Binary):
    """The greater of a and b; for floats `a if a > b else b`."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Eq(Comparison):
    """a == b."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ne(Comparison):
    """a != b."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Lt(Comparison):
    """a < b."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Le(Comparison):
    """a <= b."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class And(Comparison):
    """a and b, of bools; b is evaluated only where a holds."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Or(Comparison):
    """a or b, of bools; b is evaluated only where a fails."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Not(Expr):
    """not a, of a bool."""

    a: Expr

    @property
    def dtype(self) -> DType:
        """Give bool."""
        return boolean


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Select(Expr):
    """`then` where `condition` holds, else `otherwise`; both may be evaluated."""

    condition: Expr
    then: Expr
    otherwise: Expr

    @property
    def dtype(self) -> DType:
        """Give the branches' data type."""
        return self.then.dtype


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class IfThenElse(Expr):
    """As Select, but only the chosen branch is evaluated: it may guard a load that would be out of bounds."""

    condition: Expr
    then: Expr
    otherwise: Expr

    @property
    def dtype(self) -> DType:
        """Give the branches' data type."""
        return self.then.dtype


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Load(Expr):
    """The element of `buffer` at `indices`, one index per dimension."""

    buffer: Buffer
    indices: tuple[Expr, ...]

    @property
    def dtype(self) -> DType:
        """Give the buffer's data type."""
        return self.buffer.dtype


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Address(Expr):
    """The place of an element of `buffer` in memory, as an argument of a call that reads or writes from there on."""

    buffer: Buffer
    indices: tuple[Expr, ...]

    @property
    def dtype(self) -> DType:
        """Give int64, the type of addresses."""
        return int64


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Call(Expr):
    """An intrinsic of `ir.intrinsics` or an external C function, by name."""

    name: str
    args: tuple[Expr, ...]
    dtype: DType  # type: ignore[assignment]
