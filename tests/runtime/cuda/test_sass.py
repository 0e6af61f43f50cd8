"""Reading machine code, and the faults that the compiler's report tells."""

from __future__ import annotations

from collections import Counter

import pytest

from tilewright.ir.errors import TargetError
from tilewright.runtime.cuda.compiler import sass as reading
from tilewright.runtime.cuda.compiler.compile import Cubin, compile_cubin
from tilewright.runtime.cuda.compiler.loops import natural_loops
from tilewright.runtime.cuda.compiler.ptxas import read_faults, read_resources
from tilewright.runtime.cuda.compiler.sass import disassemble, read_sass

LISTING = """
.text.outer:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   LDG.E.128.CONSTANT R4, desc[UR4][R2.64] ;
.L_x_2:
        /*0020*/                   LDS.128 R8, [R3+0x10] ;
        /*0030*/                   FFMA R0, R4.reuse, R8, R0 ;
        /*0040*/                   FFMA R1, R4, R9, R1 ;
        /*0050*/              @!P0 BRA `(.L_x_4) ;
.L_x_3:
        /*0060*/               @P1 BRA `(.L_x_2) ;
        /*0070*/               @P2 BRA `(.L_x_1) ;
        /*0080*/                   STG.E desc[UR4][R2.64], R0 ;
        /*0090*/                   EXIT ;
.L_x_4:
        /*00a0*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [R2+URZ], R3 ;
        /*00b0*/              @!P0 BRA `(.L_x_4) ;
        /*00c0*/                   BRA `(.L_x_3) ;
.L_x_5:
        /*00d0*/                   BRA `(.L_x_5);
        /*00e0*/                   NOP;
.text.other:
        /*0000*/                   EXIT ;
"""


def test_each_kernel_has_its_instructions() -> None:
    kernels = read_sass(LISTING)
    assert list(kernels) == ["outer", "other"]
    assert [i.opcode for i in kernels["other"].instructions] == ["EXIT"]
    assert len(kernels["outer"].instructions) == 14  # the padding does not count


def test_the_hot_loop_is_the_innermost_with_arithmetic_and_its_waits_out_of_line() -> None:
    hot = read_sass(LISTING)["outer"].hot_loop
    assert Counter(i.name for i in hot) == {"LDS": 1, "FFMA": 2, "BRA": 4, "SYNCS": 1}


def test_counts_take_modifiers_in_order() -> None:
    kernel = read_sass(LISTING)["outer"]
    assert (kernel.count("LDG"), kernel.count("LDG.128"), kernel.count("LDG.E.CONSTANT")) == (1, 1, 1)
    assert (kernel.count("LDG.CONSTANT.E"), kernel.count("LD"), kernel.count("LDG.64")) == (0, 0, 0)
    assert (kernel.count_hot("LDG"), kernel.count_hot("FFMA")) == (0, 2)
    assert kernel.share("FFMA") == 2 / 8
    assert kernel.widths("LDG") == {128: 1}
    assert kernel.widths("STG") == {32: 1}


def test_a_kernel_without_loops_has_no_hot_loop() -> None:
    other = read_sass(LISTING)["other"]
    assert (other.hot_loop, other.share("FFMA")) == ((), 0.0)


def test_natural_loops_of_a_graph_with_two_nested_and_one_unreachable() -> None:
    successors = [[1], [2], [3, 4], [2], [1, 5], [], [6]]
    assert set(natural_loops(successors)) == {frozenset({2, 3}), frozenset({1, 2, 3, 4})}


def test_a_way_back_that_its_target_does_not_dominate_is_no_loop() -> None:
    assert natural_loops([[1, 2], [2], [1, 3], []]) == []


def test_a_loop_may_be_left_by_a_call() -> None:
    listing = """.text.k:
.L_x_0:
        /*0000*/                   FFMA R0, R1, R2, R0 ;
        /*0010*/              @!P0 CALL.REL.NOINC `(.L_x_1) ;
        /*0020*/                   BRA `(.L_x_0) ;
.L_x_1:
.L_x_2:
        /*0030*/                   FADD R0, R1, R0 ;
        /*0040*/                   FADD R0, R1, R0 ;
        /*0050*/               @P1 BRA `(.L_x_2) ;
        /*0060*/                   EXIT ;
"""
    assert [i.name for i in read_sass(listing)["k"].hot_loop] == ["FADD", "FADD", "BRA"]


def test_a_real_loop_is_found() -> None:
    text = """TW_KERNEL(32, 0) dot(float* out, const float* a, const float* b) {
        float sum = 0;
        _Pragma("unroll 1") for (int k = 0; k < 512; ++k) {
            tw_vec<float, 4> x = tw_load((const tw_vec<float, 4>*)a + k), y = tw_load((const tw_vec<float, 4>*)b + k);
            TW_UNROLL for (int i = 0; i < 4; ++i) sum += x.at[i] * y.at[i];
        }
        tw_store(out, sum);
    }"""
    dot = disassemble(compile_cubin(text, "sm_80").code)["dot"]
    assert (dot.count_hot("LDG.128"), dot.count_hot("FFMA"), dot.count_hot("STG"), dot.count("STG")) == (2, 4, 0, 1)


def test_without_a_disassembler_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "program", lambda name: None)
    with pytest.raises(TargetError, match="pip install nvidia-cuda-nvdisasm"):
        disassemble(b"")


def test_what_is_no_cubin_is_refused() -> None:
    with pytest.raises(TargetError, match="nvdisasm ended with status"):
        disassemble(b"not a cubin")


# -- faults, each planted -----------------------------------------------------------------------------------------


def kinds(cubin: Cubin) -> list[tuple[str, str]]:
    return [(fault.kind, fault.kernel) for fault in cubin.faults]


def test_spills() -> None:
    text = """TW_KERNEL(1024, 1) spilled(float* x) {
        float v[100];
        TW_UNROLL for (int i = 0; i < 100; ++i) v[i] = tw_load(x + i * 1024 + tw_thread_x());
        tw_barrier();
        for (int j = 0; j < 10; ++j) { TW_UNROLL for (int i = 0; i < 100; ++i) v[i] *= v[(i + 1) % 100]; }
        TW_UNROLL for (int i = 0; i < 100; ++i) tw_store(x + i * 1024 + tw_thread_x(), v[i]);
    }"""
    cubin = compile_cubin(text, "sm_80")
    assert kinds(cubin) == [("spill", "spilled")]
    used = cubin.resources["spilled"]
    assert used.registers == 64 and used.spill_stores > 0 and used.spill_loads > 0
    assert f"{used.spill_stores} bytes stored and {used.spill_loads} loaded" in cubin.faults[0].text
    roomy = compile_cubin(text.replace("1024, 1", "256, 1"), "sm_80")
    assert roomy.faults == () and roomy.resources["spilled"].spill_stores == 0


ARRAY = """TW_KERNEL(32, 0) k(float* x, const int* at) {
    float v[32];
    for (int i = 0; i < 32; ++i) v[i] = 0;
    for (int i = 0; i < 32; ++i) v[tw_load(at + i)] += tw_load(x + i);
    for (int i = 0; i < 32; ++i) tw_store(x + i, v[i]);
}"""


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_an_array_in_local_memory(arch: str) -> None:
    cubin = compile_cubin(ARRAY, arch)
    assert kinds(cubin) == [("stack", "k")]
    assert cubin.resources["k"].stack_bytes == 128


@pytest.mark.parametrize("function", ["tw_sin", "tw_cos", "tw_tan"])
@pytest.mark.parametrize("kind", ["float", "double"])
def test_the_stack_of_the_trigonometric_functions_is_no_fault(function: str, kind: str) -> None:
    text = f"TW_KERNEL(32, 0) k({kind}* x) {{ tw_store(x, {function}(tw_load(x))); }}"
    assert compile_cubin(text, "sm_90a").faults == ()
    assert kinds(compile_cubin(ARRAY.replace("tw_load(x + i)", f"{function}(tw_load(x + i))"), "sm_90a")) == [
        ("stack", "k")
    ]


WGMMA = """TW_KERNEL(128, 1) products(float* x) {
    float d[64];
    const unsigned long long a = tw_wgmma_desc(tw_shared(), 128, 16, 1024);
    const unsigned long long b = tw_wgmma_desc(tw_shared() + 8192, 128, 16, 1024);
    _Pragma("unroll 1") for (int k = 0; k < 16; ++k) {
        tw_wgmma_fence();
        tw_wgmma_f16<128>(d, a + 2 * k, b + 2 * k, k != 0);
        tw_wgmma_commit();
        tw_wgmma_wait<1>();
    }
    tw_wgmma_wait<0>();
    TW_UNROLL for (int k = 0; k < 64; ++k) tw_store(x + tw_thread_x() + 128 * k, d[k]);
}"""


def test_wgmma_without_fault() -> None:
    cubin = compile_cubin(WGMMA, "sm_90a")
    assert cubin.faults == ()
    assert disassemble(cubin.code)["products"].count_hot("HGMMA.64x128x16.F32") == 1


def test_wgmma_whose_accumulator_is_touched_is_serialized() -> None:
    cubin = compile_cubin(WGMMA.replace("tw_wgmma_wait<1>();", "d[3] += 1.0f; tw_wgmma_wait<1>();"), "sm_90a")
    assert ("wgmma_serialized", "products") in kinds(cubin)


def test_wgmma_without_its_fence_has_one_put_in() -> None:
    assert ("wgmma_fence_added", "products") in kinds(compile_cubin(WGMMA.replace("tw_wgmma_fence();", ""), "sm_90a"))


def test_setmaxnreg_is_ignored_without_a_number_of_blocks() -> None:
    text = """TW_KERNEL(256, 0) k(int* x) {
        if (tw_thread_x() < 128) tw_setmaxnreg_dec<40>(); else tw_setmaxnreg_inc<232>();
    }"""
    assert ("setmaxnreg_ignored", "k") in kinds(compile_cubin(text, "sm_90a"))
    assert compile_cubin(text.replace("256, 0", "256, 1"), "sm_90a").faults == ()


def test_a_report_of_several_kernels_is_taken_apart() -> None:
    log = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'a' for 'sm_90a'
ptxas info    : Function properties for a
ptxas         .     8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers, used 3 barriers, 49152 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function 'b' for 'sm_90a'
ptxas info    : Function properties for b
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 16 registers
"""
    a, b = read_resources(log).values()
    assert (a.registers, a.spill_stores, a.spill_loads, a.stack_bytes) == (255, 4, 12, 8)
    assert (a.shared_bytes, a.barriers) == (49152, 3)
    assert (b.registers, b.stack_bytes, b.shared_bytes, b.barriers) == (16, 0, 0, 0)
    assert [(f.kind, f.kernel) for f in read_faults(log, read_resources(log))] == [("spill", "a")]
