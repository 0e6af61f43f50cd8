"""Loop nests as generated code: accesses, masks, register cells, allocations, parallel loops, sizes.

Oracle: NumPy where one line says it, else the interpreter.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tilewright.codegen.interp import interpret
from tilewright.codegen.llvm.compile import compile_ir
from tilewright.codegen.llvm.emit import emit
from tilewright.codegen.pipeline import lower
from tilewright.ir import arith
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import DType, boolean, float16, float32, float64, int8, int16, int32, uint8
from tilewright.ir.errors import CodegenError
from tilewright.ir.expr import Address, Call, Const, Expr, IfThenElse, Load, Select, Var
from tilewright.ir.stmt import Allocate, Evaluate, For, ForKind, Function, If, Let, Stmt, Store, seq

from .machine import Loaded, host

SERIAL, PARALLEL, VECTOR, UNROLLED = ForKind.SERIAL, ForKind.PARALLEL, ForKind.VECTORIZED, ForKind.UNROLLED
LANES = (2, 3, 4, 8, 12, 16, 20, 32)


def buffer(name: str, *shape: int | Expr, dtype: DType = float32, scope: str = "global") -> Buffer:
    """Give a row-major buffer."""
    return Buffer(name, tuple(arith.as_expr(n) for n in shape), dtype, scope)


def arrays_for(function: Function, sizes: dict[str, int], seed: int = 0) -> list[np.ndarray]:
    """Give random arrays for the parameters, small integers so that every order of a sum is exact."""
    rng = np.random.default_rng(seed)
    made = []
    for b in function.buffers:
        shape = [int(d.value) if isinstance(d, Const) else sizes[str(d)] for d in b.shape]
        made.append(rng.integers(0, 8, shape).astype("bool" if b.dtype == boolean else str(b.dtype)))
    return made


def check(function: Function, efforts: tuple[str, ...] = ("quick",), **sizes: int) -> list[np.ndarray]:
    """Assert that generated code, before and after the passes, writes what the interpreter writes; give that."""
    expected = arrays_for(function, sizes)
    interpret(function, expected)
    lowered = lower(function, host())
    for kernel in (function,) if lowered is function else (function, lowered):
        for effort in efforts:
            got = arrays_for(function, sizes)
            loaded = Loaded(kernel, effort)
            assert loaded(*got) == 0
            assert loaded.alive.value == 0
            for b, x, y in zip(function.buffers, got, expected, strict=True):
                np.testing.assert_array_equal(x, y, err_msg=f"{b.name} at effort {effort} of\n{kernel}")
    return expected


def copy(index: Expr, source: Buffer, i: Var, lanes: int, dtype: DType = float32) -> Function:
    """Give the kernel `out[i] = source[index]` over vector lanes i."""
    out = buffer("out", lanes, dtype=dtype)
    body = For(i, Const(lanes), Store(out, (i,), Load(source, (index,))), VECTOR)
    return Function("copy", (source, out), body, (out,))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [float32, float64, float16, uint8, boolean], ids=str)
@pytest.mark.parametrize("stride", [0, 1, 2, 3, 5, -1, -2])
def test_strided_loads(lanes: int, stride: int, dtype: DType) -> None:
    i = Var("i")
    source = buffer("source", 1 + abs(stride) * (lanes - 1), dtype=dtype)
    check(copy(i * stride if stride >= 0 else (i - (lanes - 1)) * stride, source, i, lanes, dtype))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [float32, float64, float16, uint8, boolean], ids=str)
@pytest.mark.parametrize("stride", [0, 1, 2, 3, -1])
def test_strided_stores(lanes: int, stride: int, dtype: DType) -> None:
    i = Var("i")
    source = buffer("source", lanes, dtype=dtype)
    out = buffer("out", 1 + abs(stride) * (lanes - 1), dtype=dtype)
    index = i * stride if stride >= 0 else (i - (lanes - 1)) * stride
    body = For(i, Const(lanes), Store(out, (index,), Load(source, (i,))), VECTOR)
    check(Function("strided", (source, out), body, (out,)))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("divisor", [2, 3, 4])
def test_quotients_and_remainders_of_lanes(lanes: int, divisor: int) -> None:
    i, o = Var("i"), Var("o")
    source, out = buffer("source", 4 * 32, 4), buffer("out", 8, lanes, 2)
    fused = o * lanes + i
    body = seq(
        Store(out, (o, i, Const(0)), Load(source, (fused // divisor % 128, fused % divisor % 4))),
        Store(out, (o, i, Const(1)), Load(source, ((i // divisor) % 128, i % divisor % 4))),
    )
    check(Function("fused", (source, out), For(o, Const(4), For(i, Const(lanes), body, VECTOR)), (out,)))


@pytest.mark.parametrize("lanes", LANES)
def test_gather_and_scatter(lanes: int) -> None:
    i = Var("i")
    where, source = buffer("where", lanes, dtype=int32), buffer("source", 8)
    out, table = buffer("out", lanes), buffer("table", 8)
    body = seq(
        Store(out, (i,), Load(source, (Load(where, (i,)),))),
        Store(table, (Load(where, (i,)),), Load(source, (Load(where, (i,)),)) + 1.0),
    )
    check(Function("gather", (where, source, out, table), For(i, Const(lanes), body, VECTOR), (out, table)))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [float32, uint8, boolean], ids=str)
def test_masked_tail(lanes: int, dtype: DType) -> None:
    o, i = Var("o"), Var("i")
    source, out = buffer("source", 37, dtype=dtype), buffer("out", 37, dtype=dtype)
    index = o * lanes + i
    body = If(index < 37, Store(out, (index,), Load(source, (index,))))
    nest = For(o, Const(-(-37 // lanes)), For(i, Const(lanes), body, VECTOR))
    check(Function("tail", (source, out), nest, (out,)))


@pytest.mark.parametrize("lanes", LANES)
def test_guarded_loads_stay_in_bounds(lanes: int) -> None:
    i, j = Var("i"), Var("j")
    source, row, out = buffer("source", lanes), buffer("row", 3), buffer("out", 3, lanes + 2)
    inside = arith.logical_and(i > 0, i <= lanes)
    padded = IfThenElse(inside, Load(source, (i - 1,)), Const(-1.0, float32))
    uniform = IfThenElse(i < 1, Load(row, (j,)), Const(2.0, float32))
    body = Store(out, (j, i), padded + uniform)
    check(Function("pad", (source, row, out), For(j, Const(3), For(i, Const(lanes + 2), body, VECTOR)), (out,)))


@pytest.mark.parametrize("lanes", LANES)
def test_branches_of_lanes(lanes: int) -> None:
    i, k = Var("i"), Var("k")
    a, out = buffer("a", lanes), buffer("out", lanes)
    heavy = For(k, Const(3), Store(out, (i,), Load(out, (i,)) + Load(a, (i,))))
    body = If(Load(a, (i,)) < 4.0, heavy, If(i < 2, Store(out, (i,), Const(9.0, float32)), None))
    check(Function("branches", (a, out), For(i, Const(lanes), body, VECTOR), (out,)))


@pytest.mark.parametrize("lanes", LANES)
def test_division_in_lanes_that_are_not_active(lanes: int) -> None:
    i = Var("i")
    a, b, out = (buffer(n, lanes, dtype=int32) for n in ("a", "b", "out"))
    body = If(arith.ne(Load(b, (i,)), 0), Store(out, (i,), Load(a, (i,)) // Load(b, (i,))))
    check(Function("divide", (a, b, out), For(i, Const(lanes), body, VECTOR), (out,)))


def test_nested_vector_loops_and_loops_in_vector_loops() -> None:
    i, j, k = Var("i"), Var("j"), Var("k")
    a, out = buffer("a", 4, 5, 16), buffer("out", 4, 16)
    update = Store(out, (i, j), Load(out, (i, j)) + Load(a, (i, k, j)))
    check(Function("inner", (a, out), For(i, Const(4), For(j, Const(16), For(k, Const(5), update), VECTOR)), (out,)))
    nested = For(i, Const(4), For(k, Const(5), For(j, Const(16), update, VECTOR)), VECTOR)
    check(Function("nested", (a, out), nested, (out,)))


def test_let_of_lanes_and_of_scalars() -> None:
    i, j, x, n = Var("i"), Var("j"), Var("x", float32), Var("n")
    a, out = buffer("a", 4, 8), buffer("out", 4, 8)
    body = Let(n, i * 2, Let(x, Load(a, (i, j)) * 2.0, Store(out, (i, j), x + x + n.astype(float32))))
    check(Function("lets", (a, out), For(i, Const(4), For(j, Const(8), body, VECTOR)), (out,)))


def matmul(m: int, n: int, k: int, tm: int, tn: int, tk: int, kinds: tuple[ForKind, ForKind, ForKind]) -> Function:
    """Give a tiled matmul that accumulates in the output."""
    a, b, c = buffer("a", m, k), buffer("b", k, n), buffer("c", m, n)
    io, jo, ko, ki, ii, ji, i0, j0 = (Var(x) for x in ("io", "jo", "ko", "ki", "ii", "ji", "i0", "j0"))
    row, column, term = io * tm + ii, jo * tn + ji, ko * tk + ki
    update: Stmt = Store(c, (row, column), Load(c, (row, column)) + Load(a, (row, term)) * Load(b, (term, column)))
    guards = [g for g, whole in ((row < m, m % tm == 0), (column < n, n % tn == 0)) if not whole]
    start: Stmt = Store(c, (io * tm + i0, jo * tn + j0), Const(0.0, float32))
    starts = [g for g, whole in ((io * tm + i0 < m, m % tm == 0), (jo * tn + j0 < n, n % tn == 0)) if not whole]
    if guards:
        update, start = If(arith.logical_and(*guards), update), If(arith.logical_and(*starts), start)
    if k % tk:
        update = If(term < k, update)
    tile = For(ii, Const(tm), For(ji, Const(tn), update, kinds[1]), kinds[0])
    first = For(i0, Const(tm), For(j0, Const(tn), start, kinds[1]), kinds[0])
    reduction = For(ko, Const(-(-k // tk)), For(ki, Const(tk), tile, kinds[2]))
    nest = For(io, Const(-(-m // tm)), For(jo, Const(-(-n // tn)), seq(first, reduction)))
    return Function("matmul", (a, b, c), nest, (c,))


@pytest.mark.parametrize("sizes", [(12, 32, 8), (13, 33, 7), (4, 64, 3)])
@pytest.mark.parametrize("tile", [(4, 16, 2), (3, 32, 1), (6, 20, 4), (1, 8, 1)])
@pytest.mark.parametrize("kinds", [(UNROLLED, VECTOR, UNROLLED), (SERIAL, VECTOR, SERIAL), (SERIAL, SERIAL, SERIAL)])
def test_matmul(sizes: tuple[int, int, int], tile: tuple[int, int, int], kinds: tuple[ForKind, ...]) -> None:
    got = check(matmul(*sizes, *tile, kinds), ("quick", "full"))  # type: ignore[arg-type]
    np.testing.assert_array_equal(got[2], got[0] @ got[1])


def test_promoted_tile_leaves_no_store_in_the_loop() -> None:
    function = lower(matmul(12, 32, 8, 4, 32, 1, (SERIAL, VECTOR, SERIAL)), host())
    reduction = Loaded(function).text.split("ret i32 0")[0].split("\nloop")
    assert len(reduction) == 3  # rows, reduction
    assert "store" not in reduction[-1].split("\ndone")[0]


def test_cells_through_loops_and_ifs() -> None:
    i, j, k, z = Var("i"), Var("j"), Var("k"), Var("z")
    a, out = buffer("a", 6, 4, 5), buffer("out", 6, 4)
    cell = buffer("cell", 4, scope="local")
    at = (j,)
    body = Allocate(
        cell,
        seq(
            For(z, Const(4), Store(cell, (z,), Const(1.0, float32)), UNROLLED),
            For(
                k,
                Const(5),
                For(
                    j,
                    Const(4),
                    If(
                        Load(a, (i, j, k)) < 4.0,
                        Store(cell, at, Load(cell, at) + Load(a, (i, j, k))),
                        If(k < 2, Store(cell, at, Load(cell, at) * 2.0)),
                    ),
                    UNROLLED,
                ),
            ),
            For(z, Const(4), Store(out, (i, z), Load(cell, (z,))), UNROLLED),
        ),
    )
    function = Function("cells", (a, out), For(i, Const(6), body), (out,))
    check(function, ("quick", "full"))
    assert "alloca" not in Loaded(function).text


def test_masked_writes_of_cells_and_elements_of_cells() -> None:
    i, z, k, y = Var("i"), Var("z"), Var("k"), Var("y")
    a, out, last = buffer("a", 5, 16), buffer("out", 16), buffer("last", 2)
    cell = buffer("cell", 16, scope="local")
    body = Allocate(
        cell,
        seq(
            For(z, Const(16), Store(cell, (z,), Load(a, (Const(0), z))), VECTOR),
            For(
                k,
                Const(5),
                For(i, Const(16), If(i < k * 3, Store(cell, (i,), Load(cell, (i,)) + Load(a, (k, i)))), VECTOR),
            ),
            Store(cell, (Const(7),), Load(cell, (Const(3),)) + 1.0),
            Store(last, (Const(0),), Load(cell, (Const(15),))),
            For(y, Const(16), Store(out, (y,), Load(cell, (y,))), VECTOR),
        ),
    )
    function = Function("masked", (a, out, last), body, (out, last))
    check(function, ("quick", "full"))
    assert "alloca" not in Loaded(function).text


@pytest.mark.parametrize("scope", ["local", "global", "shared"])
@pytest.mark.parametrize("size", [24, 4096])
def test_scratch_memory(scope: str, size: int) -> None:
    i, j, t = Var("i"), Var("j"), Var("t")
    a, out, tmp = buffer("a", 3, size), buffer("out", 3, size), buffer("tmp", size, scope=scope)
    body = Allocate(
        tmp,
        seq(
            For(t, Const(size), Store(tmp, (t,), Load(a, (i, t)) + 1.0)),
            For(j, Const(size), Store(out, (i, j), Load(tmp, (size - 1 - j,)))),
        ),
    )
    check(Function("scratch", (a, out), For(i, Const(3), body), (out,)))


@pytest.mark.parametrize("kind", [SERIAL, PARALLEL])
def test_memory_that_runs_out_is_reported_and_the_rest_freed(kind: ForKind) -> None:
    i, out = Var("i"), buffer("out", 4)
    outer, inner = buffer("outer", 100_000), buffer("inner", 100_000)
    use = seq(Store(inner, (i,), Load(outer, (i,))), Store(out, (i,), Load(inner, (i,))))
    body = Allocate(
        outer, seq(Store(outer, (Const(0),), Const(1.0, float32)), For(i, Const(4), Allocate(inner, use), kind))
    )
    loaded = Loaded(Function("scratch", (out,), body, (out,)))
    array = np.zeros(4, np.float32)
    loaded.refuse.value = 1
    assert loaded(array) == 1
    assert loaded.alive.value == 0
    loaded.refuse.value = 0
    assert loaded(array) == 0
    assert loaded.alive.value == 0


def test_parallel_loops_take_scalars_sizes_and_scratch_with_them() -> None:
    n, m = Var("n", minimum=0), Var("m", minimum=0)
    i, j, k = Var("i"), Var("j"), Var("k")
    a, out, tmp = buffer("a", n, m), buffer("out", n, m), buffer("tmp", m, scope="local")
    inside = Allocate(
        tmp,
        seq(
            For(j, m, Store(tmp, (j,), Load(a, (i, j)) * 2.0)),
            For(k, m, Store(out, (i, k), Load(tmp, (k,)) + (i * 2 + m).astype(float32)), PARALLEL),
        ),
    )
    function = Function("rows", (a, out), For(i, n, inside, PARALLEL), (out,))
    check(function, ("quick", "full"), n=7, m=33)
    check(function, n=0, m=5)
    check(function, n=1, m=0)


def test_parallel_loop_within_a_serial_one() -> None:
    t, i = Var("t"), Var("i")
    a = buffer("a", 9, 16)
    body = For(t, Const(8), For(i, Const(16), Store(a, (t + 1, i), Load(a, (t, i)) + t.astype(float32)), PARALLEL))
    check(Function("steps", (a,), body, (a,)))


def test_scalar_parameters() -> None:
    scale, offset, i = Var("scale", float32), Var("offset", int32), Var("i")
    a, out = buffer("a", 10), buffer("out", 10)
    body = For(i, Const(10), Store(out, (i,), Load(a, (i,)) * scale + offset.astype(float32)), PARALLEL)
    function = Function("affine", (a, scale, offset, out), body, (out,))
    x, y = np.arange(10, dtype=np.float32), np.zeros(10, np.float32)
    assert Loaded(function)(x, 0.5, -3, y) == 0
    np.testing.assert_array_equal(y, x / 2 - 3)


def test_symbolic_strides_in_unrolled_and_vector_loops() -> None:
    n, m = Var("n", minimum=0), Var("m", minimum=0)
    i, j, io, jo = Var("i"), Var("j"), Var("io"), Var("jo")
    a, out = buffer("a", n, m), buffer("out", m, n)
    row, column = io * 3 + i, jo * 4 + j
    body = If(arith.logical_and(row < n, column < m), Store(out, (column, row), Load(a, (row, column)) + 1.0))
    nest = For(io, (n + 2) // 3, For(jo, (m + 3) // 4, For(i, Const(3), For(j, Const(4), body, VECTOR), UNROLLED)))
    got = check(Function("turn", (a, out), nest, (out,)), n=8, m=10)
    np.testing.assert_array_equal(got[1], got[0].T + 1)


def test_explicit_strides() -> None:
    i, j = Var("i"), Var("j")
    a = buffer("a", 4, 6)
    out = replace(buffer("out", 4, 6), strides=(Const(6), Const(1)))
    tmp = replace(buffer("tmp", 4, 6), strides=(Const(9), Const(1)))
    fill = For(i, Const(4), For(j, Const(6), Store(tmp, (i, j), Load(a, (i, j)))))
    i2, j2 = Var("i2"), Var("j2")
    drain = For(i2, Const(4), For(j2, Const(6), Store(out, (i2, j2), Load(tmp, (i2, j2)))))
    got = check(Function("strides", (a, out), Allocate(tmp, seq(fill, drain)), (out,)))
    np.testing.assert_array_equal(got[1], got[0])


def test_argmax_of_two_accumulators() -> None:
    i, k, i0 = Var("i"), Var("k"), Var("i0")
    x = buffer("x", 16, 9)
    where, best = buffer("where", 16, dtype=int32), buffer("best", 16)
    v0, v1 = Var("v0", int32), Var("v1", float32)
    better = Load(x, (i, k)) > Load(best, (i,))
    update = Let(
        v0,
        Select(better, k, Load(where, (i,))),
        Let(v1, Select(better, Load(x, (i, k)), Load(best, (i,))), seq(Store(where, (i,), v0), Store(best, (i,), v1))),
    )
    start = seq(Store(where, (i0,), Const(-1)), Store(best, (i0,), Const(-1.0, float32)))
    nest = seq(For(i0, Const(16), start, VECTOR), For(k, Const(9), For(i, Const(16), update, VECTOR)))
    got = check(Function("argmax", (x, where, best), nest, (where, best)), ("quick", "full"))
    np.testing.assert_array_equal(got[1], got[0].argmax(1))


def test_external_functions_and_addresses() -> None:
    i = Var("i")
    a, out = buffer("a", 8), buffer("out", 8)
    each = For(
        i,
        Const(8),
        Store(out, (i,), Call("fmaf", (Load(a, (i,)), Load(a, (i,)), Const(1.0, float32)), float32)),
        VECTOR,
    )
    move = Evaluate(
        Call("memcpy", (Address(out, (Const(4),)), Address(a, (Const(0),)), Const(16, DType(int32.kind, 64))), int32)
    )
    x, y = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    assert Loaded(Function("extern", (a, out), seq(each, move), (out,)))(x, y) == 0
    np.testing.assert_array_equal(y, [1, 2, 5, 10, 0, 1, 2, 3])


def test_prefetch_is_emitted() -> None:
    i = Var("i")
    a, out = buffer("a", 64), buffer("out", 64)
    ahead = Evaluate(Call("prefetch", (Address(a, (i,)), Const(0)), int32))
    function = Function("ahead", (a, out), For(i, Const(64), seq(ahead, Store(out, (i,), Load(a, (i,))))), (out,))
    assert "prefetch" in Loaded(function).assembly
    check(function)


def test_int8_products_widened() -> None:
    o, i = Var("o"), Var("i")
    a, b, out = buffer("a", 8, 16, dtype=uint8), buffer("b", 8, 16, dtype=int8), buffer("out", 16, dtype=int32)
    product = Load(a, (o, i)).astype(int32) * Load(b, (o, i)).astype(int32)
    nest = For(o, Const(8), For(i, Const(16), Store(out, (i,), Load(out, (i,)) + product), VECTOR))
    check(Function("products", (a, b, out), nest, (out,)))


def test_unrolling_beyond_all_measure_is_refused() -> None:
    i, j, out = Var("i"), Var("j"), buffer("out", 200, 200)
    body = For(i, Const(200), For(j, Const(200), Store(out, (i, j), Const(0.0, float32)), UNROLLED), UNROLLED)
    with pytest.raises(CodegenError, match=r"unrolling big writes out more than 20,000 statements"):
        Loaded(Function("big", (out,), body, (out,)))


@pytest.mark.parametrize("lanes", [1, 4, 16, 17, 32])
@pytest.mark.parametrize("dtype", [uint8, int8, int16], ids=str)
@pytest.mark.parametrize("scope", ["local", "global"])
def test_dot_products(lanes: int, dtype: DType, scope: str) -> None:
    k, i, m, z, y = (Var(n) for n in ("k", "i", "m", "z", "y"))
    taps, weights = (2, int16) if dtype == int16 else (4, int8)
    a, b = buffer("a", 3, 5, taps, dtype=dtype), buffer("b", 5, lanes, taps, dtype=weights)
    out, acc = buffer("out", 3, lanes, dtype=int32), buffer("acc", 3, lanes, dtype=int32, scope=scope)
    name = {uint8: "dot4_u8s8_i32", int8: "dot4_s8s8_i32", int16: "dot2_s16s16_i32"}[dtype]
    zero = Const(0)
    places = Address(acc, (i, zero)), Address(a, (i, k, zero)), Address(b, (k, zero, zero)), Const(lanes)
    body = seq(
        For(m, Const(3), For(z, Const(lanes), Store(acc, (m, z), zero), VECTOR), UNROLLED),
        For(k, Const(5), For(i, Const(3), Evaluate(Call(name, places, int32)), UNROLLED)),
        For(y, Const(3), For(x := Var("x"), Const(lanes), Store(out, (y, x), Load(acc, (y, x))), VECTOR), UNROLLED),
    )
    function = Function("dots", (a, b, out), Allocate(acc, body), (out,))
    rng = np.random.default_rng(lanes)
    left = rng.integers(dtype.min_value, dtype.max_value, (3, 5, taps), endpoint=True, dtype=str(dtype))
    right = rng.integers(-128, 127, (5, lanes, taps), endpoint=True, dtype=str(weights))
    got = np.zeros((3, lanes), np.int32)
    loaded = Loaded(function)
    assert loaded(left, right, got) == 0
    np.testing.assert_array_equal(got, np.einsum("mkr,klr->ml", left.astype(int), right.astype(int)))
    assert scope == "global" or "alloca" not in loaded.text


@pytest.mark.parametrize("lanes", [1, 4, 16, 17])
@pytest.mark.parametrize("steps", [(1, 0), (2, 0), (3, 0), (4, 4), (0, 4), (4, 0)], ids=str)
@pytest.mark.parametrize("cpu, bits", [("", 0), ("generic", 128), ("haswell", 256)])
def test_int8_dot_products_of_windows(steps: tuple[int, int], lanes: int, cpu: str, bits: int) -> None:
    k, z, y, zero = Var("k"), Var("z"), Var("y"), Const(0)
    sizes = [step * (lanes - 1) + 4 for step in steps]
    a, b = buffer("a", 5, sizes[0], dtype=uint8), buffer("b", 5, sizes[1], dtype=int8)
    out, acc = buffer("out", lanes, dtype=int32), buffer("acc", lanes, dtype=int32, scope="local")
    places = Address(acc, (zero,)), Address(a, (k, zero)), Address(b, (k, zero)), *(Const(n) for n in (*steps, lanes))
    body = seq(
        For(z, Const(lanes), Store(acc, (z,), zero), VECTOR),
        For(k, Const(5), Evaluate(Call("dot4_strided_u8s8_i32", places, int32))),
        For(y, Const(lanes), Store(out, (y,), Load(acc, (y,))), VECTOR),
    )
    rng, got = np.random.default_rng(lanes), np.zeros(lanes, np.int32)
    left = rng.integers(0, 255, (5, sizes[0]), endpoint=True, dtype=np.uint8)
    right = rng.integers(-128, 127, (5, sizes[1]), endpoint=True, dtype=np.int8)
    function = Function("windows", (a, b, out), Allocate(acc, body), (out,))
    target = replace(host(), cpu=cpu, features="", vector_bits=bits, registers=16) if cpu else host()
    loaded = Loaded(function, code=compile_ir(emit([function], target), target, effort="quick"))
    assert loaded(left, right, got) == 0
    first, second = (range(0, step * lanes, step) if step else [0] * lanes for step in steps)
    pairs = ((left[:, i : i + 4], right[:, j : j + 4]) for i, j in zip(first, second, strict=True))
    np.testing.assert_array_equal(got, [(x.astype(int) * w).sum() for x, w in pairs])
    assert "alloca" not in loaded.text


def test_an_index_from_memory_is_read_anew_in_every_copy() -> None:
    u, a, p, out = Var("u"), buffer("a", 16), buffer("p", 1, dtype=int32), buffer("out", 4)
    step = seq(Store(out, (u,), Load(a, (Load(p, (Const(0),)),))), Store(p, (Const(0),), Load(p, (Const(0),)) + 1))
    check(Function("walks", (a, p, out), For(u, Const(4), step, UNROLLED), (p, out)))


def test_copies_see_their_own_value_of_a_let() -> None:
    u, t, a, out = Var("u"), Var("t"), buffer("a", 16), buffer("out", 4)
    body = For(u, Const(4), Let(t, u // 2 + 2 * u, Store(out, (u,), Load(a, (t + 3,)))), UNROLLED)
    check(Function("lets", (a, out), body, (out,)))


def test_a_quotient_first_needed_in_a_branch_is_worked_out_again_after_it() -> None:
    x, a, out, other = Var("x", minimum=0), buffer("a", 8), buffer("out", 6), buffer("other", 6)
    read = Load(a, ((x - 9) // 3 + 3,))  # one node in both places; not a sum of counts, so its code stays where it is
    body = For(x, Const(6), seq(If(x < 3, Store(out, (x,), read)), Store(other, (x,), read)), SERIAL)
    check(Function("quotient", (a, out, other), body, (out, other)))


def test_what_a_parallel_loop_takes_along_is_in_order_of_appearance() -> None:
    x, sources, out = Var("x"), [buffer(f"a{n}", 4) for n in range(6)], buffer("out", 4)
    total: Expr = Load(sources[0], (x,))
    for source in sources[1:]:
        total = arith.add(total, Load(source, (x,)))
    body = For(x, Const(4), Store(out, (x,), total), PARALLEL)
    text = emit([Function("sums", (*sources, out), body, (out,))], host())
    head = next(line for line in text.splitlines() if line.startswith("define internal i32 @sums.par0.body"))
    found = re.findall(r"%p\.(\w+)", head)
    assert found == ["out", "a0", "a1", "a2", "a3", "a4", "a5"]


@pytest.mark.parametrize("lanes", [3, 7, 12, 14])
def test_lanes_that_are_no_register_are_accessed_at_once_where_lanes_can_be_masked(lanes: int) -> None:
    i, source = Var("i"), buffer("source", lanes)
    function = copy(i, source, i, lanes)
    check(function)
    text = emit([function], replace(host(), cpu="skylake-avx512", features=""))
    assert text.count("@llvm.masked.load") == text.count("@llvm.masked.store") == 1


@pytest.mark.parametrize("lanes", [16, 24, 32])
@pytest.mark.parametrize("first, beyond", [(0, 1), (1, 0), (3, 2), (11, 1), (9, 4), (6, 6), (0, 15)])
def test_lanes_of_bytes_that_cannot_be_masked_are_read_in_windows(first: int, beyond: int, lanes: int) -> None:
    count = max(lanes - first - beyond, 1)
    i, source, out = Var("i"), buffer("source", count, dtype=uint8), buffer("out", lanes, dtype=uint8)
    inside = arith.logical_and(arith.le(Const(first), i), arith.lt(i, Const(first + count)))
    value = IfThenElse(inside, Load(source, (i - first,)), Const(7, uint8))
    function = Function("partial", (source, out), For(i, Const(lanes), Store(out, (i,), value), VECTOR), (out,))
    target = replace(host(), cpu="haswell", features="", vector_bits=256, registers=16)
    text = emit([function], target)
    given, found = np.arange(100, 100 + count, dtype=np.uint8), np.zeros(lanes, np.uint8)
    assert Loaded(function, code=compile_ir(text, target, effort="quick"))(given, found) == 0
    np.testing.assert_array_equal(found, np.pad(given, (first, lanes - first - count), constant_values=7))
    assert "masked" not in text and text.count("load <") <= 4


@pytest.mark.parametrize("first", [0, 1, 5])
def test_strided_lanes_with_a_known_mask_are_shuffled(first: int) -> None:
    i, source, out = Var("i"), buffer("source", 40), buffer("out", 16)
    value = IfThenElse(arith.le(Const(first), i), Load(source, (i * 2,)), Const(0.0, float32))
    function = Function("masked", (source, out), For(i, Const(16), Store(out, (i,), value), VECTOR), (out,))
    check(function)
    assert "gather" not in emit([function], host())


@pytest.mark.parametrize("first", [0, 4, 8])
def test_parts_of_a_register_cell_are_read_and_written(first: int) -> None:
    i, j, k = Var("i"), Var("j"), Var("k")
    source, out, tile = buffer("source", 16), buffer("out", 16), buffer("tile", 16, scope="local")
    body = seq(
        For(i, Const(16), Store(tile, (i,), Load(source, (i,))), VECTOR),
        For(j, Const(4), Store(tile, (j + first,), Load(tile, (j + 4,)) + 1.0), VECTOR),
        For(k, Const(16), Store(out, (k,), Load(tile, (k,))), VECTOR),
    )
    function = Function("parts", (source, out), Allocate(tile, body), (out,))
    check(function)
    assert "alloca" not in Loaded(function).text


@pytest.mark.parametrize("lanes", [16, 48, 64, 100])
def test_maths_functions_take_several_registers_side_by_side(lanes: int) -> None:
    i, source = Var("i"), buffer("source", lanes)
    out = buffer("out", lanes)
    body = For(
        i, Const(lanes), Store(out, (i,), Call("sqrt", (Call("exp", (Load(source, (i,)),), float32),), float32)), VECTOR
    )
    function = Function("several", (source, out), body, (out,))
    got = arrays_for(function, {})
    assert Loaded(function)(*got) == 0
    np.testing.assert_allclose(got[1], np.sqrt(np.exp(got[0].astype(float))), rtol=2e-7)


@pytest.mark.parametrize(("columns", "loads"), [(32, 2), (33, 4), (40, 2)])
def test_even_and_odd_elements_are_picked_from_the_same_vectors(columns: int, loads: int) -> None:
    """Where rows have an odd length, even places of one row are odd ones of the next."""
    y, i, source, out = Var("y"), Var("i"), buffer("source", 3, columns), buffer("out", 3, 16)
    pair = Load(source, (y, i * 2)) + Load(source, (y, i * 2 + 1))
    body = For(y, Const(3), For(i, Const(16), Store(out, (y, i), pair), VECTOR), SERIAL)
    function = Function("pairs", (source, out), body, (out,))
    check(function)
    wide = replace(host(), cpu="skylake-avx512", features="", vector_bits=512)
    assert emit([function], wide).count("load <16 x float>") == loads


@pytest.mark.parametrize(("elements", "second"), [(95, "15"), (96, "16")])
def test_no_vector_is_read_beyond_the_last_element_of_a_buffer(elements: int, second: str) -> None:
    y, i, source, out = Var("y"), Var("i"), buffer("source", elements), buffer("out", 3, 16)
    body = For(y, Const(3), For(i, Const(16), Store(out, (y, i), Load(source, (y * 32 + i * 2,))), VECTOR), SERIAL)
    function = Function("ends", (source, out), body, (out,))
    check(function)
    wide = replace(host(), cpu="skylake-avx512", features="", vector_bits=512)
    assert re.findall(r"getelementptr .*, i64 (\d+)", emit([function], wide))[0] == second


def test_two_conditions_on_known_lanes_are_one_mask() -> None:
    i, source, out = Var("i"), buffer("source", 40), buffer("out", 16)
    inside = arith.logical_and(arith.le(Const(2), i), i < 13)
    value = IfThenElse(inside, Load(source, (i * 2,)), Const(0.0, float32))
    function = Function("masked", (source, out), For(i, Const(16), Store(out, (i,), value), VECTOR), (out,))
    check(function)
    assert "gather" not in emit([function], host())


def test_a_condition_on_known_lanes_below_a_guard_of_others_is_one_mask() -> None:
    i, source, out = Var("i"), buffer("source", 40), buffer("out", 14)
    value = IfThenElse(arith.le(Const(2), i), Load(source, (i * 2,)), Const(0.0, float32))
    body = For(i, Const(16), If(i < 14, Store(out, (i,), value)), VECTOR)
    function = Function("guarded", (source, out), body, (out,))
    check(function)
    assert "gather" not in emit([function], host())
