"""Work that all threads of a block share: copies of tiles into shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from ....ir.gpu import WARP
from ....schedule.stage import Stage
from ....te.axis import Axis

VECTOR_BYTES = 16  # of the widest access to memory


@dataclass(frozen=True, slots=True)
class Team:
    """The threads of a block: extents of threadIdx.x, .y and .z."""

    x: int = WARP
    y: int = 1
    z: int = 1

    @property
    def threads(self) -> int:
        """Give their number."""
        return self.x * self.y * self.z

    def share(self, stage: Stage, axes: Sequence[Axis], lanes: int = 1) -> None:
        """Give the elements of a stage, in the order of `axes`, to the threads: neighbouring ones to neighbours.

        for i:                         for r in unrolled(..):
            for j:                         for y in thread("threadIdx.y", ..):
                S[i, j]      ->                for x in thread("threadIdx.x", ..):
                                                   for l in vectorized(lanes):
                                                       S[of ((r * y's + y) * x's + x) * lanes + l]

        lanes  elements that a thread moves at once; they must be neighbours along the last axis
        """
        rest = stage.fuse(*axes) if len(axes) > 1 else axes[0]
        if lanes > 1:
            rest, lane = stage.split(rest, factor=lanes)
            stage.vectorize(lane)
        for count, thread in ((self.x, "threadIdx.x"), (self.y, "threadIdx.y"), (self.z, "threadIdx.z")):
            if count > 1:
                rest, part = stage.split(rest, factor=count)
                stage.bind(part, thread)
        stage.unroll(rest)


def copy_lanes(run: int, element_bytes: int) -> int:
    """Give how many elements one access may move where `run` neighbours lie together from an aligned place on."""
    return gcd(VECTOR_BYTES // element_bytes, run)
