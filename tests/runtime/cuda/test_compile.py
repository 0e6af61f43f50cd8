"""From text to machine code: what compiles, what is refused and how that reads, what is found again on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tilewright.codegen.cuda.preamble import SECTIONS, preamble_for, sections_of
from tilewright.ir.errors import CompileError, TargetError
from tilewright.ir.settings import Settings
from tilewright.runtime.cuda.compiler import compile as compiling
from tilewright.runtime.cuda.compiler.compile import compile_cubin, find_compiler
from tilewright.runtime.cuda.compiler.cubin_cache import CubinCache
from tilewright.runtime.cuda.compiler.nvrtc import find_nvrtc

COPY = """
TW_KERNEL(128, 0) copy(float* out, const float* in) {
    const int t = tw_thread_x();
    tw_store(out + t, tw_load(in + t));
}
"""


@pytest.fixture
def compilations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The texts that reach the compiler, which starts from an empty cache."""
    nvrtc = find_nvrtc()
    assert nvrtc is not None
    seen: list[str] = []

    class Recorder:
        identity = nvrtc.identity

        def compile(self, text: str, arch: str, options: tuple[str, ...]) -> tuple[bytes, str]:
            seen.append(text)
            return nvrtc.compile(text, arch, options)

    monkeypatch.setattr(compiling, "find_compiler", Recorder)
    monkeypatch.setattr(compiling, "_disk_cache", lambda: CubinCache(tmp_path, 10**9))
    yield seen


# -- what comes out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["sm_80", "sm_86", "sm_89", "sm_90a"])
def test_a_cubin_is_an_elf_file_with_its_resources(arch: str) -> None:
    cubin = compile_cubin(COPY, arch)
    assert cubin.code[:4] == b"\x7fELF"
    assert list(cubin.resources) == ["copy"]
    assert 4 <= cubin.resources["copy"].registers <= 32
    assert cubin.faults == ()


def test_bounded_waits_compile_and_trap() -> None:
    wait = "TW_KERNEL(128, 0) k(int parity) { tw_mbar_wait((tw_mbar*)tw_shared(), parity); }"
    spin = compile_cubin(wait, "sm_90a", options=["-DTW_BOUNDED_SPIN=1000000"])
    assert spin.code != compile_cubin(wait, "sm_90a").code


def test_blocks_that_shall_fit_limit_the_registers() -> None:
    text = """TW_KERNEL(128, MIN_BLOCKS) k(float* x, int n) {
        float v[64];
        TW_UNROLL for (int i = 0; i < 64; ++i) v[i] = tw_load(x + i * n);
        tw_barrier();
        TW_UNROLL for (int i = 0; i < 64; ++i) tw_store(x + i * n, v[63 - i]);
    }"""
    limited, free = (compile_cubin(text.replace("MIN_BLOCKS", blocks), "sm_80") for blocks in ("6", "0"))
    assert limited.resources["k"].registers <= 80 < free.resources["k"].registers


def test_shared_memory_and_barriers_are_reported() -> None:
    text = """TW_KERNEL(64, 0) k(float* x) {
        __shared__ float s[64];
        tw_store(s + tw_thread_x(), tw_load(x + tw_thread_x()));
        tw_barrier();
        tw_store(x + tw_thread_x(), tw_load(s + 63 - tw_thread_x()));
    }"""
    used = compile_cubin(text, "sm_80").resources["k"]
    assert (used.shared_bytes, used.barriers, used.stack_bytes) == (256, 1, 0)


def test_clusters_compile() -> None:
    text = "TW_KERNEL(128, 0) TW_CLUSTER(2, 1, 1) k(int* x) { tw_store(x, tw_cluster_rank()); }"
    assert "k" in compile_cubin(text, "sm_90a").resources


def test_functions_of_the_text_are_inlined() -> None:
    text = "TW_DEVICE float twice(float x) { return x + x; }\n" + COPY.replace("tw_load(in + t)", "twice(1.0f)")
    assert list(compile_cubin(text, "sm_80").resources) == ["copy"]


# -- refusals -----------------------------------------------------------------------------------------------------


def test_an_error_shows_the_line_of_our_text(compilations: list[str]) -> None:
    with pytest.raises(CompileError) as caught:
        compile_cubin(COPY.replace("tw_load", "tw_lode"), "sm_80")
    lines = str(caught.value).splitlines()
    assert lines[0] == 'compile: nvrtc 13.0 refuses the text for sm_80: identifier "tw_lode" is undefined'
    assert ">    4     tw_store(out + t, tw_lode(in + t));" in lines


def test_an_error_inside_a_template_shows_the_line_that_uses_it() -> None:
    text = COPY.replace("tw_load(in + t)", "0.0f").replace(
        "const int t", "tw_cp_async<3>(out, in, 3);\n    const int t"
    )
    with pytest.raises(CompileError, match=r"cp.async copies 4, 8 or 16 bytes[^>]*\n>    3     tw_cp"):
        compile_cubin(text, "sm_80")


def test_an_error_of_the_assembler_shows_its_message() -> None:
    text = 'TW_KERNEL(128, 0) k() { asm volatile("no.such.instruction;"); }'
    with pytest.raises(CompileError, match=r"Unknown modifier '\.such'\n"):
        compile_cubin(text, "sm_80")


def test_what_an_architecture_lacks_is_refused_before_compiling(compilations: list[str]) -> None:
    text = "TW_KERNEL(128, 0) k() { tw_wgmma_fence(); tw_mbar_fence_init(); }"
    with pytest.raises(TargetError, match="sm_80 lacks tw_mbar_fence_init\n"):
        compile_cubin(text, "sm_80")
    assert compilations == []


@pytest.mark.parametrize("arch", ["sm_75", "compute_80", "90a", ""])
def test_architectures_that_mean_nothing_are_refused(arch: str) -> None:
    with pytest.raises(TargetError, match=f"cannot compile for '{arch}'"):
        compile_cubin(COPY, arch)


def test_without_a_compiler_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_FINDERS", {"nvrtc": lambda: None, "nvcc": lambda: None})
    with pytest.raises(TargetError) as caught:
        find_compiler()
    assert "no CUDA compiler: nvrtc and nvcc not found" in str(caught.value)
    assert "try: pip install 'nvidia-cuda-nvrtc==13.0.*'" in str(caught.value)


def test_the_settings_choose_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "settings", lambda: Settings(cuda_compiler="nvcc"))
    monkeypatch.setattr(compiling, "_FINDERS", {"nvrtc": find_nvrtc, "nvcc": lambda: None})
    with pytest.raises(TargetError, match="no CUDA compiler: nvcc not found"):
        find_compiler()


# -- the cache ----------------------------------------------------------------------------------------------------


def test_the_second_time_nothing_is_compiled(compilations: list[str]) -> None:
    first, second = (compile_cubin(COPY, "sm_80") for _ in range(2))
    assert len(compilations) == 1
    assert (first.code, first.log, first.resources) == (second.code, second.log, second.resources)


def test_text_architecture_and_options_make_an_entry_of_their_own(compilations: list[str]) -> None:
    compile_cubin(COPY, "sm_80")
    compile_cubin(COPY.replace("128", "64"), "sm_80")
    compile_cubin(COPY, "sm_90a")
    compile_cubin(COPY, "sm_80", options=["-DTW_BOUNDED_SPIN=9"])
    assert len(compilations) == 4


def test_a_refused_text_is_not_kept(compilations: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(CompileError):
            compile_cubin("nonsense", "sm_80")
    assert len(compilations) == 2


def test_a_damaged_entry_is_compiled_again(compilations: list[str], tmp_path: Path) -> None:
    good = compile_cubin(COPY, "sm_80")
    (entry,) = tmp_path.glob("*/*")
    for damage in (entry.read_bytes()[:-1], b"", entry.read_bytes().replace(b"ELF", b"elf")):
        entry.write_bytes(damage)
        assert compile_cubin(COPY, "sm_80").code == good.code
    assert len(compilations) == 4


def test_the_cache_drops_what_was_unused_longest(tmp_path: Path) -> None:
    cache = CubinCache(tmp_path, 3000)
    for key in ("aa", "bb", "cc"):
        cache.put(key * 32, bytes(1200), "")
    for age, key in enumerate(("bb", "aa", "cc")):
        os.utime(tmp_path / key / (key * 31), (age, age))
    cache.trim()
    assert [cache.get(key * 32) is not None for key in ("aa", "bb", "cc")] == [True, False, True]


def test_processes_may_share_a_folder(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from tilewright.runtime.cuda.compiler.cubin_cache import CubinCache
cache = CubinCache(Path(sys.argv[1]), 10**9)
for turn in range(300):
    key = f"{turn % 5:064}"
    found = cache.get(key)
    assert found is None or found == (key.encode() * 1000, "log"), found
    cache.put(key, key.encode() * 1000, "log")
"""
    running = [subprocess.Popen([sys.executable, "-c", program, tmp_path]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(list(tmp_path.glob("*/*"))) == 5  # and no file that was being written


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = CubinCache(tmp_path / "file", 10**9)
    cache.put("ab" * 32, b"code", "log")
    assert cache.get("ab" * 32) is None


# -- the preamble -------------------------------------------------------------------------------------------------


def test_a_text_brings_only_the_sections_that_it_uses() -> None:
    assert [s.file for s in sections_of(COPY)] == ["core.cuh"]
    assert [s.file for s in sections_of("tw_exp(tw_mma_m16n8k8_tf32)")] == ["core.cuh", "math.cuh", "mma.cuh"]


def test_a_text_brings_only_the_wgmma_widths_that_it_uses() -> None:
    assert preamble_for("tw_wgmma_f16<64>(tw_wgmma_bf16<8, 0, 1>").count("template <> struct tw_wgmma_step_") == 2
    assert preamble_for("tw_wgmma_f16<WIDTH>").count("template <> struct tw_wgmma_step_") == 32


def test_no_name_is_defined_in_two_sections() -> None:
    assert sum(len(section.names) for section in SECTIONS) == len(frozenset().union(*(s.names for s in SECTIONS)))
