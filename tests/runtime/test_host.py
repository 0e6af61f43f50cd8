"""The host's target and fingerprint."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from tilewright.codegen.llvm.features import has
from tilewright.ir.errors import TargetError
from tilewright.ir.target import Target
from tilewright.runtime.cuda import availability
from tilewright.runtime.cuda.architecture import DEFAULT_ARCH, fullest
from tilewright.runtime.host import cpu_count, flatten, host_target, machine, resolve
from tilewright.runtime.library import library_code


def test_the_host_has_no_blank_fields() -> None:
    target = host_target()
    assert all((target.triple, target.cpu, target.features, target.vector_bits, target.registers))
    assert resolve("llvm") == resolve(target) == target


def test_what_the_processors_name_promises_and_the_machine_lacks_is_switched_off() -> None:
    features = flatten({"avx512vnni": False, "avx2": True, "fma": True, "avxvnni": False})
    assert features == "+avx2,+fma,-avx512vnni,-avxvnni"
    withheld = Target("llvm", "x86_64-unknown-linux-gnu", "znver5", features, 512, 32)
    assert has(withheld, "avx2") and has(withheld, "avx512f") and not has(withheld, "avx512vnni")
    assert not has(withheld, "avxvnni") and has(replace(withheld, features=""), "avxvnni")


def test_what_is_given_stays() -> None:
    target = resolve("llvm -vector-width=256 -registers=16 -mattr=-avx512f")
    assert (target.vector_bits, target.registers) == (256, 16)
    assert target.features == f"{host_target().features},-avx512f"


@pytest.mark.parametrize(
    "text, bits, registers",
    [
        ("llvm -mtriple=x86_64-unknown-linux-gnu -mcpu=skylake-avx512", 512, 32),
        ("llvm -mtriple=x86_64-unknown-linux-gnu -mcpu=haswell", 256, 16),
        ("llvm -mtriple=x86_64-unknown-linux-gnu -mcpu=x86-64", 128, 16),
        ("llvm -mtriple=aarch64-unknown-linux-gnu -mcpu=cortex-a72", 128, 32),
    ],
)
def test_other_processors_get_the_vectors_they_have(text: str, bits: int, registers: int) -> None:
    target = resolve(text)
    assert (target.vector_bits, target.registers, target.features) == (bits, registers, "")


@pytest.mark.parametrize(
    ("text", "fact", "advice"),
    [
        ("llvm -mcpu=nonsense", "-mcpu=nonsense is no processor that LLVM knows for", "generic, "),
        ("llvm -mtriple=x86_64-linux-gnu -mcpu=znver44", "-mcpu=znver44 is no processor", "znver4"),
        ("llvm -mtriple=aarch64-linux-gnu -mcpu=haswell", "no processor that LLVM knows for aarch64", "cortex-a72, "),
        ("llvm -mtriple=x86_64-linux-gnu -mattr=+avx5l2f", "+avx5l2f in -mattr is no feature", "avx512f"),
        ("llvm -mtriple=x86_64-linux-gnu -mattr=avx2", "avx2 in -mattr has no sign", "+avx2 or -avx2"),
        ("llvm -mattr=+nonsense", "+nonsense in -mattr is no feature that LLVM knows for", "sse2, "),
        ("llvm -mtriple=x86-64-linux", "-mtriple=x86-64-linux begins with no architecture", "x86_64, "),
        ("llvm -mtriple=foo", "-mtriple=foo begins with no architecture that LLVM knows", "aarch64, "),
    ],
)
def test_names_that_llvm_does_not_know_are_refused(text: str, fact: str, advice: str) -> None:
    with pytest.raises(TargetError, match=re.escape(fact)) as refused:
        resolve(text)
    assert advice in f"{refused.value.advice}, "


def test_a_gpu_that_is_not_named_is_this_machines_or_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("cuda -arch=sm_89").arch == "sm_89"
    for found, arch in (({"arch": "sm_90"}, "sm_90a"), ({"arch": "sm_86"}, "sm_86"), ({}, DEFAULT_ARCH)):
        monkeypatch.setattr(availability, "probe", lambda found=found: found)
        assert resolve("cuda").arch == arch


@pytest.mark.parametrize("device, arch", [("sm_90", "sm_90a"), ("sm_87", "sm_86"), ("sm_103", "sm_100"), ("sm_61", "")])
def test_devices_run_the_latest_architecture_that_is_known(device: str, arch: str) -> None:
    assert fullest(device) == arch


def test_processors_are_counted_from_the_affinity_mask() -> None:
    code = "import os; from tilewright.runtime.host import cpu_count; os.sched_setaffinity(0, {%d}); print(cpu_count())"
    one = min(os.sched_getaffinity(0))
    done = subprocess.run([sys.executable, "-c", code % one], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert cpu_count() == len(os.sched_getaffinity(0))


def test_the_fingerprint_is_the_same_in_another_process_and_tells_machines_apart() -> None:
    code = "from tilewright.runtime.host import machine; print(machine().key)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == machine().key
    assert replace(machine(), model="another").key != machine().key


@pytest.mark.parametrize(
    "triple",
    ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "arm64-apple-darwin", "riscv64-unknown-linux-gnu"],
)
def test_the_runtime_compiles_for_other_systems(triple: str) -> None:
    code = library_code(resolve(Target(triple=triple, cpu="generic")), pic=True)
    pooled = triple.endswith("linux-gnu") and not triple.startswith("riscv")
    assert "tilewright_parallel_for" in code.assembly
    assert ("pthread_create" in code.assembly) == pooled
