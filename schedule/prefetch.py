"""What the step prefetch adds to a loop: requests for the lines of a tensor that a later iteration reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from ..ir import arith
from ..ir.affine import affine_of, reads_memory
from ..ir.buffer import Buffer
from ..ir.dtype import int32
from ..ir.expr import Address, Call, Const, Expr, Load, Var
from ..ir.interval import Interval
from ..ir.stmt import Evaluate, For, ForKind, Let, Stmt, seq
from ..ir.visit import of_kind, rewrite_statements, substitute, variables

if TYPE_CHECKING:
    from .nest import NestBuilder

LINE_BYTES = 64  # of every cache of the processors that we compile for, or a part of it
WRITTEN_OUT = 16  # requests of one iteration; more of them are a loop

Indices = tuple[Expr, ...]


def requests(builder: NestBuilder, body: Stmt, loop: Var, offset: int, buffer: Buffer) -> Stmt | None:
    """Give `body` with requests for what it reads of `buffer` when `loop` is `offset` further ahead of it.

    None where that is the same.
    """
    loops = {n.var: n for n in of_kind(body, For)}
    further = {loop: arith.add(loop, arith.const(offset, loop.dtype))}
    line, kept = _line(buffer), _moving(body, loop, buffer)
    nests = [_nest(builder, loops, buffer, tuple(substitute(i, further) for i in indices), line) for indices in kept]
    return seq(*nests, body) if nests else None


def spread(builder: NestBuilder, body: Stmt, loop: Var, offset: int, buffer: Buffer) -> Stmt | None:
    """Give `body` with requests for the piece of `buffer` that it reads when `loop` is `offset` further.

    Each step of the innermost serial loop around the access asks for an equal part of the piece, in order.  What lies
    beyond the end of the buffer is not asked for, where pages may be missing, but what lies at its begin.
    Without such a loop all of it is asked for at once.  None where there is more than one access or piece.
    """
    kept = _moving(body, loop, buffer)
    piece = _piece(body, loop, buffer, kept[0]) if len(kept) == 1 else None
    if piece is None:
        return None
    if not piece.loops:
        return requests(builder, body, loop, offset, buffer)
    *outer, innermost = piece.loops
    *turns, steps = (arith.int_value(n.extent) or 1 for n in piece.loops)
    turn: Expr = arith.const(0)
    for n in outer:
        turn = arith.add(arith.mul(turn, n.extent), n.var)
    begun = arith.floordiv(arith.mul(turn, arith.const(piece.lines)), arith.const(prod(turns)))
    share = -(-piece.lines // prod(turns))  # lines for each turn of the innermost loop
    first = arith.add(begun, arith.floordiv(arith.mul(innermost.var, arith.const(share)), arith.const(steps)))
    further = {loop: arith.add(loop, arith.const(offset, loop.dtype))}
    start = [_around(i, substitute(i, further), size) for i, size in zip(piece.start, buffer.shape, strict=True)]
    asked: list[Stmt] = []
    for n in range(-(-share // steps)):
        element = arith.mul(arith.add(first, arith.const(n)), arith.const(_line(buffer)))
        place = tuple(builder.simple(i) for i in (*start[:-1], arith.add(start[-1], element)))
        asked.append(Evaluate(Call("prefetch", (Address(buffer, place), Const(0)), int32)))

    def rule(stmt: Stmt) -> Stmt | None:
        match stmt:
            case For(var=var, body=inner) if var is innermost.var:
                return replace(stmt, body=seq(*asked, inner))
            case _:
                return None

    return rewrite_statements(body, rule)


def _around(index: Expr, further: Expr, size: Expr) -> Expr:
    """Give an index of a later iteration, at the begin again where it is beyond the end."""
    return index if index is further else arith.floormod(further, size)


@dataclass(frozen=True, slots=True)
class Piece:
    """What an access reads in one iteration of a loop: lines that lie one after the other.

    start  its first element
    loops  the serial loops around the access, outermost first
    """

    start: Indices
    lines: int
    loops: tuple[For, ...]


def _piece(body: Stmt, loop: Var, buffer: Buffer, indices: Indices) -> Piece | None:
    """Give the piece of memory that an access reads; None unless it is one, of known size."""
    around = [n for n in of_kind(body, For) if any(load.indices is indices for load in of_kind(n, Load))]
    serial = tuple(n for n in around if n.kind is ForKind.SERIAL)
    used = {v for i in indices for v in variables(i)}
    moving = [n for n in around if n.var in used]
    extents = [arith.int_value(n.extent) for n in around]
    sizes = [arith.int_value(size) for size in buffer.shape]
    if None in extents or None in sizes or buffer.strides:
        return None
    flat = affine_of(indices[0])
    for index, size in zip(indices[1:], sizes[1:], strict=True):
        flat = flat * (size or 1) + affine_of(index)
    counts = [arith.int_value(n.extent) or 1 for n in moving]
    strides = [flat.coefficient(n.var) for n in moving]
    span = 1 + sum(stride * (count - 1) for stride, count in zip(strides, counts, strict=True))
    if span != prod(counts) or min(strides, default=0) < 0:
        return None
    zeros = {n.var: arith.const(0, n.var.dtype) for n in moving}
    start = tuple(substitute(i, zeros) for i in indices)
    return Piece(start, -(-span // _line(buffer)), serial)


def _moving(body: Stmt, loop: Var, buffer: Buffer) -> list[Indices]:
    """Give the accesses of `body` to `buffer` that move with `loop`, neighbours in a line once."""
    lets = {n.var for n in of_kind(body, Let)}
    kept: list[Indices] = []
    for load in of_kind(body, Load):
        used = {v for i in load.indices for v in variables(i)}
        moves = loop in used and not (used & lets) and not any(reads_memory(i) for i in load.indices)
        if load.buffer is buffer and moves and not any(_share_lines(load.indices, k, _line(buffer)) for k in kept):
            kept.append(load.indices)
    return kept


def _line(buffer: Buffer) -> int:
    """Give the elements of a line."""
    return max(1, LINE_BYTES // buffer.dtype.bytes)


def _share_lines(a: Indices, b: Indices, line: int) -> bool:
    """Tell whether two accesses lie less than a line apart wherever they are."""
    apart = [affine_of(x) - affine_of(y) for x, y in zip(a, b, strict=True)]
    if any(between.terms for between in apart):
        return False
    *outer, last = (between.constant for between in apart)
    return not any(outer) and abs(last) < line


def _nest(builder: NestBuilder, loops: dict[Var, For], buffer: Buffer, indices: Indices, line: int) -> Stmt:
    """Give the loops over the lines that an access touches, with one request in each step."""
    used = {v for i in indices for v in variables(i)}
    moving = [loops[v] for v in loops if v in used]
    steps = {n.var: _step(n.var, indices, buffer, line) for n in moving}
    extents = [arith.floordiv(arith.add(n.extent, steps[n.var] - 1), arith.const(steps[n.var])) for n in moving]
    extents = [builder.simple(extent) for extent in extents]
    fresh: dict[Var, Expr] = {}
    copies: list[Var] = []
    for n, extent in zip(moving, extents, strict=True):
        copy = builder.unused_var(f"{n.var.name}_line", n.var.dtype, Interval(arith.const(0), arith.sub(extent, 1)))
        copies.append(copy)
        fresh[n.var] = arith.mul(copy, arith.const(steps[n.var], n.var.dtype))
    place = tuple(builder.simple(substitute(i, fresh)) for i in indices)
    body: Stmt = Evaluate(Call("prefetch", (Address(buffer, place), Const(0)), int32))
    sizes = [arith.int_value(extent) for extent in extents]
    known = [n for n in sizes if n is not None]
    short = len(known) == len(sizes) and prod(known) <= WRITTEN_OUT
    for copy, extent in zip(reversed(copies), reversed(extents), strict=True):
        body = For(copy, extent, body, ForKind.UNROLLED if short else ForKind.SERIAL)
    return body


def _step(var: Var, indices: Indices, buffer: Buffer, line: int) -> int:
    """Give by how much a loop may advance without leaving out a line, as far as its first iterations tell.

    Pixels that are counted through, `a[p // 28, p % 28]`, are neighbours, too.
    """
    first, second = (_place(var, value, indices, buffer) for value in (0, 1))
    stride = abs(second - first) if first is not None and second is not None else 0
    return max(1, line // stride) if stride else 1


def _place(var: Var, value: int, indices: Indices, buffer: Buffer) -> int | None:
    """Give the place of an access in memory where a loop has come to `value` and all others begin; None if unknown."""
    at: dict[Var, Expr] = {v: arith.const(int(v is var) * value, v.dtype) for i in indices for v in variables(i)}
    place = 0
    for index, stride in zip(indices, buffer.dense_strides, strict=True):
        element, distance = affine_of(substitute(index, at)), arith.int_value(stride)
        if distance is None or not element.is_constant:
            return None
        place += element.constant * distance
    return place
