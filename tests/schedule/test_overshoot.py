"""Where tiles reach beyond a tensor: guarded, filled with 0, or computed like the rest."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright import te
from tilewright.codegen.interp import interpret
from tilewright.ir.stmt import If
from tilewright.ir.visit import statements
from tilewright.schedule import Schedule, create_schedule, lower
from tilewright.schedule.lower import caller_buffers
from tilewright.schedule.nest import build_nest
from tilewright.schedule.overshoot import Overshoot

N, TILE = 13, 8


def choices(s: Schedule) -> dict[str, Overshoot]:
    """Give what is chosen for each stage."""
    builder = build_nest(s.table, caller_buffers(s.table))
    return {name: builder.overshoots.of(name) for name in s.table.stages}


def reversed_copy(thread: str = "threadIdx.x", scope: str = "shared"):
    """B[i] = P[12 - i] with P = exp(A), computed for a tile of B: the exponential of what is not there would be 1."""
    a = te.placeholder((N,), name="A")
    p = te.compute((N,), lambda i: te.exp(a[i]), name="P")
    b = te.compute((N,), lambda i: p[N - 1 - i], name="B")
    s = create_schedule(b.op)
    tile, inner = s[b].split(b.op.axis[0], factor=TILE)
    if thread:
        s[b].bind(tile, "blockIdx.x")
        s[b].bind(inner, thread)
    s[p].compute_at(s[b], tile)
    if scope:
        s[p].set_scope(scope)
    return s, a, p, b


def test_tails_of_a_cpu_are_guarded():
    assert choices(reversed_copy(thread="", scope="")[0])["P"] is Overshoot.GUARDED


def test_tiles_of_threads_are_filled():
    s, *_ = reversed_copy()
    assert choices(s) == {"A": Overshoot.GUARDED, "P": Overshoot.FILLED, "B": Overshoot.GUARDED}


def test_what_reads_a_filled_tile_is_computed_everywhere():
    s, _, p, b = reversed_copy()
    piece = s.cache_read(p, "local", [b])
    s[piece].compute_at(s[b], s[b].leaf_iter_vars[1])
    found = choices(s)
    assert (found["P"], found[s[piece].state.id]) == (Overshoot.FILLED, Overshoot.COMPUTED)


def test_a_stage_at_the_root_has_nothing_beyond_it():
    s, _, p, _ = reversed_copy()
    s[p].compute_root()
    assert choices(s)["P"] is Overshoot.GUARDED


def test_a_predicate_is_kept():
    s, _, p, _ = reversed_copy()
    s[p].set_store_predicate(p.op.axis[0].var < 12)
    assert choices(s)["P"] is Overshoot.GUARDED


@pytest.mark.parametrize(("copied", "chosen"), [(True, Overshoot.COMPUTED), (False, Overshoot.GUARDED)])
def test_sums_are_computed_where_their_operands_are_there(copied: bool, chosen: Overshoot):
    a = te.placeholder((N, 4), name="A")
    k = te.reduce_axis((0, 4), name="k")
    b = te.compute((N,), lambda i: te.sum(a[i, k], axis=k), name="B")
    s = create_schedule(b.op)
    total = s.cache_write(b, "local")
    tile, inner = s[b].split(s[b].op.axis[0], factor=TILE)
    s[b].bind(tile, "blockIdx.x")
    s[b].bind(inner, "threadIdx.x")
    s[total].compute_at(s[b], inner)
    if copied:
        s[s.cache_read(a, "shared", [total])].compute_at(s[b], tile)
    assert choices(s)[s[total].state.id] is chosen


def test_the_values_are_the_same():
    s, a, _, b = reversed_copy()
    function = lower(s, [a, b])
    values = np.random.default_rng(0).standard_normal(N).astype(np.float32)
    result = np.full(N, np.nan, np.float32)
    interpret(function, [values, result])
    np.testing.assert_allclose(result, np.exp(values[::-1]), rtol=2 * np.finfo(np.float32).eps)  # exp by two libraries


def test_filled_tiles_have_no_branch_around_their_stores():
    s, a, _, b = reversed_copy()
    branches = [stmt for stmt in statements(lower(s, [a, b]).body) if type(stmt) is If]
    assert [str(branch.condition) for branch in branches] == ["i_o * 8 + i_i < 13"]  # around what B stores
