"""`+ - * /` and comparisons of tensors, of their slices and of axes."""

from __future__ import annotations

from typing import Any

from ..ir import arith


class Arithmetic:
    """What may stand beside an operator; `_combine` tells what the operator then gives."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy numbers on the left leave the operator to us

    def _combine(self, operation: Any, a: object, b: object) -> Any:
        raise NotImplementedError

    def __add__(self, other: object) -> Any:
        return self._combine(arith.add, self, other)

    def __radd__(self, other: object) -> Any:
        return self._combine(arith.add, other, self)

    def __sub__(self, other: object) -> Any:
        return self._combine(arith.sub, self, other)

    def __rsub__(self, other: object) -> Any:
        return self._combine(arith.sub, other, self)

    def __mul__(self, other: object) -> Any:
        return self._combine(arith.mul, self, other)

    def __rmul__(self, other: object) -> Any:
        return self._combine(arith.mul, other, self)

    def __truediv__(self, other: object) -> Any:
        return self._combine(arith.div, self, other)

    def __rtruediv__(self, other: object) -> Any:
        return self._combine(arith.div, other, self)

    def __floordiv__(self, other: object) -> Any:
        return self._combine(arith.floordiv, self, other)

    def __rfloordiv__(self, other: object) -> Any:
        return self._combine(arith.floordiv, other, self)

    def __mod__(self, other: object) -> Any:
        return self._combine(arith.floormod, self, other)

    def __rmod__(self, other: object) -> Any:
        return self._combine(arith.floormod, other, self)

    def __neg__(self) -> Any:
        return self._combine(arith.sub, 0, self)

    def __lt__(self, other: object) -> Any:
        return self._combine(arith.lt, self, other)

    def __le__(self, other: object) -> Any:
        return self._combine(arith.le, self, other)

    def __gt__(self, other: object) -> Any:
        return self._combine(arith.lt, other, self)

    def __ge__(self, other: object) -> Any:
        return self._combine(arith.le, other, self)
