"""Writing statements in order, for the bodies of extern operators and tensor intrinsics.

ib = te.ir_builder.create()
a, c = ib.buffer_ptr(ins[0]), ib.buffer_ptr(outs[0])
with ib.for_range(0, n, name="i") as i:
    with ib.if_scope(a[i] > 0):
        c[i] = a[i]
    with ib.else_scope():
        c[i] = 0.0
return ib.get()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..ir import arith
from ..ir.buffer import Buffer
from ..ir.dtype import DType, dtype_of
from ..ir.errors import ExpressionError
from ..ir.expr import Expr, Load, Var
from ..ir.stmt import Allocate, For, ForKind, If, Let, Seq, Stmt, Store, seq
from .arguments import listed
from .compute import Shape, as_shape
from .extern import as_stmt

Item = Stmt | Callable[[Stmt], Stmt]  # a statement, or what encloses all that follows
_KINDS = {
    "serial": ForKind.SERIAL,
    "parallel": ForKind.PARALLEL,
    "vectorize": ForKind.VECTORIZED,
    "unroll": ForKind.UNROLLED,
}


@dataclass(frozen=True, slots=True, eq=False)
class BufferView:
    """A buffer whose elements are read by `view[i, j]` and written by `view[i, j] = value`.

    A single index of a buffer with several dimensions counts elements in row-major order.
    """

    builder: IRBuilder
    buffer: Buffer

    @property
    def dtype(self) -> DType:
        """Give the data type of the elements."""
        return self.buffer.dtype

    def __getitem__(self, index: object) -> Expr:
        return Load(self.buffer, self._indices(index))

    def __setitem__(self, index: object, value: Expr | int | float) -> None:
        node = arith.cast(self.dtype, arith.as_expr(value, self.dtype))
        self.builder.emit(Store(self.buffer, self._indices(index), node))

    def _indices(self, index: object) -> tuple[Expr, ...]:
        given = tuple(arith.as_expr(i) for i in listed(index))
        if len(given) == 1 and len(self.buffer.shape) > 1:
            return self.buffer.unflatten(given[0])
        if len(given) != len(self.buffer.shape):
            dims = len(self.buffer.shape)
            raise ExpressionError(
                self.buffer.name, f"{len(given)} indices for {dims} dimensions", advice=f"{dims}, or one"
            )
        return given


class IRBuilder:
    """Statements under construction."""

    def __init__(self) -> None:
        self._scopes: list[list[Item]] = [[]]

    def emit(self, stmt: Stmt | Expr) -> None:
        """Append a statement, or a call made for its effect."""
        self._scopes[-1].append(as_stmt("emit", stmt))

    @contextmanager
    def for_range(
        self, begin: Expr | int, end: Expr | int, name: str = "i", dtype: str | DType = "int32", kind: str = "serial"
    ) -> Iterator[Expr]:
        """Open a loop from `begin` up to but without `end`; gives the loop's variable."""
        if kind not in _KINDS:
            raise ExpressionError("for_range", f"unknown kind {kind!r}", advice=", ".join(_KINDS))
        index = Var(name, dtype_of(dtype), 0)
        extent = arith.sub(end, begin)
        with self._scope() as body:
            yield arith.add(index, begin)
        self.emit(For(index, extent, _closed(body), _KINDS[kind]))

    @contextmanager
    def if_scope(self, cond: Expr) -> Iterator[None]:
        """Open what is done where `cond` holds."""
        with self._scope() as body:
            yield
        self.emit(If(arith.condition("if_scope", cond), _closed(body)))

    @contextmanager
    def else_scope(self) -> Iterator[None]:
        """Open what is done where the condition of the `if_scope` just before fails."""
        before = self._scopes[-1].pop() if self._scopes[-1] else None
        match before:
            case If(condition, then, None):
                with self._scope() as body:
                    yield
                self.emit(If(condition, then, _closed(body)))
            case _:
                raise ExpressionError("else_scope", "no if_scope just before it", advice="with ib.if_scope(...) first")

    def allocate(self, dtype: str | DType, shape: Shape, name: str = "buf", scope: str = "local") -> BufferView:
        """Give memory for the rest of the enclosing scope."""
        buffer = Buffer(name, as_shape(name, shape), dtype_of(dtype), scope or "local")
        self._scopes[-1].append(lambda body: Allocate(buffer, body))
        return BufferView(self, buffer)

    def let(self, var_name: str, value: Expr | int | float) -> Var:
        """Give a variable for a value computed once, for the rest of the enclosing scope."""
        node = arith.as_expr(value)
        variable = Var(var_name, node.dtype)
        self._scopes[-1].append(lambda body: Let(variable, node, body))
        return variable

    def buffer_ptr(self, buf: Buffer) -> BufferView:
        """Give the elements of a buffer for reading and writing."""
        return BufferView(self, buf)

    def likely(self, expr: Expr) -> Expr:
        """Give the condition itself: branches are laid out by the backend."""
        return expr

    def get(self) -> Stmt:
        """Give all that was written.  Raises ExpressionError inside an open scope."""
        if len(self._scopes) != 1:
            raise ExpressionError("get", f"{len(self._scopes) - 1} scopes are open", advice="call it after them")
        return _closed(self._scopes[0])

    @contextmanager
    def _scope(self) -> Iterator[list[Item]]:
        items: list[Item] = []
        self._scopes.append(items)
        yield items
        self._scopes.pop()


def create() -> IRBuilder:
    """Give an empty builder."""
    return IRBuilder()


def _closed(items: list[Item]) -> Stmt:
    """Give the items as one statement; each enclosing item takes all that follows it."""
    body: Stmt = Seq(())
    for item in reversed(items):
        match item:
            case Stmt():
                body = seq(item, body)
            case encloses:
                body = encloses(body)
    return body
