"""Fragments: one decision of a search space each, with its candidates, default, mutations and feature columns.

    Fragment
    +-- SplitFragment      factors of a loop
    +-- ReorderFragment    an order of loops
    +-- AnnotateFragment   a word for each loop
    +-- OptionFragment     one of given values

A population is a matrix of candidate numbers, one row per configuration and one column per fragment; everything here
works on whole columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product
from math import prod

import numpy as np

from ..ir.errors import TuneError
from .entities import AnnotateEntity, Entity, ReorderEntity, SplitEntity

NEIGHBOURS = 8  # candidates that count as near to one
LOCAL_SHARE = 0.75  # of mutations go to a near candidate


@dataclass(frozen=True)
class Fragment:
    """One decision.

    name      unique in its space
    entities  the candidates; a configuration holds the number of one of them
    default   number of the candidate that an untuned template uses
    """

    name: str
    entities: tuple[Entity, ...]
    default: int = 0

    def __len__(self) -> int:
        return len(self.entities)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Give `count` uniformly random candidate numbers."""
        return rng.integers(len(self), size=count)

    def mutate(self, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Give for each candidate another one, mostly a near one; the same where there is only one."""
        if len(self) == 1:
            return numbers.copy()
        far = (numbers + rng.integers(1, len(self), size=len(numbers))) % len(self)
        near = self.nearest[numbers, rng.integers(self.nearest.shape[1], size=len(numbers))]
        return np.where(rng.random(len(numbers)) < LOCAL_SHARE, near, far)

    @cached_property
    def nearest(self) -> np.ndarray:
        """Give the numbers of the nearest other candidates, by feature distance: (candidates, up to NEIGHBOURS)."""
        table = self.features
        keep = min(NEIGHBOURS, len(self) - 1)
        rows = np.empty((len(self), keep), dtype=np.int64)
        for number in range(len(self)):
            distance = np.abs(table - table[number]).sum(axis=1)
            distance[number] = np.inf
            rows[number] = np.argsort(distance, kind="stable")[:keep]
        return rows

    @cached_property
    def features(self) -> np.ndarray:
        """Give the feature columns of every candidate: (candidates, columns) float32."""
        raise NotImplementedError

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Give the names of the feature columns."""
        raise NotImplementedError

    def column(self, numbers: np.ndarray) -> object:
        """Give an object with the fields of the entity, each an array over the population."""
        raise NotImplementedError

    def find(self, entity: Entity) -> int | None:
        """Give the number of a candidate, or None if it is not one."""
        return self.entities.index(entity) if entity in self.entities else None


@dataclass(frozen=True, slots=True)
class SplitColumn:
    """`SplitEntity` over a population: `size[i]` is an array of factors."""

    size: tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class OptionColumn:
    """`OtherOptionEntity` over a population: `val` is an array."""

    val: np.ndarray


@dataclass(frozen=True, slots=True)
class ReorderColumn:
    """`ReorderEntity` over a population: `perm[i]` is an array."""

    perm: tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class AnnotateColumn:
    """`AnnotateEntity` over a population: `anns[i]` is an array of words."""

    anns: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class SplitFragment(Fragment):
    """Factors of a loop of `extent` steps."""

    extent: int = 1

    @cached_property
    def sizes(self) -> np.ndarray:
        """Give the factors with the first one filled in, rounded up: (candidates, outputs) int64."""
        inner = np.array([e.size[1:] for e in self.entities], dtype=np.int64).reshape(len(self), -1)  # type: ignore[union-attr]
        outer = -(-self.extent // inner.prod(axis=1, dtype=np.int64))
        return np.column_stack([outer, inner])

    @cached_property
    def features(self) -> np.ndarray:
        """Give log2 of each factor, log2 of the products of the inner ones, and the share of wasted steps."""
        logs = np.log2(self.sizes)
        products = np.cumsum(logs[:, :0:-1], axis=1)[:, 1:]  # of two and more of the inner factors
        waste = self.sizes.prod(axis=1, dtype=np.float64) / self.extent - 1
        return np.column_stack([logs, products, waste]).astype(np.float32)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Give the names of the feature columns."""
        count = self.sizes.shape[1]
        products = [f"{self.name}.inner{i}" for i in range(2, count)]
        return (*(f"{self.name}.size{i}" for i in range(count)), *products, f"{self.name}.waste")

    def column(self, numbers: np.ndarray) -> SplitColumn:
        """Give the factors of a population."""
        rows = self._listed[numbers]
        return SplitColumn(tuple(rows[:, i] for i in range(rows.shape[1])))

    @cached_property
    def _listed(self) -> np.ndarray:
        return np.array([e.size for e in self.entities], dtype=np.int64)  # type: ignore[union-attr]


@dataclass(frozen=True)
class ReorderFragment(Fragment):
    """An order of loops."""

    @cached_property
    def features(self) -> np.ndarray:
        """Give the place of each loop, outermost 0."""
        return np.argsort(self._perms, axis=1).astype(np.float32)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Give the names of the feature columns."""
        return tuple(f"{self.name}.place{i}" for i in range(self._perms.shape[1]))

    def column(self, numbers: np.ndarray) -> ReorderColumn:
        """Give the orders of a population."""
        rows = self._perms[numbers]
        return ReorderColumn(tuple(rows[:, i] for i in range(rows.shape[1])))

    @cached_property
    def _perms(self) -> np.ndarray:
        return np.array([e.perm for e in self.entities], dtype=np.int64)  # type: ignore[union-attr]


@dataclass(frozen=True)
class AnnotateFragment(Fragment):
    """A word for each loop."""

    @cached_property
    def features(self) -> np.ndarray:
        """Give one column per loop and word, 1 where the loop has the word."""
        columns = [self._words[:, i] == word for i in range(self._words.shape[1]) for word in self._alphabet]
        return np.column_stack(columns).astype(np.float32)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Give the names of the feature columns."""
        return tuple(f"{self.name}.{i}.{w}" for i in range(self._words.shape[1]) for w in self._alphabet)

    def column(self, numbers: np.ndarray) -> AnnotateColumn:
        """Give the words of a population."""
        rows = self._words[numbers]
        return AnnotateColumn(tuple(rows[:, i] for i in range(rows.shape[1])))

    @cached_property
    def _words(self) -> np.ndarray:
        return np.array([e.anns for e in self.entities])  # type: ignore[union-attr]

    @cached_property
    def _alphabet(self) -> tuple[str, ...]:
        return tuple(sorted(set(self._words.ravel().tolist())))


@dataclass(frozen=True)
class OptionFragment(Fragment):
    """One of given values."""

    @cached_property
    def features(self) -> np.ndarray:
        """Give the value and the log2 of its size where all values are numbers, else one column per value."""
        if self._numeric:
            values = np.array([float(e.val) for e in self.entities])  # type: ignore[union-attr]
            return np.column_stack([values, np.log2(1 + np.abs(values))]).astype(np.float32)
        return np.eye(len(self), dtype=np.float32)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Give the names of the feature columns."""
        if self._numeric:
            return (f"{self.name}.val", f"{self.name}.log")
        return tuple(f"{self.name}={e.val}" for e in self.entities)  # type: ignore[union-attr]

    def column(self, numbers: np.ndarray) -> OptionColumn:
        """Give the values of a population; values that are not scalars stay Python objects."""
        return OptionColumn(self._values[numbers])

    @cached_property
    def _numeric(self) -> bool:
        return all(type(e.val) in (bool, int, float) for e in self.entities)  # type: ignore[union-attr]

    @cached_property
    def _values(self) -> np.ndarray:
        values = [e.val for e in self.entities]  # type: ignore[union-attr]
        if len({type(v) for v in values}) == 1 and type(values[0]) in (bool, int, float, str):
            return np.array(values)
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return column


def factors_of(extent: int) -> list[int]:
    """Give the divisors of `extent`, ascending."""
    small = [d for d in range(1, int(extent**0.5) + 1) if extent % d == 0]
    return sorted({*small, *(extent // d for d in small)})


def powers_up_to(extent: int) -> list[int]:
    """Give the powers of two that are not above `extent`."""
    return [1 << bit for bit in range(extent.bit_length())]


def split_entities(
    extent: int, outputs: int, policy: str, max_factor: int | None, no_tail: bool | None
) -> list[SplitEntity]:
    """Give the splits of a loop in AutoTVM's order.

    policy   "factors": divisors only; "power2": powers of two; "verbose": both
    no_tail  leave out splits that do not divide the extent; by default only for "factors"
    """
    pools = {
        "factors": lambda: factors_of(extent),
        "power2": lambda: powers_up_to(extent),
        "verbose": lambda: sorted({*factors_of(extent), *powers_up_to(extent)}),
    }
    if policy not in pools:
        known = ", ".join([*pools, "candidate"])
        raise TuneError("define_split", f"unknown policy {policy!r}", advice=f"one of {known}")
    exact = policy == "factors" if no_tail is None else no_tail
    pool = [f for f in pools[policy]() if max_factor is None or f <= max_factor]
    found: list[SplitEntity] = []

    def extend(inner: tuple[int, ...], room: int) -> None:
        if len(inner) == outputs - 1:
            steps = prod(inner)
            if extent % steps == 0 or (not exact and steps < extent):
                found.append(SplitEntity((-1, *reversed(inner))))
            return
        for factor in pool:
            if factor <= room:
                extend((*inner, factor), room // factor)

    extend((), extent)
    return found


def reorder_entities(axes: int, policy: str, candidate: Sequence[Sequence[int]]) -> list[ReorderEntity]:
    """Give the orders of `axes` loops: "identity", "all", "interval_all" (an interval permuted), or the candidates."""
    everything = tuple(range(axes))
    match policy:
        case "identity":
            return [ReorderEntity(everything)]
        case "all":
            return [ReorderEntity(p) for p in permutations(everything)]
        case "interval_all":
            first, last = (candidate[0][0], candidate[0][-1]) if candidate else (0, axes)
            head, tail = everything[:first], everything[last:]
            return [ReorderEntity((*head, *p, *tail)) for p in permutations(everything[first:last])]
        case "candidate":
            return [ReorderEntity(tuple(c)) for c in candidate]
        case _:
            known = "identity, all, interval_all, candidate"
            raise TuneError("define_reorder", f"unknown policy {policy!r}", advice=f"one of {known}")


def annotate_entities(axes: int, policy: str, candidate: Sequence[Sequence[str]]) -> list[AnnotateEntity]:
    """Give a word for each of `axes` loops: policies as "try_unroll_vec" name the words, at most one loop is "vec"."""
    if policy == "candidate":
        return [AnnotateEntity(tuple(c)) for c in candidate]
    words = policy.replace("try", "none").split("_")
    if not set(words) <= {"none", "unroll", "vec", "parallel"}:
        known = "try, unroll, vec, parallel joined by _, or candidate"
        raise TuneError("define_annotate", f"unknown policy {policy!r}", advice=known)
    return [AnnotateEntity(c) for c in product(words, repeat=axes) if c.count("vec") <= 1]
