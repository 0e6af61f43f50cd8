"""What index expressions are in the 32 lanes of a warp: numbers, found by evaluating them.

Exact for every operator, xor swizzles and divisions included, at a few chosen points: the first warp and the middle one
of a block, each with all loop and block indices 0 and with all of them 1.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

import numpy as np

from ....ir import expr as e
from ....ir.gpu import WARP
from ..kernel import BLOCK_VARS, THREAD_VARS, Kernel

SIZE = 1024  # taken for a size that is no number: rows that begin at multiples of what matters
SCATTER = 97  # elements between what lanes read where an index comes from memory: nowhere near each other

Values = Any  # a number, or an array that broadcasts to (points, 32)


class Points:
    """Evaluates expressions at many points at once.

    met  loads that were met inside expressions since it was last emptied; their values are made up
    """

    def __init__(self, values: Mapping[e.Var, Values]) -> None:
        self.met: list[e.Load] = []
        self._values = dict(values)

    def let(self, var: e.Var, value: Values) -> None:
        """Give a variable its values."""
        self._values[var] = value

    def __call__(self, expr: e.Expr) -> Values:
        """Give the values of an integer or bool expression."""
        cls = type(expr)
        if cls is e.Const:
            return expr.value  # type: ignore[attr-defined]
        if cls is e.Var:
            return self._values.get(expr, SIZE)  # type: ignore[arg-type]
        combine = OPERATORS.get(cls)
        if combine is not None:
            return combine(self(expr.a), self(expr.b))  # type: ignore[attr-defined]
        return _OTHERS.get(cls, _unknown)(self, expr)

    def holds(self, condition: e.Expr) -> Values:
        """Give where a condition holds; everywhere if it depends on memory."""
        before = len(self.met)
        values = self(condition)
        return True if len(self.met) > before else values


class Lanes(Points):
    """Evaluates expressions in the lanes of a few warps.

    active  (points, 32) bool: lanes that are threads of the block
    """

    def __init__(self, kernel: Kernel) -> None:
        super().__init__({})
        warps = sorted({0, ceil(kernel.threads / WARP) // 2})
        warp, self._step = np.repeat(warps, 2)[:, None], np.tile([0, 1], len(warps))[:, None]
        thread = warp * WARP + np.arange(WARP)
        self.active = thread < kernel.threads
        rest = thread
        for var, extent in zip(THREAD_VARS, kernel.block, strict=True):
            self._values[var] = rest % extent
            rest = rest // extent
        for var, extent in zip(BLOCK_VARS, kernel.grid, strict=True):
            self.loop(var, extent)

    def loop(self, var: e.Var, extent: e.Expr) -> None:
        """Let a loop variable be 0 or 1, as far as its loop goes."""
        self._values[var] = np.minimum(self._step, np.maximum(self(extent) - 1, 0))


def _load(points: Points, load: e.Load) -> Values:
    points.met.append(load)
    return np.arange(WARP) * SCATTER


def _unknown(points: Points, expr: e.Expr) -> Values:
    """Give 0 for what no index is made of, such as a float."""
    return 0


def _choice(points: Points, expr: Any) -> Values:
    return np.where(points(expr.condition), points(expr.then), points(expr.otherwise))


def _call(points: Points, call: e.Call) -> Values:
    function = _FUNCTIONS.get(call.name)
    return 0 if function is None else function(*map(points, call.args))


OPERATORS: dict[type, Callable[[Values, Values], Values]] = {
    e.Add: operator.add,
    e.Sub: operator.sub,
    e.Mul: operator.mul,
    e.FloorDiv: operator.floordiv,
    e.FloorMod: operator.mod,
    e.Min: np.minimum,
    e.Max: np.maximum,
    e.Eq: operator.eq,
    e.Ne: operator.ne,
    e.Lt: operator.lt,
    e.Le: operator.le,
    e.And: np.logical_and,
    e.Or: np.logical_or,
}
_OTHERS: dict[type, Callable[[Points, Any], Values]] = {
    e.Cast: lambda points, expr: points(expr.value),
    e.Not: lambda points, expr: np.logical_not(points(expr.a)),
    e.Select: _choice,
    e.IfThenElse: _choice,
    e.Load: _load,
    e.Call: _call,
}
_FUNCTIONS: dict[str, Callable[..., Values]] = {
    "bitwise_xor": operator.xor,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_not": np.invert,
    "shift_left": operator.lshift,
    "shift_right": operator.rshift,
    "abs": abs,
}
