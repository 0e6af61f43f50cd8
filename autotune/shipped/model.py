"""The shipped model: corrects the order in which a template's rules rank configurations.

It was fitted on trials of many shapes.  For a configuration it gives the log of how much faster it is, compared with
the default of the rules, than the template's estimate promises; so the estimate says what is plausible, and the model
what measurements say beside it.  Only configurations near what the rules prefer are asked about.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..space import ConfigSpace
from .call import Call
from .trees import Trees

FILE = Path(__file__).parent / "model.json"
ROUNDS = 3  # of changing one knob of the best
BEAM = 4  # configurations from which it goes on
TRUST = 0.8  # of what the rules' default promises that others must promise
GAIN = 0.08  # that the model must expect, as a log, before it contradicts the rules
UNKNOWN = 0.0  # in columns that a space does not have


@dataclass(frozen=True)
class Correction:
    """What measurements say beside the estimate, for the calls of one template.

    kind, threads, template  see `Call`
    variant  see `Call`
    columns  features by name
    judged   what it was worth on workloads it was not fitted on, in words
    """

    kind: str
    threads: int
    template: str
    variant: str
    columns: tuple[str, ...]
    trees: Trees
    judged: str = ""

    @property
    def key(self) -> tuple[str, int, str, str]:
        """Give what a call must have in common with it."""
        return self.kind, self.threads, self.template, self.variant

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Correction:
        """Read what `to_json` gave."""
        key = (data["kind"], data["threads"], data["template"], json.dumps(data["variant"], sort_keys=True))
        return cls(*key, tuple(data["columns"]), Trees.from_json(data["trees"]), data["judged"])

    def to_json(self) -> dict[str, Any]:
        """Give plain data."""
        about = {"kind": self.kind, "threads": self.threads, "template": self.template}
        about |= {"variant": json.loads(self.variant), "judged": self.judged, "columns": list(self.columns)}
        return about | {"trees": self.trees.to_json()}


class Columns:
    """Features of configurations of one space by name: sizes of the workload, estimate, and knobs that matter.

    base  row of candidate numbers of the rules' default
    """

    def __init__(self, call: Call, space: ConfigSpace, base: np.ndarray) -> None:
        self.space, self.sizes = space, call.sizes
        self.base = base
        self.estimate_of_base = float(self._estimate(base[None])[0])
        parts = space.fragments.values()
        self.names = (*self.sizes, "promise", *(name for part in parts for name in part.feature_names))
        self._widths = [part.features.shape[1] for part in parts]

    def _estimate(self, matrix: np.ndarray) -> np.ndarray:
        estimate = self.space.estimate(matrix)
        return np.ones(len(matrix)) if estimate is None else np.maximum(estimate, 1e-6)

    def promise(self, matrix: np.ndarray) -> np.ndarray:
        """Give the log of each row's estimate, less that of the rules' default."""
        return np.log(self._estimate(matrix) / self.estimate_of_base)

    def __call__(self, matrix: np.ndarray, promise: np.ndarray) -> np.ndarray:
        """Give the features of rows of candidate numbers: (configurations, columns) float32."""
        fragments = self.space.fragments.values()
        own = [part.features[matrix[:, place]] for place, part in enumerate(fragments)]
        known = np.repeat(self.space.mattering(matrix), self._widths, axis=1)
        sizes = np.tile(np.array(list(self.sizes.values())), (len(matrix), 1))
        return np.hstack([sizes, promise[:, None], np.where(known, np.hstack(own), UNKNOWN)]).astype(np.float32)

    def picked(self, wanted: Sequence[str], table: np.ndarray) -> np.ndarray:
        """Give the columns `wanted` of what the call gave, `UNKNOWN` where there is no such one."""
        places = {name: place for place, name in enumerate(self.names)}
        wide = np.column_stack([table, np.full(len(table), UNKNOWN, np.float32)])
        return wide[:, [places.get(name, -1) for name in wanted]]


def write_corrections(parts: Sequence[Correction], path: Path = FILE) -> None:
    """Write parts of the model, one a line."""
    lines = [json.dumps(part.to_json(), separators=(",", ":")) for part in parts]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


@cache
def shipped_corrections() -> dict[tuple[str, int, str, str], Correction]:
    """Give the shipped model, in parts by key."""
    return {part.key: part for part in map(Correction.from_json, json.loads(FILE.read_text(encoding="utf-8")))}


def correction_for(call: Call) -> Correction | None:
    """Give the part of the shipped model for a call; None where it was never fitted on such calls."""
    part = shipped_corrections().get((call.kind, call.threads, call.template, call.variant))
    if part is None or not {name for name in call.sizes if name.split(".")[0] in call.given} <= set(part.columns):
        return None
    return part


def modelled(call: Call, space: ConfigSpace) -> int | None:
    """Give the configuration that the model prefers to the rules' default; None where there is none."""
    part, default = correction_for(call), space.default
    return None if part is None or default is None else best_by(part, call, space, default)


def best_by(part: Correction, call: Call, space: ConfigSpace, default: int) -> int | None:
    """Give the configuration that one part of the model prefers to the rules' default; None where there is none."""
    base = space.matrix([default])[0]
    columns = Columns(call, space, base)

    def scored(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        promise = columns.promise(rows)
        near = promise >= np.log(TRUST)
        rows, promise = rows[near], promise[near]
        return rows, promise + part.trees(columns.picked(part.columns, columns(rows, promise)))

    rows, scores = scored(base[None])
    at_default, seen = scores[0], {default}
    starts = _starts(space, base)
    for _ in range(ROUNDS):
        more, their_scores = scored(neighbours(space, starts, seen))
        rows, scores = np.vstack([rows, more]), np.concatenate([scores, their_scores])
        starts = rows[np.argsort(-scores, kind="stable")[:BEAM]]
    first = int(np.argmax(scores))
    return int(space.indices(rows[first : first + 1])[0]) if scores[first] - at_default >= GAIN else None


def _starts(space: ConfigSpace, base: np.ndarray) -> np.ndarray:
    """Give the default, and that of each other algorithm."""
    starts = [base]
    for domain in space.domains:
        row = base.copy()
        row[domain.knob] = domain.number
        starts += [row] if domain.number != base[domain.knob] else []
    return np.array(starts)


def neighbours(space: ConfigSpace, starts: np.ndarray, seen: set[int]) -> np.ndarray:
    """Give the valid configurations that differ in one knob from one of `starts`, as rows of candidate numbers.

    seen  numbers of those that are left out; all that are met are added
    """
    changed = [starts]
    for place, fragment in enumerate(space.fragments.values()):
        rows = np.repeat(starts, len(fragment), axis=0)
        rows[:, place] = np.tile(np.arange(len(fragment)), len(starts))
        changed.append(rows)
    rows = space.settled(np.vstack(changed))
    new: dict[int, int] = {}
    for place, index in enumerate(space.indices(rows).tolist()):
        if index not in seen:
            new.setdefault(index, place)
    seen.update(new)
    rows = rows[list(new.values())]
    return rows[space.allowed(rows)]
