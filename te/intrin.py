"""Tensor intrinsics: what a piece of code computes, as an expression, beside the code itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..ir.buffer import Buffer
from ..ir.errors import ExpressionError
from ..ir.stmt import Stmt
from .arguments import listed
from .extern import as_stmt, buffer_like
from .operation import ComputeOp, Operation
from .tensor import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class TensorIntrin:
    """Code that computes a small tensor expression, for `tensorize`.

    op       the operator that declares the meaning
    inputs   one buffer per tensor that `op` reads, in the order of `op.inputs`
    outputs  one buffer per result of `op`
    body     computes the whole expression, its reduction from the start
    reset    sets the outputs to the identity of the reduction, or None
    update   combines the outputs with the values of one more reduction block, or None
    """

    name: str
    op: ComputeOp
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    body: Stmt
    reset: Stmt | None = None
    update: Stmt | None = None


def decl_tensor_intrin(
    op: Operation,
    fcompute: Callable[..., object],
    name: str = "tensor_intrin",
    binds: Mapping[Tensor, Buffer] | None = None,
    scalar_params: object = None,
    default_buffer_params: Mapping[str, object] | None = None,
) -> TensorIntrin:
    """Give a tensor intrinsic for `tensorize`.

    op        a compute: what the code means
    fcompute  from (input buffers, output buffers) to its statements: the body, or (body, reset, update)
    binds     buffers that stand for tensors, in place of fresh ones
    default_buffer_params   scope or align of the fresh buffers
    Raises ExpressionError where `op` is no compute, or `fcompute` does not give one to three statements.
    """
    match op:
        case ComputeOp():
            pass
        case _:
            fact = f"{name} is declared by {op!r}"
            raise ExpressionError("decl_tensor_intrin", fact, advice="the .op of a te.compute")
    if scalar_params:
        raise ExpressionError("decl_tensor_intrin", f"{name} has scalar parameters", advice="literals in its body")
    bound = {(t.op, t.component): buffer for t, buffer in (binds or {}).items()}
    extra = dict(default_buffer_params or {})

    def buffer_of(tensor: Tensor) -> Buffer:
        fresh = buffer_like(tensor)
        scope, align = str(extra.get("scope", fresh.scope)), int(extra.get("align", fresh.align))  # type: ignore[arg-type]
        default = Buffer(fresh.name, fresh.shape, fresh.dtype, scope or "global", None, align)
        return bound.get((tensor.op, tensor.component), default)

    inputs = tuple(buffer_of(t) for t in op.inputs)
    outputs = tuple(buffer_of(op.output(i)) for i in range(op.num_outputs))
    given = fcompute(inputs, outputs)
    parts = listed(given)
    if not 1 <= len(parts) <= 3 or parts[0] is None:
        raise ExpressionError(name, f"its function gives {len(parts)} parts", advice="body, or (body, reset, update)")
    stmts = [None if part is None else as_stmt(name, part) for part in parts]
    body, reset, update = [*stmts, None, None][:3]
    assert body is not None
    return TensorIntrin(name, op, inputs, outputs, body, reset, update)
