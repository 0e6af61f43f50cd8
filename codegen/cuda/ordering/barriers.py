"""Where the threads of a block wait for each other: the fewest barriers that keep every pair of accesses in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product

from ....ir import arith
from ....ir.buffer import Buffer
from ....ir.errors import CodegenError
from ....ir.expr import Const
from ....ir.interval import const_bounds
from ....ir.printer import place_text
from ....ir.stmt import Allocate, For, ForKind, Function, If, Let, Seq, Stmt
from ....ir.target import Target
from ....ir.visit import with_fields
from ..kernel import Kernel, effect, is_effect
from .accesses import Access, Place, root_place, tracked
from .conflicts import Conflicts, Meeting
from .distribute import distributed, joined
from .gaps import Arc, Gaps, fewest
from .pending import Copies
from .sites import Sites

MOST_CHOICES = 8  # combinations of equally good plans of inner loops that are compared


@dataclass(frozen=True, slots=True)
class PlanBarriers:
    """Put barriers between accesses of different threads to one element, one of them a write.

    for k:                      for k:
                                    barrier()
        S[t] = A[k, t]     ->       S[t] = A[k, t]
                                    barrier()
        x = x + S[255 - t]          x = x + S[255 - t]

    Every pair is kept in order: one after the other, and across the iterations of each loop around both.  Of all places
    that do, as few as possible are chosen, inner loops first.  A condition that differs between threads is moved to the
    statements on either side of a barrier.
    exempt  names of buffers that are synchronised otherwise
    Raises CodegenError for a barrier that not all threads would reach, for threads that meet in one statement, and for
    an access to what an asynchronous copy may still be writing.
    """

    exempt: frozenset[str] = frozenset()

    def __call__(self, kernel: Kernel, target: Target) -> Kernel:
        """Give the kernel with its barriers."""
        buffers = tracked(kernel, self.exempt)
        if not buffers or kernel.threads == 1:
            return kernel
        plan = _Plan(kernel, buffers)
        plan.check_copies()
        body = plan.body()
        return kernel if body is kernel.body else replace(kernel, body=body)


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """What a statement shows to those around it.

    head  accesses that are reached from its start without a barrier
    tail  accesses from which its end is reached without a barrier
    open  whether there is a way through it without a barrier
    """

    head: tuple[Access, ...] = ()
    tail: tuple[Access, ...] = ()
    open: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class _Planned:
    """A statement with its barriers."""

    stmt: Stmt
    summary: Summary


_NOTHING = Seq(())
_NO_ACCESS, _BARRIER = Summary(), Summary(open=False)


class _Divergent(Exception):
    """A barrier is needed in `stmt`, where not all threads get to."""

    def __init__(self, stmt: Stmt) -> None:
        super().__init__()
        self.stmt = stmt


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What a level is made of again: a plan for each item, and the gaps with a barrier; gap n is before item n."""

    plans: Sequence[_Planned]
    cuts: Gaps

    def before(self, item: int) -> list[Stmt]:
        """Give the barrier before an item, if there is one."""
        return [effect("barrier")] if item in self.cuts else []


Items = list[tuple[_Planned, ...]]  # of a level: what follows each other without control flow, each with its plans
Build = Callable[[_Pieces], list[Stmt]]


class _Plan:
    """Plans one kernel."""

    def __init__(self, kernel: Kernel, buffers: frozenset[Buffer]) -> None:
        self.kernel, self.sites = kernel, Sites(buffers)
        self.conflicts = Conflicts(kernel)
        self._root = root_place(kernel)
        self._landing: tuple[Access, ...] | None = None

    def body(self) -> Stmt:
        """Give the kernel's body with its barriers."""
        try:
            return self.level(self.kernel.body, self._root, None)[0].stmt
        except _Divergent as at:
            fact = "a barrier is needed where not all threads of a block get to, or not equally often"
            advice = "extents and conditions around it that are the same for all threads"
            raise self.refusal(at.stmt, fact, advice) from None

    def check_copies(self) -> None:
        """Refuse accesses to what an asynchronous copy may still be writing."""
        if self.landing():
            Copies(self.sites, self.conflicts, self.refusal).after(self.kernel.body, self._root, ())

    def refusal(self, stmt: Stmt, fact: str, advice: str) -> CodegenError:
        """Give the error for a statement of the kernel."""
        function = Function(self.kernel.name, self.kernel.params, self.kernel.body, self.kernel.outputs)
        return CodegenError("cuda", fact, where=place_text(function, stmt), advice=advice)

    # -- levels: statements that follow each other ----------------------------------------------------------------

    def level(
        self, stmt: Stmt, place: Place, loop: For | None, before: tuple[Access, ...] = ()
    ) -> tuple[_Planned, ...]:
        """Give the equally good plans of the body of `loop`, or the plan of any other statement.

        before  accesses just before the statement, where no barrier can be
        """
        items: Items = [(_Planned(_NOTHING, Summary(before, before)),)] if before else []
        build = self.flattened(stmt, place, items)
        best: list[tuple[Sequence[_Planned], Gaps]] = []
        for chosen in islice(product(*items), MOST_CHOICES):
            summaries = [p.summary for p in chosen]
            found = fewest(*self.arcs(summaries, place, loop))
            if not best or len(found[0]) < len(best[0][1]):
                best = [(chosen, cuts) for cuts in found]
        if best[0][1] and not place.uniform:
            raise _Divergent(stmt)
        return tuple(_assembled(stmt, build, _Pieces(chosen, cuts)) for chosen, cuts in best)

    def flattened(self, stmt: Stmt, place: Place, items: Items) -> Build:
        """Add the items of a statement; give what makes it again from their plans."""
        match stmt:
            case Seq(parts):
                builds = [self.flattened(part, place, items) for part in parts]
                return lambda pieces: [_again(stmt, [s for build in builds for s in build(pieces)])]
            case Allocate(body=body):
                build = self.flattened(body, place, items)
                return lambda pieces: [_with_body(stmt, "body", _again(body, build(pieces)))]
            case Let(body=body):
                before = self.added(self.sites.own(stmt, place), items)
                build = self.flattened(body, place.binding(stmt), items)
                return lambda pieces: [*before(pieces), _with_body(stmt, "body", _again(body, build(pieces)))]
            case For():
                before = self.added(self.sites.own(stmt, place), items)
                loop = _leaf(items, self.item(stmt, place))
                return lambda pieces: [*before(pieces), *loop(pieces)]
            case If() if place.uniform and place.varies(stmt.condition) and self.sites.use(stmt).touches:
                try:
                    return _leaf(items, self.item(stmt, place))
                except _Divergent:
                    moved = distributed(stmt)
                    if moved is None:
                        raise
                    return self.flattened(moved, place, items)
            case _:
                return _leaf(items, self.item(stmt, place))

    def added(self, accesses: Sequence[Access], items: Items) -> Build:
        """Add an item for what a let or a loop reads before its body, if that is anything."""
        if not accesses:
            return lambda pieces: []
        return _leaf(items, (_Planned(_NOTHING, Summary(tuple(accesses), tuple(accesses))),))

    def arcs(self, items: Sequence[Summary], place: Place, loop: For | None) -> tuple[list[Arc], int, bool]:
        """Give for each pair that needs an order the gaps that give it one; the number of gaps; whether they cycle.

        Pairs that are in order once the others are remain out: an arc that holds another one says nothing.
        """
        size, depth = len(items) + 1, len(place.loops)
        found: list[tuple[int, int]] = []
        same = Meeting(depth)
        nearest = size
        for i, j in _forward(items):
            if j < nearest and self.collide(items[i], items[j], same):
                found.append((i, j))
                nearest = j
        arcs = [Arc(i + 1, j - i) for i, j in found]
        if loop is None:
            return arcs, size, False
        for later in (Meeting(depth - 1, loop.var), Meeting(depth - 1, loop.var, next=False)):
            nearest = size
            for i, j in _around(items):
                implied = j >= nearest or any(first >= i or second <= j for first, second in found)
                if not implied and self.collide(items[i], items[j], later):
                    arcs.append(Arc(i + 1, min(size, size - i + j)))
                    nearest = j
            if arcs or not all(item.open for item in items):
                break  # a barrier in every iteration: only neighbouring ones meet
        return arcs, size, True

    def collide(self, first: Summary, second: Summary, meeting: Meeting) -> bool:
        """Tell whether accesses of two statements need an order."""
        return any(self.conflicts.possible(a, b, meeting) for a in first.tail for b in second.head)

    # -- items ----------------------------------------------------------------------------------------------------

    def item(self, stmt: Stmt, place: Place) -> tuple[_Planned, ...]:
        """Give the plans of one statement."""
        use = self.sites.use(stmt)
        if not use.touches:
            return (_Planned(stmt, _NO_ACCESS),)
        match stmt:
            case For(kind=kind) if use.writes and kind is not ForKind.VECTORIZED:
                return tuple(self.loop(stmt, place))
            case If() if use.writes:
                return (self.branch(stmt, place),)
        if is_effect(stmt, "barrier"):
            if not place.uniform:
                raise _Divergent(stmt)
            return (_Planned(stmt, _BARRIER),)
        if is_effect(stmt, "cp_async_wait"):
            return (_Planned(stmt, Summary((), self.landing())),)
        found = tuple(self.sites.below(stmt, place))
        self.check_alone(stmt, found, len(place.loops))
        return (_Planned(stmt, Summary(found, found)),)

    def loop(self, stmt: For, place: Place) -> Iterator[_Planned]:
        """Give the plans of a loop."""
        steps = arith.int_value(stmt.extent)
        for plan in self.level(stmt.body, place.within(stmt), None if steps == 1 else stmt):
            summary = plan.summary
            if not summary.open:
                least = const_bounds(place.resolved(stmt.extent), place.known.ranges)[0]
                start, end = Const(0, stmt.var.dtype), arith.sub(place.resolved(stmt.extent), 1)
                head = tuple(a.at(stmt.var, start) for a in summary.head)
                tail = tuple(a.at(stmt.var, end) for a in summary.tail)
                summary = Summary(head, tail, open=least is None or least < 1)
            yield _Planned(_with_body(stmt, "body", plan.stmt), summary)

    def branch(self, stmt: If, place: Place) -> _Planned:
        """Give the plan of a conditional; its branches never meet where all threads take the same."""
        reads = tuple(self.sites.own(stmt, place))
        then = self.level(stmt.then, place.under(stmt, True), None, reads)[0]
        made = _with_body(stmt, "then", then.stmt)
        if stmt.otherwise is None:
            return _Planned(made, replace(then.summary, tail=(*reads, *then.summary.tail), open=True))
        otherwise = self.level(stmt.otherwise, place.under(stmt, False), None, reads)[0]
        a, b = then.summary, otherwise.summary
        if place.varies(stmt.condition) and self.collide(a, b, Meeting(len(place.loops))):
            raise _Divergent(stmt)
        made = _with_body(made, "otherwise", otherwise.stmt)
        return _Planned(made, Summary((*a.head, *b.head), (*a.tail, *b.tail), a.open or b.open))

    def check_alone(self, stmt: Stmt, accesses: Sequence[Access], depth: int) -> None:
        """Refuse a statement that reads what another thread writes in the same one."""
        for a in accesses:
            if a.writes:
                continue
            for b in accesses:
                if b.writes and b.stmt is a.stmt and self.conflicts.possible(a, b, Meeting(depth)):
                    fact = f"one statement reads elements of {a.buffer.name} that other threads write in the same one"
                    advice = "a second buffer for what is written, or indices that show which thread owns an element"
                    raise self.refusal(a.stmt, fact, advice)

    # -- accesses -------------------------------------------------------------------------------------------------

    def landing(self) -> tuple[Access, ...]:
        """Give the writes of asynchronous copies, any of which may happen at a wait."""
        if self._landing is None:
            found = self.sites.below(self.kernel.body, self._root)
            copies = (a for a in found if a.writes and is_effect(a.stmt, "cp_async"))
            self._landing = tuple(replace(a, floating=True) for a in copies)
        return self._landing


def _leaf(items: Items, plans: tuple[_Planned, ...]) -> Build:
    """Add an item; give what makes it again."""
    number = len(items)
    items.append(plans)
    return lambda pieces: [*pieces.before(number), pieces.plans[number].stmt]


def _again(stmt: Stmt, parts: list[Stmt]) -> Stmt:
    """Give the parts in order: `stmt` itself where they are its own."""
    if len(parts) == 1 and parts[0] is stmt:
        return stmt
    own = stmt.body if type(stmt) is Seq else ()
    return stmt if len(parts) == len(own) and all(a is b for a, b in zip(parts, own, strict=True)) else joined(parts)


def _assembled(stmt: Stmt, build: Build, pieces: _Pieces) -> _Planned:
    """Give a level with its barriers."""
    items, cuts = [p.summary for p in pieces.plans], pieces.cuts
    last = [effect("barrier")] if len(items) in cuts else []
    made = _again(stmt, [*build(pieces), *last])
    head: list[Access] = []
    for number, item in enumerate(items):
        if number in cuts:
            break
        head += item.head
        if not item.open:
            break
    tail: list[Access] = []
    for number in range(len(items), 0, -1):
        if number in cuts:
            break
        tail[:0] = items[number - 1].tail
        if not items[number - 1].open:
            break
    summary = Summary(tuple(head), tuple(tail), not cuts and all(i.open for i in items))
    return _Planned(made, summary)


def _with_body(stmt: Stmt, name: str, body: Stmt) -> Stmt:
    return stmt if getattr(stmt, name) is body else with_fields(stmt, {name: body})


def _forward(items: Sequence[Summary]) -> Iterator[tuple[int, int]]:
    """Give the pairs of items with an open way from the first to the second, the nearest first."""
    for i in range(len(items) - 1, -1, -1):
        if items[i].tail:
            for j in range(i + 1, len(items)):
                if items[j].head:
                    yield i, j
                if not items[j].open:
                    break


def _around(items: Sequence[Summary]) -> Iterator[tuple[int, int]]:
    """Give the pairs of items with an open way from the first to the second in the next iteration, nearest first."""
    heads: list[int] = []
    for j, item in enumerate(items):
        if item.head:
            heads.append(j)
        if not item.open:
            break
    for i in range(len(items) - 1, -1, -1):
        if items[i].tail:
            yield from ((i, j) for j in heads)
        if not items[i].open:
            break
