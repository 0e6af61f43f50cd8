"""Accumulators in registers: a tile that a reduction updates is held in a local buffer while the reduction runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from ...ir import arith
from ...ir.affine import affine_of
from ...ir.buffer import Buffer
from ...ir.expr import Address, Const, Expr, Load, Var
from ...ir.stmt import Allocate, For, ForKind, If, Let, Seq, Stmt, Store, seq
from ...ir.target import Target
from ...ir.visit import (
    Node,
    contains,
    inner_statements,
    map_statements,
    of_kind,
    rewrite,
    same,
    statements,
    substitute,
    variables,
    with_fields,
)
from .names import Names
from .registers import fits_registers

_TILE_KINDS = (ForKind.SERIAL, ForKind.UNROLLED, ForKind.VECTORIZED)


@dataclass(frozen=True, slots=True)
class Tile:
    """What a reduction updates: `buffer[indices]` under the loops that the indices mention.

    loops   loops inside the reduction that the indices mention, outermost first
    guards  conditions on these loops (and loops outside) under which the update happens
    """

    buffer: Buffer
    indices: tuple[Expr, ...]
    loops: tuple[For, ...]
    guards: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class PromoteAccumulators:
    """Hold the tile that a reduction loop updates in a local buffer while the loop runs.

    for j: C[i, j] = 0                              for j: acc[j] = 0
    for k:                                     ->   for k:
        for j: C[i, j] = C[i, j] + x[k, j]              for j: acc[j] = acc[j] + x[k, j]
                                                    for j: C[i, j] = acc[j]

    Without a start that directly precedes, the tile is loaded first.  Done for the outermost reduction loop whose
    tile takes at most all vector registers; the tile's loops are written out.
    Needs: nothing else in the loop reads or writes the buffer.
    """

    def __call__(self, body: Stmt, target: Target) -> Stmt:
        """Give the body with its accumulators in local buffers."""
        return _Promotion(Names(body), target).statement(body)


@dataclass
class _Promotion:
    names: Names
    target: Target

    def statement(self, stmt: Stmt) -> Stmt:
        """Promote below `stmt`."""
        match stmt:
            case Seq(body=parts):
                return self.sequence(stmt, parts)
            case For():
                tile = self.tile(stmt)
                if tile is not None:
                    return self.promoted(stmt, tile, None)
        return map_statements(stmt, self.statement)

    def sequence(self, stmt: Seq, parts: tuple[Stmt, ...]) -> Stmt:
        """Promote in a sequence, where the statement before a loop may be its start."""
        made: list[Stmt] = []
        for part in parts:
            match part:
                case For() if (tile := self.tile(part)) is not None:
                    start = _start_of(made[-1], tile) if made else None
                    if start is None:
                        made.append(self.promoted(part, tile, None))
                    else:
                        made[-1:] = [self.promoted(part, tile, *start)]
                case _:
                    made.append(self.statement(part))
        if len(made) == len(parts) and all(a is b for a, b in zip(made, parts, strict=True)):
            return stmt
        return seq(*made)

    def tile(self, loop: For) -> Tile | None:
        """Give a tile that `loop` can keep in registers, or None."""
        if loop.kind not in (ForKind.SERIAL, ForKind.PIPELINED):
            return None
        stores: dict[Buffer, Store] = {}
        private: set[Buffer] = set()  # buffers that begin anew in every iteration, or are several threads' work
        for inner in statements(loop):
            match inner:
                case For(kind=ForKind.PARALLEL):
                    return None
                case For(kind=ForKind.THREAD):  # each thread has an accumulator of its own
                    private.update(s.buffer for s in of_kind(inner, Store))
                case Store(buffer=buffer):
                    stores.setdefault(buffer, inner)
                case Allocate(buffer=buffer):
                    private.add(buffer)
        for buffer, store in stores.items():
            if buffer in private or any(loop.var in variables(i) for i in store.indices):
                continue
            if buffer.scope in ("warp", "warpgroup"):  # registers of several threads
                continue
            if buffer.scope == "local" and fits_registers(buffer, self.target):  # it is in registers anyway
                continue
            tile = _tile_of(loop, buffer)
            if tile is not None and self.fits(tile):
                return tile
        return None

    def fits(self, tile: Tile) -> bool:
        """Tell whether the tile takes at most all registers."""
        lanes = max(1, (self.target.vector_bits or 128) // max(8, 8 * tile.buffer.dtype.bytes))
        cells = 1
        for loop in tile.loops:
            extent = arith.int_value(loop.extent)
            assert extent is not None, "tile loops have constant extents"
            cells *= -(-extent // lanes) if loop.kind is ForKind.VECTORIZED else extent
        return cells <= (self.target.registers or 16)

    def promoted(self, loop: For, tile: Tile, start: Expr | None, rest: Stmt | None = None) -> Stmt:
        """Give the loop over a local copy of the tile.

        start  the value that the tile begins with, in terms of the tile's loops; None to load it
        rest   what else the statement that gave the start did
        """
        extents = tuple(x.extent for x in tile.loops)
        local = Buffer(self.names.fresh(f"{tile.buffer.name}_acc"), extents, tile.buffer.dtype, "local")
        place = tuple(x.var for x in tile.loops)
        outside = start if start is not None else Load(tile.buffer, tile.indices)
        first = self.over_tile(tile, Store(local, place, outside), guarded=type(start) is not Const)
        last = self.over_tile(tile, Store(tile.buffer, tile.indices, Load(local, place)), guarded=True)
        inside = _redirected(loop, tile, local)
        again = self.sequence(Seq((first, inside)), (first, inside))  # another accumulator of the same loop
        return Allocate(local, seq(rest, again, last))

    def over_tile(self, tile: Tile, stmt: Stmt, guarded: bool) -> Stmt:
        """Wrap a statement in fresh loops over the tile."""
        for guard in reversed(tile.guards if guarded else ()):
            stmt = If(guard, stmt)
        fresh = {x.var: self.names.variable(x.var) for x in tile.loops}
        stmt = substitute(stmt, fresh)
        for x in reversed(tile.loops):
            kind = ForKind.VECTORIZED if x.kind is ForKind.VECTORIZED else ForKind.UNROLLED
            stmt = For(fresh[x.var], x.extent, stmt, kind)
        return stmt


def _tile_of(loop: For, buffer: Buffer) -> Tile | None:
    """Give the tile of `buffer` that `loop` updates: one place per iteration of inner loops, read and written."""
    accesses = [n for n in of_kind(loop, Load, Store) if n.buffer is buffer]
    first = accesses[0]
    if any(a.buffer is buffer for a in of_kind(loop, Address)):
        return None
    if not all(_same_place(a.indices, first.indices) for a in accesses) or all(type(a) is Store for a in accesses):
        return None
    used = {v for i in first.indices for v in variables(i)}
    return _enclosing(loop, buffer, first.indices, used)


def _same_place(a: tuple[Expr, ...], b: tuple[Expr, ...]) -> bool:
    return all(x is y or affine_of(x) == affine_of(y) for x, y in zip(a, b, strict=True))


def _enclosing(loop: For, buffer: Buffer, indices: tuple[Expr, ...], used: set[Var]) -> Tile | None:
    """Find the loops and guards around the store; None where they do not allow a promotion."""
    path = _path_to_store(loop.body, buffer)
    if path is None:
        return None
    tile, reduction, guards = [], [loop.var], []
    for node in path:
        match node:
            case For(var, extent, _, kind) if var in used:
                if kind not in _TILE_KINDS or arith.int_value(extent) is None:
                    return None
                tile.append(node)
            case For(var=var, kind=kind):
                if kind is ForKind.VECTORIZED or any(t.kind is ForKind.SERIAL for t in tile):
                    return None
                reduction.append(var)
            case Let(var=var) if var in used:
                return None
            case If(condition=condition):
                guards.append(condition)
    if not _are_separable(guards, tile, reduction):
        return None
    return Tile(buffer, indices, tuple(tile), tuple(g for g in guards if not variables(g) & set(reduction)))


def _are_separable(guards: list[Expr], tile: list[For], reduction: list[Var]) -> bool:
    """Tell whether no guard mentions both the tile's and the reduction's loops, nor reads memory."""
    places = {t.var for t in tile}
    return not any((variables(g) & places and variables(g) & set(reduction)) or contains(g, Load) for g in guards)


def _path_to_store(stmt: Stmt, buffer: Buffer) -> list[Stmt] | None:
    """Give the statements from `stmt` down to the one store of `buffer`; None for several, or in an else."""
    match stmt:
        case Store(buffer=b):
            return [] if b is buffer else None
        case If(otherwise=otherwise) if otherwise is not None:
            return None
    found = [path for inner in inner_statements(stmt) if (path := _path_to_store(inner, buffer)) is not None]
    return [stmt, *found[0]] if len(found) == 1 else None


def _redirected(loop: For, tile: Tile, local: Buffer) -> For:
    """Give the loop with the tile's accesses in the local buffer, and the tile's serial loops written out."""
    place = tuple(x.var for x in tile.loops)
    tiles = set(place)

    def rule(node: Node) -> Node | None:
        match node:
            case Load(buffer=b) if b is tile.buffer:
                return Load(local, place)
            case Store(buffer=b, value=value) if b is tile.buffer:
                return Store(local, place, value)
            case For(var, kind=ForKind.SERIAL) if var in tiles:
                return with_fields(node, {"kind": ForKind.UNROLLED})
            case _:
                return None

    return cast(For, rewrite(loop, rule))


def _start_of(before: Stmt, tile: Tile) -> tuple[Expr, Stmt | None] | None:
    """Give the value that `before` stores to the whole tile, and what else it does; None where it does not."""
    loops, guards, leaf = _peeled(before)
    stores = list(of_kind(leaf, Store))
    mine = [s for s in stores if s.buffer is tile.buffer]
    if len(mine) != 1 or len(loops) != len(tile.loops) or len(stores) != len(_parts(leaf)):
        return None
    if not all(affine_of(a.extent) == affine_of(b.extent) for a, b in zip(loops, tile.loops, strict=True)):
        return None
    renamed: dict[Var, Expr] = {a.var: b.var for a, b in zip(loops, tile.loops, strict=True)}
    if not _same_place(tuple(substitute(i, renamed) for i in mine[0].indices), tile.indices):
        return None
    if not _same_guards([substitute(g, renamed) for g in guards], tile.guards):
        return None
    if {n.buffer for n in of_kind(leaf, Load)} & {s.buffer for s in stores}:
        return None
    others = tuple(s for s in stores if s is not mine[0])
    return substitute(mine[0].value, renamed), _with_leaf(before, others) if others else None


def _peeled(stmt: Stmt) -> tuple[list[For], list[Expr], Stmt]:
    """Give the loops and guards around the innermost statement of a nest, and that statement."""
    loops: list[For] = []
    guards: list[Expr] = []
    while True:
        match stmt:
            case For(body=body):
                loops.append(stmt)
                stmt = body
            case If(condition=condition, then=then, otherwise=None):
                guards.append(condition)
                stmt = then
            case _:
                return loops, guards, stmt


def _parts(stmt: Stmt) -> tuple[Stmt, ...]:
    return stmt.body if type(stmt) is Seq else (stmt,)


def _same_guards(a: list[Expr], b: tuple[Expr, ...]) -> bool:
    return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))


def _with_leaf(stmt: Stmt, leaf: tuple[Stmt, ...]) -> Stmt:
    """Give the same loops and guards around other statements."""
    match stmt:
        case For(body=body):
            return with_fields(stmt, {"body": _with_leaf(body, leaf)})
        case If(then=then):
            return with_fields(stmt, {"then": _with_leaf(then, leaf)})
        case _:
            return seq(*leaf)
