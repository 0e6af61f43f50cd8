"""What the emitter knows at one point of a function: the environment of its partial evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from ...ir.buffer import Buffer
from ...ir.errors import CodegenError
from ...ir.expr import Address, Call, Expr, Load, Var
from ...ir.intrinsics import INTRINSICS, Effect
from ...ir.stmt import Stmt, Store
from ...ir.target import Target
from ...ir.visit import children, inner_statements, of_kind, variables
from .cells import Cell, Cells
from .code import Code
from .types import Value, value_type

T = TypeVar("T")
STATEMENT_LIMIT = 20_000  # statements of one function, counted as they are written out


class Linear(NamedTuple):
    """An integer: constant + sum of coefficient * value + what differs between lanes.

    terms    values, scalars or vectors, with their coefficients
    stride   difference between neighbouring lanes
    pattern  further constants, one per lane, or empty
    """

    constant: int = 0
    terms: tuple[tuple[Value, int], ...] = ()
    stride: int = 0
    pattern: tuple[int, ...] = ()


class Place(NamedTuple):
    """What the copies of one access in written-out loops share of its offset; each copy adds its own constants.

    moving   variables of written-out loops, with the coefficients that the offset has in them
    divided  quotients and remainders of them, with their coefficients
    """

    access: Load | Store | Address
    fixed: Linear
    moving: tuple[tuple[Var, int], ...]
    divided: tuple[tuple[Expr, int], ...]


class Column(NamedTuple):
    """A vector to be stored, and where its first lane goes; `offset.stride` elements lie between the lanes.

    active  lanes that are stored, the first ones
    mask    which of them, where that is decided when the kernel runs
    """

    offset: Linear
    value: Value
    active: int
    mask: Value | None = None


class LaneLoop(NamedTuple):
    """A vectorized loop whose lanes are not chosen yet: every leaf below it is written once per chunk.

    chunks  first lane and number of lanes of each native vector
    """

    var: Var
    chunks: tuple[tuple[int, int], ...]


@dataclass
class ModuleText:
    """Parts of the LLVM module that function bodies ask for.

    declarations  declarations of functions and intrinsics, in order of first use
    definitions   internal functions by symbol, each written once
    outlined      bodies of parallel loops
    loops         how many loops were begun
    vectors       how many leaves of vectorized loops were written
    tiles         innermost loops that carry a register tile and store nothing else
    unfinished    innermost loops without vectors
    guarded       those with conditions around a register tile, and choices between tiles without any
    """

    declarations: dict[str, None] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    outlined: list[str] = field(default_factory=list)
    loops: int = 0
    vectors: int = 0
    tiles: int = 0
    unfinished: int = 0
    guarded: int = 0

    def declare(self, result: str, symbol: str, *arguments: str) -> str:
        """Give `symbol`, declared as `result symbol(arguments)`."""
        self.declarations[f"declare {result} @{symbol}({', '.join(arguments)})"] = None
        return f"@{symbol}"


@dataclass
class Body:
    """One LLVM function being written.

    env       variables in scope
    pointers  memory in scope: the name of each buffer's address
    align     alignment in bytes that the address of a buffer is known to have
    lanes     lanes of the values being written (1 for scalar code)
    mask      lanes that are active, or None for all
    pending   a vectorized loop whose leaves are still to be written
    heap      pointers to free when the function ends early, outermost first
    columns   vectors that a loop which is being written out leaves to be stored at its end, or None
    counts    values that are never negative: loop counters and sizes
    ends      the last values of counters of loops whose extents are constant
    steps     variables of loops that are written out: they are constants, or count lanes
    places    what is known here of the offsets of accesses, by identity of the access
    placed    accesses whose fixed part reads a variable, by identity
    held      values of conditions that are known here, by their identity, the number of lanes, and what decides them
    streamed  buffers whose stores go past the caches, and in pieces of how many bytes; 0 where they cannot
    streams   whether some do
    """

    name: str
    target: Target
    module: ModuleText
    code: Code = field(default_factory=Code)
    cells: Cells = field(default_factory=Cells)
    env: dict[Var, Linear | Value] = field(default_factory=dict)
    pointers: dict[Buffer, str] = field(default_factory=dict)
    align: dict[Buffer, int] = field(default_factory=dict)
    lanes: int = 1
    mask: Value | None = None
    pending: LaneLoop | None = None
    heap: list[str] = field(default_factory=list)
    counts: set[str] = field(default_factory=set)
    ends: dict[str, int] = field(default_factory=dict)
    columns: list[Column] | None = None
    in_parallel: bool = False
    streamed: dict[Buffer, int] = field(default_factory=dict)
    streams: bool = False
    statements: int = 0
    loaded: dict[Buffer, dict[tuple, Value]] = field(default_factory=dict)
    registers: dict[Buffer, dict[int, Cell]] = field(default_factory=dict)  # by element
    forms: dict[int, tuple] = field(default_factory=dict)  # affine forms, by identity of the expression
    offsets: dict[int, tuple] = field(default_factory=dict)  # affine forms of offsets, by identity of the access
    steps: set[Var] = field(default_factory=set)
    places: dict[int, Place] = field(default_factory=dict)
    placed: dict[Var, dict[int, None]] = field(default_factory=dict)
    held: dict[tuple, Value] = field(default_factory=dict)
    bases: dict[tuple[Buffer, tuple], str] = field(default_factory=dict)  # pointers, by buffer and loop counters
    facts: dict[tuple[str, int], tuple[object, object]] = field(default_factory=dict)  # by name, and identity of a node
    _elems: dict[Buffer, str] = field(default_factory=dict)
    _spare: str = ""

    @cached_property
    def vector_bits(self) -> int:
        """Give the width of native vectors in bits."""
        return self.target.vector_bits or 128

    def count(self, stmt: Stmt) -> None:
        """Count a statement as written out.  Raises CodegenError when there are too many."""
        self.statements += 1
        if self.statements > STATEMENT_LIMIT:
            raise CodegenError(
                "llvm",
                f"unrolling {self.name} writes out more than {STATEMENT_LIMIT:,} statements",
                f"> {stmt}",
                "unroll fewer or smaller loops",
            )

    def bind(self, var: Var, value: Linear | Value) -> None:
        """Give a variable its value, and forget the places that were worked out with another one."""
        self.env[var] = value
        for access in self.placed.get(var, ()):
            self.places.pop(access, None)

    def by_chunk(self, write: Callable[[], None]) -> None:
        """Write a leaf once for each native vector of the pending vectorized loop, or once where there is none."""
        pending = self.pending
        if pending is None:
            write()
            return
        self.pending = None
        self.module.vectors += 1
        self.steps.add(pending.var)
        for first, lanes in pending.chunks:
            self.bind(pending.var, Linear(first, (), int(lanes > 1)))
            self.lanes = lanes
            write()
        self.lanes = 1
        self.pending = pending
        del self.env[pending.var]

    @contextmanager
    def wide(self, lanes: int) -> Iterator[None]:
        """Write with so many lanes."""
        outer, self.lanes = self.lanes, lanes
        yield
        self.lanes = outer

    @contextmanager
    def masked(self, mask: Value | None) -> Iterator[None]:
        """Write with these lanes active."""
        outer, self.mask = self.mask, mask
        yield
        self.mask = outer

    @contextmanager
    def region(self, before: list, written: Iterable[Buffer], repeats: bool) -> Iterator[None]:
        """Write a region of the code, forgetting what was loaded from the buffers that it writes.

        repeats  the region is a loop body: its writes also precede its own reads
        """
        outer, places, held = self.loaded, self.places, self.held
        changed = set(written)
        self.places, self.held = dict(places), dict(held)  # values first needed inside may not be known outside
        self.loaded = {b: dict(known) for b, known in outer.items() if not (repeats and b in changed)}
        with self.code.region(before):
            yield
        self.loaded = {b: known for b, known in outer.items() if b not in changed}
        self.places, self.held = places, held

    def fact(self, name: str, node: Expr | Stmt, compute: Callable[[Any], T]) -> T:
        """Give `compute(node)`, computed once per node: nothing that another place in the code could change."""
        key = (name, id(node))
        found = self.facts.get(key)
        if found is None:
            found = self.facts[key] = (node, compute(node))
        return found[1]  # type: ignore[return-value]

    def written(self, stmt: Stmt) -> frozenset[Buffer]:
        """Give the buffers that `stmt` may write."""
        return self.fact("written", stmt, self._written)

    def _written(self, stmt: Any) -> frozenset[Buffer]:
        found: set[Buffer] = {stmt.buffer} if type(stmt) is Store else set()
        inner = list(inner_statements(stmt))
        for part in inner:
            found |= self.written(part)
        for root in [x for x in children(stmt) if isinstance(x, Expr)] if inner else [stmt]:
            for call in of_kind(root, Call):
                found |= {a.buffer for a in call.args if type(a) is Address} if writes(call) else set()
        return frozenset(found)

    def touched(self, stmt: Stmt) -> tuple[Buffer, ...]:
        """Give the buffers that `stmt` may read or write, in order of first appearance."""
        return self.fact("touched", stmt, _touched)

    def elem_of(self, buffer: Buffer) -> str:
        """Give the LLVM element type of values of `buffer`."""
        elem = self._elems.get(buffer)
        if elem is None:
            elem = self._elems[buffer] = value_type(buffer.dtype)
        return elem

    def spare_slot(self) -> str:
        """Give a stack slot that any scalar can be read from, and any register be written to."""
        if not self._spare:
            self._spare = self.code.fresh("spare", level=0)
            self.code.allocas.append(f"  {self._spare} = alloca [64 x i8], align 16")
        return self._spare

    def varies(self, expr: Expr) -> bool:
        """Tell whether `expr` reads the variable of the pending vectorized loop."""
        return self.pending is not None and self.pending.var in self.fact("used", expr, variables)


def writes(call: Call) -> bool:
    """Tell whether a call may write the memory whose addresses it is given."""
    known = INTRINSICS.get(call.name)
    return known is None or known.effect is Effect.WRITES


def _touched(stmt: Any) -> tuple[Buffer, ...]:
    return tuple(dict.fromkeys(n.buffer for n in of_kind(stmt, Load, Store, Address)))
