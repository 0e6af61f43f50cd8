"""Convolutions of single pixels with lanes along pixels: every shape against its direct evaluation."""

from __future__ import annotations

import pytest

from tilewright.autotune import task
from tilewright.autotune.templates.cpu import conv2d_pointwise

from .convolutions import Args, assert_right, case, configs_of, only

CASES = {
    "whole vectors": case(16, (8, 16), 32, (1, 1), 1, 0),
    "rows that are no vectors": case(12, (14, 14), 24, (1, 1), 1, 0),
    "odd everything": case(7, (9, 11), 13, (1, 1), 1, 0),
    "one channel": case(1, (6, 7), 5, (1, 1), 1, 0),
    "one filter": case(9, (6, 7), 1, (1, 1), 1, 0),
    "seven by seven": case(32, (7, 7), 64, (1, 1), 1, 0),
    "stride": case(16, (14, 14), 32, (1, 1), 2, 0),
    "stride of three, odd size": case(5, (17, 20), 11, (1, 1), 3, 0),
    "batch": case(8, (9, 9), 20, (1, 1), 1, 0, batch=2),
    "batch and stride": case(8, (11, 9), 20, (1, 1), 2, 0, batch=3),
    "variable weights": case(8, (9, 9), 40, (1, 1), 1, 0, constant=False),
}
OTHERS = {
    "window": case(8, (8, 8), 16, (3, 3), 1, 1),
    "padding": case(8, (8, 8), 16, (1, 1), 1, 1),
    "groups": case(8, (8, 8), 16, (1, 1), 1, 0, groups=2),
    "NHWC": case(8, (8, 8), 16, (1, 1), 1, 0, layout="NHWC"),
    "fewer pixels than lanes": case(8, (1, 1), 16, (1, 1), 1, 0),
}


@pytest.mark.parametrize("args", CASES.values(), ids=CASES)
def test_configurations_give_the_right_result(monkeypatch: pytest.MonkeyPatch, args: Args) -> None:
    only(monkeypatch, conv2d_pointwise.plan)
    tuned = task.create("conv2d", args, threads=2)
    for number, config in enumerate(configs_of(tuned, 3)):
        assert_right(tuned, config, threads=1 + number % 2)


@pytest.mark.parametrize("args", OTHERS.values(), ids=OTHERS)
def test_what_does_not_fit_is_left_to_others(args: Args) -> None:
    assert "pointwise_channels" not in task.create("conv2d", args).config_space.fragments


def test_threads_share_channels_where_tiles_of_pixels_are_not_even() -> None:
    """14 x 14 pixels are 13 vectors, 7 tiles of two; 112 channels are 8 blocks of 14."""
    alone, together = (conv2d_pointwise.TileCost(196, 112, 672, 16, threads, 0) for threads in (1, 2))
    assert alone.share(14, 2, True) > alone.share(14, 2, False)
    assert together.share(14, 2, False) > 1.1 * together.share(14, 2, True)
    assert together.share(14, 2, False) == pytest.approx(alone.share(14, 2, False))
