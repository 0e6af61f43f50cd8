"""Kernels that nobody tuned: shipped records come first, then the shipped model, then the template's rules."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilewright.autotune import Config, ConfigSpace, Task, task, templates, untuned
from tilewright.autotune.shipped import check, model, records
from tilewright.autotune.shipped.call import processor_kind, target_of
from tilewright.autotune.shipped.model import Columns, Correction, best_by
from tilewright.autotune.shipped.records import Record, number_of, read_records, write_records
from tilewright.autotune.shipped.trees import Trees
from tilewright.autotune.template import find_template
from tilewright.autotune.untuned import Origin
from tilewright.ir.settings import Settings
from tilewright.ir.target import Target

KIND = "x86_64/znver5/512"
SHAPE = (96, 64, 80)


def matmul(*args: Any, kind: str = KIND, threads: int = 1) -> Task:
    return task.create("matmul", args or SHAPE, target_of(kind), threads=threads)


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let untuned kernels take what is shipped, of which there is nothing yet."""
    monkeypatch.setattr(untuned, "settings", lambda: Settings(defaults="shipped"))
    ship(monkeypatch, {}, {})
    return monkeypatch


def ship(patch: pytest.MonkeyPatch, known: dict[Any, Any], parts: dict[Any, Any]) -> None:
    for module in (untuned, records):
        patch.setattr(module, "shipped_records", lambda: known)
    for module in (untuned, model):
        patch.setattr(module, "shipped_corrections", lambda: parts)


def liking(made: Task, column: str, gain: float) -> Correction:
    """Give a model to which configurations are faster by the log `gain` where a column is 3 or more."""
    call = made.call
    columns = Columns(call, made.config_space, made.config_space.matrix([made.config_space.default or 0])[0]).names
    trees = Trees(np.array([[columns.index(column)]]), np.array([[3.0]], np.float32), np.array([[0.0, gain]]))
    return Correction(call.kind, call.threads, call.template, call.variant, columns, trees)


# -- what is shipped --------------------------------------------------------------------------------------------------


def test_every_shipped_record_is_valid_in_the_space_of_today() -> None:
    outdated = [record.key for record in read_records() if not check.is_current(record)]
    assert outdated == [], "drop them: cd benchmarks && python -m untuned prune"


def test_shipped_data_are_of_known_templates_and_small() -> None:
    for part in model.shipped_corrections().values():
        assert find_template(part.template.split(".")[0])
    folder = Path(records.__file__).parent
    assert sum(path.stat().st_size for path in folder.glob("*.json")) < 1 << 20


@pytest.mark.parametrize(
    "record",
    [
        Record(KIND, 1, "matmul.1", {"m": 8, "n": 64, "k": 64}, {"no_such_knob": 1}),
        Record(KIND, 1, "matmul.1", {"m": 8, "n": 64, "k": 64}, {"unroll_k": 7}),
        Record(KIND, 1, "matmul.1", {"m": 8, "n": 64, "k": 64, "no_such_parameter": 1}, {}),
        Record(KIND, 1, "matmul.0", {"m": 8, "n": 64, "k": 64}, {}),
        Record(KIND, 1, "no_such_template.1", {}, {}),
    ],
)
def test_records_of_what_is_no_more_are_noticed(record: Record) -> None:
    assert not check.is_current(record)


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    kept = [Record(KIND, 2, "matmul.1", {"m": 8}, {"tile_m": [-1, 4], "outer": "rows"})]
    write_records(kept, tmp_path / "records.json")
    assert read_records(tmp_path / "records.json") == kept


# -- the order --------------------------------------------------------------------------------------------------------


def test_a_record_comes_before_the_model_and_that_before_the_rules(shipped: pytest.MonkeyPatch) -> None:
    made, call = matmul(), matmul().call
    assert made.untuned.origin is Origin.RULES
    assert made.untuned.config == made.config_space.default_config()
    part = liking(made, "unroll_k.log", 0.5)
    ship(shipped, {}, {part.key: part})
    chosen = matmul().untuned
    assert chosen.origin is Origin.MODEL and chosen.config["unroll_k"].val >= 7
    key = (call.kind, 1, call.template, call.key)
    ship(shipped, {key: {"unroll_k": 2}}, {part.key: part})
    assert matmul().untuned.origin is Origin.RECORD
    assert matmul().untuned.config["unroll_k"].val == 2


def test_a_record_speaks_of_the_same_sums_with_an_epilogue(shipped: pytest.MonkeyPatch) -> None:
    call = matmul().call
    ship(shipped, {(call.kind, 1, call.template, call.key): {"unroll_k": 2}}, {})
    fused = matmul(*SHAPE, False, False, "float32", False, "bias,relu")
    assert fused.untuned.origin is Origin.RECORD
    assert fused.untuned.config["unroll_k"].val == 2


def test_a_record_that_the_space_has_no_more_is_passed_over(shipped: pytest.MonkeyPatch) -> None:
    call = matmul().call
    ship(shipped, {(call.kind, 1, call.template, call.key): {"unroll_k": 7}}, {})
    assert matmul().untuned.origin is Origin.RULES


@pytest.mark.parametrize("other", [{"kind": "x86_64/haswell/256"}, {"threads": 7}])
def test_rules_alone_speak_of_other_processors_and_threads(shipped: pytest.MonkeyPatch, other: dict[str, Any]) -> None:
    call, part = matmul().call, liking(matmul(), "unroll_k.log", 0.5)
    ship(shipped, {(call.kind, 1, call.template, call.key): {"unroll_k": 2}}, {part.key: part})
    assert matmul(**other).untuned.origin is Origin.RULES


def test_the_setting_leaves_everything_to_the_rules(shipped: pytest.MonkeyPatch) -> None:
    call = matmul().call
    ship(shipped, {(call.kind, 1, call.template, call.key): {"unroll_k": 2}}, {})
    shipped.setattr(untuned, "settings", lambda: Settings(defaults="rules"))
    assert matmul().untuned.origin is Origin.RULES


def test_a_template_that_is_called_takes_what_is_shipped(shipped: pytest.MonkeyPatch) -> None:
    made = task.create("matmul", SHAPE)
    call = made.call
    ship(shipped, {(call.kind, 1, call.template, call.key): {"unroll_k": 2}}, {})
    schedule, _ = templates.matmul(*SHAPE)
    expected, _ = made.instantiate(made.untuned.config)
    rules, _ = made.instantiate(ConfigSpace())
    assert schedule.to_json() == expected.to_json() != rules.to_json()


def test_choosing_loads_no_training_library() -> None:
    probe = "from tilewright.autotune import task; print(task.create('softmax', (4, 64)).untuned.origin); import sys; "
    probe += "print(*sys.modules)"
    environment = os.environ | {"TILEWRIGHT_DEFAULTS": "shipped"}
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, env=environment)
    assert {"xgboost", "scipy", "sklearn"}.isdisjoint(done.stdout.split())


# -- how workloads are named ------------------------------------------------------------------------------------------


def test_defaults_that_are_spelled_out_change_nothing() -> None:
    short, long = matmul(96, 64, 80).call, matmul(96, 64, 80, False, False, "float32").call
    assert (short.key, short.variant, short.sizes) == (long.key, long.variant, long.sizes)
    other = matmul(96, 64, 80, False, True).call
    assert other.variant == '{"transpose_b": true}' != short.variant
    assert short.sizes["k.0"] == pytest.approx(np.log2(81))


def test_kinds_of_processors_are_those_of_targets() -> None:
    assert processor_kind(target_of(KIND)) == KIND
    assert processor_kind(Target("cuda")) == ""


# -- records by name --------------------------------------------------------------------------------------------------


def test_knobs_that_a_record_leaves_out_are_at_their_defaults() -> None:
    space = matmul().config_space
    index = number_of(space, {"unroll_k": 2})
    assert index is not None
    chosen: Config = space.get(index)
    assert {n for n in space.fragments if chosen[n] != space[n]} == {"unroll_k"}
    assert records.knobs_of(space, index)["unroll_k"] == 2


def test_only_knobs_that_matter_are_recorded() -> None:
    image = ((1, 64, 14, 14), (64, 3, 3), 1, 1, 1, 1, "NCHW", "float32", True)
    space = task.create("conv2d", image, target_of(KIND)).config_space
    index = number_of(space, {"algorithm": "winograd"})
    assert index is not None
    knobs = records.knobs_of(space, index)
    assert knobs["algorithm"] == "winograd" and not [name for name in knobs if name.startswith("blocked_")]
    assert number_of(space, knobs) == index
    other = next(name for name in space.fragments if name.startswith("blocked_"))
    assert number_of(space, {**knobs, other: records.plain_values(space, other)[0]}) is None


# -- the model --------------------------------------------------------------------------------------------------------


def test_small_hopes_do_not_contradict_the_rules() -> None:
    made = matmul()
    default = made.config_space.default
    assert default is not None
    assert best_by(liking(made, "unroll_k.log", model.GAIN / 2), made.call, made.config_space, default) is None


def test_what_promises_far_less_is_not_asked_about() -> None:
    made = matmul()
    space, default = made.config_space, made.config_space.default
    assert default is not None
    found = best_by(liking(made, "unroll_k.log", 9.0), made.call, space, default)
    assert found is not None
    promised = space.estimate(space.matrix([default, found]))
    assert promised is not None and promised[1] >= model.TRUST * promised[0] * (1 - 1e-6)


def test_a_part_is_not_asked_about_arguments_it_has_never_seen(shipped: pytest.MonkeyPatch) -> None:
    part = liking(matmul(), "unroll_k.log", 0.5)
    without = replace(part, columns=tuple(name for name in part.columns if name != "k.0"))
    ship(shipped, {}, {without.key: without})
    assert model.correction_for(matmul().call) is None


def test_trees_give_the_sum_of_the_leaves_that_a_row_reaches() -> None:
    rng = np.random.default_rng(0)
    trees = Trees(rng.integers(5, size=(7, 7)), rng.normal(size=(7, 7)).astype(np.float32), rng.normal(size=(7, 8)))
    rows = rng.normal(size=(40, 5)).astype(np.float32)

    def leaf(tree: int, row: np.ndarray, node: int = 0) -> float:
        if node >= 7:
            return trees.leaves[tree, node - 7]
        return leaf(tree, row, 2 * node + 1 + bool(row[trees.features[tree, node]] >= trees.thresholds[tree, node]))

    expected = [sum(leaf(tree, row) for tree in range(7)) for row in rows]
    np.testing.assert_allclose(trees(rows), expected, rtol=0, atol=7 * 8 * 2.0**-52)  # 7 terms of a few units
    again = Trees.from_json(trees.to_json())
    assert np.abs(again.leaves - trees.leaves).max() <= 0.5e-4
