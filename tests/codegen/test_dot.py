"""Four-byte dot products are exact on every path, and use VNNI exactly where the processor has it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tilewright.codegen.llvm.dot import dot2, dot4, dot_instruction, pair_registers
from tilewright.codegen.llvm.features import has
from tilewright.ir.target import Target

from .loader import Loaded, assembly, host, plain

LANES = (2, 3, 4, 5, 8, 12, 16, 20, 32, 64)
EXTREMES = np.array([0, 1, 127, 128, 129, 255], np.uint8)


def module(signed: bool, lanes: int, target: Target) -> str:
    dot = dot4(signed, lanes, target)
    words = f"<{lanes} x i32>"
    return f"""{dot.definition}
define void @run(ptr %c, ptr %a, ptr %b) {{
  %acc = load {words}, ptr %c, align 4
  %word = load i32, ptr %a, align 1
  %bytes = load <{4 * lanes} x i8>, ptr %b, align 1
  %sum = call {words} {dot.symbol}({words} %acc, i32 %word, <{4 * lanes} x i8> %bytes)
  store {words} %sum, ptr %c, align 4
  ret void
}}
"""


def wrapped_sum(acc: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    exact = acc.astype(np.int64) + (a.astype(np.int64) * b.reshape(-1, 4).astype(np.int64)).sum(axis=1)
    return exact.astype(np.uint64).astype(np.uint32).view(np.int32)


def operands(lanes: int, rounds: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Give accumulators, bytes of a and bytes of b: random ones and ones at the ends of their ranges."""
    random = np.random.default_rng(lanes)
    cases = []
    for n in range(rounds):
        acc = random.integers(-(2**31), 2**31, lanes).astype(np.int32)
        a = random.choice(EXTREMES, 4) if n % 2 else random.integers(0, 256, 4).astype(np.uint8)
        b = random.choice(EXTREMES, 4 * lanes) if n % 3 else random.integers(0, 256, 4 * lanes).astype(np.uint8)
        cases.append((acc, a, b))
    extremes = [(np.zeros(lanes, np.int32), np.full(4, x), np.full(4 * lanes, y)) for x in EXTREMES for y in EXTREMES]
    return cases + extremes


def x86(cpu: str, features: str = "") -> Target:
    return Target(triple="x86_64-unknown-linux-gnu", cpu=cpu, features=features)


def arm(cpu: str, features: str = "") -> Target:
    return Target(triple="aarch64-unknown-linux-gnu", cpu=cpu, features=features)


NEED = {"haswell": "avx2", "skylake-avx512": "avx512bw", "cascadelake": "avx512vnni", "alderlake": "avxvnni"}
OF_THIS_MACHINE = [host(), plain(), *(x86(cpu) for cpu, feature in NEED.items() if has(host(), feature))]


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("target", OF_THIS_MACHINE, ids=lambda target: target.cpu)
def test_sums_equal_integer_arithmetic(target: Target, signed: bool, lanes: int) -> None:
    loaded = Loaded(module(signed, lanes, target), target)
    for acc, a, b in operands(lanes, 60):
        want = wrapped_sum(acc, a.view(np.int8) if signed else a, b.view(np.int8))
        got = acc.copy()
        loaded.call("run", got, np.ascontiguousarray(a), np.ascontiguousarray(b))
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "target",
    [
        x86("cascadelake"),
        x86("znver5"),
        x86("alderlake"),
        x86("x86-64", "+avx512vnni"),
        x86("x86-64", "+avx512vnni,+avx512vl"),
        x86("x86-64", "+avxvnni"),
    ],
    ids=str,
)
def test_vnni_target_uses_its_instruction(target: Target, signed: bool, lanes: int) -> None:
    assert "vpdpbusd" in assembly(module(signed, lanes, target), target)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "target",
    [
        plain(),
        x86("skylake-avx512"),
        x86("cascadelake", "-avx512vnni"),
        x86("znver4", "-avx512f"),
        arm("generic"),
        arm("neoverse-n1", "-dotprod"),
    ],
    ids=str,
)
def test_other_targets_do_without(target: Target, signed: bool) -> None:
    text = assembly(module(signed, 16, target), target)
    assert "vpdpbusd" not in text and "dot\t" not in text
    assert "pmaddubsw" not in text, "it saturates"


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("cpu, lanes, register", [("x86-64", 4, "x"), ("haswell", 8, "y"), ("skylake-avx512", 16, "z")])
def test_older_x86_multiplies_widened_bytes_a_register_at_a_time(
    cpu: str, lanes: int, register: str, signed: bool
) -> None:
    text = assembly(module(signed, lanes, x86(cpu)), x86(cpu))
    assert len(re.findall(rf"pmaddwd\t.*%{register}mm", text)) == text.count("pmaddwd") == 2
    assert text.count("pmov") == 0, "bytes need not change places to be widened"


@pytest.mark.parametrize("signed, count", [(True, 1), (False, 2)])
def test_dot_products_of_neon_are_used(signed: bool, count: int) -> None:
    for target in (arm("neoverse-n1"), arm("cortex-a72", "+dotprod")):
        assert assembly(module(signed, 4, target), target).count("sdot\t") == count


def test_sixteen_unsigned_lanes_are_one_instruction() -> None:
    text = assembly(module(False, 16, x86("cascadelake")), x86("cascadelake"))
    assert text.count("vpdpbusd") == 1
    assert "vpmadd" not in text


def test_features_override_the_processor() -> None:
    assert has(x86("cascadelake"), "avx512vnni")
    assert not has(x86("cascadelake", "-avx512vnni"), "avx512vnni")
    assert has(x86("x86-64", "+sse3,+avx512vnni"), "avx512vnni")
    assert not has(x86(""), "avx512vnni")
    assert has(x86("x86-64", "+avx512vl"), "f16c")
    assert not has(x86("x86-64", "+avx2"), "f16c")


@pytest.mark.parametrize(
    ("target", "lanes"),
    [
        (x86("cascadelake"), (16, 8, 4)),
        (x86("x86-64", "+avx512vnni"), (16,)),
        (x86("alderlake"), (8, 4)),
        (x86("x86-64-v4"), ()),
    ],
    ids=str,
)
def test_register_widths_follow_the_features(target: Target, lanes: tuple[int, ...]) -> None:
    instruction = dot_instruction(target)
    assert (tuple(instruction.symbols) if instruction else ()) == lanes


@pytest.mark.parametrize(
    ("target", "lanes"),
    [
        (x86("x86-64"), (4,)),
        (x86("ivybridge"), (4,)),
        (x86("haswell"), (8, 4)),
        (x86("x86-64-v4"), (16, 8, 4)),
        (x86("x86-64-v4", "-avx512f"), (8, 4)),
        (x86("x86-64-v4", "-avx2"), (4,)),
        (arm("neoverse-n1"), ()),
    ],
    ids=str,
)
def test_widths_of_pairs_follow_the_features(target: Target, lanes: tuple[int, ...]) -> None:
    assert pair_registers(target) == lanes


def module_of_pairs(lanes: int, target: Target) -> str:
    dot = dot2(lanes, target)
    words = f"<{lanes} x i32>"
    return f"""{dot.definition}
define void @run(ptr %c, ptr %a, ptr %b) {{
  %acc = load {words}, ptr %c, align 4
  %word = load i32, ptr %a, align 2
  %pairs = load <{2 * lanes} x i16>, ptr %b, align 2
  %sum = call {words} {dot.symbol}({words} %acc, i32 %word, <{2 * lanes} x i16> %pairs)
  store {words} %sum, ptr %c, align 4
  ret void
}}
"""


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("target", OF_THIS_MACHINE, ids=lambda target: target.cpu)
def test_sums_of_pairs_equal_integer_arithmetic(target: Target, lanes: int) -> None:
    loaded, random = Loaded(module_of_pairs(lanes, target), target), np.random.default_rng(lanes)
    for n in range(40):
        acc = random.integers(-(2**31), 2**31, lanes).astype(np.int32)
        ends = np.array([-(2**15), -1, 0, 255, 2**15 - 1], np.int16)
        a = random.choice(ends, 2) if n % 2 else random.integers(-(2**15), 2**15, 2).astype(np.int16)
        b = random.choice(ends, 2 * lanes) if n % 3 else random.integers(-128, 128, 2 * lanes).astype(np.int16)
        exact = acc.astype(np.int64) + b.reshape(-1, 2).astype(np.int64) @ a.astype(np.int64)
        loaded.call("run", acc, a, b)
        np.testing.assert_array_equal(acc, exact.astype(np.uint64).astype(np.uint32).view(np.int32))


@pytest.mark.parametrize("cpu, lanes, register", [("x86-64", 4, "x"), ("haswell", 8, "y"), ("skylake-avx512", 16, "z")])
def test_pairs_are_one_multiplication_a_register(cpu: str, lanes: int, register: str) -> None:
    text = assembly(module_of_pairs(lanes, x86(cpu)), x86(cpu))
    assert len(re.findall(rf"pmaddwd\t.*%{register}mm", text)) == text.count("pmaddwd") == 1
