"""Copies to shared memory in two halves: those by way of registers, and asynchronous ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd

from ....ir import arith
from ....ir.affine import affine_of
from ....ir.buffer import Buffer
from ....ir.expr import Address, Call, Cast, Const, Expr, IfThenElse, Load, Select, Var
from ....ir.interval import Ranges
from ....ir.intrinsics import INTRINSICS, Effect
from ....ir.simplify import simplify
from ....ir.stmt import Allocate, Evaluate, For, ForKind, If, Let, Seq, Stmt, Store, seq
from ....ir.visit import Node, map_children, map_statements, substitute, variables, walk, with_fields
from ...passes.names import Names
from ..kernel import effect
from ..text.expressions import offset_of
from .sites import ROW_CALLS

ADDS_TO_FIRST = ("mma_", "wgmma_f16", "wgmma_bf16")  # calls that add to the registers at their first address
COPY_BYTES = (16, 8, 4)  # of one asynchronous copy, the best first


@dataclass(frozen=True, slots=True)
class Touched:
    """The buffers that a statement reads and those that it writes."""

    reads: frozenset[Buffer]
    writes: frozenset[Buffer]


def touched(stmt: Stmt) -> Touched:
    """Give the buffers that a statement reads, and those that it writes."""
    reads: set[Buffer] = set()
    writes: set[Buffer] = set()
    for node in walk(stmt):
        match node:
            case Load(buffer=buffer):
                reads.add(buffer)
            case Store(buffer=buffer):
                writes.add(buffer)
            case Call(name=name, args=args):
                given = [a.buffer for a in args if type(a) is Address]
                if name == "cp_async" or any(name.startswith(stem) for stem in ROW_CALLS):
                    writes.add(given[0])
                    reads.update(given[1:])
                elif name.startswith("mma_"):  # the first matrix += the product of the others
                    writes.add(given[0])
                    reads.update(given)
                else:
                    known = INTRINSICS.get(name)
                    reads.update(given)
                    writes.update(given if known is None or known.effect is Effect.WRITES else ())
    return Touched(frozenset(reads), frozenset(writes))


def _touched_around(stmt: Stmt) -> Touched:
    """Give the buffers that a statement reads, and those that it writes, without those that live within it."""
    found, own = touched(stmt), {n.buffer for n in walk(stmt) if type(n) is Allocate}
    return Touched(found.reads - own, found.writes - own)


@dataclass(frozen=True, slots=True)
class Parts:
    """A body in two: each is the whole body without the statements of the other."""

    copies: Stmt
    rest: Stmt


def taken_apart(body: Stmt, is_target: Callable[[Buffer], bool]) -> Parts | None:
    """Give the statements of a body that fill buffers with what the others have no part in, and those; None for none.

    A statement that computes private values for such statements alone goes with them.
    """
    items = list(_items(body))
    does = {id(item): _touched_around(item) for item in items}
    fills = {id(i) for i in items if (own := does[id(i)]).writes and all(map(is_target, own.writes))}
    private = {id(i) for i in items if (own := does[id(i)]).writes and all(b.scope == "local" for b in own.writes)}
    moved = {id(item) for item in items} & (fills | private)
    while True:
        kept = {key for key in moved if _is_independent(key, moved, items, does, is_target)}
        if kept == moved:
            break
        moved = kept
    if not moved & fills:
        return None
    copies = _projected(body, lambda item: id(item) in moved)
    rest = _projected(body, lambda item: id(item) not in moved)
    return Parts(copies or Seq(()), rest or Seq(()))


def _items(stmt: Stmt) -> Iterator[Stmt]:
    """Give the statements that follow each other, allocations and conditions on variables taken apart."""
    match stmt:
        case Seq(parts):
            for part in parts:
                yield from _items(part)
        case Allocate(body=body):
            yield from _items(body)
        case If(condition, then, None) if not touched(Evaluate(condition)).reads:
            yield from _items(then)
        case _:
            yield stmt


def _is_independent(
    key: int, moved: set[int], items: list[Stmt], does: dict[int, Touched], is_target: Callable[[Buffer], bool]
) -> bool:
    """Tell whether an item may run before all that are not moved, also those of earlier iterations."""
    own = does[key]
    if own.reads & own.writes:
        return False
    passed = False
    for item in items:
        other = does[id(item)]
        if id(item) == key:
            passed = True
        elif id(item) in moved:
            needed = other.writes & own.reads
            if needed and (passed or any(buffer.scope != "local" for buffer in needed)):
                return False
        else:
            if other.writes & (own.reads | own.writes):
                return False
            if other.reads & own.writes and (not passed or not all(map(is_target, own.writes))):
                return False
    return True


def _projected(stmt: Stmt, keep: Callable[[Stmt], bool]) -> Stmt | None:
    match stmt:
        case Seq(parts):
            made = [m for part in parts if (m := _projected(part, keep)) is not None]
            return seq(*made) if made else None
        case Allocate(body=body):
            inner = _projected(body, keep)
            return None if inner is None else with_fields(stmt, {"body": inner})
        case If(condition, then, None) if not touched(Evaluate(condition)).reads:
            inner = _projected(then, keep)
            return None if inner is None else with_fields(stmt, {"then": inner})
        case _:
            return stmt if keep(stmt) else None


class Unfit(Exception):
    """A copy that cannot be done in the way that was asked for: the statement, what is wrong, and what to do."""

    def __init__(self, stmt: Stmt, fact: str, advice: str) -> None:
        super().__init__(fact)
        self.stmt, self.fact, self.advice = stmt, fact, advice


# -- by way of registers ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Staged:
    """A copy in two halves.

    load       from memory to registers
    store      from there to shared memory
    registers  one buffer for each value that is loaded
    """

    load: Stmt
    store: Stmt
    registers: tuple[Buffer, ...]


def staged(stmt: Stmt, names: Names) -> Staged:
    """Give a copy to shared memory in two halves; what is computed from the loaded values is left to the second.

    for i:                              for i:
        S[i] = f(A[i])       ->             r[i] = A[i]
                                        ...
                                        for i:
                                            S[i] = f(r[i])

    Raises Unfit for loops whose extent is no number.
    """
    stage = _Stage(names)
    load, store = stage.halves(stmt, ())
    assert store is not None, "a copy fills shared memory"
    return Staged(load or Seq(()), names.copy(store), tuple(stage.registers))


class _Stage:
    def __init__(self, names: Names) -> None:
        self.names = names
        self.registers: list[Buffer] = []

    def halves(self, stmt: Stmt, loops: tuple[For, ...]) -> tuple[Stmt | None, Stmt | None]:
        """Give both halves of a statement, None for nothing."""
        match stmt:
            case Store(buffer) if buffer.scope == "shared":
                return self.store(stmt, loops)
            case Store() | Evaluate():
                return stmt, None
            case Seq(parts):
                made = [self.halves(part, loops) for part in parts]
                first = [a for a, _ in made if a is not None]
                second = [b for _, b in made if b is not None]
                return seq(*first) if first else None, seq(*second) if second else None
            case For(extent=extent, body=body, kind=kind):
                if arith.int_value(extent) is None:
                    advice = "split the loop by a constant"
                    raise Unfit(stmt, f"the copy has a loop of extent {extent}, so it needs unknown registers", advice)
                fields = {"kind": ForKind.UNROLLED if kind is ForKind.SERIAL else kind}
                return self.both(with_fields(stmt, fields), "body", body, (*loops, stmt))
            case Allocate(body=body) | Let(body=body):
                return self.both(stmt, "body", body, loops)
            case If(then=then, otherwise=None):
                return self.both(stmt, "then", then, loops)
            case _:
                raise Unfit(stmt, "the copy has two branches", "a copy with one value")

    def both(self, stmt: Stmt, name: str, inner: Stmt, loops: tuple[For, ...]) -> tuple[Stmt | None, Stmt | None]:
        """Give both halves of a statement around another one."""
        first, second = self.halves(inner, loops)

        def around(half: Stmt | None) -> Stmt | None:
            return None if half is None else with_fields(stmt, {name: half})

        return around(first), around(second)

    def store(self, stmt: Store, loops: tuple[For, ...]) -> tuple[Stmt, Stmt]:
        """Give the loads of a store's value, and the store of what becomes of them."""
        first: list[Stmt] = []
        indices = tuple(loop.var for loop in loops) or (Const(0),)
        shape = tuple(loop.extent for loop in loops) or (Const(1),)

        def held(node: Node) -> Node:
            match node:
                case Load() | IfThenElse():
                    buffer = Buffer(self.names.fresh(f"{stmt.buffer.name}_next"), shape, node.dtype, "local")
                    self.registers.append(buffer)
                    first.append(Store(buffer, indices, node))
                    return Load(buffer, indices)
                case _:
                    return map_children(node, held)

        value = held(stmt.value)
        return seq(*first), with_fields(stmt, {"value": value})


# -- asynchronously ---------------------------------------------------------------------------------------------------


def asynchronous(stmt: Stmt, ranges: Ranges) -> Stmt:
    """Give a copy to shared memory with each of its stores as an asynchronous copy of 4, 8 or 16 bytes.

    for v in vectorized(4):                                          cp_async(&S[i*4], &A[j*4], 16,
        S[i*4 + v] = if_then_else(c, A[j*4 + v], 0.0)      ->                 select(c, 16, 0))

    Raises Unfit where the value is more than a load, where elements are no neighbours or not aligned, and for less
    than 4 bytes.
    """
    match stmt:
        case For(var, extent, Store() as store, ForKind.VECTORIZED) if arith.int_value(extent) is not None:
            return _run(stmt, store, var, arith.int_value(extent) or 1, ranges)
        case For(var, extent, If(condition, then, None), ForKind.VECTORIZED) if var not in variables(condition):
            return If(condition, asynchronous(with_fields(stmt, {"body": then}), ranges))
        case For(kind=ForKind.VECTORIZED):
            raise Unfit(stmt, "the vector loop holds more than one store", 'transport="register"')
        case Store(buffer) if buffer.scope == "shared":
            return _run(stmt, stmt, Var("lane"), 1, ranges)
        case Store(buffer):
            fact = f"the copy goes by way of {buffer.name}, which is kept in {buffer.scope} memory"
            raise Unfit(stmt, fact, 'transport="register", or a copy straight from global memory')
        case _:
            return map_statements(stmt, lambda inner: asynchronous(inner, ranges))


def _run(stmt: Stmt, store: Store, lane: Var, count: int, ranges: Ranges) -> Stmt:
    """Give the asynchronous copies that do what a store does for all lanes."""
    source, condition = _source_of(stmt, store)
    if lane in variables(condition):
        fact = f"the condition {condition} differs between the lanes of one copy"
        raise Unfit(stmt, fact, 'rows that are a multiple of the vector, or transport="register"')
    size = store.buffer.dtype.bytes
    target = _aligned(store.buffer, store.indices, lane, ranges)
    origin = _aligned(source.buffer, source.indices, lane, ranges)
    run = gcd(target, origin, count) if count > 1 else 1
    for size_bytes in COPY_BYTES:
        if size_bytes % size == 0 and run % (size_bytes // size) == 0:
            return _pieces(store, source, condition, lane, count, size_bytes)
    fact = f"{run * size} bytes at a time: {run} neighbouring elements of {store.buffer.dtype}, aligned alike"
    advice = (
        f"vectorize the copy so that 4, 8 or 16 bytes lie together in {source.buffer.name} and in "
        f'{store.buffer.name}, or transport="register"'
    )
    raise Unfit(stmt, f"an asynchronous copy moves 4, 8 or 16 bytes, this one could move {fact}", advice)


def _source_of(stmt: Stmt, store: Store) -> tuple[Load, Expr]:
    """Give what is copied, and under which condition; elsewhere the copy is of zeros."""
    match store.value:
        case Load(buffer) if buffer.scope == "global" and buffer.dtype == store.buffer.dtype:
            return store.value, Const(1)
        case IfThenElse(condition, Load(buffer) as load, Const(value=0)) if (
            buffer.scope == "global" and buffer.dtype == store.buffer.dtype
        ):
            return load, condition
        case _:
            fact = f"{store.buffer.name} is filled with {store.value}, and an asynchronous copy only moves bytes"
            advice = 'transport="register", or a stage before that computes the values'
            raise Unfit(stmt, fact, advice)


def _aligned(buffer: Buffer, indices: tuple[Expr, ...], lane: Var, ranges: Ranges) -> int:
    """Give a number of neighbours that the lanes touch from a multiple of which on; 1 where they are no neighbours."""
    form = affine_of(simplify(offset_of(buffer, indices), ranges))
    while True:  # 64-bit offsets are casts of sums
        atom = form.is_atom
        node = getattr(atom, "node", None)
        if type(node) is not Cast:
            break
        form = affine_of(node.value)
    rest = form.without(lane)
    if form.coefficient(lane) != 1 or rest.depends_on(lane):
        return 1
    unit = gcd(rest.constant, *rest.terms.values())
    most = COPY_BYTES[0] // buffer.dtype.bytes
    return (
        gcd(unit, most, buffer.align // buffer.dtype.bytes) if unit else gcd(most, buffer.align // buffer.dtype.bytes)
    )


def _pieces(store: Store, source: Load, condition: Expr, lane: Var, count: int, size_bytes: int) -> Stmt:
    """Give copies of `size_bytes` each that together cover all lanes."""
    width = size_bytes // store.buffer.dtype.bytes
    valid: Expr = Const(size_bytes)
    if type(condition) is not Const:
        valid = Select(condition, Const(size_bytes), Const(0))

    def copy(first: Expr) -> Stmt:
        here = {lane: first}
        target = Address(store.buffer, tuple(substitute(i, here) for i in store.indices))
        origin = Address(source.buffer, tuple(substitute(i, here) for i in source.indices))
        return effect("cp_async", target, origin, size_bytes, valid)

    if count == width:
        return copy(Const(0, lane.dtype))
    return For(lane, Const(count // width), copy(arith.mul(lane, width)), ForKind.UNROLLED)
