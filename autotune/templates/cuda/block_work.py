"""How long the blocks of a kernel may take: a model to begin a search with, not a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.gpu import MOST_REGISTERS, REGISTERS, WARP, Gpu

CORES = 128  # instructions of a multiprocessor's threads in one cycle
L2_BYTES_PER_CYCLE = 24  # of a multiprocessor
CLOCK_HZ = 1.7e9
BUSY_WARPS = 1.5  # of a multiprocessor, that keep half of its cores busy
EXPOSED = 0.2  # share of the time to move operands that nothing hides
AT_BARRIERS = 0.1  # share of its time that a block waits for all its threads, while others run


@dataclass(frozen=True, slots=True)
class BlockWork:
    """What the blocks of a kernel do: numbers, or arrays with one for each of many kernels.

    blocks     of the grid
    threads    of a block
    registers  of a thread
    steps      that each block goes through
    issued     instructions of a thread in one step
    turns      of shared memory that the loads of a warp take in one step
    fetched    bytes that a block fetches from global memory for one step
    """

    blocks: Any
    threads: Any
    registers: Any
    steps: Any
    issued: Any
    turns: Any
    fetched: Any

    def seconds(self, gpu: Gpu) -> Any:
        """Estimate the time of all blocks: that of the multiprocessor with most of them."""
        each = np.ceil(self.blocks / gpu.multiprocessors)
        warps = np.ceil(self.threads / WARP)
        resident = np.minimum(
            REGISTERS // (np.minimum(self.registers, MOST_REGISTERS) * warps * WARP), gpu.warps // warps
        )
        present = np.minimum(np.maximum(resident, 1), each)  # blocks at a time
        busy = present * warps / (present * warps + BUSY_WARPS) * (1 - AT_BARRIERS / present)
        issued = self.issued * warps * WARP / CORES + EXPOSED * self.turns * warps
        fetched = self.fetched / L2_BYTES_PER_CYCLE
        return (np.maximum(issued / busy, fetched) + EXPOSED * fetched) * self.steps * each / CLOCK_HZ
