"""Small kernels built by hand, and what they compute when all threads of a block run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tilewright.codegen.cuda.kernel import THREAD_VARS, Kernel, Program, is_effect
from tilewright.codegen.cuda.ordering.barriers import PlanBarriers
from tilewright.codegen.cuda.ordering.pipelining import PipelineLoops
from tilewright.codegen.cuda.text.emit import emit_programs
from tilewright.ir import arith
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import DType, float32
from tilewright.ir.expr import Const, Expr, Load, Var
from tilewright.ir.stmt import Annotation, For, ForKind, Seq, Stmt, Store, seq
from tilewright.ir.target import Target
from tilewright.ir.visit import inner_statements, map_statements, rewrite, statements
from tilewright.runtime.cuda.emulator.image import Emulator
from tilewright.runtime.cuda.emulator.verify import verify

GPU = Target("cuda")
tx, ty, tz = THREAD_VARS
i, j, k, p, q, v = (Var(n, minimum=0) for n in "ijkpqv")
SERIAL, UNROLLED, VECTOR = ForKind.SERIAL, ForKind.UNROLLED, ForKind.VECTORIZED

Index = int | Expr


def tensor(name: str, *shape: Index, scope: str = "global", dtype: DType = float32) -> Buffer:
    """Give a row-major buffer."""
    return Buffer(name, tuple(map(arith.as_expr, shape)), dtype, scope)


def shared(name: str, *shape: Index, dtype: DType = float32) -> Buffer:
    """Give a shared buffer."""
    return tensor(name, *shape, scope="shared", dtype=dtype)


def load(buffer: Buffer, *indices: Index) -> Load:
    """Give an element."""
    return Load(buffer, tuple(map(arith.as_expr, indices)))


def store(buffer: Buffer, *indices_and_value: Index | float) -> Store:
    """Give a store; the last argument is the value."""
    *indices, value = indices_and_value
    return Store(buffer, tuple(map(arith.as_expr, indices)), arith.as_expr(value, buffer.dtype))


def loop(var: Var, extent: Index, *body: Stmt, kind: ForKind = SERIAL) -> For:
    """Give a loop."""
    return For(var, arith.as_expr(extent), seq(*body), kind)


def pipelined(var: Var, extent: Index, *body: Stmt, stages: int = 2, transport: str = "register") -> For:
    """Give a loop that is marked to be pipelined."""
    marks = (Annotation("stages", stages), Annotation("transport", transport))
    return For(var, arith.as_expr(extent), seq(*body), ForKind.PIPELINED, "", marks)


def kernel(
    body: Stmt,
    params: Sequence[Buffer | Var],
    outputs: Sequence[Buffer],
    block: tuple[int, int, int] = (64, 1, 1),
    grid: tuple[int, int, int] = (1, 1, 1),
) -> Kernel:
    """Give a kernel with the shared buffers that its body mentions."""
    found: dict[Buffer, None] = {}

    def note(node):  # a rule that changes nothing
        if getattr(node, "buffer", None) is not None and node.buffer.scope == "shared":
            found[node.buffer] = None

    rewrite(body, note)
    extents = (Const(grid[0]), Const(grid[1]), Const(grid[2]))
    return Kernel("kernel", tuple(params), tuple(outputs), extents, block, body, tuple(found))


def planned(plain: Kernel) -> Kernel:
    """Give a kernel with its loops pipelined and its barriers."""
    return PlanBarriers()(PipelineLoops()(plain, GPU), GPU)


def without_barrier(stmt: Stmt, number: int) -> Stmt:
    """Give a body without one of its barriers."""
    seen = [0]

    def walk(here: Stmt) -> Stmt:
        if is_effect(here, "barrier"):
            seen[0] += 1
            return Seq(()) if seen[0] == number + 1 else here
        return map_statements(here, walk)

    return walk(stmt)


def barriers(stmt: Stmt) -> int:
    """Give how many barriers a body has, each counted once."""
    return sum(is_effect(s, "barrier") for s in statements(stmt))


def barriers_in(stmt: Stmt, var: Var) -> int:
    """Give how many barriers are directly in the loop over a variable, not in loops within it."""
    (found,) = [s for s in statements(stmt) if type(s) is For and s.var is var]
    return _direct(found.body)


def _direct(stmt: Stmt) -> int:
    if is_effect(stmt, "barrier"):
        return 1
    return 0 if type(stmt) is For else sum(map(_direct, inner_statements(stmt)))


def emulated(made: Kernel, arrays: Mapping[str, np.ndarray | int]) -> dict[str, np.ndarray]:
    """Run a kernel in all orders and modes of the emulator; give its outputs."""
    program = Program("program", made.params, made.outputs, (made,))
    source = emit_programs([program])
    launch = source.launches[0]
    image = Emulator().compile(source)
    grid = tuple(int(extent) for extent in launch.grid)
    names = [buffer.name for buffer in made.outputs]
    results = verify(image, launch, [arrays[param.name] for param in launch.params], grid, names)
    order = [param.name for param in launch.params if param.name in names]
    return dict(zip(order, results, strict=True))
