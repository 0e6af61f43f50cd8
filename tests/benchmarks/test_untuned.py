"""How the shipped defaults are made: the split, and trees as xgboost means them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import xgboost

from tilewright.autotune import Task, task
from tilewright.autotune.shipped.model import shipped_corrections
from tilewright.autotune.shipped.records import Record, knobs_of

from .package import part

split, fitting, confirming = (part(name, "untuned") for name in ("split", "fitting", "confirming"))


def test_no_held_out_operation_is_trained_on() -> None:
    training, held_out = split.training(), split.held_out()
    assert not {w.operation for w in training} & {w.operation for w in held_out}
    families = {w.family for w in held_out}
    assert families == set(split.HELD_OUT)
    for some in (split.TRAINING, split.HELD_OUT):
        for family, names in some.items():
            known = {w.name for w in (*training, *held_out) if w.family == family}
            assert not names or known <= {*split.TRAINING.get(family, ()), *split.HELD_OUT.get(family, ())}


def test_complete_trees_give_what_xgboost_predicts() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 6)).astype(np.float32)
    targets = rows[:, 0] * rows[:, 1] + np.where(rows[:, 2] > 0, 1.0, 0.0)
    booster = xgboost.train(fitting.PARAMETERS, xgboost.DMatrix(rows, label=targets), num_boost_round=20)
    dumped = [json.loads(tree) for tree in booster.get_dump(dump_format="json")]
    made = fitting.trees_of(dumped, fitting.DEPTH)
    np.testing.assert_allclose(made(rows), booster.predict(xgboost.DMatrix(rows)), rtol=0, atol=20 * 4 * 2.0**-23)


def test_what_is_shipped_of_other_calls_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[str, list] = {}
    monkeypatch.setattr(fitting, "write_records", lambda records: written.update(records=list(records)))
    monkeypatch.setattr(fitting, "write_corrections", lambda parts: written.update(parts=list(parts)))
    kept = [Record("x86_64/znver5/512", 1, "matmul.1", {"m": 64}, {"unroll_k": 4})]
    monkeypatch.setattr(fitting, "read_records", lambda: kept)
    fitting.ship([[]])
    assert written["records"] == kept
    assert written["parts"] == list(shipped_corrections().values())


@pytest.mark.parametrize(("times", "is_kept"), [((0.5, 0.5), True), ((0.5, 0.99), False), ((1.1, 0.5), False)])
def test_a_record_is_kept_that_is_faster_each_time(
    times: tuple[float, ...], is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = task.create("softmax", (64, 128))
    space, call, ratios = made.config_space, made.call, iter(times)
    indices = (int(i) for chunk in space.valid_indices() for i in chunk)
    other = next(i for i in indices if knobs_of(space, i) != knobs_of(space, space.default))
    record = Record(call.kind, 1, call.template, call.given, knobs_of(space, other))
    written: list[Record] = []
    monkeypatch.setattr(confirming, "read_records", lambda: [record])
    monkeypatch.setattr(confirming, "write_records", written.extend)

    def in_turn(_made: Task, indices: Sequence[int], _s: float) -> tuple[dict[int, tuple[float]], list[str]]:
        return {i: (1.0 if i == space.default else next(ratios),) for i in indices}, []

    monkeypatch.setattr(confirming, "in_turn", in_turn)
    confirming.confirm(repeats=2)
    assert written == ([record] if is_kept else [])
