"""Convolutions with lanes along output channels: every shape against its direct evaluation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tilewright.autotune import task
from tilewright.autotune.entities import OtherOptionEntity
from tilewright.autotune.space import Config
from tilewright.autotune.templates import register_tile as tile
from tilewright.autotune.templates.cpu import conv2d_blocked

from .convolutions import Args, assert_right, case, configs_of, only

CASES = {
    "whole vectors": case(16, (14, 14), 32, (3, 3), 1, 1),
    "odd everything": case(5, (13, 11), 21, (3, 3), 1, 1),
    "few channels, large window, stride": case(3, (23, 25), 20, (7, 7), 2, 3),
    "stride": case(8, (15, 14), 48, (3, 3), 2, 1),
    "rows of seven": case(32, (7, 7), 64, (3, 3), 1, 1),
    "pointwise": case(24, (9, 10), 40, (1, 1), 1, 0),
    "pointwise with stride": case(16, (11, 12), 32, (1, 1), 2, 0),
    "batch": case(8, (9, 9), 32, (3, 3), 1, 1, batch=2),
    "dilation": case(8, (12, 12), 16, (3, 3), 1, 2, 2),
    "groups": case(16, (8, 8), 64, (3, 3), 1, 1, groups=2),
    "window that is no square": case(6, (10, 12), 32, (1, 5), 1, 0),
    "fewer channels than lanes": case(6, (10, 12), 7, (3, 3), 1, 1),
    "variable weights": case(8, (9, 9), 40, (3, 3), 1, 1, constant=False),
    "NHWC": case(12, (13, 9), 40, (3, 3), 1, 1, layout="NHWC"),
    "NHWC, pixels in one set of a cache": case(1024, (3, 5), 20, (1, 1), 1, 0, layout="NHWC"),
    "NHWC with stride and batch": case(8, (11, 11), 37, (3, 3), 2, 1, batch=2, layout="NHWC"),
}


@pytest.mark.parametrize("args", CASES.values(), ids=CASES)
def test_configurations_give_the_right_result(monkeypatch: pytest.MonkeyPatch, args: Args) -> None:
    only(monkeypatch, conv2d_blocked.plan)
    tuned = task.create("conv2d", args, threads=2)
    for number, config in enumerate(configs_of(tuned, 2)):
        assert_right(tuned, config, threads=1 + number % 2)


@pytest.mark.parametrize("rows_outermost", [True, False])
@pytest.mark.parametrize("size", [(5, 6), (41, 16)])  # one band of rows, and several
def test_channels_are_summed_up_in_parts(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], rows_outermost: bool
) -> None:
    only(monkeypatch, conv2d_blocked.plan)
    tuned = task.create("conv2d", case(128, size, 40, (3, 3), 1, 1), threads=2)
    space = tuned.config_space
    chosen = {"blocked_channels": 64, "blocked_rows_outermost": rows_outermost}
    entities = {name: OtherOptionEntity(chosen[name]) if name in chosen else space[name] for name in space.fragments}
    assert_right(tuned, Config(None, entities), threads=2)


def test_groups_that_are_no_whole_vectors_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the direct algorithm is left for them."""
    args = case(16, (8, 8), 20, (3, 3), 1, 1, groups=4)
    assert "blocked_vectors" not in task.create("conv2d", args).config_space.fragments


def test_planes_that_share_sets_of_a_cache_are_written_in_whole_lines() -> None:
    """In VGG's first layer 224 x 224 floats are 49 times 4096 bytes; 16 columns of them are a line."""
    apart = conv2d_blocked.TileCost((224, 224), 64, 27, 1, 16, 1)
    crowded = replace(apart, places=1)
    assert apart.share(2, 1, 14) > apart.share(1, 1, 16)
    assert crowded.share(1, 1, 16) > crowded.share(2, 1, 14)


def test_weights_are_asked_for_ahead_where_they_lie_beyond_l2() -> None:
    assert conv2d_blocked.terms_ahead(1 << 18, sums=28) == conv2d_blocked.NONE
    assert conv2d_blocked.terms_ahead(1 << 20, sums=28) == conv2d_blocked.NEAR
    assert conv2d_blocked.terms_ahead(1 << 20, sums=16) == conv2d_blocked.NONE  # no time left for it
    assert conv2d_blocked.terms_ahead(1 << 23, sums=16) == conv2d_blocked.FAR


def test_a_copy_of_the_image_is_shared_out_by_rows() -> None:
    tuned = task.create("conv2d", case(3, (20, 20), 32, (3, 3), 2, 1), threads=2)
    schedule, _ = tuned.instantiate(tuned.config_space.default_config())
    copy = next(stage for stage in schedule.stages if stage.op.name == "data_pad")
    first, *_ = copy.leaf_iter_vars
    assert tile.size(first) == 20


def test_threads_share_what_can_be_shared_evenly() -> None:
    """Seven rows in bands of two: by bands, the first of two threads has 20 of 35 rows of five blocks, else 18."""
    assert conv2d_blocked.uneven(7, 2, 5, rows_outermost=True, threads=2) == pytest.approx(20 / 17.5)
    assert conv2d_blocked.uneven(7, 2, 5, rows_outermost=False, threads=2) == pytest.approx(18 / 17.5)
    assert conv2d_blocked.uneven(17, 1, 4, rows_outermost=True, threads=2) == 1
    space = task.create("conv2d", case(64, (7, 7), 160, (1, 1), 1, 0), threads=2).config_space
    assert space["blocked_height"].val == 2
    assert not space["blocked_rows_outermost"].val
