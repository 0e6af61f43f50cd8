"""Every other operator: elementwise stages inlined or placed, lanes innermost, threads outermost, tiles of rows."""

from __future__ import annotations

from typing import Any

from ... import te
from ...ir.errors import TuneError
from ...schedule.schedule import Schedule, create_schedule
from ...schedule.stage import Stage
from ...schedule.table import can_inline, rough_extent
from ...te import operators
from ...te.axis import Axis
from ...te.tensor import Tensor
from ..space import Knobs
from ..template import get_config, get_target, template
from . import register_tile as tile
from .cuda import rows

SCHEDULERS = {"cuda": rows.schedule_stages}  # by kind of target; `schedule_stages` for the others


@template("generic")
def generic(
    operator: str,
    shapes: tuple[tuple[int, ...], ...],
    options: tuple[tuple[str, Any], ...] = (),
    dtype: str = "float32",
) -> tuple[Schedule, list[Tensor]]:
    """Give any operator of `te.operators` in tunable form.

    shapes   of its tensors, in order
    options  its other arguments, as (name, value) pairs
    Raises TuneError for an operator that does not exist.
    """
    function = getattr(operators, operator, None)
    if function is None:
        known = ", ".join(n for n in operators.__all__)
        raise TuneError("generic", f"there is no operator {operator!r}", advice=f"one of {known}")
    inputs = [te.placeholder(shape, dtype, name=f"in{n}") for n, shape in enumerate(shapes)]
    out = function(*inputs, **dict(options))
    s = create_schedule(out.op)
    SCHEDULERS.get(get_target().kind, schedule_stages)(get_config(), s)
    return s, [*inputs, out]


def schedule_stages(cfg: Knobs, s: Schedule) -> None:
    """Define and apply the knobs of every stage that computes."""
    for stage in s.stages:
        if can_inline(s.table, stage.state):
            name = f"inline_{stage.state.id}"
            cfg.define_knob(name, [True, False])
            if cfg[name].val:
                stage.compute_inline()
    for stage in s.stages:
        if stage.state.compute and stage.op.axis:
            _tile(cfg, s, stage)


def _tile(cfg: Knobs, s: Schedule, stage: Stage) -> None:
    """Cut the innermost dimension in vectors, the next one in rows, and run the outer ones on threads."""
    name = stage.state.id
    lanes = tile.lanes_of(get_target())
    *outer, last = stage.op.axis
    reduce = list(stage.op.reduce_axis)
    widths = tile.vector_candidates(rough_extent(last), lanes, most=4)
    cfg.define_split(f"lanes_{name}", last, "candidate", candidate=widths)
    cfg.define_knob(f"rows_{name}", [1, 2, 4, 8], default=1)
    cfg.define_knob(f"reduce_inside_{name}", [False, True] if reduce else [False])
    cfg.define_knob(f"threads_{name}", [True, False])
    columns, inner = cfg[f"lanes_{name}"].apply(s, stage.op, last)
    loops, lane = _lanes(stage, inner, lanes, cfg[f"lanes_{name}"].size[-1])
    rows: list[Axis] = []
    if outer:
        outer[-1], row = stage.split(outer[-1], factor=cfg[f"rows_{name}"].val)
        rows = [row]
    inside = cfg[f"reduce_inside_{name}"].val
    order = [*rows, *loops, *reduce] if inside else [*reduce, *rows, *loops]
    stage.reorder(*outer, columns, *order, lane)
    for axis in (*rows, *loops):
        stage.unroll(axis)
    if cfg[f"threads_{name}"].val:
        first = [*outer, columns][: max(1, len(outer))]
        stage.parallel(stage.fuse(*first) if len(first) > 1 else first[0])


def _lanes(stage: Stage, axis: Axis, lanes: int, size: int) -> tuple[list[Axis], Axis]:
    if size <= 1:
        return [], axis
    if size <= lanes:
        stage.vectorize(axis)
        return [], axis
    outer, inner = stage.split(axis, factor=lanes)
    stage.vectorize(inner)
    return [outer], inner
