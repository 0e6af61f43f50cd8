"""How a vectorized loop is cut in native vectors, and which loops can be."""

from __future__ import annotations

from ...ir import arith
from ...ir.expr import Call, Cast, Expr, Load, Var
from ...ir.intrinsics import DOTS, INTRINSICS
from ...ir.stmt import Allocate, For, ForKind, Let, Stmt, Store
from ...ir.visit import of_kind, statements, variables
from .body import Body
from .maths.functions import RECIPES
from .types import computed

SIDE_BY_SIDE = 2  # registers of maths functions, whose instructions wait for each other, where there are many
Chunks = tuple[tuple[int, int], ...]


def chunks_of(lanes: int, native: int) -> Chunks:
    """Cut `lanes` in pieces of at most `native`: (first lane, number of lanes)."""
    return tuple((first, min(native, lanes - first)) for first in range(0, lanes, native))


def lane_chunks(body: Body, loop: For) -> Chunks:
    """Give the native vectors of a vectorized loop; empty where it must run as a serial one."""
    return body.fact("chunks", loop, lambda _: _chunks(body, loop))


def _chunks(body: Body, loop: For) -> Chunks:
    varying = {loop.var}
    widest, at_once = 8, 1
    for node in of_kind(loop.body, Allocate, For, Call, Let, Load, Store, Cast):
        match node:
            case Allocate() | For(kind=ForKind.PARALLEL | ForKind.VECTORIZED):
                return ()
            case Call(name=name) if name not in INTRINSICS or name in DOTS:
                return ()
            case Call(name=name) if name in RECIPES:
                at_once = SIDE_BY_SIDE if (body.target.registers or 0) >= 32 else 1
            case For(extent=extent) if _uses(extent, varying):
                return ()
            case Let(var, value, _) if _uses(value, varying):
                varying.add(var)
            case Load(buffer=buffer) | Store(buffer=buffer):
                bits = computed(buffer.dtype).bits
                if bits > widest and any(_uses(i, varying) for i in node.indices):
                    widest = bits
            case Cast(dtype=dtype):
                widest = max(widest, computed(dtype).bits)
    lanes = arith.int_value(loop.extent)
    assert lanes is not None, "vectorized loops have constant extents"
    return chunks_of(lanes, max(1, at_once * body.vector_bits // widest))


def is_written_out_enough(body: Body, loop: For) -> bool:
    """Tell whether a step of a loop is several vectors: more of them at once would fill the registers."""
    return body.fact("written out enough", loop, lambda _: any(_is_several(body, s) for s in statements(loop.body)))


def _is_several(body: Body, stmt: Stmt) -> bool:
    return type(stmt) is For and stmt.kind is ForKind.VECTORIZED and len(lane_chunks(body, stmt)) > 1


def _uses(expr: Expr, varying: set[Var]) -> bool:
    return not varying.isdisjoint(variables(expr))


def is_written_out(body: Body, loop: For) -> bool:
    """Tell whether the iterations of a loop are written one after the other, with its variable a constant."""
    return body.fact("written out", loop, lambda _: _is_written_out(body, loop))


def _is_written_out(body: Body, loop: For) -> bool:
    times = arith.int_value(loop.extent)
    if times is None:
        return False
    if loop.kind is ForKind.VECTORIZED:
        return not lane_chunks(body, loop)
    return loop.kind is ForKind.UNROLLED or times == 1
