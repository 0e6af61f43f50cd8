"""Stores past the caches: which there are for which addresses, that values are the same, and the fence after them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tilewright.codegen.llvm.compile import compile_ir
from tilewright.codegen.llvm.emit import emit
from tilewright.codegen.pipeline import lower
from tilewright.ir.arith import const
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import DType, float16, float32, float64, uint8
from tilewright.ir.expr import Const, Load, Var
from tilewright.ir.stmt import Annotation, For, ForKind, Function, If, Stmt, Store, seq
from tilewright.ir.target import Target

from .machine import Loaded, host

PARALLEL, VECTOR = ForKind.PARALLEL, ForKind.VECTORIZED
ARM = Target("llvm", "aarch64-linux-gnu", "neoverse-n1", "", 128, 32)
STREAMED = r"store <(\d+) x (\w+)> .* align (\d+), !nontemporal"


def copies(
    dtype: DType = float32, lanes: int = 32, rows: int = 6, pitch: int | None = None, kind: ForKind = PARALLEL
) -> Function:
    """Give rows of vectors that are copied, streamed, `pitch` elements apart."""
    i, j = Var("i"), Var("j")
    shape = (const(rows), const(pitch or lanes))
    a, c = Buffer("a", shape, dtype), Buffer("c", shape, dtype)
    body = For(j, Const(lanes), Store(c, (i, j), Load(a, (i, j))), VECTOR)
    return Function("copy", (a, c), For(i, Const(rows), body, kind, annotations=(Annotation("stream", "c"),)), (c,))


def at(array: np.ndarray, offset_bytes: int) -> np.ndarray:
    """Give a copy whose address is so many bytes above a multiple of 64."""
    memory = np.zeros(array.nbytes + 128, np.uint8)
    first = -memory.ctypes.data % 64 + offset_bytes
    view = memory[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def unfenced(text: str) -> list[str]:
    """Give the functions that stream and return 0 without a fence right before."""
    bodies = re.findall(r"^define .*?@([\w.\"]+)\(.*?^}", text, re.MULTILINE | re.DOTALL)
    parts = re.split(r"^define ", text, flags=re.MULTILINE)[1:]
    ends = ("sfence()\n  ret i32 0" in part for part in parts)
    return [name for name, part, end in zip(bodies, parts, ends, strict=True) if "!nontemporal" in part and not end]


@pytest.mark.parametrize("offset", [0, 4, 16, 24, 32, 48])
@pytest.mark.parametrize("kind", [PARALLEL, ForKind.SERIAL])
def test_every_address_gets_the_same_values(offset: int, kind: ForKind) -> None:
    function = lower(copies(kind=kind), host())
    data = np.arange(192, dtype=np.float32).reshape(6, 32)
    given, result = at(data, 4), at(np.zeros_like(data), offset)
    assert Loaded(function)(given, result) == 0
    np.testing.assert_array_equal(result, data)


@pytest.mark.parametrize(
    ("dtype", "lanes", "pieces"),
    [
        (float32, 32, ("16", "64")),
        (float64, 16, ("16", "64")),
        (float16, 32, ("16", "32")),
        (uint8, 64, ("16", "64")),
        (float32, 8, ("16", "32")),
    ],
    ids=str,
)
def test_one_version_for_lines_and_one_for_other_alignments(dtype: DType, lanes: int, pieces: tuple[str, str]) -> None:
    text = emit([copies(dtype, lanes)], replace(host(), vector_bits=512))
    found = re.findall(STREAMED, text)
    assert {align for *_, align in found} == set(pieces)
    assert all(int(n) * dtype.bytes == int(align) for n, _, align in found)
    assert "sfence" in text and unfenced(text) == []


@pytest.mark.parametrize(
    "function",
    [copies(pitch=33), copies(lanes=3, kind=ForKind.SERIAL), copies(lanes=12, pitch=15)],
    ids=["rows that begin anywhere", "fewer than 16 bytes", "pieces of registers"],
)
def test_what_is_not_aligned_is_stored_as_ever(function: Function) -> None:
    text = emit([function], host())
    assert "!nontemporal" not in text and "sfence" not in text
    data = np.arange(np.prod([int(n.value) for n in function.params[0].shape]), dtype=np.float32)
    data = data.reshape([int(n.value) for n in function.params[0].shape])
    result = np.zeros_like(data)
    assert Loaded(function)(data, result) == 0
    assert result.any()


def test_lanes_that_are_masked_are_stored_as_ever() -> None:
    i, n = Var("i"), Var("n")
    a, c = (Buffer(name, (const(16),), float32) for name in "ac")
    body: Stmt = If(i < n, Store(c, (i,), Load(a, (i,))))
    loop = For(i, Const(16), body, VECTOR, annotations=(Annotation("stream", "c"),))
    function = Function("some", (a, c, n), loop, (c,))
    data, result = np.arange(16, dtype=np.float32), np.zeros(16, np.float32)
    assert Loaded(function)(data, result, 5) == 0
    np.testing.assert_array_equal(result, np.where(np.arange(16) < 5, data, 0))


def test_two_results_are_streamed_where_both_are_aligned() -> None:
    i = Var("i")
    a, c, d = (Buffer(name, (const(16),), float32) for name in "acd")
    body = seq(Store(c, (i,), Load(a, (i,))), Store(d, (i,), Load(a, (i,)) * 2.0))
    marks = (Annotation("stream", "c"), Annotation("stream", "d"))
    function = Function("two", (a, c, d), For(i, Const(16), body, VECTOR, annotations=marks), (c, d))
    assert len(re.findall(STREAMED, emit([function], replace(host(), vector_bits=512)))) == 2 + 2 * 4
    data = np.arange(16, dtype=np.float32)
    for offsets in ((0, 0), (0, 16), (64, 4)):
        results = [at(np.zeros_like(data), offset) for offset in offsets]
        assert Loaded(function)(data, *results) == 0
        np.testing.assert_array_equal(results, [data, data * 2])


def test_arm_has_such_stores_and_needs_no_fence() -> None:
    text = emit([copies()], ARM)
    assert "!nontemporal" in text and "sfence" not in text
    assert "stnp" in compile_ir(text, ARM).assembly


def test_x86_has_the_instructions() -> None:
    assembly = compile_ir(emit([copies()], host()), host()).assembly
    assert "vmovntps" in assembly and "sfence" in assembly
