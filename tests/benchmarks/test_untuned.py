"""How the shipped defaults are made: the split, and trees as xgboost means them."""

from __future__ import annotations

import json

import numpy as np
import xgboost

from .package import part

split, fitting = part("split", "untuned"), part("fitting", "untuned")


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
