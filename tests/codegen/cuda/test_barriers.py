"""Barriers: how many there are and where, that none is missing and none too many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tilewright.codegen.cuda.kernel import Kernel, effect, is_effect
from tilewright.codegen.cuda.ordering.accesses import root_place
from tilewright.codegen.cuda.ordering.barriers import PlanBarriers
from tilewright.codegen.cuda.ordering.conflicts import Conflicts, Meeting
from tilewright.codegen.cuda.ordering.gaps import Arc, fewest
from tilewright.codegen.cuda.ordering.races import check_barriers
from tilewright.codegen.cuda.ordering.sites import Sites
from tilewright.ir import arith
from tilewright.ir.dtype import int8
from tilewright.ir.errors import CodegenError
from tilewright.ir.expr import Address, Call, Const, Expr, Load, Var
from tilewright.ir.stmt import Allocate, For, If, Let, Seq, Stmt, seq
from tilewright.ir.visit import rewrite

from . import blocks as b
from .blocks import barriers, barriers_in, i, j, k, kernel, load, loop, planned, shared, store, tensor, tx, ty, v

A, B, OUT = tensor("A", 64, 64), tensor("B", 64, 64), tensor("out", 64)
S, T = shared("S", 64), shared("T", 64)


def accumulate(register, value: Expr) -> Stmt:
    return store(register, 0, load(register, 0) + value)


def summed(make: Callable, *outside: Stmt) -> Kernel:
    """Give a kernel around a body that `make` builds with a register, whose sum is the result."""
    register = tensor("sum", 1, scope="local")
    body = seq(store(register, 0, 0.0), make(register), *outside, store(OUT, tx, load(register, 0)))
    return kernel(Allocate(register, body), [A, B, OUT], [OUT])


def single_buffered() -> Kernel:
    return summed(lambda r: loop(k, 64, store(S, tx, load(A, k, tx)), accumulate(r, load(S, 63 - tx))))


def double_buffered() -> Kernel:
    two = shared("S", 2, 64)
    return summed(
        lambda r: loop(k, 64, store(two, k % 2, tx, load(A, k, tx)), accumulate(r, load(two, k % 2, 63 - tx)))
    )


def two_stages() -> Kernel:
    """T is computed from S, both anew in each iteration."""
    return summed(
        lambda r: loop(
            k,
            64,
            store(S, tx, load(A, k, tx)),
            store(T, tx, load(S, 63 - tx) * 2.0),
            accumulate(r, load(T, (tx + 1) % 64)),
        )
    )


def read_only_loop() -> Kernel:
    return summed(lambda r: seq(store(S, tx, load(A, 0, tx)), loop(k, 64, accumulate(r, load(S, k)))))


def reused_after_loop() -> Kernel:
    """The tile of the loop is overwritten after it, and read once more."""
    register = tensor("sum", 1, scope="local")
    body = seq(
        store(register, 0, 0.0),
        loop(k, 8, store(S, tx, load(A, k, tx)), accumulate(register, load(S, 63 - tx))),
        store(S, tx, load(register, 0)),
        store(OUT, tx, load(S, (tx + 7) % 64)),
    )
    return kernel(Allocate(register, body), [A, OUT], [OUT])


def persistent() -> Kernel:
    """A block does several tiles; the shared one is reused by the next."""
    wide = tensor("out", 8, 64)
    body = loop(p := Var("tile", minimum=0), 8, store(S, tx, load(A, p, tx)), store(wide, p, tx, load(S, 63 - tx)))
    return kernel(body, [A, wide], [wide])


def nested() -> Kernel:
    """Two tiles, one of an outer loop and one of an inner one."""
    return summed(
        lambda r: loop(
            i,
            4,
            store(T, tx, load(B, i, tx)),
            loop(k, 8, store(S, tx, load(A, k, tx)), accumulate(r, load(S, 63 - tx) * load(T, (tx + k) % 64))),
        )
    )


def tree(threads: int = 64) -> Kernel:
    """A sum over all threads, in halves."""
    steps: list[Stmt] = [store(S, tx, load(A, 0, tx))]
    half = threads // 2
    while half:
        steps.append(If(tx < half, store(S, tx, load(S, tx) + load(S, tx + half))))
        half //= 2
    return kernel(seq(*steps, store(OUT, tx, load(S, 0))), [A, OUT], [OUT])


def guarded() -> Kernel:
    """Both statements are done by the first threads alone."""
    body = If(tx < 40, seq(store(S, tx, load(A, 0, tx)), store(OUT, tx, load(S, 39 - tx))))
    return kernel(body, [A, OUT], [OUT])


def guarded_loop() -> Kernel:
    """A condition that differs between threads around a loop that needs barriers, with a let in between."""
    register, row = tensor("sum", 1, scope="local"), Var("row", minimum=0)
    step = seq(store(S, tx, load(A, row, tx)), accumulate(register, load(S, 39 - tx)))
    body = seq(store(register, 0, 0.0), loop(k, 8, Let(row, k * 2, step)), store(OUT, tx, load(register, 0)))
    return kernel(Allocate(register, If(tx < 40, body)), [A, OUT], [OUT])


def workspace() -> Kernel:
    """Global memory that one thread writes and another one reads."""
    scratch = tensor("scratch", 64)
    body = seq(store(scratch, tx, load(A, 0, tx)), store(OUT, tx, load(scratch, 63 - tx)))
    return kernel(body, [A, scratch, OUT], [scratch, OUT])


def plane() -> Kernel:
    """Threads in two dimensions; each row of threads fills what the columns read."""
    tile, out = shared("tile", 8, 8), tensor("out", 8, 8)
    body = loop(k, 4, store(tile, ty, tx, load(A, k * 8 + ty, tx)), store(out, ty, tx, load(tile, tx, ty)))
    return kernel(body, [A, out], [out], block=(8, 8, 1))


# Each with the number of its barriers: in all, and directly in the loop over k, if there is one.
GOLDEN = {
    single_buffered: (2, 2),
    double_buffered: (1, 1),
    two_stages: (2, 2),
    read_only_loop: (1, 0),
    reused_after_loop: (3, 2),
    persistent: (2, None),
    nested: (2, 2),
    tree: (7, None),
    guarded: (1, None),
    guarded_loop: (2, 2),
    workspace: (1, None),
    plane: (2, 2),
}


@pytest.mark.parametrize("make", GOLDEN)
def test_as_many_barriers_as_needed(make: Callable[[], Kernel]) -> None:
    made = planned(make())
    total, inside = GOLDEN[make]
    assert barriers(made.body) == total
    assert inside is None or barriers_in(made.body, k) == inside


@pytest.mark.parametrize("make", GOLDEN)
def test_no_pair_is_left_without_order(make: Callable[[], Kernel]) -> None:
    assert check_barriers(planned(make())) == []


@pytest.mark.parametrize("make", GOLDEN)
def test_each_barrier_is_missed(make: Callable[[], Kernel]) -> None:
    made = planned(make())
    for number in range(barriers(made.body)):
        found = check_barriers(replace(made, body=b.without_barrier(made.body, number)))
        assert [f.kind for f in found] and {f.kind for f in found} == {"race"}, f"barrier {number} is not missed"


@pytest.mark.parametrize("make", GOLDEN)
def test_all_orders_of_threads_give_one_result(make: Callable[[], Kernel]) -> None:
    made = planned(make())
    rng = np.random.default_rng(0)
    arrays = {p.name: rng.random([int(d) for d in p.shape], np.float32) for p in made.params}
    written = slice(0, 40)  # rows or columns that every kernel writes
    results = b.emulated(made, arrays)
    assert all(np.isfinite(result[written]).all() for result in results.values())


def test_reversed_rows_are_summed() -> None:
    rows = np.random.default_rng(0).random((64, 64), np.float32)
    out = b.emulated(planned(single_buffered()), {"A": rows, "B": rows, "out": np.zeros(64, np.float32)})["out"]
    np.testing.assert_allclose(out, rows[:, ::-1].sum(0), rtol=64 * 2**-23)


# -- accesses that need no barrier ------------------------------------------------------------------------------------


def unchanged(body: Stmt, *params, block: tuple[int, int, int] = (64, 1, 1)) -> bool:
    plain = kernel(body, params, [p for p in params if p.name.startswith("out")], block)
    return PlanBarriers()(plain, b.GPU) is plain


def test_what_a_thread_keeps_for_itself_needs_no_barrier() -> None:
    assert unchanged(loop(k, 8, store(S, tx, load(A, k, tx)), store(OUT, tx, load(S, tx))), A, OUT)


def test_the_same_share_of_a_tile_in_another_loop_needs_no_barrier() -> None:
    tile = shared("tile", 8, 32)
    first, second = i * 64 + tx, j * 64 + tx
    fill = loop(i, 4, store(tile, first // 32, first % 32, load(A, i, tx)))
    use = loop(j, 4, store(OUT, tx, load(tile, second // 32, second % 32)))
    assert unchanged(loop(k, 8, fill, use), A, OUT)


def test_another_share_of_the_same_tile_needs_one() -> None:
    tile = shared("tile", 8, 32)
    first = i * 64 + tx
    fill = loop(i, 4, store(tile, first // 32, first % 32, load(A, i, tx)))
    use = loop(j, 4, store(OUT, tx, load(tile, tx // 8, tx % 8 * 4 + j)))
    assert barriers(planned(kernel(seq(fill, use), [A, OUT], [OUT])).body) == 1


def test_a_swizzled_share_needs_no_barrier() -> None:
    tile = shared("tile", 16, 32)

    def place(row: Expr) -> tuple[Expr, Expr]:
        column = arith.bitwise("bitwise_xor", tx % 8, row % 8)
        return row, column * 4

    fill = loop(i, 2, store(tile, *place(i * 8 + tx // 8), load(A, i, tx)))
    use = loop(j, 2, store(OUT, tx, load(tile, *place(j * 8 + tx // 8))))
    assert unchanged(loop(k, 4, fill, use), A, OUT)


def test_parts_of_one_buffer_need_no_barrier() -> None:
    body = seq(If(tx < 32, store(S, tx, 1.0)), If(tx < 32, store(OUT, tx, load(S, tx + 32))))
    assert unchanged(body, OUT)


def test_conditions_that_no_range_holds_keep_threads_apart() -> None:
    tile, out = shared("tile", 64), tensor("out", 8, 8)
    mine = ty * 8 + tx
    body = seq(If(mine < 20, store(tile, mine, 1.0)), If(mine < 20, store(out, ty, tx, load(tile, mine + 20))))
    assert unchanged(body, out, block=(8, 8, 1))


def test_two_versions_of_a_tile_need_no_order_between_neighbours_but_need_one_over_two_iterations() -> None:
    three = shared("S", 3, 64)
    body = seq(
        store(three, (k + 2) % 3, tx, load(A, k, tx)),
        store(OUT, tx, load(three, k % 3, 63 - tx)),
    )
    assert barriers(planned(kernel(loop(k, 9, body), [A, OUT], [OUT])).body) == 1


def test_one_thread_needs_no_barrier() -> None:
    body = seq(store(S, 0, 1.0), store(OUT, 0, load(S, 63 - tx)))
    assert unchanged(body, OUT, block=(1, 1, 1))


def test_exempt_buffers_are_left_alone() -> None:
    plain = single_buffered()
    assert PlanBarriers(exempt=frozenset({"S"}))(plain, b.GPU) is plain


# -- places -----------------------------------------------------------------------------------------------------------


def test_the_barrier_before_a_loop_is_spared_by_the_one_at_its_start() -> None:
    """S is filled, the loop reads it and fills it anew: one barrier at the start of each iteration, none before."""
    body = seq(
        store(S, tx, load(A, 0, tx)),
        loop(k, 8, store(OUT, tx, load(S, 63 - tx)), store(T, tx, load(A, k, tx)), store(S, tx, load(T, 63 - tx))),
    )
    made = planned(kernel(body, [A, OUT], [OUT]))
    assert not any(is_effect(part, "barrier") for part in made.body.body)
    assert check_barriers(made) == []


def test_barriers_are_the_same_for_a_loop_of_unknown_extent() -> None:
    n = Var("n", minimum=0)
    body = loop(k, n, store(S, tx, load(A, k, tx)), store(OUT, tx, load(S, 63 - tx)))
    made = planned(kernel(body, [A, OUT, n], [OUT]))
    assert barriers_in(made.body, k) == 2
    assert check_barriers(made, {"n": 5}) == []


def test_a_loop_that_may_not_run_orders_nothing_around_it() -> None:
    n = Var("n", minimum=0)
    inside = loop(k, n, store(T, tx, load(A, k, tx)), store(OUT, tx, load(T, 63 - tx)))
    body = seq(store(S, tx, load(A, 0, tx)), inside, store(OUT, tx, load(S, 63 - tx)))
    made = planned(kernel(body, [A, OUT, n], [OUT]))
    for size in (0, 1, 3):
        assert check_barriers(made, {"n": size}) == []
    assert any(is_effect(part, "barrier") for part in made.body.body)


def test_both_branches_of_a_common_choice_are_planned() -> None:
    n = Var("n", minimum=0)
    body = If(
        n < 3,
        seq(store(S, tx, load(A, 0, tx)), store(OUT, tx, load(S, 63 - tx))),
        seq(store(S, tx, load(B, 0, tx)), store(OUT, tx, load(S, (tx + 1) % 64))),
    )
    made = planned(kernel(loop(k, 4, body), [A, B, OUT, n], [OUT]))
    assert all(check_barriers(made, {"n": size}) == [] for size in (0, 5))
    assert barriers(made.body) == 3  # one in each branch, one for both between iterations


def test_threads_that_take_different_branches_are_kept_apart() -> None:
    body = If(tx < 32, store(S, tx, load(A, 0, tx)), store(OUT, tx, load(S, tx - 32)))
    made = planned(kernel(body, [A, OUT], [OUT]))
    assert barriers(made.body) == 1
    assert check_barriers(made) == []


def test_lets_read_before_what_they_bind() -> None:
    value = Var("value", A.dtype)
    body = seq(store(S, tx, load(A, 0, tx)), Let(value, load(S, 63 - tx), store(S, tx, value)))
    made = planned(kernel(seq(body, store(OUT, tx, load(S, tx))), [A, OUT], [OUT]))
    assert check_barriers(made) == []
    assert barriers(made.body) == 2


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_a_loop_as_long_as_a_thread_likes_is_refused() -> None:
    body = loop(k, tx, store(S, tx, load(A, k, tx)), store(OUT, tx, load(S, 63 - tx)))
    with pytest.raises(CodegenError, match="a barrier is needed where not all threads"):
        planned(kernel(body, [A, OUT], [OUT]))


def test_a_statement_in_which_threads_meet_is_refused() -> None:
    body = seq(store(S, tx, 1.0), store(S, tx, load(S, 63 - tx)))
    with pytest.raises(CodegenError, match="one statement reads elements of S that other threads write"):
        planned(kernel(seq(body, store(OUT, tx, load(S, tx))), [OUT], [OUT]))


def test_a_condition_that_its_own_statements_change_is_refused() -> None:
    flag = tensor("flag", 1, scope="local")
    body = If(
        arith.lt(load(flag, 0), 1.0),
        seq(store(S, tx, 1.0), store(flag, 0, 2.0), store(OUT, tx, load(S, 63 - tx))),
    )
    with pytest.raises(CodegenError, match="a barrier is needed where not all threads"):
        planned(kernel(Allocate(flag, seq(store(flag, 0, 0.0), body)), [OUT], [OUT]))


# -- asynchronous copies ----------------------------------------------------------------------------------------------


def cp_async(place: Expr | int, row: Expr | int) -> Stmt:
    target, origin = Address(S, (arith.as_expr(place),)), Address(A, (arith.as_expr(row), tx))
    return effect("cp_async", target, origin, 4, 4)


def test_a_copy_is_there_for_others_after_its_wait_and_a_barrier() -> None:
    copy = seq(cp_async(tx, 0), effect("cp_async_commit"), effect("cp_async_wait", 0))
    made = planned(kernel(seq(copy, store(OUT, tx, load(S, 63 - tx))), [A, OUT], [OUT]))
    kinds = [s.value.name if type(s).__name__ == "Evaluate" else "store" for s in made.body.body]
    assert kinds == ["cp_async", "cp_async_commit", "cp_async_wait", "barrier", "store"]


def test_a_thread_sees_its_own_copy_after_the_wait_alone() -> None:
    copy = seq(cp_async(tx, 0), effect("cp_async_commit"), effect("cp_async_wait", 0))
    assert unchanged(seq(copy, store(OUT, tx, load(S, tx))), A, OUT)


@pytest.mark.parametrize(
    "waits",
    [[], [effect("cp_async_wait", 0)], [effect("cp_async_commit"), effect("cp_async_wait", 1)]],
    ids=["no wait", "no commit", "a group left"],
)
def test_a_missing_wait_is_refused(waits: list[Stmt]) -> None:
    body = seq(cp_async(tx, 0), *waits, store(OUT, tx, load(S, 63 - tx)))
    with pytest.raises(CodegenError, match="an asynchronous copy may still be writing elements of S"):
        planned(kernel(body, [A, OUT], [OUT]))


def test_the_check_finds_copies_that_are_pending() -> None:
    body = seq(cp_async(tx, 0), effect("cp_async_commit"), effect("barrier"), store(OUT, tx, load(S, 63 - tx)))
    assert [f.kind for f in check_barriers(kernel(body, [A, OUT], [OUT]))] == ["pending copy"]


# -- the parts --------------------------------------------------------------------------------------------------------


@given(st.data())
@examples(max_examples=300)
def test_the_fewest_gaps_are_as_few_as_a_search_finds(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 7))
    cyclic = data.draw(st.booleans())
    arcs = data.draw(st.lists(st.builds(Arc, st.integers(0, size - 1), st.integers(1, size)), max_size=5))
    if not cyclic:
        arcs = [Arc(a.start, min(a.count, size - a.start)) for a in arcs]

    def hits(gaps: int, arc: Arc) -> bool:
        return any(gaps >> (arc.start + n) % size & 1 for n in range(arc.count))

    least = min(gaps.bit_count() for gaps in range(1 << size) if all(hits(gaps, a) for a in arcs))
    for found in fewest(arcs, size, cyclic):
        assert len(found) == least
        assert all(hits(sum(1 << g for g in found), a) for a in arcs)


LINEAR = st.tuples(*[st.sampled_from([0, 0, 1, 1, 2, 3, 4, 8]) for _ in range(4)], st.integers(0, 5))
SHAPES = st.tuples(LINEAR, st.sampled_from([1, 1, 2, 4, 3]), st.sampled_from([64, 64, 8, 4, 3, 2]))


def index(shape: tuple, loops: tuple[Var, ...]) -> Expr:
    (a, b_, c, d, constant), divisor, modulus = shape
    return (tx * a + ty * b_ + loops[0] * c + loops[1] * d + constant) // divisor % modulus


@given(st.data())
@examples(max_examples=400)
def test_accesses_that_are_proved_apart_never_meet(data: st.DataObject) -> None:
    """Against all values of two threads and of the loops around the accesses."""
    rank = data.draw(st.integers(1, 2))
    first, second = (data.draw(st.tuples(*[SHAPES] * rank)) for _ in range(2))
    guard = data.draw(st.sampled_from([None, 1, 3]))
    buffer = shared("S", *[64] * rank)
    inner, other = Var("inner", minimum=0), Var("other", minimum=0)
    write = store(buffer, *(index(s, (k, inner)) for s in first), 1.0)
    read = store(OUT, 0, load(buffer, *(index(s, (k, other)) for s in second)))
    wrap = (lambda s: s) if guard is None else (lambda s: If(tx + ty < guard, s))
    one, two = loop(inner, 2, wrap(write)), loop(other, 3, read)
    plain = kernel(loop(k, 4, one, two), [OUT], [OUT], block=(4, 2, 1))
    meeting = data.draw(st.sampled_from([Meeting(1), Meeting(0, k), Meeting(0, k, next=False)]))
    place = root_place(plain).within(plain.body)
    inside = place.within(one) if guard is None else place.within(one).under(one.body, True)
    sites = Sites(frozenset({buffer}))
    (a,) = sites.own(write, inside)
    (c,) = sites.own(read, place.within(two))
    if Conflicts(plain).possible(a, c, meeting):
        return
    x, y, kk, m = np.ix_(range(4), range(2), range(4), range(3))
    names = {"x": x, "y": y, "k": kk, "m": m}

    def number(shape: tuple) -> np.ndarray:
        (p, q, r, s, t), divisor, modulus = shape
        return (names["x"] * p + names["y"] * q + names["k"] * r + names["m"] * s + t) // divisor % modulus

    def touched(shapes: tuple, inner_steps: int, bound: int | None) -> set[tuple]:
        flat = [np.broadcast_to(number(s), (4, 2, 4, 3)) for s in shapes]
        return {
            (px, py, pk, *(int(f[px, py, pk, pm]) for f in flat))
            for px in range(4)
            for py in range(2)
            for pk in range(4)
            for pm in range(inner_steps)
            if bound is None or px + py < bound
        }

    for wx, wy, wk, *element in touched(first, 2, guard):
        for rx, ry, rk, *place_ in touched(second, 3, None):
            steps = rk - wk
            when = steps == 0 if meeting.later is None else steps == 1 if meeting.next else steps >= 1
            assert not (when and (wx, wy) != (rx, ry) and element == place_)


# -- random kernels ---------------------------------------------------------------------------------------------------

THREADS = 16
NUMBERS = tensor("numbers", 8, THREADS, dtype=arith.const(0).dtype)
RESULT = tensor("result", 4, THREADS, dtype=NUMBERS.dtype)
TILES = (shared("P", THREADS, dtype=NUMBERS.dtype), shared("Q", 2, THREADS, dtype=NUMBERS.dtype))


@st.composite
def random_statement(draw: st.DrawFn, register, loops: tuple[Var, ...], depth: int) -> Stmt:
    """Give a statement in which no two threads meet, as any single statement of a schedule."""
    kinds = ["fill", "use", "use"] if depth == 0 else ["fill", "use", "loop", "guard", "common"]
    kind = draw(st.sampled_from(kinds))
    tile = draw(st.sampled_from(TILES))
    turn = draw(st.sampled_from([1, 3, 5])) * tx + draw(st.integers(0, 3))
    if loops:
        turn = turn + draw(st.integers(0, 2)) * loops[-1]
    place: tuple = (turn % THREADS,)
    if tile.name == "Q":
        place = ((loops[0] if loops else Const(0)) + draw(st.integers(0, 1)), *place)
        place = (place[0] % 2, *place[1:])
    body = st.deferred(lambda: random_body(register, loops, depth - 1))
    match kind:
        case "fill":
            return store(tile, *place, load(register, 0) + load(NUMBERS, draw(st.integers(0, 7)), tx))
        case "use":
            return store(register, 0, load(register, 0) * 3 + load(tile, *place))
        case "loop":
            var = Var(f"n{depth}_{draw(st.integers(0, 10**6))}", minimum=0)
            inner = draw(random_body(register, (*loops, var), depth - 1))
            return loop(var, draw(st.integers(1, 3)), inner)
        case "guard":
            return If(tx < draw(st.integers(1, THREADS)), draw(body))
        case _:
            condition = arith.lt(loops[-1], draw(st.integers(1, 2))) if loops else arith.lt(0, Var("n", minimum=0))
            return If(condition, draw(body))


def random_body(register, loops: tuple[Var, ...], depth: int) -> st.SearchStrategy[Stmt]:
    return st.lists(random_statement(register, loops, depth), min_size=1, max_size=4).map(lambda s: seq(*s))


@st.composite
def random_kernel(draw: st.DrawFn) -> Kernel:
    register = tensor("register", 1, scope="local", dtype=NUMBERS.dtype)
    start = seq(store(TILES[0], tx, tx), store(TILES[1], 0, tx, tx), store(TILES[1], 1, tx, tx), store(register, 0, tx))
    ends = [store(RESULT, 0, tx, load(register, 0)), store(RESULT, 1, tx, load(TILES[0], tx))]
    ends += [store(RESULT, 2 + n, tx, load(TILES[1], n, tx)) for n in range(2)]
    body = Allocate(register, seq(start, draw(random_body(register, (), 3)), *ends))
    params = [NUMBERS, RESULT, Var("n", minimum=0)]
    return kernel(_with_size(body, params[2]), params, [RESULT], block=(THREADS, 1, 1))


def _with_size(stmt: Stmt, size: Var) -> Stmt:
    """Give a statement in which the variables named n are one."""
    return rewrite(stmt, lambda node: size if type(node) is Var and node.name == "n" else None)


def in_lockstep(made: Kernel, numbers: np.ndarray, n: int) -> np.ndarray:
    """Run a kernel with all threads doing each statement together, which is what the barriers have to keep."""
    memory = {buffer: np.zeros([int(d) for d in buffer.shape], np.int32) for buffer in (*TILES, RESULT)}
    memory[NUMBERS] = numbers
    values: dict[Var, object] = {tx: np.arange(THREADS, dtype=np.int32)}

    def value(expr: Expr):
        match expr:
            case Const(value=x):
                return np.int32(x)
            case Var():
                return values.get(expr, np.int32(n))
            case Load(buffer, indices):
                return (
                    at(buffer)[tuple(np.broadcast_arrays(*[value(x) for x in (tx * 0, *indices)])[1:])]
                    if (buffer.scope != "local")
                    else at(buffer)
                )
            case _:
                a, c = value(expr.a), value(expr.b)
                return {
                    "Add": np.add, "Mul": np.multiply, "FloorMod": np.mod, "Lt": np.less, "Sub": np.subtract,
                }[type(expr).__name__](a, c)  # fmt: skip

    def at(buffer) -> np.ndarray:
        return memory.setdefault(buffer, np.zeros(THREADS, np.int32))

    def run(stmt: Stmt, active: np.ndarray) -> None:
        match stmt:
            case Seq(parts):
                for part in parts:
                    run(part, active)
            case Allocate(body=body):
                run(body, active)
            case For(var, extent, body):
                for step in range(int(extent)):
                    values[var] = np.int32(step)
                    run(body, active)
            case If(condition, then):
                run(then, active & value(condition))
            case _ if hasattr(stmt, "indices"):
                stored = np.broadcast_to(value(stmt.value), THREADS)
                if stmt.buffer.scope == "local":
                    memory[stmt.buffer] = np.where(active, stored, at(stmt.buffer))
                else:
                    where = np.broadcast_arrays(*[value(x) for x in (tx * 0, *stmt.indices)])[1:]
                    at(stmt.buffer)[tuple(x[active] for x in where)] = stored[active]

    with np.errstate(over="ignore"):
        run(made.body, np.ones(THREADS, bool))
    return memory[RESULT]


@given(random_kernel())
@examples(max_examples=150)
def test_random_kernels_are_in_order(plain: Kernel) -> None:
    made = planned(plain)
    for size in (0, 1):
        assert check_barriers(made, {"n": size}) == []


@given(random_kernel())
@examples(max_examples=25)
def test_random_kernels_give_what_threads_in_lockstep_give(plain: Kernel) -> None:
    numbers = np.random.default_rng(0).integers(-9, 9, (8, THREADS)).astype(np.int32)
    result = b.emulated(planned(plain), {"numbers": numbers, "result": np.zeros((4, THREADS), np.int32), "n": 1})
    np.testing.assert_array_equal(result["result"], in_lockstep(plain, numbers, 1))


def test_calls_in_the_language_of_devices_are_known_to_the_check() -> None:
    row = Address(S, (tx % 8 * 8,))
    fragment = tensor("fragment", 4, scope="local", dtype=NUMBERS.dtype)
    take = Allocate(fragment, effect("ldmatrix_x4", Address(fragment, (Const(0),)), row))
    made = planned(kernel(seq(store(S, tx, load(A, 0, tx)), take), [A], []))
    assert barriers(made.body) == 1
    assert check_barriers(made) == []
    assert check_barriers(replace(made, body=b.without_barrier(made.body, 0))) != []


def test_words_are_read_from_one_version_of_a_tile() -> None:
    two = shared("S", 2, 256, dtype=int8)
    source, out = tensor("source", 8, 256, dtype=int8), tensor("out", 8, 64, dtype=NUMBERS.dtype)
    fill = loop(v, 4, store(two, k % 2, tx * 4 + v, load(source, k, tx * 4 + v)), kind=b.VECTOR)
    word = Call("load_word", (Address(two, (k % 2, (63 - tx) * 4)),), NUMBERS.dtype)
    made = planned(kernel(loop(k, 8, fill, store(out, k, tx, word)), [source, out], [out]))
    assert barriers(made.body) == 1
    assert check_barriers(made) == []
    assert check_barriers(replace(made, body=b.without_barrier(made.body, 0))) != []


def test_conditions_on_registers_stay_apart() -> None:
    """The second statement is for the threads that the first one has not turned away."""
    flag = tensor("flag", 1, scope="local")
    ready = arith.lt(load(flag, 0), 1.0)
    body = seq(
        store(flag, 0, 0.0),
        store(S, tx, 1.0),
        If(ready, store(flag, 0, load(S, 63 - tx))),
        If(ready, store(OUT, tx, 1.0)),
    )
    made = planned(kernel(Allocate(flag, seq(body, store(S, tx, 2.0))), [OUT], [OUT]))
    assert sum(type(s) is If for s in b.statements(made.body)) == 2
