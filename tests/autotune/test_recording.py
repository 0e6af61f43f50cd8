"""Spaces are recorded once and searched again without measuring."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tilewright.autotune import task as tasks
from tilewright.autotune.recording import record_space
from tilewright.autotune.replay import RecordedSpace, replay
from tilewright.autotune.strategies.xgb import XgbStrategy

from . import matmul_template


def test_recorded_space_replays_what_was_measured(tmp_path: Path) -> None:
    assert matmul_template.matmul is not None
    task = tasks.create("test.matmul", (32, 32, 32))
    record_space(task, 24).save(tmp_path / "space.npz")
    loaded = RecordedSpace.load(tmp_path / "space.npz")
    assert np.isfinite(loaded.seconds).sum() >= 24
    assert loaded.space.fingerprint == task.config_space.fingerprint
    assert loaded.about["name"] == "test.matmul" and loaded.about["flop"] == 2 * 32**3
    curve = replay(loaded, XgbStrategy(loaded.space, 0), len(loaded.indices))
    assert curve[-1] == loaded.best_s
