"""The shipped records: the best known configuration of common workloads, knobs by name and value.

A record says only what its algorithm's knobs are.  It holds wherever the space has these knobs and values, whatever
else has changed; where it has not, there is no record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..space import ConfigSpace
from .call import Call

FILE = Path(__file__).parent / "records.json"


class Record(NamedTuple):
    """The best known configuration of a call.

    kind, threads, template  see `Call`
    call   arguments that are not defaults, by name
    knobs  values by name, of those that matter
    """

    kind: str
    threads: int
    template: str
    call: Mapping[str, Any]
    knobs: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, int, str, str]:
        """Give what a call must have in common with it."""
        return self.kind, self.threads, self.template, json.dumps(self.call, sort_keys=True)


def read_records(path: Path = FILE) -> list[Record]:
    """Read a file of records."""
    return [Record(*row) for row in json.loads(path.read_text(encoding="utf-8"))]


def write_records(records: Iterable[Record], path: Path = FILE) -> None:
    """Write records, one a line, in order."""
    lines = sorted(json.dumps(list(record), separators=(",", ":")) for record in records)
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


@cache
def shipped_records() -> dict[tuple[str, int, str, str], Mapping[str, Any]]:
    """Give the knobs of the shipped records by key."""
    return {record.key: record.knobs for record in read_records()}


def recorded(call: Call, space: ConfigSpace) -> int | None:
    """Give the number of the configuration that is on record for a call; None where there is none that holds."""
    knobs = shipped_records().get((call.kind, call.threads, call.template, call.key))
    return None if knobs is None else number_of(space, knobs)


def number_of(space: ConfigSpace, knobs: Mapping[str, Any]) -> int | None:
    """Give the number of the configuration with these knobs, others at their defaults.

    None where it is not valid, or where one of the knobs does not matter: another algorithm is the default today.
    """
    numbers = {name: fragment.default for name, fragment in space.fragments.items()}
    for name, value in knobs.items():
        values = plain_values(space, name) if name in space.fragments else []
        if value not in values:
            return None
        numbers[name] = values.index(value)
    row = np.array([list(numbers.values())])
    matters = dict(zip(numbers, space.mattering(row)[0], strict=True))
    return int(space.indices(row)[0]) if space.allowed(row)[0] and all(matters[name] for name in knobs) else None


def knobs_of(space: ConfigSpace, index: int) -> dict[str, Any]:
    """Give the values of the knobs that matter in a configuration, by name."""
    row = space.matrix([index])[0]
    matters = space.mattering(row[None])[0]
    return {
        name: plain_values(space, name)[number]
        for name, number, kept in zip(space.fragments, row, matters, strict=True)
        if kept
    }


def plain_values(space: ConfigSpace, name: str) -> list[Any]:
    """Give the values of a knob as JSON has them."""
    return [json.loads(json.dumps(entity.to_json()[1])) for entity in space.fragments[name].entities]
