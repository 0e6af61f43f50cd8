"""Where a kernel accesses the memory that threads share: found once, and told for each place that a statement has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ....ir import arith
from ....ir.affine import affine_of
from ....ir.buffer import Buffer
from ....ir.expr import Address, Call, Expr, Load
from ....ir.intrinsics import INTRINSICS, Effect
from ....ir.linear import Affine, of_atom
from ....ir.stmt import Allocate, Evaluate, For, If, Let, Seq, Stmt, Store
from ....ir.visit import inner_statements, walk
from .accesses import RUNS, Access, Place, moved

MATRIX_ROW = 16  # bytes of a row of an 8x8 matrix of 16-bit elements, what one lane's address stands for
ROW_CALLS = {"ldmatrix": False, "stmatrix": True}  # calls on rows of matrices, by stem: whether they write
WORD = 4  # bytes that load_word reads
GROUPS = frozenset({"cp_async_commit", "cp_async_wait"})  # calls on groups of asynchronous copies
ORDERING = GROUPS | {"barrier"}  # calls that decide when accesses happen
ANYWHERE = 0  # elements of a site that may be all


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """One access in the text of a statement; `count` elements from the indices on."""

    buffer: Buffer
    indices: tuple[Expr, ...]
    writes: bool
    count: int = 1
    collective: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """What is done in a statement, those in it included.

    touches  whether it accesses the buffers, or decides when accesses happen
    writes   whether that is more than reading
    groups   whether groups of asynchronous copies are closed or waited for
    """

    touches: bool
    writes: bool
    groups: bool


class Sites:
    """The accesses of one kernel to some buffers."""

    def __init__(self, buffers: frozenset[Buffer]) -> None:
        self.buffers = buffers
        self._own: dict[int, tuple[Stmt, tuple[Site, ...]]] = {}
        self._uses: dict[int, tuple[Stmt, Use]] = {}
        self._forms: dict[int, tuple[Expr, Affine]] = {}

    def own(self, stmt: Stmt, place: Place) -> list[Access]:
        """Give the accesses of a statement itself, without those of the statements in it: reads before writes."""
        return [self._access(site, stmt, place) for site in self._sites(stmt)]

    def below(self, stmt: Stmt, place: Place) -> list[Access]:
        """Give all accesses of a statement and of those in it."""
        if not self.use(stmt).touches:
            return []
        found = self.own(stmt, place)
        match stmt:
            case For(body=body):
                found += self.below(body, place.within(stmt))
            case Let(body=body):
                found += self.below(body, place.binding(stmt))
            case If(then=then, otherwise=otherwise):
                found += self.below(then, place.under(stmt, True))
                if otherwise is not None:
                    found += self.below(otherwise, place.under(stmt, False))
            case Seq(parts):
                found += [a for part in parts for a in self.below(part, place)]
            case Allocate(body=body):
                found += self.below(body, place)
        return found

    def use(self, stmt: Stmt) -> Use:
        """Give what is done in a statement."""
        found = self._uses.get(id(stmt))
        if found is None:
            own = self._sites(stmt)
            inner = [self.use(child) for child in inner_statements(stmt)]
            called = _called(stmt)
            writes = called in ORDERING or any(site.writes for site in own) or any(use.writes for use in inner)
            touches = writes or bool(own) or any(use.touches for use in inner)
            groups = called in GROUPS or any(use.groups for use in inner)
            found = self._uses[id(stmt)] = (stmt, Use(touches, writes, groups))
        return found[1]

    def _sites(self, stmt: Stmt) -> tuple[Site, ...]:
        found = self._own.get(id(stmt))
        if found is None:
            made = sorted(_sites_of(stmt, self.buffers), key=lambda site: site.writes)
            found = self._own[id(stmt)] = (stmt, tuple(made))
        return found[1]

    def _access(self, site: Site, stmt: Stmt, place: Place) -> Access:
        loops = place.loops
        if site.count == ANYWHERE:
            return Access(site.buffer, None, site.writes, loops, place.known, stmt, collective=True)
        forms = tuple([self._form(i, place) for i in site.indices])
        if site.count > 1:
            run = RUNS[site.count]
            forms, loops = (*forms[:-1], forms[-1] + of_atom(run)), (*loops, run)
        return Access(site.buffer, forms, site.writes, loops, place.known, stmt, site.collective)

    def _form(self, index: Expr, place: Place) -> Affine:
        found = self._forms.get(id(index))
        if found is None:
            found = self._forms[id(index)] = (index, affine_of(index))
        form = found[1]
        for var in place.lets.keys() & form.vars if place.lets else ():
            form = moved(form, var, place.lets[var])
        return form


def _sites_of(stmt: Stmt, buffers: frozenset[Buffer]) -> Iterator[Site]:
    match stmt:
        case Store(buffer, indices, value):
            parts: tuple[Expr, ...] = (*indices, value)
            if buffer in buffers:
                yield Site(buffer, indices, True)
        case For(extent=part) | If(condition=part) | Let(value=part) | Evaluate(part):
            parts = (part,)
        case _:
            return
    for part in parts:
        for node in walk(part):
            match node:
                case Load(buffer, indices) if buffer in buffers:
                    yield Site(buffer, indices, False)
                case Call(args=args) if any(type(a) is Address and a.buffer in buffers for a in args):
                    yield from _of_call(node, buffers)


def _of_call(call: Call, buffers: frozenset[Buffer]) -> Iterator[Site]:
    """Give what a call does to the buffers whose addresses it is given."""
    row = next((writes for stem, writes in ROW_CALLS.items() if call.name.startswith(stem)), None)
    known = INTRINSICS.get(call.name)
    for position, arg in enumerate(call.args):
        match arg:
            case Address(buffer, indices) if buffer in buffers:
                if call.name == "cp_async":
                    yield _run(Site(buffer, indices, position == 0), arith.int_value(call.args[2]) or 0)
                elif call.name == "load_word":
                    yield _run(Site(buffer, indices, False), WORD)
                elif row is not None:
                    yield _run(Site(buffer, indices, row, collective=True), MATRIX_ROW)
                else:
                    yield Site(buffer, indices, False, ANYWHERE)
                    if known is None or known.effect is Effect.WRITES:
                        yield Site(buffer, indices, True, ANYWHERE)


def _run(site: Site, size_bytes: int) -> Site:
    count = size_bytes // site.buffer.dtype.bytes
    return replace(site, count=count if count in (1, *RUNS) else ANYWHERE)


def _called(stmt: Stmt) -> str:
    """Give the name of the call that is all of a statement."""
    match stmt:
        case Evaluate(Call(name)):
            return name
        case _:
            return ""
