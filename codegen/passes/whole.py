"""Register tiles at the edge of what they compute: whole tiles and those cut short apart, none with conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from ...ir import arith
from ...ir.affine import Affine
from ...ir.expr import Expr, Var
from ...ir.interval import Interval, const_bounds
from ...ir.stmt import Allocate, Evaluate, For, ForKind, If, Let, Stmt, Store, seq
from ...ir.target import Target
from ...ir.visit import contains, inner_statements, map_statements, of_kind, rewrite_statements, substitute, with_fields
from .conditions import room
from .names import Names
from .registers import fits_registers

MOST_PLACES = 4096  # of a tile, at which its length is looked at


@dataclass(frozen=True, slots=True)
class SeparateWholeTiles:
    """Choose around a register tile how much of it there is, where each step of its reduction would have to.

    acc = allocate(local)                       if o * 2 + 1 < 7:
    for k in range(64):                             acc = allocate(local)
        for i in unrolled(2):                       for k in range(64):
            if o * 2 + i < 7:           ->              for i in unrolled(2):
                acc[i] = acc[i] + x[k]                      acc[i] = acc[i] + x[k]
                                                else:
                                                    acc_1 = allocate(local)
                                                    for k_1 in range(64):
                                                        acc_1[0] = acc_1[0] + x[k_1]

    Needs: written-out tile loops, directly around one and the same upper bound, and no other conditions.
    Done where a tile has at most `versions` lengths, which the place of the tile decides.
    """

    versions: int = 2

    def __call__(self, body: Stmt, target: Target) -> Stmt:
        """Give the body with its tiles at the edge apart."""
        if not contains(body, If) or not contains(body, Allocate):
            return body
        return _Separation(Names(body), target, self.versions).statement(body, {})


@dataclass(frozen=True, slots=True)
class _Edge:
    """Where a tile ends: what `condition` says of the steps of one of its loops.

    step    variable of that loop
    length  its extent
    space   form of the condition: steps are in the tile while space - step * width is at least 0
    """

    condition: Expr
    step: Var
    length: int
    space: Affine
    width: int

    def reaches(self, length: int) -> Expr:
        """Tell whether the tile has as many steps."""
        return substitute(self.condition, {self.step: arith.const(length - 1, self.step.dtype)})

    def is_as(self, other: _Edge) -> bool:
        """Tell whether two tile loops end at the same step."""
        return (self.length, self.space, self.width) == (other.length, other.space, other.width)


@dataclass
class _Separation:
    names: Names
    target: Target
    limit: int

    def statement(self, stmt: Stmt, ranges: Mapping[Var, Interval]) -> Stmt:
        """Separate the tiles below `stmt`."""
        match stmt:
            case For(var=var, extent=extent):
                ranges = {**ranges, var: Interval(arith.const(0, var.dtype), arith.sub(extent, 1))}
            case Allocate(buffer=buffer) if buffer.scope == "local" and fits_registers(buffer, self.target):
                edge = _edge_of(stmt)
                lengths = [] if edge is None else _lengths(edge, ranges)
                if edge is not None and 0 < len(lengths) <= self.limit:
                    return self.separated(stmt, edge, lengths)
        return map_statements(stmt, lambda inner: self.statement(inner, ranges))

    def separated(self, tile: Allocate, edge: _Edge, lengths: Sequence[int]) -> Stmt:
        """Give a choice between versions of a tile, the longest first."""
        shortest, *longer = lengths
        made = _of_length(tile, shortest)
        for length in longer:
            rest = self.names.copy(made) if contains(made, Store, Evaluate) else None
            made = If(edge.reaches(length), _of_length(tile, length), rest)
        return made


def _edge_of(tile: Allocate) -> _Edge | None:
    """Give the edge that all conditions below `tile` are about, if one is tested in a loop that is not written out."""
    bound = {binding.var for binding in of_kind(tile, For, Let)}
    found: list[_Edge] = []
    is_repeated = False
    for test, around in _tests(tile, ()):
        edge = _edge(test, around[-1], bound) if around else None
        if edge is None:
            return None
        found.append(edge)
        is_repeated = is_repeated or any(loop.kind is ForKind.SERIAL for loop in around)
    return found[0] if is_repeated and all(edge.is_as(found[0]) for edge in found) else None


def _edge(test: If, loop: For, bound: Set[Var]) -> _Edge | None:
    """Give the edge that a test directly below a written-out loop is for; None for another test.

    bound  variables of the tile, on which nothing but the step may depend
    """
    form, length = room(test.condition), arith.int_value(loop.extent)
    if form is None or form.data or length is None or test.otherwise is not None:
        return None
    if loop.body is not test or loop.kind is not ForKind.UNROLLED:
        return None
    width, space = -form.coefficient(loop.var), form.without(loop.var)
    if width <= 0 or space.vars & bound:
        return None
    return _Edge(test.condition, loop.var, length, space, width)


def _tests(stmt: Stmt, around: tuple[For, ...]) -> Iterator[tuple[If, tuple[For, ...]]]:
    """Give every if below `stmt`, with the loops around it, outermost first."""
    match stmt:
        case For():
            around = (*around, stmt)
        case If():
            yield stmt, around
    for inner in inner_statements(stmt):
        yield from _tests(inner, around)


def _lengths(edge: _Edge, ranges: Mapping[Var, Interval]) -> list[int]:
    """Give the lengths that the tile may have at its places, the shortest first; none where they are not known."""
    terms = list(edge.space.terms.items())
    if len(terms) != 1:
        return []
    [(place, step)] = terms
    first, last = const_bounds(Affine({place: 1}).to_expr(), ranges)
    if first is None or last is None or last - first >= MOST_PLACES:
        return []
    spaces = (edge.space.constant + step * at for at in range(first, last + 1))
    return sorted({max(0, min(edge.length, space // edge.width + 1)) for space in spaces})


def _of_length(tile: Allocate, length: int) -> Stmt:
    """Give the tile with the first steps of its edge's loops only, and without their conditions."""

    def rule(node: Stmt) -> Stmt | None:
        match node:
            case For(var=var, body=If(then=then)):
                return with_fields(node, {"extent": arith.const(length, var.dtype), "body": then}) if length else seq()
            case _:
                return None

    return rewrite_statements(tile, rule)
