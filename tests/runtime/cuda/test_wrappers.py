"""Each name of the device language becomes the instruction meant."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tilewright.codegen.cuda.preamble import names
from tilewright.runtime.cuda.compiler.compile import compile_cubin
from tilewright.runtime.cuda.compiler.sass import Sass, disassemble

from .wrappers import HOPPER, SM_80, Wrapper, kernel


@pytest.fixture(scope="module", params=[("sm_80", SM_80), ("sm_90a", SM_80), ("sm_90a", HOPPER)], ids=lambda p: p[0])
def machine_code(request: pytest.FixtureRequest) -> tuple[tuple[Wrapper, ...], dict[str, Sass]]:
    """All kernels of one architecture, compiled at once: the compiler takes milliseconds for each, and 50 to start."""
    arch, wrappers = request.param
    cubin = compile_cubin("".join(kernel(f"k{number}", wrapper) for number, wrapper in enumerate(wrappers)), arch)
    assert not cubin.faults
    return wrappers, disassemble(cubin.code)


def test_each_wrapper_becomes_its_instructions(machine_code: tuple[tuple[Wrapper, ...], dict[str, Sass]]) -> None:
    wrappers, kernels = machine_code
    lacking = []
    for number, wrapper in enumerate(wrappers):
        sass = kernels[f"k{number}"]
        for opcode, times in Counter(wrapper.sass.split()).items():
            if sass.count(opcode) < times:
                lacking.append(f"{wrapper.body}: {times} of {opcode}, not in {dict(sass.opcodes())}")
    assert not lacking, "\n".join(lacking)


def test_no_shared_or_global_access_is_generic(machine_code: tuple[tuple[Wrapper, ...], dict[str, Sass]]) -> None:
    wrappers, kernels = machine_code
    for number, wrapper in enumerate(wrappers):
        assert not kernels[f"k{number}"].count("LD") + kernels[f"k{number}"].count("ST"), wrapper.body


def test_every_name_is_covered() -> None:
    text = "".join(kernel("k", wrapper) for wrapper in (*SM_80, *HOPPER))
    compiled_elsewhere = {"TW_CLUSTER", "TW_DEVICE"}
    assert names() - set(re.findall(r"\b(?:tw|TW)_\w+", text)) == compiled_elsewhere
