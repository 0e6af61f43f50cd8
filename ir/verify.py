"""The rules of a loop nest, checked: types, ranks, scopes, names, races, and accesses in bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from . import expr as e
from . import stmt as s
from .affine import affine_of, reads_memory
from .arith import int_value
from .buffer import Buffer
from .dtype import boolean
from .errors import VerifyError
from .inside import Access, unproved_accesses
from .intrinsics import INTRINSICS, Effect
from .printer import expr_text, place_text
from .visit import children, variables, walk

__all__ = ["Access", "unproved_accesses", "verify"]

CONCURRENT = (s.ForKind.PARALLEL, s.ForKind.VECTORIZED, s.ForKind.THREAD)
CONSTANT_EXTENT = (s.ForKind.VECTORIZED, s.ForKind.UNROLLED)


def verify(function: s.Function, bounds: bool = False) -> None:
    """Check that a nest keeps the rules of the language.

    Operands agree in type, conditions are bool, indices are integers and as many as dimensions; variables and
    buffers are used where they are bound, under unique names; vectorized and unrolled extents are literals; inputs
    are not written; intrinsics get their number of arguments; no two iterations of a parallel, vectorized or bound
    loop are certain to store to one element.  A variable may be bound in several places that lie beside each other.

    bounds  also refuse the first access that is not proved to lie in its buffer (see `ir.inside`)
    Raises VerifyError with the statement marked.
    """
    _Checker(function).check()
    if bounds:
        for access in unproved_accesses(function):
            raise access.error(function)


@dataclass(slots=True)
class _Checker:
    """What is in scope at the statement being checked."""

    function: s.Function
    vars: set[e.Var] = field(default_factory=set)
    buffers: set[Buffer] = field(default_factory=set)
    named: dict[str, e.Var | Buffer] = field(default_factory=dict)
    place: s.Stmt | None = None
    races: list[_Race] = field(default_factory=list)  # concurrent loops around the statement

    def check(self) -> None:
        """Check the parameters and the body."""
        function = self.function
        for param in (*function.params, *function.size_vars):
            self.name(param)
            match param:
                case Buffer():
                    self.buffers.add(param)
                case e.Var():
                    self.vars.add(param)
        for output in function.outputs:
            if output not in self.buffers:
                self.refuse(f"the output {output.name} is no parameter", "outputs that are among params")
        for buffer in function.buffers:
            self.buffer_type(buffer)
        self.stmt(function.body)

    def refuse(self, fact: str, advice: str) -> None:
        """Raise the error of the statement at hand."""
        where = place_text(self.function, self.place) if self.place else ""
        raise VerifyError("verify", fact, where=where, advice=advice)

    def require(self, holds: bool, fact: str, advice: str) -> None:
        """Refuse unless `holds`."""
        if not holds:
            self.refuse(fact, advice)

    def name(self, thing: e.Var | Buffer) -> None:
        """Take a name for a variable or buffer."""
        other = self.named.setdefault(thing.name, thing)
        self.require(other is thing, f"two different things are named {thing.name}", "unique names in a function")

    # Statements

    def stmt(self, stmt: s.Stmt) -> None:
        """Check a statement and what is in it."""
        self.place = stmt
        match stmt:
            case s.For():
                self.loop(stmt)
            case s.Store():
                self.store(stmt)
            case s.If(condition, then, otherwise):
                self.condition(condition, "the condition of if")
                with self.guarded(condition):
                    self.stmt(then)
                    if otherwise is not None:
                        self.stmt(otherwise)
            case s.Allocate(buffer, body):
                self.allocate(buffer, body)
            case s.Let(var, value, body):
                self.expr(value)
                fact = f"{var.name} is {var.dtype}, its value {value.dtype}"
                self.require(var.dtype == value.dtype, fact, "a variable of the value's type, or a cast")
                for race in self.races:
                    race.bind(var, value)
                with self.bound(var):
                    self.stmt(body)
            case s.Evaluate(e.Call() as call):
                self.expr(call)
            case s.Evaluate():
                self.refuse("the value of an expression is not used", "a call")
            case s.Seq(body):
                for part in body:
                    self.stmt(part)
            case _:
                self.refuse(f"{type(stmt).__name__} is no statement of loop nests", "the nodes of ir.stmt")

    def loop(self, loop: s.For) -> None:
        """Check a loop."""
        name, extent = loop.var.name, loop.extent
        self.expr(extent)
        self.require(extent.dtype.is_int, f"the extent of {name} is {extent.dtype}", "an integer extent")
        fact = f"{name} is {loop.var.dtype}, its extent {extent.dtype}"
        self.require(loop.var.dtype == extent.dtype, fact, "a loop variable of the extent's type")
        if loop.kind in CONSTANT_EXTENT:
            fact = f"{name} is {loop.kind.value}, its extent {expr_text(extent)} is no literal"
            self.require(int_value(extent) is not None, fact, "a constant extent, or a serial loop")
        self.require((loop.kind is s.ForKind.THREAD) == bool(loop.thread),
                     f"{name} is {loop.kind.value} with thread axis {loop.thread!r}",
                     "a thread axis for thread loops, and for them alone")  # fmt: skip
        races = self.races
        if loop.kind in CONCURRENT and int_value(extent) not in (0, 1):
            self.races = [*races, _Race(loop, frozenset(self.buffers), {loop.var})]
        with self.bound(loop.var):
            self.stmt(loop.body)
        self.races = races

    def store(self, store: s.Store) -> None:
        """Check a store."""
        buffer, value = store.buffer, store.value
        self.access(buffer, store.indices)
        self.expr(value)
        fact = f"{buffer.name} is {buffer.dtype}, the value stored {value.dtype}"
        self.require(value.dtype == buffer.dtype, fact, f'value.astype("{buffer.dtype}")')
        self.writable(buffer)
        for race in self.races:
            if race.collides(store):
                text = f"{buffer.name}[{', '.join(map(expr_text, store.indices))}]"
                loop = f"{race.loop.kind.value} loop {race.loop.var.name}"
                fact = f"iterations 0 and 1 of the {loop} both store to {text}"
                self.refuse(fact, "a serial loop, or an index that depends on the loop's variable")

    def writable(self, buffer: Buffer) -> None:
        """Refuse to write a parameter that is no output."""
        is_input = buffer in self.function.params and buffer not in self.function.outputs
        self.require(not is_input, f"{buffer.name} is an input and is written", "list it in Function.outputs")

    def allocate(self, buffer: Buffer, body: s.Stmt) -> None:
        """Check an allocation and what it is for."""
        self.name(buffer)
        self.buffer_type(buffer)
        self.require(buffer not in self.buffers, f"{buffer.name} is allocated within its own scope", "another buffer")
        self.buffers.add(buffer)
        self.stmt(body)
        self.buffers.discard(buffer)

    def buffer_type(self, buffer: Buffer) -> None:
        """Check a buffer's shape, strides and alignment."""
        for dim in (*buffer.shape, *(buffer.strides or ())):
            self.expr(dim)
            self.require(dim.dtype.is_int, f"{buffer.name} has a dimension of type {dim.dtype}", "integer dimensions")
        if buffer.strides is not None:
            fact = f"{buffer.name} has {len(buffer.shape)} dimensions and {len(buffer.strides)} strides"
            self.require(len(buffer.strides) == len(buffer.shape), fact, "one stride per dimension")
        fact = f"{buffer.name} is aligned to {buffer.align} bytes"
        self.require(buffer.align > 0 and buffer.align & (buffer.align - 1) == 0, fact, "a power of two")

    @contextmanager
    def bound(self, var: e.Var) -> Iterator[None]:
        """Have `var` in scope."""
        self.name(var)
        self.require(var not in self.vars, f"{var.name} is bound within its own scope", "another variable")
        self.vars.add(var)
        yield
        self.vars.discard(var)

    @contextmanager
    def guarded(self, condition: e.Expr) -> Iterator[None]:
        """Have a condition around the statement: stores may then be left out in some iterations."""
        races = self.races
        self.races = [race for race in races if not race.varies(condition)]
        yield
        self.races = races

    # Expressions

    def expr(self, root: e.Expr) -> None:
        """Check an expression and everything in it."""
        for node in walk(root):
            self.node(node)  # type: ignore[arg-type]

    def condition(self, node: e.Expr, what: str) -> None:
        """Check a condition."""
        self.expr(node)
        self.require(node.dtype == boolean, f"{what} is {node.dtype}", "a comparison, such as x > 0")

    def node(self, node: e.Expr) -> None:
        """Check one expression node."""
        match node:
            case e.Const() | e.Cast():
                pass
            case e.Var(name):
                self.require(node in self.vars, f"the variable {name} is not in scope", "a loop or let around its use")
            case e.Not(a):
                self.require(a.dtype == boolean, f"the operand of not is {a.dtype}", "a bool")
            case e.And(a, b) | e.Or(a, b):
                both = a.dtype == b.dtype == boolean
                self.require(both, f"the operands of and, or are {a.dtype} and {b.dtype}", "bools")
            case e.Binary(a=a, b=b) | e.Comparison(a=a, b=b):
                self.operands(node, a, b)
            case e.Select(condition, a, b) | e.IfThenElse(condition, a, b):
                fact = f"the condition of a selection is {condition.dtype}"
                self.require(condition.dtype == boolean, fact, "a comparison, such as x > 0")
                self.agree(node, a, b)
            case e.Load(buffer, indices) | e.Address(buffer, indices):
                self.access(buffer, indices, inside=False)
            case e.Call():
                self.call(node)
                return  # the one node that takes addresses
            case _:
                self.refuse(f"{type(node).__name__} is no expression of loop nests", "the nodes of ir.expr")
        for child in children(node):
            match child:
                case e.Address():
                    self.refuse("an address is no number", "addresses in calls alone")

    def agree(self, node: e.Expr, a: e.Expr, b: e.Expr) -> None:
        """Refuse operands of two types."""
        fact = f"the operands of {type(node).__name__} are {a.dtype} and {b.dtype}"
        self.require(a.dtype == b.dtype, fact, "a cast of one of them")

    def operands(self, node: e.Expr, a: e.Expr, b: e.Expr) -> None:
        """Check the operands of an arithmetic operation or a comparison."""
        self.agree(node, a, b)
        name = type(node).__name__
        match node:
            case e.Div():
                self.require(a.dtype.is_float, f"the operands of Div are {a.dtype}", "FloorDiv of integers")
            case e.FloorDiv() | e.FloorMod():
                self.require(a.dtype.is_int, f"the operands of {name} are {a.dtype}", "integers")
            case e.Add() | e.Sub() | e.Mul():
                self.require(a.dtype != boolean, f"the operands of {name} are bool", "a cast to an integer type")

    def access(self, buffer: Buffer, indices: Sequence[e.Expr], inside: bool = True) -> None:
        """Check an access; `inside` says whether to check the indices themselves too."""
        fact = f"the buffer {buffer.name} is not in scope"
        self.require(buffer in self.buffers, fact, "a parameter, or an allocation around its use")
        fact = f"{buffer.name} has {len(buffer.shape)} dimensions, indexed by {len(indices)}"
        self.require(len(indices) == len(buffer.shape), fact, "one index per dimension")
        for index in indices:
            if inside:
                self.expr(index)
            fact = f"the index {expr_text(index)} of {buffer.name} is {index.dtype}"
            self.require(index.dtype.is_int, fact, "an integer index")

    def call(self, node: e.Call) -> None:
        """Check a call against the table of intrinsics."""
        known = INTRINSICS.get(node.name)
        if known is None:
            return
        fact = f"{node.name} takes {known.arity} arguments, got {len(node.args)}"
        self.require(len(node.args) == known.arity, fact, f"{known.arity} arguments")
        if known.effect is Effect.PURE:
            return
        match node.args[0]:
            case e.Address(buffer):
                if known.effect is Effect.WRITES:
                    self.writable(buffer)
            case first:
                self.refuse(f"{node.name} starts with {expr_text(first)}", "an address")


@dataclass(slots=True)
class _Race:
    """One concurrent loop: which memory its iterations share, and which variables differ between them."""

    loop: s.For
    shared: frozenset[Buffer]
    varying: set[e.Var]

    def bind(self, var: e.Var, value: e.Expr) -> None:
        """Take in a let."""
        if self.varies(value):
            self.varying.add(var)

    def varies(self, node: e.Expr) -> bool:
        """Tell whether the value may differ between iterations; what is read from memory may."""
        if reads_memory(node):
            return True
        if not node.dtype.is_int:
            return not self.varying.isdisjoint(variables(node))
        return not self.varying.isdisjoint(affine_of(node).vars)

    def collides(self, store: s.Store) -> bool:
        """Tell whether every iteration is certain to store to the same elements."""
        return store.buffer in self.shared and not any(self.varies(index) for index in store.indices)
