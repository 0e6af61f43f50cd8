"""Fitting the shipped model, and judging it by workloads that it was not fitted on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import xgboost

from tilewright.autotune.shipped.check import is_current
from tilewright.autotune.shipped.model import GAIN, TRUST, Correction, shipped_corrections, write_corrections
from tilewright.autotune.shipped.records import Record, knobs_of, read_records, write_records
from tilewright.autotune.shipped.trees import Trees

from .trials import Trials

DEPTH, ROUNDS, RATE = 5, 60, 0.12
LEAST_SPEED = 0.3  # slower configurations are all alike
FOLDS = 6
PARAMETERS = {
    "objective": "reg:squarederror", "base_score": 0.0, "max_depth": DEPTH, "eta": RATE, "min_child_weight": 2.0,
    "subsample": 0.8, "colsample_bytree": 0.7, "lambda": 2.0, "seed": 0, "nthread": 1, "verbosity": 0,
}  # fmt: skip
WORKLOAD = 50.0  # weight of each, however many trials it has
LEAST_WORKLOADS = 8  # for a part of the model
WORTH, LEAST = 1.005, 0.75  # speed relative to the rules' default that a part must reach on average, and everywhere


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a part of the model is worth on workloads it was not fitted on, among configurations that were measured.

    chosen, best  geometric means of the speed relative to the rules' default: of what the model takes, of the fastest
    least         the least of the first over the workloads
    """

    workloads: int
    chosen: float
    best: float
    least: float

    @property
    def holds(self) -> bool:
        """Tell whether the part is better than the rules alone, and nowhere much worse."""
        return self.chosen >= WORTH and self.least >= LEAST

    def __str__(self) -> str:
        text = f"{self.workloads} workloads: {self.chosen:.3f} times the speed of the rules"
        return f"{text}, at least {self.least:.3f}; the fastest measured {self.best:.3f}"


def ship(trials: Sequence[Sequence[Trials]]) -> None:
    """Write the shipped records and the parts of the model that hold, from the trials of each number of threads.

    They replace those of the same calls; the others stay.  Where nothing was clearly faster than the rules' default,
    there is no new record.
    """
    records = [_record(of) for some in trials for of in some if of.best != of.base]
    model, judged = [], set()
    for members in (part for some in trials for part in parts(some)):
        call, verdict = members[0].call, cross_validate(members)
        sys.stderr.write(f"{call.template} {call.variant} {call.threads} threads: {verdict}; ")
        sys.stderr.write("shipped\n" if verdict.holds else "left to the rules\n")
        judged.add((call.kind, call.threads, call.template, call.variant))
        model += [replace(fit(members), judged=str(verdict))] if verdict.holds else []
    made = {record.key for record in records}
    write_records([*records, *(record for record in read_records() if record.key not in made)])
    write_corrections([*model, *(part for key, part in shipped_corrections().items() if key not in judged)])
    sys.stderr.write(f"{len(records)} records, {len(model)} parts of a model\n")


def _record(of: Trials) -> Record:
    call = of.call
    return Record(call.kind, call.threads, call.template, call.given, knobs_of(of.made.config_space, of.best))


def prune() -> None:
    """Drop the shipped records that the spaces of today no longer have."""
    records = read_records()
    kept = [record for record in records if is_current(record)]
    write_records(kept)
    sys.stderr.write(f"{len(kept)} of {len(records)} records are kept\n")


def parts(trials: Sequence[Trials]) -> Iterator[list[Trials]]:
    """Give the trials of each part of the model: calls of one template that differ in numbers only."""

    def key(of: Trials) -> tuple[str, str]:
        return of.call.template, of.call.variant

    for _, members in groupby(sorted(trials, key=key), key):
        found = list(members)
        if len(found) >= LEAST_WORKLOADS:
            yield found


def fit(trials: Sequence[Trials]) -> Correction:
    """Give the part of the model that trials of its workloads teach."""
    columns = tuple(dict.fromkeys(name for of in trials for name in of.columns().names))
    tables = [_table(of, columns) for of in trials]
    rows, targets, weights = (np.concatenate([table[i] for table in tables]) for i in range(3))
    data = xgboost.DMatrix(rows, label=targets, weight=weights, nthread=1)
    booster = xgboost.train(PARAMETERS, data, num_boost_round=ROUNDS)
    dumped = [json.loads(tree) for tree in booster.get_dump(dump_format="json")]
    trees = Trees.from_json(trees_of(dumped, DEPTH).to_json())  # rounded as it will be shipped
    call = trials[0].call
    return Correction(call.kind, call.threads, call.template, call.variant, columns, trees)


def cross_validate(trials: Sequence[Trials]) -> Verdict:
    """Judge by fitting on all folds of workloads but one, for each."""
    chosen, best = [], []
    folds = min(FOLDS, len(trials))
    for fold in range(folds):
        part = fit([of for place, of in enumerate(trials) if place % folds != fold])
        for of in trials[fold::folds]:
            chosen.append(_speed_of_choice(part, of))
            best.append(max(1.0, of.speeds[of.is_valid].max()))
    means = (float(np.exp(np.mean(np.log(values)))) for values in (chosen, best))
    return Verdict(len(chosen), *means, least=float(min(chosen)))


def _table(of: Trials, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give features, targets and weights of the trials of a workload; workloads count alike."""
    made, matrix = of.columns(), of.made.config_space.matrix(of.indices)
    promise = made.promise(matrix)
    weights = np.maximum((of.speeds / of.speeds.max()) ** 2, LEAST_SPEED)
    low = np.log(LEAST_SPEED)
    targets = np.maximum(np.log(of.speeds), low) - np.clip(promise, low, -low)
    return made.picked(columns, made(matrix, promise)), targets, weights / weights.sum() * WORKLOAD


def _speed_of_choice(part: Correction, of: Trials) -> float:
    """Give the speed of what the model takes of the measured configurations, relative to the rules' default."""
    made, matrix = of.columns(), of.made.config_space.matrix(of.indices)
    promise = made.promise(matrix)
    scores = promise + part.trees(made.picked(part.columns, made(matrix, promise)))
    base = of.made.config_space.matrix([of.base])
    at_base = part.trees(made.picked(part.columns, made(base, made.promise(base))))[0]
    scores = np.where(promise >= np.log(TRUST), scores, -np.inf)
    first = int(np.argmax(scores))
    return float(of.speeds[first]) if scores[first] - at_base >= GAIN else 1.0


def trees_of(dumped: Sequence[Mapping[str, Any]], depth: int) -> Trees:
    """Give trees as `Booster.get_dump` writes them, those that end early continued to the full depth."""
    nodes = 2**depth - 1
    features, thresholds = np.zeros((len(dumped), nodes), np.int64), np.zeros((len(dumped), nodes), np.float32)
    leaves = np.zeros((len(dumped), nodes + 1))

    def place(tree: int, node: Mapping[str, Any], at: int) -> None:
        if at >= nodes:
            leaves[tree, at - nodes] = node["leaf"]
            return
        children = [node, node]
        if "leaf" not in node:
            features[tree, at], thresholds[tree, at] = int(node["split"][1:]), node["split_condition"]
            by_id = {child["nodeid"]: child for child in node["children"]}
            children = [by_id[node["yes"]], by_id[node["no"]]]
        for side, child in enumerate(children, start=1):
            place(tree, child, 2 * at + side)

    for tree, root in enumerate(dumped):
        place(tree, root, 0)
    return Trees(features, thresholds, leaves)
