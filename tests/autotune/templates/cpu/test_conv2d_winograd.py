"""Winograd convolutions: every shape against its direct evaluation, within the tolerance of a direct convolution."""

from __future__ import annotations

import pytest

from tilewright.autotune import task
from tilewright.autotune.entities import OtherOptionEntity
from tilewright.autotune.space import Config
from tilewright.autotune.templates.cpu import conv2d_winograd
from tilewright.autotune.templates.cpu.winograd_cost import Blocking, Shape
from tilewright.ir.stmt import For, ForKind
from tilewright.ir.visit import of_kind
from tilewright.schedule.lower import lower_prepared

from .convolutions import Args, assert_right, case, configs_of, only

CASES = {
    "whole tiles": case(16, (16, 16), 32, (3, 3), 1, 1),
    "cut tiles": case(16, (14, 14), 32, (3, 3), 1, 1),
    "odd sizes": case(16, (13, 11), 48, (3, 3), 1, 1),
    "channels that are no whole vectors": case(21, (9, 10), 37, (3, 3), 1, 1),
    "no padding": case(17, (12, 9), 16, (3, 3), 1, 0),
    "wide padding": case(16, (8, 9), 16, (3, 3), 1, 2),
    "one tile": case(32, (4, 3), 32, (3, 3), 1, 1),
    "long rows": case(16, (5, 67), 16, (3, 3), 1, 1),
    "images in one block": case(16, (7, 7), 32, (3, 3), 1, 1, batch=4),
    "odd batch": case(16, (7, 9), 32, (3, 3), 1, 1, batch=3),
    "variable weights": case(16, (9, 9), 32, (3, 3), 1, 1, constant=False),
    "NHWC": case(20, (13, 9), 40, (3, 3), 1, 1, layout="NHWC"),
    "NHWC with batch": case(16, (8, 8), 32, (3, 3), 1, 1, batch=2, layout="NHWC"),
    "NCHW16c": case(32, (15, 13), 48, (3, 3), 1, 1, batch=2, layout="NCHW16c"),
    "NCHW8c": case(16, (10, 7), 48, (3, 3), 1, 1, layout="NCHW8c"),
    "NCHW16c, variable weights": case(16, (6, 6), 32, (3, 3), 1, 1, layout="NCHW16c", constant=False),
}


def accepting(name: str, relative_error: float | None, epilogue: str = "") -> Args:
    """Give the arguments of a case whose user accepts an error."""
    return *CASES[name], epilogue, relative_error


UNFIT = {
    "stride": case(16, (9, 9), 32, (3, 3), 2, 1),
    "dilation": case(16, (9, 9), 32, (3, 3), 1, 2, 2),
    "groups": case(32, (9, 9), 32, (3, 3), 1, 1, groups=2),
    "another window": case(16, (9, 9), 32, (5, 5), 1, 2),
    "half a vector of channels in blocks": case(24, (9, 9), 32, (3, 3), 1, 1, layout="NCHW8c"),
    "few channels": case(3, (9, 9), 32, (3, 3), 1, 1),
}


@pytest.mark.parametrize("args", CASES.values(), ids=CASES)
def test_configurations_give_the_right_result(monkeypatch: pytest.MonkeyPatch, args: Args) -> None:
    only(monkeypatch, conv2d_winograd.plan)
    tuned = task.create("conv2d", args, threads=2)
    for number, config in enumerate(configs_of(tuned, 2)):
        assert_right(tuned, config, threads=1 + number % 2)


@pytest.mark.parametrize("args", UNFIT.values(), ids=UNFIT)
def test_other_convolutions_do_not_fit(args: Args) -> None:
    assert "winograd_outputs" not in task.create("conv2d", args).config_space.fragments


def test_narrow_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, conv2d_winograd.plan)
    tuned = task.create("conv2d", CASES["odd sizes"], "llvm -mcpu=haswell")
    for config in configs_of(tuned, 1):
        assert_right(tuned, config, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_threads_that_share_channels_share_no_tiles(monkeypatch: pytest.MonkeyPatch, layout: str, threads: int) -> None:
    """Five panels of 16 channels: each thread transforms the image for its own."""
    only(monkeypatch, conv2d_winograd.plan)
    tuned = task.create("conv2d", case(24, (14, 13), 80, (3, 3), 1, 1, layout=layout), threads=threads)
    wanted = {"winograd_whole": True, "winograd_vectors": 1, "winograd_rows": 8, "winograd_tiles": 8}
    entities = tuned.config_space.default_config().entities
    config = Config(None, dict(entities) | {name: OtherOptionEntity(value) for name, value in wanted.items()})
    kernel = lower_prepared(*tuned.instantiate(config), "kernel")[-1]
    assert sum(loop.kind is ForKind.PARALLEL for loop in of_kind(kernel.body, For)) == 1
    assert type(kernel.body) is For  # around all memory for tiles
    assert_right(tuned, config, threads)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NCHW16c"])
def test_it_is_the_default_of_large_layers(layout: str) -> None:
    """Measured: 2.2 to 3.3 times as fast as the others there."""
    space = task.create("conv2d", case(128, (28, 28), 128, (3, 3), 1, 1, layout=layout)).config_space
    assert space.default_config()["algorithm"].val == "winograd"


@pytest.mark.parametrize(
    ("most", "is_turned", "expected"),
    [
        (28, True, Blocking((1, 2, 14), 14)),
        (14, True, Blocking((1, 1, 14), 28)),
        (8, True, Blocking((1, 1, 14), 28)),  # whole rows
        (8, False, Blocking((1, 1, 7), 56)),
        (200, True, Blocking((1, 14, 14), 2)),
        (400, True, Blocking((2, 14, 14), 1)),
        (60, True, Blocking((1, 4, 14), 8)),  # 4, 4, 4 and 2 rows of each image
    ],
)
def test_blocks_are_as_even_as_they_can_be(most: int, is_turned: bool, expected: Blocking) -> None:
    shape = Shape(2, 64, 64, 56, 56, (56, 56), 1, is_turned)
    assert Blocking.of(shape, 4, most) == expected


@pytest.mark.parametrize(("error", "outputs"), [(None, [4, 2]), (3e-5, [4, 2]), (1e-4, [4, 2, 6])])
def test_tiles_of_six_are_for_those_who_accept_their_error(
    monkeypatch: pytest.MonkeyPatch, error: float | None, outputs: list[int]
) -> None:
    """Their bound with 16 channels is 4.5e-5."""
    only(monkeypatch, conv2d_winograd.plan)
    found = task.create("conv2d", accepting("whole tiles", error)).config_space.fragments["winograd_outputs"]
    assert [e.val for e in found.entities] == outputs


@pytest.mark.parametrize("name", ["whole tiles", "odd sizes", "wide padding", "odd batch", "NHWC", "NCHW16c"])
def test_tiles_of_six_give_the_right_result(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    only(monkeypatch, conv2d_winograd.plan)
    monkeypatch.setattr(conv2d_winograd, "OUTPUTS", (6,))
    for number, epilogue in enumerate(("", "residual")):
        tuned = task.create("conv2d", accepting(name, 1e-4, epilogue), threads=2)
        assert_right(tuned, configs_of(tuned, 1)[number], threads=1 + number)
