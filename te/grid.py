"""Evaluating one expression at all points of a grid at once.

A grid has one dimension per axis.  Values are NumPy arrays that broadcast over it; an index that runs along one
dimension in equal steps stays a `Run`, so that `A[i, k]` is a view of A and no gather.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ir import expr as e
from ..ir.errors import ExpressionError
from .machine import Array, Machine, greater, lesser
from .nodes import Read
from .tensor import Tensor


@dataclass(frozen=True, slots=True)
class Run:
    """The values start, start + step, ... along one dimension of the grid; `step` is not 0 and `count` not 0."""

    dim: int
    start: int
    step: int
    count: int

    @property
    def last(self) -> int:
        """Give the last value."""
        return self.start + self.step * (self.count - 1)

    def array(self, ndim: int) -> Array:
        """Give the values as an array that broadcasts over a grid of `ndim` dimensions."""
        shape = [1] * ndim
        shape[self.dim] = self.count
        return (self.start + self.step * np.arange(self.count, dtype=np.int64)).reshape(shape)

    def slice(self) -> slice:
        """Give the slice that takes these positions."""
        end = self.last + (1 if self.step > 0 else -1)
        return slice(self.start, None if end < 0 else end, self.step)


@dataclass(frozen=True, slots=True)
class Picks:
    """The values `at`, ascending, along one dimension of the grid."""

    dim: int
    at: Array

    @property
    def count(self) -> int:
        """Give how many there are."""
        return len(self.at)

    def array(self, ndim: int) -> Array:
        """Give the values as an array that broadcasts over a grid of `ndim` dimensions."""
        shape = [1] * ndim
        shape[self.dim] = len(self.at)
        return self.at.reshape(shape)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is there of one dimension of a tensor.

    at  the positions that are held, ascending; None for all
    """

    extent: int
    at: Array | None = None

    @property
    def count(self) -> int:
        """Give how many positions are held."""
        return self.extent if self.at is None else len(self.at)

    def axis(self, dim: int) -> int | Run | Picks:
        """Give the positions as the values of an axis that is dimension `dim` of a grid."""
        if self.count < 2:
            return 0 if self.at is None else int(self.at[0])
        if self.at is None:
            return Run(dim, 0, 1, self.extent)
        first, last = int(self.at[0]), int(self.at[-1])
        return Run(dim, first, 1, self.count) if last - first == self.count - 1 else Picks(dim, self.at)

    def part(self, begin: int, end: int) -> tuple[slice, Kept]:
        """Give the slice `begin` to `end` of what is held, and what it holds."""
        if end - begin == self.count:
            return slice(begin, end), self
        return slice(begin, end), Kept(self.extent, np.arange(begin, end) if self.at is None else self.at[begin:end])

    def place(self, index: Index, ndim: int) -> Index:
        """Give where the positions that `index` has are held."""
        if self.at is None:
            return index
        match index:
            case int():
                return int(self._found(self.at, np.int64(index)))
            case Run(dim, start, step, count):
                found = self._found(self.at, start + step * np.arange(count))
                steady = (np.diff(found) == 1).all()
                return Run(dim, int(found[0]), 1, count) if steady else Picks(dim, found).array(ndim)
            case _:
                return self._found(self.at, index)

    @staticmethod
    def _found(at: Array, positions: Array | np.int64) -> Array:
        found = np.searchsorted(at, positions)
        assert (at[np.minimum(found, len(at) - 1)] == positions).all(), "a position that was not asked for"
        return found


Box = tuple[Kept, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """The values of a tensor that are there.

    box     which these are
    stored  whether the array is as the caller gave it, not in working types
    """

    array: Array
    box: Box
    stored: bool = False


Index = int | Run | Array
Mask = Array | None  # the points where a value is needed; None for all


@dataclass(slots=True)
class Grid:
    """The points that expressions are evaluated at.

    ndim     number of dimensions
    env      what variables stand for: numbers, a Run, or an array that broadcasts over the grid
    tensors  gives the values of a tensor that are there
    externs  vectorised functions for calls that are no intrinsics
    """

    ndim: int
    env: Mapping[e.Var, Any]
    machine: Machine
    tensors: Callable[[Tensor], Held]
    externs: Mapping[str, Callable[..., Any]]
    memo: dict[tuple[int, int], tuple[Any, Any]] = field(default_factory=dict)

    def value(self, node: e.Expr, mask: Mask = None) -> Any:
        """Give the value of `node` at all points, in the working type of its data type.

        Raises ExpressionError for an index out of bounds at a point of `mask`, and an unbound variable.
        """
        key = (id(node), id(mask))
        found = self.memo.get(key)
        if found is None:
            result = _VALUES[type(node)](self, node, mask)
            self.memo[key] = (result, mask)  # keeps the mask alive, so that its identity stays taken
            return result
        return found[0]

    def index(self, node: e.Expr, mask: Mask = None) -> Index:
        """Give the value of an integer expression, as a number or a Run where it is one."""
        match node:
            case e.Const(value):
                return int(value)
            case e.Var():
                return _plain(self.bound(node), self.ndim)
            case e.Add(a, b):
                return _plus(self.index(a, mask), self.index(b, mask), self.ndim)
            case e.Sub(a, b):
                return _plus(self.index(a, mask), _times(self.index(b, mask), -1, self.ndim), self.ndim)
            case e.Mul(a, b):
                return _times(self.index(a, mask), self.index(b, mask), self.ndim)
            case _:
                return _plain(self.value(node, mask), self.ndim)

    def number(self, node: e.Expr) -> int:
        """Give the value of an integer expression that is the same at all points."""
        match self.index(node):
            case int(value):
                return value
            case _:
                raise AssertionError(f"{node} differs between points")

    def bound(self, var: e.Var) -> Any:
        """Give what a variable stands for."""
        if var not in self.env:
            raise ExpressionError(
                "evaluate",
                f"the variable {var.name} has no value: no axis of the operator, no size of a fed array",
                advice="list it among the reduction's axes, or give sizes={'" + var.name + "': ...}",
            )
        return self.env[var]

    def read(self, node: Read, mask: Mask) -> Any:
        """Give the elements of a tensor, in working types."""
        held = self.tensors(node.tensor)
        values = self.elements(held, node, mask)
        return self.machine.load(values, node.tensor.dtype) if held.stored else values

    def elements(self, held: Held, node: Read, mask: Mask) -> Any:
        """Give the elements of a tensor as they are held."""
        array = held.array
        indices = [self.index(i, mask) for i in node.indices]
        for dim, (index, kept) in enumerate(zip(indices, held.box, strict=True)):
            if _first(index) < 0 or _last(index) >= kept.extent:
                indices[dim] = self._clipped(node, dim, index, kept.extent, mask)
            indices[dim] = kept.place(indices[dim], self.ndim)
        dims = _directions(indices)
        if dims is None:
            return array[tuple(expanded(i, self.ndim) for i in indices)]
        view = array[tuple(map(_selector, indices))]
        if not dims:
            return view
        order = sorted(range(len(dims)), key=dims.__getitem__)
        return view.transpose(order)[tuple(slice(None) if d in dims else None for d in range(self.ndim))]

    def _clipped(self, node: Read, dim: int, index: Index, extent: int, mask: Mask) -> Array:
        """Give `index` within bounds; it may only leave them where no value is needed."""
        array = np.asarray(expanded(index, self.ndim))
        outside = (array < 0) | (array >= extent)
        needed = outside if mask is None else outside & mask
        if needed.any() or extent == 0:
            wrong = int(np.broadcast_to(array, needed.shape)[needed].flat[0]) if needed.any() else 0
            raise ExpressionError(
                "evaluate",
                f"{node.tensor.name} is read at {wrong} of dimension {dim}, which has {extent} elements",
                where=f"  {node}",
                advice="te.if_then_else around the read; te.select evaluates both sides",
            )
        return np.clip(array, 0, extent - 1)

    def choose(self, node: e.IfThenElse, mask: Mask) -> Any:
        """Give the branches that are chosen; a branch is only evaluated where it is."""
        condition = self.value(node.condition, mask)
        if np.ndim(condition) == 0:
            return self.value(node.then if condition else node.otherwise, mask)
        then = self.value(node.then, narrowed(mask, condition))
        return np.where(condition, then, self.value(node.otherwise, narrowed(mask, ~condition)))

    def connect(self, node: e.And | e.Or, mask: Mask, conjunction: bool) -> Any:
        """Give a connective; its right side is only evaluated where the left one does not decide."""
        left = self.value(node.a, mask)
        if np.ndim(left) == 0:
            return self.value(node.b, mask) if bool(left) is conjunction else left
        right = self.value(node.b, narrowed(mask, left if conjunction else ~left))
        return left & right if conjunction else left | right

    def variable(self, node: e.Var) -> Any:
        """Give a variable as a value of its data type."""
        return np.asarray(expanded(self.bound(node), self.ndim)).astype(self.machine.working(node.dtype), copy=False)[
            ()
        ]

    def call(self, node: e.Call, mask: Mask) -> Any:
        """Give the result of a function."""
        operands = [(self.value(x, mask), x.dtype) for x in node.args]
        result = self.machine.call(node.name, operands, node.dtype)
        if result is not None:
            return result
        function = self.externs.get(node.name)
        if function is None:
            raise ExpressionError(
                "evaluate",
                f"{node.name} is an external function",
                where=f"  {node}",
                advice="externs={'" + node.name + "': a function of NumPy arrays}",
            )
        return np.asarray(function(*[x for x, _ in operands])).astype(self.machine.working(node.dtype))


def narrowed(mask: Mask, condition: Array) -> Array:
    """Give the points of `mask` where `condition` holds."""
    return condition if mask is None else mask & condition


def _plain(value: Any, ndim: int) -> Index:
    match value:
        case Run():
            return value
        case Picks():
            return value.array(ndim)
        case _:
            return int(value) if np.ndim(value) == 0 else np.asarray(value).astype(np.int64, copy=False)


def expanded(index: Any, ndim: int) -> Any:
    """Give an index or a value of a variable as what broadcasts over a grid."""
    match index:
        case Run() | Picks():
            return index.array(ndim)
        case _:
            return index


def _selector(index: Index) -> Any:
    match index:
        case Run():
            return index.slice()
        case _:
            return index


def _directions(indices: list[Index]) -> list[int] | None:
    """Give the dimensions that the Runs among `indices` lie in; None where a view cannot take all of them."""
    dims: list[int] = []
    for index in indices:
        match index:
            case int():
                pass
            case Run(dim) if dim not in dims:
                dims.append(dim)
            case _:
                return None
    return dims


def _plus(a: Index, b: Index, ndim: int) -> Index:
    match a, b:
        case (int(), int()):
            return a + b
        case (Run(dim, start, step, count), int()):
            return Run(dim, start + b, step, count)
        case (int(), Run(dim, start, step, count)):
            return Run(dim, start + a, step, count)
        case (Run(), Run()) if a.dim == b.dim and a.step + b.step != 0:
            return Run(a.dim, a.start + b.start, a.step + b.step, a.count)
        case _:
            return expanded(a, ndim) + expanded(b, ndim)


def _times(a: Index, b: Index, ndim: int) -> Index:
    match a, b:
        case (int(), int()):
            return a * b
        case (Run(dim, start, step, count), int(factor)) | (int(factor), Run(dim, start, step, count)):
            return Run(dim, start * factor, step * factor, count) if factor else 0
        case _:
            return expanded(a, ndim) * expanded(b, ndim)


def _first(index: Index) -> int:
    match index:
        case int():
            return index
        case Run():
            return min(index.start, index.last)
        case _:
            return int(index.min()) if index.size else 0


def _last(index: Index) -> int:
    match index:
        case int():
            return index
        case Run():
            return max(index.start, index.last)
        case _:
            return int(index.max()) if index.size else -1


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[Grid, Any, Mask], Any]:
    return lambda grid, node, mask: function(grid.value(node.a, mask), grid.value(node.b, mask))


def _select(grid: Grid, node: e.Select, mask: Mask) -> Any:
    then, otherwise = grid.value(node.then, mask), grid.value(node.otherwise, mask)
    return np.where(grid.value(node.condition, mask), then, otherwise)


_VALUES: dict[type, Callable[[Grid, Any, Mask], Any]] = {
    e.Const: lambda grid, node, mask: grid.machine.working(node.dtype).type(node.value),
    e.Var: lambda grid, node, mask: grid.variable(node),
    e.Cast: lambda grid, n, mask: grid.machine.convert(grid.value(n.value, mask), n.value.dtype, n.dtype),
    e.Add: _binary(np.add),
    e.Sub: _binary(np.subtract),
    e.Mul: _binary(np.multiply),
    e.Div: _binary(np.true_divide),
    e.FloorDiv: _binary(np.floor_divide),
    e.FloorMod: _binary(np.remainder),
    e.Min: _binary(lesser),
    e.Max: _binary(greater),
    e.Eq: _binary(np.equal),
    e.Ne: _binary(np.not_equal),
    e.Lt: _binary(np.less),
    e.Le: _binary(np.less_equal),
    e.And: lambda grid, node, mask: grid.connect(node, mask, conjunction=True),
    e.Or: lambda grid, node, mask: grid.connect(node, mask, conjunction=False),
    e.Not: lambda grid, node, mask: np.logical_not(grid.value(node.a, mask)),
    e.Select: _select,
    e.IfThenElse: Grid.choose,
    e.Call: Grid.call,
    Read: Grid.read,
}
