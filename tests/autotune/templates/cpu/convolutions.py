"""Convolutions by one algorithm alone, in some of its configurations, against their direct evaluation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tilewright.autotune import task
from tilewright.autotune.built import KERNEL
from tilewright.autotune.reference import make_reference
from tilewright.autotune.space import Config
from tilewright.autotune.templates.cpu import conv2d
from tilewright.runtime.build import build
from tilewright.runtime.prepared import bind_prepared
from tilewright.schedule.lower import lower_prepared, parameter_names

Args = tuple[object, ...]  # of the template


def case(
    channels: int, size: tuple[int, int], filters: int, kernel: tuple[int, int], *window: int, batch: int = 1,
    groups: int = 1, layout: str = "NCHW", constant: bool = True,
) -> Args:  # fmt: skip
    """Give the template's arguments; `window` is stride, padding and dilation."""
    stride, padding, dilation = (*window, 1)[:3]
    data = (batch, channels, *size)
    return data, (filters, *kernel), stride, padding, dilation, groups, layout, "float32", constant


def only(monkeypatch: pytest.MonkeyPatch, algorithm: Callable) -> None:
    """Leave the template one algorithm to choose from."""
    monkeypatch.setattr(conv2d, "ALGORITHMS", (algorithm,))


def configs_of(tuned: task.Task, count: int, seed: int = 0) -> list[Config]:
    """Give the default configuration and `count` random ones."""
    space = tuned.config_space
    drawn = space.indices(space.sample(count, np.random.default_rng(seed)))
    return [space.default_config(), *(space.get(int(index)) for index in drawn)]


def assert_right(tuned: task.Task, config: Config, threads: int) -> None:
    """Build a configuration, call it and compare."""
    schedule, tensors = tuned.instantiate(config)
    module = build(list(lower_prepared(schedule, tensors, KERNEL)), target=tuned.target, effort="quick")
    reference = make_reference(tuned.tensors)
    reference.poison()
    arrays = dict(zip(parameter_names(schedule, tensors), reference.arrays, strict=True))
    bind_prepared(module, KERNEL, arrays, threads)()
    error, right = reference.verdict()
    assert right, f"relative error {error:.2g} of {tuned} with {config}"


def run(tuned: task.Task, config: Config, arrays: list[np.ndarray]) -> None:
    """Build a configuration and call it."""
    schedule, tensors = tuned.instantiate(config)
    module = build(list(lower_prepared(schedule, tensors, KERNEL)), target=tuned.target, effort="quick")
    named = dict(zip(parameter_names(schedule, tensors), arrays, strict=True))
    bind_prepared(module, KERNEL, named, tuned.threads)()
