"""Tensors combined element by element, with shapes broadcast as NumPy does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir import arith
from ..ir.errors import TypeMismatch
from ..ir.expr import Expr
from ..ir.visit import same
from .compute import compute
from .tensor import Tensor

ELEMENTWISE = "elementwise"
BROADCAST = "broadcast"


def broadcast(operation: Callable[..., Expr], *operands: object, name: str) -> Tensor:
    """Give `operation` of tensors and numbers, element by element.

    Dimensions are matched from the last one; a dimension of extent 1 stands for any extent.
    Raises TypeMismatch for shapes that do not match.
    """
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    shape: tuple[Expr, ...] = ()
    for tensor in tensors:
        shape = broadcast_shape(name, shape, tensor.shape)
    tag = ELEMENTWISE if all(t.ndim == len(shape) for t in tensors) else BROADCAST

    def element(*i: Expr) -> Expr:
        return operation(*[_at(operand, i) for operand in operands])

    return compute(shape, element, name=name, tag=tag)


def broadcast_shape(step: str, a: Sequence[Expr], b: Sequence[Expr]) -> tuple[Expr, ...]:
    """Give the common shape of two.  Raises TypeMismatch where there is none."""
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    head = len(longer) - len(shorter)
    return (*longer[:head], *[_common(step, x, y, a, b) for x, y in zip(longer[head:], shorter, strict=True)])


def _common(step: str, x: Expr, y: Expr, a: Sequence[Expr], b: Sequence[Expr]) -> Expr:
    if same(x, y) or arith.is_const(y, 1):
        return x
    if arith.is_const(x, 1):
        return y
    raise TypeMismatch(
        step,
        f"shapes {list(map(str, a))} and {list(map(str, b))} do not match: {x} beside {y}",
        advice="equal extents, or 1, counted from the last dimension",
    )


def _at(operand: object, index: tuple[Expr, ...]) -> object:
    """Give the element of an operand that stands at `index` of the result."""
    match operand:
        case Tensor(shape=shape):
            own = index[len(index) - len(shape) :]
            pairs = zip(own, shape, strict=True)
            return operand[tuple(arith.const(0) if arith.is_const(n, 1) else i for i, n in pairs)]
        case _:
            return operand
