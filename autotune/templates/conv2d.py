"""Convolutions: direct, with a register tile of pixels by channels that stays in registers over the reduction."""

from __future__ import annotations

import re
from collections.abc import Callable
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
    """
    image, kernel = declare_convolution(data, filters, groups, layout, dtype)
    out = operators.conv2d(image, kernel, stride, padding, dilation, layout, groups=groups)
    s = create_schedule(out.op)
    cfg = get_config()
    match layout:
        case "NCHW":
            _plain(cfg, s, out)
        case "NHWC":
            _channels_last(cfg, s, out)
        case _:
            _blocked(cfg, s, out)
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


def _blocked(cfg: Knobs, s: Schedule, out: Tensor) -> None:
    """Schedule NCHW[x]c: lanes along a block of output channels, rows along pixels."""
    target = get_target()
    batch, block, height, width, channel = out.op.axis
    lanes = tile.lanes_of(target)
    vectors = -(-tile.size(channel) // lanes)
    cfg.define_split("tile_oc", block, "factors", num_outputs=2, max_factor=4)
    _pixel_knobs(cfg, height, width)
    cfg.restrict(
        lambda oc, oh, ow: tile.fits_registers(target, oh.size[-1] * ow.size[-1], oc.size[-1] * vectors),
        "tile_oc", "tile_oh", "tile_ow",
    )  # fmt: skip
    _estimate(cfg, width, lambda oc, oh, ow: (oh.size[-1] * ow.size[-1], oc.size[-1] * vectors))
    _reduction_knobs(cfg, out)
    cache = tile.accumulate(s, out)
    oc = cfg["tile_oc"].apply(s, out, block)
    oh = cfg["tile_oh"].apply(s, out, height)
    ow = cfg["tile_ow"].apply(s, out, width)
    inner = [oc[1], oh[1], ow[1]]
    outer = _outer(cfg, batch, oc[0], oh[0])
    loops, lane = tile.split_lanes(s, out, channel, lanes)
    s[out].reorder(*outer, ow[0], *inner, *loops, lane)
    tile.unroll_all(s, out, [*inner, *loops])
    parallel = tile.parallel_outer(s, out, outer)
    s[cache].compute_at(s[out], ow[0])
    _accumulate(cfg, s, cache, lanes)
    _padding(cfg, s, out, cache, parallel)


def _channels_last(cfg: Knobs, s: Schedule, out: Tensor) -> None:
    """Schedule NHWC: lanes along output channels, rows along pixels."""
    target = get_target()
    batch, height, width, channel = out.op.axis
    lanes = tile.lanes_of(target)
    candidates = tile.vector_candidates(tile.size(channel), lanes)
    cfg.define_split("tile_oc", channel, "candidate", candidate=candidates)
    _pixel_knobs(cfg, height, width)
    cfg.restrict(
        lambda oc, oh, ow: tile.fits_registers(target, oh.size[-1] * ow.size[-1], -(-oc.size[-1] // lanes)),
        "tile_oc", "tile_oh", "tile_ow",
    )  # fmt: skip
    _estimate(cfg, width, lambda oc, oh, ow: (oh.size[-1] * ow.size[-1], -(-oc.size[-1] // lanes)))
    _reduction_knobs(cfg, out)
    cache = tile.accumulate(s, out)
    oc = cfg["tile_oc"].apply(s, out, channel)
    oh = cfg["tile_oh"].apply(s, out, height)
    ow = cfg["tile_ow"].apply(s, out, width)
    outer = _outer(cfg, batch, oc[0], oh[0])
    loops, lane = tile.split_lanes(s, out, oc[1], lanes)
    s[out].reorder(*outer, ow[0], oh[1], ow[1], *loops, lane)
    tile.unroll_all(s, out, [oh[1], ow[1], *loops])
    parallel = tile.parallel_outer(s, out, outer)
    s[cache].compute_at(s[out], ow[0])
    _accumulate(cfg, s, cache, lanes)
    _padding(cfg, s, out, cache, parallel)


def _plain(cfg: Knobs, s: Schedule, out: Tensor) -> None:
    """Schedule NCHW: lanes along the width, rows along output channels."""
    target = get_target()
    batch, channel, height, width = out.op.axis
    lanes = tile.lanes_of(target)
    across = tile.size(width)
    rows = tile.row_candidates(tile.size(channel), 16)
    cfg.define_split("tile_oc", channel, "candidate", candidate=rows, default=(-1, 4) if (-1, 4) in rows else None)
    cfg.define_split("tile_oh", height, "factors", num_outputs=2, max_factor=4)
    wide = [
        (-1, w) for w in sorted({min(across, n * lanes) for n in range(1, 5)} | {across} if across <= 64 else {lanes})
    ]
    cfg.define_split("tile_ow", width, "candidate", candidate=wide)
    cfg.restrict(
        lambda oc, oh, ow: tile.fits_registers(target, oc.size[-1] * oh.size[-1], -(-ow.size[-1] // lanes)),
        "tile_oc", "tile_oh", "tile_ow",
    )  # fmt: skip
    _estimate(cfg, width, lambda oc, oh, ow: (oc.size[-1] * oh.size[-1], -(-ow.size[-1] // lanes)))
    _reduction_knobs(cfg, out)
    cache = tile.accumulate(s, out)
    oc = cfg["tile_oc"].apply(s, out, channel)
    oh = cfg["tile_oh"].apply(s, out, height)
    ow = cfg["tile_ow"].apply(s, out, width)
    outer = _outer(cfg, batch, oc[0], oh[0])
    loops, lane = tile.split_lanes(s, out, ow[1], lanes)
    s[out].reorder(*outer, ow[0], oc[1], oh[1], *loops, lane)
    tile.unroll_all(s, out, [oc[1], oh[1], *loops])
    parallel = tile.parallel_outer(s, out, outer)
    s[cache].compute_at(s[out], ow[0])
    _accumulate(cfg, s, cache, lanes)
    _padding(cfg, s, out, cache, parallel)


def _estimate(cfg: Knobs, width: Axis, shape: Callable[..., tuple[Any, Any]]) -> None:
    """Add the estimate of a register tile, whose rows and vectors `shape` gives from the three tile knobs."""
    cfg.define_estimate(
        lambda oc, oh, ow: tile.estimate(*shape(oc, oh, ow)) * tile.coverage(tile.size(width), ow.size[-1]),
        "tile_oc", "tile_oh", "tile_ow",
    )  # fmt: skip


def _pixel_knobs(cfg: Knobs, height: Axis, width: Axis) -> None:
    rows = tile.row_candidates(tile.size(width))
    best = next((r for r in ((-1, 14), (-1, 7), (-1, 8), (-1, 4)) if r in rows), rows[0])
    cfg.define_split("tile_ow", width, "candidate", candidate=rows, default=best)
    cfg.define_split("tile_oh", height, "factors", num_outputs=2, max_factor=7, default=(-1, 1))


def _reduction_knobs(cfg: Knobs, out: Tensor) -> None:
    innermost = [a for a in out.op.reduce_axis if a.name not in WINDOW_AXES][-1]
    tile.define_reduction(cfg, tile.size(innermost))
    cfg.define_knob("unroll_kw", [False, True])
    cfg.define_knob("channels_first", [True, False])
    cfg.define_knob("rows_outermost", [False, True])
    if tile.padded_input(out) is not None:
        cfg.define_knob("pad_within", [False, True])


def _outer(cfg: Knobs, batch: Axis, channels: Axis, rows: Axis) -> list[Axis]:
    return [batch, rows, channels] if cfg["rows_outermost"].val else [batch, channels, rows]


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
