"""The passes before code generation: what they make of a nest, and that its meaning stays."""

from __future__ import annotations

import numpy as np

from tilewright.codegen.interp import interpret
from tilewright.codegen.passes.hoist import HoistConditions
from tilewright.codegen.passes.partition import PartitionLoops
from tilewright.codegen.passes.promote import PromoteAccumulators
from tilewright.codegen.passes.unroll import UnrollByPragma, UnrollTiles
from tilewright.codegen.pipeline import Observation, lower
from tilewright.ir import arith
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import float32, int32
from tilewright.ir.expr import Address, Call, Const, Expr, IfThenElse, Load, Var
from tilewright.ir.stmt import Allocate, Annotation, Evaluate, For, ForKind, Function, If, Stmt, Store, seq
from tilewright.ir.target import Target
from tilewright.ir.visit import of_kind

WIDE = Target("llvm", "x86_64-unknown-linux-gnu", "skylake-avx512", "", 512, 32)
VECTOR, SERIAL, UNROLLED = ForKind.VECTORIZED, ForKind.SERIAL, ForKind.UNROLLED
i, j, k, io, jo, ko, i0, j0 = (Var(n) for n in ("i", "j", "k", "io", "jo", "ko", "i0", "j0"))


def tensor(name: str, *shape: int | Expr, scope: str = "global") -> Buffer:
    """Give a row-major float32 buffer."""
    return Buffer(name, tuple(arith.as_expr(n) for n in shape), float32, scope)


def loop(var: Var, extent: int | Expr, body: Stmt, kind: ForKind = SERIAL) -> For:
    """Give a loop."""
    return For(var, arith.as_expr(extent), body, kind)


def assert_same_meaning(function: Function, made: Stmt, **sizes: int) -> None:
    """Assert that both bodies write the same values."""
    results = []
    for body in (function.body, made):
        rng = np.random.default_rng(0)
        arrays = [
            rng.integers(0, 9, [sizes[str(d)] if str(d) in sizes else int(str(d)) for d in b.shape]).astype(np.float32)
            for b in function.buffers
        ]
        interpret(Function(function.name, function.params, body, function.outputs), arrays)
        results.append(arrays)
    for before, after in zip(*results, strict=True):
        np.testing.assert_array_equal(after, before)


def shift(n: int | Expr, tile: int, kind: ForKind = SERIAL, inner: ForKind = VECTOR) -> Function:
    """Give out[x] = a[x] + 1 in tiles, the last one guarded."""
    a, out = tensor("a", n), tensor("out", n)
    x = io * tile + i
    body = If(x < n, Store(out, (x,), Load(a, (x,)) + 1.0))
    tiles = (arith.as_expr(n) + (tile - 1)) // tile
    return Function("shift", (a, out), For(io, tiles, loop(i, tile, body, inner), kind), (out,))


def test_the_last_tile_is_split_off_with_its_exact_length() -> None:
    function = shift(115, 16)
    made = PartitionLoops()(function.body, WIDE)
    assert str(made) == (
        "for io_1 in range(7):\n"
        "    for i_1 in vectorized(16):\n"
        "        out[io_1 * 16 + i_1] = a[io_1 * 16 + i_1] + 1.0\n"
        "for i_2 in vectorized(3):\n"
        "    out[i_2 + 112] = a[i_2 + 112] + 1.0"
    )
    assert_same_meaning(function, made)


def test_a_loop_without_need_is_left_alone() -> None:
    function = shift(112, 16)
    clean = loop(io, 7, loop(i, 16, Store(function.buffers[1], (io * 16 + i,), Const(0.0, float32)), VECTOR))
    assert PartitionLoops()(clean, WIDE) is clean


def test_a_parallel_loop_stays_one_loop_and_chooses_inside() -> None:
    function = shift(115, 16, ForKind.PARALLEL)
    made = PartitionLoops()(function.body, WIDE)
    loops = list(of_kind(made, For))
    assert [x.kind for x in loops if x.kind is not VECTOR] == [ForKind.PARALLEL]
    assert sorted(str(x.extent) for x in loops if x.kind is VECTOR) == ["16", "3"]
    assert_same_meaning(function, made)


def test_a_parallel_loop_repeats_only_the_part_that_has_its_conditions() -> None:
    a, part, out = tensor("a", 115), tensor("part", 16), tensor("out", 8, 16)
    x = io * 16 + i
    copied = If(x < 115, Store(part, (i,), Load(a, (x,)) + 1.0))
    used = loop(j, 16, Store(out, (io, j), Load(part, (j,)) * 2.0), VECTOR)
    body = loop(ko, 2, seq(loop(i, 16, copied, VECTOR), used))
    function = Function("parts", (a, out), For(io, Const(8), Allocate(part, body), ForKind.PARALLEL), (out,))
    made = PartitionLoops()(function.body, WIDE)
    assert str(made) == (
        "for io in parallel(8):\n"
        "    part = allocate(float32[16])\n"
        "    for ko in range(2):\n"
        "        if io < 7:\n"
        "            for i in vectorized(16):\n"
        "                part[i] = a[io * 16 + i] + 1.0\n"
        "        else:\n"
        "            for i_1 in vectorized(3):\n"
        "                part[i_1] = a[i_1 + 112] + 1.0\n"
        "        for j in vectorized(16):\n"
        "            out[io, j] = part[j] * 2.0"
    )


def test_a_parallel_loop_keeps_together_what_shares_registers() -> None:
    a, part, out = tensor("a", 115), tensor("part", 16, scope="local"), tensor("out", 128)
    x = io * 16 + i
    copied = If(x < 115, Store(part, (i,), Load(a, (x,)) + 1.0))
    body = seq(loop(i, 16, copied, VECTOR), loop(j, 16, Store(out, (io * 16 + j,), Load(part, (j,))), VECTOR))
    function = Function("shared", (a, out), For(io, Const(8), Allocate(part, body), ForKind.PARALLEL), (out,))
    made = PartitionLoops()(function.body, WIDE)
    choice = next(iter(of_kind(made, If)))
    assert all(len(list(of_kind(side, Store))) == 2 for side in (choice.then, choice.otherwise))


def test_with_a_symbolic_size_the_main_part_has_no_guard() -> None:
    n = Var("n", minimum=0)
    function = shift(n, 16)
    made = PartitionLoops()(function.body, WIDE)
    assert len(list(of_kind(made, If))) == 1
    main = next(x for x in of_kind(made, For) if x.kind is SERIAL)
    assert not list(of_kind(main, If))
    for size in (0, 5, 16, 31, 32, 115):
        assert_same_meaning(function, made, n=size)


def test_padding_is_peeled_off_both_ends() -> None:
    a, out = tensor("a", 30), tensor("out", 30)
    inside = arith.logical_and(i + k >= 1, i + k < 31)
    body = Store(out, (i,), Load(out, (i,)) + IfThenElse(inside, Load(a, (i + k - 1,)), Const(0.0, float32)))
    function = Function("pad", (a, out), loop(i, 30, loop(k, 3, body, UNROLLED)), (out,))
    made = PartitionLoops()(function.body, WIDE)
    main = next(x for x in of_kind(made, For) if x.kind is SERIAL)
    assert str(main.extent) == "28"
    assert not list(of_kind(main, IfThenElse))
    assert_same_meaning(function, made)


def test_conditions_that_fail_in_all_iterations_split_off_are_gone() -> None:
    a, out = tensor("a", 28), tensor("out", 32)
    inside = arith.logical_and(arith.le(Const(2), i), i < 30)
    body = loop(i, 32, Store(out, (i,), IfThenElse(inside, Load(a, (i - 2,)), Const(0.0, float32))))
    function = Function("pad", (a, out), body, (out,))
    made = PartitionLoops()(body, WIDE)
    assert [str(n.extent) for n in of_kind(made, For)] == ["2", "28", "2"]
    assert not list(of_kind(made, IfThenElse))
    assert_same_meaning(function, made)


def test_a_loop_whose_every_iteration_is_at_one_end_or_the_other_is_cut_in_two() -> None:
    a, out = tensor("a", 28), tensor("out", 28)
    x = io * 16 + i
    value = IfThenElse(arith.le(Const(1), x), Load(a, (x - 1,)), Const(0.0, float32))
    body = loop(io, 2, loop(i, 16, If(x < 28, Store(out, (x,), value)), VECTOR))
    function = Function("pad", (a, out), body, (out,))
    made = PartitionLoops()(body, WIDE)
    assert [str(n.extent) for n in of_kind(made, For)] == ["16", "12"]
    assert len(list(of_kind(made, IfThenElse))) == 1
    assert_same_meaning(function, made)


def test_the_number_of_copies_is_limited() -> None:
    a, out = tensor("a", 13, 13, 13, 13), tensor("out", 13, 13, 13, 13)
    names = [(Var(f"o{d}"), Var(f"i{d}")) for d in range(4)]
    at = tuple(o * 4 + n for o, n in names)
    body: Stmt = If(arith.logical_and(*[x < 13 for x in at]), Store(out, at, Load(a, at)))
    for o, n in reversed(names):
        body = loop(o, 4, loop(n, 4, body))
    function = Function("copies", (a, out), body, (out,))
    made = PartitionLoops(copies=4)(body, WIDE)
    assert len(list(of_kind(made, Store))) <= 8
    assert_same_meaning(function, made)


def matmul(kind: ForKind = SERIAL, start: bool = True) -> Function:
    """Give c += a @ b with a tile of 4 x 32 under the reduction loop."""
    a, b, c = tensor("a", 8, 6), tensor("b", 6, 32), tensor("c", 8, 32)
    row = io * 4 + i
    update = Store(c, (row, j), Load(c, (row, j)) + Load(a, (row, k)) * Load(b, (k, j)))
    zero = loop(i0, 4, loop(j0, 32, Store(c, (io * 4 + i0, j0), Const(0.0, float32)), VECTOR), kind)
    reduction = loop(k, 6, loop(i, 4, loop(j, 32, update, VECTOR), kind))
    return Function("matmul", (a, b, c), loop(io, 2, seq(zero, reduction) if start else reduction), (c,))


def test_the_start_becomes_the_start_of_the_registers() -> None:
    function = matmul()
    made = PromoteAccumulators()(function.body, WIDE)
    c = function.buffers[2]
    assert not [n for n in of_kind(made, Load) if n.buffer is c]
    assert len([n for n in of_kind(made, Store) if n.buffer is c]) == 1
    assert_same_meaning(function, made)


def test_without_a_start_the_tile_is_loaded_once() -> None:
    function = matmul(start=False)
    made = PromoteAccumulators()(function.body, WIDE)
    reduction = next(x for x in of_kind(made, For) if x.var is k)
    assert all(n.buffer is not function.buffers[2] for n in of_kind(reduction, Load, Store))
    assert_same_meaning(function, made)


def test_a_tile_beyond_the_registers_stays_in_memory() -> None:
    small = Target("llvm", "x86_64-unknown-linux-gnu", "x86-64", "", 128, 16)
    body = matmul().body
    assert PromoteAccumulators()(body, small) is body


def test_a_buffer_that_is_read_elsewhere_in_the_loop_stays() -> None:
    c = tensor("c", 8)
    body = loop(k, 4, loop(i, 4, Store(c, (i,), Load(c, (i,)) + Load(c, (i + 4,)))))
    assert PromoteAccumulators()(body, WIDE) is body


def test_a_guard_of_tile_and_reduction_together_prevents_it() -> None:
    a, c = tensor("a", 8), tensor("c", 8)
    update = If(i + k < 8, Store(c, (i,), Load(c, (i,)) + Load(a, (k,))))
    body = loop(k, 8, loop(i, 8, update))
    assert PromoteAccumulators()(body, WIDE) is body


def test_a_guard_of_the_tile_guards_the_stores() -> None:
    a, c = tensor("a", 8, 13), tensor("c", 13)
    x = io * 8 + i
    update = If(x < 13, Store(c, (x,), Load(c, (x,)) + Load(a, (k, x))))
    function = Function("sums", (a, c), loop(io, 2, loop(k, 8, loop(i, 8, update, VECTOR))), (c,))
    made = PromoteAccumulators()(function.body, WIDE)
    assert len(list(of_kind(made, Allocate))) == 1
    assert_same_meaning(function, made)


def test_serial_loops_over_a_local_tile_are_written_out() -> None:
    out, acc = tensor("out", 4), tensor("acc", 4, scope="local")
    fill = loop(i, 4, Store(acc, (i,), Const(1.0, float32)))
    body = Allocate(acc, seq(fill, loop(j, 4, Store(out, (j,), Load(acc, (j,))))))
    made = UnrollTiles()(body, WIDE)
    assert [x.kind for x in of_kind(made, For)] == [UNROLLED, UNROLLED]
    assert_same_meaning(Function("tile", (out,), body, (out,)), made)


def test_a_local_buffer_indexed_from_outside_keeps_its_loops() -> None:
    out, acc = tensor("out", 4), tensor("acc", 4, scope="local")
    fill = loop(i, 4, Store(acc, (i,), Const(1.0, float32)))
    body = loop(k, 4, Allocate(acc, seq(fill, Store(out, (k,), Load(acc, (k,))))))
    assert UnrollTiles()(body, WIDE) is body


def test_the_pragma_unrolls_what_stays_within_its_steps() -> None:
    out = tensor("out", 10, 4, 4)
    inner = loop(i, 10, loop(j, 4, loop(k, 4, Store(out, (i, j, k), Const(1.0, float32)))))
    body = For(inner.var, inner.extent, inner.body, annotations=(Annotation("auto_unroll_max_step", 16),))
    made = UnrollByPragma()(body, WIDE)
    assert [x.kind for x in of_kind(made, For)] == [SERIAL, UNROLLED, UNROLLED]


def test_the_driver_tells_of_each_pass() -> None:
    seen: list[Observation] = []
    function = matmul()
    made = lower(function, WIDE, seen.append)
    names = ["UnrollByPragma", "PartitionLoops", "HoistConditions", "PromoteAccumulators", "UnrollTiles"]
    assert [o.name for o in seen] == [*names, "SeparateWholeTiles"]
    assert [o.changed for o in seen] == [False, False, False, True, False, False]
    assert seen[-1].function is made
    assert all(o.seconds >= 0 for o in seen)


def test_iterations_that_conditions_keep_from_everything_are_left_out() -> None:
    a, out = tensor("a", 40), tensor("out", 40)
    x = io * 24 + i * 8 + j
    body = loop(io, 3, loop(i, 3, loop(j, 8, If(x < 28, Store(out, (x,), Load(a, (x,)) + 1.0)), VECTOR)))
    function = Function("ragged", (a, out), body, (out,))
    made = PartitionLoops()(body, WIDE)
    assert not list(of_kind(made, If))
    assert [str(n.extent) for n in of_kind(made, For)] == ["3", "8", "4"]
    assert_same_meaning(function, made)


def test_iterations_that_only_ask_the_caches_for_something_are_left_out() -> None:
    a, out = tensor("a", 40), tensor("out", 40)
    x = io * 24 + i * 8 + j
    asked = Evaluate(Call("prefetch", (Address(a, (io,)), Const(0)), int32))
    guarded = loop(j, 8, If(x < 28, Store(out, (x,), Load(a, (x,)) + 1.0)), VECTOR)
    made = PartitionLoops()(loop(io, 3, loop(i, 3, seq(asked, guarded))), WIDE)
    assert not list(of_kind(made, If))
    assert [str(n.extent) for n in of_kind(made, For)] == ["3", "8", "4"]


def test_iterations_are_kept_where_something_is_done_without_condition() -> None:
    out = tensor("out", 8)
    either = If(i < 4, Store(out, (i,), Const(1.0, float32)), Store(out, (i,), Const(2.0, float32)))
    function = Function("either", (out,), loop(i, 8, either), (out,))
    assert_same_meaning(function, PartitionLoops()(function.body, WIDE))


def test_a_condition_goes_around_the_loops_that_it_does_not_depend_on() -> None:
    a, out = tensor("a", 4, 8, 16), tensor("out", 16)
    total = Store(out, (j,), Load(out, (j,)) + Load(a, (i, k, j)))
    guarded = If(arith.logical_and(i >= 1, k < i * 3), total)
    body = loop(i, 4, loop(k, 8, loop(j, 16, guarded, VECTOR)))
    function = Function("sums", (a, out), body, (out,))
    made = HoistConditions()(function.body, WIDE)
    assert_same_meaning(function, made)
    assert str(made).splitlines()[:5] == [
        "for i in range(4):",
        "    if 1 <= i:",
        "        for k in range(8):",
        "            if k < i * 3:",
        "                for j in vectorized(16):",
    ]


def test_a_condition_that_reads_memory_stays_where_it_is() -> None:
    out = tensor("out", 16)
    body = loop(j, 16, If(Load(out, (Const(0, i.dtype),)) < 4.0, Store(out, (j,), arith.const(9.0, "float32"))))
    assert HoistConditions()(body, WIDE) is body


def prefetch(buffer: Buffer, *place: Expr) -> Stmt:
    """Give a request for a line."""
    return Evaluate(Call("prefetch", (Address(buffer, place), Const(0)), int32))


def test_a_condition_takes_prefetches_ahead_of_it_along() -> None:
    a, out = tensor("a", 4, 8, 16), tensor("out", 16)
    total = Store(out, (j,), Load(out, (j,)) + Load(a, (i, k, j)))
    ahead = loop(jo, 2, prefetch(a, i, k, jo * 8), UNROLLED)
    guarded = If(arith.logical_and(i >= 1, k < i * 3), loop(j, 16, total, VECTOR))
    body = loop(i, 4, loop(k, 8, seq(ahead, guarded)))
    function = Function("sums", (a, out), body, (out,))
    made = HoistConditions()(function.body, WIDE)
    assert_same_meaning(function, made)
    assert str(made).splitlines()[:6] == [
        "for i in range(4):",
        "    if 1 <= i:",
        "        for k in range(8):",
        "            for jo in unrolled(2):",
        "                prefetch(address(a[i, k, jo * 8]), 0)",
        "            if k < i * 3:",
    ]


def test_a_condition_stays_behind_a_store() -> None:
    a, out = tensor("a", 8, 16), tensor("out", 16)
    first = Store(out, (k,), Const(1.0, float32))
    body = loop(i, 4, loop(k, 8, seq(first, prefetch(a, k, i), If(i >= 1, Store(out, (k,), Load(a, (k, i)))))))
    assert HoistConditions()(body, WIDE) is body
