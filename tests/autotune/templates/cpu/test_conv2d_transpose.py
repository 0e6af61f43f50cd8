"""Transposed convolutions by their phases, and those that do not fit, against direct evaluation."""

from __future__ import annotations

import pytest

from tilewright.autotune import task
from tilewright.autotune.entities import OtherOptionEntity
from tilewright.autotune.space import Config
from tilewright.autotune.templates.cpu.algorithm import ALGORITHM

from .convolutions import Args, assert_right, configs_of


def case(
    channels: int, size: tuple[int, int], filters: int, kernel: tuple[int, int], *window: int, batch: int = 1,
    groups: int = 1, layout: str = "NCHW", dtype: str = "float32", constant: bool = True,
) -> Args:  # fmt: skip
    """Give the template's arguments; `window` is stride, padding and output padding."""
    data = (batch, channels, *size)
    stride, padding, more = (*window, 0)[:3]
    return data, (filters, *kernel), stride, padding, more, groups, layout, dtype, constant


CASES = {
    "stride divides the window": case(16, (8, 8), 32, (4, 4), 2, 1),
    "a window of the stride": case(8, (7, 9), 40, (2, 2), 2, 0),
    "four kinds of phases": case(8, (7, 6), 32, (3, 3), 2, 1, 1),
    "odd everything": case(5, (6, 7), 21, (5, 4), 3, 2, 2),
    "a window less than the stride": case(6, (4, 5), 16, (2, 1), 3, 0, 1),
    "wide stride": case(4, (5, 3), 19, (16, 16), 8, 4),
    "stride 1": case(8, (9, 8), 16, (3, 3), 1, 1),
    "padding wider than the window": case(8, (9, 8), 16, (2, 3), 1, 3),
    "batch and variable weights": case(8, (5, 6), 48, (4, 4), 2, 1, batch=2, constant=False),
    "rows in one set of a cache": case(256, (3, 2), 16, (4, 4), 2, 1),
    "groups": case(12, (6, 5), 64, (3, 3), 2, 1, 1, groups=4),
    "NHWC of few channels": case(5, (6, 5), 3, (4, 4), 2, 1, layout="NHWC", batch=2),
    "NHWC": case(8, (6, 5), 37, (4, 4), 2, 1, layout="NHWC"),
    "NHWC with groups": case(8, (5, 5), 32, (3, 3), 2, 0, groups=2, layout="NHWC"),
}
OTHERS = {
    "groups that are no whole vectors": case(6, (5, 6), 6, (3, 3), 2, 1, 1, groups=6),
    "half floats": case(4, (5, 5), 16, (4, 4), 2, 1, dtype="float16", constant=False),
}
PIXELS = {
    "whole rows of tiles": case(5, (6, 16), 3, (4, 4), 2, 1),
    "odd sizes and a batch": case(4, (5, 19), 7, (2, 6), 2, 1, 1, batch=2),
    "one channel by a stride of three": case(3, (4, 9), 1, (3, 3), 3, 0),
    "stride 1": case(6, (7, 19), 5, (3, 3), 1, 1),
    "variable weights": case(3, (7, 10), 21, (4, 4), 2, 1, constant=False),
}


FEW = [name for name, args in CASES.items() if args[1][0] < 32 and args[5] == 1]  # channels, without groups


def following(tuned: task.Task, algorithm: str, config: Config) -> Config:
    """Give a configuration by another algorithm."""
    chosen = {name: config[name] for name in tuned.config_space.fragments}
    return Config(None, chosen | ({ALGORITHM: OtherOptionEntity(algorithm)} if ALGORITHM in chosen else {}))


@pytest.mark.parametrize("args", CASES.values(), ids=CASES)
def test_phases_give_the_right_result(args: Args) -> None:
    tuned = task.create("conv2d_transpose", args, threads=2)
    for number, config in enumerate(configs_of(tuned, len(str(args)) % 2)):
        assert_right(tuned, following(tuned, "phases", config), threads=1 + number % 2)


@pytest.mark.parametrize("name", FEW)
def test_phases_merged_give_the_right_result(name: str) -> None:
    tuned = task.create("conv2d_transpose", CASES[name], threads=2)
    for number, config in enumerate(configs_of(tuned, len(name) % 2)):
        assert_right(tuned, following(tuned, "merged", config), threads=1 + number % 2)


@pytest.mark.parametrize("args", PIXELS.values(), ids=PIXELS)
def test_lanes_along_columns_give_the_right_result(args: Args) -> None:
    tuned = task.create("conv2d_transpose", args, threads=2)
    for number, config in enumerate(configs_of(tuned, 1)):
        assert_right(tuned, following(tuned, "pixels", config), threads=1 + number % 2)


@pytest.mark.parametrize("args", OTHERS.values(), ids=OTHERS)
def test_others_are_computed_as_they_are_declared(args: Args) -> None:
    tuned = task.create("conv2d_transpose", args, threads=2)
    assert "phases_vectors" not in tuned.config_space.fragments
    assert_right(tuned, tuned.config_space.default_config(), threads=2)


def test_operations_are_those_of_pixels_and_taps() -> None:
    """A window of 3 by stride 2 has phases of four and of one tap: 9 products of each pixel, not 16."""
    tuned = task.create("conv2d_transpose", case(64, (56, 56), 32, (3, 3), 2, 1, 1))
    assert tuned.flop == 2 * 64 * 56 * 56 * 32 * 9
