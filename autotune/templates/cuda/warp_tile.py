"""Tiles of products on tensor cores: which there are for a shape, what they need, and how fast they promise to be.

A dimension of the result is cut in blocks of `warps` x `elements`: so many warps of a block lie along it, and so many
elements belong to each, held by its lanes together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ....ir.gpu import MOST_REGISTERS, REGISTERS, WARP, Gpu
from ....te.operators.tensor_cores import Shape
from ...fragments import SplitColumn

WARPS = (1, 2, 4)  # of a block along one dimension
ELEMENTS = (16, 32, 64)  # of a warp along one dimension
MOST_BLOCK = 256  # elements of a block along one dimension
MOST_WARPS = 16  # of a block
LEAST_BLOCK_BYTES = 32  # along one dimension, so that rows have two pieces of 16 bytes
LEAST_ELEMENT = 32  # elements of a warp along a dimension that is long enough
BASE_REGISTERS = 44  # of a thread, for addresses and counters
SPARE_REGISTERS = 12  # that make sure of a default configuration without spills
RESIDENT = (1, 2, 3)  # blocks of a multiprocessor at a time, for which the compiler has to make do with registers
PAD_BYTES = 16  # behind each row that is not swizzled, and behind each row of results in shared memory
MULTIPLIED_BYTES = 2048  # of one operand, which a multiprocessor multiplies and adds in one cycle
SHARED_BYTES = 128  # that shared memory gives in one cycle
L2_BYTES_PER_CYCLE = 40  # of a multiprocessor
BUSY_WARPS = 2.0  # of a multiprocessor, that keep half of its tensor cores busy
EXPOSED = 0.1  # share of the time to fetch operands that nothing hides
EXPOSED_LOADS = 0.5  # the same of the time that shared memory takes to give them to warps
FILLING = 2  # tiles that a block waits for before it multiplies
CLOCK_HZ = 1.5e9
MEMORY_BYTES_PER_S = 2.0e12
LAUNCH_S = 3e-6

Size = tuple[int, int, int]  # -1, warps, elements


def sizes_of(extent: int, element_bytes: int, whole: bool = False) -> list[Size]:
    """Give the ways to cut a dimension of `extent`.

    whole  whether several blocks or warps together must not reach beyond it
    """
    reach = max(LEAST_BLOCK_BYTES // element_bytes, ELEMENTS[0], 1 << (extent - 1).bit_length())
    found = [(-1, w, e) for w, e in product(WARPS, ELEMENTS) if e >= min(reach, LEAST_ELEMENT)]
    wide = [s for s in found if LEAST_BLOCK_BYTES // element_bytes <= s[1] * s[2]]
    found = [s for s in wide if s[1] * s[2] <= min(reach, MOST_BLOCK)]
    return [s for s in found if not whole or s[2] >= extent or extent % (s[1] * s[2]) == 0]


def block_of(tile: SplitColumn) -> Any:
    """Give the elements of a block along a dimension."""
    return tile.size[1] * tile.size[2]


def threads_of(m: SplitColumn, n: SplitColumn) -> Any:
    """Give the threads of a block."""
    return m.size[1] * n.size[1] * WARP


@dataclass(frozen=True, slots=True)
class Workload:
    """A batch of products (rows, depth) x (depth, columns) on a GPU.  Methods work on arrays of tiles, too.

    element_bytes, result_bytes  of one element of an operand and of the result
    lanes                        elements that one copy of each operand moves
    shape                        the instruction
    whole                        whether blocks along rows, and along columns, must not reach beyond the product
    """

    batch: int
    rows: int
    columns: int
    depth: int
    element_bytes: int
    result_bytes: int
    lanes: tuple[int, int]
    shape: Shape
    gpu: Gpu
    whole: tuple[bool, bool] = (False, False)

    @property
    def tiles(self) -> tuple[list[Size], list[Size]]:
        """Give the ways to cut rows and columns; none for a dimension that has no divisor where it must."""
        rows, columns = self.whole
        return sizes_of(self.rows, self.element_bytes, rows), sizes_of(self.columns, self.element_bytes, columns)

    @property
    def asynchronous(self) -> bool:
        """Tell whether copies are wide enough to be asynchronous: 4 bytes."""
        return min(self.lanes) * self.element_bytes >= 4

    def registers(self, m: SplitColumn, n: SplitColumn, block_k: Any, ahead: Any = False, staged: Any = False) -> Any:
        """Estimate the registers of a thread: sums, fragments of both operands, what it copies by way of registers.

        ahead   whether the next fragments are loaded while these are multiplied
        staged  whether copies to shared memory go through registers
        """
        mt, nt = m.size[2], n.size[2]
        held = (mt + nt) * self.shape.k * self.element_bytes // (4 * WARP)
        each = [max(4, lanes * self.element_bytes) / (4 * lanes) for lanes in self.lanes]  # registers of an element
        copied = (block_of(m) * each[0] + block_of(n) * each[1]) * block_k / threads_of(m, n)
        return BASE_REGISTERS + mt * nt // WARP + held * (1 + np.asarray(ahead)) + copied * np.asarray(staged)

    def shared_bytes(self, m: SplitColumn, n: SplitColumn, block_k: Any, stages: Any, through: Any = False) -> Any:
        """Give the shared memory of a block, rows padded.

        through  whether results go through shared memory
        """
        operands = (block_of(m) + block_of(n)) * (block_k * self.element_bytes + PAD_BYTES) * stages
        return operands + block_of(m) * (block_of(n) * self.result_bytes + PAD_BYTES) * np.asarray(through)

    def fits(self, m: SplitColumn, n: SplitColumn, registers: Any, shared: Any, blocks: Any = 1) -> Any:
        """Tell whether a multiprocessor has the registers and the shared memory for so many blocks at a time."""
        threads = threads_of(m, n)
        return (
            (m.size[1] * n.size[1] <= MOST_WARPS)
            & (registers <= MOST_REGISTERS)
            & (registers * threads * blocks <= REGISTERS)
            & (shared <= self.gpu.shared_bytes)
            & ((shared + self.gpu.reserved_bytes) * blocks <= self.gpu.sm_shared_bytes)
            & (threads * blocks <= self.gpu.warps * WARP)
        )

    def estimate(self, m: SplitColumn, n: SplitColumn, block_k: Any, stages: Any, parts: Any = 1) -> Any:
        """Estimate the rate in multiply-adds per second.

        parts  that the depth is cut in, each the work of other blocks
        """
        bm, bn, mt, nt, size = block_of(m), block_of(n), m.size[2], n.size[2], self.element_bytes
        warps = threads_of(m, n) // WARP
        blocks = self.batch * np.ceil(self.rows / bm) * np.ceil(self.columns / bn) * parts
        each = np.ceil(blocks / self.gpu.multiprocessors)  # blocks of the busiest multiprocessor
        registers = np.minimum(self.registers(m, n, block_k), MOST_REGISTERS)
        room = self.gpu.sm_shared_bytes // (self.shared_bytes(m, n, block_k, stages) + self.gpu.reserved_bytes)
        resident = np.minimum(REGISTERS // (registers * threads_of(m, n)), np.minimum(room, self.gpu.warps // warps))
        present = np.minimum(np.maximum(resident, 1), each)  # blocks at a time
        busy = present * warps / (present * warps + BUSY_WARPS)
        multiplied = bm * bn * size / MULTIPLIED_BYTES / busy
        served = warps * (mt + nt) * size / SHARED_BYTES  # by shared memory to warps
        fetched = (bm + bn) * size / L2_BYTES_PER_CYCLE
        step = np.maximum(np.maximum(multiplied, served), fetched) + EXPOSED * fetched + EXPOSED_LOADS * served
        depth = np.ceil(self.depth / parts / block_k) * block_k
        cycles = step * (depth + FILLING * block_k) * each
        results = self.batch * self.rows * self.columns * 4.0
        extra = np.where(np.asarray(parts) > 1, (2 * parts + 1) * results / MEMORY_BYTES_PER_S + LAUNCH_S, 0)
        return self.batch * float(self.rows) * self.columns * self.depth / (cycles / CLOCK_HZ + extra)

    def best(
        self, rows: Sequence[Size], columns: Sequence[Size], depths: Sequence[int], parts: Sequence[int], stages: int
    ) -> tuple[Size, Size, int, int]:
        """Give the cuts of both dimensions, the depth of a tile and the parts of the sum that promise most."""
        choices = [c for c in product(rows, columns, depths, parts) if c[3] == 1 or self.depth % (c[2] * c[3]) == 0]
        m, n = (SplitColumn(tuple(np.array([c[d] for c in choices], dtype=np.int64).T)) for d in (0, 1))
        depth, part = (np.array([c[d] for c in choices]) for d in (2, 3))
        registers = self.registers(m, n, depth, staged=not self.asynchronous)
        possible = self.fits(m, n, registers + SPARE_REGISTERS, self.shared_bytes(m, n, depth, stages))
        rates = np.where(possible, self.estimate(m, n, depth, stages, part), -1.0)
        return choices[int(rates.argmax())]
