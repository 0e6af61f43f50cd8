"""Recurrences along the first dimension."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import arith
from ..ir.errors import ExpressionError, TypeMismatch
from ..ir.expr import Add, Const, Expr, Sub, Var
from ..ir.visit import of_kind, same
from .arguments import listed
from .axis import Axis, AxisKind
from .compute import Attrs, as_attrs
from .nodes import Read
from .operation import ComputeOp, Operation, PlaceholderOp, ScanOp
from .tensor import Tensor

Tensors = Tensor | Sequence[Tensor]


def scan(
    init: Tensors,
    update: Tensors,
    state_placeholder: Tensors,
    inputs: Tensors | None = None,
    name: str = "scan",
    tag: str = "",
    attrs: Attrs = None,
) -> Tensor | tuple[Tensor, ...]:
    """Give the tensor whose first steps are `init` and whose step t is `update` at t.

        X = te.placeholder((m, n)); state = te.placeholder((m, n))
        init = te.compute((1, n), lambda _, i: X[0, i])
        update = te.compute((m, n), lambda t, i: state[t - 1, i] + X[t, i])
        Y = te.scan(init, update, state, inputs=[X])

    init, update, state_placeholder  one each, or one per state
    inputs  other tensors that the update reads, for the reader: they are found without it
    Raises ExpressionError where the numbers of tensors differ, a state is no placeholder or is read at the step
    that is being computed, and TypeMismatch where shapes or data types differ.
    """
    inits, updates, states = _tensors(name, init), _tensors(name, update), _tensors(name, state_placeholder)
    _tensors(name, inputs or ())
    if not (len(inits) == len(updates) == len(states) > 0):
        raise ExpressionError(
            name,
            f"{len(inits)} init, {len(updates)} update, {len(states)} state tensors",
            advice="one of each per state",
        )
    for first, step, state in zip(inits, updates, states, strict=True):
        _check(name, first, step, state, states)
    start, end = arith.operands(name, inits[0].shape[0], updates[0].shape[0])
    axis = Axis(Var(f"{name}.idx", end.dtype, arith.int_value(start)), end - start, AxisKind.SCAN, start)
    op = ScanOp(name, axis, inits, updates, states, tag=tag, attrs=as_attrs(attrs))
    results = tuple(op.output(i) for i in range(op.num_outputs))
    return results[0] if len(results) == 1 else results


def _tensors(name: str, given: Tensors) -> tuple[Tensor, ...]:
    tensors = listed(given)
    for tensor in tensors:
        match tensor:
            case Tensor():
                pass
            case _:
                raise TypeMismatch(name, f"{tensor!r} is no tensor", advice="te.placeholder or te.compute")
    return tensors


def _check(name: str, init: Tensor, update: Tensor, state: Tensor, states: tuple[Tensor, ...]) -> None:
    match state.op, update.op:
        case PlaceholderOp(), ComputeOp() as computed:
            pass
        case PlaceholderOp(), _:
            raise ExpressionError(name, f"the update {update.name} is no compute", advice="te.compute over the steps")
        case _:
            fact = f"the state {state.name} is no placeholder"
            raise ExpressionError(name, fact, advice="te.placeholder of its shape")
    if not state.shape or not same(update.shape, state.shape) or not same(init.shape[1:], state.shape[1:]):
        shapes = ", ".join(f"{t.name} {list(map(str, t.shape))}" for t in (init, update, state))
        raise TypeMismatch(name, f"shapes differ: {shapes}", advice="init (steps, ...), update and state (length, ...)")
    if not init.dtype == update.dtype == state.dtype:
        kinds = f"init {init.dtype}, update {update.dtype}, state {state.dtype}"
        raise TypeMismatch(name, f"data types differ: {kinds}", advice="the state's data type everywhere")
    _refuse_present(name, computed, states)


def _refuse_present(name: str, update: ComputeOp, states: tuple[Tensor, ...]) -> None:
    """Refuse a state that is read at the step being computed or later."""
    step = update.axes[0].var
    state_ops: set[Operation] = {s.op for s in states}
    for body in update.body:
        for read in of_kind(body, Read):
            if read.tensor.op in state_ops and _not_before(read.indices[0], step):
                raise ExpressionError(
                    name,
                    f"the update at step {step.name} reads {read.tensor.name} at step {read.indices[0]}",
                    advice=f"an earlier step, such as {read.tensor.name}[{step.name} - 1, ...]",
                )


def _not_before(index: Expr, step: Var) -> bool:
    match index:
        case Add(a, Const(value)):
            return a is step and value >= 0
        case Sub(a, Const(value)):
            return a is step and value <= 0
        case _:
            return index is step
