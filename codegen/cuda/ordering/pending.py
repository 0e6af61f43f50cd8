"""Asynchronous copies under way: nothing may touch what one may still be writing.

The statements are followed in order.  A copy is pending from where it is issued until a wait that leaves at most as
many groups as have been closed after its own.  The first iterations of a loop are followed one by one, while copies
from before the loop are pending; from then on one iteration stands for all, with the copies of the ones before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ....ir import arith
from ....ir.affine import affine_of
from ....ir.errors import CodegenError
from ....ir.expr import Call, Const, Expr, Var
from ....ir.interval import Interval, negated
from ....ir.linear import Affine
from ....ir.stmt import Allocate, Evaluate, For, If, Let, Seq, Stmt
from ..kernel import is_effect
from .accesses import Access, Place, moved
from .conflicts import Conflicts, Meeting
from .sites import Sites

MOST_ITERATIONS = 16  # of a loop, that are followed until what is pending repeats itself

Refuse = Callable[[Stmt, str, str], CodegenError]


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A copy under way.

    age    groups that were closed after its own, -1 while its own is open
    depth  loops around it whose iteration is the same for what comes after it
    ago    iterations since it was issued, of the innermost loop that is followed; None for before that loop
    outer  the same of the loops around that one, innermost first
    """

    access: Access
    age: int
    depth: int
    ago: int | None = 0
    outer: tuple[int | None, ...] = ()

    @property
    def key(self) -> tuple[int, int, int | None]:
        """Give what tells pending copies apart."""
        return id(self.access.stmt), self.age, self.ago


State = tuple[Pending, ...]


@dataclass(frozen=True, slots=True)
class Copies:
    """Follows the asynchronous copies of one kernel."""

    sites: Sites
    conflicts: Conflicts
    refuse: Refuse

    def after(self, stmt: Stmt, place: Place, state: State) -> State:
        """Give what is pending after a statement.  Raises CodegenError for an access to what is pending."""
        if not self.sites.use(stmt).touches:
            return state
        match stmt:
            case Let() | If() | For():
                for access in self.sites.own(stmt, place):
                    self.check(access, place, state)
        match stmt:
            case Seq(parts):
                for part in parts:
                    state = self.after(part, place, state)
                return state
            case Allocate(body=body):
                return self.after(body, place, state)
            case Let(body=body):
                return self.after(body, place.binding(stmt), state)
            case If():
                return self.branch(stmt, place, state)
            case For() if self.sites.use(stmt).groups:
                return self.loop(stmt, place, state)
            case Evaluate(Call("cp_async_commit")):
                return tuple(replace(p, age=p.age + 1) for p in state)
            case Evaluate(Call("cp_async_wait", (left,))):
                groups = arith.int_value(left)
                return tuple(p for p in state if groups is None or p.age < groups)
            case _:
                return self.touched(stmt, place, state)

    def branch(self, stmt: If, place: Place, state: State) -> State:
        """Give what is pending after a conditional; a branch that is known never to be taken is left out."""
        condition = place.resolved(stmt.condition)
        opposite = negated(condition)
        taken = other = state
        if opposite is None or not place.known.proves(opposite):
            taken = self.after(stmt.then, place.under(stmt, True), state)
        if stmt.otherwise is not None and not place.known.proves(condition):
            other = self.after(stmt.otherwise, place.under(stmt, False), state)
        return _merged(taken, other)

    def touched(self, stmt: Stmt, place: Place, state: State) -> State:
        """Give what is pending after a statement that closes no group and waits for none."""
        issued: list[Pending] = []
        for access in self.sites.below(stmt, place):
            self.check(access, place, (*state, *issued))
            if access.writes and is_effect(access.stmt, "cp_async"):
                issued.append(Pending(access, -1, len(place.loops)))
        return (*state, *issued)

    def check(self, access: Access, place: Place, state: Sequence[Pending]) -> None:
        """Refuse an access to what a copy may still be writing; two copies in one statement are the same one."""
        for copy in state:
            if copy.access.buffer is not access.buffer or (copy.access.stmt is access.stmt and copy.ago == 0):
                continue
            meeting = Meeting(min(len(place.loops), copy.depth))
            if not self.conflicts.disjoint(copy.access, access, meeting):
                fact = f"an asynchronous copy may still be writing elements of {access.buffer.name} that are used here"
                raise self.refuse(access.stmt, fact, "cp_async_commit and cp_async_wait before")

    def loop(self, stmt: For, place: Place, state: State) -> State:
        """Give what is pending after a loop that closes groups."""
        steps = arith.int_value(stmt.extent)
        extent = affine_of(place.resolved(stmt.extent))
        state = tuple(replace(p, ago=None, outer=(p.ago, *p.outer)) for p in state)
        ended, number = () if steps else state, 0
        while (number == 0 or any(p.ago is None for p in state)) and number not in (steps, MOST_ITERATIONS):
            lets = {**place.lets, stmt.var: Const(number, stmt.var.dtype)}
            state = _one_ago(self.after(stmt.body, replace(place, lets=lets), state))
            number += 1
            if steps in (None, number):
                ended = _merged(ended, [p for p in state if not _excluded(p.access, extent - number)])
        if number != steps:
            ended = _merged(ended, self.repeated(stmt, place, state))
        return tuple(_left(p, len(place.loops)) for p in ended)

    def repeated(self, stmt: For, place: Place, state: State) -> State:
        """Give what is pending at the end after any number of further iterations."""
        inner = place.within(stmt)
        extent = place.resolved(stmt.extent)
        issued = {id(a.stmt): a for a in self.sites.below(stmt.body, inner) if a.writes}
        ended: State = ()
        for _ in range(MOST_ITERATIONS):
            before = {p.key for p in state}
            here = tuple(_as_of(p, issued, stmt.var, len(inner.loops)) for p in state)
            state = _one_ago(self.after(stmt.body, inner, here))
            ended = _merged(ended, [p for p in state if not _too_late(p, issued, stmt.var, extent)])
            if {p.key for p in state} == before:
                break
        return ended


def _one_ago(state: State) -> State:
    """Give what is pending in terms of the next iteration."""
    return tuple(p if p.ago is None else replace(p, ago=p.ago + 1) for p in state)


def _left(copy: Pending, depth: int) -> Pending:
    """Give a copy in terms of what is around a loop, after it."""
    if copy.ago is None:
        return replace(copy, ago=copy.outer[0], outer=copy.outer[1:])
    return replace(copy, ago=0, depth=depth)


def _as_of(copy: Pending, issued: Mapping[int, Access], var: Var, depth: int) -> Pending:
    """Give a copy of an earlier iteration in terms of the variable of this one."""
    if copy.ago is None:
        return copy
    access = issued[id(copy.access.stmt)]
    moved = access.at(var, arith.sub(var, copy.ago))
    return replace(copy, access=replace(moved, loops=access.loops), depth=depth)


def _too_late(copy: Pending, issued: Mapping[int, Access], var: Var, extent: Expr) -> bool:
    """Tell whether the conditions around a copy exclude that it was issued so long before the end of a loop."""
    return copy.ago is not None and _never(issued[id(copy.access.stmt)], var, arith.sub(extent, copy.ago))


def _never(access: Access, var: Var, value: Expr) -> bool:
    """Tell whether the conditions around an access exclude that a variable has a value."""
    form = affine_of(value)
    if any((f := moved(fact, var, value)).is_constant and f.constant < 0 for fact in access.known.facts):
        return True
    span = access.known.ranges.get(var)
    return form.is_constant and span is not None and not _within(form.constant, span)


def _within(value: int, span: Interval) -> bool:
    low, high = (None if end is None else arith.int_value(end) for end in (span.lo, span.hi))
    return (low is None or low <= value) and (high is None or value <= high)


def _excluded(access: Access, zero: Affine) -> bool:
    """Tell whether the conditions around an access exclude that a form is 0."""
    if any((f := fact - zero).is_constant and f.constant < 0 for fact in access.known.facts):
        return True
    match list(zero.terms.items()):
        case [((Var() as var,), 1)] if var in access.known.ranges:
            return not _within(-zero.constant, access.known.ranges[var])
        case _:
            return False


def _merged(a: Sequence[Pending], b: Sequence[Pending]) -> State:
    """Give what is pending after one way or another: the youngest of each."""
    found: dict[tuple[int, int | None], Pending] = {}
    for copy in (*a, *b):
        key = id(copy.access.stmt), copy.ago
        if key not in found or copy.age < found[key].age:
            found[key] = copy
    return tuple(found.values())
