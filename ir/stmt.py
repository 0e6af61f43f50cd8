"""Statements: the loop nest that code generation compiles.

All loops run from 0 to `extent` in steps of one; a loop that starts elsewhere adds its start in the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .buffer import Buffer
from .expr import Expr, Var


class Stmt:
    """A thing that is done, in order."""

    __slots__ = ()

    def __str__(self) -> str:
        from .printer import stmt_text  # the printer needs these classes

        return stmt_text(self)


class ForKind(Enum):
    """How the iterations of a loop are executed."""

    SERIAL = "range"
    PARALLEL = "parallel"  # by the thread pool, in any order
    VECTORIZED = "vectorized"  # as lanes of vector instructions, in lockstep
    UNROLLED = "unrolled"  # in order, written out
    THREAD = "thread"  # bound to the thread axis `For.thread`
    PIPELINED = "pipelined"  # in order, stages of neighbouring iterations overlapped


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """A pragma on a loop: a registered name and its value."""

    name: str
    value: int | float | str


@dataclass(frozen=True, slots=True, eq=False)
class For(Stmt):
    """for var in kind(extent): body.

    thread       thread axis such as "threadIdx.x" where kind is THREAD, else ""
    annotations  pragmas, in the order they were given
    """

    var: Var
    extent: Expr
    body: Stmt
    kind: ForKind = ForKind.SERIAL
    thread: str = ""
    annotations: tuple[Annotation, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Store(Stmt):
    """buffer[indices] = value."""

    buffer: Buffer
    indices: tuple[Expr, ...]
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class If(Stmt):
    """if condition: then, else: otherwise (None for nothing)."""

    condition: Expr
    then: Stmt
    otherwise: Stmt | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Allocate(Stmt):
    """Memory for `buffer` that lives while `body` runs; its first contents are undefined."""

    buffer: Buffer
    body: Stmt


@dataclass(frozen=True, slots=True, eq=False)
class Let(Stmt):
    """`var` stands for `value`, computed once, within `body`."""

    var: Var
    value: Expr
    body: Stmt


@dataclass(frozen=True, slots=True, eq=False)
class Evaluate(Stmt):
    """A call made for its effect on memory."""

    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Seq(Stmt):
    """Statements one after the other; `ir.seq(...)` flattens nested ones."""

    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A kernel: its parameters, in call order, and what it does.

    params   buffers, and scalar variables; sizes that only appear in buffer shapes need not be listed: the
             caller derives them from the arrays
    outputs  the buffer parameters that are written, wherever they stand among `params`; the others are only read
    """

    name: str
    params: tuple[Buffer | Var, ...]
    body: Stmt
    outputs: tuple[Buffer, ...] = ()

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Give the buffer parameters, in call order."""
        return tuple(p for p in self.params if isinstance(p, Buffer))

    @property
    def size_vars(self) -> tuple[Var, ...]:
        """Give the variables of buffer shapes and strides that are no parameters, in order of first appearance."""
        from .visit import of_kind  # it walks these classes

        dims = [dim for buffer in self.buffers for dim in (*buffer.shape, *(buffer.strides or ()))]
        found = dict.fromkeys(var for dim in dims for var in of_kind(dim, Var))
        return tuple(v for v in found if v not in self.params)

    def __str__(self) -> str:
        from .printer import function_text  # the printer needs these classes

        return function_text(self)


def seq(*stmts: Stmt | None) -> Stmt:
    """Give the statements in order as one, without nesting and without the Nones."""
    flat: list[Stmt] = []
    for stmt in stmts:
        match stmt:
            case Seq(body):
                flat += body
            case Stmt():
                flat.append(stmt)
    return flat[0] if len(flat) == 1 else Seq(tuple(flat))
