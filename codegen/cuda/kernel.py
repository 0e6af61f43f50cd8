"""A kernel of a GPU: what one thread of a grid does.

Until a nest is split into kernels, a loop bound to a thread axis is a loop like any other, and shared memory belongs to
each of its iterations.  In a kernel there are no such loops any more: `body` is run by every thread of every block at
the same time, shared buffers belong to the block, and what orders the threads are calls of `barrier` and its kin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...ir import arith
from ...ir.buffer import Buffer
from ...ir.dtype import int32
from ...ir.expr import Call, Const, Expr, Var
from ...ir.interval import Interval, Ranges
from ...ir.stmt import Evaluate, For, Stmt
from ...ir.target import Target
from ...ir.visit import walk

BLOCK_AXES = ("blockIdx.x", "blockIdx.y", "blockIdx.z")
THREAD_AXES = ("threadIdx.x", "threadIdx.y", "threadIdx.z")
AXIS_VARS = {name: Var(name, int32, 0) for name in (*BLOCK_AXES, *THREAD_AXES)}
THREAD_VARS = tuple(AXIS_VARS[name] for name in THREAD_AXES)
BLOCK_VARS = tuple(AXIS_VARS[name] for name in BLOCK_AXES)


TENSOR_MAP = "tensor_map"  # scope of the handles of tensor maps


@dataclass(frozen=True, slots=True, eq=False)
class BoxMap:
    """A tensor map over a buffer: what one bulk copy moves.

    handle   stands for the map in the body, as a buffer without elements of scope TENSOR_MAP
    box      elements along each dimension of the buffer
    swizzle  bytes of the rows that are swizzled in shared memory: 0, 32, 64 or 128
    """

    handle: Buffer
    buffer: Buffer
    box: tuple[int, ...]
    swizzle: int


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """One launch.

    params      buffers and scalars that it uses, in the order of its C parameters; workspaces after the caller's
    outputs     those of the buffers that it writes
    grid        extents of blockIdx.x, .y and .z: constants, or expressions in the scalars
    block       extents of threadIdx.x, .y and .z
    shared      buffers of the block
    min_blocks  blocks that a multiprocessor should hold at once, for the register allocation; 0 for the compiler's
    cluster     blocks along x, y and z that share bulk copies
    maps        tensor maps, parameters before all others
    """

    name: str
    params: tuple[Buffer | Var, ...]
    outputs: tuple[Buffer, ...]
    grid: tuple[Expr, Expr, Expr]
    block: tuple[int, int, int]
    body: Stmt
    shared: tuple[Buffer, ...] = ()
    min_blocks: int = 0
    cluster: tuple[int, int, int] = (1, 1, 1)
    maps: tuple[BoxMap, ...] = ()

    @property
    def threads(self) -> int:
        """Give the number of threads of a block."""
        x, y, z = self.block
        return x * y * z

    @property
    def ranges(self) -> Ranges:
        """Give the range of every thread and block index, and of every loop of the body."""
        found = {v: Interval(Const(0), Const(n - 1)) for v, n in zip(THREAD_VARS, self.block, strict=True)}
        found |= {v: Interval(Const(0), arith.sub(n, 1)) for v, n in zip(BLOCK_VARS, self.grid, strict=True)}
        for node in walk(self.body):
            match node:
                case For(var, extent):
                    found[var] = Interval(Const(0, var.dtype), arith.sub(extent, 1))
                case _:
                    pass
        return found


@dataclass(frozen=True, slots=True)
class Program:
    """The kernels of one function, launched one after the other.

    workspaces  global buffers that earlier kernels fill for later ones
    """

    name: str
    params: tuple[Buffer | Var, ...]
    outputs: tuple[Buffer, ...]
    kernels: tuple[Kernel, ...]
    workspaces: tuple[Buffer, ...] = ()


class KernelPass(Protocol):
    """One rewriting of a kernel; its options are its fields."""

    def __call__(self, kernel: Kernel, target: Target) -> Kernel:
        """Give the rewritten kernel; the same object where nothing changed."""
        ...


def effect(name: str, *args: Expr | int) -> Evaluate:
    """Give the statement that calls an intrinsic for its effect: `effect("barrier")`."""
    return Evaluate(Call(name, tuple(map(arith.as_expr, args)), int32))


def is_effect(stmt: Stmt, name: str) -> bool:
    """Tell whether `stmt` is a call of the intrinsic `name`."""
    match stmt:
        case Evaluate(Call(called)):
            return called == name
        case _:
            return False
