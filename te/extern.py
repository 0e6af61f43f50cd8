"""Operators given by statements: loops written by hand, or calls of somebody else's functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..ir.buffer import Buffer
from ..ir.dtype import DType, dtype_of
from ..ir.errors import ExpressionError, TypeMismatch
from ..ir.expr import Address, Expr, Load
from ..ir.stmt import Evaluate, Stmt, Store
from ..ir.visit import Node, rewrite
from .arguments import listed
from .compute import Attrs, Shape, as_attrs, as_shape
from .operation import ExternOp
from .tensor import Tensor

Buffers = tuple[Buffer, ...]


def extern(
    shape: Shape | Sequence[Shape],
    inputs: Sequence[Tensor],
    fcompute: Callable[[Buffers, Buffers], Stmt | Expr],
    name: str = "extern",
    dtype: str | DType | Sequence[str | DType] | None = None,
    in_buffers: Sequence[Buffer] | Buffer | None = None,
    out_buffers: Sequence[Buffer] | Buffer | None = None,
    tag: str = "",
    attrs: Attrs = None,
) -> Tensor | tuple[Tensor, ...]:
    """Give the tensors that statements write, which `fcompute(in_buffers, out_buffers)` gives.

    shape        of the result, or a list of shapes for several
    dtype        of the results; by default the one that all inputs have
    in_buffers, out_buffers   buffers that the statements name, in place of fresh ones
    Raises TypeMismatch where the data type cannot be told, ExpressionError where `fcompute` gives no statement.
    """
    shapes = _shapes(name, shape)
    reads = listed(inputs)
    results = tuple(zip(shapes, _dtypes(name, dtype, reads, len(shapes)), strict=True))
    named_ins, named_outs = _named(in_buffers), _named(out_buffers)
    _check_counts(name, named_ins, len(reads), "in_buffers")
    _check_counts(name, named_outs, len(shapes), "out_buffers")

    def body(ins: Buffers, outs: Buffers) -> Stmt:
        stmt = as_stmt(name, fcompute(named_ins or ins, named_outs or outs))
        renamed = dict(zip(named_ins, ins, strict=bool(named_ins))) | dict(
            zip(named_outs, outs, strict=bool(named_outs))
        )
        return replace_buffers(stmt, renamed)

    op = ExternOp(name, reads, results, body, tag=tag, attrs=as_attrs(attrs))
    body(tuple(buffer_like(t) for t in reads), tuple(buffer_like(op.output(i)) for i in range(len(shapes))))
    tensors = tuple(op.output(i) for i in range(op.num_outputs))
    return tensors[0] if len(tensors) == 1 else tensors


def buffer_like(tensor: Tensor) -> Buffer:
    """Give a new buffer of a tensor's name, shape and data type."""
    return Buffer(tensor.name.replace(".", "_"), tensor.shape, tensor.dtype)


def decl_buffer(
    shape: Shape,
    dtype: str | DType = "float32",
    name: str = "buffer",
    scope: str = "global",
    strides: Shape | None = None,
) -> Buffer:
    """Give a buffer for statements to name."""
    gaps = None if strides is None else as_shape(name, strides)
    return Buffer(name, as_shape(name, shape), dtype_of(dtype), scope or "global", gaps)


def as_stmt(step: str, result: object) -> Stmt:
    """Give what a body's function gave as a statement; an expression is evaluated for its effect."""
    match result:
        case Stmt():
            return result
        case Expr():
            return Evaluate(result)
        case _:
            raise ExpressionError(step, f"its function gives {result!r}, no statement", advice="`return builder.get()`")


def replace_buffers(stmt: Stmt, buffers: Mapping[Buffer, Buffer]) -> Stmt:
    """Give `stmt` with each buffer of `buffers` replaced where it is read, written or addressed."""

    def rule(node: Node) -> Node | None:
        match node:
            case Load(buffer, indices) if buffer in buffers:
                return Load(buffers[buffer], indices)
            case Store(buffer, indices, value) if buffer in buffers:
                return Store(buffers[buffer], indices, value)
            case Address(buffer, indices) if buffer in buffers:
                return Address(buffers[buffer], indices)
            case _:
                return None

    return rewrite(stmt, rule) if buffers else stmt


def _shapes(name: str, shape: Shape | Sequence[Shape]) -> list[tuple[Expr, ...]]:
    match shape:
        case [[*_], *_]:
            return [as_shape(name, one) for one in shape]
        case _:
            return [as_shape(name, shape)]


def _dtypes(name: str, dtype: object, reads: tuple[Tensor, ...], count: int) -> list[DType]:
    match dtype:
        case str() | DType():
            return [dtype_of(dtype)] * count
        case [*several]:
            _check_counts(name, tuple(several), count, "dtype")
            return [dtype_of(one) for one in several]
    found = {t.dtype for t in reads}
    if len(found) != 1:
        raise TypeMismatch(
            name, f"the inputs have {len(found)} data types", advice="dtype='float32', or one per result"
        )
    return [found.pop()] * count


def _named(buffers: Sequence[Buffer] | Buffer | None) -> Buffers:
    return () if buffers is None else listed(buffers)


def _check_counts(name: str, given: tuple[object, ...], count: int, what: str) -> None:
    if given and len(given) != count:
        raise ExpressionError(name, f"{len(given)} {what} for {count} tensors", advice="one for each")
