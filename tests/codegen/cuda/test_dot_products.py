"""Dot products of four bytes by one instruction of a thread."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright import te
from tilewright.ir.errors import ExpressionError
from tilewright.ir.stmt import Function
from tilewright.runtime.cuda.compiler.compile import compile_cubin
from tilewright.runtime.cuda.compiler.sass import disassemble
from tilewright.schedule import create_schedule, lower
from tilewright.te import Tensor
from tilewright.te.operators.tensor_cores import dp4a

from .running import emulated, interpreted, kernels_of


def product(m: int, n: int, k: int, left: str, transpose_b: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Give A (m, k), B (k, n) or (n, k), and C = A B in int32."""
    a = te.placeholder((m, k), left, "A")
    b = te.placeholder((n, k) if transpose_b else (k, n), "int8", "B")
    r = te.reduce_axis((0, k), "r")

    def element(i, j):
        right = b[(j, r) if transpose_b else (r, j)]
        return te.sum(a[i, r].astype("int32") * right.astype("int32"), axis=r)

    return a, b, te.compute((m, n), element, name="C")


def one_for_each_thread(m: int, n: int, k: int, left: str, transpose_b: bool) -> Function:
    """Give a nest in which each thread computes one element, four products at once."""
    a, b, c = product(m, n, k, left, transpose_b)
    s = create_schedule(c.op)
    _, taps = s[c].split(c.op.reduce_axis[0], factor=4)
    s[c].bind(c.op.axis[0], "blockIdx.x")
    s[c].bind(c.op.axis[1], "threadIdx.x")
    s[c].tensorize(taps, dp4a(left))
    return lower(s, [a, b, c])


def tiled(size: int, in_registers: bool) -> Function:
    """Give a nest in which 64 threads compute 32 x 32 elements from shared tiles, padded to keep words aligned."""
    a, b, c = product(size, size, size, "int8", True)
    s = create_schedule(c.op)
    sums = s.cache_write(c, "local")
    i_o, j_o, i, j = s[c].tile(*s[c].op.axis, 32, 32)
    y, i = s[c].split(i, factor=4)
    x, j = s[c].split(j, factor=4)
    s[c].reorder(i_o, j_o, y, x, i, j)
    for axis, thread in ((i_o, "blockIdx.y"), (j_o, "blockIdx.x"), (y, "threadIdx.y"), (x, "threadIdx.x")):
        s[c].bind(axis, thread)
    s[c].vectorize(j)
    s[sums].compute_at(s[c], x)
    (i, j), (k,) = s[sums].op.axis, s[sums].op.reduce_axis
    k_o, k = s[sums].split(k, factor=32)
    k_m, taps = s[sums].split(k, factor=4)
    s[sums].reorder(k_o, k_m, i, j, taps)
    s[sums].tensorize(taps, dp4a())
    for axis in (k_m, i, j):
        s[sums].unroll(axis)
    for tensor in (a, b):
        tile = s.cache_read(tensor, "shared", [sums])
        s[tile].compute_at(s[sums], k_o)
        s[tile].storage_align(s[tile].op.axis[0], 32, 4)
        fused, lane = s[tile].split(s[tile].fuse(*s[tile].op.axis), factor=4)
        fused, x = s[tile].split(fused, factor=8)
        _, y = s[tile].split(fused, factor=8)
        s[tile].vectorize(lane)
        s[tile].bind(x, "threadIdx.x")
        s[tile].bind(y, "threadIdx.y")
        if in_registers:
            held = s.cache_read(tile, "local", [sums])
            s[held].compute_at(s[sums], k_m)
            s[held].vectorize(s[held].op.axis[1])
    return lower(s, [a, b, c])


@pytest.mark.parametrize("left", ["int8", "uint8"])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_values_and_words(left: str, transpose_b: bool):
    rng = np.random.default_rng(5)
    a = rng.integers(0, 256, (5, 16)).astype(left)
    b = rng.integers(-128, 128, (7, 16) if transpose_b else (16, 7)).astype(np.int8)
    function = one_for_each_thread(5, 7, 16, left, transpose_b)
    expected = a.astype(np.int32) @ (b.T if transpose_b else b).astype(np.int32)
    np.testing.assert_array_equal(interpreted(function, a, b), expected)
    np.testing.assert_array_equal(emulated(function, a, b), expected)
    text = kernels_of(function).text
    assert f"tw_dp4a_{'u8' if left == 'uint8' else 's8'}s8(" in text
    assert text.count("tw_load_word(") == (2 if transpose_b else 1)


@pytest.mark.parametrize("in_registers", [False, True])
def test_tiles_in_shared_memory_and_registers(in_registers: bool):
    rng = np.random.default_rng(6)
    a, b = (rng.integers(-128, 128, (64, 64)).astype(np.int8) for _ in range(2))
    function = tiled(64, in_registers)
    np.testing.assert_array_equal(emulated(function, a, b), a.astype(np.int32) @ b.T.astype(np.int32))


@pytest.mark.parametrize("in_registers", [False, True])
def test_words_are_loaded_whole_and_never_put_together(in_registers: bool):
    cubin = compile_cubin(kernels_of(tiled(64, in_registers)).text, "sm_80")
    assert not cubin.faults
    (sass,) = disassemble(cubin.code).values()
    assert (sass.count_hot("IDP.4A"), sass.count_hot("PRMT"), sass.count_hot("LDS.U8")) == (128, 0, 0)


def test_types_without_an_instruction_are_refused():
    with pytest.raises(ExpressionError, match="no instruction for int16"):
        dp4a("int16")
