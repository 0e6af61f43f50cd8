"""What statements do to the memory that the threads of a block share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ....ir import arith
from ....ir.affine import affine_of
from ....ir.buffer import Buffer
from ....ir.expr import Address, Const, Expr, Load, Var
from ....ir.interval import Interval, Known, negated
from ....ir.linear import Affine, Opaque
from ....ir.stmt import For, If, Let, Stmt, Store
from ....ir.visit import substitute, walk
from ..hopper.rings import ring_buffers
from ..kernel import THREAD_VARS, Kernel

# Elements that one call touches from its address on, by their number.
RUNS = {count: Var(f"run{count}", minimum=0) for count in (2, 4, 8, 16)}


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """What is known where a statement stands.

    loops    variables of the loops around it, outermost first
    lets     what let-bound variables stand for
    varying  variables that differ between threads
    uniform  whether all threads of the block get there together
    """

    known: Known
    loops: tuple[Var, ...] = ()
    lets: Mapping[Var, Expr] = field(default_factory=dict)
    varying: frozenset[Var] = frozenset(THREAD_VARS)
    uniform: bool = True

    def varies(self, expr: Expr) -> bool:
        """Tell whether a value may differ between threads."""
        for node in walk(expr):
            match node:
                case Var() if node in self.varying:
                    return True
                case Load(buffer=buffer) if buffer.scope not in ("global", "shared"):
                    return True
        return False

    def within(self, loop: For) -> Place:
        """Give the place of a loop's body."""
        varies = self.varies(loop.extent)
        extent = self.resolved(loop.extent)
        known = self.known
        if loop.var not in known.ranges or self.lets:
            known = known.within(loop.var, Interval(Const(0, loop.var.dtype), arith.sub(extent, 1)))
        varying = self.varying | {loop.var} if varies else self.varying
        loops = (*self.loops, loop.var)
        return replace(self, known=known, loops=loops, varying=varying, uniform=self.uniform and not varies)

    def under(self, branch: If, holds: bool) -> Place:
        """Give the place of a branch."""
        condition: Expr | None = self.resolved(branch.condition)
        if not holds:
            condition = negated(condition)
        known = self.known if condition is None else self.known.assume(condition)
        return replace(self, known=known, uniform=self.uniform and not self.varies(branch.condition))

    def binding(self, let: Let) -> Place:
        """Give the place of what a let-bound variable is known in."""
        varying = self.varying | {let.var} if self.varies(let.value) else self.varying
        return replace(self, lets={**self.lets, let.var: self.resolved(let.value)}, varying=varying)

    def resolved(self, expr: Expr) -> Expr:
        """Give an expression without let-bound variables."""
        return substitute(expr, self.lets) if self.lets else expr


@dataclass(frozen=True, slots=True, eq=False)
class Access:
    """An access to a buffer.

    forms       the indices; None for any element
    writes      whether it writes; else it reads
    loops       variables of the loops around it, outermost first
    collective  whether what a thread touches is not decided by its own indices alone
    floating    whether it may happen in other iterations than those around it: a copy that lands later
    """

    buffer: Buffer
    forms: tuple[Affine, ...] | None
    writes: bool
    loops: tuple[Var, ...]
    known: Known
    stmt: Stmt
    collective: bool = False
    floating: bool = False

    def at(self, var: Var, value: Expr) -> Access:
        """Give the access where a loop variable has a value."""
        loops = tuple(v for v in self.loops if v is not var)
        return replace(self, forms=self.forms_at(var, value), known=self.known_at(var, value), loops=loops)

    def forms_at(self, var: Var, value: Expr) -> tuple[Affine, ...] | None:
        """Give the indices where a variable has a value."""
        return None if self.forms is None else tuple(moved(f, var, value) for f in self.forms)

    def known_at(self, var: Var, value: Expr) -> Known:
        """Give what is known where a variable has a value."""
        facts = self.known.facts
        if not any(var in f.vars for f in facts):
            return self.known
        return replace(self.known, facts=tuple(moved(f, var, value) for f in facts))


def root_place(kernel: Kernel) -> Place:
    """Give the place of a kernel's body."""
    runs = {var: Interval(Const(0), Const(count - 1)) for count, var in RUNS.items()}
    return Place(Known({**kernel.ranges, **runs}))


def moved(form: Affine, var: Var, value: Expr) -> Affine:
    """Give a form with a variable replaced."""
    if var not in form.vars:
        return form
    if any(type(atom) is Opaque and var in atom.vars for mono in form.terms for atom in mono):
        return affine_of(substitute(form.to_expr(), {var: value}))
    c, rest = form.factor(var)
    return rest + c * affine_of(value) if var not in c.vars else affine_of(substitute(form.to_expr(), {var: value}))


def tracked(kernel: Kernel, exempt: frozenset[str]) -> frozenset[Buffer]:
    """Give the buffers whose accesses need an order: shared ones, and global ones that are read or stored to twice.

    exempt  names of buffers that are synchronised otherwise, as those that bulk copies fill are
    """
    uses: dict[Buffer, list[bool]] = {}
    for node in walk(kernel.body):
        match node:
            case Load(buffer=buffer) | Address(buffer=buffer):
                uses.setdefault(buffer, []).append(False)
            case Store(buffer=buffer):
                uses.setdefault(buffer, []).append(True)
    exempt = exempt | ring_buffers(kernel.body)
    shared = {b for b in uses if b.scope == "shared"}
    written = {b for b in kernel.outputs if b.scope == "global" and len(uses.get(b, ())) > 1}
    return frozenset(b for b in shared | written if b.name not in exempt)
