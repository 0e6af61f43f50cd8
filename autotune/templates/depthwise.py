"""Depthwise convolutions: lanes along channels or along the width, a register tile of pixels."""

from __future__ import annotations

import numpy as np

from ... import te
from ...ir.errors import TuneError
from ...schedule.schedule import Schedule, create_schedule
from ...te import operators
from ...te.axis import Axis
from ...te.tensor import Tensor
from ..space import Knobs
from ..template import get_config, get_target, template
from . import register_tile as tile
from .conv2d import block_of
from .convolution import Convolution
from .cuda import depthwise as cuda_depthwise

SUMS_IN_FLIGHT = 8  # two multiply-adds a cycle, each four cycles long


@template("depthwise_conv2d")
def depthwise_conv2d(
    data: tuple[int, int, int, int],
    window: tuple[int, int],
    stride: int,
    padding: int,
    dilation: int = 1,
    layout: str = "NCHW",
    dtype: str = "float32",
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable depthwise convolution with one filter for each channel.

    data    batch, channels, height, width, whatever the layout
    window  kernel height and width
    layout  "NCHW", "NHWC" or blocked "NCHW16c"; the weights are (C, 1, KH, KW), (KH, KW, C, 1) or
            (C / 16, 1, KH, KW, 1, 16), as the layout goes
    """
    image, kernel = _declare(data, window, layout, dtype)
    form = {"NCHW": operators.depthwise_conv2d_nchw, "NHWC": operators.depthwise_conv2d_nhwc}.get(
        layout, operators.depthwise_conv2d_NCHWc
    )
    out = form(image, kernel, stride, padding, dilation)
    s = create_schedule(out.op)
    if get_target().kind == "cuda":
        conv = Convolution.depthwise(image, kernel, stride, padding, dilation, layout)
        cuda_depthwise.schedule(get_config(), s, conv)
    else:
        _schedule(get_config(), s, out, layout)
    return s, [image, kernel, out]


def _declare(
    data: tuple[int, int, int, int], window: tuple[int, int], layout: str, dtype: str
) -> tuple[Tensor, Tensor]:
    batch, channels, height, width = data
    kh, kw = window
    block = block_of(layout)
    if channels % block:
        fact = f"{channels} channels are not whole blocks of {block}"
        raise TuneError("depthwise_conv2d", fact, advice="the layout NCHW or NHWC, or a block that divides them")
    shapes = {
        "NCHW": ((batch, channels, height, width), (channels, 1, kh, kw)),
        "NHWC": ((batch, height, width, channels), (kh, kw, channels, 1)),
    }
    blocked = ((batch, channels // block, height, width, block), (channels // block, 1, kh, kw, 1, block))
    image, kernel = shapes.get(layout, blocked)
    return te.placeholder(image, dtype, name="data"), te.placeholder(kernel, dtype, name="kernel")


def _schedule(cfg: Knobs, s: Schedule, out: Tensor, layout: str) -> None:
    """Tile three dimensions (two of pixels, one of lanes) and keep the tile in registers over the window."""
    lanes = tile.lanes_of(get_target())
    channels, height, width, lane_axis = _roles(out, layout)
    _define(cfg, height, width, lane_axis, lanes)
    cache = tile.accumulate(s, out)
    ho, hi = cfg["tile_h"].apply(s, out, height)
    inner, pixels = [hi], [ho]
    if width is not lane_axis:
        wo, wi = cfg["tile_w"].apply(s, out, width)
        pixels.append(wo)
        inner.append(wi)
    lo, li = cfg["tile_lane"].apply(s, out, lane_axis)
    loops, lane = tile.split_lanes(s, out, li, lanes)
    outer = [lo, *pixels] if cfg["blocks_outermost"].val else [*pixels, lo]
    s[out].reorder(*channels, *outer, *inner, *loops, lane)
    tile.unroll_all(s, out, [*inner, *loops])
    parallel = tile.parallel_outer(s, out, [*channels, outer[0]])
    s[cache].compute_at(s[out], outer[-1])
    _accumulate(cfg, s, cache, lane_axis, cfg["tile_lane"].size[-1], lanes)
    pad = tile.padded_input(cache)
    if pad is not None:
        within = bool(cfg["pad_within"].val)
        if within:
            s[pad].compute_at(s[out], parallel)
        tile.copy_stage(s, pad, lanes, parallel=not within)


def _roles(out: Tensor, layout: str) -> tuple[list[Axis], Axis, Axis, Axis]:
    """Give the outer axes, the two of pixels, and the one whose elements become lanes."""
    axes = out.op.axis
    match layout:
        case "NCHW":
            return [axes[0], axes[1]], axes[2], axes[3], axes[3]
        case "NHWC":
            return [axes[0]], axes[1], axes[2], axes[3]
        case _:
            return [axes[0], axes[1]], axes[2], axes[3], axes[4]


def _define(cfg: Knobs, height: Axis, width: Axis, lane_axis: Axis, lanes: int) -> None:
    target = get_target()
    h, w, across = (tile.size(a) for a in (height, width, lane_axis))
    cfg.define_split("tile_h", height, "candidate", candidate=tile.row_candidates(h, 8), default=(-1, 1))
    columns = tile.row_candidates(w) if width is not lane_axis else [(-1, 1)]
    cfg.define_split("tile_w", width, "candidate", candidate=columns)
    if width is lane_axis:
        sizes = sorted({min(across, lanes * n) for n in range(1, 5)} | ({across} if across <= 4 * lanes else set()))
        cfg.define_split("tile_lane", lane_axis, "candidate", candidate=[(-1, n) for n in sizes])
    else:
        cfg.define_split("tile_lane", lane_axis, "candidate", candidate=tile.vector_candidates(across, lanes))
    cfg.restrict(
        lambda r, c, v: tile.fits_registers(target, r.size[-1] * c.size[-1], -(-v.size[-1] // lanes)),
        "tile_h", "tile_w", "tile_lane",
    )  # fmt: skip
    cfg.define_estimate(
        lambda r, c, v: np.minimum(1, r.size[-1] * c.size[-1] * -(-v.size[-1] // lanes) / SUMS_IN_FLIGHT),
        "tile_h", "tile_w", "tile_lane",
    )  # fmt: skip
    cfg.define_knob("unroll_kh", [True, False])
    cfg.define_knob("unroll_kw", [True, False])
    cfg.define_knob("pad_within", [False, True])
    cfg.define_knob("window_first", [True, False])
    cfg.define_knob("blocks_outermost", [False, True])


def _accumulate(cfg: Knobs, s: Schedule, cache: Tensor, lane_axis: Axis, size: int, lanes: int) -> None:
    stage = s[cache]
    position = next(i for i, a in enumerate(cache.op.axis) if a.name == f"{lane_axis.name}_c")
    spatial = list(stage.op.axis)
    kh, kw = stage.op.reduce_axis
    loops, lane = tile.split_lanes(s, cache, spatial.pop(position), lanes, size)
    order = [kh, kw, *spatial] if cfg["window_first"].val else [*spatial[:-1], kh, kw, spatial[-1]]
    stage.reorder(*order, *loops, lane)
    tile.unroll_all(s, cache, [*spatial, *loops])
    if cfg["unroll_kh"].val and cfg["unroll_kw"].val:
        stage.unroll(kh)
    if cfg["unroll_kw"].val:
        stage.unroll(kw)
