"""Loop nests built by hand, for tests that need no schedule."""

from __future__ import annotations

from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import float32
from tilewright.ir.expr import Call, Const, Expr, Load, Var
from tilewright.ir.stmt import For, ForKind, Function, Store


def elementwise(name: str, extent: int | Var, call: str = "", kind: ForKind = ForKind.SERIAL) -> Function:
    """Give `B[i] = A[i] + A[i]`, or `B[i] = call(A[i])`."""
    n: Expr = Const(extent) if isinstance(extent, int) else extent
    a, b = Buffer("A", (n,), float32), Buffer("B", (n,), float32)
    i = Var("i")
    x = Load(a, (i,))
    value = Call(call, (x,), float32) if call else x + x
    return Function(name, (a, b), For(i, n, Store(b, (i,), value), kind), (b,))
