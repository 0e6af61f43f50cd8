"""The search space of a template: knobs, constraints between them, and configurations by number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from ..ir.errors import TuneError
from ..ir.expr import Const
from ..te.tensor import Tensor
from .constraints import Component, Constraint, Domain, components_of
from .entities import Entity, Json, OtherOptionEntity, SplitEntity
from .fragments import (
    AnnotateFragment,
    Fragment,
    OptionFragment,
    ReorderFragment,
    SplitFragment,
    annotate_entities,
    reorder_entities,
    split_entities,
)

MUTATION_ATTEMPTS = 4
TWO_KNOBS = 0.3  # share of mutations that change two knobs


@dataclass(frozen=True, slots=True)
class KnobAxis:
    """One loop that a split knob will make, to stand in later `define_reorder` and `define_annotate`."""

    knob: str
    position: int


@dataclass(frozen=True, slots=True)
class DerivedFeature:
    """A column for the cost model computed from knobs."""

    name: str
    function: Callable[..., Any]
    names: tuple[str, ...]


ESTIMATE = "estimate"  # the declared feature that says where to begin


class Knobs:
    """What a template sees of a configuration: definitions of its knobs, and an entity for each.

    A `ConfigSpace` collects the definitions and answers with defaults; a `Config` ignores them and answers with what
    was chosen.
    """

    index: int | None = None
    is_fallback = True

    def __getitem__(self, name: str) -> Any:
        raise NotImplementedError

    def __setitem__(self, name: str, entity: Entity) -> None:
        """Take another default; without effect on a chosen configuration."""

    def define_split(
        self,
        name: str,
        axis: object,
        policy: str = "factors",
        *,
        num_outputs: int = 2,
        filter: Callable[[SplitEntity], object] | None = None,
        max_factor: int | None = None,
        no_tail: bool | None = None,
        candidate: Sequence[Sequence[int]] = (),
        default: Sequence[int] | None = None,
    ) -> tuple[KnobAxis, ...]:
        """Add a knob that splits `axis` (an axis, or its extent) in `num_outputs` loops.

        policy      "factors" (divisors), "power2", "verbose" (both), or "candidate" (as listed)
        filter      keeps the entities for which it is true
        max_factor  largest inner factor
        no_tail     leave out what does not divide the extent; by default only for "factors"
        default     sizes, with -1 first, that an untuned template takes; else the first candidate
        """
        return tuple(KnobAxis(name, i) for i in range(num_outputs))

    def define_reorder(
        self,
        name: str,
        axes: Sequence[object],
        policy: str,
        *,
        candidate: Sequence[Sequence[int]] = (),
        default: Sequence[int] | None = None,
    ) -> tuple[object, ...]:
        """Add a knob that orders `axes`; policies "identity", "all", "interval_all", "candidate" (permutations)."""
        return tuple(axes)

    def define_annotate(
        self,
        name: str,
        axes: Sequence[object],
        policy: str,
        *,
        candidate: Sequence[Sequence[str]] = (),
        default: Sequence[str] | None = None,
    ) -> tuple[object, ...]:
        """Add a knob that gives each of `axes` a word; policies such as "try_unroll_vec", or "candidate"."""
        return tuple(axes)

    def define_knob(self, name: str, candidate: Sequence[Any], default: Any = None) -> None:
        """Add a knob with the values of `candidate`, plain data; the template interprets them."""

    def define_feature(self, name: str, function: Callable[..., Any], *names: str) -> None:
        """Add a column for the cost model: `function` of the knobs `names`, over whole populations.

        The function gets one object per knob with the entity's fields as arrays: `lambda t: t.size[-1] * 4`.
        """

    def define_estimate(self, function: Callable[..., Any], *names: str) -> None:
        """Add an estimate of how fast configurations are, in any unit: a search begins where it is high.

        It is a feature as well, so that the cost model learns what it is worth.
        """

    def restrict(self, predicate: Callable[..., object], *names: str) -> None:
        """Keep the configurations for which `predicate` of the knobs `names` is true.

        The predicate gets one object per knob with the entity's fields as arrays, and gives an array of bools:
        `space.restrict(lambda m, n: m.size[-1] * n.size[-1] <= 26, "tile_m", "tile_n")`.  One that only works on
        single values (`if`, `and`) is called once per distinct combination instead.
        Defaults that are excluded move to the nearest combination that is kept.
        """

    def matter_where(self, knob: str, value: object, *names: str) -> None:
        """Let the knobs `names` matter only where the option `knob` is `value`; elsewhere they keep their defaults.

        So one template can choose between algorithms with knobs of their own.  Knobs that constraints tie to one of
        `names` must be among them.
        """

    def add_flop(self, flop: float) -> None:
        """Add to the floating-point operations of the whole program; one fused multiply-add counts 2."""

    def define_meaning(self, tensors: Sequence[Tensor]) -> None:
        """Say by definition what is computed: the tensors of a call, in order.

        For a template some of whose algorithms say it in another way (Winograd's); results are checked against this.
        """


class ConfigSpace(Knobs):
    """All configurations of a template, by number; as a configuration it is the default one.

    The number is mixed radix over the knobs in order of definition, the first varying fastest, as in AutoTVM.

    figures  further columns for the cost model, which take a lowering each: from configuration numbers to (rows,
             columns), NaN where the configuration is refused; None where there are none
    """

    figures: Callable[[Sequence[int]], np.ndarray] | None = None

    def __init__(self) -> None:
        self.fragments: dict[str, Fragment] = {}
        self.constraints: list[Constraint] = []
        self.domains: list[Domain] = []
        self.derived: list[DerivedFeature] = []
        self.flop = 0.0
        self.meaning: tuple[Tensor, ...] = ()
        self._chosen: dict[str, Entity] = {}

    def __len__(self) -> int:
        return prod(len(f) for f in self.fragments.values())

    @property
    def size(self) -> int:
        """Give the number of configurations before constraints (as `len`, without its limit of 2**63)."""
        return prod(len(f) for f in self.fragments.values())

    # -- definition ---------------------------------------------------------------------------------------------

    def define_split(self, name: str, axis: object, policy: str = "factors", **options: Any) -> tuple[KnobAxis, ...]:
        """Add a knob that splits a loop; see `Knobs.define_split`."""
        extent, outputs = extent_of(axis), options.get("num_outputs", 2)
        if policy == "candidate":
            entities = [SplitEntity(tuple(c)) for c in options.get("candidate", ())]
            if wrong := [e.size for e in entities if len(e.size) != outputs]:
                raise TuneError("define_split", f"{wrong[0]} has not {outputs} sizes", f"  knob {name}")
        else:
            entities = split_entities(extent, outputs, policy, options.get("max_factor"), options.get("no_tail"))
        if keep := options.get("filter"):
            entities = [e for e in entities if keep(e)]
        self._add(SplitFragment, name, entities, _entity(SplitEntity, options.get("default")), extent=extent)
        return tuple(KnobAxis(name, i) for i in range(outputs))

    def define_reorder(self, name: str, axes: Sequence[object], policy: str, **options: Any) -> tuple[object, ...]:
        """Add a knob that orders loops; see `Knobs.define_reorder`."""
        entities = reorder_entities(len(axes), policy, options.get("candidate", ()))
        default = options.get("default")
        self._add(ReorderFragment, name, entities, _entity(type(entities[0]), default))
        return tuple(axes)

    def define_annotate(self, name: str, axes: Sequence[object], policy: str, **options: Any) -> tuple[object, ...]:
        """Add a knob that annotates loops; see `Knobs.define_annotate`."""
        entities = annotate_entities(len(axes), policy, options.get("candidate", ()))
        default = options.get("default")
        self._add(AnnotateFragment, name, entities, _entity(type(entities[0]), default))
        return tuple(axes)

    def define_knob(self, name: str, candidate: Sequence[Any], default: Any = None) -> None:
        """Add a knob of plain values; see `Knobs.define_knob`."""
        entities = [OtherOptionEntity(value) for value in candidate]
        self._add(OptionFragment, name, entities, None if default is None else OtherOptionEntity(default))

    def define_feature(self, name: str, function: Callable[..., Any], *names: str) -> None:
        """Add a column for the cost model; see `Knobs.define_feature`."""
        self._known("define_feature", names)
        self.derived.append(DerivedFeature(name, function, names))

    def define_estimate(self, function: Callable[..., Any], *names: str) -> None:
        """Add an estimate of how fast configurations are; see `Knobs.define_estimate`."""
        self.define_feature(ESTIMATE, function, *names)

    def restrict(self, predicate: Callable[..., object], *names: str) -> None:
        """Keep some configurations; see `Knobs.restrict`."""
        self._known("restrict", names)
        self.constraints.append(Constraint(predicate, names))
        self.__dict__.pop("components", None)
        tied = next(component for component in self.components if names[0] in component.fragments)
        for name, number in tied.nearest_to_defaults().items():
            self.fragments[name] = replace(self.fragments[name], default=number)
            self.__dict__.pop("components", None)

    def matter_where(self, knob: str, value: object, *names: str) -> None:
        """Let knobs matter only for a value of another; see `Knobs.matter_where`."""
        self._known("matter_where", (knob, *names))
        number = self.fragments[knob].find(OtherOptionEntity(value))
        if number is None:
            raise TuneError("matter_where", f"{value!r} is no value of knob {knob!r}", advice="one of its candidates")
        places = self.places
        self.domains.append(Domain(places[knob], number, tuple(places[name] for name in names)))

    def add_flop(self, flop: float) -> None:
        """Add to the floating-point operations of the whole program."""
        self.flop += flop

    def define_meaning(self, tensors: Sequence[Tensor]) -> None:
        """Say by definition what is computed; see `Knobs.define_meaning`."""
        self.meaning = tuple(tensors)

    def _add(
        self, kind: type[Fragment], name: str, entities: Sequence[Entity], default: Entity | None, **fields: Any
    ) -> None:
        if name in self.fragments:
            raise TuneError("define", f"knob {name!r} is defined twice", advice="one name per knob")
        if not entities:
            raise TuneError("define", f"knob {name!r} has no candidates", advice="a wider filter or another policy")
        number = 0 if default is None else next((i for i, e in enumerate(entities) if e == default), -1)
        if number < 0:
            raise TuneError("define", f"default {default} of knob {name!r} is not among its {len(entities)} candidates")
        self.fragments[name] = kind(name, tuple(entities), number, **fields)
        self.__dict__.pop("components", None)

    def _known(self, step: str, names: Sequence[str]) -> None:
        if missing := [n for n in names if n not in self.fragments]:
            raise TuneError(step, f"no knob {missing[0]!r}", advice=f"one of {', '.join(self.fragments)}")

    # -- as the default configuration ---------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        self._known("config", (name,))
        fragment = self.fragments[name]
        return self._chosen.get(name, fragment.entities[fragment.default])

    def __setitem__(self, name: str, entity: Entity) -> None:
        self._known("config", (name,))
        self._chosen[name] = entity

    def default_config(self) -> Config:
        """Give the default configuration; it need not have a number."""
        return Config(self.default, {name: self[name] for name in self.fragments})

    @property
    def default(self) -> int | None:
        """Give the number of the default configuration, or None if constraints exclude it or it is no candidate."""
        numbers = []
        for name, fragment in self.fragments.items():
            number = fragment.find(self._chosen[name]) if name in self._chosen else fragment.default
            if number is None:
                return None
            numbers.append(number)
        index = self.index_of(numbers)
        return index if self.is_valid_index(index) else None

    # -- configurations by number -------------------------------------------------------------------------------

    def get(self, index: int) -> Config:
        """Give the configuration `index`.  Raises TuneError outside 0 <= index < size."""
        if not 0 <= index < self.size:
            raise TuneError("config", f"number {index} in a space of {self.size}", advice=f"0 to {self.size - 1}")
        chosen: dict[str, Entity] = {}
        rest = int(index)
        for name, fragment in self.fragments.items():
            rest, number = divmod(rest, len(fragment))
            chosen[name] = fragment.entities[number]
        return Config(int(index), chosen)

    def index_of(self, numbers: Sequence[int]) -> int:
        """Give the configuration number of one candidate number per knob."""
        index, weight = 0, 1
        for number, fragment in zip(numbers, self.fragments.values(), strict=True):
            index += int(number) * weight
            weight *= len(fragment)
        return index

    def find(self, entities: Mapping[str, Entity]) -> int | None:
        """Give the number of the configuration with these entities, or None if the space has it not."""
        if set(entities) != set(self.fragments):
            return None
        numbers = [fragment.find(entities[name]) for name, fragment in self.fragments.items()]
        known = [n for n in numbers if n is not None]
        return self.index_of(known) if len(known) == len(numbers) else None

    def is_valid_index(self, index: int) -> bool:
        """Tell whether `index` is in the space and meets every constraint."""
        return 0 <= index < self.size and bool(self.valid(self.matrix([index]))[0])

    @property
    def index_dtype(self) -> type:
        """Give the NumPy type of configuration numbers: int64, or object where that is too narrow."""
        return np.int64 if self.size < 1 << 62 else object

    def matrix(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Give candidate numbers, one row per configuration number: (configurations, knobs) int64."""
        rest = np.array(indices, dtype=self.index_dtype)
        rows = np.empty((len(rest), len(self.fragments)), dtype=np.int64)
        for place, fragment in enumerate(self.fragments.values()):
            rows[:, place] = rest % len(fragment)
            rest = rest // len(fragment)
        return rows

    def indices(self, matrix: np.ndarray) -> np.ndarray:
        """Give the configuration number of each row of candidate numbers."""
        index = np.zeros(len(matrix), dtype=self.index_dtype)
        for place, fragment in reversed(list(enumerate(self.fragments.values()))):
            index = index * len(fragment) + matrix[:, place]
        return index

    def column(self, name: str, matrix: np.ndarray) -> object:
        """Give one knob's values over a population, as predicates and derived features see them."""
        return self.fragments[name].column(matrix[:, self.places[name]])

    @property
    def places(self) -> dict[str, int]:
        """Give each knob's column in a matrix of candidate numbers."""
        return {name: place for place, name in enumerate(self.fragments)}

    def valid(self, matrix: np.ndarray) -> np.ndarray:
        """Tell for each row whether it meets every constraint."""
        keep = (matrix == self.settled(matrix)).all(axis=1) if self.domains else np.ones(len(matrix), dtype=bool)
        for component in self.components:
            keep &= component.valid(matrix)
        return keep

    def allowed(self, matrix: np.ndarray) -> np.ndarray:
        """Tell the same as `valid`, of a few rows: no combinations are listed for it."""
        numbers = {name: matrix[:, place] for name, place in self.places.items()}
        keep = (matrix == self.settled(matrix)).all(axis=1)
        for constraint in self.constraints:
            keep &= constraint.holds(self.fragments, numbers)
        return keep

    def mattering(self, matrix: np.ndarray) -> np.ndarray:
        """Tell for each row of candidate numbers which knobs matter there: (configurations, knobs)."""
        matters = np.ones(matrix.shape, dtype=bool)
        for domain in self.domains:
            matters[:, domain.places] &= (matrix[:, domain.knob] == domain.number)[:, None]
        return matters

    def settled(self, matrix: np.ndarray) -> np.ndarray:
        """Give rows of candidate numbers with the knobs that do not matter at their defaults."""
        if not self.domains:
            return matrix
        result = matrix.copy()
        defaults = np.array([f.default for f in self.fragments.values()])
        for domain in self.domains:
            domain.settle(result, defaults)
        return result

    @cached_property
    def components(self) -> tuple[Component, ...]:
        """Give the groups of knobs that constraints tie together."""
        return components_of(self.fragments, self.constraints)

    @property
    def valid_count(self) -> int | None:
        """Give how many configurations meet the constraints, or None where counting would take too long."""
        counts = {component.places: component.count for component in self.components}
        known = {places: count for places, count in counts.items() if count is not None}
        choosers = {domain.knob for domain in self.domains}
        if len(known) < len(counts) or len(choosers) > 1:
            return None
        numbers = range(len(self.fragments[list(self.fragments)[min(choosers)]])) if choosers else range(1)
        total = 0
        for number in numbers:
            settled = choosers.union(*(d.places for d in self.domains if d.number != number))
            total += prod(count for places, count in known.items() if not settled.intersection(places))
        return total

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Give `count` rows of candidate numbers, uniform over the valid configurations, with repetitions."""
        rows = np.empty((count, len(self.fragments)), dtype=np.int64)
        for component in self.components:
            rows[:, component.places] = component.draw(count, rng)
        return self.settled(rows)

    def valid_indices(self, chunk: int = 1 << 14) -> Iterator[np.ndarray]:
        """Give all valid configuration numbers in ascending order, in arrays of at most `chunk`."""
        for first in range(0, self.size, chunk):
            indices = np.arange(first, min(first + chunk, self.size), dtype=self.index_dtype)
            kept = indices[self.valid(self.matrix(indices))]
            if len(kept):
                yield kept

    def mutate(self, matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Give for each row a valid one that differs in one or two knobs, or the row itself where none was found."""
        result = matrix.copy()
        open_rows = np.arange(len(matrix))
        for _ in range(MUTATION_ATTEMPTS):
            rows = self._mutate_one_knob(matrix[open_rows], rng)
            if rng.random() < TWO_KNOBS:
                rows = self._mutate_one_knob(rows, rng)
            rows = self.settled(rows)
            good = (rows != matrix[open_rows]).any(axis=1) & self.valid(rows)
            result[open_rows[good]] = rows[good]
            open_rows = open_rows[~good]
            if not len(open_rows):
                break
        return result

    def _mutate_one_knob(self, matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rows = matrix.copy()
        places = rng.integers(len(self.fragments), size=len(rows))
        for place, fragment in enumerate(self.fragments.values()):
            chosen = np.flatnonzero(places == place)
            rows[chosen, place] = fragment.mutate(rows[chosen, place], rng)
        return rows

    def derived_columns(self, matrix: np.ndarray) -> np.ndarray:
        """Give the declared features of each row of candidate numbers: (configurations, features) float32."""
        result = np.empty((len(matrix), len(self.derived)), dtype=np.float32)
        for place, feature in enumerate(self.derived):
            result[:, place] = feature.function(*(self.column(name, matrix) for name in feature.names))
        return result

    @property
    def derived_names(self) -> tuple[str, ...]:
        """Give the names of the declared features, in the order of `derived_columns`."""
        return tuple(feature.name for feature in self.derived)

    def estimate(self, matrix: np.ndarray) -> np.ndarray | None:
        """Give the declared estimate of each row of candidate numbers, or None where there is none."""
        names = self.derived_names
        return self.derived_columns(matrix)[:, names.index(ESTIMATE)] if ESTIMATE in names else None

    @property
    def fingerprint(self) -> str:
        """Give a hash of the knobs and their candidates: equal numbers mean equal configurations where it is equal."""
        knobs = [[name, [e.to_json() for e in f.entities]] for name, f in self.fragments.items()]
        return hashlib.sha256(json.dumps(knobs, default=str).encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        knobs = ", ".join(f"{name}: {len(f)}" for name, f in self.fragments.items())
        return f"ConfigSpace({self.size} configurations; {knobs})"


class Config(Knobs):
    """One configuration: an entity for each knob.

    index  its number in the space
    """

    is_fallback = False

    def __init__(self, index: int | None, entities: Mapping[str, Entity]) -> None:
        self.index = index
        self.entities = dict(entities)

    def __getitem__(self, name: str) -> Any:
        if name not in self.entities:
            known = ", ".join(self.entities)
            raise TuneError("config", f"configuration {self.index} has no knob {name!r}", advice=f"one of {known}")
        return self.entities[name]

    def to_json(self) -> Json:
        """Give `[[name, kind, value], ...]` as in AutoTVM's logs."""
        return [[name, *e.to_json()] for name, e in self.entities.items()]

    def __eq__(self, other: object) -> bool:
        return type(other) is Config and self.entities == other.entities

    def __hash__(self) -> int:
        return hash(repr(self.entities))  # values need not be hashable

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={e.to_json()[1]}" for name, e in self.entities.items())
        return f"Config({self.index}: {values})"


def extent_of(axis: object) -> int:
    """Give the number of steps of an axis, or of an integer.  Raises TuneError if it is not a known number."""
    match getattr(axis, "extent", axis):
        case int(n) if n >= 1:
            return n
        case Const(int(n)) if n >= 1:
            return n
        case other:
            raise TuneError("define_split", f"extent {other} is not a positive number", advice="a fixed size")


def _entity(kind: type, value: Sequence[Any] | None) -> Any:
    return None if value is None else kind(tuple(value))
