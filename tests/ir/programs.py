"""Random expressions and statements over a few small variables."""

from __future__ import annotations

from random import Random

from tilewright.ir.arith import const
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import boolean, int32, int64, uint8
from tilewright.ir.expr import (
    Add,
    And,
    Cast,
    Const,
    Eq,
    Expr,
    FloorDiv,
    FloorMod,
    IfThenElse,
    Le,
    Load,
    Lt,
    Max,
    Min,
    Mul,
    Ne,
    Not,
    Or,
    Select,
    Sub,
    Var,
)
from tilewright.ir.interval import Interval, Ranges
from tilewright.ir.stmt import For, If, Let, Seq, Stmt, Store

I, J, K = (Var(name) for name in "ijk")  # noqa: E741
N = Var("n", minimum=0)
F = Var("f", minimum=1)
U = Var("u", uint8, 0)
RANGES: Ranges = {
    I: Interval(const(-1), const(3)),
    J: Interval(const(0), Sub(F, Const(1))),
    K: Interval(const(0), Add(I, Const(2))),
}
FREE = {N: range(4), F: range(1, 4), U: range(250, 256, 4)}
TABLE = Buffer("D", (const(8),), int32)
OUT = Buffer("O", (const(64),), int32)
MEMORY = {(TABLE, (at,)): value for at, value in enumerate((3, -1, 2**31 - 1, -(2**31), 0, 7, 5, 2**30))}


class Programs:
    """Draws programs from a seeded generator; `data` lets them read memory and narrow integers."""

    def __init__(self, seed: int, data: bool = False) -> None:
        self.random = Random(seed)
        self.data = data

    def index(self, depth: int) -> Expr:
        """Give an int32 expression."""
        r = self.random
        if depth == 0 or r.random() < 0.1:
            return self.leaf()
        a = self.index(depth - 1)
        match r.randrange(13 + 3 * self.data):
            case 0 | 1 | 2:
                return Add(a, self.index(depth - 1))
            case 3 | 4:
                return Sub(a, self.index(depth - 1))
            case 5:
                return Mul(a, Const(r.choice((-3, -1, 2, 3, 4, 6, 8))))
            case 6:
                return Mul(a, r.choice((I, J, N, F, Const(0))))
            case 7 | 8:
                return FloorDiv(a, self.divisor())
            case 9 | 10:
                return FloorMod(a, self.divisor())
            case 11:
                return r.choice((Min, Max))(a, self.index(depth - 1))
            case 12:
                return r.choice((Select, IfThenElse))(self.condition(1), a, self.index(depth - 1))
            case 13:
                return Load(TABLE, (FloorMod(a, Const(8)),))
            case 14:
                return Cast(self.narrow(2), int32)
            case _:
                return Cast(Cast(a, int64), int32)

    def leaf(self) -> Expr:
        """Give a variable or a literal."""
        return self.random.choice((I, J, K, N, F, I, J, Const(self.random.randint(-4, 9))))

    def divisor(self) -> Expr:
        """Give a divisor, sometimes negative, symbolic or possibly zero."""
        r = self.random
        literals = tuple(Const(d) for d in (2, 3, 4, 6, 8, -3, -4))
        return r.choice((*literals, F, Mul(F, Const(2)), Mul(F, Const(-2)), Add(N, Const(1))))

    def narrow(self, depth: int) -> Expr:
        """Give a uint8 expression, which wraps."""
        r = self.random
        if depth == 0:
            return r.choice((U, Const(r.randrange(256), uint8)))
        node = r.choice((Add, Sub, Mul, Min, Max, FloorDiv))
        return node(self.narrow(depth - 1), Const(3, uint8) if node is FloorDiv else self.narrow(depth - 1))

    def condition(self, depth: int) -> Expr:
        """Give a bool expression."""
        r = self.random
        if depth > 0 and r.random() < 0.5:
            a = self.condition(depth - 1)
            match r.randrange(4):
                case 0:
                    return Not(a)
                case 1:
                    return Select(a, self.condition(depth - 1), Const(False, boolean))
                case _:
                    return r.choice((And, Or))(a, self.condition(depth - 1))
        if self.data and r.random() < 0.2:
            return r.choice((Lt, Le, Eq))(self.narrow(1), self.narrow(1))
        return r.choice((Lt, Le, Lt, Le, Eq, Ne))(self.index(2), self.index(1))

    def stmt(self, depth: int) -> Stmt:
        """Give a statement that writes OUT."""
        r = self.random
        if depth == 0:
            value = Add(Load(OUT, (FloorMod(self.index(1), Const(64)),)), self.index(2))
            return Store(OUT, (FloorMod(self.index(2), Const(64)),), value)
        match r.randrange(6):
            case 0 | 1:
                extent = r.choice((Const(1), Const(0), Const(3), Add(N, Const(1)), F, Sub(F, Const(2))))
                var = Var(f"l{r.randrange(10**9)}")
                return For(var, extent, self._with(var, depth))
            case 2 | 3:
                otherwise = self.stmt(depth - 1) if r.random() < 0.5 else None
                return If(self.condition(1), self.stmt(depth - 1), otherwise)
            case 4:
                var = Var(f"v{r.randrange(10**9)}")
                return Let(var, self.index(1), self._with(var, depth))
            case _:
                return Seq((self.stmt(depth - 1), self.stmt(depth - 1)))

    def _with(self, var: Var, depth: int) -> Stmt:
        index = FloorMod(Add(Mul(var, Const(5)), self.index(1)), Const(64))
        stores = Store(OUT, (index,), Add(self.index(1), var))
        return Seq((If(Lt(var, self.index(1)), stores), self.stmt(depth - 1)))
