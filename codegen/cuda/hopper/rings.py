"""Rings of stages in shared memory, filled by bulk copies and emptied by those that compute from them.

A slot of a ring is full when its bytes have arrived, and empty when all that read it are done.  Two mbarriers for each
slot say so; their phases end in turn, so that a wait names the parity of the phase that it waits for.  Where the next
slot is, and in which phase, counts on for as long as a kernel runs, over whatever loops there are around.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ....ir import arith
from ....ir.affine import affine_of
from ....ir.buffer import Buffer
from ....ir.dtype import int32, uint64
from ....ir.errors import CodegenError
from ....ir.expr import Address, Call, Const, Expr, Load, Var
from ....ir.simplify import simplify
from ....ir.stmt import Allocate, Evaluate, For, ForKind, If, Let, Seq, Stmt, Store, seq
from ....ir.visit import Node, of_kind, rewrite, statements, substitute, variables, with_fields
from ...passes.names import Names
from ..kernel import THREAD_VARS, Kernel, effect
from .clusters import Cluster
from .tma import Box, Boxes

TRANSPORT = "tma"


def rings_in(stmt: Stmt) -> list[For]:
    """Give the loops whose stages are filled by bulk copies."""
    return [s for s in statements(stmt) if type(s) is For and s.kind is ForKind.PIPELINED and _is_ring(s)]


def _is_ring(loop: For) -> bool:
    return any(a.name == "transport" and a.value == TRANSPORT for a in loop.annotations)


def ring_buffers(stmt: Stmt) -> frozenset[str]:
    """Give the names of the buffers that the mbarriers of rings keep in order."""
    return frozenset(s.buffer.name for ring in rings_in(stmt) for s in _filling(ring.body))


def _filling(stmt: Stmt) -> list[Store]:
    return [s for s in statements(stmt) if type(s) is Store and s.buffer.scope == "shared"]


def mark(loop: For, name: str) -> int:
    """Give the number that a loop is annotated with, 0 without."""
    return next((int(a.value) for a in loop.annotations if a.name == name), 0)


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """Which slot comes next, and the parity of its phase; each thread counts for itself."""

    slot: Buffer
    phase: Buffer

    @property
    def here(self) -> Load:
        """Give the slot."""
        return Load(self.slot, (Const(0),))

    @property
    def parity(self) -> Load:
        """Give the parity of its phase."""
        return Load(self.phase, (Const(0),))

    def started(self, body: Stmt) -> Stmt:
        """Give `body` with the turn before it at slot 0."""
        zero = seq(*(Store(b, (Const(0),), Const(0)) for b in (self.slot, self.phase)))
        return Allocate(self.slot, Allocate(self.phase, seq(zero, body)))

    def next(self, stages: int) -> Stmt:
        """Go on to the next slot."""
        first = (Const(0),)
        around = seq(Store(self.slot, first, Const(0)), Store(self.phase, first, arith.sub(1, self.parity)))
        return seq(Store(self.slot, first, arith.add(self.here, 1)), If(arith.eq(self.here, stages), around))


@dataclass(slots=True)
class Ring:
    """One ring of a kernel.

    loop     the loop whose iterations take turns
    boxes    the copies of one iteration
    work     what an iteration computes
    """

    kernel: Kernel
    loop: For
    maker: Boxes
    names: Names
    cluster: Cluster
    boxes: list[Box] = field(init=False)
    work: Stmt = field(init=False)
    full: Buffer = field(init=False)
    empty: Buffer = field(init=False)

    def __post_init__(self) -> None:
        copies, self.work = _taken_apart(self.loop.body)
        if not copies:
            fact = f"nothing fills shared memory in loop {self.loop.var.name}"
            raise CodegenError("tma", fact, advice="compute_at a cache_read in the loop")
        self.boxes = [box for nest in copies for box in self.maker.of(nest)]
        shape = (Const(self.stages),)
        self.full = Buffer(self.names.fresh("full"), shape, uint64, "shared")
        self.empty = Buffer(self.names.fresh("empty"), shape, uint64, "shared")

    @property
    def stages(self) -> int:
        """Give the number of slots."""
        return mark(self.loop, "stages")

    @property
    def buffers(self) -> frozenset[Buffer]:
        """Give what is kept in the ring."""
        return frozenset(box.buffer for box in self.boxes)

    @property
    def multiplies(self) -> bool:
        """Tell whether warpgroups compute products from the ring."""
        return any(c.name.startswith("wgmma") for c in of_kind(self.work, Call))

    @property
    def by_warpgroups(self) -> bool:
        """Tell whether nothing but their products reads the ring."""
        return self.multiplies and not any(n.buffer in self.buffers for n in of_kind(self.work, Load))

    def turn(self) -> Turn:
        """Give a new turn."""
        one = (Const(1),)
        slot = Buffer(self.names.fresh("slot"), one, int32, "local")
        return Turn(slot, Buffer(self.names.fresh("phase"), one, int32, "local"))

    # -- statements -----------------------------------------------------------------------------------------------

    def prepared(self, readers: int, block: tuple[int, int, int]) -> Stmt:
        """Set the mbarriers up, by the first thread of the block, for so many arrivals that empty a slot."""
        var = Var(self.names.fresh("s"), int32, 0)
        arrivals = readers * self.cluster.blocks
        init = seq(
            effect("mbar_init", Address(self.full, (var,)), 1),
            effect("mbar_init", Address(self.empty, (var,)), arrivals),
        )
        loop = For(var, Const(self.stages), init, ForKind.UNROLLED)
        meeting = effect("cluster_barrier" if self.cluster.blocks > 1 else "barrier")
        return seq(If(first_thread(block), seq(loop, effect("mbar_fence_init"))), meeting)

    def fill(self, turn: Turn, iteration: Expr) -> Stmt:
        """Issue the copies of an iteration, by one thread, once the slot is empty."""
        full, empty = Address(self.full, (turn.here,)), Address(self.empty, (turn.here,))
        calls = [c for box in self.boxes for c in self.cluster.copies(self.maker, box, full)]
        copies = seq(*(self.at(Evaluate(call), turn.here, iteration) for call in calls))
        arriving = sum(box.bytes for box in self.boxes)
        return seq(
            effect("mbar_wait", empty, arith.sub(1, turn.parity)),
            effect("mbar_expect_tx", full, arriving),
            copies,
            turn.next(self.stages),
        )

    def used(self, turn: Turn) -> Stmt:
        """Compute one iteration, once the slot is full, and say that it, or the one before it, is empty."""
        wait = effect("mbar_wait", Address(self.full, (turn.here,)), turn.parity)
        work = self.at(self.work, turn.here, self.loop.var)
        if not self.multiplies:
            return seq(wait, work, self.release(turn.here), turn.next(self.stages))
        start, stop = effect("wgmma_fence"), effect("wgmma_commit")
        if not self.overlaps:
            done = effect("wgmma_wait", 0)
            return seq(wait, start, work, stop, done, self.release(turn.here), turn.next(self.stages))
        before = arith.select(arith.eq(turn.here, 0), self.stages - 1, arith.sub(turn.here, 1))
        freed = If(arith.lt(0, self.loop.var), self.release(before))
        return seq(wait, start, work, stop, effect("wgmma_wait", 1), freed, turn.next(self.stages))

    def ended(self, turn: Turn) -> Stmt | None:
        """Wait for the products that are under way after the last iteration."""
        if not self.multiplies or not self.overlaps:
            return None
        before = arith.select(arith.eq(turn.here, 0), self.stages - 1, arith.sub(turn.here, 1))
        return seq(effect("wgmma_wait", 0), self.release(before))

    @property
    def overlaps(self) -> bool:
        """Tell whether products may be under way from one iteration to the next: nothing else uses their registers."""
        registers = {c.args[0].buffer for c in of_kind(self.work, Call) if c.name in PRODUCTS}  # type: ignore[attr-defined]
        return not any(n.buffer in registers for n in of_kind(self.work, Load, Store))

    def release(self, slot: Expr) -> Stmt:
        """Say that a slot is empty: to all blocks that copy into it."""
        empty, blocks = Address(self.empty, (slot,)), self.cluster.blocks
        lane = THREAD_VARS[0]
        if self.by_warpgroups:
            if blocks == 1:
                return If(arith.eq(lane, 0), effect("mbar_arrive", empty))
            return If(arith.lt(lane, blocks), effect("mbar_arrive_cluster", empty, lane))
        if blocks == 1:
            return effect("mbar_arrive", empty)
        peer = Var(self.names.fresh("peer"), int32, 0)
        return For(peer, Const(blocks), effect("mbar_arrive_cluster", empty, peer), ForKind.UNROLLED)

    def readers(self, threads: int) -> int:
        """Give how many arrivals of one block empty a slot, for so many threads that compute."""
        return threads // self.kernel.block[0] if self.by_warpgroups else threads

    def at(self, stmt: Stmt, slot: Expr, iteration: Expr) -> Stmt:
        """Give a statement of the loop for an iteration, with what is in the ring in a slot."""
        wanted = simplify(arith.floormod(self.loop.var, self.stages), self.kernel.ranges)

        def rule(node: Node) -> Node | None:
            match node:
                case Load(buffer, indices) | Address(buffer, indices) if buffer in self.buffers:
                    if affine_of(simplify(indices[0], self.kernel.ranges)) != affine_of(wanted):
                        fact = f"{buffer.name} is used at [{', '.join(map(str, indices))}], not in its turn {wanted}"
                        raise CodegenError("tma", fact, advice="compute_at a loop that is pipelined itself")
                    return with_fields(node, {"indices": (IN_SLOT, *indices[1:])})
                case _:
                    return None

        made = rewrite(stmt, rule)
        return substitute(made, {IN_SLOT: slot, self.loop.var: iteration})


IN_SLOT = Var("in_slot", int32, 0)  # stands for the slot while indices are rewritten
PRODUCTS = ("wgmma_f16", "wgmma_bf16")


def first_thread(block: tuple[int, int, int]) -> Expr:
    """Give the condition of the first thread of a block."""
    used = [v for v, n in zip(THREAD_VARS, block, strict=True) if n > 1]
    return arith.logical_and(*(arith.eq(v, 0) for v in used))


def _taken_apart(stmt: Stmt) -> tuple[list[Stmt], Stmt]:
    """Give the copies into shared memory of an iteration, without conditions on threads, and the rest."""
    match stmt:
        case Seq(parts):
            found = [_taken_apart(part) for part in parts]
            rest = [rest for _, rest in found if not _is_nothing(rest)]
            return [c for copies, _ in found for c in copies], seq(*rest)
        case Allocate(body=body) | Let(body=body):
            copies, rest = _taken_apart(body)
            return copies, with_fields(stmt, {"body": rest})
        case If(condition, then, None) if variables(condition) and variables(condition) <= set(THREAD_VARS):
            copies, rest = _taken_apart(then)
            return copies, Seq(()) if _is_nothing(rest) else If(condition, rest)
        case _:
            stores = [s for s in statements(stmt) if type(s) is Store]
            fills = stores and all(s.buffer.scope == "shared" for s in stores)
            return ([stmt], Seq(())) if fills else ([], stmt)


def _is_nothing(stmt: Stmt) -> bool:
    return type(stmt) is Seq and not stmt.body
