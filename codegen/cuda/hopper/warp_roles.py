"""Who does what around rings: one thread that issues copies, and those that compute; apart or together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ....ir import arith
from ....ir.buffer import Buffer
from ....ir.errors import CodegenError
from ....ir.expr import Address, Call, Const, Load, Var
from ....ir.gpu import REGISTERS
from ....ir.simplify import simplify
from ....ir.stmt import Allocate, For, If, Let, Seq, Stmt, Store, seq
from ....ir.target import Target
from ....ir.visit import Node, of_kind, rewrite, walk, with_fields
from ...passes.names import Names
from ..kernel import THREAD_VARS, BoxMap, Kernel, effect, is_effect
from ..matrices.warpgroups import WARPGROUP, require_sm_90a
from .clusters import Cluster
from .rings import Ring, first_thread, mark, ring_buffers, rings_in
from .tma import Boxes

SPECIALIZED = "warp_specialize"
CONSUMERS_MEET = 1  # number of the named barrier of those that compute; 0 is the whole block's


@dataclass(frozen=True, slots=True)
class RealiseRings:
    """Realise the loops that are pipelined with the transport "tma": bulk copies, their mbarriers, and who does what.

    for k in pipelined(n):                        if producer:                     else:
        S[k % 4] = A[k]                               for k in range(n):              for k in range(n):
        C = C + f(S[k % 4])               ->              wait until slot is empty        wait until slot is full
                                                          copy S[slot] = A[k]             C = C + f(S[slot])
                                                          go on to the next slot          slot - 1 is empty
                                                                                          go on to the next slot

    Without warp_specialize one thread of those that compute issues the copies, all but one slot ahead of the use.
    Products of warpgroups stay under way while the next ones are issued, so that a slot is empty one iteration later.
    Barriers among those that compute become named ones, where the producer does not take part.
    Needs: sm_90a; barriers planned for everything else.
    Refused: two such loops in a kernel; copies that are no boxes (see Boxes); roles for other blocks than warpgroups.
    """

    def __call__(self, kernel: Kernel, target: Target) -> Kernel:
        """Give the kernel without pipelined loops of this kind."""
        loops = rings_in(kernel.body)
        check_products(kernel, loops)
        if not loops:
            return kernel
        require_sm_90a(target, f"loop {loops[0].var.name} is filled by bulk copies")
        if len(loops) > 1:
            names = " and ".join(loop.var.name for loop in loops)
            raise CodegenError("tma", f"bulk copies fill the loops {names} of one kernel", advice="one of them alone")
        names = Names(kernel.body)
        ring = Ring(kernel, loops[0], Boxes(kernel.ranges, names), names, Cluster(kernel.cluster))
        made = _apart(kernel, ring) if mark(ring.loop, SPECIALIZED) else _together(kernel, ring)
        shared = _aligned_first((*kernel.shared, ring.full, ring.empty))
        made = replace(made, shared=shared, maps=(*kernel.maps, *_used_maps(ring, made.body)))
        return _without_unused(replace(made, body=simplify(made.body, made.ranges)))


def check_products(kernel: Kernel, loops: list[For]) -> None:
    """Refuse products of warpgroups of what no bulk copy fills."""
    filled = {name for loop in loops for name in ring_buffers(loop)}
    inside = {id(call) for loop in loops for call in of_kind(loop, Call)}
    for call in of_kind(kernel.body, Call):
        if call.name == "wgmma_desc":
            operand = next(of_kind(call, Address)).buffer
            if operand.name not in filled or id(call) not in inside:
                fact = f"wgmma reads {operand.name} outside of a loop whose bulk copies fill it"
                raise CodegenError("cuda", fact, advice='pipeline(..., transport="tma") the loop around the product')


def _together(kernel: Kernel, ring: Ring) -> Kernel:
    """Let the first thread of those that compute issue the copies."""
    issue, use, loop = ring.turn(), ring.turn(), ring.loop
    ahead = ring.stages - 1
    first = Var(ring.names.fresh("first"), loop.var.dtype, 0)
    elected = first_thread(kernel.block)
    known = If(arith.lt(first, loop.extent), ring.fill(issue, first))
    before = If(elected, For(first, Const(ahead), known))
    later = arith.add(loop.var, ahead)
    more = If(elected, If(arith.lt(later, loop.extent), ring.fill(issue, later)))
    body = seq(ring.used(use), more)
    rings = seq(before, For(loop.var, loop.extent, body), ring.ended(use))
    body = _with(kernel.body, loop, rings)
    body = seq(ring.prepared(ring.readers(kernel.threads), kernel.block), body, _end(ring))
    return replace(kernel, body=issue.started(use.started(body)))


def _apart(kernel: Kernel, ring: Ring) -> Kernel:
    """Let a warpgroup of its own issue the copies: the last one along y."""
    x, y, z = kernel.block
    if x != WARPGROUP or z != 1:
        fact = f"blocks of {x} x {y} x {z} threads, and roles are those of warpgroups"
        raise CodegenError(SPECIALIZED, fact, advice=f"{WARPGROUP} threads along x, warpgroups along y")
    turn, loop = ring.turn(), ring.loop
    use = seq(For(loop.var, loop.extent, ring.used(turn)), ring.ended(turn))
    consumer = _meeting_alone(_with(kernel.body, loop, use), kernel.threads)
    producer = _sliced(kernel.body, loop, For(loop.var, loop.extent, ring.fill(turn, loop.var)))
    assert producer is not None, "the loop is in the body"
    check_uniform(producer)
    producer = If(arith.eq(THREAD_VARS[0], 0), ring.names.copy(producer))
    few, many = mark(loop, "producer_registers"), mark(loop, "consumer_registers")
    check_registers(few, many, y)
    if few:
        producer = seq(effect("setmaxnreg_dec", few), producer)
        consumer = seq(effect("setmaxnreg_inc", many), consumer)
    roles = If(arith.eq(THREAD_VARS[1], y), producer, consumer)
    block = (x, y + 1, z)
    body = seq(ring.prepared(ring.readers(kernel.threads), block), roles, _end(ring))
    return replace(kernel, block=block, body=turn.started(body))


def _end(ring: Ring) -> Stmt | None:
    """Keep a block alive until no other block of its cluster needs its memory."""
    return effect("cluster_barrier") if ring.cluster.blocks > 1 else None


def _with(body: Stmt, loop: For, made: Stmt) -> Stmt:
    """Give the body with something in place of a loop."""
    return rewrite(body, lambda node: made if node is loop else None)


def _sliced(stmt: Stmt, loop: For, made: Stmt) -> Stmt | None:
    """Give what runs `made` in place of `loop` as often as `stmt` does, and nothing else."""
    match stmt:
        case For() if stmt is loop:
            return made
        case Seq(parts):
            found = [part for part in (_sliced(p, loop, made) for p in parts) if part is not None]
            return seq(*found) if found else None
        case Allocate(body=body):
            return _sliced(body, loop, made)
        case For(body=body) | Let(body=body):
            inner = _sliced(body, loop, made)
            return None if inner is None else with_fields(stmt, {"body": inner})
        case If(condition, then, otherwise):
            first = _sliced(then, loop, made)
            second = None if otherwise is None else _sliced(otherwise, loop, made)
            if first is None and second is None:
                return None
            return If(condition, first or Seq(()), second)
        case _:
            return None


def check_uniform(producer: Stmt) -> None:
    """Refuse copies whose place is computed by those that compute: in registers, or differently by each thread."""
    for node in walk(producer):
        match node:
            case Var() if node in THREAD_VARS:
                fact = f"what is copied, or how often, depends on {node.name}"
                raise CodegenError(SPECIALIZED, fact, advice="a loop that all threads of the block run alike")
            case _:
                pass


def check_registers(producer: int, consumer: int, consumers: int) -> None:
    """Refuse to ask for more registers than there are, as the threads would wait for them for ever."""
    total = WARPGROUP * (producer + consumers * consumer)
    if total > REGISTERS:
        fact = f"{producer} registers of a producer and {consumer} of {consumers} consumers are {total} in a block"
        advice = f"at most {REGISTERS}, such as {REGISTERS // WARPGROUP - producer} shared by the consumers"
        raise CodegenError(SPECIALIZED, fact, advice=advice)


def _meeting_alone(body: Stmt, threads: int) -> Stmt:
    """Give the part of those that compute, who meet without the producer."""

    def rule(node: Node) -> Node | None:
        if isinstance(node, Stmt) and is_effect(node, "barrier"):
            return effect("barrier_named", CONSUMERS_MEET, threads)
        return None

    return rewrite(body, rule)


def _used_maps(ring: Ring, body: Stmt) -> list[BoxMap]:
    used = {a.buffer for a in of_kind(body, Address)}
    return [m for m in ring.maker.maps if m.handle in used]


def _aligned_first(shared: tuple[Buffer, ...]) -> tuple[Buffer, ...]:
    """Give shared buffers in an order that leaves no gaps between those of large alignment."""
    return tuple(sorted(shared, key=lambda b: -b.align))


def _without_unused(kernel: Kernel) -> Kernel:
    """Give the kernel without the pointers that tensor maps stand for alone."""
    used = {n.buffer for n in of_kind(kernel.body, Load, Store, Address)}
    params = tuple(p for p in kernel.params if isinstance(p, Var) or p in used)
    return replace(kernel, params=params)
