"""Sectors, bank conflicts and the other figures of kernels, against counting lane by lane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tilewright.codegen.cuda.kernel import effect
from tilewright.codegen.cuda.lower import lower_cuda
from tilewright.codegen.cuda.screens.screens import FEATURE_NAMES, AccessScreen, GpuScreens, screen, screen_failures
from tilewright.codegen.cuda.text.emit import emit_programs
from tilewright.ir.arith import const, lt
from tilewright.ir.buffer import Buffer
from tilewright.ir.expr import Address, Call, Const, Expr, IfThenElse
from tilewright.ir.stmt import Allocate, Evaluate, ForKind, If, seq
from tilewright.ir.target import Target
from tilewright.runtime.cuda.compiler.compile import compile_cubin
from tilewright.schedule import lower

from .gemm_mma import Tiles, gemm
from .hand_kernels import TX, TY, buffer, copy_kernel, kernel, load, loop, sgemm, store, vector_kernel

AMPERE, HOPPER = Target("cuda", arch="sm_80"), Target("cuda", arch="sm_90a")
Index = Callable[[Expr], Expr]
IntIndex = Callable[[int], int]


def only(figures: GpuScreens) -> AccessScreen:
    (access,) = figures.accesses
    return access


def of_index(source: Buffer, index: Index) -> AccessScreen:
    return only(screen(copy_kernel(source, index), HOPPER))


def of_vector(source: Buffer, index: Index, count: int) -> AccessScreen:
    return only(screen(vector_kernel(source, index, count), HOPPER))


def xor(a: Expr, b: Expr | int) -> Expr:
    return Call("bitwise_xor", (a, b if isinstance(b, Expr) else Const(b)), a.dtype)


# -- global memory ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index, sectors, ideal",
    [
        (lambda t: t, 4, 4),
        (lambda t: t * 2, 8, 4),
        (lambda t: t * 1024, 32, 4),
        (lambda t: t + 1, 5, 4),
        (lambda t: t * 0, 1, 1),
        (lambda t: t // 2, 2, 2),
        (lambda t: t % 8 * 128 + t // 8 * 4, 16, 4),
        (lambda t: xor(t, 5), 4, 4),
    ],
)
def test_sectors_of_a_warps_load(index: Index, sectors: int, ideal: int) -> None:
    access = of_index(buffer("A", 1 << 16), index)
    assert (access.requests, access.ideal) == (sectors, ideal)


@pytest.mark.parametrize("dtype, count, sectors", [("float32", 2, 8), ("float32", 4, 16), ("float16", 8, 16)])
def test_a_vector_load_moves_whole_sectors(dtype: str, count: int, sectors: int) -> None:
    access = of_vector(buffer("A", 4096, dtype=dtype), lambda t: t * count, count)
    assert (access.requests, access.ideal, access.trips) == (sectors, sectors, 1.0)


def test_a_vector_wider_than_the_widest_load_takes_several() -> None:
    access = of_vector(buffer("A", 4096), lambda t: t * 8, 8)
    assert (access.bytes, access.trips, access.requests) == (16, 2.0, 32)


def test_a_vector_that_is_not_aligned_is_loaded_element_by_element() -> None:
    access = of_vector(buffer("A", 4096), lambda t: t * 4 + 1, 4)
    assert (access.bytes, access.trips, access.requests) == (4, 4.0, 16)


def test_neighbouring_elements_that_are_strided_are_no_vector() -> None:
    kept, source = buffer("kept", 4, scope="local"), buffer("A", 4096)
    body = loop("v", 4, lambda v: store(kept, v, value=load(source, TX * 8 + v * 2)), ForKind.VECTORIZED)
    access = only(screen(kernel(Allocate(kept, body)), HOPPER))
    assert (access.bytes, access.trips) == (4, 4.0)


def test_an_index_from_memory_is_taken_to_be_scattered() -> None:
    table, source = buffer("table", 4096, dtype="int32"), buffer("A", 1 << 16)
    figures = screen(copy_kernel(source, lambda t: load(table, t)), HOPPER)
    found = {access.buffer: access.requests for access in figures.accesses}
    assert found == {"A": 32, "table": 4}


# -- shared memory ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index, degree",
    [
        (lambda t: t, 1),
        (lambda t: t * 2, 2),
        (lambda t: t * 3, 1),
        (lambda t: t * 32, 32),
        (lambda t: t * 33, 1),
        (lambda t: t * 0, 1),
        (lambda t: t // 4 * 32 + t % 4, 8),
        (lambda t: t * 32 + xor(t, 3), 1),
    ],
)
def test_bank_conflicts_of_a_warps_load(index: Index, degree: int) -> None:
    assert of_index(buffer("A", 4096, scope="shared"), index).waste == degree


def test_elements_of_one_word_do_not_conflict() -> None:
    assert of_index(buffer("A", 4096, scope="shared", dtype="float16"), lambda t: t).waste == 1
    assert of_index(buffer("A", 4096, scope="shared", dtype="float16"), lambda t: t * 2).waste == 1
    assert of_index(buffer("A", 4096, scope="shared", dtype="float16"), lambda t: t * 4).waste == 2


def test_wide_loads_are_served_by_quarter_warps() -> None:
    shared = buffer("A", 8192, scope="shared")
    assert of_vector(shared, lambda t: t * 4, 4).waste == 1
    assert of_vector(shared, lambda t: t * 4, 4).requests == 4
    assert of_vector(shared, lambda t: t * 8, 4).waste == 2
    assert of_vector(shared, lambda t: t * 2, 2).requests == 2


def test_padded_rows_are_taken_from_the_strides() -> None:
    plain = buffer("A", 32, 32, scope="shared")
    padded = buffer("A", 32, 32, scope="shared", strides=(Const(33), Const(1)))
    kept = buffer("kept", 1, scope="local")
    column = {
        b: only(screen(kernel(Allocate(kept, store(kept, 0, value=load(b, TX, 0))), shared=[b]), HOPPER))
        for b in (plain, padded)
    }
    assert (column[plain].waste, column[padded].waste) == (32, 1)


@pytest.mark.parametrize("swizzled, degree", [(False, 8.0), (True, 1.0)])
def test_matrix_rows_conflict_unless_swizzled(swizzled: bool, degree: float) -> None:
    tile, fragment = buffer("A", 16, 64, scope="shared", dtype="float16"), buffer("f", 4, scope="local", dtype="int32")
    row, piece = TX % 16, TX // 16
    column = (xor(piece, row % 8) if swizzled else piece) * 8
    call = Call("ldmatrix_x4", (Address(fragment, (Const(0),)), Address(tile, (row, column))), row.dtype)
    access = only(screen(kernel(Allocate(fragment, Evaluate(call)), shared=[tile]), HOPPER))
    assert (access.kind, access.bytes, access.waste) == ("ldmatrix_x4", 16, degree)


def test_an_asynchronous_copy_reads_global_and_writes_shared_memory() -> None:
    source, tile = buffer("A", 4096), buffer("T", 32, 4, scope="shared")
    addresses = Address(tile, (TX, Const(0))), Address(source, (TX * 8,))
    body = effect("cp_async", *addresses, 16, 16)
    found = screen(kernel(body, shared=[tile]), HOPPER).accesses
    assert [(a.buffer, a.bytes, a.requests, a.ideal) for a in found] == [("A", 16, 32, 16), ("T", 16, 4, 4)]


# -- both, against counting ---------------------------------------------------------------------------------------


def counted_sectors(offsets: list[int], width: int) -> int:
    lanes = min(32, 128 // width)
    parts = [offsets[p : p + lanes] for p in range(0, 32, lanes)]
    return sum(len({(o + b) // 32 for o in part for b in range(width)}) for part in parts)


def counted_turns(offsets: list[int], width: int) -> int:
    lanes = min(32, 128 // width)
    turns = 0
    for p in range(0, 32, lanes):
        words = {(o + b) // 4 for o in offsets[p : p + lanes] for b in range(width)}
        turns += max(sum(1 for w in words if w % 32 == bank) for bank in range(32))
    return turns


@pytest.mark.parametrize("seed", range(40))
def test_random_indices_against_counting_lane_by_lane(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c, d, m = (int(x) for x in rng.choice([1, 2, 3, 4, 8, 16, 32, 36, 40], 5))
    mask, dtype, count = int(rng.integers(0, 8)), rng.choice(["float32", "float16", "int8"]), int(rng.choice([1, 2, 4]))

    def index(t: Expr) -> Expr:
        return (t // a * b + t % c * d + xor(t % m, mask)) * count

    def number(t: int) -> int:
        return (t // a * b + t % c * d + ((t % m) ^ mask)) * count

    for scope, counted in (("global", counted_sectors), ("shared", counted_turns)):
        source = buffer("A", 1 << 16, scope=scope, dtype=str(dtype))
        access = of_vector(source, index, count)
        offsets = [number(t) * source.dtype.bytes for t in range(32)]
        assert access.bytes == count * source.dtype.bytes
        assert access.requests == counted(offsets, access.bytes)


# -- where the accesses are ---------------------------------------------------------------------------------------


def test_lanes_that_a_condition_leaves_out_cost_nothing() -> None:
    kept, source = buffer("kept", 1, scope="local"), buffer("A", 4096)
    body = If(lt(TX, const(8)), store(kept, 0, value=load(source, TX * 8)))
    figures = screen(kernel(Allocate(kept, body)), HOPPER)
    assert only(figures).requests == 8
    assert figures.global_bytes == 8 * 4


def test_a_guarded_value_is_loaded_by_the_lanes_that_take_it() -> None:
    kept, source = buffer("kept", 1, scope="local"), buffer("A", 4096)
    value = IfThenElse(lt(TX, const(16)), load(source, TX), const(0.0))
    assert only(screen(kernel(Allocate(kept, store(kept, 0, value=value))), HOPPER)).requests == 2


def test_a_warp_in_the_middle_is_looked_at_too() -> None:
    kept, source = buffer("kept", 1, scope="local"), buffer("A", 4096)
    thread = TY * 8 + TX
    body = Allocate(kept, store(kept, 0, value=load(source, thread // 64 * thread)))
    access = only(screen(kernel(body, (8, 16, 1)), HOPPER))
    assert access.requests == (1 + 4) / 2  # the first warp reads one element, the third 32


def test_threads_beyond_the_block_do_nothing() -> None:
    access = only(screen(copy_kernel(buffer("A", 4096), lambda t: t * 8, (8, 1, 1)), HOPPER))
    assert access.requests == 8


def test_loops_count_their_steps_and_written_out_ones_what_differs() -> None:
    kept, source = buffer("kept", 4, scope="local"), buffer("A", 4096)

    def body(k: Expr) -> Allocate | Evaluate:
        inner = loop("j", 4, lambda j: store(kept, j, value=load(source, k * 32 + TX) + 1.0), ForKind.UNROLLED)
        return seq(inner, effect("barrier"))  # type: ignore[return-value]

    figures = screen(kernel(Allocate(kept, loop("k", 10, body))), HOPPER)
    assert (only(figures).trips, figures.statements, figures.barriers) == (10, 5, 10)
    assert figures.flops == 10 * 4 * 32


def test_loop_variables_take_both_values() -> None:
    kept, source = buffer("kept", 1, scope="local"), buffer("A", 1 << 16)
    body = loop("k", 4, lambda k: store(kept, 0, value=load(source, TX * (k + 1))))
    assert only(screen(kernel(Allocate(kept, body)), HOPPER)).requests == (4 + 8) / 2


# -- whole kernels ------------------------------------------------------------------------------------------------


def test_a_products_arithmetic_and_memory() -> None:
    figures = screen(sgemm(), HOPPER)
    assert figures.flops == 2 * 128 * 128 * 1024
    assert figures.global_bytes == (2 * 128 * 1024 + 128 * 128) * 4
    assert figures.blocks == 64
    assert figures.shared_bytes == 2 * 16 * 132 * 4
    assert figures.local_bytes == (64 + 8 + 8) * 4
    assert figures.statements == 2 * 4 + 2 + 16 * (2 + 2 + 64) + 8 * 2
    assert figures.hot_conflict == 1.0
    assert figures.resident == 2
    assert screen_failures(figures, HOPPER) == []


def test_products_on_tensor_cores_count_for_the_warp() -> None:
    frag = buffer("f", 8, scope="local", dtype="int32")
    address = Address(frag, (Const(0),))
    call = effect("mma_m16n8k16_f16", address, address, address)
    assert screen(kernel(Allocate(frag, call)), HOPPER).flops == 2 * 16 * 8 * 16


def test_products_of_warpgroups_count_for_its_128_threads() -> None:
    frag = buffer("f", 64, scope="local")
    call = effect("wgmma_f16", Address(frag, (Const(0),)), 0, 0, 1, 128, 0, 0)
    assert screen(kernel(Allocate(frag, call), (128, 1, 1)), HOPPER).flops == 2 * 64 * 128 * 16


def test_bulk_copies_count_what_their_barrier_expects() -> None:
    barrier = buffer("ready", 1, scope="shared", dtype="int64")
    expect = If(lt(TX, const(1)), effect("mbar_expect_tx", Address(barrier, (Const(0),)), 16384))
    figures = screen(kernel(loop("k", 10, lambda _: expect), (128, 1, 1), shared=[barrier]), HOPPER)
    assert figures.global_bytes == figures.sector_bytes == 10 * 16384


def test_words_are_loads_of_four_bytes() -> None:
    tile, kept = buffer("A", 4096, scope="shared", dtype="int8"), buffer("kept", 1, scope="local", dtype="uint32")
    word = Call("load_word", (Address(tile, (TX * 8,)),), kept.dtype)
    access = only(screen(kernel(Allocate(kept, store(kept, 0, value=word)), shared=[tile]), HOPPER))
    assert (access.kind, access.bytes, access.waste) == ("load_word", 4, 2)


@pytest.mark.parametrize(
    "tiles", [Tiles((64, 64, 32), (32, 32)), Tiles((128, 128, 32), (64, 32)), Tiles((32, 32, 32), (16, 16))], ids=str
)
def test_registers_are_estimated_within_a_fifth(tiles: Tiles) -> None:
    made = gemm(512, 512, 512, "float16", "float32", tiles, False)
    program = lower_cuda(lower(made.schedule, made.arguments), AMPERE)
    (taken,) = compile_cubin(emit_programs([program]).text, "sm_80").resources.values()
    assert screen(program.kernels[0], AMPERE).registers == pytest.approx(taken.registers, rel=0.2)


def test_the_scheduled_products_copies_and_fragments_are_free_of_conflicts() -> None:
    made = gemm(512, 512, 512, "float16", "float32", Tiles((128, 128, 32), (64, 32)), False)
    figures = screen(lower_cuda(lower(made.schedule, made.arguments), AMPERE).kernels[0], AMPERE)
    assert (figures.conflict, figures.coalescing) == (1.0, 1.0)
    assert figures.flops * figures.blocks == pytest.approx(2 * 512**3, rel=0.01)  # and adding the bias


def test_features_have_the_same_names_for_every_kernel() -> None:
    figures = screen(sgemm(), HOPPER)
    features = figures.features()
    assert tuple(features) == FEATURE_NAMES
    assert all(type(value) is float and np.isfinite(value) for value in features.values())
    assert features["threads"] == np.log2(257) and features["hot_conflict"] == 1.0
    assert tuple(screen(kernel(effect("barrier")), HOPPER).features()) == FEATURE_NAMES


def test_conflicts_of_the_hot_loop_rule_a_kernel_out() -> None:
    figures = screen(copy_kernel(buffer("A", 4096, scope="shared"), lambda t: t * 4), HOPPER)
    (failure,) = screen_failures(figures, HOPPER)
    assert (failure.name, failure.value, failure.limit) == ("hot_conflict", 4.0, 2.0)
    assert failure.fact == "4 turns of the banks for each load of A, at most 2"


def test_conflicts_that_cost_little_rule_nothing_out() -> None:
    figures = screen(sgemm(pad=0), HOPPER)
    stores = next(a for a in figures.accesses if (a.buffer, a.kind) == ("A_shared", "store"))
    assert stores.waste == 4.0
    assert stores not in figures.hot
    assert screen_failures(figures, HOPPER) == []


def test_what_does_not_fit_rules_a_kernel_out() -> None:
    figures = replace(screen(sgemm(), HOPPER), shared_bytes=300_000, local_bytes=1000.0)
    names = [failure.name for failure in screen_failures(figures, HOPPER)]
    assert names == ["shared_bytes", "registers", "block_registers"]
