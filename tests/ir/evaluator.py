"""The meaning of expressions and statements, one value at a time: the oracle of the tests of this folder."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from tilewright.ir.arith import wrap
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import DType
from tilewright.ir.expr import (
    Add,
    And,
    Cast,
    Const,
    Div,
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
from tilewright.ir.interval import Ranges
from tilewright.ir.stmt import Allocate, For, If, Let, Seq, Stmt, Store

Env = Mapping[Var, Any]
Memory = dict[tuple[Buffer, tuple[int, ...]], Any]

BINARY: dict[type, Callable[[Any, Any], Any]] = {
    Add: operator.add,
    Sub: operator.sub,
    Mul: operator.mul,
    Div: operator.truediv,
    FloorDiv: operator.floordiv,
    FloorMod: operator.mod,
    Min: lambda a, b: a if a < b else b,
    Max: lambda a, b: a if a > b else b,
    Lt: operator.lt,
    Le: operator.le,
    Eq: operator.eq,
    Ne: operator.ne,
}


def evaluate(expr: Expr, env: Env, memory: Memory | None = None) -> Any:
    """Give the value; a division by zero raises ZeroDivisionError."""

    def value(node: Any) -> Any:
        match node:
            case Const(literal):
                return literal
            case Var():
                return env[node]
            case Cast(inner, dtype):
                return converted(value(inner), dtype)
            case And(a, b):
                return bool(value(a) and value(b))
            case Or(a, b):
                return bool(value(a) or value(b))
            case Not(a):
                return not value(a)
            case IfThenElse(condition, then, otherwise):
                return value(then) if value(condition) else value(otherwise)
            case Select(condition, then, otherwise):
                a, b = value(then), value(otherwise)
                return a if value(condition) else b
            case Load(buffer, indices):
                return (memory or {}).get((buffer, tuple(value(i) for i in indices)), 0)
            case _:
                return converted(BINARY[type(node)](value(node.a), value(node.b)), node.dtype)

    return value(expr)


def converted(value: Any, dtype: DType) -> Any:
    """Give a number as a value of `dtype`: integers wrap, floats to integers truncate."""
    if dtype.is_int:
        return wrap(int(value), dtype)
    return float(np.float32(value)) if dtype.bits == 32 else value


def run(stmt: Stmt, env: Env, memory: Memory) -> None:
    """Execute a statement on `memory`."""
    match stmt:
        case For(var, extent, body):
            for step in range(evaluate(extent, env, memory)):
                run(body, {**env, var: step}, memory)
        case Store(buffer, indices, value):
            memory[buffer, tuple(evaluate(i, env, memory) for i in indices)] = evaluate(value, env, memory)
        case If(condition, then, otherwise):
            if evaluate(condition, env, memory):
                run(then, env, memory)
            elif otherwise is not None:
                run(otherwise, env, memory)
        case Let(var, value, body):
            run(body, {**env, var: evaluate(value, env, memory)}, memory)
        case Allocate(_, body):
            run(body, env, memory)
        case Seq(body):
            for part in body:
                run(part, env, memory)
        case _:
            raise AssertionError(f"no meaning for {type(stmt).__name__}")


def points(ranges: Ranges, free: Mapping[Var, range]) -> Iterator[dict[Var, int]]:
    """Give each assignment of the free variables with each of the ranged ones, ranges in order of dependence."""
    for values in product(*free.values()):
        yield from _extended(dict(zip(free, values, strict=True)), list(ranges.items()))


def _extended(env: dict[Var, int], rest: list[Any]) -> Iterator[dict[Var, int]]:
    if not rest:
        yield env
        return
    (var, interval), *others = rest
    for value in range(evaluate(interval.lo, env), evaluate(interval.hi, env) + 1):
        yield from _extended({**env, var: value}, others)
