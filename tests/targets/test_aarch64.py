"""Code for AArch64: what its assembly says.  `make aarch64-check` runs it, under qemu."""

from __future__ import annotations

import re
from functools import cache

import pytest

import tilewright
from tilewright import te
from tilewright.autotune.templates import register_tile
from tilewright.codegen.llvm.assembly import spills_in_hot_loop
from tilewright.ir.target import Target
from tilewright.runtime.build import build
from tilewright.runtime.host import resolve
from tilewright.runtime.library import library_code
from tilewright.te.operators.intrinsics import dot4_s8s8_i32, dot4_u8s8_i32

from .workloads import WORKLOADS, Workload, nest_of, task_of, title

NEOVERSE, CORTEX = (f"llvm -mtriple=aarch64-linux-gnu -mcpu={cpu}" for cpu in ("neoverse-n1", "cortex-a72"))
BY_LANE = r"fmla\tv\d+\.4s, v\d+\.4s, v\d+\.s\[\d\]"
LINKED = {"tilewright_parallel_for", "tilewright_alloc", "tilewright_free", "memcpy", "memset"}


@cache
def assembly(workload: Workload, target: str) -> str:
    """Give the code of a workload's default configuration."""
    task = task_of(workload, target)
    return build(nest_of(task, task.config_space.default_config()), target=target, effort="quick").assembly


def called(text: str) -> set[str]:
    """Give the functions from outside that are called, or jumped to at the end."""
    own = set(re.findall(r"^([\w.$]+):", text, re.MULTILINE))
    return set(re.findall(r"^\tbl?\t([A-Za-z_][\w.$]*)", text, re.MULTILINE)) - own


@pytest.mark.parametrize("workload", WORKLOADS, ids=title)
def test_nothing_is_called_but_the_runtime(workload: Workload) -> None:
    assert called(assembly(workload, NEOVERSE)) <= LINKED


def test_register_tiles_are_those_of_neon() -> None:
    for target in (NEOVERSE, CORTEX):
        assert (register_tile.lanes_of(resolve(target)), register_tile.registers_of(resolve(target))) == (4, 32)


@pytest.mark.parametrize(
    "workload",
    [
        ("matmul", (64, 64, 64)),
        ("conv2d", ((1, 16, 8, 8), (16, 3, 3), 1, 1, 1, 1, "NCHW16c")),
        ("conv2d", ((1, 16, 16, 16), (16, 1, 1), 1, 0, 1, 1, "NHWC")),
    ],
    ids=title,
)
def test_products_are_multiply_adds_by_lane_that_stay_in_registers(workload: Workload) -> None:
    text = assembly(workload, NEOVERSE)
    assert len(re.findall(BY_LANE, text)) >= 16
    assert spills_in_hot_loop(text, "main") == 0


def test_depthwise_convolutions_are_multiply_adds_of_vectors() -> None:
    text = assembly(("depthwise_conv2d", ((1, 32, 9, 9), (3, 3), 1, 1, 1, "NCHW16c")), NEOVERSE)
    assert len(re.findall(r"fmla\tv\d+\.4s, v\d+\.4s, v\d+\.4s", text)) >= 36


def test_float16_is_converted_four_at_a_time() -> None:
    text = assembly(("matmul", (17, 40, 36, False, False, "float16")), NEOVERSE)
    assert "fcvtl\t" in text and "fcvtn\t" in text


def dots(target: str, signed: bool) -> str:
    """Give the code of a product of bytes with 8 lanes."""
    a = te.placeholder((6, 32), "int8" if signed else "uint8", name="a")
    b = te.placeholder((1, 8, 8, 4), "int8", name="b")
    k, r = te.reduce_axis((0, 8), "k"), te.reduce_axis((0, 4), "r")
    c = te.compute(
        (6, 8),
        lambda i, j: te.sum(a[i, 4 * k + r].astype("int32") * b[0, k, j, r].astype("int32"), axis=[k, r]),
        name="c",
    )
    s = tilewright.create_schedule(c.op)
    i, j = c.op.axis
    s[c].reorder(i, k, j, r)
    s[c].tensorize(j, (dot4_s8s8_i32 if signed else dot4_u8s8_i32)(8))
    return build(s, [a, b, c], target, effort="quick").assembly


@pytest.mark.parametrize("signed", [True, False])
def test_products_of_bytes_are_dot_products_where_the_processor_has_them(signed: bool) -> None:
    for target in (NEOVERSE, f"{CORTEX} -mattr=+dotprod"):
        assert re.search(r"sdot\tv\d+\.4s, v\d+\.16b, v\d+\.(16b|4b\[\d\])", dots(target, signed))
    assert "sdot\t" not in dots(CORTEX, signed)


# -- runtime --------------------------------------------------------------------------------------------------------


def test_the_thread_pool_is_linuxs() -> None:
    text = library_code(resolve(NEOVERSE), pic=True).assembly
    assert {"pthread_create", "pthread_once", "syscall"} <= called(text)
    assert re.search(r"mov\tw0, #98\b", text), "futex"


@pytest.mark.parametrize("target, atomic", [(NEOVERSE, r"ldadd\w*\t"), (CORTEX, r"ldaxr\w*\t")])
def test_atomic_operations_are_instructions(target: str, atomic: str) -> None:
    text = library_code(resolve(target), pic=True).assembly
    assert re.search(atomic, text)
    assert not [name for name in called(text) if name.startswith("__aarch64")], "helpers of the C compiler"


def test_a_target_is_spelled_as_gcc_or_as_llvm_does() -> None:
    for triple in ("aarch64-linux-gnu", "aarch64-unknown-linux-gnu"):
        code = library_code(resolve(Target(triple=triple, cpu="generic")), pic=True).code
        assert code[:4] == b"\x7fELF" and code[18] == 183  # AArch64
