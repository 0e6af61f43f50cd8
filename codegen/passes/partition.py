"""Loops with conditions that only their first or last iterations need: those apart, the rest without conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from ...ir import arith
from ...ir.affine import Affine, affine_of
from ...ir.dtype import int64
from ...ir.expr import Address, Const, Expr, IfThenElse, Le, Load, Lt, Var
from ...ir.interval import Interval, Ranges
from ...ir.simplify import simplify
from ...ir.stmt import Allocate, For, ForKind, If, Let, Seq, Stmt, Store, seq
from ...ir.target import Target
from ...ir.visit import (
    Memo,
    Node,
    children,
    contains,
    inner_statements,
    map_statements,
    of_kind,
    rewrite,
    rewrite_statements,
    with_fields,
)
from .conditions import conjuncts, room
from .live import live_extent
from .names import Names
from .registers import fits_registers

_LANES = (ForKind.VECTORIZED, ForKind.UNROLLED)


@dataclass(frozen=True, slots=True)
class Range:
    """The iterations first <= v < last of a loop in which `conditions` hold whatever the loops inside do.

    None of them where each iteration is at one end or the other: those at either end then become a loop of their own.
    """

    first: Affine
    last: Affine
    conditions: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class PartitionLoops:
    """Split off the iterations of a loop that need the conditions below it.

    for i in range(8):                          for i in range(7):
        for j in vectorized(16):                    for j in vectorized(16):
            if i * 16 + j < 115:          ->            S[i * 16 + j]
                S[i * 16 + j]                   for j in vectorized(3):
                                                    S[112 + j]

    Iterations in which conditions keep everything from being executed are left out.
    Order of execution: unchanged.  A parallel loop stays one loop and chooses inside.  With sizes known only when
    the kernel runs, the split-off iterations keep their conditions.  Done from outside inwards, until a statement
    is there `copies` times.
    """

    copies: int = 6

    def __call__(self, body: Stmt, target: Target) -> Stmt:
        """Give the body with its loops split."""
        if not contains(body, If, IfThenElse):
            return body
        made = _Partition(Names(body), target, self.copies, {}).statement(body, frozenset(), 1)
        return body if made is body else rewrite_statements(made, shortened)


def shortened(node: Stmt) -> Stmt | None:
    """Give a loop that ends where its guard ends: `for i in range(8): if i < 3: S` runs three times."""
    match node:
        case For(var, Const(value=extent), If(Lt(Var() as tested, Const(value=bound)), then, None)) if tested is var:
            length = max(0, min(int(extent), int(bound)))
            return with_fields(node, {"extent": Const(length, var.dtype), "body": then})
        case For(var, Const(value=extent), If(Le(Var() as tested, Const(value=bound)), then, None)) if tested is var:
            length = max(0, min(int(extent), int(bound) + 1))
            return with_fields(node, {"extent": Const(length, var.dtype), "body": then})
        case _:
            return None


@dataclass
class _Partition:
    names: Names
    target: Target
    limit: int
    choices: Choices

    def statement(self, stmt: Stmt, outside: frozenset[Var], copies: int) -> Stmt:
        """Split the loops of `stmt`; `outside` are the loops around it, `copies` how often it is there already."""
        if not has_choices(stmt, self.choices):
            return stmt
        match stmt:
            case For(kind=kind) if kind is not ForKind.THREAD and (live := live_extent(stmt)) is not None:
                if live < (arith.int_value(stmt.extent) or 0):
                    return self.statement(_cut(stmt, live), outside, copies)
        match stmt:
            case For(var=var, kind=kind) if kind not in _LANES and copies < self.limit:
                found = _main_range(stmt, outside, self.choices)
                if found is not None:
                    return self.split(stmt, found, outside, copies)
                outside = outside | {var}
            case For(var=var) | Let(var=var):
                outside = outside | {var}
        return map_statements(stmt, lambda inner: self.statement(inner, outside, copies))

    def split(self, loop: For, main: Range, outside: frozenset[Var], copies: int) -> Stmt:
        """Give the loop in up to three parts."""
        first, last, extent = main.first, main.last, affine_of(loop.extent)
        before = first.is_constant and first.constant == 0
        parts = copies + 1 + (not before)
        if loop.kind in (ForKind.PARALLEL, ForKind.THREAD):
            return self.unswitched(loop, main, outside, parts)
        free = _assuming(loop.body, main.conditions)
        pieces: list[Stmt | None] = [] if before else [self.piece(loop, loop.body, Affine({}), first, outside, parts)]
        pieces.append(self.piece(loop, free, first, last, outside, parts))
        if last != extent:
            pieces.append(self.piece(loop, loop.body, last, extent, outside, parts))
        made = [p for p in pieces if p is not None]
        return seq(*made)

    def piece(
        self, loop: For, body: Stmt, first: Affine, last: Affine, outside: frozenset[Var], copies: int
    ) -> Stmt | None:
        """Give iterations first <= v < last of the loop, with names of their own; None for no iteration."""
        length = last - first
        if length.is_constant and length.constant <= 0:
            return None
        var = self.names.variable(loop.var)
        start = first.to_expr(var.dtype)
        once = length.is_constant and length.constant == 1
        here: Expr = start if once else arith.add(var, start)
        ranges: Ranges = {}
        if length.is_constant:  # conditions that fail in all of these iterations go, too
            ranges = {var: Interval(Const(0, var.dtype), Const(length.constant - 1, var.dtype))}
        body = self.names.copy(_at(body, loop.var, here, ranges))
        if once:
            return self.statement(body, outside, copies)
        made = For(var, length.to_expr(var.dtype), body, loop.kind, loop.thread, loop.annotations)
        return self.statement(made, outside, copies)

    def unswitched(self, loop: For, main: Range, outside: frozenset[Var], copies: int) -> Stmt:
        """Give one loop that chooses between what there is without conditions and the whole of it.

        Where a part of the body has all conditions, that part only.
        """
        tests = []
        if main.first != Affine({}):
            tests.append(arith.le(main.first.to_expr(loop.var.dtype), loop.var))
        if main.last != affine_of(loop.extent):
            tests.append(arith.lt(loop.var, main.last.to_expr(loop.var.dtype)))
        tail = affine_of(loop.extent) - main.last
        is_last = main.first == Affine({}) and tail.is_constant and tail.constant == 1

        def chosen(stmt: Stmt, inside: frozenset[Var]) -> Stmt:
            rest = self.names.copy(stmt)
            if is_last:
                rest = _at(rest, loop.var, main.last.to_expr(loop.var.dtype))
            pair = (self.statement(s, inside, copies) for s in (_assuming(stmt, main.conditions), rest))
            return If(arith.logical_and(*tests), *pair)

        known = {id(c) for c in main.conditions}
        return with_fields(loop, {"body": self.within(loop.body, known, outside | {loop.var}, copies, chosen)})

    def within(
        self,
        stmt: Stmt,
        conditions: set[int],
        inside: frozenset[Var],
        copies: int,
        chosen: Callable[[Stmt, frozenset[Var]], Stmt],
    ) -> Stmt:
        """Put what `chosen` makes of it in place of each part of a statement that has one of the conditions.

        A loop is part of that only where all of its body would be.
        conditions  by identity
        """

        def deeper(part: Stmt, around: frozenset[Var] = inside) -> Stmt:
            return self.within(part, conditions, around, copies, chosen)

        if not self.has(stmt, conditions):
            return self.statement(stmt, inside, copies)
        match stmt:
            case Allocate(body=body):
                return with_fields(stmt, {"body": deeper(body)})
            case Seq(body=parts) if self.are_apart(parts):
                return seq(*map(deeper, parts))
            case For(var=var, body=body, kind=ForKind.SERIAL):
                parts = _parts(body)
                if self.are_apart(parts) and not all(self.has(part, conditions) for part in parts):
                    return with_fields(stmt, {"body": deeper(body, inside | {var})})
        return chosen(stmt, inside)

    def has(self, stmt: Stmt, conditions: set[int]) -> bool:
        """Tell whether one of the conditions, by identity, is below `stmt`."""
        return any(id(c) in conditions for c, _ in _conditions(stmt, {}, self.choices))

    def are_apart(self, parts: Sequence[Stmt]) -> bool:
        """Tell whether no two statements share a buffer that may be in registers."""
        if len(parts) < 2:
            return True
        used = [buffer for part in parts for buffer in {n.buffer for n in of_kind(part, Load, Store, Address)}]
        return not any(used.count(b) > 1 and b.scope == "local" and fits_registers(b, self.target) for b in used)


def _parts(stmt: Stmt) -> tuple[Stmt, ...]:
    """Give the statements of a sequence, within its allocations."""
    match stmt:
        case Allocate(body=body):
            return _parts(body)
        case Seq(body=parts):
            return parts
        case _:
            return (stmt,)


def _at(body: Stmt, var: Var, value: Expr, ranges: Ranges | None = None) -> Stmt:
    """Give the body of a loop with a value for its variable, simplified where that is read: the rest is simple."""
    done: Memo = {}
    replaced = rewrite(body, lambda node: value if node is var else None, done)
    return simplify(replaced, ranges, {at for at, (before, after) in done.items() if before is after})


def _cut(loop: For, extent: int) -> Stmt:
    """Give the first iterations of a loop."""
    if extent == 1 and loop.kind is not ForKind.PARALLEL:
        return _at(loop.body, loop.var, arith.const(0, loop.var.dtype))
    return with_fields(loop, {"extent": arith.const(extent, loop.var.dtype)}) if extent else seq()


Choices = dict[int, tuple[Stmt, bool]]  # by identity: the statement, and whether a condition is in it


def has_choices(stmt: Stmt, known: Choices) -> bool:
    """Tell whether there is an if in `stmt`, as a statement or in an expression; each statement is looked at once."""
    found = known.get(id(stmt))
    if found is None:
        inner = list(inner_statements(stmt))
        roots = [x for x in children(stmt) if isinstance(x, Expr)] if inner else [stmt]
        own = type(stmt) is If or any(contains(root, IfThenElse) for root in roots)
        found = known[id(stmt)] = (stmt, own or any(has_choices(part, known) for part in inner))
    return found[1]


def _main_range(loop: For, outside: frozenset[Var], choices: Choices) -> Range | None:
    """Give the iterations that need no conditions; None where that are all, none, or where that is not known."""
    extent = affine_of(loop.extent)
    if extent.vars & outside:
        return None
    lows: list[Affine] = []
    highs: list[Affine] = []
    conditions: list[Expr] = []
    for condition, ends in _conditions(loop.body, {}, choices):
        bound = _bound(condition, loop.var, ends, outside)
        if bound is not None:
            is_low, at = bound
            (lows if is_low else highs).append(at)
            conditions.append(condition)
    if not conditions:
        return None
    known = [*lows, *highs, extent]
    if all(a.is_constant for a in known):
        first = max([0, *(a.constant for a in lows)])
        last = min([extent.constant, *(a.constant for a in highs)])
        if first >= last and 0 < first < extent.constant and loop.kind not in (ForKind.PARALLEL, ForKind.THREAD):
            return Range(Affine({}, first), Affine({}, first), ())
        if first >= last or (first == 0 and last == extent.constant):
            return None
        return Range(Affine({}, first), Affine({}, last), tuple(conditions))
    if lows or any(h.is_constant for h in highs):
        return None
    return Range(Affine({}), _clamped(highs, extent), tuple(conditions))


def _clamped(highs: list[Affine], extent: Affine) -> Affine:
    dtype = int64 if any(h.dtype == int64 for h in (*highs, extent)) else highs[0].dtype
    last = extent.to_expr(dtype)
    for high in highs:
        last = arith.minimum(last, high.to_expr(dtype))
    return affine_of(arith.maximum(last, arith.const(0, dtype)))


def _conditions(stmt: Stmt, ends: dict[Var, Affine], choices: Choices) -> Iterator[tuple[Expr, dict[Var, Affine]]]:
    """Give every conjunct in `stmt`, with the extents of the loops between."""
    if not has_choices(stmt, choices):
        return
    inside = ends
    match stmt:
        case For(var, extent):
            inside = {**ends, var: affine_of(extent)}
        case If(condition=condition):
            yield from ((conjunct, ends) for conjunct in conjuncts(condition))
    for choice in (x for own in children(stmt) if isinstance(own, Expr) for x in of_kind(own, IfThenElse)):
        yield from ((conjunct, ends) for conjunct in conjuncts(choice.condition))
    for inner in inner_statements(stmt):
        yield from _conditions(inner, inside, choices)


def _bound(condition: Expr, var: Var, ends: dict[Var, Affine], outside: frozenset[Var]) -> tuple[bool, Affine] | None:
    """Give from which iteration of `var` on (True), or below which (False), `condition` holds for sure."""
    form = room(condition)
    if form is None or form.coefficient(var) == 0 or form.data:
        return None
    step, worst = form.coefficient(var), form.without(var)
    if worst.depends_on(var):
        return None
    for inner, extent in ends.items():
        coefficient = worst.coefficient(inner)
        worst = worst.without(inner)
        if coefficient < 0:
            worst = worst + (extent - 1) * coefficient
    if worst.vars & (outside | set(ends)):
        return None
    if step < 0:  # worst - |step| * v >= 0
        return False, affine_of(arith.floordiv(worst.to_expr(), -step)) + 1
    return True, affine_of(arith.floordiv((-worst + (step - 1)).to_expr(), step))


def _assuming(body: Stmt, conditions: tuple[Expr, ...]) -> Stmt:
    """Give the body where these very conditions hold."""
    known = {id(c) for c in conditions}

    def remaining(condition: Expr) -> Expr:
        return arith.logical_and(*[c for c in conjuncts(condition) if id(c) not in known])

    def rule(node: Node) -> Node | None:
        match node:
            case If(condition, then) | IfThenElse(condition, then):
                left = remaining(condition)
                return then if type(left) is Const else with_fields(cast(Expr, node), {"condition": left})
            case _:
                return None

    return rewrite(body, rule)
