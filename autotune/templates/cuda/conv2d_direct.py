"""Convolutions without matrices: tiles of filters, rows and columns of pixels, over the image in shared memory.

for block of filters, rows and columns, over blockIdx:
    for thread of each, over threadIdx:
        sums = 0                                      # rows and columns by threads apart, filters by fours
        for channels:                                 # pipelined
            image_shared, kernel_shared = tiles       # by all threads together
            for channel, tap:
                sums += image_local * kernel_local
        result = sums
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import gcd
from typing import Any

import numpy as np

from ....ir.gpu import BANKS, MOST_BLOCK, MOST_REGISTERS, MOST_THREADS, REGISTERS, SECTOR_BYTES, WARP, Gpu
from ....schedule.schedule import Schedule, create_schedule
from ....schedule.stage import Stage
from ....te import operators
from ....te.axis import Axis
from ....te.tensor import Tensor
from ...fragments import SplitColumn, split_entities
from ...space import Knobs
from ..convolution import Convolution
from ..register_tile import padded_input
from .block_tile import MOST_SUMS, PIECE
from .block_work import BlockWork
from .cooperative import VECTOR_BYTES, Team

MOST_LANES = 64  # threads, or elements of a thread, along one dimension
CHANNELS = (1, 2, 4, 8, 16)  # of a tile
DEFAULT_SHARED = 24 << 10  # bytes of shared memory that a default configuration takes
IMAGE_COST = 6.0  # instructions to find an element of the padded image and to move it
KERNEL_COST = 3.0
UNCOALESCED = 0.7  # of the speed, where no two neighbours of a result are written together
BASE_REGISTERS = 32  # of a thread, for addresses and counters
STAGES = {"none": 1, "register": 2, "cp_async": 3}  # tiles at a time, by how the next ones come
KNOBS = ("tile_f", "tile_y", "tile_x", "channels", "unrolled", "staging")
TILES = ("tile_f", "tile_y", "tile_x")


@dataclass(frozen=True, slots=True)
class DirectTiles:
    """What tiles of a convolution need, and how fast they promise to be; methods work on arrays of tiles.

    A tile is the size (-1, threads, elements of a thread) of one dimension.
    """

    conv: Convolution
    gpu: Gpu

    def threads(self, f: SplitColumn, y: SplitColumn, x: SplitColumn) -> Any:
        """Give the threads of a block."""
        return f.size[1] * y.size[1] * x.size[1]

    def sums(self, f: SplitColumn, y: SplitColumn, x: SplitColumn) -> Any:
        """Give the elements of the result that a thread computes."""
        return f.size[2] * y.size[2] * x.size[2]

    def image_elements(self, y: SplitColumn, x: SplitColumn) -> Any:
        """Give the elements of one channel of the image that a block needs."""
        geometry = self.conv.geometry
        spans = zip((y, x), geometry.stride, self.conv.taps, geometry.dilation, strict=True)
        rows, columns = ((t.size[1] * t.size[2] - 1) * s + (k - 1) * d + 1 for t, s, k, d in spans)
        return rows * columns

    def kernel_elements(self, f: SplitColumn) -> Any:
        """Give the weights for one channel that a block needs."""
        return (f.size[1] * f.size[2] + PIECE) * self.conv.taps[0] * self.conv.taps[1]

    def shared_bytes(self, f: SplitColumn, y: SplitColumn, x: SplitColumn, channels: Any, stages: Any) -> Any:
        """Give the shared memory of a block."""
        elements = self.image_elements(y, x) + self.kernel_elements(f)
        return elements * channels * stages * self.conv.image.dtype.bytes

    def registers(self, f: SplitColumn, y: SplitColumn, x: SplitColumn, channels: Any) -> Any:
        """Estimate the registers of a thread: sums, operands, and its part of a tile on the way."""
        copied = (self.image_elements(y, x) + self.kernel_elements(f)) * channels
        staged = np.ceil(copied / self.threads(f, y, x))
        return BASE_REGISTERS + self.sums(f, y, x) + f.size[2] + y.size[2] * x.size[2] + staged

    def fits(self, f: SplitColumn, y: SplitColumn, x: SplitColumn, channels: Any, stages: Any) -> Any:
        """Tell whether a block can run, and is worth it."""
        threads, registers = self.threads(f, y, x), self.registers(f, y, x, channels)
        deepest = f if self.conv.is_nchw else y
        return (
            (threads <= MOST_THREADS)
            & (2 * threads >= WARP)
            & (deepest.size[1] <= MOST_BLOCK[2])
            & (self.sums(f, y, x) <= MOST_SUMS)
            & (registers <= MOST_REGISTERS)
            & (registers * np.ceil(threads / WARP) * WARP <= REGISTERS)
            & (self.shared_bytes(f, y, x, channels, stages) <= self.gpu.shared_bytes)
        )

    def estimate(self, f: SplitColumn, y: SplitColumn, x: SplitColumn) -> Any:
        """Estimate the rate in multiply-adds per second."""
        conv, threads, sums = self.conv, self.threads(f, y, x), self.sums(f, y, x)
        taps, size = conv.taps[0] * conv.taps[1], conv.image.dtype.bytes
        image, kernel = self.image_elements(y, x) / taps, self.kernel_elements(f) / taps
        loads = -(-f.size[2] // PIECE) + y.size[2] * x.size[2]
        extents = zip((f, y, x), (conv.filters, *conv.positions), strict=True)
        blocks = [np.ceil(extent / (t.size[1] * t.size[2])) for t, extent in extents]
        work = BlockWork(
            blocks=conv.batch * conv.groups * blocks[0] * blocks[1] * blocks[2],
            threads=threads,
            registers=self.registers(f, y, x, 4),
            steps=conv.terms,
            issued=sums + loads + 1 + (image * IMAGE_COST + kernel * KERNEL_COST) / threads,
            turns=loads,
            fetched=(image + kernel) * size,
        )
        together = x.size[1] if conv.is_nchw else f.size[1] * np.minimum(f.size[2], PIECE)  # neighbours in memory
        whole = UNCOALESCED + (1 - UNCOALESCED) * np.minimum(1, together * size / SECTOR_BYTES)
        return conv.multiplications / work.seconds(self.gpu) * whole

    def channels_for(self, f: SplitColumn, y: SplitColumn, x: SplitColumn) -> int:
        """Give the channels of a tile that a default configuration takes."""
        found = [c for c in CHANNELS if c <= max(1, self.conv.channels)]
        fitting = [
            c
            for c in found
            if self.shared_bytes(f, y, x, c, 2).item() <= DEFAULT_SHARED and self.fits(f, y, x, c, 2).item()
        ]
        return max(fitting, default=found[0])


def define(cfg: Knobs, tiles: DirectTiles) -> float:
    """Define the knobs of a direct convolution; their default is what promises most.

    Gives the estimate of the default, in multiply-adds per second.
    """
    conv = tiles.conv
    extents = (conv.filters, *conv.positions)
    sizes = [[e.size for e in split_entities(n, 3, "verbose", MOST_LANES, False)] for n in extents]
    best, columns = _best(tiles, sizes)
    for name, extent, candidates, default in zip(TILES, extents, sizes, best, strict=True):
        cfg.define_split(name, extent, "candidate", num_outputs=3, candidate=candidates, default=default)
    channels = tiles.channels_for(*columns)
    cfg.define_knob("channels", [c for c in CHANNELS if c <= conv.channels], default=channels)
    cfg.define_knob("unrolled", ["row", "window"], default="window" if conv.taps[0] * conv.taps[1] <= 25 else "row")
    cfg.define_knob("staging", list(STAGES), default="register" if conv.channels > channels else "none")
    stages = np.vectorize(STAGES.__getitem__)
    cfg.restrict(lambda f, y, x, c, s: tiles.fits(f, y, x, c.val, stages(s.val)), *TILES, "channels", "staging")
    cfg.define_feature("direct_threads", tiles.threads, *TILES)
    cfg.define_feature("direct_shared", lambda f, y, x, c: tiles.shared_bytes(f, y, x, c.val, 1), *TILES, "channels")
    return tiles.estimate(*columns).item()


def _best(
    tiles: DirectTiles, sizes: list[list[tuple[int, ...]]]
) -> tuple[tuple[tuple[int, ...], ...], list[SplitColumn]]:
    """Give the sizes that promise most, and the same as columns."""
    choices = list(product(*sizes))
    table = np.array(choices, dtype=np.int64)
    columns = [SplitColumn(tuple(table[:, d, i] for i in range(3))) for d in range(3)]
    f, y, x = columns
    rates = np.where(tiles.fits(f, y, x, 1, 2), tiles.estimate(f, y, x), -1.0)
    chosen = int(rates.argmax())
    return choices[chosen], [SplitColumn(tuple(part[chosen : chosen + 1] for part in c.size)) for c in columns]


def scheduled(cfg: Knobs, conv: Convolution, result: str) -> tuple[Schedule, Tensor]:
    """Give a schedule of a direct convolution, and its result, of type `result`."""
    geometry = conv.geometry
    layout = "NCHW" if conv.is_nchw else "NHWC"
    out = operators.conv2d(
        conv.image, conv.kernel, geometry.stride, geometry.padding, geometry.dilation, layout, result, conv.groups
    )
    s = create_schedule(out.op)
    sums = s.cache_write(out, "local")
    assert isinstance(sums, Tensor)
    padded = padded_input(sums)
    image, kernel = (s.cache_read(t, "shared", [sums]) for t in (padded or conv.image, conv.kernel))
    if padded is not None:
        s[padded].compute_inline()
    thread = _tile(cfg, s[out], conv)
    s[sums].compute_at(s[out], thread)
    _sum(cfg, s, sums, (image, kernel), conv)
    return s, out


def _tile(cfg: Knobs, out: Stage, conv: Convolution) -> Axis:
    """Cut the result in blocks, elements and threads, and bind them; gives the innermost loop over threads."""
    n, f, y, x = out.op.axis if conv.is_nchw else (out.op.axis[i] for i in (0, 3, 1, 2))
    groups: list[Axis] = []
    if conv.groups > 1:
        group, f = out.split(f, factor=conv.filters)
        groups = [group]
    _, threads, elements = cfg["tile_f"].size
    together = min(PIECE, elements)
    f_block, f = out.split(f, factor=threads * elements)
    f_piece, f = out.split(f, factor=threads * together)
    f_thread, f_element = out.split(f, factor=together)
    y_block, y_element, y_thread = _apart(out, y, cfg["tile_y"].size)
    x_block, x_element, x_thread = _apart(out, x, cfg["tile_x"].size)
    blocks = [n, *groups, f_block, y_block, x_block]
    threads_inwards = [f_thread, y_thread, x_thread] if conv.is_nchw else [y_thread, x_thread, f_thread]
    pieces = [f_piece, y_element, x_element]
    out.reorder(*blocks, *pieces, *threads_inwards, f_element)
    block = out.fuse(*blocks)
    out.bind(block, "blockIdx.x")
    out.pragma(block, "min_blocks", 1)  # without it ptxas may rather spill than take registers
    for axis in pieces:
        out.bind(axis, "vthread")
    for axis, thread in zip(threads_inwards, ("threadIdx.z", "threadIdx.y", "threadIdx.x"), strict=True):
        out.bind(axis, thread)
    if conv.is_nchw:
        out.unroll(f_element)
    else:
        out.vectorize(f_element)
    return threads_inwards[-1]


def _apart(out: Stage, axis: Axis, size: tuple[int, ...]) -> tuple[Axis, Axis, Axis]:
    """Cut an axis in blocks, elements of a thread, and threads, so that neighbours belong to neighbouring threads."""
    _, threads, elements = size
    block, rest = out.split(axis, factor=threads * elements)
    return block, *out.split(rest, factor=threads)


def _sum(cfg: Knobs, s: Schedule, sums: Tensor, shared: tuple[Tensor, Tensor], conv: Convolution) -> None:
    """Sum up tile after tile of channels, tap after tap."""
    stage = s[sums]
    spatial, reduce = list(stage.op.axis), {a.name: a for a in stage.op.reduce_axis}
    tile, channel = stage.split(reduce["rc"], factor=cfg["channels"].val)
    row, tap = reduce["ry"], reduce["rx"]
    stage.reorder(tile, channel, row, tap, *spatial)
    written_out = [tap, *spatial] if cfg["unrolled"].val == "row" else [row, tap, *spatial]
    for axis in written_out:
        stage.unroll(axis)
    if cfg["staging"].val != "none":
        stage.pipeline(tile, STAGES[cfg["staging"].val], cfg["staging"].val)
    f, y, x = (cfg[name].size for name in TILES)
    team = Team(x[1], y[1], f[1]) if conv.is_nchw else Team(f[1], x[1], y[1])
    lanes = VECTOR_BYTES // conv.image.dtype.bytes
    runs = (
        (1, 1)
        if conv.is_nchw
        else (gcd(lanes, conv.channels, cfg["channels"].val), gcd(lanes, conv.filters, f[1] * f[2]))
    )
    for copy, run in zip(shared, runs, strict=True):
        s[copy].compute_at(stage, tile)
        local = s.cache_read(copy, "local", [sums])
        assert isinstance(local, Tensor)
        s[local].compute_at(stage, tap)
        if copy is shared[1]:
            filter_axis = 0 if conv.is_nchw else 3
            _, lane = s[local].split(s[local].op.axis[filter_axis], factor=min(PIECE, f[2]))
            s[local].vectorize(lane)
        axes = list(s[copy].op.axis)
        if copy is shared[1] and conv.is_nchw:
            s[copy].storage_align(axes[3], BANKS * 4 // conv.image.dtype.bytes, PIECE)
            s[copy].transform_layout(lambda f, c, y, x: [c, y, x, f])
        if copy is shared[0] and not conv.is_nchw:
            s[copy].transform_layout(lambda n, y, x, c: [n, c, y, x])
        team.share(s[copy], axes, run)
