"""Constraints between knobs, counted and sampled without enumerating the whole space.

Knobs that a chain of constraints ties together form a component.  A small component is enumerated once, so that drawing
from it is exact and never rejects; a large one is drawn by rejection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from ..ir.errors import TuneError
from .fragments import Fragment

ENUMERATED = 1 << 20  # combinations of a component that are worth a table
ATTEMPTS = 200  # rounds of rejection before giving up


@dataclass(frozen=True, slots=True)
class Constraint:
    """A predicate over some knobs."""

    predicate: Callable[..., object]
    names: tuple[str, ...]

    def holds(self, fragments: Mapping[str, Fragment], numbers: Mapping[str, np.ndarray]) -> np.ndarray:
        """Tell for each row of candidate numbers, one array per knob, whether the predicate is true."""
        columns = [fragments[name].column(numbers[name]) for name in self.names]
        rows = len(numbers[self.names[0]])
        try:
            answer = np.asarray(self.predicate(*columns))
        except (ValueError, TypeError):  # the predicate branches on a value: it wants entities, not arrays
            return self._one_by_one(fragments, numbers)
        return np.broadcast_to(answer.astype(bool), (rows,))

    def _one_by_one(self, fragments: Mapping[str, Fragment], numbers: Mapping[str, np.ndarray]) -> np.ndarray:
        rows = np.column_stack([numbers[name] for name in self.names])
        distinct, where = np.unique(rows, axis=0, return_inverse=True)
        chosen = [fragments[name].entities for name in self.names]
        answers = [
            bool(self.predicate(*(entities[n] for entities, n in zip(chosen, row, strict=True)))) for row in distinct
        ]
        return np.array(answers, dtype=bool)[where.ravel()]


@dataclass(frozen=True, slots=True)
class Domain:
    """Knobs that matter only where another one has a certain value; elsewhere they stay at their defaults.

    knob    the other one's column in a matrix of candidate numbers
    number  of the value
    places  the columns of the knobs
    """

    knob: int
    number: int
    places: tuple[int, ...]

    def settle(self, matrix: np.ndarray, defaults: np.ndarray) -> None:
        """Put the knobs at their defaults where they do not matter, in place.

        defaults  candidate number of each knob of the space
        """
        rows, columns = np.ix_(matrix[:, self.knob] != self.number, self.places)
        matrix[rows, columns] = defaults[columns]


@dataclass(frozen=True)
class Component:
    """Knobs tied together by constraints, or one free knob.

    places  the knobs' columns in a matrix of candidate numbers
    """

    fragments: Mapping[str, Fragment]
    places: tuple[int, ...]
    constraints: tuple[Constraint, ...]

    @property
    def combinations(self) -> int:
        """Give the number of combinations before constraints."""
        return prod(len(f) for f in self.fragments.values())

    @property
    def count(self) -> int | None:
        """Give the number of valid combinations, or None if there are too many to try."""
        if not self.constraints:
            return self.combinations
        return None if self.table is None else int(self.table.sum())

    @cached_property
    def table(self) -> np.ndarray | None:
        """Give the validity of each combination, by number with the first knob fastest; None if too many."""
        if self.combinations > ENUMERATED:
            return None
        rows = self._unpack(np.arange(self.combinations))
        return self._check(rows)

    @cached_property
    def _listed(self) -> np.ndarray | None:
        if self.table is None:
            return None
        found = np.flatnonzero(self.table)
        if not len(found):
            names = ", ".join(self.fragments)
            raise TuneError("restrict", f"none of {self.combinations} combinations of {names} is left")
        return self._unpack(found)

    def valid(self, matrix: np.ndarray) -> np.ndarray:
        """Tell for each row of candidate numbers of the whole space whether the constraints here hold."""
        if not self.constraints:
            return np.ones(len(matrix), dtype=bool)
        rows = matrix[:, self.places]
        return self._check(rows) if self.table is None else self.table[self._pack(rows)]

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Give `count` valid rows of these knobs' candidate numbers, uniformly."""
        if not self.constraints:
            return self._random(count, rng)
        if self._listed is not None:
            return self._listed[rng.integers(len(self._listed), size=count)]
        kept: list[np.ndarray] = []
        for _ in range(ATTEMPTS):
            rows = self._random(max(256, 2 * count), rng)
            kept.append(rows[self._check(rows)])
            if sum(map(len, kept)) >= count:
                return np.concatenate(kept)[:count]
        tried = ATTEMPTS * max(256, 2 * count)
        names = ", ".join(self.fragments)
        raise TuneError("restrict", f"fewer than {count} of {tried} combinations of {names} are valid")

    def nearest_to_defaults(self) -> dict[str, int]:
        """Give valid candidate numbers that differ from the defaults in fewest knobs, and there by least.

        Nothing where the defaults are valid, or where there are too many combinations to try.
        """
        defaults = np.array([f.default for f in self.fragments.values()])
        if self._check(defaults[None])[0] or self.table is None or not self.table.any():
            return {}
        rows = self._unpack(np.flatnonzero(self.table))
        away = np.zeros(len(rows))
        for column, fragment in enumerate(self.fragments.values()):
            steps = np.abs(fragment.features - fragment.features[fragment.default]).sum(axis=1)
            away += steps[rows[:, column]]
        best = np.lexsort((away, (rows != defaults).sum(axis=1)))[0]
        return dict(zip(self.fragments, map(int, rows[best]), strict=True))

    def _random(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return np.column_stack([f.draw(rng, count) for f in self.fragments.values()])

    def _check(self, rows: np.ndarray) -> np.ndarray:
        numbers = {name: rows[:, i] for i, name in enumerate(self.fragments)}
        keep = np.ones(len(rows), dtype=bool)
        for constraint in self.constraints:
            keep &= constraint.holds(self.fragments, numbers)
        return keep

    def _pack(self, rows: np.ndarray) -> np.ndarray:
        number = np.zeros(len(rows), dtype=np.int64)
        for place, fragment in reversed(list(enumerate(self.fragments.values()))):
            number = number * len(fragment) + rows[:, place]
        return number

    def _unpack(self, numbers: np.ndarray) -> np.ndarray:
        columns = []
        for fragment in self.fragments.values():
            numbers, column = np.divmod(numbers, len(fragment))
            columns.append(column)
        return np.column_stack(columns)


def components_of(fragments: Mapping[str, Fragment], constraints: Sequence[Constraint]) -> tuple[Component, ...]:
    """Give the knobs grouped so that no constraint reaches across groups, in order of first appearance."""
    group = {name: {name} for name in fragments}
    for constraint in constraints:
        joined = set().union(*(group[name] for name in constraint.names))
        for name in joined:
            group[name] = joined
    places = {name: place for place, name in enumerate(fragments)}
    distinct = {id(group[name]): group[name] for name in fragments}
    result = []
    for names in distinct.values():
        ordered = sorted(names, key=places.__getitem__)
        result.append(
            Component(
                {name: fragments[name] for name in ordered},
                tuple(places[name] for name in ordered),
                tuple(c for c in constraints if names.issuperset(c.names)),
            )
        )
    return tuple(result)
