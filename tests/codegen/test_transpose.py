"""Vectors whose lanes lie a row apart, stored side by side: transposed in registers.  Oracle: NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.codegen.llvm.emit import emit
from tilewright.codegen.pipeline import lower
from tilewright.ir import arith
from tilewright.ir.dtype import DType, float32, int16, uint8
from tilewright.ir.expr import Const, Expr, Load, Var
from tilewright.ir.stmt import For, ForKind, Function, If, Stmt, Store

from .machine import Loaded, host
from .test_llvm_nests import buffer


def over(var: Var, extent: int, body: Stmt, kind: ForKind) -> For:
    """Give a loop of constant extent."""
    return For(var, Const(extent), body, kind)


def transposing(
    columns: int, lanes: int, step: int = 1, distance: int | None = None, dtype: DType = float32
) -> Function:
    """Give C[distance lane + step p] = A[p, lane], written out over p, in vectors over lanes."""
    apart = distance or columns * step
    a, c = buffer("A", columns, lanes, dtype=dtype), buffer("C", apart * lanes + columns * step, dtype=dtype)
    p, lane = Var("p"), Var("l")
    place: Expr = arith.add(arith.mul(lane, apart), arith.mul(p, step))
    inner = over(lane, lanes, Store(c, (place,), Load(a, (p, lane))), ForKind.VECTORIZED)
    return Function("main", (a, c), over(p, columns, inner, ForKind.UNROLLED), outputs=(c,))


def run(function: Function, columns: int, lanes: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the input and the result."""
    a = np.arange(columns * lanes, dtype=np.float32).reshape(columns, lanes)
    c = np.full(int(function.buffers[1].shape[0].value), -1, np.float32)  # type: ignore[attr-defined]
    assert Loaded(function, "quick")(a, c) == 0
    return a, c


def text(function: Function) -> str:
    """Give the LLVM IR."""
    return emit([lower(function, host())], host())


@pytest.mark.parametrize("lanes", [4, 8, 12, 16, 32])
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5, 7, 8, 12, 13, 14, 16, 17, 28])
def test_neighbours_are_stored_as_rows(columns: int, lanes: int) -> None:
    function = transposing(columns, lanes)
    a, c = run(function, columns, lanes)
    np.testing.assert_array_equal(c[: columns * lanes].reshape(lanes, columns), a.T)
    assert (c[columns * lanes :] == -1).all()


@pytest.mark.parametrize("apart", [0, 3])
@pytest.mark.parametrize("lanes", [4, 8, 12, 16, 32])
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5, 8, 14, 16, 17])
def test_neighbouring_bytes_are_stored_as_rows(columns: int, lanes: int, apart: int) -> None:
    distance = columns + apart
    function = transposing(columns, lanes, distance=distance, dtype=uint8)
    a = np.random.default_rng(columns).integers(0, 256, (columns, lanes), dtype=np.uint8)
    c = np.full(distance * lanes + columns, 7, np.uint8)
    assert Loaded(function, "quick")(a, c) == 0
    written = c[: distance * lanes].reshape(lanes, distance)
    np.testing.assert_array_equal(written[:, :columns], a.T)
    assert (written[:, columns:] == 7).all() and (c[distance * lanes :] == 7).all()


@pytest.mark.parametrize("dtype", [float32, uint8], ids=str)
def test_rows_are_not_scattered(dtype: DType) -> None:
    assert "scatter" not in text(transposing(14, 16, dtype=dtype))


def test_four_bytes_of_each_lane_are_one_store() -> None:
    assert "store <64 x i8>" in text(transposing(4, 16, dtype=uint8))


@pytest.mark.parametrize("columns, distance", [(2, 2), (2, 5), (3, 3)])
@pytest.mark.parametrize("lanes", [8, 16])
def test_neighbours_of_two_bytes(columns: int, distance: int, lanes: int) -> None:
    function = transposing(columns, lanes, distance=distance, dtype=int16)
    a = np.random.default_rng(columns).integers(-(2**15), 2**15, (columns, lanes), dtype=np.int16)
    c = np.full(distance * lanes + columns, 7, np.int16)
    assert Loaded(function, "quick")(a, c) == 0
    written = c[: distance * lanes].reshape(lanes, distance)
    np.testing.assert_array_equal(written[:, :columns], a.T)
    assert (written[:, columns:] == 7).all() and (c[distance * lanes :] == 7).all()
    assert ("scatter" in text(function)) == (distance != 2)


@pytest.mark.parametrize("columns", [4, 14])
@pytest.mark.parametrize("dtype", [float32, uint8], ids=str)
def test_lanes_that_are_known_to_be_left_out_are_rows_less(dtype: DType, columns: int) -> None:
    stored, vectors, lanes = 24, 2, 16
    a = buffer("A", columns, vectors * lanes, dtype=dtype)
    c = buffer("C", vectors * lanes, columns, dtype=dtype)
    p, vector, lane = Var("p"), Var("v"), Var("l")
    at = arith.add(arith.mul(vector, lanes), lane)
    kept = If(arith.lt(at, stored), Store(c, (at, p), Load(a, (p, at))))
    rows = over(p, columns, over(lane, lanes, kept, ForKind.VECTORIZED), ForKind.UNROLLED)
    function = Function("main", (a, c), over(vector, vectors, rows, ForKind.UNROLLED), outputs=(c,))
    given = np.arange(columns * 32).astype(str(dtype)).reshape(columns, 32)
    found = np.full((32, columns), 99, str(dtype))
    assert Loaded(function, "quick")(given, found) == 0
    np.testing.assert_array_equal(found[:stored], given.T[:stored])
    assert (found[stored:] == 99).all() and "scatter" not in text(function)


@pytest.mark.parametrize("columns", [2, 4, 14])
@pytest.mark.parametrize("dtype", [float32, int16, uint8], ids=str)
def test_lanes_that_are_left_out_as_the_kernel_runs_are_rows_that_go_elsewhere(dtype: DType, columns: int) -> None:
    blocks, lanes = 3, 16
    a, c = buffer("A", columns, blocks * lanes, dtype=dtype), buffer("C", blocks * lanes, columns, dtype=dtype)
    p, block, lane = Var("p"), Var("b"), Var("l")
    at = arith.add(arith.mul(block, lanes), lane)
    kept = If(arith.lt(arith.floormod(arith.mul(at, at), 37), 20), Store(c, (at, p), Load(a, (p, at))))
    rows = over(p, columns, over(lane, lanes, kept, ForKind.VECTORIZED), ForKind.UNROLLED)
    function = Function("main", (a, c), over(block, blocks, rows, ForKind.SERIAL), outputs=(c,))
    given = np.arange(columns * 48).astype(str(dtype)).reshape(columns, 48)
    found = np.full((48, columns), 99, str(dtype))
    assert Loaded(function, "quick")(given, found) == 0
    wanted = (np.arange(48) ** 2 % 37 < 20)[:, None]
    np.testing.assert_array_equal(found, np.where(wanted, given.T, 99))
    assert ("scatter" in text(function)) == (dtype == int16)


def test_columns_that_are_no_neighbours_stay_apart() -> None:
    a, c = run(transposing(3, 16, step=2), 3, 16)
    np.testing.assert_array_equal(c[: 6 * 16 : 2].reshape(16, 3), a.T)
    assert (c[1::2] == -1).all()


def test_what_is_stored_twice_keeps_the_last_value() -> None:
    a, c = run(transposing(4, 16, distance=2), 4, 16)
    expected = np.full(len(c), -1, np.float32)
    for p in range(4):
        expected[p : p + 32 : 2] = a[p]
    np.testing.assert_array_equal(c, expected)


def test_columns_of_a_loop_that_is_not_written_out_are_stored_within_it() -> None:
    planes, rows, lanes = 2, 5, 8
    a, c = buffer("A", planes, rows, lanes), buffer("C", planes, lanes, rows)
    p, r, lane = Var("p"), Var("r"), Var("l")
    inner = over(lane, lanes, Store(c, (p, lane, r), Load(a, (p, r, lane))), ForKind.VECTORIZED)
    body = over(p, planes, over(r, rows, inner, ForKind.SERIAL), ForKind.UNROLLED)
    given = np.arange(planes * rows * lanes, dtype=np.float32).reshape(planes, rows, lanes)
    found = np.full((planes, lanes, rows), -1, np.float32)
    assert Loaded(Function("main", (a, c), body, outputs=(c,)), "quick")(given, found) == 0
    np.testing.assert_array_equal(found, given.transpose(0, 2, 1))
