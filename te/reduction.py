"""Evaluating a reduction: chunks of its domain at once, in order, accumulated in the declared data type.

Sums of products whose order does not show are products of matrices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir import expr as e
from ..ir.dtype import STORAGE_ONLY
from ..ir.visit import of_kind, variables
from .axis import Axis
from .contraction import contracted, factors, is_product, room
from .grid import Grid, Picks, Run
from .machine import Array, Machine
from .nodes import Read, Reduce, Reducer, is_unconditional

CHUNK = 1 << 18  # elements evaluated at once: the temporaries stay in the caches
ROWS = 1 << 15  # results at once that are made of one term after the other
_FOLD_STEPS = 4096  # longer runs of a reducer without a NumPy function are combined in pairs
_UFUNCS: dict[type, tuple[np.ufunc, Callable[[np.dtype], Any]]] = {
    e.Add: (np.add, lambda t: 0),
    e.Mul: (np.multiply, lambda t: 1),
    e.Max: (np.maximum, lambda t: -np.inf if t.kind == "f" else np.iinfo(t).min),
    e.Min: (np.minimum, lambda t: np.inf if t.kind == "f" else np.iinfo(t).max),
    e.And: (np.logical_and, lambda t: True),
    e.Or: (np.logical_or, lambda t: False),
}


def function_of(reduce: Reduce, machine: Machine) -> tuple[np.ufunc, Callable[[np.dtype], Any]] | None:
    """Give the NumPy function that combines as the reducer does, unless rounding to a storage type intervenes."""
    reducer = reduce.reducer
    body, dtype = reducer.result[0], reduce.dtype
    if len(reducer.result) != 1 or (dtype in STORAGE_ONLY and dtype.is_float and not machine.wide):
        return None
    match body:
        case e.Add(a, b) | e.Mul(a, b) | e.Max(a, b) | e.Min(a, b) | e.And(a, b) | e.Or(a, b):
            return _UFUNCS[type(body)] if {a, b} == {reducer.left[0], reducer.right[0]} else None
        case _:
            return None


def results_at_once(reduce: Reduce, spatial: Collection[e.Var], terms: int, machine: Machine) -> float:
    """Give how many results of so many terms each are best found at once.

    spatial  variables of the results' places
    """
    if is_product(reduce, spatial, machine.wide):
        return math.inf  # the larger, the faster
    if function_of(reduce, machine) is None:
        return CHUNK
    return ROWS if _runs_along(reduce, spatial) else max(1, CHUNK // max(1, terms))


def _runs_along(reduce: Reduce, spatial: Collection[e.Var]) -> bool:
    """Tell whether neighbouring results, rather than neighbouring terms, are made of neighbours in memory."""
    reads = [read for value in reduce.values for read in of_kind(value, Read) if read.indices]
    if not reads or len(reduce.values) > 1:
        return False
    largest = max(reads, key=lambda read: len({var for index in read.indices for var in variables(index)}))
    return any(var in spatial for var in variables(largest.indices[-1]))


@dataclass(frozen=True, slots=True)
class Reduction:
    """A reduction at all points of a spatial domain.

    extents  of the spatial dimensions
    env      what variables stand for, the spatial axes among them
    grid     makes a grid of so many dimensions
    """

    reduce: Reduce
    extents: tuple[int, ...]
    env: Mapping[e.Var, Any]
    grid: Callable[[int, Mapping[e.Var, Any]], Grid]
    machine: Machine

    def values(self) -> list[Array]:
        """Give the results, one array per component."""
        ufunc, running = function_of(self.reduce, self.machine), self._start()
        spatial = [var for var, value in self.env.items() if type(value) in (Run, Picks)]
        pair = factors(self.reduce, self.machine.wide) if is_product(self.reduce, spatial, self.machine.wide) else None
        points = room(pair, self.extents, self.env) if pair else self._at_once(spatial)
        for env, inner in self._chunks(max(1, points)):
            grid = self.grid(len(self.extents) + len(inner), {**self.env, **env})
            if pair is not None:
                a, b = map(grid.value, pair)
                total = contracted(a, b, len(self.extents), inner)
                np.add(running[0], total, out=running[0], casting="unsafe")
            elif ufunc is not None:
                running = [self._accumulated(ufunc, running[0], grid, inner)]
            else:
                running = self._folded(running, grid, inner)
        return running

    def _at_once(self, spatial: Collection[e.Var]) -> int:
        """Give how many terms of each result are found at once: one, where that keeps rows of results whole."""
        return 1 if _runs_along(self.reduce, spatial) else CHUNK // max(1, math.prod(self.extents))

    def _start(self) -> list[Array]:
        grid = self.grid(len(self.extents), self.env)
        given = self.reduce.init or self.reduce.reducer.identity
        return [np.array(np.broadcast_to(grid.value(x), self.extents)) for x in given]

    def _chunks(self, points: int) -> Iterator[tuple[dict[e.Var, Any], tuple[int, ...]]]:
        """Give what the reduction's variables stand for, `points` at most at once and in order, and the extents."""
        axes = [(axis, self._bounds(axis)) for axis in self.reduce.axes]
        pieces: list[list[tuple[int, int]]] = []  # per axis, innermost first: (first value, count)
        for _, (start, extent) in reversed(axes):
            size = min(extent, points)
            points = points // size if size == extent and size > 0 else 1
            pieces.append([(at, min(size, start + extent - at)) for at in range(start, start + extent, max(1, size))])
        for chosen in itertools.product(*reversed(pieces)):
            env: dict[e.Var, Any] = {}
            inner: list[int] = []
            for (axis, _), (first, count) in zip(axes, chosen, strict=True):
                env[axis.var] = first if count == 1 else Run(len(self.extents) + len(inner), first, 1, count)
                inner += [count] if count > 1 else []
            yield env, tuple(inner)

    def _bounds(self, axis: Axis) -> tuple[int, int]:
        grid = self.grid(0, self.env)
        return grid.number(axis.start), grid.number(axis.extent)

    def _accumulated(
        self, ufunc: tuple[np.ufunc, Callable], running: Array, grid: Grid, inner: tuple[int, ...]
    ) -> Array:
        function, neutral = ufunc
        dtype = running.dtype
        value = grid.value(self.reduce.values[0], self._mask(grid))
        if not is_unconditional(self.reduce):
            value = np.where(grid.value(self.reduce.condition), value, dtype.type(neutral(dtype)))
        if inner:
            spatial = len(self.extents)
            value = _over(value, grid.ndim, spatial, inner)
            combined = function.reduce(value, axis=tuple(range(spatial, grid.ndim)), dtype=dtype)
        else:
            combined = value
        if function in (np.maximum, np.minimum) and dtype.kind == "f" and np.isnan(combined).any():
            return self._folded([running], grid, inner)[0]  # NumPy keeps NaN; `a if a > b else b` keeps the last number
        return function(running, combined, out=running, casting="unsafe")

    def _mask(self, grid: Grid) -> Array | None:
        if is_unconditional(self.reduce):
            return None
        return np.asarray(grid.value(self.reduce.condition))

    def _folded(self, running: list[Array], grid: Grid, inner: tuple[int, ...]) -> list[Array]:
        """Combine one value after the other, as the loop would."""
        mask = self._mask(grid)
        spatial, count = len(self.extents), math.prod(inner)
        flat = [_flat(grid.value(v, mask), grid.ndim, spatial, inner) for v in self.reduce.values]
        conditional = not is_unconditional(self.reduce)
        taken = _flat(grid.value(self.reduce.condition), grid.ndim, spatial, inner) if conditional else None
        if count > _FOLD_STEPS and taken is None:
            return self._combined(running, self._paired(flat))
        for step in range(count):
            after = self._combined(running, [_at(f, step) for f in flat])
            keep = None if taken is None else _at(taken, step)
            running = after if keep is None else [np.where(keep, a, r) for a, r in zip(after, running, strict=True)]
        return running

    def _paired(self, flat: list[Array]) -> list[Array]:
        """Combine neighbours until one value is left; the reducer is associative, and order is kept."""
        count = max(f.shape[-1] for f in flat)
        flat = [np.broadcast_to(f, (*f.shape[:-1], count)) for f in flat]
        while count > 1:
            even, odd = [f[..., 0 : count - 1 : 2] for f in flat], [f[..., 1:count:2] for f in flat]
            rest = [f[..., count - 1 :] for f in flat] if count % 2 else None
            flat = self._combined(even, odd)
            if rest is not None:
                flat = [
                    np.concatenate([f, np.broadcast_to(r, (*f.shape[:-1], 1))], -1)
                    for f, r in zip(flat, rest, strict=True)
                ]
            count = (count + 1) // 2
        return [f[..., 0] for f in flat]

    def _combined(self, left: list[Array], right: list[Array]) -> list[Array]:
        reducer: Reducer = self.reduce.reducer
        pairs = zip((*reducer.left, *reducer.right), (*left, *right), strict=True)
        grid = self.grid(left[0].ndim, {**self.env, **dict(pairs)})
        values = [(grid.value(x), x.dtype) for x in reducer.result]
        return [np.asarray(v if self.machine.wide else self.machine.kept(np.asarray(v), t)) for v, t in values]


def _over(value: Any, ndim: int, spatial: int, inner: tuple[int, ...]) -> Array:
    """Give `value` with the chunk's dimensions at their full extents; spatial ones may stay 1."""
    value = np.asarray(value)
    value = value.reshape((1,) * (ndim - value.ndim) + value.shape)
    return np.broadcast_to(value, value.shape[:spatial] + inner)


def _flat(value: Any, ndim: int, spatial: int, inner: tuple[int, ...]) -> Array:
    """Give `value` with the chunk's dimensions as one, last."""
    value = _over(value, ndim, spatial, inner)
    return value.reshape((*value.shape[:spatial], math.prod(inner)))


def _at(flat: Array, step: int) -> Array:
    return flat[..., step]
