"""Programs without products on processors, against direct evaluation in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.autotune import task
from tilewright.autotune.space import Config
from tilewright.autotune.task import Task
from tilewright.ir.arith import int_value
from tilewright.runtime.build import build
from tilewright.schedule import lower
from tilewright.te.evaluate import evaluate

EPS = float(np.finfo(np.float32).eps)
ROWS = ((1, 1), (3, 5), (1, 10), (2, 128), (5, 192), (3, 257), (7, 1001))
REDUCED = (*ROWS, (16, 16), (1000, 3), (2, 70000), (1, 70001), (3001, 7))
DRAWN = 2  # configurations of each, besides the default one


def check(tuned: Task, config: Config, threads: int, terms: int) -> None:
    """Assert that a configuration gives what direct evaluation gives, within the error of sums of so many terms."""
    schedule, tensors = tuned.instantiate(config)
    rng = np.random.default_rng(0)
    shapes = [tuple(int_value(n) or 0 for n in t.shape) for t in tensors]
    given = [rng.uniform(-4, 4, shape).astype(str(t.dtype)) for shape, t in zip(shapes, tensors, strict=True)][:-1]
    got = np.zeros(shapes[-1], str(tensors[-1].dtype))
    build(schedule, tensors, effort="quick")["main"](*given, got, threads=threads)
    feeds = dict(zip(tuned.tensors[:-1], given, strict=True))
    expected, *_ = evaluate(tuned.outputs, feeds, accumulate="float64")
    if got.dtype == np.int32:
        np.testing.assert_array_equal(got, expected)
    else:
        np.testing.assert_allclose(got, expected, rtol=2 * (terms + 8) * EPS, atol=8 * terms * EPS)


def check_some(tuned: Task, terms: int) -> None:
    """Check the default configuration and a few others, with one thread and with two."""
    space = tuned.config_space
    check(tuned, space.default_config(), 1, terms)
    check(tuned, space.default_config(), 2, terms)
    for number, row in enumerate(space.sample(DRAWN, np.random.default_rng(terms))):
        check(tuned, space.get(space.index_of(row)), 1 + number % 2, terms)


@pytest.mark.parametrize("operator", ["softmax", "layer_norm"])
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_normalized_rows(operator: str, shape: tuple[int, int]) -> None:
    check_some(task.create(operator, shape), shape[1])


@pytest.mark.parametrize("operator", ["sum", "max", "mean", "argmax"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", REDUCED, ids=str)
def test_reductions(shape: tuple[int, int], axis: int, operator: str) -> None:
    check_some(task.create("reduction", (*shape, axis, operator), threads=2), shape[axis])


@pytest.mark.parametrize(
    ("shape", "axis", "tasks"), [((1, 1 << 16), 1, 8), ((3, 1 << 16), 1, 24), ((1 << 12, 40), 0, 8)], ids=str
)
def test_threads_share_the_terms_of_few_long_reductions(shape: tuple[int, int], axis: int, tasks: int) -> None:
    nests = []
    for threads in (1, 4):
        tuned = task.create("reduction", (*shape, axis), threads=threads)
        nests.append(str(lower(*tuned.instantiate(tuned.config_space.default_config()))))
    assert [f"in parallel({tasks})" in nest for nest in nests] == [False, True]


@pytest.mark.parametrize(
    ("operator", "shape", "asks"),
    [
        ("softmax", (300, 1000), True),
        ("softmax", (1000, 256), True),
        ("softmax", (8192, 1024), False),
        ("softmax", (64, 100), False),
        ("layer_norm", (4096, 256), True),
        ("layer_norm", (128, 768), False),
    ],
    ids=str,
)
def test_the_rows_of_the_next_task_are_asked_for(operator: str, shape: tuple[int, int], asks: bool) -> None:
    tuned = task.create(operator, shape)
    nest = str(lower(*tuned.instantiate(tuned.config_space.default_config())))
    assert ["+ 1024" in line for line in nest.splitlines() if "prefetch" in line] == [True] * asks


@pytest.mark.parametrize("operator", ["relu", "gelu", "sigmoid", "tanh"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3, 17), (40, 64), (2, 1025)], ids=str)
def test_elementwise(shape: tuple[int, int], operator: str) -> None:
    check_some(task.create("elementwise", (*shape, operator)), 1)


@pytest.mark.parametrize("operator", ["log_softmax", "exp"])
@pytest.mark.parametrize("shape", [(2, 3, 40), (4, 2, 2, 33)], ids=str)
def test_more_dimensions(shape: tuple[int, ...], operator: str) -> None:
    check_some(task.create("generic", (operator, (shape,))), shape[-1])


def test_of_equal_values_the_first_is_the_greatest() -> None:
    tuned = task.create("reduction", (2, 1001, 1, "argmax"))
    schedule, tensors = tuned.instantiate(tuned.config_space.default_config())
    data, got = np.zeros((2, 1001), np.float32), np.zeros(2, np.int32)
    data[1, [30, 70, 500]] = 3.0
    build(schedule, tensors)["main"](data, got)
    assert got.tolist() == [0, 30]


@pytest.mark.parametrize(
    ("template", "args", "streamed"),
    [
        ("elementwise", (1, 1 << 22), True),
        ("elementwise", (1 << 12, 1 << 10), True),
        ("softmax", (1 << 12, 1 << 9), True),
        ("softmax", (1 << 17, 1 << 4), True),
        ("layer_norm", (1 << 11, 1 << 10), True),
        ("elementwise", (1, 1 << 20), False),
        ("softmax", (1 << 11, 2049), False),
        ("reduction", (1 << 11, 1 << 11, 0), False),
    ],
    ids=str,
)
def test_large_results_of_aligned_rows_go_past_the_caches(template: str, args: tuple[int, ...], streamed: bool) -> None:
    tuned = task.create(template, args)
    schedule, tensors = tuned.instantiate(tuned.config_space.default_config())
    nest = str(lower(schedule, tensors))
    assert (f"stream='{tensors[-1].op.name}'" in nest) == streamed
    assert ("stream" in str(tuned.config_space)) == streamed


def test_streamed_results_are_right() -> None:
    tuned = task.create("softmax", (1 << 14, 1 << 7))
    assert "stream=True" in str(tuned.config_space.default_config())
    check(tuned, tuned.config_space.default_config(), 2, 1 << 7)
