"""Clusters: blocks that run at the same time and load what several of them need once, each a part of it for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from ....ir import arith
from ....ir.buffer import Buffer
from ....ir.errors import CodegenError
from ....ir.expr import Address, Call, Expr
from ....ir.gpu import MOST_CLUSTER
from ....ir.stmt import For, ForKind, Stmt
from ....ir.visit import statements, variables
from ..kernel import BLOCK_AXES, BLOCK_VARS
from .tma import Box, Boxes

Triple = tuple[int, int, int]
ALONE: Triple = (1, 1, 1)
MARK = "cluster"  # annotates the loop over the blocks of a cluster


def cluster_of(nest: Stmt, grid: Mapping[str, Expr]) -> Triple:
    """Give the blocks of a cluster along x, y and z: all of an axis whose loop is marked, 1 of another.

    Raises CodegenError for an axis that has other blocks too, and for more blocks than a GPU puts in a cluster.
    """
    sizes: dict[str, int] = dict.fromkeys(BLOCK_AXES, 1)
    for loop in (s for s in statements(nest) if type(s) is For and s.kind is ForKind.THREAD):
        if any(a.name == MARK for a in loop.annotations):
            size = arith.int_value(grid[loop.thread])
            if size is None or not arith.is_const(loop.extent, size):
                fact = f"loop {loop.var.name} of {loop.extent} is a cluster among {grid[loop.thread]} blocks"
                raise CodegenError("cluster", fact, advice=f"no other loop on {loop.thread}")
            sizes[loop.thread] = size
    x, y, z = sizes.values()
    if x * y * z > MOST_CLUSTER:
        fact = f"a cluster of {x} x {y} x {z} blocks, and a GPU has room for {MOST_CLUSTER}"
        raise CodegenError("cluster", fact, advice="smaller clusters")
    return x, y, z


@dataclass(frozen=True, slots=True)
class Cluster:
    """The blocks of a cluster; their numbers count x fastest."""

    size: Triple = ALONE

    @property
    def blocks(self) -> int:
        """Give their number."""
        return prod(self.size)

    def copies(self, boxes: Boxes, box: Box, full: Address) -> list[Call]:
        """Give the calls of a bulk copy, of which this block issues its part where others load the same."""
        used = {v for c in box.coordinates for v in variables(c)}
        shared = [d for d, n in enumerate(self.size) if n > 1 and BLOCK_VARS[d] not in used]
        peers = prod(self.size[d] for d in shared)
        part = boxes.part(box, peers, self.number(shared)) if peers > 1 and len(box.coordinates) == 2 else None
        if part is None:
            return [load_call(box, full)]
        return [load_call(part, full, self.mask(shared))]

    def number(self, shared: list[int]) -> Expr:
        """Give the number of this block among those that differ in the given axes alone."""
        total: Expr = arith.const(0)
        step = 1
        for d in shared:
            total = arith.add(total, arith.mul(BLOCK_VARS[d], step))
            step *= self.size[d]
        return total

    def mask(self, shared: list[int]) -> Expr:
        """Give the blocks that differ from this one in the given axes alone, as the bits of their numbers."""
        numbers = [0]
        own: Expr = arith.const(0)
        step = 1
        for d, n in enumerate(self.size):
            if d in shared:
                numbers = [first + step * i for i in range(n) for first in numbers]
            elif n > 1:
                own = arith.add(own, arith.mul(BLOCK_VARS[d], step))
            step *= n
        bits = arith.const(sum(1 << number for number in numbers))
        return bits if arith.is_const(own, 0) else arith.bitwise("shift_left", bits, own)


def load_call(box: Box, full: Address, mask: Expr | None = None) -> Call:
    """Give the call that issues a bulk copy."""
    handle: Buffer = box.described.handle
    arguments = (Address(box.buffer, box.to), Address(handle, ()), full, *reversed(box.coordinates))
    name = f"tma_load_{len(box.coordinates)}d"
    if mask is None:
        return Call(name, arguments, arith.const(0).dtype)
    return Call(f"{name}_multicast", (*arguments, mask), arith.const(0).dtype)
