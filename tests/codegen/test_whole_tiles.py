"""Register tiles at the edge: a choice around them in place of conditions in the loop that carries them."""

from __future__ import annotations

import pytest

from tilewright.codegen.llvm.emit import GUARDED, WRITTEN_OUT, emit
from tilewright.codegen.passes.whole import SeparateWholeTiles
from tilewright.codegen.pipeline import lower
from tilewright.ir.dtype import float32
from tilewright.ir.expr import Const, Expr, Load, Var
from tilewright.ir.stmt import Allocate, For, ForKind, Function, If, Let, Stmt, Store, seq
from tilewright.ir.target import Target
from tilewright.ir.visit import contains, of_kind

from .machine import host
from .test_llvm_nests import buffer, check

WIDE = Target("llvm", "x86_64-unknown-linux-gnu", "skylake-avx512", "", 512, 32)
STEPS, LANES = 3, 16
o, k = Var("o"), Var("k")
(r, x), (r0, x0), (r1, x1) = ((Var(f"r{n}"), Var(f"x{n}")) for n in ("", 0, 1))  # rows, lanes


def tiles(rows: int, height: int, places: int, first: Expr | None = None, kind: ForKind = ForKind.UNROLLED) -> Function:
    """Give out[y, x] = sum over k of a[k, y] * b[k, x] for some rows y < `rows`, in tiles of `height` rows.

    first  row of a tile by its place o, one of `places`; by default tiles lie side by side
    kind   of the loops over the rows of a tile
    """
    a, b, out = buffer("a", STEPS, rows), buffer("b", STEPS, LANES), buffer("out", rows, LANES)
    sums = buffer("sums", height, LANES, scope="local")
    start = o // 2 % places * height if first is None else first

    def over(row: Var, lane: Var, body: Stmt) -> Stmt:
        lanes = For(lane, Const(LANES), body, ForKind.VECTORIZED)
        return For(row, Const(height), If(start + row < rows, lanes), kind)

    update = Store(sums, (r, x), Load(sums, (r, x)) + Load(a, (k, start + r)) * Load(b, (k, x)))
    body = seq(
        over(r0, x0, Store(sums, (r0, x0), Const(0.0, float32))),
        For(k, Const(STEPS), over(r, x, update)),
        over(r1, x1, Store(out, (start + r1, x1), Load(sums, (r1, x1)))),
    )
    return Function("tiles", (a, b, out), For(o, Const(2 * places), Allocate(sums, body), ForKind.PARALLEL), (out,))


def test_tiles_that_are_whole_and_that_are_not_become_apart() -> None:
    made = SeparateWholeTiles()(tiles(7, 2, 4).body, WIDE)
    assert str(made) == (
        "for o in parallel(8):\n"
        "    if o // 2 % 4 * 2 + 1 < 7:\n"
        '        sums = allocate(float32[2, 16], "local")\n'
        "        for r0 in unrolled(2):\n"
        "            for x0 in vectorized(16):\n"
        "                sums[r0, x0] = 0.0\n"
        "        for k in range(3):\n"
        "            for r in unrolled(2):\n"
        "                for x in vectorized(16):\n"
        "                    sums[r, x] = sums[r, x] + a[k, o // 2 % 4 * 2 + r] * b[k, x]\n"
        "        for r1 in unrolled(2):\n"
        "            for x1 in vectorized(16):\n"
        "                out[o // 2 % 4 * 2 + r1, x1] = sums[r1, x1]\n"
        "    else:\n"
        '        sums_1 = allocate(float32[2, 16], "local")\n'
        "        for r0_1 in unrolled(1):\n"
        "            for x0_1 in vectorized(16):\n"
        "                sums_1[r0_1, x0_1] = 0.0\n"
        "        for k_1 in range(3):\n"
        "            for r_1 in unrolled(1):\n"
        "                for x_1 in vectorized(16):\n"
        "                    sums_1[r_1, x_1] = sums_1[r_1, x_1] + a[k_1, o // 2 % 4 * 2 + r_1] * b[k_1, x_1]\n"
        "        for r1_1 in unrolled(1):\n"
        "            for x1_1 in vectorized(16):\n"
        "                out[o // 2 % 4 * 2 + r1_1, x1_1] = sums_1[r1_1, x1_1]"
    )


@pytest.mark.parametrize(("rows", "height", "places"), [(7, 2, 4), (13, 8, 2), (8, 2, 4), (8, 4, 3), (5, 8, 2)])
@pytest.mark.parametrize("versions", [1, 2])
def test_values_are_those_of_the_loops(rows: int, height: int, places: int, versions: int) -> None:
    """The lengths of tiles are: two; two; only whole ones; whole ones and none; a part of one and none."""
    function = tiles(rows, height, places)
    check(function)
    made = SeparateWholeTiles(versions)(function.body, WIDE)
    lengths = {max(0, min(height, rows - place * height)) for place in range(places)}
    assert contains(made, If) == (len(lengths) > 1)
    assert (made is function.body) == (len(lengths) > versions)


def test_no_condition_is_left_in_the_loop_that_carries_a_tile() -> None:
    inner = [
        loop.body for loop in of_kind(SeparateWholeTiles()(tiles(13, 8, 2).body, WIDE), For) if loop.var.name[0] == "k"
    ]
    assert len(inner) == 2
    assert not any(contains(body, If) for body in inner)


def test_a_choice_between_tiles_has_the_mark_of_tiles_with_conditions() -> None:
    """Without LLVM's own counters it spills what one of them carries."""
    text = emit([lower(tiles(13, 8, 2), host())], host())
    assert GUARDED in text
    assert WRITTEN_OUT not in text


def test_tiles_of_many_lengths_choose_among_as_many_as_asked_for() -> None:
    function = tiles(7, 3, 4, first=o)
    assert SeparateWholeTiles(3)(function.body, WIDE) is function.body
    made = SeparateWholeTiles(4)(function.body, WIDE)
    assert len(list(of_kind(made, Allocate))) == 3  # nothing is left of tiles beyond the last row
    check(Function("tiles", function.params, made, function.outputs))


def test_a_place_that_comes_from_a_table_is_not_known() -> None:
    table = buffer("table", 4)
    function = tiles(7, 2, 4, first=Load(table, (o,)).astype("int32"))
    assert SeparateWholeTiles()(function.body, WIDE) is function.body


def test_loops_that_are_not_written_out_keep_their_conditions() -> None:
    function = tiles(7, 2, 4, kind=ForKind.SERIAL)
    assert SeparateWholeTiles()(function.body, WIDE) is function.body


def in_tile(body: Stmt) -> Stmt:
    """Give a register tile, at each of four places."""
    return For(o, Const(4), Allocate(buffer("sums", 2, scope="local"), body))


def row(condition: Expr, otherwise: Stmt | None = None) -> Stmt:
    """Give the tile's loop over two rows with a condition in it."""
    store = Store(buffer("out", 32), (r,), Const(1.0, float32))
    return For(r, Const(2), If(condition, store, otherwise), ForKind.UNROLLED)


KEPT = {
    "one of the reduction too": For(k, Const(9), row(o * 2 + k + r < 7)),
    "no upper bound": For(k, Const(9), row(o * 2 + r > 7)),
    "with an else": For(k, Const(9), row(o * 2 + r < 7, Store(buffer("out", 32), (r,), Const(0.0, float32)))),
    "of a value of the tile's own": For(k, Const(9), Let(r0, k * 2, row(r0 + r < 7))),
    "tested once": row(o * 2 + r < 7),
    "two that differ": For(k, Const(9), seq(row(o * 2 + r < 7), row(o * 2 + r < 6))),
}


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)
def test_other_conditions_stay(kept: Stmt) -> None:
    body = in_tile(kept)
    assert SeparateWholeTiles()(body, WIDE) is body
