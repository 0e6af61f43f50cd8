"""Direct convolutions on processors: a register tile of pixels by channels stays in registers over the reduction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....schedule.schedule import Schedule, create_schedule
from ....te.axis import Axis
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target
from .. import register_tile as tile
from .algorithm import Plan
from .request import ConvolutionRequest

WINDOW_AXES = ("kh", "kw", "ry", "rx")
TILES = ("tile_oc", "tile_oh", "tile_ow")  # knobs
REACHED = {"NCHW": 0.6, "NHWC": 0.8}  # share of the estimate where weights are read as they lie, vectors across lines
GUARDED = 0.75  # ... and where the last block of channels is not whole, so that each multiply-add has a mask


@dataclass(frozen=True, slots=True)
class Roles:
    """What the axes of a result are for.

    lane  the axis whose neighbours become vector lanes: the innermost in memory
    """

    batch: Axis
    channel: Axis
    height: Axis
    width: Axis
    lane: Axis

    @classmethod
    def of(cls, out: Tensor, layout: str) -> Roles:
        """Give the roles in a layout."""
        axes = out.op.axis
        match layout:
            case "NCHW":
                return cls(*axes, lane=axes[3])
            case "NHWC":
                return cls(axes[0], axes[3], axes[1], axes[2], lane=axes[3])
            case _:
                return cls(*axes)

    def register_tile(self, lanes: int) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
        """Give the rows and the vectors of a register tile, as a function of the three tile knobs."""
        if self.lane is self.width:
            return lambda oc, oh, ow: (oc.size[-1] * oh.size[-1], -(-ow.size[-1] // lanes))
        if self.lane is self.channel:
            return lambda oc, oh, ow: (oh.size[-1] * ow.size[-1], -(-oc.size[-1] // lanes))
        vectors = -(-tile.size(self.lane) // lanes)
        return lambda oc, oh, ow: (oh.size[-1] * ow.size[-1], oc.size[-1] * vectors)


def plan(cfg: Knobs, request: ConvolutionRequest) -> Plan | None:
    """Give the plan of a convolution, any for which packed weights are not faster by far."""
    if _is_better_packed(request):
        return None
    sums = request.declare()
    out = request.declare_result(sums)
    roles = Roles.of(out, request.layout)

    def scheduled() -> tuple[Schedule, Tensor]:
        s = create_schedule(out.op)
        _schedule(cfg, s, sums, out, roles)
        return s, out

    return Plan(
        "direct", _define(cfg, sums, roles), _estimate(roles, REACHED.get(request.layout, 1.0)), TILES, scheduled
    )


def _is_better_packed(request: ConvolutionRequest) -> bool:
    """Tell whether weights may be packed ahead, for lanes along whole vectors of channels."""
    conv = request.numbers()
    if conv is None or not request.constant_weights or request.image.dtype.bits != 32:
        return False
    return conv.filters % tile.lanes_of(get_target()) == 0


def _schedule(cfg: Knobs, s: Schedule, sums: Tensor, out: Tensor, roles: Roles) -> None:
    """Keep a tile of pixels by channels in registers over the reduction, in parallel over blocks of both."""
    lanes = tile.lanes_of(get_target())
    cache = tile.accumulate(s, sums)
    cut = zip(TILES, (roles.channel, roles.height, roles.width), strict=True)
    parts = {axis: cfg[name].apply(s, out, axis) for name, axis in cut}
    inner = [part[1] for axis, part in parts.items() if axis is not roles.lane]
    across = parts[roles.lane][1] if roles.lane in parts else roles.lane
    blocks, rows, columns = (parts[axis][0] for axis in (roles.channel, roles.height, roles.width))
    outer = [roles.batch, *((rows, blocks) if cfg["rows_outermost"].val else (blocks, rows))]
    loops, lane = tile.split_lanes(s, out, across, lanes)
    s[out].reorder(*outer, columns, *inner, *loops, lane)
    tile.unroll_all(s, out, [*inner, *loops])
    parallel = tile.parallel_outer(s, out, outer)
    s[cache].compute_at(s[out], columns)
    _accumulate(cfg, s, cache, lanes)
    _padding(cfg, s, out, cache, parallel)


def _define(cfg: Knobs, sums: Tensor, roles: Roles) -> tuple[str, ...]:
    """Define the knobs, sizes of the register tile, order and unrolling of the reduction; give their names."""
    lanes = tile.lanes_of(get_target())
    channels, width = tile.size(roles.channel), tile.size(roles.width)
    if roles.lane is roles.width:
        rows = tile.row_candidates(channels, 16)
        cfg.define_split("tile_oc", roles.channel, "candidate", candidate=rows, default=tile.first_of(rows, 4))
        cfg.define_split("tile_oh", roles.height, "factors", num_outputs=2, max_factor=4)
        wide = tile.vector_candidates(width, lanes, most=4)
        cfg.define_split("tile_ow", roles.width, "candidate", candidate=wide)
    else:
        if roles.lane is roles.channel:
            candidates = tile.vector_candidates(channels, lanes)
            cfg.define_split("tile_oc", roles.channel, "candidate", candidate=candidates)
        else:
            cfg.define_split("tile_oc", roles.channel, "factors", num_outputs=2, max_factor=4)
        rows = tile.row_candidates(width)
        cfg.define_split("tile_ow", roles.width, "candidate", candidate=rows, default=tile.first_of(rows, 14, 7, 8, 4))
        cfg.define_split("tile_oh", roles.height, "factors", num_outputs=2, max_factor=7, default=(-1, 1))
    target, shape = get_target(), roles.register_tile(lanes)
    cfg.restrict(lambda *tiles: tile.fits_registers(target, *shape(*tiles)), *TILES)
    return (*TILES, *_reduction_knobs(cfg, sums))


def _estimate(roles: Roles, reached: float) -> Callable[[Any, Any, Any], Any]:
    """Give what a register tile promises, a function of the three tile knobs."""
    shape, width = roles.register_tile(tile.lanes_of(get_target())), tile.size(roles.width)
    channels, along_channels = tile.size(roles.channel), roles.lane is roles.channel

    def estimate(oc: Any, oh: Any, ow: Any) -> Any:
        share = reached * tile.estimate(*shape(oc, oh, ow)) * tile.coverage(width, ow.size[-1])
        if along_channels:
            share = share * tile.coverage(channels, oc.size[-1]) * np.where(channels % oc.size[-1] == 0, 1, GUARDED)
        return share

    return estimate


def _reduction_knobs(cfg: Knobs, sums: Tensor) -> tuple[str, ...]:
    innermost = [a for a in sums.op.reduce_axis if a.name not in WINDOW_AXES][-1]
    tile.define_reduction(cfg, tile.size(innermost))
    cfg.define_knob("unroll_kw", [False, True])
    cfg.define_knob("channels_first", [True, False])
    cfg.define_knob("rows_outermost", [False, True])
    names = ("unroll_k", "unroll_kw", "channels_first", "rows_outermost")
    if tile.padded_input(sums) is None:
        return names
    cfg.define_knob("pad_within", [False, True])
    return (*names, "pad_within")


def _accumulate(cfg: Knobs, s: Schedule, cache: Tensor, lanes: int) -> None:
    """Order the computing stage: reduction outside of the register tile, its innermost part unrolled."""
    stage = s[cache]
    spatial = list(stage.op.axis)
    window = [a for a in stage.op.reduce_axis if a.name in WINDOW_AXES]
    *blocks, innermost = [a for a in stage.op.reduce_axis if a.name not in WINDOW_AXES]
    outer, unrolled = stage.split(innermost, factor=cfg["unroll_k"].val)
    first = [*blocks, *window] if cfg["channels_first"].val else [*window, *blocks]
    loops, lane = tile.split_lanes(s, cache, spatial[-1], lanes)
    tile.unroll_all(s, cache, [unrolled, *spatial[:-1], *loops])
    columns = [window[-1]] if cfg["unroll_kw"].val else []
    tile.unroll_all(s, cache, columns)
    first = [a for a in first if a not in columns]
    stage.reorder(*first, outer, *columns, unrolled, *spatial[:-1], *loops, lane)


def _padding(cfg: Knobs, s: Schedule, out: Tensor, cache: Tensor, parallel: Axis) -> None:
    pad = tile.padded_input(cache)
    if pad is None:
        return
    within = bool(cfg["pad_within"].val)
    if within:
        s[pad].compute_at(s[out], parallel)
    tile.copy_stage(s, pad, tile.lanes_of(get_target()), parallel=not within)
