"""What the step prefetch adds to a loop: requests for the lines of a tensor that a later iteration reads."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from ..ir import arith
from ..ir.affine import affine_of, reads_memory
from ..ir.buffer import Buffer
from ..ir.dtype import int32
from ..ir.expr import Address, Call, Const, Expr, Load, Var
from ..ir.interval import Interval
from ..ir.stmt import Evaluate, For, ForKind, Let, Stmt, seq
from ..ir.visit import of_kind, substitute, variables

if TYPE_CHECKING:
    from .nest import NestBuilder

LINE_BYTES = 64  # of every cache of the processors that we compile for, or a part of it
WRITTEN_OUT = 16  # requests of one iteration; more of them are a loop

Indices = tuple[Expr, ...]


def requests(builder: NestBuilder, body: Stmt, loop: Var, offset: int, buffer: Buffer) -> Stmt | None:
    """Give requests for what `body` reads of `buffer` when `loop` is `offset` further; None where that is the same."""
    loops = {n.var: n for n in of_kind(body, For)}
    lets = {n.var for n in of_kind(body, Let)}
    line = max(1, LINE_BYTES // buffer.dtype.bytes)
    kept: list[Indices] = []
    for load in of_kind(body, Load):
        used = {v for i in load.indices for v in variables(i)}
        moves = loop in used and not (used & lets) and not any(reads_memory(i) for i in load.indices)
        if load.buffer is buffer and moves and not any(_share_lines(load.indices, k, line) for k in kept):
            kept.append(load.indices)
    further = {loop: arith.add(loop, arith.const(offset, loop.dtype))}
    nests = [_nest(builder, loops, buffer, tuple(substitute(i, further) for i in indices), line) for indices in kept]
    return seq(*nests) if nests else None


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
    steps = {n.var: _step(n.var, indices, line) for n in moving}
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


def _step(var: Var, indices: Indices, line: int) -> int:
    """Give by how much a loop may advance without leaving out a line."""
    *outer, last = indices
    if any(var in variables(i) for i in outer):
        return 1
    stride = affine_of(last).coefficient(var)
    return max(1, line // stride) if stride > 0 else 1
