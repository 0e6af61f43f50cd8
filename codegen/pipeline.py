"""The lowering pipelines, one per kind of target, to be read from top to bottom, and the driver that runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

from ..ir.collector import at_rest
from ..ir.errors import CodegenError
from ..ir.stmt import Function, Stmt
from ..ir.target import Target
from .passes.hoist import HoistConditions
from .passes.partition import PartitionLoops
from .passes.promote import PromoteAccumulators
from .passes.unroll import UnrollByPragma, UnrollTiles
from .passes.whole import SeparateWholeTiles


class Pass(Protocol):
    """One rewriting of a whole kernel body; its options are its fields."""

    def __call__(self, body: Stmt, target: Target) -> Stmt:
        """Give the rewritten body; the same object where nothing changed."""
        ...


PIPELINES: dict[str, tuple[Pass, ...]] = {
    "llvm": (
        UnrollByPragma(),
        PartitionLoops(),
        HoistConditions(),
        PromoteAccumulators(),
        UnrollTiles(),
        SeparateWholeTiles(),
    ),
    "c": (
        UnrollByPragma(),
        PartitionLoops(),
        HoistConditions(),
    ),
}


@dataclass(frozen=True, slots=True)
class Observation:
    """What one pass did.

    name      class name of the pass
    function  the kernel after it
    changed   whether it is another one than before
    seconds   time that the pass took
    """

    name: str
    function: Function
    changed: bool
    seconds: float


def lower(function: Function, target: Target, observe: Callable[[Observation], None] | None = None) -> Function:
    """Run the pipeline of the target's kind over a kernel.

    observe  called after each pass, to print, time or verify
    Raises CodegenError for a kind of target without a pipeline.
    """
    passes = PIPELINES.get(target.kind)
    if passes is None:
        raise CodegenError("lower", f"no pipeline for target kind {target.kind!r}", advice=f"{' or '.join(PIPELINES)}")
    with at_rest():
        for step in passes:
            start = perf_counter()
            body = step(function.body, target)
            changed = body is not function.body
            if changed:
                function = replace(function, body=body)
            if observe is not None:
                observe(Observation(type(step).__name__, function, changed, perf_counter() - start))
    return function
