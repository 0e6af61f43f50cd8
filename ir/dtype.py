"""Data types of scalars: a kind and a width in bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from .errors import TypeMismatch


class Kind(Enum):
    """What the bits of a value mean."""

    BOOL = "bool"
    INT = "int"
    UINT = "uint"
    FLOAT = "float"
    BFLOAT = "bfloat"


@dataclass(frozen=True, slots=True)
class DType:
    """A scalar type; `str(dtype)` is its TVM and NumPy name, such as `float32`, which it also equals.

    is_float  whether values are floating point
    is_int    whether values are signed or unsigned integers (bool is neither)
    """

    kind: Kind
    bits: int
    is_float: bool = field(init=False)  # worked out once: nothing is asked more often
    is_int: bool = field(init=False)
    _name: str = field(init=False)

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # the class is frozen
        set_field(self, "is_float", self.kind in (Kind.FLOAT, Kind.BFLOAT))
        set_field(self, "is_int", self.kind in (Kind.INT, Kind.UINT))
        set_field(self, "_name", "bool" if self.kind is Kind.BOOL else f"{self.kind.value}{self.bits}")

    def __eq__(self, other: object) -> bool:
        if type(other) is DType:
            return self.kind is other.kind and self.bits == other.bits
        return type(other) is str and self._name == other

    def __hash__(self) -> int:
        return hash(self._name)

    def __str__(self) -> str:
        return self._name

    __repr__ = __str__

    @property
    def dtype(self) -> np.dtype:
        """Give NumPy's type, under the name by which NumPy asks for it: `np.empty(shape, A.dtype)`.

        Raises TypeError for bfloat16 and int4, which NumPy has not.
        """
        return np.dtype(str(self))

    @property
    def bytes(self) -> int:
        """Give the size in memory in bytes; types under a byte take one whole byte."""
        return max(1, self.bits // 8)

    @property
    def min_value(self) -> int | float:
        """Give the least value: an integer, or minus infinity for floats."""
        match self.kind:
            case Kind.INT:
                return -(1 << (self.bits - 1))
            case Kind.UINT | Kind.BOOL:
                return 0
            case _:
                return float("-inf")

    @property
    def max_value(self) -> int | float:
        """Give the greatest value: an integer, or infinity for floats."""
        match self.kind:
            case Kind.INT:
                return (1 << (self.bits - 1)) - 1
            case Kind.UINT:
                return (1 << self.bits) - 1
            case Kind.BOOL:
                return 1
            case _:
                return float("inf")


boolean = DType(Kind.BOOL, 1)
int4, int8, int16, int32, int64 = (DType(Kind.INT, n) for n in (4, 8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (DType(Kind.UINT, n) for n in (8, 16, 32, 64))
float16, float32, float64 = (DType(Kind.FLOAT, n) for n in (16, 32, 64))
bfloat16 = DType(Kind.BFLOAT, 16)

ALL = (
    boolean, int4, int8, int16, int32, int64, uint8, uint16, uint32, uint64,
    float16, bfloat16, float32, float64,
)  # fmt: skip
STORAGE_ONLY = frozenset({float16, bfloat16, int4})  # read and written, computed in a wider type

_BY_NAME = {str(dtype): dtype for dtype in ALL} | {"handle": int64}


def dtype_of(name: str | DType) -> DType:
    """Give the type called `name`.  Raises TypeMismatch for an unknown name."""
    if isinstance(name, DType):
        return name
    found = _BY_NAME.get(str(name))
    if found is None:
        raise TypeMismatch("dtype", f"unknown data type {name!r}", advice=f"use one of {', '.join(map(str, ALL))}")
    return found


def promote(a: DType, b: DType) -> DType:
    """Give the type in which `a op b` is computed: float over integer, then wider, then signed.

    A bool operand takes the other side's type.  Source: TVM 0.9 `BinaryOpMatchTypes`.
    """
    if a == b:
        return a
    if boolean in (a, b):
        return b if a == boolean else a
    if a.is_float != b.is_float:
        return a if a.is_float else b
    if a.bits != b.bits:
        return a if a.bits > b.bits else b
    if a.is_float:  # float16 with bfloat16
        return float32
    return a if a.kind is Kind.INT else b
