"""The work of a warpgroup, 128 threads, as that of its four warps; products on its tensor cores."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ....ir import arith
from ....ir.affine import affine_of
from ....ir.buffer import Buffer
from ....ir.dtype import int32
from ....ir.errors import CodegenError
from ....ir.expr import Address, Call, Const, Expr, Load, Var
from ....ir.gpu import WARP
from ....ir.interval import Ranges
from ....ir.linear import Affine
from ....ir.stmt import Allocate, Evaluate, For, If, Stmt, Store
from ....ir.target import Target
from ....ir.visit import Node, map_children, of_kind, rewrite, substitute, with_fields
from ...passes.names import Names
from ..kernel import THREAD_VARS, Kernel
from .descriptors import operand
from .fragment_layout import Product, product_of

WARPGROUP = 128  # threads
WARPS = WARPGROUP // WARP
ROWS, WARP_ROWS = 64, 16  # of a matrix that a warpgroup, and each of its warps, holds
SCOPE = "warpgroup"


@dataclass(frozen=True, slots=True)
class SpreadWarpgroups:
    """Give each warp of a warpgroup its rows of what is kept in scope "warpgroup".

    C = allocate(float32[64, 8], "warpgroup")      C = allocate(float32[16, 8], "warp")
    for i in range(64, wgmma="m64n8k16_f16"): ...  wgmma_f16(C[0, 0], wgmma_desc(A[0, 0]), wgmma_desc(B[0, 0]), 1, 8)
    for i in range(64):                       ->   for i in range(16):
        for j in range(8):                             for j in range(8):
            D[i, j] = C[i, j]                              D[warp*16 + i, j] = C[i, j]

    The second last dimension of such a buffer counts its rows: 64, or several times 64 of which a warp has 16 each.
    The block gets 128 threads along x if no loop is bound to that axis.
    Needs: sm_90a.
    Refused: other numbers of rows or threads; rows of another warp; operands that wgmma cannot read.
    """

    def __call__(self, kernel: Kernel, target: Target) -> Kernel:
        """Give the kernel without buffers of scope "warpgroup"."""
        held = [s.buffer for s in of_kind(kernel.body, Allocate) if s.buffer.scope == SCOPE]
        if not held:
            return kernel
        require_sm_90a(target, f"{held[0].name} is kept in the registers of a warpgroup")
        x, y, z = kernel.block
        if x not in (1, WARPGROUP):
            fact = f"the block has {x} threads along x, and {held[0].name} belongs to the {WARPGROUP} of a warpgroup"
            raise CodegenError("cuda", fact, advice=f"bind loops of {WARPGROUP} to threadIdx.x, or none")
        kernel = replace(kernel, block=(WARPGROUP, y, z), min_blocks=max(1, kernel.min_blocks))
        spread = _Spread({b: _of_warp(b) for b in held}, kernel.ranges, Names(kernel.body), x == 1)
        return replace(kernel, body=spread.stmt(kernel.body, {}))


def require_sm_90a(target: Target, fact: str) -> None:
    """Refuse what only sm_90a has for other targets."""
    if target.gpu.arch != "sm_90a":
        raise CodegenError("cuda", f"{fact}, and the target is {target.arch}", advice="the target cuda -arch=sm_90a")


def _of_warp(buffer: Buffer) -> Buffer:
    *others, height, width = (arith.const(1), *buffer.shape)
    rows = arith.int_value(height)
    if rows is None or rows % ROWS:
        shape = ", ".join(map(str, buffer.shape))
        fact = f"{buffer.name} ({shape}) belongs to a warpgroup, which holds rows by {ROWS}"
        raise CodegenError("cuda", fact, advice=f"loops around it that leave a multiple of {ROWS} rows")
    return replace(buffer, shape=(*others[1:], arith.const(rows // WARPS), width), scope="warp")


Rows = dict[Var, tuple[Expr, Expr]]  # variable of a loop over rows -> the warpgroup's row, the warp's row


@dataclass(frozen=True, slots=True)
class _Spread:
    """Rewrites the body of one kernel.

    own    for each buffer of the warpgroup the part of a warp
    alone  whether the block had one thread along x, which what no warpgroup holds is left to
    """

    own: dict[Buffer, Buffer]
    ranges: Ranges
    names: Names
    alone: bool

    def stmt(self, stmt: Stmt, rows: Rows) -> Stmt:
        """Give what one warp does at `stmt`, within the loops over rows that are spread over warps."""
        if not rows and not self.is_together(stmt):
            shares = any(s.buffer.scope in ("global", "shared") for s in of_kind(stmt, Store))
            return If(arith.eq(THREAD_VARS[0], 0), stmt) if self.alone and shares else stmt
        match stmt:
            case For():
                product = product_of(stmt, "wgmma")
                return self.loop(stmt, rows) if product is None else self.instruction(product)
            case Allocate(buffer, body) if buffer in self.own:
                return Allocate(self.own[buffer], self.stmt(body, rows))
            case Store(buffer, indices, value):
                place = self.place(buffer, indices, rows, stmt)
                made = with_fields(stmt, {"buffer": self.own.get(buffer, buffer), "indices": place})
                made = with_fields(made, {"value": self.value(value, rows, stmt)})
                made = substitute(made, _rows_of_group(rows))
                warps = self.warps(stmt, rows)
                return made if warps is None else If(arith.eq(THREAD_VARS[0] // WARP, warps), made)
            case _:
                return map_children(stmt, lambda n: self.part(n, rows, stmt))

    def part(self, node: Stmt | Expr, rows: Rows, stmt: Stmt) -> Stmt | Expr:
        """Give a part of `stmt`, a statement or an expression."""
        if isinstance(node, Stmt):
            return self.stmt(node, rows)
        return substitute(self.value(node, rows, stmt), _rows_of_group(rows))

    def is_together(self, stmt: Stmt) -> bool:
        """Tell whether the warpgroup holds something that `stmt` uses."""
        return any(n.buffer in self.own for n in of_kind(stmt, Load, Store, Allocate))

    def value(self, node: Expr, rows: Rows, stmt: Stmt) -> Expr:
        """Give an expression with a warp's part of the buffers; rows elsewhere are still those of the loops."""

        def rule(node: Node) -> Node | None:
            match node:
                case Load(buffer, indices) if buffer in self.own:
                    return Load(self.own[buffer], self.place(buffer, indices, rows, stmt))
                case _:
                    return None

        return rewrite(node, rule)

    def place(self, buffer: Buffer, indices: tuple[Expr, ...], rows: Rows, stmt: Stmt) -> tuple[Expr, ...]:
        """Give the indices of an element in a warp's part."""
        if buffer not in self.own:
            return indices
        form = affine_of(indices[-2])
        within = [v for v in rows if form.coefficient(v) == 1]
        base = form - (affine_of(within[0]) if within else form.constant % ROWS)
        if len(within) > 1 or not _is_of_tiles(base):
            fact = f"row {indices[-2]} of {buffer.name} may be that of another warp"
            raise _refusal(stmt, fact, "a loop over rows around the access")
        inner = affine_of(rows[within[0]][1]) if within else affine_of(form.constant % WARP_ROWS)
        return (*indices[:-2], (inner + _of_warps(base)).to_expr(), indices[-1])

    def warps(self, store: Store, rows: Rows) -> int | None:
        """Give the one warp that holds the row of a store, None in loops over rows, where each has its own."""
        places = [n.indices[-2] for n in (store, *of_kind(store.value, Load)) if n.buffer in self.own]
        forms = [affine_of(place) for place in places]
        found = {-1 if any(f.coefficient(v) == 1 for v in rows) else f.constant % ROWS // WARP_ROWS for f in forms}
        if len(found) > 1:
            fact = f"rows {' and '.join(map(str, places))} belong to different warps"
            raise _refusal(store, fact, "a stage in shared memory between them")
        (warp,) = found or {-1}
        return None if warp < 0 else warp

    # -- loops ----------------------------------------------------------------------------------------------------

    def loop(self, loop: For, rows: Rows) -> Stmt:
        """Give a loop: over rows, of which each warp has its own, or another."""
        if not self.is_over_rows(loop):
            return with_fields(loop, {"body": self.stmt(loop.body, rows)})
        extent = arith.int_value(loop.extent)
        if extent is None or loop.thread:
            fact = f"loop {loop.var.name} of {loop.extent} runs over rows that a warpgroup holds"
            raise _refusal(loop, fact, "a serial loop of constant extent")
        inner = self.names.variable(loop.var)
        outer = self.names.variable(loop.var) if extent > ROWS else None
        tile: Expr = Const(0) if outer is None else outer
        warp = THREAD_VARS[0] // WARP
        group_row = arith.add(arith.add(arith.mul(tile, ROWS), arith.mul(warp, WARP_ROWS)), inner)
        warp_row = arith.add(arith.mul(tile, WARP_ROWS), inner)
        body = self.stmt(loop.body, {**rows, loop.var: (group_row, warp_row)})
        if extent % ROWS:
            body = If(arith.lt(group_row, extent), body)
        made = For(inner, Const(WARP_ROWS), body, loop.kind, "", loop.annotations)
        return made if outer is None else For(outer, Const(-(-extent // ROWS)), made, loop.kind)

    def is_over_rows(self, loop: For) -> bool:
        """Tell whether a loop counts rows of a buffer."""
        accesses = (n for n in of_kind(loop.body, Load, Store) if n.buffer in self.own)
        return any(affine_of(n.indices[-2]).coefficient(loop.var) == 1 for n in accesses)

    # -- products -------------------------------------------------------------------------------------------------

    def instruction(self, product: Product) -> Stmt:
        """Give the call of an instruction."""
        i, j, k = product.loops
        total = product.total
        if total.buffer not in self.own:
            fact = f"wgmma {product.name} sums up in {total.buffer.name}, in {total.buffer.scope} memory"
            raise _refusal(i, fact, f'set_scope("{SCOPE}") for {total.buffer.name}')
        zeros: dict[Var, Expr] = {loop.var: Const(0) for loop in product.loops}
        first = [affine_of(substitute(index, zeros)) for index in total.indices]
        if not _is_of_tiles(first[-2]):
            fact = f"wgmma {product.name} begins at row {first[-2].to_expr()} of {total.buffer.name}"
            raise _refusal(i, fact, f"steps of multiples of {ROWS} rows")
        place = (*(f.to_expr() for f in first[:-2]), _of_warps(first[-2]).to_expr(), first[-1].to_expr())
        sizes = [int(arith.int_value(loop.extent) or 0) for loop in product.loops]
        a, in_a = operand(product.a, i.var, sizes[0], k.var, sizes[2], self.ranges)
        b, in_b = operand(product.b, j.var, sizes[1], k.var, sizes[2], self.ranges)
        registers = Address(self.own[total.buffer], place)
        kinds = (Const(1), Const(sizes[1]), Const(in_a.along_rows), Const(in_b.along_rows))
        name = f"wgmma_{product.name.rpartition('_')[2]}"
        return Evaluate(Call(name, (registers, in_a.call(a), in_b.call(b), *kinds), int32))


def _rows_of_group(rows: Rows) -> dict[Var, Expr]:
    return {var: group for var, (group, _) in rows.items()}


def _is_of_tiles(form: Affine) -> bool:
    """Tell whether a row is the first of 64."""
    return all(c % ROWS == 0 for c in (form.constant, *form.terms.values()))


def _of_warps(form: Affine) -> Affine:
    """Give the first of 64 rows as the first of 16."""
    return Affine({mono: c // WARPS for mono, c in form.terms.items()}, form.constant // WARPS)


def _refusal(stmt: Stmt, fact: str, advice: str) -> CodegenError:
    first = "\n".join(f"> {line}" for line in str(stmt).splitlines()[:4])
    return CodegenError("cuda", fact, where=first, advice=advice)
