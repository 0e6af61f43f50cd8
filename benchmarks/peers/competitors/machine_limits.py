"""What the machine can do at most at the operation's kind of work: a loop of multiply-adds, dot products, or bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from tilewright.runtime import peak

from ..competitor import Form, Surroundings
from ..operations import Operation, moved_bytes

LEAST_BYTES = 1 << 14  # of a loop over memory: less would be its overhead


class MachineLimits:
    """The loops of `tilewright.runtime.peak`."""

    version = "loops in LLVM IR"

    def __init__(self, surroundings: Surroundings) -> None:
        """Remember the threads."""
        self.threads = surroundings.threads

    def forms(self, workload: str, operation: Operation, arrays: list[np.ndarray]) -> Iterator[Form]:
        """Give the loop that bounds the operation, over as much memory as it touches."""
        size = -(-max(LEAST_BYTES, moved_bytes(operation)) // 4096) * 4096
        loops: dict[str, Callable[[], peak.PeakLoop]] = {
            "fma": partial(peak.fma_peak, self.threads),
            "dot": partial(peak.dot_peak, self.threads),
            "copy": partial(peak.copy_peak, self.threads, size_bytes=size),
            "read": partial(peak.read_peak, self.threads, size_bytes=size),
        }
        loop = loops[operation.limit]()
        yield Form(operation.limit, loop, lambda: None, loop.work)
