"""Random well-formed nests from a seed: every access in bounds, every element written before it is read."""

from __future__ import annotations

import random
from itertools import count

from tilewright.ir import arith
from tilewright.ir import expr as e
from tilewright.ir import stmt as s
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import DType, bfloat16, boolean, float16, float32, float64, int4, int8, int32, int64, uint8

TYPES = (float32, float32, float32, float64, float16, bfloat16, int4, int8, uint8, int32, int64, boolean)
COMPUTED = (float32, float64, int8, uint8, int32, int64)
MATHS = ("exp", "tanh", "floor", "abs", "sigmoid")


class NestWriter:
    """Draws one function: two inputs, one symbolic size, loops, lets, scratch buffers, guards."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.serial = count()
        self.size = e.Var("n", int32, 0)
        self.inputs = tuple(Buffer(name, self.shape(), self.random.choice(TYPES)) for name in "AB")
        self.output = Buffer("C", (self.size, *self.shape()), self.random.choice(COMPUTED))
        self.loops: list[tuple[e.Var, int]] = []  # variables in scope that are below a constant
        self.lets: list[e.Var] = []
        self.scratch: list[Buffer] = []  # readable

    def shape(self) -> tuple[e.Expr, ...]:
        """Give one to three dimensions of 1 to 6."""
        return tuple(e.Const(self.random.randint(1, 6)) for _ in range(self.random.randint(1, 3)))

    def function(self) -> s.Function:
        """Give the function: every element of the output is stored once, some again."""
        n = e.Var("i_n")
        body = self.filled(self.output, lambda index: (n, *index), self.output.shape[1:])
        more = [self.nest(3) for _ in range(self.random.randint(1, 3))]
        whole = s.For(n, self.size, s.seq(body, *more), self.random.choice((s.ForKind.SERIAL, s.ForKind.PARALLEL)))
        return s.Function(f"random_{self.random.randrange(1000)}", (*self.inputs, self.output), whole, (self.output,))

    def filled(self, buffer: Buffer, place, shape) -> s.Stmt:
        """Give loops that store to every element."""
        variables = [e.Var(f"f{next(self.serial)}") for _ in shape]
        outer = list(self.loops)
        self.loops += [(v, d.value) for v, d in zip(variables, shape, strict=True)]
        stmt: s.Stmt = s.Store(buffer, tuple(place(tuple(variables))), self.value(buffer.dtype, 2))
        self.loops = outer
        for var, extent in zip(reversed(variables), reversed(shape), strict=True):
            stmt = s.For(var, extent, stmt, self.kind())
        return stmt

    def kind(self) -> s.ForKind:
        """Give a kind of loop that needs nothing else."""
        return self.random.choice((s.ForKind.SERIAL, s.ForKind.SERIAL, s.ForKind.UNROLLED, s.ForKind.VECTORIZED))

    def nest(self, depth: int) -> s.Stmt:
        """Give a statement that stores to scratch of its own."""
        choice = self.random.randrange(6) if depth else 0
        if choice <= 1:
            return self.allocation(depth)
        if choice == 2:
            return self.let(depth)
        if choice == 3:
            other = self.nest(depth - 1) if self.random.random() < 0.5 else None
            return s.If(self.condition(1), self.nest(depth - 1), other)
        if choice == 4:
            return s.seq(self.nest(depth - 1), self.nest(depth - 1))
        return self.loop(depth)

    def loop(self, depth: int) -> s.Stmt:
        """Give a loop around a statement."""
        var, extent = e.Var(f"i{next(self.serial)}"), self.random.randint(1, 4)
        self.loops.append((var, extent))
        marks = (s.Annotation("pragma_unroll", 4), s.Annotation("a.b", "x"))[: self.random.randrange(3)]
        result = s.For(var, e.Const(extent), self.nest(depth - 1), s.ForKind.SERIAL, "", marks)
        self.loops.pop()
        return result

    def let(self, depth: int) -> s.Stmt:
        """Give a let around a statement."""
        dtype = self.random.choice(COMPUTED)
        value = self.value(dtype, 2)
        self.lets.append(e.Var(f"x{next(self.serial)}", dtype))
        result = s.Let(self.lets[-1], value, self.nest(depth - 1))
        self.lets.pop()
        return result

    def allocation(self, depth: int) -> s.Stmt:
        """Give scratch memory that is filled, then read by what follows."""
        scope = self.random.choice(("local", "global"))
        buffer = Buffer(f"S{next(self.serial)}", self.shape(), self.random.choice(TYPES), scope)
        fill = self.filled(buffer, lambda index: index, buffer.shape)
        self.scratch.append(buffer)
        rest = self.nest(depth - 1) if depth else None
        self.scratch.pop()
        return s.Allocate(buffer, s.seq(fill, rest))

    def index(self, extent: int) -> e.Expr:
        """Give an index below `extent`."""
        fits = [v for v, bound in self.loops if bound <= extent]
        any_var = [v for v, _ in self.loops]
        choice = self.random.random()
        if fits and choice < 0.6:
            return self.random.choice(fits)
        if any_var and choice < 0.8:
            return arith.floormod(self.random.choice(any_var) * 3 + self.random.randrange(4), extent)
        return e.Const(self.random.randrange(extent))

    def load(self) -> e.Expr:
        """Give an element of an input or of scratch."""
        buffer = self.random.choice((*self.inputs, *self.scratch))
        return e.Load(buffer, tuple(self.index(d.value) for d in buffer.shape))

    def value(self, dtype: DType, depth: int) -> e.Expr:
        """Give an expression of type `dtype`."""
        if dtype == boolean:
            return self.condition(depth)
        if not depth or dtype not in COMPUTED:
            return self.leaf(dtype)
        a, b = self.value(dtype, depth - 1), self.value(dtype, depth - 1)
        node = self.random.choice((e.Add, e.Sub, e.Mul, e.Min, e.Max, "select", "call", "cast", "divide"))
        match node:
            case "select":
                return self.random.choice((e.Select, e.IfThenElse))(self.condition(depth - 1), a, b)
            case "cast":
                return arith.cast(dtype, self.value(self.random.choice(COMPUTED), depth - 1))
            case "call" if dtype.is_float:
                return e.Call(self.random.choice(MATHS), (a,), dtype)
            case "divide" if not dtype.is_float:
                return self.random.choice((e.FloorDiv, e.FloorMod))(a, e.Const(self.random.randint(1, 7), dtype))
            case "call" | "divide":
                return e.Add(a, b)
            case _:
                return node(a, b)

    def leaf(self, dtype: DType) -> e.Expr:
        """Give a literal, a variable or a load."""
        known = [v for v in (*self.lets, *(v for v, _ in self.loops)) if v.dtype == dtype]
        choice = self.random.random()
        if known and choice < 0.3:
            return self.random.choice(known)
        if choice < 0.7:
            return arith.cast(dtype, self.load())
        number = self.random.randint(-8, 7) if dtype != uint8 else self.random.randint(0, 9)
        return arith.const(number * 0.3 if dtype.is_float else number, dtype)

    def condition(self, depth: int) -> e.Expr:
        """Give a bool."""
        dtype = self.random.choice((float32, int32))
        leaf = self.random.choice((e.Lt, e.Le, e.Eq, e.Ne))(self.leaf(dtype), self.leaf(dtype))
        if not depth:
            return leaf
        match self.random.randrange(4):
            case 0:
                return e.And(leaf, self.condition(depth - 1))
            case 1:
                return e.Or(self.condition(depth - 1), leaf)
            case 2:
                return e.Not(self.condition(depth - 1))
            case _:
                return leaf


def random_function(seed: int) -> s.Function:
    """Give a random function; equal seeds give equal text."""
    return NestWriter(seed).function()
