"""What one thread of a kernel does, counted: its accesses to memory with their addresses, its arithmetic, its arrays.

An access in a loop counts once for each step, but for loops that are written out: there, what does not depend on the
loop's variable is loaded once and kept in a register.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ....ir import expr as e
from ....ir import stmt as s
from ....ir.arith import int_value
from ....ir.buffer import Buffer
from ....ir.gpu import WARP
from ....ir.intrinsics import INTRINSICS, Effect
from ....ir.visit import variables
from ..kernel import Kernel
from .lanes import Lanes, Values

WIDEST = 16  # bytes that one lane loads or stores at a time
WORD = 4  # bytes
MATRIX_ROW = 16  # bytes of a row of an 8x8 matrix of 16-bit elements: what ldmatrix takes from each lane


@dataclass(frozen=True, slots=True, eq=False)
class Access:
    """One instruction that reads or writes memory.

    kind     "load", "store", or the intrinsic's name
    bytes    that each lane moves
    trips    how often a thread executes it
    offsets  (points, 32) bytes from the start of the buffer
    active   (points, 32) lanes that take part
    """

    buffer: Buffer
    kind: str
    bytes: int
    trips: float
    offsets: np.ndarray
    active: np.ndarray

    @property
    def share(self) -> float:
        """Give the share of the lanes that take part, from 0 to 1."""
        return float(self.active.mean())


@dataclass(slots=True)
class Traffic:
    """The counts of one kernel, for one thread where nothing else is said.

    flops        arithmetic on values; a fused multiply-add is two, a product of matrices its warp's share
    statements   with loops written out that are marked so
    local_bytes  of arrays that are alive at a time
    barriers     executed
    blocks       of the grid
    bulk_bytes   that bulk copies bring to the shared memory of a block
    """

    accesses: list[Access]
    blocks: float = 1.0
    bulk_bytes: float = 0.0
    flops: float = 0.0
    statements: int = 0
    local_bytes: float = 0.0
    barriers: float = 0.0


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the walk is.

    trips     steps of the enclosing loops, those that are written out apart
    unrolled  loops that are written out: variable and extent
    vector    the vectorized loop: variable and lanes
    active    lanes that get here
    """

    active: np.ndarray
    trips: float = 1.0
    unrolled: tuple[tuple[e.Var, int], ...] = ()
    vector: tuple[e.Var, int] | None = None

    @property
    def copies(self) -> int:
        """Give how many copies of a statement the written-out loops make."""
        return prod(extent for _, extent in self.unrolled)


def traffic(kernel: Kernel) -> Traffic:
    """Count what `kernel` does."""
    walk = _Walk(kernel)
    with np.errstate(all="ignore"):
        walk.found.local_bytes = walk.stmt(kernel.body, _Place(walk.lanes.active))
    return walk.found


class _Walk:
    """One pass over a kernel; statements give the bytes of the local arrays that they need at a time."""

    def __init__(self, kernel: Kernel) -> None:
        self.lanes = Lanes(kernel)
        self._variables: dict[int, tuple[e.Expr, set[e.Var]]] = {}
        self._strides: dict[Buffer, tuple[int, ...]] = {}
        self.found = Traffic([], float(prod(map(self.size, kernel.grid))))

    # -- statements -----------------------------------------------------------------------------------------------

    def stmt(self, stmt: s.Stmt, place: _Place) -> float:
        """Count a statement."""
        return _STATEMENTS[type(stmt)](self, stmt, place)

    def seq(self, stmt: s.Seq, place: _Place) -> float:
        """Count statements in order: their arrays are not alive together."""
        return max((self.stmt(inner, place) for inner in stmt.body), default=0.0)

    def loop(self, stmt: s.For, place: _Place) -> float:
        """Count a loop's body for each of its steps."""
        extent = self.size(stmt.extent)
        self.lanes.loop(stmt.var, stmt.extent)
        match stmt.kind:
            case s.ForKind.VECTORIZED:
                inner = _Place(place.active, place.trips, place.unrolled, (stmt.var, extent))
            case s.ForKind.UNROLLED:
                inner = _Place(place.active, place.trips, (*place.unrolled, (stmt.var, extent)), place.vector)
            case _:
                inner = _Place(place.active, place.trips * extent, place.unrolled, place.vector)
        return self.stmt(stmt.body, inner)

    def branch(self, stmt: s.If, place: _Place) -> float:
        """Count each side for the lanes that take it."""
        holds = self.condition(stmt.condition, place)
        then = self.stmt(stmt.then, self.narrowed(place, holds))
        if stmt.otherwise is None:
            return then
        return max(then, self.stmt(stmt.otherwise, self.narrowed(place, np.logical_not(holds))))

    def condition(self, condition: e.Expr, place: _Place) -> Values:
        """Give where a condition holds, and count it if it depends on memory: others are as cheap as indices."""
        holds = self.lanes.holds(condition)
        if self.lanes.met:
            self.lanes.met.clear()
            self.value(condition, place)
        return holds

    def narrowed(self, place: _Place, condition: Values) -> _Place:
        """Give the place inside a condition; one that holds at no point of ours tells nothing, so it is passed over."""
        active = place.active & condition
        return _Place(active if active.any() else place.active, place.trips, place.unrolled, place.vector)

    def allocate(self, stmt: s.Allocate, place: _Place) -> float:
        """Count an array and what is done while it is there."""
        buffer = stmt.buffer
        own = prod(map(self.size, buffer.shape)) * buffer.dtype.bytes / _SHARED_BY.get(buffer.scope, 1)
        return self.stmt(stmt.body, place) + (own if buffer.scope != "shared" else 0)

    def let(self, stmt: s.Let, place: _Place) -> float:
        """Count a value that is computed once."""
        self.lanes.let(stmt.var, self.condition(stmt.value, place))
        return self.stmt(stmt.body, place) + stmt.var.dtype.bytes

    def store(self, stmt: s.Store, place: _Place) -> float:
        """Count the store of a value."""
        self.found.statements += place.copies
        self.value(stmt.value, place)
        self.access("store", stmt.buffer, stmt.indices, place)
        return 0.0

    def evaluate(self, stmt: s.Evaluate, place: _Place) -> float:
        """Count a call."""
        self.found.statements += place.copies
        self.value(stmt.value, place)
        return 0.0

    # -- values ---------------------------------------------------------------------------------------------------

    def value(self, expr: e.Expr, place: _Place) -> None:
        """Count the loads and the arithmetic of a value."""
        cls = type(expr)
        if cls is e.Const or cls is e.Var:
            return
        if cls is e.Load:
            self.access("load", expr.buffer, expr.indices, place)  # type: ignore[attr-defined]
        elif cls is e.Call:
            self.call(expr, place)  # type: ignore[arg-type]
        elif cls is e.IfThenElse or cls is e.Select:
            self.choice(expr, place)
        elif cls is e.Cast or cls is e.Not:
            self.value(expr.value if cls is e.Cast else expr.a, place)  # type: ignore[attr-defined]
        else:
            self.arithmetic(place)
            self.value(expr.a, place)  # type: ignore[attr-defined]
            self.value(expr.b, place)  # type: ignore[attr-defined]

    def arithmetic(self, place: _Place, flops: float = 1.0) -> None:
        """Count operations."""
        lanes = 1 if place.vector is None else place.vector[1]
        self.found.flops += flops * place.trips * place.copies * lanes * float(place.active.mean())

    def choice(self, expr: Any, place: _Place) -> None:
        """Count both values of a choice; a branch that may not be taken only for the lanes that take it."""
        holds = self.condition(expr.condition, place)
        if type(expr) is e.Select:
            self.value(expr.then, place)
            self.value(expr.otherwise, place)
            return
        self.value(expr.then, self.narrowed(place, holds))
        self.value(expr.otherwise, self.narrowed(place, np.logical_not(holds)))

    def call(self, call: e.Call, place: _Place) -> None:
        """Count a call by the tables of what intrinsics move and compute."""
        self.found.barriers += place.trips * place.copies * (call.name in _BARRIERS)
        if call.name == "mbar_expect_tx":  # one thread says for all what the copies that it starts will bring
            self.found.bulk_bytes += place.trips * place.copies * self.size(call.args[1])
        self.arithmetic(place, _flops(call))
        for position, lanes in _MOVES.get(call.name, ()):
            where = call.args[position]
            moved = int_value(call.args[2]) or WORD if call.name == "cp_async" else _MOVED.get(call.name, MATRIX_ROW)
            if type(where) is e.Address and where.buffer.scope in _MEMORIES:
                taking = place if lanes == WARP else self.narrowed(place, np.arange(WARP) < lanes)
                offsets = self.offsets(where.buffer, where.indices)
                self.record(call.name, where.buffer, where.indices, offsets, moved, taking)
        for argument in call.args:
            if type(argument) is not e.Address:
                self.value(argument, place)

    # -- accesses -------------------------------------------------------------------------------------------------

    def access(self, kind: str, buffer: Buffer, indices: tuple[e.Expr, ...], place: _Place) -> None:
        """Count a load or a store: whole vectors where the lanes of the vectorized loop are neighbours in memory."""
        if buffer.scope not in _MEMORIES:
            return
        size = buffer.dtype.bytes
        if place.vector is None:
            self.record(kind, buffer, indices, self.offsets(buffer, indices), size, place)
            return
        var, count = place.vector
        self.lanes.let(var, 1)
        second = self.offsets(buffer, indices)
        self.lanes.let(var, 0)
        self.lanes.met.clear()
        first = self.offsets(buffer, indices)
        width, pieces = size, float(count)
        if np.all(second == first):
            pieces = 1.0
        elif np.all(second - first == size):
            width = _width(np.asarray(first), count * size)
            pieces = count * size / width
        inner = _Place(place.active, place.trips * pieces, place.unrolled)
        self.record(kind, buffer, indices, first, width, inner)

    def record(
        self, kind: str, buffer: Buffer, indices: tuple[e.Expr, ...], offsets: Values, width: int, place: _Place
    ) -> None:
        """Note an access of `width` bytes by each active lane, and those that its indices make."""
        trips = place.trips * self.repeats(indices, place)
        everywhere = np.broadcast_to(offsets, place.active.shape)
        self.found.accesses.append(Access(buffer, kind, width, trips, everywhere, place.active))
        while self.lanes.met:
            load = self.lanes.met.pop()
            self.access("load", load.buffer, load.indices, place)

    def offsets(self, buffer: Buffer, indices: tuple[e.Expr, ...]) -> Values:
        """Give the places of an element in bytes."""
        strides = self._strides.get(buffer)
        if strides is None:
            strides = self._strides[buffer] = self.strides(buffer)
        return sum(self.lanes(i) * k for i, k in zip(indices, strides, strict=True)) * buffer.dtype.bytes

    def strides(self, buffer: Buffer) -> tuple[int, ...]:
        """Give the strides of a buffer in elements."""
        if buffer.strides is not None:
            return tuple(map(self.size, buffer.strides))
        shape = [self.size(extent) for extent in buffer.shape]
        return tuple(prod(shape[place + 1 :]) for place in range(len(shape)))

    def repeats(self, indices: tuple[e.Expr, ...], place: _Place) -> int:
        """Give how many different copies of an access the written-out loops make."""
        used: set[e.Var] = set()
        for index in indices if place.unrolled else ():
            known = self._variables.get(id(index))
            if known is None:
                known = self._variables[id(index)] = (index, variables(index))
            used |= known[1]
        return prod(extent for var, extent in place.unrolled if var in used)

    def size(self, expr: e.Expr) -> int:
        """Give a size as a number; a usual one where it is none."""
        value = int_value(expr)
        if value is None:
            value = int(np.max(self.lanes(expr)))
        return max(1, value)


def _width(offsets: np.ndarray, total: int) -> int:
    """Give the widest access that divides `total` bytes and the offsets of all lanes."""
    width = WIDEST
    while total % width or np.any(offsets % width):
        width //= 2
    return width


def _flops(call: e.Call) -> float:
    known = _PRODUCTS.get(call.name)
    if known is not None:
        return known
    if call.name in _WARPGROUP_PRODUCTS:
        return 2.0 * 64 * 16 * (int_value(call.args[4]) or 8) / (4 * WARP)
    if call.name in _FREE:
        return 0.0
    intrinsic = INTRINSICS.get(call.name)
    return 1.0 if intrinsic is not None and intrinsic.effect is Effect.PURE else 0.0


_MEMORIES = frozenset({"global", "shared"})
_SHARED_BY = {"warp": 32, "warpgroup": 128}  # threads that hold one buffer of the scope together
_BARRIERS = frozenset({"barrier", "barrier_named", "cluster_barrier"})
_MOVED = {"load_word": WORD}  # bytes that one lane moves
_MOVES = {  # positions of the arguments that are addresses in memory, and how many lanes give one
    "cp_async": ((0, 32), (1, 32)),
    "load_word": ((0, 32),),
    "ldmatrix_x4": ((1, 32),),
    "ldmatrix_x4_trans": ((1, 32),),
    "ldmatrix_x2": ((1, 16),),
    "ldmatrix_x2_trans": ((1, 16),),
    "stmatrix_x4": ((0, 32),),
}
_PRODUCTS = {  # operations of one thread
    "fma": 2.0,
    "dp4a_s8s8": 8.0,
    "dp4a_u8s8": 8.0,
    **dict.fromkeys(("mma_m16n8k16_f16", "mma_m16n8k16_bf16"), 2.0 * 16 * 8 * 16 / WARP),
    "mma_m16n8k8_tf32": 2.0 * 16 * 8 * 8 / WARP,
    "mma_m16n8k32_s8": 2.0 * 16 * 8 * 32 / WARP,
}
_WARPGROUP_PRODUCTS = frozenset({"wgmma_f16", "wgmma_bf16"})
_FREE = frozenset({
    "reinterpret", "to_tf32", "shuffle", "shuffle_xor", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not",
    "shift_left", "shift_right", "wgmma_desc",
})  # fmt: skip
_STATEMENTS: dict[type, Callable[[_Walk, Any, _Place], float]] = {
    s.Seq: _Walk.seq,
    s.For: _Walk.loop,
    s.If: _Walk.branch,
    s.Allocate: _Walk.allocate,
    s.Let: _Walk.let,
    s.Store: _Walk.store,
    s.Evaluate: _Walk.evaluate,
}
