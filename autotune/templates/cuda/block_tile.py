"""Tiles of products on CUDA cores: which there are for a shape, what they need, and how fast they promise to be.

A dimension of the result is cut in blocks of `warps` x `lanes` x `elements`: so many warps of a block lie along it, so
many lanes of each warp, and so many elements belong to a thread.  Elements of a thread that are more than one wide
access lie apart, in pieces of `PIECE` neighbours, so that the lanes of a warp read neighbouring pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ....ir.gpu import MOST_REGISTERS, MOST_THREADS, REGISTERS, WARP, Gpu
from ...fragments import SplitColumn
from .block_work import BlockWork

PIECE = 4  # neighbouring elements of a thread: one access of 16 bytes for float32
MOST_BLOCK = 256  # elements of a block along one dimension
MOST_SUMS = 128  # of a thread
BASE_REGISTERS = 28  # of a thread, for addresses and counters
RESIDENT = (1, 2, 3, 4)  # blocks of a multiprocessor at a time, for which the compiler has to make do with registers
SPARE_REGISTERS = 6  # that make sure of a default configuration without spills
SHARED_BYTES = 128  # that shared memory gives in one cycle
MEMORY_BYTES_PER_S = 2.5e12
LAUNCH_S = 3e-6

Size = tuple[int, int, int, int]  # -1, warps, lanes, elements


def sizes_of(extent: int, other: int) -> list[Size]:
    """Give the ways to cut a dimension of `extent`; `other` is the extent of the result's other dimension."""
    reach = max(WARP, 1 << (extent - 1).bit_length())
    narrow = min(extent, other) < 64
    lanes = (1, 2, 4, 8, 16, 32) if narrow else (2, 4, 8, 16)
    elements = (1, 2, 4, 8) if narrow else (2, 4, 8, 16)
    found = product((1, 2, 4, 8), lanes, elements)
    return [(-1, w, n, e) for w, n, e in found if w * n * e <= min(reach, MOST_BLOCK)]


def block_of(tile: SplitColumn) -> Any:
    """Give the elements of a block along a dimension."""
    return tile.size[1] * tile.size[2] * tile.size[3]


def threads_of(m: SplitColumn, n: SplitColumn) -> Any:
    """Give the threads of a block."""
    return m.size[1] * n.size[1] * WARP


@dataclass(frozen=True, slots=True)
class Workload:
    """A batch of products (rows, depth) x (depth, columns) on a GPU.  Methods work on arrays of tiles, too.

    copy_cost  instructions for each element of both operands that is copied to shared memory
    """

    batch: int
    rows: int
    columns: int
    depth: int
    element_bytes: int
    gpu: Gpu
    copy_cost: tuple[float, float] = (1.0, 1.0)

    def is_warp(self, m: SplitColumn, n: SplitColumn) -> Any:
        """Tell whether the lanes along both dimensions are those of a warp, and the threads fit in a block."""
        return (m.size[2] * n.size[2] == WARP) & (threads_of(m, n) <= MOST_THREADS)

    def registers(self, m: SplitColumn, n: SplitColumn, block_k: Any = 16) -> Any:
        """Estimate the registers that a thread cannot do without: sums, fragments of both operands, a staged tile."""
        tm, tn = m.size[3], n.size[3]
        staged = (block_of(m) + block_of(n)) * block_k // threads_of(m, n) * self.element_bytes // 4
        return BASE_REGISTERS + tm * tn + tm + tn + staged

    def shared_bytes(self, m: SplitColumn, n: SplitColumn, block_k: Any, stages: Any) -> Any:
        """Give the shared memory of a block, rows padded."""
        return (block_of(m) + block_of(n) + 2 * PIECE) * block_k * stages * self.element_bytes

    def fits(self, m: SplitColumn, n: SplitColumn, block_k: Any, stages: Any, blocks: Any = 1, spare: int = 0) -> Any:
        """Tell whether a multiprocessor has the registers and the shared memory for so many blocks at a time.

        spare  registers of a thread that shall be left
        """
        registers, shared = self.registers(m, n, block_k) + spare, self.shared_bytes(m, n, block_k, stages)
        return (
            (registers <= MOST_REGISTERS)
            & (registers * threads_of(m, n) * blocks <= REGISTERS)
            & (m.size[3] * n.size[3] <= MOST_SUMS)
            & (shared <= self.gpu.shared_bytes)
            & ((shared + self.gpu.reserved_bytes) * blocks <= self.gpu.sm_shared_bytes)
            & (threads_of(m, n) * blocks <= self.gpu.warps * WARP)
        )

    def depth_and_blocks(self, m: Size, n: Size, depths: Sequence[int], stages: int) -> tuple[int, int]:
        """Give the depth of tiles with which most blocks fit on a multiprocessor, and how many.

        Of depths that are equal in this it is the greatest.
        """
        of_m, of_n = (SplitColumn(tuple(np.array([f]) for f in tile)) for tile in (m, n))

        def room(depth: int) -> int:
            return max(b for b in RESIDENT if b == 1 or self.fits(of_m, of_n, depth, stages, b, SPARE_REGISTERS)[0])

        depth = max(depths, key=lambda d: (room(d), d))
        return depth, room(depth)

    def estimate(self, m: SplitColumn, n: SplitColumn, parts: Any = 1) -> Any:
        """Estimate the rate in multiply-adds per second.

        parts  that the depth is cut in, each the work of other blocks
        """
        bm, bn, tm, tn = block_of(m), block_of(n), m.size[3], n.size[3]
        pieces = -(-tm // PIECE) + -(-tn // PIECE)
        turns = [-(-t.size[3] // PIECE) * np.maximum(1, t.size[2] * PIECE * 4 / SHARED_BYTES) for t in (m, n)]
        copied = (bm * self.copy_cost[0] + bn * self.copy_cost[1]) / threads_of(m, n)
        work = BlockWork(
            blocks=self.batch * np.ceil(self.rows / bm) * np.ceil(self.columns / bn) * parts,
            threads=threads_of(m, n),
            registers=self.registers(m, n),
            steps=np.ceil(self.depth / parts),
            issued=tm * tn + pieces + 2 + copied,
            turns=2 * (turns[0] + turns[1]),
            fetched=(bm + bn) * self.element_bytes,
        )
        results = self.batch * self.rows * self.columns * 4.0
        extra = np.where(np.asarray(parts) > 1, (2 * parts + 1) * results / MEMORY_BYTES_PER_S + LAUNCH_S, 0)
        return self.batch * float(self.rows) * self.columns * self.depth / (work.seconds(self.gpu) + extra)

    def best(
        self, rows: Sequence[Size], columns: Sequence[Size], parts: Sequence[int], depth: int
    ) -> tuple[Size, Size, int, float]:
        """Give the cuts of both dimensions and of the sum that promise most with tiles of `depth`, and their rate."""
        choices = list(product(rows, columns, parts))
        m, n = (SplitColumn(tuple(np.array(c, dtype=np.int64).T)) for c in (([c[d] for c in choices]) for d in (0, 1)))
        possible = self.is_warp(m, n) & self.fits(m, n, depth, 2)
        rates = np.where(possible, self.estimate(m, n, np.array([c[2] for c in choices])), -1.0)
        chosen = int(rates.argmax())
        return *choices[chosen], float(rates[chosen])
