"""Kernels with one fault each: it is found in every order and mode, and named by its class."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.ir.errors import (
    AlignmentFault,
    BoundsFault,
    CrashFault,
    DeadlockFault,
    DivergenceFault,
    EmulationFault,
    ProtocolFault,
    RaceFault,
    UninitialisedFault,
)
from tilewright.runtime.cuda.emulator.tensor_map import Tiled
from tilewright.runtime.cuda.emulator.verify import verify

from .emulation import compiled, faults, halves, run, text_of

Changes = tuple[tuple[str, str], ...]
Kinds = tuple[type[EmulationFault], ...]


def kinds_of(name: str, changes: Changes, arguments: list, grid: tuple[int, int, int], shared_bytes: int) -> set[type]:
    """Give the classes of the faults in all orders and modes; NoneType stands for none."""
    image, launch = compiled(text_of(name, *changes), shared_bytes)

    def attempt(**how: object) -> None:
        image.run(launch, arguments, grid, outputs=["C"], **how)

    return {type(fault) for fault in faults(attempt)}


# -- fp32 product: barriers between threads -----------------------------------------------------------------------

SGEMM: dict[str, Changes] = {
    "no barrier before the first step": (("    tw_barrier();\n    const int steps", "    const int steps"),),
    "no barrier between the steps": (("        tw_barrier();\n    }", "    }"),),
    "a barrier after every other step": (("        tw_barrier();\n    }", "        if (k % 2) tw_barrier();\n    }"),),
    "one buffer for both stages": (("now = k & 1, next = now ^ 1", "now = 0, next = 0"),),
}


@pytest.mark.parametrize("name", SGEMM)
def test_a_product_on_shared_memory_with(name: str) -> None:
    a, b = np.random.rand(2, 128, 128).astype(np.float32)
    arguments = [np.zeros((128, 128), np.float32), a, b, 128, 128, 128]
    assert kinds_of("sgemm", SGEMM[name], arguments, (1, 1, 1), 33280) == {RaceFault}


# -- fp16 product: asynchronous copies ----------------------------------------------------------------------------

HGEMM: dict[str, tuple[Changes, type[EmulationFault]]] = {
    "no barrier": ((("        tw_barrier();\n", ""),), RaceFault),
    "a barrier for all threads but one": (
        (("        tw_barrier();", "        if (t != 5) tw_barrier();"),), DivergenceFault
    ),
    "a wait for one group too few": ((("tw_cp_async_wait<1>", "tw_cp_async_wait<2>"),), RaceFault),
    "no wait": ((("        tw_cp_async_wait<1>();\n", ""),), RaceFault),
    "a stage filled while it is read": ((("fill = 2;", "fill = 1;"),), RaceFault),
    "a group never committed": (
        (("            }\n        }\n        tw_cp_async_commit();", "            }\n        }\n"),), RaceFault
    ),
    "a copy to the middle of 16 bytes": ((("tw_cp_async<16>(s +", "tw_cp_async<16>(s + 8 +"),), AlignmentFault),
    "one row beyond the input": ((("A + (bm + row) * K + p * 32", "A + (bm + row + 1) * K + p * 32"),), BoundsFault),
    "one row beyond the result": ((("+ 8 * h) * N", "+ 8 * h + 1) * N"),), BoundsFault),
    "two warps write one tile": ((("C + (bm + wy * 64", "C + (bm + 0 * 64"),), RaceFault),
    "shared memory beyond its end": ((("s + p * 16384 + 8192", "s + p * 16384 + 40960"),), BoundsFault),
}  # fmt: skip


@pytest.mark.parametrize("name", HGEMM)
def test_a_product_by_mma_with(name: str) -> None:
    changes, kind = HGEMM[name]
    arguments = [np.zeros((128, 128), np.float32), halves(128, 128), halves(128, 128, seed=1), 128, 128, 128]
    assert kinds_of("hgemm", changes, arguments, (1, 1, 1), 49152) == {kind}


def test_a_wrong_swizzle_on_the_reading_side_gives_wrong_values() -> None:
    text = text_of(
        "hgemm",
        (
            "s + stage * 16384 + row * 64 + ((piece ^ (row / 2 % 4))",
            "s + stage * 16384 + row * 64 + ((piece ^ (row % 4))",
        ),
    )
    image, launch = compiled(text, 49152)
    a, b = halves(128, 128), halves(128, 128, seed=1)
    (c,) = verify(image, launch, [np.zeros((128, 128), np.float32), a, b, 128, 128, 128], (1, 1, 1), ["C"])
    assert np.abs(c - a.astype(np.float32) @ b.astype(np.float32)).max() > 1


# -- wgmma product: rings of mbarriers ----------------------------------------------------------------------------

WGEMM: dict[str, tuple[Changes, Kinds]] = {
    "no barrier after the initialisation": ((("    tw_barrier();\n", ""),), (ProtocolFault,)),
    "no fence after the initialisation": ((("        tw_mbar_fence_init();\n", ""),), (ProtocolFault,)),
    "no wait for an empty stage": (
        (("                tw_mbar_wait(empty + stage, phase ^ 1);\n", ""),), (RaceFault, ProtocolFault)
    ),
    "no wait for a full stage": (
        (("            tw_mbar_wait(full + stage, phase);\n", ""),), (RaceFault, UninitialisedFault)
    ),
    "fewer bytes expected than come": (
        (("expect_tx(full + stage, 32768)", "expect_tx(full + stage, 16384)"),), (RaceFault,)
    ),
    "more bytes expected than come": (
        (("expect_tx(full + stage, 32768)", "expect_tx(full + stage, 32784)"),), (DeadlockFault,)
    ),
    "no bytes expected": ((("tw_mbar_expect_tx(full + stage, 32768)", "tw_mbar_arrive(full + stage)"),), (RaceFault,)),
    "a producer that never flips its phase": ((("phase ^= 1;", ""),), (RaceFault, ProtocolFault)),
    "a consumer that never flips its phase": (
        (("tw_mbar_wait(full + stage, phase)", "tw_mbar_wait(full + stage, 0)"),), (RaceFault, DeadlockFault)
    ),
    "a producer that starts in the other phase": ((("phase ^ 1);", "phase);"),), (DeadlockFault,)),
    "a stage released while products read it": (
        (("if (k > 0 && t % 128 == 0) tw_mbar_arrive(empty + (stage == 0 ? 3 : stage - 1))",
          "if (t % 128 == 0) tw_mbar_arrive(empty + stage)"),), (RaceFault,)
    ),
    "a last wait that is too weak": ((("tw_wgmma_wait<0>", "tw_wgmma_wait<1>"),), (UninitialisedFault, ProtocolFault)),
    "no last wait": ((("        tw_wgmma_wait<0>();\n", ""),), (UninitialisedFault, ProtocolFault)),
    "no fence before the products": ((("            tw_wgmma_fence();\n", ""),), (ProtocolFault,)),
    "products that are never committed": ((("            tw_wgmma_commit();\n", ""),), (RaceFault,)),
    "more arrivals expected than come": (
        (("tw_mbar_init(empty + i, 2)", "tw_mbar_init(empty + i, 3)"),), (DeadlockFault,)
    ),
    "a copy 64 bytes off": ((("tw_tma_load_2d(s + stage", "tw_tma_load_2d(s + 64 + stage"),), (AlignmentFault,)),
    "copies that overlap": ((("* 32768 + 16384, &mapB", "* 32768 + 16384 - 128, &mapB"),), (RaceFault,)),
    "a fence for all threads but one": (
        (("            tw_wgmma_fence();", "            if (t % 128 != 7) tw_wgmma_fence();"),), (DivergenceFault,)
    ),
    "an impossible number of registers": ((("dec<40>", "dec<41>"),), (ProtocolFault,)),
}  # fmt: skip


def wgemm_arguments() -> list:
    a, b = halves(128, 512), halves(128, 512, seed=1)
    return [Tiled(a, (128, 64), 128), Tiled(b, (128, 64), 128), np.zeros((128, 128), np.float32), 128, 128, 512]


@pytest.mark.parametrize("name", WGEMM)
def test_a_product_by_wgmma_with(name: str) -> None:
    changes, kinds = WGEMM[name]
    found = kinds_of("wgemm", changes, wgemm_arguments(), (1, 1, 1), 131072 + 64)
    assert found and found <= set(kinds)


def test_fewer_arrivals_expected_than_come_is_found_in_some_order() -> None:
    # The first release of a stage comes early, and the second counts for the next phase: some orders meet no conflict.
    image, launch = compiled(
        text_of("wgemm", ("tw_mbar_init(empty + i, 2)", "tw_mbar_init(empty + i, 1)")), 131072 + 64
    )
    with pytest.raises((RaceFault, DeadlockFault)):
        verify(image, launch, wgemm_arguments(), (1, 1, 1), ["C"])


@pytest.mark.parametrize(
    "change",
    [
        ("a + 2 * kk", "a + 4 * kk"),
        ("tw_wgmma_desc(s + 16384, 128, 16, 1024)", "tw_wgmma_desc(s + 16384, 128, 16, 512)"),
        ("tw_wgmma_desc(s + 16384, 128, 16, 1024)", "tw_wgmma_desc(s + 16384, 64, 16, 1024)"),
    ],
    ids=["advance", "stride", "swizzle"],
)
def test_a_wrong_descriptor_gives_wrong_values(change: tuple[str, str]) -> None:
    image, launch = compiled(text_of("wgemm", change), 131072 + 64)
    a, b, *rest = wgemm_arguments()
    (c,) = verify(image, launch, [a, b, *rest], (1, 1, 1), ["C"])
    assert np.abs(c - a.array.astype(np.float32) @ b.array.astype(np.float32).T).max() > 1


# -- clusters -----------------------------------------------------------------------------------------------------

MULTICAST: dict[str, tuple[Changes, Kinds]] = {
    "no barrier at the end": ((("    tw_cluster_barrier();  //", "    //"),), (ProtocolFault,)),
    "a barrier of the block at the start": (
        (("    tw_cluster_barrier();\n", "    tw_barrier();\n"),), (ProtocolFault,)
    ),
    "a stage released to its own block alone": (
        (("tw_mbar_arrive_cluster(empty + stage, t)", "tw_mbar_arrive(empty + stage)"),), (RaceFault,)
    ),
    "a copy to one block alone": ((("bn + rank * 32, 3)", "bn + rank * 32, 1)"),), (DeadlockFault,)),
    "one release for two readers": ((("empty + i, 2", "empty + i, 1"),), (RaceFault, ProtocolFault)),
    "a copy to a block that is not there": ((("bn + rank * 32, 3)", "bn + rank * 32, 7)"),), (ProtocolFault,)),
}  # fmt: skip


@pytest.mark.parametrize("name", MULTICAST)
def test_a_product_of_clusters_with(name: str) -> None:
    changes, kinds = MULTICAST[name]
    a, b = halves(128, 320), halves(64, 320, seed=1)
    arguments = [Tiled(a, (64, 64), 128), Tiled(b, (32, 64), 128), np.zeros((128, 64), np.float32), 64, 320]
    found = kinds_of("multicast", changes, arguments, (2, 1, 1), 32768 + 32)
    assert found and found <= set(kinds)


# -- one statement each -------------------------------------------------------------------------------------------

SMALL: dict[str, tuple[str, type[EmulationFault]]] = {
    "a read after a write of another warp": (
        "tw_store(s + t, 1.0f); tw_store(C + t, tw_load(s + (t + 32) % 64));", RaceFault
    ),
    "a read after a write of the same warp": (
        "tw_store(s + t, 1.0f); tw_store(C + t, tw_load(s + (t ^ 1)));", RaceFault
    ),
    "a write after a read": (
        "tw_store(s + t, 1.0f); tw_barrier();\n"
        "float x = tw_load(s + (t ^ 1)); tw_store(s + t, 2.0f); tw_store(C + t, x);",
        RaceFault,
    ),
    "a shuffle in place of a barrier": (
        "tw_store(s + t, 1.0f); float x = tw_shuffle_xor(1.0f, 1);\ntw_store(C + t, x + tw_load(s + (t ^ 1)));",
        RaceFault,
    ),
    "a barrier of the warp in place of one of the block": (
        "tw_store(s + t, 1.0f); tw_warp_barrier(); tw_store(C + t, tw_load(s + (t + 32) % 64));", RaceFault
    ),
    "two threads write different values": ("tw_store(s + t / 2, (float)t); tw_store(C + t, 0.0f);", RaceFault),
    "two threads write different values to global memory": ("tw_store(C + t / 2, (float)t);", RaceFault),
    "two blocks write different values": ("tw_store(C + t, (float)tw_block_x());", RaceFault),
    "a block reads what another writes": (
        "if (tw_block_x()) tw_store(C + t, 1.0f); else tw_store(C + t + 64, tw_load(C + t));", RaceFault
    ),
    "a global read after another thread's write": (
        "tw_store(C + t, 1.0f); tw_store(C + t + 64, tw_load(C + (t ^ 1)));", RaceFault
    ),
    "a read of what was never written": ("tw_store(C + t, tw_load(s + t));", UninitialisedFault),
    "a read of a result before its write": ("tw_store(C + t, tw_load(C + t) + 1.0f);", UninitialisedFault),
    "a value from a lane that is not there": (
        "if (t < 40) tw_store(C + t, tw_shuffle((float)t, 8));", DivergenceFault
    ),
    "a shuffle in part of a warp": ("if (t % 32 < 16) tw_shuffle_xor(t, 1); tw_store(C + t, 0.0f);", DivergenceFault),
    "two barriers for one": (
        "if (t < 32)\n tw_barrier();\n else tw_barrier();\n tw_store(C + t, 0.0f);", DivergenceFault
    ),
    "a barrier after the end of a thread": (
        "if (t == 9) return; tw_barrier(); tw_store(C + t, 0.0f);", DivergenceFault
    ),
    "a named barrier that too few come to": (
        "if (t < 32) tw_barrier_named(1, 64); tw_store(C + t, 0.0f);", DeadlockFault
    ),
    "a named barrier of two sizes": (
        "tw_barrier_named(1, t / 16 % 2 ? 32 : 64); tw_store(C + t, 0.0f);", DivergenceFault
    ),
    "a named barrier for half a warp": ("tw_barrier_named(1, 48); tw_store(C + t, 0.0f);", ProtocolFault),
    "a read one element beyond": ("tw_store(C + t, tw_load_const(A + t + 65));", BoundsFault),
    "a read one element before": ("tw_store(C + t, tw_load_const(A + t - 1));", BoundsFault),
    "a write one element beyond": ("tw_store(C + t + 65, 0.0f);", BoundsFault),
    "a vector that ends one element beyond": (
        "if (t < 32) tw_load((const tw_vec<float, 2>*)(A + 2 * t + 66));", BoundsFault
    ),
    "shared memory one element beyond": ("tw_store(s + t + 1, 0.0f);", BoundsFault),
    "a vector at an odd element": ("tw_load((const tw_vec<float, 2>*)(A + 1));", AlignmentFault),
    "a vector of shared memory at an odd element": (
        "tw_store((tw_vec<float, 4>*)(s + 2), tw_vec<float, 4>{});", AlignmentFault
    ),
    "a pointer followed without tw_load": ("tw_store(C + t, A[t + 128]);", CrashFault),
    "a division by zero": ("tw_store(C + t, (float)(t / (t - t)));", CrashFault),
    "an mbarrier that is read": (
        "if (t == 0) { tw_mbar_init((tw_mbar*)s, 1); tw_store(C, tw_load(s)); }", RaceFault
    ),
    "an mbarrier that nobody initialised": ("tw_mbar_arrive((tw_mbar*)s);", ProtocolFault),
    "too many arrivals": (
        "tw_mbar* m = (tw_mbar*)s; if (t == 0) { tw_mbar_init(m, 1); tw_mbar_expect_tx(m, 16); tw_mbar_arrive(m); }",
        ProtocolFault,
    ),
    "a read through the constant cache of what is written": (
        "tw_store(C + t, 1.0f); tw_store(C + t, tw_load_const((const float*)C + t));", RaceFault
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_finds(name: str) -> None:
    body, kind = SMALL[name]
    text = (
        "TW_KERNEL(64, 0) small(float* C, const float* A) {\n"
        f"    float* const s = (float*)tw_shared();\n    const int t = tw_thread_x();\n    {body}\n}}\n"
    )
    image, launch = compiled(text, 256)
    c, a = np.zeros(128, np.float32), np.ones(128, np.float32)

    def attempt(**how: object) -> None:
        image.run(launch, [c, a], (2 if "tw_block_x" in body else 1, 1, 1), outputs=["C"], **how)

    assert {type(fault) for fault in faults(attempt)} == {kind}


def test_the_same_value_written_by_all_threads_is_no_race() -> None:
    text = "TW_KERNEL(64, 0) same(float* C) { tw_store((float*)tw_shared(), 3.0f); tw_barrier(); tw_store(C, 2.0f); }"
    c = np.zeros(1, np.float32)
    run(text, c, grid=(3, 1, 1), shared_bytes=4, outputs="C")
    assert c[0] == 2


def test_a_fault_names_kernel_block_threads_and_both_lines() -> None:
    text = (
        "TW_KERNEL(64, 0) crossed(float* C) {\n"
        "    float* const s = (float*)tw_shared() + tw_thread_x();\n"
        "    tw_store(s, 1.0f);\n"
        "    tw_store(C + tw_thread_x(), tw_load((float*)tw_shared()));\n"
        "}\n"
    )
    with pytest.raises(RaceFault) as found:
        run(text, np.zeros(64, np.float32), shared_bytes=256)
    fault = found.value
    assert fault.fact == (
        "thread (1, 0, 0) of block (0, 0, 0) reads 4 bytes at shared + 0, written by thread (0, 0, 0) of block "
        "(0, 0, 0), and nothing orders the two"
    )
    assert fault.where.splitlines() == [
        "  kernel crossed, block (0, 0, 0), thread (1, 0, 0); order forward, earliest asynchronous operations",
        "> 4: tw_store(C + tw_thread_x(), tw_load((float*)tw_shared()));",
        "  3: tw_store(s, 1.0f);",
    ]
    assert fault.advice


def test_the_emulator_goes_on_after_a_crash() -> None:
    with pytest.raises(CrashFault, match="signal 11"):
        run("TW_KERNEL(1, 0) wild(int* n) { n[64] = 1; }", np.zeros(1, np.int32))
    c, a = np.zeros(4, np.float32), np.ones(4, np.float32)
    run(text_of("add"), c, a, a.copy(), 4)
    assert (c == 2).all()


def test_a_deadlock_tells_what_the_barrier_lacks() -> None:
    text = (
        "TW_KERNEL(32, 0) stuck(int* n) {\n    tw_mbar* const m = (tw_mbar*)tw_shared();\n"
        "    if (tw_thread_x() == 0) {\n        tw_mbar_init(m, 3);\n        tw_mbar_expect_tx(m, 64);\n    }\n"
        "    tw_barrier();\n    tw_mbar_wait(m, 0);\n}\n"
    )
    with pytest.raises(DeadlockFault, match=r"the one at shared \+ 0 lacks 2 of 3 arrivals and 64 bytes"):
        run(text, np.zeros(1, np.int32), shared_bytes=8)
