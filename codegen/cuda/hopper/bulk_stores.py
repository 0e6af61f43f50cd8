"""Bulk stores: loops that write a box of a tensor from shared memory, as copies of the TMA unit that do the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ....ir import arith
from ....ir.errors import CodegenError
from ....ir.expr import Address, Call, Expr, Load
from ....ir.stmt import Evaluate, For, If, Stmt, Store, seq
from ....ir.target import Target
from ....ir.visit import Node, of_kind, rewrite
from ...passes.names import Names
from ..kernel import Kernel, effect, is_effect
from ..matrices.warpgroups import require_sm_90a
from .tma import Boxes

MARK = "bulk_store"  # annotates the outermost loop of a store
RANK = 2


@dataclass(frozen=True, slots=True)
class RealiseBulkStores:
    """Give loops that are marked `bulk_store` to the copy engine, which leaves out what is outside of the tensor.

    for i in range(128, bulk_store=1):           tma_store_2d(D_map, S, 0, i0)
        if i0 + i < n:                     ->    commit
            for j in range(64):                  wait until S has been read
                D[i0 + i, j] = S[i, j]

    Needs: sm_90a.  Refused: what is no box of a tensor of two dimensions (see Boxes).
    """

    def __call__(self, kernel: Kernel, target: Target) -> Kernel:
        """Give the kernel with its bulk stores, whose threads do not wait for each other yet."""
        loops = [loop for loop in of_kind(kernel.body, For) if any(a.name == MARK for a in loop.annotations)]
        if not loops:
            return kernel
        require_sm_90a(target, f"loop {loops[0].var.name} is a bulk store")
        boxes = Boxes(kernel.ranges, Names(kernel.body))
        made = {id(loop): _stores(loop, boxes) for loop in loops}
        body = rewrite(kernel.body, lambda node: made.get(id(node)))
        return replace(kernel, body=body, maps=(*kernel.maps, *boxes.maps))


@dataclass(frozen=True, slots=True)
class FenceBulkStores:
    """Show what threads have written to shared memory to the copy engine before they meet for a bulk store."""

    def __call__(self, kernel: Kernel, target: Target) -> Kernel:
        """Give the kernel with a fence before each barrier, where there are bulk stores."""
        if not any(call.name.startswith("tma_store") for call in of_kind(kernel.body, Call)):
            return kernel

        def rule(node: Node) -> Node | None:
            if isinstance(node, Stmt) and is_effect(node, "barrier"):
                return seq(effect("fence_async"), node)
            return None

        return replace(kernel, body=rewrite(kernel.body, rule))


def _stores(loop: For, boxes: Boxes) -> Stmt:
    """Give the bulk stores of a nest: the copies that would fill shared memory from there, the other way round."""
    found = boxes.of(_turned(loop, None))
    calls: list[Stmt] = []
    for box in found:
        if len(box.coordinates) != RANK:
            fact = f"{box.described.buffer.name} has {len(box.coordinates)} dimensions, and bulk stores are of {RANK}"
            raise CodegenError(MARK, fact, advice="plain stores")
        place = (Address(box.described.handle, ()), Address(box.buffer, box.to))
        call = Call(f"tma_store_{RANK}d", (*place, *reversed(box.coordinates)), arith.const(0).dtype)
        calls.append(Evaluate(call))
    return seq(*calls, effect("tma_store_commit"), effect("tma_store_wait", 0))


def _turned(stmt: Stmt, condition: Expr | None) -> Stmt:
    """Give a nest with source and target exchanged, and its conditions as those of what is not 0."""
    match stmt:
        case For(var, extent, body, kind):
            return For(var, extent, _turned(body, condition), kind)
        case If(inner, then, None):
            return _turned(then, inner if condition is None else arith.logical_and(condition, inner))
        case Store(buffer, indices, Load(source, place)) if source.scope == "shared" and buffer.scope == "global":
            value: Expr = Load(buffer, indices)
            if condition is not None:
                value = arith.if_then_else(condition, value, arith.const(0, buffer.dtype))
            return Store(source, place, value)
        case _:
            first = "\n".join(f"> {line}" for line in str(stmt).splitlines()[:4])
            fact, advice = "a bulk store moves elements as they are", 'cache_write in scope "shared", and mark the copy'
            raise CodegenError(MARK, fact, where=first, advice=advice)
