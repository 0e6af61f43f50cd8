"""Convolutions: direct, with a register tile of pixels by channels that stays in registers over the reduction."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ... import te
from ...ir.errors import TuneError
from ...schedule.schedule import Schedule, create_schedule
from ...te import operators
from ...te.axis import Axis
from ...te.tensor import Tensor
from ..space import Knobs
from ..template import get_config, get_target, template
from . import register_tile as tile
from .cuda import conv2d as cuda_conv2d
from .cuda.convolution import Convolution
from .product_types import ProductTypes

WINDOW_AXES = ("kh", "kw", "ry", "rx")


@template("conv2d")
def conv2d(
    data: tuple[int, int, int, int],
    filters: tuple[int, int, int],
    stride: int,
    padding: int,
    dilation: int = 1,
    groups: int = 1,
    layout: str = "NCHW",
    dtype: str = "float32",
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable 2-D convolution.

    data     batch, input channels, height, width, whatever the layout
    filters  output channels, kernel height, kernel width
    layout   "NCHW", "NHWC" or blocked "NCHW16c"; the weights are OIHW, HWIO or OIHW16i16o, as the layout goes
    dtype    of image, weights and result, int8 gives int32; "tf32" stands for float32 that tensor cores may round to
             10 bits of fraction
    """
    types = ProductTypes.of(dtype)
    image, kernel = declare_convolution(data, filters, groups, layout, types.operands)
    if get_target().kind == "cuda":
        conv = Convolution.of(image, kernel, stride, padding, dilation, groups, layout)
        s, out = cuda_conv2d.scheduled(get_config(), conv, types)
        return s, [image, kernel, out]
    out = operators.conv2d(image, kernel, stride, padding, dilation, layout, types.result, groups)
    s = create_schedule(out.op)
    _schedule(get_config(), s, out, Roles.of(out, layout))
    return s, [image, kernel, out]


def declare_convolution(
    data: tuple[int, int, int, int], filters: tuple[int, int, int], groups: int, layout: str, dtype: str
) -> tuple[Tensor, Tensor]:
    """Give the placeholders of image and weights in a layout.

    Raises TuneError for an unknown layout, or channels that are not whole blocks and groups.
    """
    batch, channels, height, width = data
    count, kh, kw = filters
    block = block_of(layout)
    if channels % (groups * block) or count % (groups * block):
        fact = f"{channels} input and {count} output channels in {groups} groups are not whole blocks of {block}"
        raise TuneError("conv2d", fact, advice="the layout NCHW or NHWC, or a block that divides them")
    shapes = {
        "NCHW": ((batch, channels, height, width), (count, channels // groups, kh, kw)),
        "NHWC": ((batch, height, width, channels), (kh, kw, channels // groups, count)),
    }
    blocked = (
        (batch, channels // block, height, width, block),
        (count // block, channels // groups // block, kh, kw, block, block),
    )
    image, kernel = shapes.get(layout, blocked)
    return te.placeholder(image, dtype, name="data"), te.placeholder(kernel, dtype, name="kernel")


def block_of(layout: str) -> int:
    """Give the block of channels in a layout, 1 for plain ones.  Raises TuneError for an unknown layout."""
    if layout in ("NCHW", "NHWC"):
        return 1
    found = re.fullmatch(r"NCHW([1-9][0-9]*)c", layout)
    if found is None:
        raise TuneError("layout", f"unknown layout {layout!r}", advice="NCHW, NHWC, or NCHW[x]c such as NCHW16c")
    return int(found[1])


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


def _schedule(cfg: Knobs, s: Schedule, out: Tensor, roles: Roles) -> None:
    """Keep a tile of pixels by channels in registers over the reduction, in parallel over blocks of both."""
    lanes = tile.lanes_of(get_target())
    _define(cfg, out, roles, lanes)
    cache = tile.accumulate(s, out)
    knobs = (("tile_oc", roles.channel), ("tile_oh", roles.height), ("tile_ow", roles.width))
    parts = {axis: cfg[name].apply(s, out, axis) for name, axis in knobs}
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


def _define(cfg: Knobs, out: Tensor, roles: Roles, lanes: int) -> None:
    """Define the knobs: sizes of the register tile, and the order and unrolling of the reduction."""
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
    _limit(cfg, roles, lanes)
    _reduction_knobs(cfg, out)


def _limit(cfg: Knobs, roles: Roles, lanes: int) -> None:
    """Keep the tiles that fit in the registers, and say which of them promise most."""
    target, names, shape = get_target(), ("tile_oc", "tile_oh", "tile_ow"), roles.register_tile(lanes)
    cfg.restrict(lambda *tiles: tile.fits_registers(target, *shape(*tiles)), *names)
    cfg.define_estimate(
        lambda *tiles: tile.estimate(*shape(*tiles)) * tile.coverage(tile.size(roles.width), tiles[2].size[-1]), *names
    )


def _reduction_knobs(cfg: Knobs, out: Tensor) -> None:
    innermost = [a for a in out.op.reduce_axis if a.name not in WINDOW_AXES][-1]
    tile.define_reduction(cfg, tile.size(innermost))
    cfg.define_knob("unroll_kw", [False, True])
    cfg.define_knob("channels_first", [True, False])
    cfg.define_knob("rows_outermost", [False, True])
    if tile.padded_input(out) is not None:
        cfg.define_knob("pad_within", [False, True])


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
