"""Products of matrices on processors, by every algorithm that fits them, against direct evaluation."""

from __future__ import annotations

from math import ceil

import pytest

from tilewright.autotune import task
from tilewright.autotune.templates.cpu import gemm_split, products

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
    (20, 480, 700, False, False, "float32", True),  # B is larger than the second cache
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


def test_a_small_product_is_left_to_one_thread() -> None:
    space = task.create("matmul", (64, 64, 64), threads=2).config_space
    assert (space["parts_m"].val, space["parts_n"].val) == (1, 1)


@pytest.mark.parametrize(
    ("shape", "asked"),
    [((128, 3072, 768), "panel"), ((1024,) * 3, "panel"), ((1, 3072, 768), "none"), ((512,) * 3, "none")],
    ids=str,
)
def test_far_weights_that_many_rows_read_are_asked_for_in_advance(shape: Args, asked: str) -> None:
    space = task.create("matmul", (*shape, False, False, "float32", True)).config_space
    assert space["prefetch_b"].val == asked


@pytest.mark.parametrize(
    ("shape", "packed"),
    [((8, 197, 197, 64), "none"), ((12, 128, 128, 64), "none"), ((12, 512, 512, 64), "block")],
    ids=str,
)
def test_columns_are_packed_where_their_rows_would_meet_in_the_first_cache(shape: Args, packed: str) -> None:
    space = task.create("batch_matmul", (*shape, False)).config_space
    assert space["pack_b"].val == packed


@pytest.mark.parametrize("shape", [(128, 768, 768), (128, 3072, 768), (512, 512, 512), (1000, 1000, 1000)], ids=str)
def test_the_default_shares_the_work_out_evenly(shape: Args) -> None:
    space = task.create("matmul", shape, threads=2).config_space
    knobs = ("tile_m", "parts_m") if space["outer"].val == "rows" else ("tile_n", "parts_n")
    extent = shape[0] if space["outer"].val == "rows" else shape[1]
    tiles = ceil(extent / space[knobs[0]].size[-1])
    each = ceil(tiles / space[knobs[1]].val)
    most = ceil(ceil(tiles / each) / 2) * each  # that one of two threads computes
    assert most <= 0.56 * tiles


LONG_SUMS: tuple[Args, ...] = (
    (1, 16, 1024, False, False, "float32", True),
    (5, 37, 1026, False, False, "float32"),
    (3, 20, 1100, True, True, "float32", True, "bias,residual,relu"),
    (17, 7, 1032, False, True, "float32", False, "bias"),
)


@pytest.mark.parametrize("args", LONG_SUMS, ids=str)
def test_threads_share_long_sums(monkeypatch: pytest.MonkeyPatch, args: Args) -> None:
    monkeypatch.setattr(products, "ALGORITHMS", (gemm_split.plan,))
    tuned = task.create("matmul", args, threads=2)
    for config in configs_of(tuned, 2):
        assert_right(tuned, config, 2)


@pytest.mark.parametrize(
    ("shape", "algorithm"), [((1, 16, 8192), "split"), ((4, 32, 8192), "split"), ((16, 128, 4096), "gemm")], ids=str
)
def test_sums_are_shared_where_there_are_too_few_tiles(shape: Args, algorithm: str) -> None:
    space = task.create("matmul", (*shape, False, False, "float32", True), threads=2).config_space
    assert space["algorithm"].val == algorithm
