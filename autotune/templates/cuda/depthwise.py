"""Depthwise convolutions: every thread has a patch of the result, and the image and weights for it in registers.

for block of channels, rows and columns, over blockIdx:
    image_shared = the part of the image that the block reads      # by all threads together; or not at all
    for thread of each, over threadIdx:
        kernel_local, image_local = what the patch depends on
        sums = patch                                               # all taps written out
        result = sums
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import gcd
from typing import Any

import numpy as np

from ....ir.gpu import MOST_BLOCK, MOST_REGISTERS, MOST_THREADS, REGISTERS, SECTOR_BYTES, WARP, Gpu
from ....schedule.schedule import Schedule
from ....schedule.stage import Stage
from ....te.axis import Axis
from ....te.tensor import Tensor
from ...fragments import SplitColumn, split_entities
from ...space import Knobs
from ...template import get_target
from ..convolution import Convolution
from ..register_tile import padded_input
from .block_work import BlockWork
from .cooperative import VECTOR_BYTES, Team

MOST_LANES = 64  # threads along one dimension
MOST_PATCH = 8  # elements of a thread along one dimension
BASE_REGISTERS = 32  # of a thread, for addresses and counters
BEGINNING = 150.0  # instructions of a thread before and after the sums
COPY_COST = 6.0  # instructions to find an element of the padded image and to move it
UNCOALESCED = 0.5  # of the speed, where no two neighbours of a result are written together
TILES = ("tile_c", "tile_y", "tile_x")


@dataclass(frozen=True, slots=True)
class DepthwiseTiles:
    """What tiles of a depthwise convolution need, and how fast they promise to be; methods work on arrays of tiles.

    A tile is the size (-1, threads, elements of a thread) of one dimension.
    """

    conv: Convolution
    gpu: Gpu

    def threads(self, c: SplitColumn, y: SplitColumn, x: SplitColumn) -> Any:
        """Give the threads of a block."""
        return c.size[1] * y.size[1] * x.size[1]

    def spans(self, rows: Any, columns: Any) -> Any:
        """Give the elements of one channel of the image that a patch of the result needs."""
        geometry = self.conv.geometry
        sides = zip((rows, columns), geometry.stride, self.conv.taps, geometry.dilation, strict=True)
        height, width = ((n - 1) * s + (k - 1) * d + 1 for n, s, k, d in sides)
        return height * width

    def shared_bytes(self, c: SplitColumn, y: SplitColumn, x: SplitColumn) -> Any:
        """Give the shared memory of a block that keeps its part of the image there."""
        part = self.spans(y.size[1] * y.size[2], x.size[1] * x.size[2])
        return c.size[1] * c.size[2] * part * self.conv.image.dtype.bytes

    def registers(self, c: SplitColumn, y: SplitColumn, x: SplitColumn) -> Any:
        """Estimate the registers of a thread: sums, weights, and the image under them."""
        patch, taps = y.size[2] * x.size[2], self.conv.terms
        return BASE_REGISTERS + c.size[2] * (patch + taps + self.under_patch(y, x))

    def under_patch(self, y: SplitColumn, x: SplitColumn) -> Any:
        """Give the elements of one channel of the image that a thread reads."""
        if self.conv.is_nchw:
            return x.size[2] * self.spans(y.size[2], 1)
        return self.spans(y.size[2], x.size[2])

    def fits(self, c: SplitColumn, y: SplitColumn, x: SplitColumn) -> Any:
        """Tell whether a block can run, and is worth it."""
        threads, registers = self.threads(c, y, x), self.registers(c, y, x)
        deepest = c if self.conv.is_nchw else y
        return (
            (threads <= MOST_THREADS)
            & (2 * threads >= WARP)
            & (deepest.size[1] <= MOST_BLOCK[2])
            & (c.size[2] * y.size[2] * x.size[2] <= WARP)
            & (registers <= MOST_REGISTERS)
            & (registers * np.ceil(threads / WARP) * WARP <= REGISTERS)
            & (self.shared_bytes(c, y, x) <= self.gpu.shared_bytes)
        )

    def estimate(self, c: SplitColumn, y: SplitColumn, x: SplitColumn) -> Any:
        """Estimate the rate in multiply-adds per second."""
        conv, size = self.conv, self.conv.image.dtype.bytes
        patch, threads = c.size[2] * y.size[2] * x.size[2], self.threads(c, y, x)
        lanes = VECTOR_BYTES // size
        loads = np.ceil(c.size[2] / lanes) * self.under_patch(y, x)
        copies = COPY_COST if conv.is_nchw else np.where(c.size[1] * c.size[2] % lanes, COPY_COST, COPY_COST / lanes)
        fetched = self.shared_bytes(c, y, x)
        extents = zip((c, y, x), (conv.groups, *conv.positions), strict=True)
        blocks = [np.ceil(extent / (t.size[1] * t.size[2])) for t, extent in extents]
        work = BlockWork(
            blocks=conv.batch * blocks[0] * blocks[1] * blocks[2],
            threads=threads,
            registers=self.registers(c, y, x),
            steps=1,
            issued=BEGINNING + patch * conv.terms + loads + fetched / size / threads * copies,
            turns=loads,
            fetched=fetched + patch * threads * size,
        )
        together = x.size[1] if conv.is_nchw else c.size[1] * c.size[2]  # neighbours in memory
        whole = UNCOALESCED + (1 - UNCOALESCED) * np.minimum(1, together * size / SECTOR_BYTES)
        return conv.multiplications / work.seconds(self.gpu) * whole


def schedule(cfg: Knobs, s: Schedule, conv: Convolution) -> None:
    """Schedule a depthwise convolution."""
    _define(cfg, DepthwiseTiles(conv, get_target().gpu))
    out = s[s.outputs[0]]
    sums = s.cache_write(out.op.output(0), "local")
    assert isinstance(sums, Tensor)
    padded = padded_input(sums)
    image = padded or conv.image
    if cfg["image"].val == "shared":
        image = s.cache_read(image, "shared", [sums])
    image_local, kernel_local = (s.cache_read(t, "local", [sums]) for t in (image, conv.kernel))
    if padded is not None:
        s[padded].compute_inline()
    block, thread = _tile(cfg, out, conv)
    channels = (1, 0) if conv.is_nchw else (3, 2)  # dimensions of image and kernel
    for local, channel in ((sums, None), (image_local, channels[0]), (kernel_local, channels[1])):
        s[local].compute_at(out, thread)
        _write_out(s[local], channel, cfg["tile_c"].size[2])
    if cfg["image"].val == "shared":
        s[image].compute_at(out, block)
        _share_image(cfg, s[image], conv)


def _define(cfg: Knobs, tiles: DepthwiseTiles) -> None:
    """Define the knobs; their default is what promises most."""
    conv = tiles.conv
    extents = (conv.groups, *conv.positions)
    choices = [[e.size for e in split_entities(n, 3, "verbose", MOST_LANES, False)] for n in extents]
    sizes = [[t for t in found if t[2] <= MOST_PATCH] for found in choices]
    if conv.is_nchw:
        sizes[0] = [t for t in sizes[0] if t[2] == 1]
    table = np.array(list(product(*sizes)), dtype=np.int64)
    columns = [SplitColumn(tuple(table[:, d, i] for i in range(3))) for d in range(3)]
    chosen = table[np.where(tiles.fits(*columns), tiles.estimate(*columns), -1.0).argmax()]
    for name, extent, candidates, default in zip(TILES, extents, sizes, chosen.tolist(), strict=True):
        cfg.define_split(name, extent, "candidate", num_outputs=3, candidate=candidates, default=default)
    cfg.define_knob("image", ["shared", "registers"])
    cfg.restrict(tiles.fits, *TILES)
    cfg.define_estimate(tiles.estimate, *TILES)
    cfg.define_feature("threads", tiles.threads, *TILES)
    cfg.define_feature("registers", tiles.registers, *TILES)
    cfg.define_feature("shared_bytes", tiles.shared_bytes, *TILES)


def _tile(cfg: Knobs, out: Stage, conv: Convolution) -> tuple[Axis, Axis]:
    """Cut the result in blocks, threads and patches, and bind them; gives the loops over blocks and over threads."""
    n, c, y, x = out.op.axis if conv.is_nchw else (out.op.axis[i] for i in (0, 3, 1, 2))
    blocks, threads, patch = [n], [], []
    for axis, name in ((c, "tile_c"), (y, "tile_y"), (x, "tile_x")):
        outer, thread, element = _cut(out, axis, cfg[name].size, apart=conv.is_nchw and axis is x)
        blocks.append(outer)
        threads.append(thread)
        patch.append(element)
    if conv.is_nchw:
        out.reorder(*blocks, patch[2], *threads, *patch[:2])
        out.bind(patch[2], "vthread")
    else:
        threads = [*threads[1:], threads[0]]
        out.reorder(*blocks, *threads, *patch[1:], patch[0])
        out.vectorize(patch[0])
    block = out.fuse(*blocks)
    out.bind(block, "blockIdx.x")
    out.pragma(block, "min_blocks", 1)  # without it ptxas may rather spill than take registers
    for axis, thread in zip(threads, ("threadIdx.z", "threadIdx.y", "threadIdx.x"), strict=True):
        out.bind(axis, thread)
    out.unroll(patch[1])
    return block, threads[-1]


def _cut(out: Stage, axis: Axis, size: tuple[int, ...], apart: bool) -> tuple[Axis, Axis, Axis]:
    """Cut an axis in blocks, threads, and elements of a thread: neighbours, or apart by the number of threads."""
    _, threads, elements = size
    block, rest = out.split(axis, factor=threads * elements)
    if apart:
        element, thread = out.split(rest, factor=threads)
        return block, thread, element
    return block, *out.split(rest, factor=elements)


def _write_out(stage: Stage, channel: int | None, lanes: int) -> None:
    """Write the loops of a stage in registers out; `lanes` elements along the dimension `channel` are one access."""
    spatial, reduce = list(stage.op.axis), list(stage.op.reduce_axis)
    order = [*reduce, *spatial]
    if channel is not None and lanes > 1:
        order.remove(spatial[channel])
        rest, lane = stage.split(spatial[channel], factor=lanes)
        order.append(rest)
        stage.reorder(*order, lane)
        stage.vectorize(lane)
    else:
        stage.reorder(*order)
    for axis in order:
        stage.unroll(axis)


def _share_image(cfg: Knobs, copy: Stage, conv: Convolution) -> None:
    """Copy the part of the image that a block reads by all its threads."""
    c, y, x = (cfg[name].size for name in TILES)
    team = Team(x[1], y[1], c[1]) if conv.is_nchw else Team(c[1], x[1], y[1])
    lanes = 1 if conv.is_nchw else gcd(VECTOR_BYTES // conv.image.dtype.bytes, conv.groups, c[1] * c[2])
    team.share(copy, list(copy.op.axis), lanes)
