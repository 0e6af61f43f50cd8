"""One stage of any program on processors: lanes innermost, a tile of rows, threads outermost."""

from __future__ import annotations

from ....schedule.schedule import Schedule
from ....schedule.stage import Stage
from ....schedule.table import rough_extent
from ....te.axis import Axis
from ...space import Knobs
from ...template import get_target
from .. import register_tile as tile


def tile_stage(cfg: Knobs, s: Schedule, stage: Stage) -> None:
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
