"""Search without measuring: recorded spaces, and how well strategies do on them.

A recorded space is one compressed NumPy file that needs neither its template nor its machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.errors import RecordError
from .entities import entity_from_json
from .fragments import AnnotateFragment, Fragment, OptionFragment, ReorderFragment, SplitFragment
from .space import ConfigSpace
from .strategies.strategy import Strategy, batch_size

FORMAT = 1
GOOD = 0.95  # share of the best throughput that counts as found
_KINDS = {"sp": SplitFragment, "re": ReorderFragment, "an": AnnotateFragment, "ot": OptionFragment}


class ReplaySpace(ConfigSpace):
    """A space of which only recorded configurations are valid.

    recorded  their numbers, ascending
    columns   the declared features of each, (configurations, features)
    names     of the features
    """

    def __init__(
        self, fragments: dict[str, Fragment], recorded: np.ndarray, columns: np.ndarray, names: Sequence[str]
    ) -> None:
        super().__init__()
        self.fragments = fragments
        self.recorded = recorded
        self.columns = columns
        self.names = tuple(names)

    @property
    def derived_names(self) -> tuple[str, ...]:
        """Give the names of the declared features."""
        return self.names

    @property
    def valid_count(self) -> int:
        """Give the number of recorded configurations."""
        return len(self.recorded)

    def valid(self, matrix: np.ndarray) -> np.ndarray:
        """Tell for each row whether it was recorded."""
        indices = self.indices(matrix)
        return self.recorded[self._position(indices)] == indices

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Give `count` recorded rows."""
        return self._rows[rng.integers(len(self.recorded), size=count)]

    def valid_indices(self, chunk: int = 1 << 14) -> Iterator[np.ndarray]:
        """Give the recorded numbers."""
        yield self.recorded

    def mutate(self, matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Give for each row the recorded one with most equal knobs, of 64 drawn at random."""
        result = np.empty_like(matrix)
        for number, row in enumerate(matrix):
            drawn = self._rows[rng.integers(len(self._rows), size=64)]
            equal = (drawn == row).sum(axis=1)
            result[number] = drawn[np.argmax(np.where(equal == len(row), -1, equal))]
        return result

    def derived_columns(self, matrix: np.ndarray) -> np.ndarray:
        """Give the recorded values of the declared features."""
        return self.columns[self._position(self.indices(matrix))]

    def _position(self, indices: np.ndarray) -> np.ndarray:
        return np.minimum(np.searchsorted(self.recorded, indices), len(self.recorded) - 1)

    @cached_property
    def _rows(self) -> np.ndarray:
        return self.matrix(self.recorded)


@dataclass(frozen=True)
class RecordedSpace:
    """Configurations of one task with what they cost on one machine.

    knobs    [[name, kind, default, extent, candidates]], as plain data
    indices  configuration numbers, ascending (configurations,)
    seconds  times, infinite for failures (configurations,)
    columns  declared features (configurations, features)
    names    of the features
    about    task, machine, measured peak: for reading
    """

    knobs: list[Any]
    indices: np.ndarray
    seconds: np.ndarray
    columns: np.ndarray
    names: tuple[str, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        space: ConfigSpace,
        indices: Sequence[int] | np.ndarray,
        seconds: Sequence[float] | np.ndarray,
        **about: Any,
    ) -> RecordedSpace:
        """Give the record of measured configurations of `space`."""
        order = np.argsort(np.asarray(indices, dtype=space.index_dtype))
        chosen = np.asarray(indices, dtype=space.index_dtype)[order]
        columns = space.derived_columns(space.matrix(chosen))
        return cls(
            _knobs_of(space), chosen, np.asarray(seconds, dtype=np.float64)[order], columns, space.derived_names, about
        )

    def save(self, path: str | Path) -> None:
        """Write one .npz file."""
        meta = json.dumps({"format": FORMAT, "knobs": self.knobs, "features": self.names, "about": self.about})
        numbers = np.array([str(i) for i in self.indices]) if self.indices.dtype == object else self.indices
        seconds, columns = self.seconds.astype(np.float32), self.columns.astype(np.float32)
        np.savez_compressed(path, meta=np.array(meta), indices=numbers, seconds=seconds, columns=columns)

    @classmethod
    def load(cls, path: str | Path) -> RecordedSpace:
        """Read a file written by `save`.  Raises RecordError if it is not one."""
        try:
            with np.load(path, allow_pickle=False) as data:
                meta = json.loads(str(data["meta"]))
                indices, seconds, columns = data["indices"], data["seconds"].astype(np.float64), data["columns"]
        except (OSError, ValueError, KeyError) as error:
            raise RecordError("replay", f"{path} is not a recorded space: {error}", advice="record it again") from None
        if meta["format"] != FORMAT:
            raise RecordError("replay", f"{path} has format {meta['format']}, not {FORMAT}", advice="record it again")
        if indices.dtype.kind == "U":
            indices = np.array([int(i) for i in indices], dtype=object)
        return cls(meta["knobs"], indices, seconds, columns, tuple(meta["features"]), meta["about"])

    @cached_property
    def space(self) -> ReplaySpace:
        """Give the space for strategies to search."""
        fragments: dict[str, Fragment] = {}
        for name, kind, default, extent, candidates in self.knobs:
            entities = tuple(entity_from_json(kind, value) for value in candidates)
            extra = {"extent": extent} if kind == "sp" else {}
            fragments[name] = _KINDS[kind](name, entities, default, **extra)
        return ReplaySpace(fragments, self.indices, self.columns, self.names)

    @cached_property
    def costs(self) -> dict[int, float]:
        """Give seconds by configuration number."""
        return dict(zip(map(int, self.indices), map(float, self.seconds), strict=True))

    @property
    def best_s(self) -> float:
        """Give the least time in seconds."""
        return float(self.seconds.min())


def _knobs_of(space: ConfigSpace) -> list[Any]:
    knobs = []
    for name, fragment in space.fragments.items():
        entities = [e.to_json() for e in fragment.entities]
        kind = entities[0][0]  # type: ignore[index]
        extent = fragment.extent if type(fragment) is SplitFragment else 0
        knobs.append([name, kind, fragment.default, extent, [e[1] for e in entities]])  # type: ignore[index]
    return knobs


def replay(
    recorded: RecordedSpace, strategy: Strategy, trials: int, enough: tuple[int, float] | None = None
) -> np.ndarray:
    """Give the least time in seconds after each of `trials` trials: (trials,); infinite before the first success.

    enough  (count, share): stop after `count` trials once `share` of the recorded best is reached, to save time; the
            curve stays flat from there on
    """
    least, share = enough or (trials, 1.0)
    costs: list[float] = []
    while len(costs) < trials:
        if len(costs) >= least and min(costs) * share <= recorded.best_s:
            break
        proposed = strategy.propose(min(batch_size(len(costs)), trials - len(costs)))
        if not proposed:
            break
        measured = [recorded.costs[i] for i in proposed]
        strategy.observe(proposed, measured)
        costs += measured
    curve = np.minimum.accumulate(np.array(costs)) if costs else np.full(1, np.inf)
    return np.pad(curve, (0, trials - len(curve)), mode="edge")


def regret_curves(
    recorded: RecordedSpace,
    make: Callable[[ConfigSpace, int], Strategy],
    trials: int,
    seeds: Sequence[int],
    enough: tuple[int, float] | None = None,
) -> np.ndarray:
    """Give best-so-far throughput as a share of the recorded best: (seeds, trials)."""
    curves = [replay(recorded, make(recorded.space, seed), trials, enough=enough) for seed in seeds]
    return recorded.best_s / np.array(curves)


def trials_to(curves: np.ndarray, share: float = GOOD) -> np.ndarray:
    """Give for each row of `curves` the number of trials until `share` is reached, or one more than there are."""
    reached = curves >= share
    return np.where(reached.any(axis=1), reached.argmax(axis=1), curves.shape[1]) + 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two strategies on one recorded space, medians over seeds.

    at            trial counts
    first, second share of the best after that many trials
    ratio         trials to 95 % of best: the second's over the first's, geometric mean over seeds
    """

    at: tuple[int, ...]
    first: tuple[float, ...]
    second: tuple[float, ...]
    ratio: float


def compare(
    recorded: RecordedSpace,
    first: Callable[[ConfigSpace, int], Strategy],
    second: Callable[[ConfigSpace, int], Strategy],
    seeds: Sequence[int] = range(10),
    at: tuple[int, ...] = (64, 128),
    limit: int = 1024,
) -> Comparison:
    """Run both strategies for up to `limit` trials with each seed."""
    trials = min(limit, len(recorded.indices))
    enough = (max(at), GOOD)
    curves = [regret_curves(recorded, make, trials, seeds, enough) for make in (first, second)]
    medians = [tuple(float(np.median(c[:, n - 1])) for n in at) for c in curves]
    logs = [np.log(trials_to(c)).mean() for c in curves]
    return Comparison(at, medians[0], medians[1], float(np.exp(logs[1] - logs[0])))
