"""Products of matrices on processors, by every algorithm that fits them, against direct evaluation."""

from __future__ import annotations

import pytest

import tilewright.autotune.templates  # noqa: F401
from tilewright.autotune import task

from .convolutions import Args, assert_right, configs_of

DRAWN = 3  # configurations of each, besides the default one

MATRICES: tuple[Args, ...] = (  # m, n, k, transpose_a, transpose_b, type, constant_b
    (64, 64, 64),
    (37, 51, 41),
    (130, 100, 300),
    (13, 200, 513, False, True),
    (40, 33, 65, True),
    (96, 48, 256, True, True),
    (1, 128, 64),
    (1, 200, 77, False, True),
    (5, 130, 260, False, True, "float32", True),
    (50, 96, 140, False, False, "float32", True),
    (200, 1, 50),
    (33, 7, 129, False, False, "float32", True),
    (2, 3, 1000),
    (1, 1, 37),
    (24, 40, 36, False, False, "float16"),
    (24, 40, 36, False, True, "int8"),
)
DENSE: tuple[Args, ...] = ((12, 100, 96), (1, 130, 260, "float32", True), (7, 30, 33, "bfloat16", True))
BATCHES: tuple[Args, ...] = ((3, 17, 33, 20), (4, 16, 32, 48, False), (2, 40, 20, 65, True, "float32", True))
WORKLOADS = [
    *(("matmul", args) for args in MATRICES),
    *(("dense", args) for args in DENSE),
    *(("batch_matmul", args) for args in BATCHES),
]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "args"), WORKLOADS, ids=str)
def test_results(name: str, args: Args, threads: int) -> None:
    tuned = task.create(name, args, threads=threads)
    for config in configs_of(tuned, DRAWN, seed=len(str(args)) + threads):
        assert_right(tuned, config, threads)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "args"), WORKLOADS, ids=str)
def test_the_default_is_a_configuration_of_the_space(name: str, args: Args, threads: int) -> None:
    assert task.create(name, args, threads=threads).config_space.default is not None
