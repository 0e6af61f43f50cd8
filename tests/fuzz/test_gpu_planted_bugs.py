"""Bugs planted in the lowering to GPU kernels, one at a time: the random pairs catch each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tilewright.codegen.cuda.ordering import barriers
from tilewright.codegen.cuda.text import body, wide
from tilewright.codegen.cuda.threads import cross_thread, split, virtual_threads
from tilewright.codegen.passes import widen
from tilewright.ir.affine import Affine
from tilewright.ir.expr import Const, Expr
from tilewright.schedule import derive, nest, overshoot

from .gpu_check import gpu_mismatch, gpu_pair

SEEDS = range(20_000, 20_250)


def no_barriers(original):
    return lambda self, kernel, target: kernel


def shared_memory_not_shared(original):
    return lambda self, var: False


def extents_forgotten(original):
    def chosen(self, *args):
        return [c for c in original(self, *args) if str(c).endswith("== 0")]

    return chosen


def one_shuffle_short(original):
    return lambda parts, combine, shape, count, names: original(parts, combine, shape, count // 2, names)


def tree_forgets_the_odd_one(original):
    def tree(parts, scratch, combine, shape):
        if shape.count % 2:
            shape = replace(shape, extents=(shape.count - 1,))
        return original(parts, scratch, combine, shape)

    return tree


def guards_dropped(original):
    return lambda self, derived, meeting=-1: nest.Guards({}, {}, [])


def guards_around_shared_copies(original):
    return lambda self, stage: -1


def tails_not_filled(original):
    return lambda self, derived, value: value


def tails_always_computed(original):
    return lambda self, derived: overshoot.Overshoot.COMPUTED


def widened_too_far(original):
    def widened(form: Affine, lanes, like) -> Expr | None:
        return original(form + 1, lanes, like)

    return widened


def unaligned_vectors(original):
    def fits(self, printer, buffer, indices):
        return buffer.scope in ("global", "shared") and self.count * buffer.dtype.bytes <= 16

    return fits


def one_virtual_thread_short(original):
    def repeated(self, stmt):
        made = original(self, stmt)
        return replace(made, extent=Const(max(1, self.count - 1)))

    return repeated


def virtual_threads_share_registers(original):
    return lambda body, var: set()


def last_lane_lost(original):
    return lambda self, loop, k, braces=False: None if k == 3 else original(self, loop, k, braces)


PLANTED: list[tuple[object, str, Callable]] = [
    (barriers.PlanBarriers, "__call__", no_barriers),
    (derive.Derivation, "is_per_thread", shared_memory_not_shared),
    (split._Binder, "chosen", extents_forgotten),
    (cross_thread, "_shuffles", one_shuffle_short),
    (cross_thread, "_tree", tree_forgets_the_odd_one),
    (nest.NestBuilder, "_guards", guards_dropped),
    (nest.NestBuilder, "_meeting_position", guards_around_shared_copies),
    (nest.NestBuilder, "_filled", tails_not_filled),
    (overshoot.Overshoots, "_choose", tails_always_computed),
    (widen, "_widened", widened_too_far),
    (wide.Lanes, "fits", unaligned_vectors),
    (virtual_threads._Expansion, "repeated", one_virtual_thread_short),
    (virtual_threads, "_differing", virtual_threads_share_registers),
    (body.Writer, "copy", last_lane_lost),
]


@pytest.mark.parametrize(("owner", "name", "plant"), PLANTED, ids=[plant.__name__ for *_, plant in PLANTED])
def test_planted_bug_is_caught(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, plant: Callable):
    monkeypatch.setattr(owner, name, plant(getattr(owner, name)))
    caught = next((seed for seed in SEEDS if _is_wrong(seed)), None)
    monkeypatch.undo()
    assert caught is not None
    assert not _is_wrong(caught), "wrong without the bug, too"


def _is_wrong(seed: int) -> bool:
    """Tell whether the kernels of a seed are wrong, or cannot be made any more."""
    try:
        program, drawn = gpu_pair(seed)
        return bool(gpu_mismatch(program, drawn, seed))
    except Exception:
        return True
