"""An independent check of barriers: all threads of a block are followed with numbers, element by element.

Slow and plain, for tests: nothing is proved, so nothing is taken on trust.  Every statement is executed for all threads
at once, as far as indices and conditions go; values from memory are not known, and conditions on them are taken to hold
and to fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....ir import expr as e
from ....ir.arith import int_value
from ....ir.buffer import Buffer
from ....ir.errors import CodegenError
from ....ir.expr import Address, Call, Expr, Load, Var
from ....ir.printer import expr_text
from ....ir.stmt import Allocate, Evaluate, For, If, Let, Seq, Stmt, Store
from ....ir.visit import children, substitute, walk
from ..kernel import BLOCK_VARS, THREAD_VARS, Kernel
from ..screens.lanes import OPERATORS
from .accesses import tracked
from .sites import MATRIX_ROW, ROW_CALLS, WORD

Values = Any  # a number, or one for each thread
NOBODY, SEVERAL = -1, -2


@dataclass(frozen=True, slots=True)
class Unsynchronised:
    """Two statements that touch one element in two threads, one of them writing, with nothing that orders them.

    kind  "race", "divergent barrier", or "pending copy" for an element that an asynchronous copy may still write
    """

    kind: str
    buffer: str
    first: str
    second: str


def check_barriers(
    kernel: Kernel,
    sizes: Mapping[str, int] | None = None,
    block: tuple[int, int, int] = (0, 0, 0),
    exempt: frozenset[str] = frozenset(),
) -> list[Unsynchronised]:
    """Give the pairs of statements that barriers do not keep in order, each once.

    sizes   values of scalar parameters and sizes, by name
    block   the block that is followed
    exempt  names of buffers that are synchronised otherwise
    Several threads that write an element in one execution of one statement are no pair: they write the same.
    """
    run = _Run(kernel, sizes or {}, block, exempt)
    run.stmt(kernel.body, np.ones(kernel.threads, bool))
    return list(run.found)


@dataclass(slots=True)
class _Memory:
    """Who touched the elements of one buffer since the last barrier, by element; NOBODY, a thread, or SEVERAL.

    writing, reading   the statement that did so last
    pending            the asynchronous copy that may still write there, -1 for none
    """

    shape: tuple[int, ...]
    writer: np.ndarray
    reader: np.ndarray
    writing: np.ndarray
    reading: np.ndarray
    pending: np.ndarray

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> _Memory:
        """Give untouched memory."""
        size = int(np.prod(shape, dtype=np.int64))
        return cls(shape, *(np.full(size, NOBODY, np.int32) for _ in range(5)))

    def reset(self) -> None:
        """Forget what a barrier has ordered."""
        self.writer[:] = self.reader[:] = NOBODY


@dataclass(slots=True)
class _Copy:
    """An asynchronous copy under way: the elements that threads asked for."""

    buffer: Buffer
    stmt: int
    threads: np.ndarray
    elements: np.ndarray


@dataclass(slots=True)
class _Run:
    """The state of all threads of a block; `groups` are asynchronous copies by the commit that closes them."""

    kernel: Kernel
    sizes: Mapping[str, int]
    block: tuple[int, int, int]
    exempt: frozenset[str]
    found: dict[Unsynchronised, None] = field(default_factory=dict)
    values: dict[Var, Values] = field(default_factory=dict)
    memory: dict[Buffer, _Memory] = field(default_factory=dict)
    numbers: dict[int, tuple[Stmt, int]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    open: list[_Copy] = field(default_factory=list)
    groups: list[list[_Copy]] = field(default_factory=list)

    def __post_init__(self) -> None:
        number = np.arange(self.kernel.threads)
        for var, extent in zip(THREAD_VARS, self.kernel.block, strict=True):
            self.values[var], number = number % extent, number // extent
        self.values |= dict(zip(BLOCK_VARS, self.block, strict=True))
        for node in walk(self.kernel.body):
            match node:
                case Var(name=name) if name in self.sizes:
                    self.values[node] = self.sizes[name]
        for buffer in tracked(self.kernel, self.exempt):
            self.memory[buffer] = _Memory.of(tuple(self.extent(d) for d in buffer.shape))

    def extent(self, size: Expr) -> int:
        """Give a dimension of a buffer."""
        known = int_value(size)
        if known is not None:
            return known
        inside = {v: e.Const(self.sizes[v.name]) for v in walk(size) if type(v) is Var}
        return int(self.known(substitute(size, inside)))

    # -- statements -----------------------------------------------------------------------------------------------

    def stmt(self, stmt: Stmt, active: np.ndarray) -> None:
        """Execute a statement for the active threads."""
        if not active.any():
            return
        match stmt:
            case Seq(parts):
                for part in parts:
                    self.stmt(part, active)
            case Allocate(body=body):
                self.stmt(body, active)
            case Let(var, value, body):
                self.reads(value, stmt, active)
                self.values[var] = self.evaluate(value)
                self.stmt(body, active)
            case If():
                self.branch(stmt, active)
            case For():
                self.loop(stmt, active)
            case Store(buffer, indices, value):
                for part in (*indices, value):
                    self.reads(part, stmt, active)
                if buffer in self.memory:
                    threads, elements = self.elements(buffer, indices, active)
                    self.write(buffer, self.number(stmt), threads, elements)
            case Evaluate(Call() as call):
                self.call(call, stmt, active)

    def branch(self, stmt: If, active: np.ndarray) -> None:
        """Execute both branches, each for the threads that take it."""
        self.reads(stmt.condition, stmt, active)
        taken = self.evaluate(stmt.condition)
        then = active if taken is None else active & taken
        other = active if taken is None else active & np.logical_not(taken)
        self.stmt(stmt.then, then)
        if stmt.otherwise is not None:
            self.stmt(stmt.otherwise, other)

    def loop(self, stmt: For, active: np.ndarray) -> None:
        """Execute a loop, for each thread as often as it asks for."""
        self.reads(stmt.extent, stmt, active)
        extent = self.known(stmt.extent)
        for k in range(int(np.max(extent))):
            self.values[stmt.var] = k
            self.stmt(stmt.body, active & (k < extent))

    def call(self, call: Call, stmt: Stmt, active: np.ndarray) -> None:
        """Execute a call for its effect."""
        match call:
            case Call("barrier"):
                if not active.all():
                    self.report("divergent barrier", "", self.number(stmt), self.number(stmt))
                for memory in self.memory.values():
                    memory.reset()
            case Call("cp_async", (Address(buffer, indices), source, size, *_)) if buffer in self.memory:
                self.reads(source, stmt, active)
                count = int(self.known(size)) // buffer.dtype.bytes
                threads, elements = self.elements(buffer, indices, active, count)
                number = self.number(stmt)
                self.write(buffer, number, threads, elements)
                self.memory[buffer].pending[elements] = number
                self.open.append(_Copy(buffer, number, threads, elements))
            case Call("cp_async_commit"):
                self.groups.append(self.open)
                self.open = []
            case Call("cp_async_wait", (left,)):
                while len(self.groups) > int(self.known(left)):
                    for copy in self.groups.pop(0):
                        self.memory[copy.buffer].pending[copy.elements] = NOBODY
                        self.write(copy.buffer, copy.stmt, copy.threads, copy.elements)
            case _:
                self.touch(call, stmt, active)

    def touch(self, call: Call, stmt: Stmt, active: np.ndarray) -> None:
        """Execute a call that is given addresses: a row of a matrix, else all of the buffer."""
        row = next((writes for stem, writes in ROW_CALLS.items() if call.name.startswith(stem)), None)
        for arg in call.args:
            match arg:
                case Address(buffer, indices) if buffer in self.memory and row is not None:
                    count = MATRIX_ROW // buffer.dtype.bytes
                    threads, elements = self.elements(buffer, indices, active, count)
                    lane = threads // 32 * 32  # the row of one lane goes to all of its warp
                    threads, elements = np.concatenate([lane, lane + 1]), np.concatenate([elements, elements])
                    (self.write if row else self.read)(buffer, self.number(stmt), threads, elements)
                case _:
                    self.reads(arg, stmt, active)

    # -- accesses -------------------------------------------------------------------------------------------------

    def reads(self, expr: Expr, stmt: Stmt, active: np.ndarray) -> None:
        """Execute the loads of an expression, those under a condition only where it holds."""
        match expr:
            case e.IfThenElse(condition, then, otherwise):
                self.reads(condition, stmt, active)
                taken = self.evaluate(condition)
                self.reads(then, stmt, active if taken is None else active & taken)
                self.reads(otherwise, stmt, active if taken is None else active & np.logical_not(taken))
                return
            case Call("load_word", (Address(buffer, indices),)) if buffer in self.memory and active.any():
                elements = self.elements(buffer, indices, active, WORD // buffer.dtype.bytes)
                self.read(buffer, self.number(stmt), *elements)
            case Load(buffer, indices) | Address(buffer, indices):
                if buffer in self.memory and active.any():
                    self.read(buffer, self.number(stmt), *self.elements(buffer, indices, active))
        for child in children(expr):
            self.reads(child, stmt, active)  # type: ignore[arg-type]  # below an expression are expressions

    def elements(
        self, buffer: Buffer, indices: tuple[Expr, ...], active: np.ndarray, count: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Give active threads and the numbers of the elements that they touch, `count` neighbours each."""
        shape = self.memory[buffer].shape
        flat: Values = 0
        for index, extent in zip(indices, shape, strict=True):
            flat = flat * extent + self.known(index)
        threads = np.flatnonzero(active)
        first = np.broadcast_to(flat, active.shape)[threads]
        run = np.arange(count)
        return np.repeat(threads, count), (first[:, None] + run).ravel()

    def read(self, buffer: Buffer, stmt: int, threads: np.ndarray, elements: np.ndarray) -> None:
        """Let threads read elements."""
        m = self.memory[buffer]
        self.check(buffer, stmt, m.writing[elements], (m.writer[elements] != NOBODY) & (m.writer[elements] != threads))
        self.check_pending(buffer, stmt, elements)
        before = m.reader[elements]
        m.reader[elements] = np.where((before == NOBODY) | (before == threads), threads, SEVERAL)
        crowded = (m.reader[elements] != threads) & (m.reader[elements] != SEVERAL)
        m.reader[elements[crowded]] = SEVERAL
        m.reading[elements] = stmt

    def write(self, buffer: Buffer, stmt: int, threads: np.ndarray, elements: np.ndarray) -> None:
        """Let threads write elements."""
        m = self.memory[buffer]
        self.check(buffer, stmt, m.writing[elements], (m.writer[elements] != NOBODY) & (m.writer[elements] != threads))
        self.check(buffer, stmt, m.reading[elements], (m.reader[elements] != NOBODY) & (m.reader[elements] != threads))
        self.check_pending(buffer, stmt, elements)
        m.writer[elements], m.writing[elements] = threads, stmt

    def check(self, buffer: Buffer, stmt: int, others: np.ndarray, wrong: np.ndarray) -> None:
        """Report the statements in `others` where `wrong`."""
        for other in np.unique(others[wrong]):
            self.report("race", buffer.name, int(other), stmt)

    def check_pending(self, buffer: Buffer, stmt: int, elements: np.ndarray) -> None:
        """Report copies under way to elements that are touched."""
        pending = self.memory[buffer].pending[elements]
        for other in np.unique(pending[pending != NOBODY]):
            self.report("pending copy", buffer.name, int(other), stmt)

    def report(self, kind: str, buffer: str, first: int, second: int) -> None:
        """Add a pair."""
        self.found[Unsynchronised(kind, buffer, self.texts[first], self.texts[second])] = None

    def number(self, stmt: Stmt) -> int:
        """Give the number of a statement, and remember its text."""
        if id(stmt) not in self.numbers:
            self.numbers[id(stmt)] = (stmt, len(self.texts))
            self.texts.append(str(stmt).splitlines()[0])
        return self.numbers[id(stmt)][1]

    # -- numbers --------------------------------------------------------------------------------------------------

    def known(self, expr: Expr) -> Values:
        """Give the value of an expression that memory does not decide."""
        value = self.evaluate(expr)
        if value is None:
            fact = f"{expr_text(expr)} depends on values in memory, or on a size that is not given"
            raise CodegenError("check_barriers", fact, advice="a kernel whose indices depend on loops and threads")
        return value

    def evaluate(self, expr: Expr) -> Values:
        """Give the value of an expression for all threads, None where memory decides it."""
        match expr:
            case e.Const(value):
                return value
            case Var():
                return self.values.get(expr)
            case e.Cast(value):
                return self.evaluate(value)
            case e.Not(a):
                value = self.evaluate(a)
                return None if value is None else np.logical_not(value)
            case e.Select(condition, then, otherwise) | e.IfThenElse(condition, then, otherwise):
                parts = [self.evaluate(x) for x in (condition, then, otherwise)]
                return None if any(p is None for p in parts) else np.where(*parts)
            case e.Binary() | e.Comparison():
                a, b = self.evaluate(expr.a), self.evaluate(expr.b)
                rule = OPERATORS.get(type(expr))
                return None if a is None or b is None or rule is None else rule(a, b)
            case Call("bitwise_xor", (a, b)):
                left, right = self.evaluate(a), self.evaluate(b)
                return None if left is None or right is None else left ^ right
            case _:
                return None
