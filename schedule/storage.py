"""Where the results of stages are kept: buffers, and element addresses within them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from ..ir import arith
from ..ir.buffer import Buffer
from ..ir.expr import Const, Expr, Var
from ..ir.interval import Interval, const_bounds
from ..ir.visit import substitute
from ..te.operation import ScanOp
from .derive import ZERO, Derivation, Derived, is_loop
from .swizzle import alignment, swizzled
from .table import StageState

AUTO_LOCAL_BYTES = 32 * 1024  # attached results up to this size live on the stack

Key = tuple[str, int]  # stage id, component


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """The buffer of one result and how the tensor's indices become the buffer's.

    start   the tensor's index of the buffer's first element, along each dimension
    layout  (the tensor's dimensions as variables, the buffer's indices in terms of them), or None
    turn    which of two copies is in use, or None
    """

    buffer: Buffer
    start: tuple[Expr, ...]
    layout: tuple[tuple[Var, ...], tuple[Expr, ...]] | None = None
    turn: Expr | None = None

    def local(self, dimension: int, index: Expr) -> Expr:
        """Give an index of a tensor's element along one dimension, counted from where the buffer begins."""
        start = self.start[dimension]
        return index if start is ZERO else arith.sub(index, start)

    def indices(
        self, index: tuple[Expr, ...], local_of: Callable[[Store, int, Expr], Expr] | None = None
    ) -> tuple[Expr, ...]:
        """Give the buffer's indices of a tensor's element.

        local_of  gives what `local` does, where the caller remembers it
        """
        of = local_of or Store.local
        local = tuple([of(self, dimension, i) for dimension, i in enumerate(index)])
        if self.layout is not None:
            dims, new = self.layout
            local = tuple(substitute(e, dict(zip(dims, local, strict=True))) for e in new)
        return local if self.turn is None else (self.turn, *local)


def stores_of(result: Derivation, params: Mapping[Key, Buffer]) -> dict[Key, Store]:
    """Give the store of every result.

    params  the buffers of the caller's tensors; other results get buffers of their own, and the parts of a scan
            share the buffer of its result
    """
    stores: dict[Key, Store] = {}
    for key, buffer in params.items():
        stores[key] = Store(buffer, (ZERO,) * len(buffer.shape))
    taken = {b.name for b in params.values()}
    for stage in result.table.stages.values():
        for component in range(stage.op.num_outputs):
            key = (stage.id, component)
            if key not in stores and not stage.is_placeholder:
                stores[key] = _store(result, result.stages[stage.id], component, taken)
    for stage in result.table.stages.values():
        if stage.scan is not None:
            _share(result, stage.id, stage.scan, stores)
    return stores


def _share(result: Derivation, scan: str, op: ScanOp, stores: dict[Key, Store]) -> None:
    for parts in (op.init, op.update, op.state):
        for component, tensor in enumerate(parts):
            whole = stores[scan, component]
            stores[result.table.aliases[id(tensor.op)], tensor.component] = whole


def _store(result: Derivation, derived: Derived, component: int, taken: set[str]) -> Store:
    stage = derived.stage
    shape, dtype = stage.op.results[component]
    attached = stage.attached is not None
    start = derived.region.start if attached and derived.region.start else (ZERO,) * len(shape)
    extent = derived.region.extent if attached and derived.region.extent else shape
    name = stage.id if component == 0 else f"{stage.id}_v{component}"
    while name in taken:
        name += "_"
    taken.add(name)
    layout, extent = _laid_out(stage, extent, dtype.bytes)
    strides = _strides(stage, extent)
    copies = copies_of(result, stage)
    turn = arith.floormod(derived.enclosing[-1], copies) if copies > 1 else None
    if turn is not None:
        if strides is not None:
            strides = (arith.mul(strides[0], extent[0]), *strides)
        extent = (arith.const(copies), *extent)
    scope = result.scope_of(stage) or _automatic_scope(attached, extent, dtype.bytes)
    return Store(Buffer(name, extent, dtype, scope, strides, alignment(stage)), start, layout, turn)


def _automatic_scope(attached: bool, extent: tuple[Expr, ...], element_bytes: int) -> str:
    sizes = [int(e.value) for e in extent if isinstance(e, Const)]
    fits = len(sizes) == len(extent) and prod(sizes) * element_bytes <= AUTO_LOCAL_BYTES
    return "local" if attached and fits else "global"


def _laid_out(
    stage: StageState, extent: tuple[Expr, ...], element_bytes: int
) -> tuple[tuple[tuple[Var, ...], tuple[Expr, ...]] | None, tuple[Expr, ...]]:
    if stage.storage.swizzle:
        return swizzled(stage, extent, element_bytes)
    new = stage.storage.layout
    if new is None:
        return None, extent
    dims = tuple(a.var for a in stage.op.axis)
    ranges = {v: Interval(ZERO, arith.sub(e, 1)) for v, e in zip(dims, extent, strict=True)}
    sizes: list[Expr] = []
    for expression in new:
        low, high = const_bounds(expression, ranges)
        assert low is not None and high is not None and low >= 0, "checked when the step was taken"
        sizes.append(arith.const(high + 1))
    return (dims, new), tuple(sizes)


def _strides(stage: StageState, extent: tuple[Expr, ...]) -> tuple[Expr, ...] | None:
    """Give the strides that storage_align asks for, or None for row-major without gaps.

    In a new layout they are those of the dimensions that stand in it whole.
    """
    aligns: dict[Expr, tuple[int, int]] = {a.var: (f, o) for a, f, o in stage.storage.aligns}
    if not aligns:
        return None
    dims: tuple[Expr, ...] = stage.storage.layout or tuple(a.var for a in stage.op.axis)
    strides: list[Expr] = []
    stride: Expr = arith.const(1)
    for dim, size in zip(reversed(dims), reversed(extent), strict=True):
        if dim in aligns:
            factor, offset = aligns[dim]
            gap = arith.floormod(arith.sub(offset, arith.floormod(stride, factor)), factor)
            stride = arith.add(stride, gap)
        strides.append(stride)
        stride = arith.mul(stride, size)
    return tuple(reversed(strides))


def copies_of(result: Derivation, stage: StageState) -> int:
    """Give how many copies of a stage's results there are, used in turn by the iterations of the loop around it."""
    at = stage.attached
    if at is None or not result.stages[stage.id].enclosing:
        return 1
    host = result.stages[at.stage]
    if not is_loop(host.loops[at.axis]) or host.stage.loop(at.axis).thread:  # threads do not come in turn
        return 1
    if stage.storage.double_buffer:
        return 2
    pipelined = host.stage.loop(at.axis).stages
    return pipelined if pipelined and result.scope_of(stage) == "shared" else 1
