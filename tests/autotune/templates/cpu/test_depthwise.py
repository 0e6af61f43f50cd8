"""Depthwise convolutions on processors, against direct evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.autotune import task
from tilewright.autotune.entities import OtherOptionEntity
from tilewright.autotune.space import Config
from tilewright.autotune.task import Task
from tilewright.autotune.templates.cpu.algorithm import ALGORITHM
from tilewright.ir.arith import int_value
from tilewright.runtime.build import build
from tilewright.te.evaluate import evaluate

EPS = float(np.finfo(np.float32).eps)
AVX512 = "llvm -mcpu=skylake-avx512"
SHAPES = (  # batch, channels, height, width; window; stride; padding; dilation
    ((1, 3, 14, 14), (3, 3), 1, 1, 1),
    ((2, 2, 7, 7), (3, 3), 1, 1, 1),
    ((1, 2, 15, 33), (3, 3), 2, 1, 1),
    ((1, 2, 28, 28), (3, 3), 1, 1, 1),
    ((1, 2, 20, 56), (3, 3), 2, 1, 1),
    ((1, 2, 11, 19), (5, 5), 1, 2, 1),
    ((1, 3, 13, 37), (5, 5), 2, 2, 1),
    ((2, 1, 9, 40), (3, 3), 1, 0, 1),
    ((1, 2, 17, 50), (3, 3), 1, 2, 2),
    ((1, 2, 6, 130), (1, 7), 1, 3, 1),
    ((1, 1, 5, 3), (3, 3), 1, 1, 1),
)
DRAWN = {"NCHW": 2, "NHWC": 1, "NCHW16c": 1}  # configurations of each, besides the default one


def check(tuned: Task, config: Config, threads: int) -> None:
    """Assert that a configuration gives what direct evaluation gives, within the error of its sums."""
    schedule, tensors = tuned.instantiate(config)
    rng = np.random.default_rng(0)
    shapes = [tuple(int_value(n) or 0 for n in t.shape) for t in tensors]
    image, kernel = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes[:2])
    got = np.full(shapes[2], np.nan, np.float32)
    build(schedule, tensors, effort="quick")["main"](image, kernel, got, threads=threads)
    (expected,) = evaluate(tuned.outputs, {tuned.tensors[0]: image, tuned.tensors[1]: kernel})
    terms = tuned.args[1][0] * tuned.args[1][1]
    np.testing.assert_allclose(got, expected, rtol=0, atol=2 * terms * EPS * terms)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NCHW16c"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_results(shape: tuple, layout: str) -> None:
    data, *rest = shape
    channels = {"NHWC": 21, "NCHW16c": 16}.get(layout, data[1])
    tuned = task.create("depthwise_conv2d", ((data[0], channels, *data[2:]), *rest, layout))
    space = tuned.config_space
    check(tuned, space.default_config(), 1)
    drawn = space.sample(DRAWN[layout], np.random.default_rng(len(str(shape))))
    for number, row in enumerate(drawn):
        check(tuned, space.get(space.index_of(row)), 1 + number % 2)


TURNED = (  # as SHAPES
    ((1, 32, 7, 7), (5, 5), 1, 2, 1),
    ((2, 16, 9, 6), (5, 5), 2, 2, 1),
    ((1, 16, 8, 11), (3, 7), 1, 1, 1),
    ((1, 16, 10, 12), (5, 5), 1, 4, 2),
    ((1, 32, 5, 8), (5, 4), 1, 0, 1),
)


@pytest.mark.parametrize("shape", TURNED, ids=str)
def test_turned_images(shape: tuple) -> None:
    """The default of the algorithm, and one more configuration."""
    tuned = task.create("depthwise_conv2d", (*shape, "NCHW"), threads=2)
    space = tuned.config_space
    chosen = {ALGORITHM: OtherOptionEntity("turned")}
    check(tuned, Config(None, {name: chosen.get(name, space[name]) for name in space.fragments}), 1)
    chosen |= {"turned_rows": OtherOptionEntity(3), "turned_columns": OtherOptionEntity(2)}
    chosen |= {"turned_unroll": OtherOptionEntity(False)}
    check(tuned, Config(None, {name: chosen.get(name, space[name]) for name in space.fragments}), 2)


HALVES = (  # as SHAPES
    ((1, 2, 28, 56), (5, 5), 2, 2, 1),
    ((2, 2, 15, 33), (5, 5), 2, 2, 1),
    ((1, 2, 9, 66), (3, 7), 2, 1, 1),
    ((1, 1, 20, 30), (6, 4), 2, 0, 1),
)


@pytest.mark.parametrize("shape", HALVES, ids=str)
def test_columns_put_apart(shape: tuple) -> None:
    """The default of the algorithm, and one more configuration."""
    tuned = task.create("depthwise_conv2d", (*shape, "NCHW"), threads=2)
    space = tuned.config_space
    chosen = {ALGORITHM: OtherOptionEntity("halves")}
    check(tuned, Config(None, {name: chosen.get(name, space[name]) for name in space.fragments}), 1)
    chosen |= {"halves_rows": OtherOptionEntity(3), "halves_plane": OtherOptionEntity(True)}
    check(tuned, Config(None, {name: chosen.get(name, space[name]) for name in space.fragments}), 2)


def test_the_default_puts_columns_apart_for_large_windows_of_stride_2() -> None:
    for size, kernel, expected in ((56, 5, "halves"), (28, 5, "halves"), (14, 5, "turned"), (56, 3, None)):
        space = task.create("depthwise_conv2d", ((1, 32, size, size), (kernel, kernel), 2, 2), AVX512).config_space
        assert (space[ALGORITHM].val if ALGORITHM in space.fragments else None) == expected


def test_the_default_turns_images_where_rows_are_shorter_than_vectors() -> None:
    for size, expected in ((7, "turned"), (14, "direct")):
        args = ((1, 32, size, size), (5, 5), 1, 2)
        assert task.create("depthwise_conv2d", args, AVX512).config_space[ALGORITHM].val == expected


def test_the_default_is_a_configuration_of_the_space() -> None:
    for layout in ("NCHW", "NHWC", "NCHW16c"):
        for size, kernel, stride in ((112, 3, 2), (56, 5, 2), (14, 3, 1), (7, 5, 1)):
            tuned = task.create(
                "depthwise_conv2d", ((1, 32, size, size), (kernel, kernel), stride, kernel // 2, 1, layout)
            )
            assert tuned.config_space.default is not None
