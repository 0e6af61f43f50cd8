"""The text of kernels: golden files of small ones, how expressions are spelled, and what cannot be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tilewright import te
from tilewright.codegen.cuda.kernel import Kernel, Program
from tilewright.codegen.cuda.text.emit import emit, emit_programs
from tilewright.codegen.interp import interpret
from tilewright.ir import expr as e
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import DType, Kind, float32, int32
from tilewright.ir.errors import CodegenError
from tilewright.ir.expr import Const, Var
from tilewright.ir.parser import parse_function
from tilewright.ir.stmt import Allocate, Stmt, Store
from tilewright.runtime.cuda.emulator.image import Emulator
from tilewright.runtime.cuda.emulator.verify import verify_all
from tilewright.schedule import create_schedule, lower

from .emulated import AMPERE, emulated

# -- whole kernels ----------------------------------------------------------------------------------------------------


def text_of(*scheduled) -> str:
    (kernels,) = emulated(scheduled)
    return kernels.source.text.partition("TW_KERNEL")[2]


def test_a_sum_of_vectors(golden: Callable):
    n = te.var("n")
    a, b = te.placeholder((n,), name="A"), te.placeholder((n,), name="B")
    c = te.compute((n,), lambda i: a[i] + b[i], name="C")
    s = create_schedule(c.op)
    block, thread = s[c].split(c.op.axis[0], factor=64)
    s[c].bind(block, "blockIdx.x")
    s[c].bind(thread, "threadIdx.x")
    golden(text_of(s, [a, b, c]), "emit_vectors.cu")


def test_a_scaled_tile(golden: Callable):
    """Wide accesses, a shared copy, registers, unrolled loops."""
    a = te.placeholder((64, 64), "float16", "A")
    b = te.compute((64, 64), lambda i, j: a[j, i].astype("float32") * 2 + 1, name="B")
    s = create_schedule(b.op)
    copy = s.cache_read(a, "shared", [b])
    io, jo, ii, ji = s[b].tile(*b.op.axis, 16, 32)
    ji, lane = s[b].split(ji, factor=4)
    for axis, thread in ((io, "blockIdx.y"), (jo, "blockIdx.x"), (ii, "threadIdx.y"), (ji, "threadIdx.x")):
        s[b].bind(axis, thread)
    s[b].vectorize(lane)
    s[copy].compute_at(s[b], jo)
    s[copy].storage_align(s[copy].op.axis[0], 8, 2)
    row, column = s[copy].op.axis
    column, pair = s[copy].split(column, factor=2)
    s[copy].vectorize(pair)
    s[copy].bind(s[copy].split(row, nparts=16)[0], "threadIdx.y")
    s[copy].bind(column, "threadIdx.x")
    golden(text_of(s, [a, b]), "emit_tile.cu")


# -- expressions ------------------------------------------------------------------------------------------------------

EXPRESSIONS = {
    "negative quotients": ("int32", "floordiv(A[i] - 3, 4) * 10 + (A[i] - 3) % 4"),
    "narrow sums wrap": ("int8", "A[i] * A[i] + A[i] + 100"),
    "unsigned": ("uint8", "A[i] * A[i] - 7"),
    "bits": ("int32", "bitwise_xor(shift_left(A[i], 3), bitwise_and(A[i], 5))"),
    "choices": ("float32", "if_then_else(A[i] < 0.0, 0.0 - A[i], A[i] * 0.5)"),
    "extremes": ("float32", "max(min(A[i], 2.0), -1.5)"),
    "conditions": ("int32", "select(not A[i] == 2 and (A[i] < 1 or 3 <= A[i]), 7, -7)"),
    "infinities": ("float32", 'max(A[i], float32("-inf")) + if_then_else(A[i] < 0.0, float32("inf"), -0.0)'),
    "long": ("int64", "A[i] * int64(4294967296) + int64(-9223372036854775808)"),
    "least": ("int32", "A[i] * -2147483648 + A[i] + -2147483648"),
    "halves": ("float16", "A[i] * A[i] + A[i]"),
    "doubles": ("float64", "A[i] / 3.0"),
}


def written(dtype: str, text: str) -> str:
    return f"""
def main(A: {dtype}[9], B: Out[{dtype}[9]]):
    for i in thread("threadIdx.x", 9):
        B[i] = {text}
"""


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions_mean_what_the_interpreter_says(name: str):
    dtype, text = EXPRESSIONS[name]
    function = parse_function(written(dtype, text).replace("floordiv(A[i] - 3, 4)", "((A[i] - 3) // 4)"))
    source = emit([function], AMPERE)
    a = np.arange(-4, 5).astype(dtype)
    expected = np.empty_like(a)
    interpret(function, [a, expected])
    made = verify_all(Emulator().compile(source), source, {"A": a, "B": np.empty_like(a)}, ["B"])
    np.testing.assert_array_equal(made["B"], expected)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "uint32", "uint64", "bool"])
def test_every_type_is_copied(dtype: str):
    function = parse_function(written(dtype, "A[i]"))
    source = emit([function], AMPERE)
    a = np.arange(9).astype(dtype)
    made = verify_all(Emulator().compile(source), source, {"A": a, "B": np.empty_like(a)}, ["B"])
    np.testing.assert_array_equal(made["B"], a)


def test_large_buffers_are_indexed_in_64_bits():
    text = emit(
        [parse_function(written("float32", "A[i]").replace("[9]", "[65536, 65536]").replace("[i]", "[i, i]"))], AMPERE
    ).text
    assert "(long long)threadIdx_x*65537" in text


def test_names_of_c_are_not_taken():
    text = emit(
        [parse_function("""
def main(float: float32[4], tw_x: Out[float32[4]]):
    for int in thread("blockIdx.x", 2):
        for new in range(2):
            tw_x[int * 2 + new] = float[int * 2 + new]
""")],
        AMPERE,
    ).text  # fmt: skip
    assert "const float* __restrict__ float_" in text
    assert "for (int new_ = 0;" in text


# -- refusals ---------------------------------------------------------------------------------------------------------

OUT = Buffer("B", (Const(4),), float32)


def emitted(body: Stmt) -> str:
    """Emit a kernel that no schedule gives."""
    one = (Const(1), Const(1), Const(1))
    return emit_programs([Program("f", (OUT,), (OUT,), (Kernel("f0", (OUT,), (OUT,), one, (1, 1, 1), body),))]).text


def refused(body: Stmt, fact: str) -> None:
    with pytest.raises(CodegenError) as caught:
        emitted(body)
    assert caught.value.fact == fact
    assert caught.value.advice


def test_a_function_that_the_device_language_has_not():
    refused(Store(OUT, (Const(0),), e.Call("cbrtf", (Const(1.0, float32),), float32)), "no function 'cbrtf' on a GPU")


def test_memory_that_is_no_threads_own():
    shared = Buffer("S", (Const(4),), float32, "shared")
    refused(
        Allocate(shared, Store(OUT, (Const(0),), Const(0.0, float32))),
        "S is kept in shared memory where only registers are left",
    )


def test_registers_of_unknown_number():
    local = Buffer("L", (Var("n", int32, 0),), float32, "local")
    refused(Allocate(local, Store(OUT, (Const(0),), Const(0.0, float32))), "a local buffer has the extent n")


def test_statements_and_expressions_of_other_stages():
    read = te.placeholder((4,), name="A")[0]
    refused(Store(OUT, (Const(0),), read), "no meaning for Read")


def test_types_that_no_memory_holds():
    odd = Buffer("L", (Const(4),), DType(Kind.INT, 24), "local")
    with pytest.raises(CodegenError) as caught:
        emitted(Allocate(odd, Store(OUT, (Const(0),), Const(0.0, float32))))
    assert caught.value.fact == "no C type for int24"


def test_lowering_a_schedule_names_the_kernels_after_the_function():
    a = te.placeholder((4,), name="A")
    b = te.compute((4,), lambda i: a[i], name="B")
    source = emit([lower(create_schedule(b.op), [a, b], "copy")], AMPERE)
    assert [launch.name for launch in source.launches] == ["copy_kernel0"]
