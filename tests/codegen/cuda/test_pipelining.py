"""Pipelined loops: that they mean the serial loop, what they look like, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tilewright.codegen.cuda.kernel import Kernel, is_effect
from tilewright.codegen.cuda.ordering.barriers import PlanBarriers
from tilewright.codegen.cuda.ordering.copies import Unfit, asynchronous
from tilewright.codegen.cuda.ordering.pipelining import PipelineLoops
from tilewright.codegen.cuda.ordering.races import check_barriers
from tilewright.ir import arith
from tilewright.ir.dtype import DType, float16, float32, int8
from tilewright.ir.errors import CodegenError
from tilewright.ir.expr import Call, Expr, IfThenElse, Var
from tilewright.ir.stmt import Allocate, For, ForKind, If, Let, Stmt, seq
from tilewright.ir.visit import of_kind, rewrite, statements, with_fields

from . import blocks as b
from .blocks import UNROLLED, VECTOR, i, j, k, kernel, load, loop, pipelined, planned, shared, store, tensor, tx, v

ROWS, WIDTH = 12, 256
A, OUT = tensor("A", ROWS, WIDTH), tensor("out", 64)
TRANSPORTS = [("register", 2), ("cp_async", 2), ("cp_async", 3), ("cp_async", 4)]
each_transport = pytest.mark.parametrize(("transport", "stages"), TRANSPORTS)


def rows(transport: str, stages: int, steps: int | Expr, source: Callable[[Expr], Expr] | None = None) -> Kernel:
    """Give a kernel whose threads copy four neighbours of each row to shared memory and add up those of others."""
    tile, register = shared("tile", stages, WIDTH), tensor("sum", 1, scope="local")
    value = source or (lambda column: load(A, k, column))
    column = tx * 4 + v
    fill = loop(v, 4, store(tile, k % stages, column, value(column)), kind=VECTOR)
    use = loop(j, 4, store(register, 0, load(register, 0) * 0.5 + load(tile, k % stages, (WIDTH - 4) - tx * 4 + j)))
    main = pipelined(k, steps, fill, use, stages=stages, transport=transport)
    body = seq(store(register, 0, 0.0), main, store(OUT, tx, load(register, 0)))
    params = [A, OUT, *([steps] if isinstance(steps, Var) else [])]
    return kernel(Allocate(register, body), params, [OUT])


def rows_in_numpy(values: np.ndarray, steps: int) -> np.ndarray:
    total = np.zeros(64, np.float32)
    for row in values[:steps]:
        for n in range(4):
            total = total * np.float32(0.5) + row.reshape(64, 4)[::-1, n]
    return total


def numbers() -> np.ndarray:
    return np.random.default_rng(0).integers(-8, 8, (ROWS, WIDTH)).astype(np.float32)  # exact in any order


@each_transport
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9])
def test_every_number_of_iterations_gives_the_serial_sums(transport: str, stages: int, steps: int) -> None:
    made = planned(rows(transport, stages, steps))
    assert check_barriers(made) == []
    result = b.emulated(made, {"A": numbers(), "out": np.zeros(64, np.float32)})
    np.testing.assert_array_equal(result["out"], rows_in_numpy(numbers(), steps))


@each_transport
def test_unknown_numbers_of_iterations_give_the_serial_sums(transport: str, stages: int) -> None:
    n = Var("n", minimum=0)
    made = planned(rows(transport, stages, n))
    for steps in (0, 1, 2, 3, 4, 7):
        assert check_barriers(made, {"n": steps}) == []
        result = b.emulated(made, {"A": numbers()[: max(steps, 1)], "out": np.zeros(64, np.float32), "n": steps})
        np.testing.assert_array_equal(result["out"], rows_in_numpy(numbers(), steps))


@each_transport
def test_an_iteration_has_one_barrier_and_there_is_no_other(transport: str, stages: int) -> None:
    made = planned(rows(transport, stages, 9))
    assert b.barriers(made.body) == b.barriers_in(made.body, k) == 1


@each_transport
def test_the_barrier_is_missed(transport: str, stages: int) -> None:
    made = planned(rows(transport, stages, 9))
    assert check_barriers(replace(made, body=b.without_barrier(made.body, 0))) != []


@each_transport
def test_no_pipelined_loop_is_left(transport: str, stages: int) -> None:
    made = PipelineLoops()(rows(transport, stages, 9), b.GPU)
    (main,) = [s for s in statements(made.body) if type(s) is For and s.var is k]
    assert main.kind is ForKind.SERIAL and not main.annotations


# -- what they look like ----------------------------------------------------------------------------------------------


def test_registers_are_loaded_before_the_use_and_stored_after_it(golden: Callable) -> None:
    golden(str(planned(rows("register", 2, 9)).body), "pipelined_by_registers.txt")


def test_copies_are_two_tiles_ahead_of_the_use(golden: Callable) -> None:
    golden(str(planned(rows("cp_async", 3, 9)).body), "pipelined_by_copies.txt")


@pytest.mark.parametrize("stages", [2, 3, 4])
def test_waits_leave_all_groups_but_the_oldest(stages: int) -> None:
    made = PipelineLoops()(rows("cp_async", stages, 9), b.GPU)
    (wait,) = [c for c in of_kind(made.body, Call) if c.name == "cp_async_wait"]
    assert wait.args[0].value == stages - 2
    assert sum(is_effect(s, "cp_async_commit") for s in statements(made.body)) == stages


def test_conversions_are_left_for_after_the_use() -> None:
    """The load alone is ahead: what is computed from it would wait for it."""
    made = PipelineLoops()(rows("register", 2, 9, lambda column: load(A, k, column) * 2.0 + 1.0), b.GPU)
    ahead = [s for s in statements(made.body) if type(s).__name__ == "Store" and s.buffer.name == "tile_next"]
    assert [type(s.value).__name__ for s in ahead] == ["Load"]


def test_a_loop_over_registers_is_written_out_one_load_ahead(golden: Callable) -> None:
    golden(str(PipelineLoops()(by_registers(4), b.GPU).body), "pipelined_in_registers.txt")


# -- copies under conditions ------------------------------------------------------------------------------------------


@each_transport
def test_zeros_are_copied_where_there_is_nothing(transport: str, stages: int) -> None:
    source = lambda column: IfThenElse(arith.lt(tx, 50), load(A, k, column), arith.const(0.0, float32))  # noqa: E731
    made = planned(rows(transport, stages, 5, source))
    values = numbers()
    result = b.emulated(made, {"A": values, "out": np.zeros(64, np.float32)})
    values[:, 200:] = 0
    np.testing.assert_array_equal(result["out"], rows_in_numpy(values, 5))


@each_transport
def test_threads_that_have_nothing_to_copy_copy_nothing(transport: str, stages: int) -> None:
    tile = shared("tile", stages, 128)
    wide = tensor("wide", 4, 64)
    fill = If(tx < 32, loop(v, 4, store(tile, k % stages, tx * 4 + v, load(A, k, tx * 4 + v)), kind=VECTOR))
    use = store(wide, k, tx, load(tile, k % stages, 127 - tx))
    made = planned(kernel(pipelined(k, 4, fill, use, stages=stages, transport=transport), [A, wide], [wide]))
    result = b.emulated(made, {"A": numbers(), "wide": np.zeros((4, 64), np.float32)})
    np.testing.assert_array_equal(result["wide"], numbers()[:4, 127:63:-1])


@each_transport
def test_copies_in_several_rounds_use_lets(transport: str, stages: int) -> None:
    """A tile of 16 rows, 4 of them in a round; a let names the first row."""
    big, tile = tensor("big", 64, 64), shared("tile", stages, 16, 64)
    out, first = tensor("out", 4, 64), Var("first", minimum=0)
    row = i * 4 + tx // 16
    fill = loop(i, 4, loop(v, 4, store(tile, k % stages, row, tx % 16 * 4 + v, load(big, first + row, tx % 16 * 4 + v)),
                           kind=VECTOR))  # fmt: skip
    use = seq(store(out, k, tx, load(tile, k % stages, tx % 16, 63 - tx)))
    main = pipelined(k, 4, Let(first, k * 16, seq(fill, use)), stages=stages, transport=transport)
    made = planned(kernel(main, [big, out], [out]))
    assert check_barriers(made) == []
    values = np.random.default_rng(0).random((64, 64), np.float32)
    result = b.emulated(made, {"big": values, "out": np.zeros((4, 64), np.float32)})["out"]
    lanes = np.arange(64)
    np.testing.assert_array_equal(result, np.stack([values[n * 16 + lanes % 16, 63 - lanes] for n in range(4)]))


@each_transport
def test_two_loops_share_a_tile_within_a_loop_over_tiles(transport: str, stages: int) -> None:
    """The tile is reused by a second pipelined loop, and by the next iteration of a loop around both."""
    tile, register = shared("tile", stages, 64), tensor("sum", 1, scope="local")
    out = tensor("out", 3, 64)
    tiles = Var("tiles", minimum=0)

    def part(var: Var, row: Expr) -> Stmt:
        fill = store(tile, var % stages, tx, load(A, row, tx))
        use = store(register, 0, load(register, 0) * 0.5 + load(tile, var % stages, 63 - tx))
        return pipelined(var, 4, fill, use, stages=stages, transport=transport)

    body = seq(
        store(register, 0, 0.0),
        part(i, tiles * 4 + i),
        part(j, tiles * 4 + j),
        store(out, tiles, tx, load(register, 0)),
    )
    made = planned(kernel(Allocate(register, loop(tiles, 3, body)), [A, out], [out]))
    assert check_barriers(made) == []
    result = b.emulated(made, {"A": numbers(), "out": np.zeros((3, 64), np.float32)})["out"]
    expected = np.zeros((3, 64), np.float32)
    for n in range(3):
        for m in (*range(4), *range(4)):
            expected[n] = expected[n] * np.float32(0.5) + numbers()[n * 4 + m, 63::-1]
    np.testing.assert_array_equal(result, expected)


# -- registers --------------------------------------------------------------------------------------------------------


def by_registers(steps: int, register: str = "fragment") -> Kernel:
    """Give a kernel that reads a shared tile by way of registers."""
    tile, out = shared("tile", 8, 64), tensor("out", 64)
    fragment, total = tensor(register, 2, scope="local"), tensor("sum", 1, scope="local")
    take = loop(v, 2, store(fragment, v, load(tile, k, (tx + v) % 64)), kind=UNROLLED)
    use = loop(j, 2, store(total, 0, load(total, 0) * 0.5 + load(fragment, j)), kind=UNROLLED)
    fill = loop(i, 8, store(tile, i, tx, load(A, i, tx)))
    body = seq(store(total, 0, 0.0), fill, pipelined(k, steps, Allocate(fragment, seq(take, use))))
    return kernel(Allocate(total, seq(body, store(out, tx, load(total, 0)))), [A, out], [out])


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
def test_register_tiles_are_loaded_one_iteration_ahead(steps: int) -> None:
    result = b.emulated(planned(by_registers(steps)), {"A": numbers(), "out": np.zeros(64, np.float32)})["out"]
    expected = np.zeros(64, np.float32)
    for row in numbers()[:steps, :64]:
        for n in range(2):
            expected = expected * np.float32(0.5) + np.roll(row, -n)
    np.testing.assert_array_equal(result, expected)


def test_a_condition_on_the_iteration_stays_with_both_halves() -> None:
    plain = by_registers(8)

    def rule(node):
        match node:
            case For(var=var, body=body) if var is k:
                return with_fields(node, {"body": If(arith.lt(k * 2, 9), body)})
            case _:
                return None

    guarded = replace(plain, body=rewrite(plain.body, rule))
    results = [
        b.emulated(planned(made), {"A": numbers(), "out": np.zeros(64, np.float32)})["out"]
        for made in (guarded, by_registers(5))
    ]
    np.testing.assert_array_equal(*results)


@each_transport
def test_shared_tiles_outside_and_register_tiles_inside(transport: str, stages: int) -> None:
    """A product of two small matrices, the reduction in tiles of 8."""
    m = n = 32
    depth, tile = 64, 8
    x, y, product = tensor("x", m, depth), tensor("y", depth, n), tensor("product", m, n)
    xs, ys = shared("xs", stages, m, tile), shared("ys", stages, tile, n)
    total, left, right = (
        tensor(name, *shape, scope="local") for name, shape in (("c", (4, 4)), ("a", (4,)), ("b", (4,)))
    )
    step, lane = Var("step", minimum=0), tx * 4 + v
    p, q = b.p, b.q
    row, column = tx // 8 * 4, tx % 8 * 4
    of_x, of_y = (lane // tile, lane % tile), (lane // n, lane % n)
    fills = (
        loop(v, 4, store(xs, k % stages, *of_x, load(x, of_x[0], k * tile + of_x[1])), kind=VECTOR),
        loop(v, 4, store(ys, k % stages, *of_y, load(y, k * tile + of_y[0], of_y[1])), kind=VECTOR),
    )
    take = (
        loop(p, 4, store(left, p, load(xs, k % stages, row + p, step)), kind=UNROLLED),
        loop(p, 4, store(right, p, load(ys, k % stages, step, column + p)), kind=UNROLLED),
    )
    multiply = loop(p, 4, loop(q, 4, store(total, p, q, load(total, p, q) + load(left, p) * load(right, q))))
    inner = pipelined(step, tile, Allocate(left, Allocate(right, seq(*take, multiply))))
    start, finish = store(total, p, q, 0.0), store(product, row + p, column + q, load(total, p, q))
    body = seq(
        loop(p, 4, loop(q, 4, start)),
        pipelined(k, depth // tile, *fills, inner, stages=stages, transport=transport),
        loop(p, 4, loop(q, 4, finish)),
    )
    made = planned(kernel(fresh(Allocate(total, body)), [x, y, product], [product]))
    assert check_barriers(made) == []
    assert b.barriers(made.body) == 1
    rng = np.random.default_rng(0)
    one, two = (rng.integers(-4, 4, shape).astype(np.float32) for shape in ((m, depth), (depth, n)))
    result = b.emulated(made, {"x": one, "y": two, "product": np.zeros((m, n), np.float32)})["product"]
    np.testing.assert_array_equal(result, one @ two)


def fresh(stmt: Stmt) -> Stmt:
    """Give a statement whose loops have variables of their own, as names are unique in a kernel."""
    count = iter(range(1000))

    def rule(node):
        match node:
            case For(var=var) if var not in (k,):
                new = Var(f"{var.name}{next(count)}", minimum=0)
                body = rewrite(node.body, lambda inner: new if inner is var else None)
                return with_fields(node, {"var": new, "body": body})
            case _:
                return None

    return rewrite(stmt, rule)


# -- refusals ---------------------------------------------------------------------------------------------------------


def copy_of(dtype: DType, width: int, value: Callable[[Expr], Expr], kind: ForKind = VECTOR, pad: int = 0) -> Stmt:
    """Give a copy of `width` neighbours a thread into rows of 64 * width + pad elements."""
    tile = shared("tile", 2, 64 * width + pad, dtype=dtype)
    return loop(v, width, store(tile, k % 2, tx * width + v, value(tx * width + v)), kind=kind)


H, BYTES = tensor("H", ROWS, 512, dtype=float16), tensor("bytes", ROWS, 1024, dtype=int8)


@pytest.mark.parametrize(
    ("stmt", "fact"),
    [
        (copy_of(float32, 4, lambda c: load(A, k, c) * 2.0), "an asynchronous copy only moves bytes"),
        (copy_of(float32, 4, lambda c: arith.cast("float32", load(H, k, c))), "an asynchronous copy only moves bytes"),
        (copy_of(float16, 1, lambda c: load(H, k, c)), "this one could move 2 bytes"),
        (copy_of(float16, 2, lambda c: load(H, k, c + 1)), "this one could move 2 bytes"),
        (copy_of(int8, 2, lambda c: load(BYTES, k, c)), "this one could move 2 bytes"),
        (copy_of(float16, 4, lambda c: load(H, k, c), pad=1), "this one could move 2 bytes"),
        (
            copy_of(float32, 4, lambda c: IfThenElse(arith.lt(c, 77), load(A, k, c), arith.const(0.0, float32))),
            "differs between the lanes",
        ),
    ],
    ids=["computed", "converted", "2 bytes", "odd start", "bytes", "odd rows", "ragged"],
)
def test_what_no_asynchronous_copy_can_do_is_refused_with_advice(stmt: Stmt, fact: str) -> None:
    body = pipelined(k, 8, stmt, store(OUT, tx, load(A, 0, tx)), transport="cp_async")
    with pytest.raises(CodegenError, match=fact) as refusal:
        PipelineLoops()(kernel(body, [A, OUT], [OUT]), b.GPU)
    assert 'transport="register"' in refusal.value.advice


@pytest.mark.parametrize(
    ("dtype", "source", "width", "sizes"),
    [(float32, A, 4, [16]), (float32, A, 2, [8]), (float32, A, 1, [4]), (float16, H, 8, [16]), (float16, H, 2, [4])],
)
def test_copies_are_as_wide_as_their_neighbours(dtype: DType, source, width: int, sizes: list[int]) -> None:
    stmt = copy_of(dtype, width, lambda column: load(source, k, column))
    made = asynchronous(stmt, kernel(loop(k, 8, stmt), [source], []).ranges)
    assert [c.args[2].value for c in of_kind(made, Call)] == sizes


def test_a_long_vector_becomes_several_copies() -> None:
    stmt = copy_of(float32, 8, lambda column: load(A, k, column))
    made = asynchronous(stmt, kernel(loop(k, 8, stmt), [A], []).ranges)
    assert type(made) is For and made.kind is UNROLLED and int(made.extent) == 2


def test_a_vector_with_a_second_statement_is_no_copy() -> None:
    stmt = copy_of(float32, 4, lambda column: load(A, k, column))
    twice = with_fields(stmt, {"body": seq(stmt.body, stmt.body)})
    with pytest.raises(Unfit, match="more than one store"):
        asynchronous(twice, {})


def refused(main: Stmt, fact: str) -> None:
    with pytest.raises(CodegenError, match=fact):
        PipelineLoops()(kernel(main, [A, OUT], [OUT]), b.GPU)


def test_tiles_without_versions_are_refused() -> None:
    tile = shared("tile", 64)
    fill, use = store(tile, tx, load(A, k, tx)), store(OUT, tx, load(tile, 63 - tx))
    refused(pipelined(k, 8, fill, use, stages=2, transport="cp_async"), "tile does not hold 2 tiles")


def test_a_tile_computed_from_the_loop_is_refused() -> None:
    tile, register = shared("tile", 2, 64), tensor("sum", 1, scope="local")
    use = store(register, 0, load(tile, k % 2, 63 - tx))
    main = pipelined(k, 8, store(tile, k % 2, tx, load(register, 0)), use)
    refused(
        Allocate(register, seq(store(register, 0, 0.0), main, store(OUT, tx, load(register, 0)))),
        "no statement of loop k",
    )


def test_unknown_transports_are_refused() -> None:
    refused(pipelined(k, 8, store(OUT, tx, load(A, k, tx)), transport="pigeon"), "unknown transport 'pigeon'")


def test_a_loop_over_registers_of_unknown_extent_is_refused() -> None:
    n, fragment = Var("n", minimum=0), tensor("fragment", 1, scope="local")
    body = pipelined(
        k, n, Allocate(fragment, seq(store(fragment, 0, load(A, k, tx)), store(OUT, tx, load(fragment, 0))))
    )
    refused(body, "has extent n")


def test_loops_of_other_passes_are_left_alone() -> None:
    tile = shared("tile", 2, 64)
    main = pipelined(
        k, 8, store(tile, k % 2, tx, load(A, k, tx)), store(OUT, tx, load(tile, k % 2, tx)), transport="tma"
    )
    plain = kernel(main, [A, OUT], [OUT])
    assert PipelineLoops()(plain, b.GPU).body is plain.body


# -- random loops -----------------------------------------------------------------------------------------------------


@st.composite
def random_pipeline(draw: st.DrawFn) -> tuple[Kernel, Kernel]:
    """Give a kernel with a pipelined loop, and the same with a serial one."""
    transport, stages = draw(st.sampled_from(TRANSPORTS))
    steps = draw(st.integers(1, 6))
    register = tensor("sum", 1, scope="local")
    fills, uses = [], []
    for number in range(draw(st.integers(1, 2))):
        tile = shared(f"tile{number}", stages, 256)
        width, shift = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([0, 4, 8]))
        lane = Var(f"lane{number}", minimum=0)
        column = tx * width + lane
        source: Expr = load(A, k, (column + shift) % 256)
        if draw(st.booleans()):
            source = IfThenElse(arith.lt(tx, draw(st.integers(1, 64))), source, arith.const(0.0, float32))
        fills.append(loop(lane, width, store(tile, k % stages, column, source), kind=VECTOR))
        place = (draw(st.sampled_from([1, 3, 63])) * tx + draw(st.integers(0, 5))) % (64 * width)
        uses.append(store(register, 0, load(register, 0) * 0.5 + load(tile, k % stages, place)))
    body = seq(*fills, *uses)
    main = pipelined(k, steps, body, stages=stages, transport=transport)

    def around(inner: Stmt) -> Kernel:
        whole = seq(store(register, 0, 0.0), inner, store(OUT, tx, load(register, 0)))
        return kernel(Allocate(register, whole), [A, OUT], [OUT])

    return around(main), around(loop(k, steps, body))


@given(random_pipeline())
@examples(max_examples=80)
def test_random_pipelines_are_in_order(both: tuple[Kernel, Kernel]) -> None:
    made = planned(both[0])
    assert check_barriers(made) == []
    assert b.barriers(made.body) == 1


@given(random_pipeline())
@examples(max_examples=15)
def test_random_pipelines_give_what_the_serial_loop_gives(both: tuple[Kernel, Kernel]) -> None:
    arrays = {"A": numbers(), "out": np.zeros(64, np.float32)}
    one = b.emulated(planned(both[0]), arrays)
    two = b.emulated(PlanBarriers()(both[1], b.GPU), arrays)
    np.testing.assert_array_equal(one["out"], two["out"])
