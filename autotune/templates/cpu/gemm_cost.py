"""What a blocked product of matrices costs a processor, by its register tile, its blocks and what it packs."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any, NamedTuple

import numpy as np

L2_BYTES = 1 << 20  # of one core; blocks are to leave a quarter of it free
L3_BYTES_PER_CYCLE = 6.0  # what a core gets of what lies beyond its own caches ...
NEAR_BYTES = 4 << 20  # what is read again from there if it is not larger ...
WAIT_NEAR, WAIT_FAR, WAIT_COLUMNS = 0.05, 0.25, 0.15  # ... and the shares of that time that it waits: for rows of the
# first factor, near or far, which it reads an element at a time, and for columns of the second, a vector at a time
MULTIPLY_ADDS = 2  # vectors a cycle ...
LATENCY = 4  # ... and cycles until a sum can be added to
LOAD = 0.05  # what a load costs where it is not what is waited for
TILE_CYCLES = 20.0  # around the sums of a register tile
COPY_CYCLES = 0.4  # an element packed from rows of vectors
TRANSPOSE_CYCLES = 0.6  # an element packed across rows
ALIASED_BYTES = 4096  # rows at a multiple of this distance meet in one set of the first cache
STREAMS = 8  # rows read at once where they lie that cost nothing ...
STREAM = 0.004  # ... and what each further one costs, as a share of the computing ...
ALIASED = 0.03  # ... and if they are aliased
STRIDED = (0.01, 0.12)  # what reading rows of columns where they lie costs: in short rows, in long ones
TORN = 0.01  # ... in rows that begin within a line
ACROSS = 8.0  # ... and a column at a time, lanes gathered
L1_BYTES = 32 << 10
PANEL = 0.12  # a vector that comes from beyond the first cache
LAUNCH_CYCLES = 8000.0  # a loop given to several threads


class Blocking(NamedTuple):
    """What is chosen, each a number or a column over a population.

    rows, vectors              of a register tile
    parts_m, parts_n, parts_k  blocks that the dimensions are cut in
    columns_outer              whether blocks of columns are shared out among threads, else blocks of rows
    packs_a                    whether blocks of the first factor are packed
    packs_b                    "none", "block" or "whole" of the second
    """

    rows: Any
    vectors: Any
    parts_m: Any
    parts_n: Any
    parts_k: Any
    columns_outer: Any
    packs_a: Any
    packs_b: Any


@dataclass(frozen=True, slots=True)
class ProductShape:
    """A product (batch, m, n, k) of elements of 4 bytes and the machine that computes it.

    across_a, across_b  whether packing a factor transposes it
    constant_b          whether the second factor is packed ahead of the calls
    """

    batch: int
    m: int
    n: int
    k: int
    across_a: bool
    across_b: bool
    constant_b: bool
    lanes: int
    threads: int

    def share_of_peak(self, b: Blocking) -> Any:
        """Give the share of the multiply-add peak of all threads that a blocking promises, 0 to 1."""
        return self.multiplying() / self.cycles(b)

    def multiplying(self) -> float:
        """Give the cycles of all threads at the multiply-add peak."""
        return self.batch * self.m * self.n * self.k / (MULTIPLY_ADDS * self.lanes) / self.threads

    def cycles(self, b: Blocking) -> Any:
        """Give the cycles of the thread that has most to do."""
        serial = self.batch * (self.computing(b) + self.storing(b) + self.packing(b) + self.fetching(b))
        if self.threads == 1:
            return serial
        blocks, each = self.blocks(b)
        most = np.minimum(np.ceil(blocks / self.threads) * each, 1)
        return serial * most + LAUNCH_CYCLES * (blocks > 1)

    def computing(self, b: Blocking) -> Any:
        """Give the cycles of multiplying and adding, by whole register tiles and those at the edges."""
        whole_m, rest_m = np.divmod(self.m, b.rows)
        whole_n, rest_n = np.divmod(-(-self.n // self.lanes), b.vectors)
        far = PANEL * (np.ceil(self.k / b.parts_k) * b.vectors * self.lanes * 4 > self.near_bytes(b))
        return self.k * (
            whole_m * whole_n * _step(b.rows, b.vectors, far)
            + whole_m * (rest_n > 0) * _step(b.rows, rest_n, far)
            + (rest_m > 0) * whole_n * _step(rest_m, b.vectors, far)
            + (rest_m > 0) * (rest_n > 0) * _step(rest_m, rest_n, far)
        )

    def near_bytes(self, b: Blocking) -> Any:
        """Give how much of a panel of columns the first cache holds: less where its rows lie and meet in few sets."""
        apart = ALIASED_BYTES // gcd(ALIASED_BYTES, self.n * 4)
        in_place = (b.packs_b == "none") & (not self.across_b)
        sets = np.minimum(1, apart * b.vectors * self.lanes * 4 / ALIASED_BYTES)
        return L1_BYTES * np.where(in_place, sets, 1)

    def storing(self, b: Blocking) -> Any:
        """Give the cycles of beginning and ending register tiles, and of sums that wait in memory for their rest."""
        tiles = np.ceil(self.m / b.rows) * np.ceil(self.n / (self.lanes * b.vectors))
        through = self.m * self.n * 4 * np.where(b.parts_k > 1, 2 * b.parts_k + 1, 1) / L3_BYTES_PER_CYCLE
        return tiles * b.parts_k * TILE_CYCLES + through

    def packing(self, b: Blocking) -> Any:
        """Give the cycles of packing, again for every block that is packed for its own."""
        again_a = np.where(b.columns_outer, b.parts_n, 1)
        again_b = np.where((b.packs_b == "block") & ~b.columns_outer, b.parts_m, 1)
        cost_a = TRANSPOSE_CYCLES if self.across_a else COPY_CYCLES
        cost_b = TRANSPOSE_CYCLES if self.across_b else COPY_CYCLES
        whole = (b.packs_b == "whole") | (b.parts_n == 1) & (b.parts_k == 1)
        panels = np.where(whole, self.n * self.k, np.ceil(self.n / b.parts_n) * np.ceil(self.k / b.parts_k)) * 4
        cost_b = cost_b + np.where(panels > L2_BYTES * 3 // 4, 8 / L3_BYTES_PER_CYCLE, 0)
        packed_b = 0 if self.constant_b else np.where(b.packs_b == "none", 0, self.n * self.k * again_b * cost_b)
        return np.where(b.packs_a, self.m * self.k * again_a * cost_a, 0) + packed_b

    def fetching(self, b: Blocking) -> Any:
        """Give the cycles of waiting for what the cores' own caches do not hold."""
        depth = np.ceil(self.k / b.parts_k)
        panel = depth * b.vectors * self.lanes * 4
        block = np.ceil(self.m / b.parts_m) * depth * 4
        columns = np.ceil(self.n / b.parts_n) * depth * 4
        held = block + panel <= L2_BYTES * 3 // 4
        all_held = block + columns <= L2_BYTES * 3 // 4
        rows = np.where(held, self.m * depth * 4, block)  # of the first factor, which are read again
        times_a = np.where(b.columns_outer & (rows > L2_BYTES // 2), b.parts_n, 1)
        times_a = np.where(held, times_a, self.n / (b.vectors * self.lanes))
        wait_a = np.where(rows > NEAR_BYTES, WAIT_FAR, WAIT_NEAR)
        times_b = np.where(all_held & b.columns_outer, 1, b.parts_m)
        times_b = np.where(panel <= L2_BYTES // 2, times_b, np.ceil(self.m / b.rows))
        waiting = wait_a * self.m * times_a + WAIT_COLUMNS * self.n * times_b
        moved = 4 * self.k * waiting / L3_BYTES_PER_CYCLE
        return moved + (self.unpacked_a(b) + self.unpacked_b(b)) * self.computing(b)

    def unpacked_a(self, b: Blocking) -> Any:
        """Give what reading the first factor where it lies costs, as a share of the computing."""
        if not self.across_a:
            return np.where(b.packs_a, 0.0, STREAM)
        aliased = ALIASED * (self.k * 4 % ALIASED_BYTES == 0)
        return np.where(b.packs_a, 0.0, (STREAM + aliased) * np.maximum(b.rows - STREAMS, 0))

    def unpacked_b(self, b: Blocking) -> Any:
        """Give what reading the second factor where it lies costs, as a share of the computing."""
        share = ACROSS if self.across_b else STRIDED[self.n * 4 >= ALIASED_BYTES]
        torn = TORN * (self.n % self.lanes > 0)
        return np.where(b.packs_b == "none", share + torn, 0.0)

    def blocks(self, b: Blocking) -> Any:
        """Give how many blocks there are to share out among threads, and the share of all work in the largest."""
        tiles_m, tiles_n = np.ceil(self.m / b.rows), np.ceil(self.n / (self.lanes * b.vectors))
        tiles = np.where(b.columns_outer, tiles_n, tiles_m)
        each = np.ceil(tiles / np.where(b.columns_outer, b.parts_n, b.parts_m))
        return np.ceil(tiles / each) * self.batch, each / (tiles * self.batch)


def _step(rows: Any, vectors: Any, far: Any) -> Any:
    """Give the cycles of one term of the sums of a register tile: multiplying, loading, or waiting for sums."""
    work = rows * vectors / MULTIPLY_ADDS
    loads = (rows + vectors) / 2
    return np.maximum(np.maximum(work, loads), LATENCY) + LOAD * loads + far * vectors
