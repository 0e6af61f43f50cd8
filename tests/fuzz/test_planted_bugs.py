"""Lowering bugs, planted one at a time: the random pairs catch each of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tilewright.codegen.llvm import expressions, memory
from tilewright.codegen.llvm.cells import Cells
from tilewright.codegen.passes import partition, promote
from tilewright.ir import arith
from tilewright.ir.expr import Const
from tilewright.runtime.host import host_target
from tilewright.schedule import derive, inline, nest, relations, storage, tensorize
from tilewright.schedule.steps import rfactor
from tilewright.schedule.table import Fuse, Split
from tilewright.te.nodes import Reduce

from .check import MIN_STEPS, mismatch, pair

SEEDS = range(10_000, 10_600)


def no_guards(original):
    return lambda *args: []


def inner_forgotten(original):
    def values_of(rel, extents, leaves):
        values = original(rel, extents, leaves)
        for r in reversed(rel):
            if isinstance(r, Split) and r.parent in values:
                values[r.parent] = arith.mul(values[r.outer], extents[r.inner])
        return values

    return values_of


def fused_swapped(original):
    def values_of(rel, extents, leaves):
        values = original(rel, extents, leaves)
        for r in rel:
            if isinstance(r, Fuse):
                values[r.outer], values[r.inner] = (
                    arith.floormod(values[r.fused], extents[r.outer]),
                    arith.floordiv(values[r.fused], extents[r.outer]),
                )
        return values

    return values_of


def outer_extent_floored(original):
    def split(total, factor, nparts):
        outer, inner = original(total, factor, nparts)
        if isinstance(total, Const) and isinstance(inner, Const) and factor is not None:
            outer = arith.const(max(1, int(total.value) // int(inner.value)))
        return outer, inner

    return split


def inner_split_unguarded(original):
    def guards_of(rel, extents, values):
        return [g for g in original(rel, extents, values) if g[0].kind.value != "reduce"]

    return guards_of


def region_too_small(original):
    def clipped(result, shape, hull):
        region = original(result, shape, hull)
        smaller = tuple(
            arith.const(max(1, int(e.value) - 1)) if isinstance(e, Const) and e is not s else e
            for e, s in zip(region.extent, shape, strict=True)
        )
        return derive.Region(region.start, smaller)

    return clipped


def region_at_zero(original):
    def clipped(result, shape, hull):
        region = original(result, shape, hull)
        return derive.Region(tuple(arith.const(0) for _ in shape), region.extent)

    return clipped


def union_keeps_the_first(original):
    return lambda a, b, ranges: a


def no_domain_guards(original):
    return lambda *args: []


def reduction_never_started(original):
    def init_loops(self, derived, reset, first, upto):
        return nest.Seq(())

    return init_loops


def start_is_zero(original):
    def init(self, derived, op):
        stmt = original(self, derived, op)
        if isinstance(stmt, nest.StoreStmt):
            return nest.StoreStmt(stmt.buffer, stmt.indices, arith.const(0, stmt.value.dtype))
        return stmt

    return init


def condition_dropped(original):
    return lambda reduce: True


def stores_not_at_once(original):
    def stores(name, targets, results):
        return nest.seq(*(nest.StoreStmt(s.buffer, i, v) for (s, i), v in zip(targets, results, strict=True)))

    return stores


def layout_ignored(original):
    def indices(self, index):
        if self.layout is None or len(self.layout[1]) != len(index):
            return original(self, index)
        return tuple(arith.sub(i, s) for i, s in zip(index, self.start, strict=True))

    return indices


def strides_too_small(original):
    def strides(stage, extent):
        found = original(stage, extent)
        return None if found is None else tuple(arith.const(1) for _ in found)

    return strides


def copies_out_of_turn(original):
    def indices(self, index):
        found = original(self, index)
        return found if self.turn is None else (arith.sub(1, found[0]) if id(index) % 32 < 16 else found[0], *found[1:])

    return indices


def inlined_with_swapped_indices(original):
    def substituted(table, op, bodies):
        swapped = {
            name: nest.ComputeOp(p.name, tuple(reversed(p.axes)), p.body) if len(p.axes) == 2 else p
            for name, p in bodies.items()
        }
        return original(table, op, swapped)

    return substituted


def factored_without_guard(original):
    return lambda self, body, axes, replaced, guards: original(self, body, axes, replaced, [])


def window_at_zero(original):
    def element(self, window, indices):
        base = tuple(arith.const(0) for _ in window.base)
        return original(self, tensorize.Window(window.key, base, window.dims), indices)

    return element


def attached_too_late(original):
    def allocated(self, stages, nests, then=None):
        return original(self, stages, [None for _ in nests], nest.seq(then, *[n for n in nests if n]))

    return allocated


def factored_with_one_value_less(original):
    def partial(self, stage, op, axis):
        made = original(self, stage, op, axis)
        body = tuple(
            Reduce(b.reducer, b.values, b.axes, arith.lt(b.axes[0].var, b.axes[0].extent - 1), b.init, b.component)
            if isinstance(b, Reduce) and not (isinstance(b.axes[0].extent, Const) and b.axes[0].extent.value == 1)
            else b
            for b in made.body
        )
        return nest.ComputeOp(made.name, made.axes, body)

    return partial


def selection_swapped(original):
    return lambda body, condition, a, b: original(body, condition, b, a)


def greater_for_lesser(original):
    return lambda body, a, b, dtype, lesser: original(body, a, b, dtype, not lesser)


def shuffle_reversed(original):
    return lambda body, buffer, offset, lanes: original(body, buffer, offset, tuple(reversed(lanes)))


def register_keeps_its_first_value(original):
    def leave_loop(self):
        phis, known = original(self)
        return [(cell, name, first, first) for cell, name, first, _ in phis], known

    return leave_loop


def accumulator_not_redirected(original):
    return lambda loop, tile, local: loop


def main_part_too_long(original):
    return lambda highs, extent: original(highs, extent) + 1


BUGS: list[tuple[object, str, Callable]] = [
    (derive, "guards_of", no_guards),
    (derive, "guards_of", inner_split_unguarded),
    (derive, "values_of", inner_forgotten),
    (derive, "values_of", fused_swapped),
    (relations, "_split", outer_extent_floored),
    (derive, "_clipped", region_too_small),
    (derive, "_clipped", region_at_zero),
    (derive, "_union", union_keeps_the_first),
    (derive, "_domain_guards", no_domain_guards),
    (nest.NestBuilder, "_init_loops", reduction_never_started),
    (nest.NestBuilder, "_init", start_is_zero),
    (nest, "is_unconditional", condition_dropped),
    (nest, "_stores", stores_not_at_once),
    (nest.NestBuilder, "_allocated", attached_too_late),
    (storage.Store, "indices", layout_ignored),
    (storage.Store, "indices", copies_out_of_turn),
    (storage, "_strides", strides_too_small),
    (inline, "_substituted", inlined_with_swapped_indices),
    (rfactor.RFactor, "_factored", factored_without_guard),
    (rfactor.RFactor, "_partial", factored_with_one_value_less),
    (tensorize._Matcher, "_element", window_at_zero),
    (expressions, "select", selection_swapped),
    (expressions, "extreme", greater_for_lesser),
    (memory, "_shuffled", shuffle_reversed),
    (Cells, "leave_loop", register_keeps_its_first_value),
    (promote, "_redirected", accumulator_not_redirected),
    (partition, "_clamped", main_part_too_long),
]


@pytest.mark.parametrize(("owner", "name", "bug"), BUGS, ids=[bug.__name__ for _, _, bug in BUGS])
def test_planted_bug_is_caught(monkeypatch, owner, name, bug):
    monkeypatch.setattr(owner, name, bug(getattr(owner, name)))
    assert _caught(), f"{len(SEEDS)} random pairs did not notice {bug.__name__}"


def _caught() -> bool:
    """Tell whether one of the random pairs differs or breaks."""
    target = host_target()
    for seed in SEEDS:
        try:
            program, drawn = pair(seed)
            if len(drawn.schedule.steps) >= MIN_STEPS and mismatch(program, drawn, target, seed):
                return True
        except Exception:
            return True
    return False
