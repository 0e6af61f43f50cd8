"""Products on sm_90a: bulk copies, rings, roles, clusters and wgmma against NumPy, as emitted kernels."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from tilewright.codegen.cuda.source import CudaSource
from tilewright.ir.errors import Error
from tilewright.ir.stmt import Function
from tilewright.runtime.build import build
from tilewright.runtime.cuda.compiler.compile import compile_cubin
from tilewright.runtime.cuda.compiler.sass import disassemble
from tilewright.schedule import Schedule, lower

from .gemm_wgmma import Gemm, Tiles, gemm
from .running import HOPPER, emulated, emulated_source, exact, interpreted, kernels_of, random_array

ONE = Tiles(block=(64, 32, 64), warpgroups=1, width=32, stages=2, registers=None)
TWO = Tiles(block=(128, 64, 64), warpgroups=2, width=32, stages=3)
WAYS = {
    "one warpgroup": ONE,
    "two warpgroups, one copies": replace(TWO, registers=None),
    "a producer": TWO,
    "rows by 128": replace(TWO, block=(256, 32, 64), stages=2),
    "persistent": replace(TWO, blocks=3),
    "persistent, one copies": replace(TWO, blocks=2, registers=None),
    "a cluster below": replace(TWO, cluster=(2, 1)),
    "a cluster of four, persistent": replace(TWO, block=(64, 32, 64), warpgroups=1, cluster=(2, 2), blocks=4),
    "staged, persistent": replace(TWO, staged="threads", blocks=2),
    "in groups of rows, persistent": replace(ONE, group=3, blocks=2, registers=(24, 240)),
}
SHAPES = [  # rows, columns, depth; a row of the operands is a multiple of 16 bytes
    (128, 64, 64),
    (256, 128, 256),
    (1, 1, 8),
    (130, 65, 72),
    (63, 100, 200),
    (200, 31, 136),
    (129, 193, 320),
    (300, 64, 8),
    (257, 7, 128),
    (64, 33, 264),
]


def function_of(product: Gemm) -> Function:
    return lower(product.schedule, list(product.arguments))


def expected(a: np.ndarray, b: np.ndarray, bias: np.ndarray, dtype: str, turned: tuple[bool, bool]) -> np.ndarray:
    left, right = exact(a, dtype), exact(b, dtype)
    return np.maximum((left.T if turned[0] else left) @ (right.T if turned[1] else right) + bias, 0)


def check(
    shape: tuple[int, int, int], tiles: Tiles, dtype: str = "float16", out: str = "float32",
    turned: tuple[bool, bool] = (False, True),
) -> None:  # fmt: skip
    """Compare the kernel of a product, in all orders and modes, with NumPy."""
    m, n, k = shape
    rng = np.random.default_rng(m * n + k)
    a = random_array(rng, (k, m) if turned[0] else (m, k), dtype)
    b = random_array(rng, (n, k) if turned[1] else (k, n), dtype)
    bias = random_array(rng, (n,), "float32")
    function = function_of(gemm(m, n, k, dtype, out, tiles, *turned))
    result = exact(emulated(function, a, b, bias, target=HOPPER), out)
    want = expected(a, b, bias, dtype, turned)
    # k products of exact operands are summed in float32, and the result is rounded to `out`
    magnitude = np.abs(exact(a, dtype)).max() * np.abs(exact(b, dtype)).max()
    rounding = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}[out]
    np.testing.assert_allclose(result, want, rtol=rounding, atol=k * k * 2.0**-24 * magnitude)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_way_computes_the_product(way: str, shape: tuple[int, int, int]) -> None:
    check(shape, WAYS[way])


STORED = [  # rows of the result are multiples of 16 bytes, too
    (128, 64, 64),
    (256, 128, 256),
    (2, 64, 8),
    (130, 68, 72),
    (63, 100, 200),
    (200, 96, 136),
    (129, 196, 320),
    (300, 64, 8),
    (257, 72, 128),
    (64, 128, 264),
]


@pytest.mark.parametrize("tiles", [replace(TWO, blocks=2), replace(TWO, registers=None, cluster=(1, 2))], ids=str)
@pytest.mark.parametrize("shape", STORED, ids=str)
def test_the_engine_stores_results_too(shape: tuple[int, int, int], tiles: Tiles) -> None:
    check(shape, replace(tiles, staged="engine"))


def test_the_engine_stores_halves() -> None:
    check((130, 136, 72), replace(TWO, staged="engine", blocks=2), out="float16")


@pytest.mark.parametrize("turned", [(False, False), (True, False), (True, True)], ids=str)
@pytest.mark.parametrize("swizzle", ["32B", "64B", "128B"])
def test_operands_may_lie_along_rows_or_columns(turned: tuple[bool, bool], swizzle: str) -> None:
    check((136, 72, 200), replace(TWO, swizzle=swizzle), turned=turned)


@pytest.mark.parametrize(("depth", "swizzle"), [(16, "32B"), (32, "64B"), (64, "64B"), (128, "128B")])
def test_slices_of_the_depth_may_be_narrower_or_wider_than_a_swizzle(depth: int, swizzle: str) -> None:
    check((136, 72, 200), replace(TWO, block=(128, 64, depth), swizzle=swizzle))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("out", ["float16", "bfloat16", "float32"])
def test_types_of_operands_and_results(dtype: str, out: str) -> None:
    check((130, 65, 72), TWO, dtype, out)


@pytest.mark.parametrize("stages", [2, 3, 5, 7])
def test_rings_of_any_length_go_around(stages: int) -> None:
    check((64, 64, 640), replace(ONE, stages=stages, registers=(40, 232), blocks=1))


def test_run_serially_the_nest_means_the_product() -> None:
    tiles = replace(ONE, block=(64, 8, 16), width=8, swizzle="32B", registers=(40, 232), blocks=2, cluster=(2, 1))
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, shape).astype("float16") for shape in ((70, 24), (9, 24)))
    bias = rng.integers(-3, 4, 9).astype("float32")
    result = interpreted(function_of(gemm(70, 9, 24, tiles=tiles, transpose_b=True)), a, b, bias)
    np.testing.assert_array_equal(result, expected(a, b, bias, "float16", (False, True)))


def test_a_replayed_schedule_is_the_same() -> None:
    product = gemm(300, 64, 136, tiles=WAYS["a cluster below"], transpose_b=True)
    again = Schedule.from_json(product.schedule.to_json(), [product.arguments[-1]])
    assert str(again) == str(product.schedule)
    assert "warp_specialize=1" in str(again)
    assert "cluster=1" in str(again)


def test_a_built_module_runs_on_the_emulated_device() -> None:
    product = gemm(130, 65, 72, tiles=TWO, transpose_b=True)
    module = build(product.schedule, list(product.arguments), target=HOPPER, device="emulate")
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, shape).astype("float16") for shape in ((130, 72), (65, 72)))
    bias, result = rng.integers(-3, 4, 65).astype("float32"), np.zeros((130, 65), "float32")
    module(a, b, bias, result)
    np.testing.assert_array_equal(result, expected(a, b, bias, "float16", (False, True)))


def random_case(rng: random.Random) -> tuple[tuple[int, int, int], Tiles, str, str, tuple[bool, bool]]:
    """Draw a product and its tiles: rows of the operands that bulk copies can read, tiles of whole swizzled rows."""
    warpgroups, swizzle = rng.choice([1, 2, 3]), rng.choice(["32B", "64B", "128B"])
    span = int(swizzle[:-1]) // 2  # elements of a row
    width = rng.choice([n for n in (8, 16, 24, 32, 64, 96, 128) if n % span == 0 or n < span])
    turned = (rng.random() < 0.5, rng.random() < 0.5 or width % span != 0)
    rows, columns, depth = 64 * warpgroups, width * rng.choice([1, 2]), min(64, max(16, span) * rng.choice([1, 2]))
    room, slice_bytes, result_bytes = 220 * 1024, 2 * (rows + columns) * depth, 4 * rows * (columns + 8)
    even = columns % 16 == 0  # so that threads share a tile evenly
    staged = rng.choice(["", "threads"]) if even and result_bytes + 2 * slice_bytes < room else ""
    room -= result_bytes if staged else 0
    tiles = Tiles(
        block=(rows, columns, depth),
        warpgroups=warpgroups,
        width=width,
        stages=min(rng.choice([2, 3, 4, 5]), room // slice_bytes),
        registers=rng.choice([None, (24, 152)]),
        blocks=rng.choice([None, 4, 8]),
        cluster=rng.choice([(1, 1), (2, 1), (1, 2), (2, 2)]),
        group=rng.choice([1, 2, 3]),
        swizzle=swizzle,
        staged=staged,
    )
    m, n, k = rng.randint(2 * rows if staged else 1, 400), 2 * columns + rng.randint(0, 100), 8 * rng.randint(1, 40)
    m, n = (-(-m // 8) * 8 if turned[0] else m), (n if turned[1] else -(-n // 8) * 8)
    dtype, out = rng.choice(["float16", "bfloat16"]), rng.choice(["float16", "bfloat16", "float32"])
    return (m, n, k), tiles, dtype, out, turned


@pytest.mark.parametrize("seed", range(16))
def test_random_tiles_compute_the_product(seed: int) -> None:
    check(*random_case(random.Random(seed)))


# -- the text and its machine code --------------------------------------------------------------------------------


def source_of(m: int, n: int, k: int, tiles: Tiles, **options: bool) -> CudaSource:
    return kernels_of(function_of(gemm(m, n, k, tiles=tiles, **options)), HOPPER)


REFERENCE = Tiles(blocks=132)  # 128 x 256 x 64, 4 stages, two warpgroups of 232 registers and a producer of 40


@pytest.mark.parametrize(
    ("tiles", "turned"),
    [
        (REFERENCE, False),
        (REFERENCE, True),
        (replace(REFERENCE, cluster=(2, 1)), True),
        (replace(REFERENCE, block=(256, 128, 64), width=128, cluster=(1, 2)), True),
        (replace(REFERENCE, block=(128, 128, 64), width=128, registers=None), True),
        (replace(REFERENCE, block=(128, 128, 64), width=128, staged="engine"), True),
    ],
)
def test_reference_kernels_keep_to_their_registers_and_use_the_hardware(tiles: Tiles, turned: bool) -> None:
    cubin = compile_cubin(source_of(4096, 4096, 4096, tiles, transpose_b=turned).text, "sm_90a")
    assert cubin.faults == ()  # no spills, no stack, no serialised wgmma, no setmaxnreg that was ignored
    (resources,) = cubin.resources.values()
    assert resources.registers <= 168  # 65536 among 384 threads, before they are shared out anew
    (kernel,) = disassemble(cubin.code).values()
    steps = tiles.block[2] // 16 * (tiles.block[0] // tiles.warpgroups // 64)
    assert kernel.count_hot("HGMMA") % steps == 0
    assert kernel.count_hot("HGMMA") > 0
    assert kernel.count("HMMA") == 0
    assert kernel.count("UTMALDG.2D") > 0
    assert kernel.count("SYNCS.PHASECHK.TRYWAIT") > 0
    assert (kernel.count("USETMAXREG") == 2) == (tiles.registers is not None)
    assert (kernel.count("UTMALDG.2D.MULTICAST") > 0) == (tiles.cluster != (1, 1))
    assert (kernel.count("UTMASTG.2D") > 0) == (tiles.staged == "engine")


def test_a_launch_says_what_its_tensor_maps_and_clusters_are() -> None:
    source = source_of(300, 520, 136, replace(TWO, cluster=(2, 1)), transpose_b=True)
    (launch,) = source.launches
    assert launch.cluster == (2, 1, 1)
    assert launch.grid == ("2", "1", "18")
    assert launch.block == (128, 3, 1)
    assert [p.kind for p in launch.params] == ["tensor_map", "tensor_map", "buffer", "buffer"]
    a, b = source.tensor_maps
    assert (a.buffer, a.shape, a.strides_bytes, a.box, a.swizzle) == ("A", ("136", "300"), ("272",), (64, 128), 128)
    assert (b.buffer, b.shape, b.strides_bytes, b.box, b.swizzle) == ("B", ("136", "520"), ("272",), (64, 32), 128)
    assert "TW_CLUSTER(2, 1, 1)" in source.text


def test_blocks_of_a_cluster_each_load_a_part_of_what_they_share() -> None:
    """A tile of 64 rows is loaded by 2 blocks beside each other, one of 32 columns by 2 below each other."""
    tiles = replace(TWO, block=(64, 32, 64), warpgroups=1, cluster=(2, 2))
    source = source_of(300, 300, 136, tiles, transpose_b=True)
    assert [m.box for m in source.tensor_maps] == [(64, 32), (64, 16)]
    masks = [line.rpartition(", ")[2] for line in source.text.splitlines() if "multicast" in line]
    assert masks == ["(5 << blockIdx_x));", "(3 << blockIdx_y*2));"]


def test_barriers_of_those_that_compute_leave_the_producer_out() -> None:
    apart, together = (
        source_of(256, 64, 64, replace(WAYS["staged, persistent"], registers=registers)).text
        for registers in ((40, 232), None)
    )
    assert "tw_barrier_named(1, 256)" in apart
    assert apart.count("tw_barrier();") == 1  # after the mbarriers have been set up
    assert "tw_barrier_named" not in together


# -- what the emulator would have noticed -------------------------------------------------------------------------

PLANTED = {  # text of the kernel -> text with a mistake
    "no wait until a slot is full": ("tw_mbar_wait((full + slot[0]), phase[0]);", ""),
    "no wait until a slot is empty": ("tw_mbar_wait((empty + slot[0]), (- phase[0] + 1));", ""),
    "a slot released too early": ("tw_wgmma_wait<1>();", ""),
    "results read too early": ("tw_wgmma_wait<0>();", ""),
    "too few bytes": ("tw_mbar_expect_tx((full + slot[0]), 24576);", "tw_mbar_expect_tx((full + slot[0]), 8192);"),
    "too many bytes": ("tw_mbar_expect_tx((full + slot[0]), 24576);", "tw_mbar_expect_tx((full + slot[0]), 32768);"),
    "a phase that never ends": ("phase[0] = - phase[0] + 1;", ""),
    "no release": ("tw_mbar_arrive(", "(void)("),
    "another swizzle": ("), 128, 16, 1024)", "), 64, 16, 1024)"),
    "the wrong step along the depth": ("(2 ^ 0)*8", "(1 ^ 0)*8"),
    "mbarriers used before they are there": ("tw_barrier();", ""),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_mistake_in_a_ring_does_not_pass(mistake: str) -> None:
    """In every order and mode the emulator either refuses the run, or the result is not the product's."""
    right, wrong = PLANTED[mistake]
    product = gemm(128, 64, 520, tiles=replace(TWO, width=64, blocks=1), transpose_b=True)
    function = function_of(product)
    source = kernels_of(function, HOPPER)
    assert right in source.text
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, shape).astype("float16") for shape in ((128, 520), (64, 520)))
    bias = rng.integers(-3, 4, 64).astype("float32")
    with pytest.raises((Error, AssertionError)):
        result = emulated_source(replace(source, text=source.text.replace(right, wrong)), function, a, b, bias)
        np.testing.assert_array_equal(result, expected(a, b, bias, "float16", (False, True)))
