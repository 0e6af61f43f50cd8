"""Distributing the work of a warp: matrices in registers, products on tensor cores, loops over them by lanes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import gcd

from ....ir import arith
from ....ir.affine import affine_of
from ....ir.buffer import Buffer
from ....ir.errors import CodegenError
from ....ir.expr import Address, And, Call, Const, Expr, Le, Load, Lt, Var
from ....ir.gpu import WARP
from ....ir.interval import Interval, const_bounds
from ....ir.simplify import simplify
from ....ir.stmt import Allocate, Evaluate, For, ForKind, If, Seq, Stmt, Store, seq
from ....ir.target import Target
from ....ir.visit import Node, map_children, of_kind, rewrite, same, substitute, variables, with_fields
from ...passes.names import Names
from ..kernel import THREAD_VARS, Kernel
from .fragment_layout import (
    GROUP,
    GROUPS,
    MEMBER,
    MEMBERS,
    Fragment,
    Product,
    Side,
    fragments_in,
    product_of,
)
from .fragment_loads import Fill, OperandLoads
from .words import unpacked

PLAIN = (ForKind.SERIAL, ForKind.UNROLLED)


@dataclass(frozen=True, slots=True)
class DistributeFragments:
    """Give each lane of a warp its part of what is kept in scope "warp".

    C = allocate(float32[32, 8], "warp")           C = allocate(float32[2, 1, 4], "local")
    for i in range(16, mma="m16n8k16_f16"): ...    mma_m16n8k16_f16(C[0, 0], A[0, 0], B[0, 0])
    for i in range(32):                       ->   for b in unrolled(4):
        for j in range(8):                             for e in vectorized(2):
            D[i, j] = C[i, j]                              D[b*8 + t//4, t%4*2 + e] = C[b//2, 0, b%2*2 + e]

    Loops over a dimension of such a buffer are spread over the lanes as the buffer's elements are, so every lane reads
    and writes registers of its own alone; loops over whole tiles are written out.  What fills an operand becomes
    ldmatrix where its source is in shared memory with rows that suit it.  The block gets 32 threads along x if no loop
    is bound to that axis.
    Refused: loops that cover part of a tile, are bound, or are vectorized; accesses that would need another lane's
    registers.
    """

    def __call__(self, kernel: Kernel, target: Target) -> Kernel:
        """Give the kernel without buffers of scope "warp"."""
        fragments = fragments_in(kernel.body)
        if not fragments:
            return kernel
        x, y, z = kernel.block
        if x != 1 and x % WARP:
            fact = f"the block has {x} threads along x, and matrices in registers belong to warps of {WARP} threads"
            raise CodegenError("cuda", fact, advice=f"bind loops of a multiple of {WARP} to threadIdx.x, or none")
        kernel = replace(kernel, block=(WARP if x == 1 else x, y, z))
        alone = x == 1
        lane = THREAD_VARS[0] if kernel.block[0] == WARP else THREAD_VARS[0] % WARP
        ranges = dict(kernel.ranges)
        ranges[GROUP] = Interval(Const(0), Const(GROUPS - 1))
        ranges[MEMBER] = Interval(Const(0), Const(MEMBERS - 1))
        names = Names(kernel.body)
        body = _Distributor(fragments, ranges, OperandLoads(lane, ranges, names), alone).stmt(kernel.body, _Place())
        return replace(kernel, body=substitute(body, {GROUP: lane // MEMBERS, MEMBER: lane % MEMBERS}))


@dataclass(frozen=True, slots=True)
class _Place:
    """What is known of where a statement stands.

    spread  the parts of the lanes that loops around it are spread over
    own     buffers that were allocated within those loops
    """

    spread: tuple[Var, ...] = ()
    own: frozenset[Buffer] = frozenset()


@dataclass(frozen=True, slots=True)
class _Distributor:
    """Rewrites the body of one kernel.

    alone  whether the block had one thread along x, which what is not shared among lanes is left to
    """

    fragments: dict[Buffer, Fragment]
    ranges: dict[Var, Interval]
    loads: OperandLoads
    alone: bool

    def stmt(self, stmt: Stmt, place: _Place) -> Stmt:
        """Give what one lane does at `stmt`."""
        match stmt:
            case Allocate(buffer, body) if buffer in self.fragments:
                return Allocate(self.fragments[buffer].registers, self.stmt(body, place))
            case Allocate(buffer, body):
                own = place.own | {buffer} if place.spread else place.own
                return Allocate(buffer, self.stmt(body, replace(place, own=own)))
            case For():
                return self.loop(stmt, place)
            case Seq(parts):
                return seq(*(self.stmt(part, place) for part in parts))
            case Store():
                return self.store(stmt, place)
            case Evaluate(value):
                return Evaluate(self.value(value, stmt))
            case _:
                return map_children(stmt, lambda n: self.stmt(n, place) if isinstance(n, Stmt) else self.value(n, stmt))

    # -- loops ----------------------------------------------------------------------------------------------------

    def loop(self, loop: For, place: _Place) -> Stmt:
        """Give a loop: an instruction, a fill of an operand, spread over lanes, or written out."""
        product = product_of(loop)
        if product is not None:
            return self.instruction(product, place)
        fill = self.fill(loop)
        if fill is not None:
            return self.loads.filled(fill, lambda e: self.value(e, loop))
        side, picks = self.side(loop)
        if side is not None:
            return self.spread(loop, side, place)
        kind = ForKind.UNROLLED if picks else loop.kind
        return with_fields(loop, {"body": self.stmt(loop.body, place), "kind": kind})

    def side(self, loop: For) -> tuple[Side | None, bool]:
        """Give how a loop is shared among lanes, or None; and whether it picks registers."""
        found: Side | None = None
        picks = False
        for access in of_kind(loop.body, Load, Store):
            fragment = self.fragments.get(access.buffer)
            if fragment is None or not any(loop.var in variables(i) for i in access.indices):
                continue
            picks = True
            for dim, side in fragment.sides:
                form = affine_of(access.indices[dim])
                factor = form.terms.get((loop.var,), 0)
                if (loop.var in form.vars and not factor) or (factor != 1 and factor % side.period):
                    fact = f"{access.buffer.name} is indexed by {access.indices[dim]}, which splits what one lane holds"
                    advice = f"loops over its rows and columns of multiples of {side.period}"
                    raise _refusal(loop, fact, advice)
                if factor == 1:
                    if found is not None and (found.part, found.run) != (side.part, side.run):
                        fact = f"loop {loop.var.name} runs over two matrices that lanes hold in different ways"
                        raise _refusal(loop, fact, "a stage in shared memory between them")
                    found = side
        self.check_kind(loop, found, picks)
        return found, picks

    @staticmethod
    def check_kind(loop: For, side: Side | None, picks: bool) -> None:
        """Refuse loops over registers that are not serial, or that have no constant extent."""
        extent = arith.int_value(loop.extent)
        if (side or picks) and (loop.kind not in PLAIN or extent is None):
            fact = f"loop {loop.var.name} of {loop.extent} runs over matrices in registers, and is {loop.kind.value}"
            raise _refusal(loop, fact, "a serial or unrolled loop of constant extent")

    def spread(self, loop: For, side: Side, place: _Place) -> Stmt:
        """Give a loop over a dimension of a matrix: each lane runs over the elements that it holds."""
        if side.part in place.spread:
            fact = f"loop {loop.var.name} is spread over lanes that a loop around it is spread over"
            raise _refusal(loop, fact, "one loop for each dimension of the matrix")
        extent = int(arith.int_value(loop.extent) or 0)
        blocks = -(-extent // side.period)
        block, element = self.loads.variable(loop.var.name, blocks), self.loads.variable("e", side.run)
        index = arith.add(arith.add(arith.mul(block, side.period), arith.mul(side.part, side.run)), element)
        body = self.stmt(substitute(loop.body, {loop.var: index}), replace(place, spread=(*place.spread, side.part)))
        if extent % side.period:
            body = If(Lt(index, loop.extent), body)
        body = lanes_loop(element, side.run, body) if side.run > 1 else substitute(body, {element: Const(0)})
        return self.loads.unrolled(((block, blocks),), body)

    def fill(self, loop: For) -> Fill | None:
        """Give the fill of an operand that two nested loops are, or None."""
        match loop:
            case For(body=For(body=Store(buffer, indices) as store) as inner):
                pass
            case _:
                return None
        fragment = self.fragments.get(buffer)
        if fragment is None or not fragment.packed:
            return None
        loops: list[For] = []
        for dim, side in fragment.sides:
            form = affine_of(indices[dim])
            found = next((x for x in (loop, inner) if form.terms.get((x.var,)) == 1), None)
            if found is None or found in loops or any(p in variables(store) for p in (GROUP, MEMBER)):
                return None
            self.check_kind(found, side, True)
            if int(arith.int_value(found.extent) or 0) % side.period:
                fact = f"loop {found.var.name} fills {found.extent} of a matrix whose lanes hold {side.period} together"
                raise _refusal(loop, fact, f"align_bounds to a multiple of {side.period}")
            loops.append(found)
        group, member = loops
        sizes = [int(arith.int_value(x.extent) or 0) for x in loops]
        blocks = (sizes[0] // fragment.group.period, sizes[1] // fragment.member.period)
        return Fill(fragment, store, group.var, member.var, blocks)

    # -- statements -----------------------------------------------------------------------------------------------

    def instruction(self, product: Product, place: _Place) -> Stmt:
        """Give the call of an instruction."""
        if place.spread:
            fact = f"mma {product.name} stands in a loop that is spread over the lanes of the warp"
            raise _refusal(product.loops[0], fact, "products outside of loops over elements")
        zeros: dict[Var, Expr] = {loop.var: Const(0) for loop in product.loops}
        places = []
        for _, access, _, _ in product.operands:
            indices = tuple(substitute(i, zeros) for i in access.indices)
            places.append(self.address(self.fragments[access.buffer], indices, product.loops[0]))
        return Evaluate(Call(f"mma_{product.name}", tuple(places), Const(0).dtype))

    def address(self, fragment: Fragment, indices: tuple[Expr, ...], stmt: Stmt) -> Address:
        """Give the registers from those of the tile on that begins at an element."""
        indices = tuple(simplify(i, self.ranges) for i in indices)
        tiles = []
        for dim, side in fragment.sides:
            rest = simplify(arith.floormod(indices[dim], side.extent), self.ranges)
            if not arith.is_const(rest, 0):
                fact = f"an instruction begins at {indices[dim]} of {fragment.buffer.name}, within a tile"
                raise _refusal(stmt, fact, f"steps of multiples of {side.extent}")
            tiles.append(simplify(arith.floordiv(indices[dim], side.extent), self.ranges))
        return Address(fragment.registers, (*fragment.others(indices), *tiles, Const(0)))

    def store(self, store: Store, place: _Place) -> Stmt:
        """Give the store of one element by the lane that holds it."""
        owner = self.owner(store, place)
        conditions = [arith.eq(part, lane) for part, lane in owner.items()]
        made = self.stored(store, place, owner)
        in_memory = store.buffer.scope in ("global", "shared")
        if self.alone and in_memory and not place.spread and not owner:
            conditions = [arith.eq(THREAD_VARS[0], 0)]
        return If(arith.logical_and(*conditions), made) if conditions else made

    def owner(self, store: Store, place: _Place) -> dict[Var, Expr]:
        """Give which lane holds what a store reads and writes, for the parts of it that no loop is spread over."""
        found: dict[Var, Expr] = {}
        for access in of_kind(store, Load, Store):
            fragment = self.fragments.get(access.buffer)
            for dim, side in fragment.sides if fragment is not None else ():
                if side.part in place.spread:
                    continue
                index = access.indices[dim]
                lane = simplify(arith.floordiv(arith.floormod(index, side.period), side.run), self.ranges)
                if not same(found.setdefault(side.part, lane), lane):
                    fact = f"{store} needs elements of lanes {found[side.part]} and {lane}"
                    raise _refusal(store, fact, "loops over rows and columns around it, or a stage in shared memory")
        return found

    def stored(self, store: Store, place: _Place, owner: Mapping[Var, Expr]) -> Stmt:
        """Give the store as the lane that holds the element, or `owner` alone, does it."""
        value = self.value(store.value, store)
        fragment = self.fragments.get(store.buffer)
        if fragment is not None and fragment.packed:
            fact = f"an element of {store.buffer.name}, {fragment.role.value} of a product, is stored alone"
            raise _refusal(store, fact, "two nested loops over rows and columns with the store alone in them")
        if fragment is not None:
            registers, _ = self.register(fragment, store.indices, store)
            return Store(fragment.registers, registers, value)
        indices = tuple(simplify(i, self.ranges) for i in store.indices)
        if place.spread and store.buffer not in place.own:
            used = {v for i in indices for v in variables(i)}
            for part, dimension in ((GROUP, "rows"), (MEMBER, "columns")):
                if part not in used and type(owner.get(part)) is not Const:
                    name = store.buffer.name
                    fact = f"lanes that hold different {dimension} of a matrix would store one element of {name}"
                    raise _refusal(store, fact, "a store for each element, in loops over rows and columns")
            if store.buffer.scope == "local":
                fact = f"{store.buffer.name} is each thread's own, and filled from a matrix of 32 lanes together"
                raise _refusal(store, fact, f'set_scope("warp") for {store.buffer.name}')
        return Store(store.buffer, indices, value)

    def value(self, node: Expr, stmt: Stmt) -> Expr:
        """Give an expression with elements of matrices in registers."""

        def rule(node: Node) -> Node | None:
            match node:
                case Load(buffer, indices) if buffer in self.fragments:
                    fragment = self.fragments[buffer]
                    registers, element = self.register(fragment, indices, stmt)
                    load = Load(fragment.registers, registers)
                    return unpacked(load, element, buffer.dtype) if fragment.packed else load
                case Address(buffer, indices) if buffer in self.fragments:
                    return self.address(self.fragments[buffer], indices, stmt)
                case _:
                    return None

        found = rewrite(node, rule)
        return found if found is node and not variables(node) else simplify(found, self.ranges)

    def register(self, fragment: Fragment, indices: tuple[Expr, ...], stmt: Stmt) -> tuple[tuple[Expr, ...], Expr]:
        """Give the register of an element, and which of a word's elements it is."""
        blocks: list[Expr] = []
        element: Expr = Const(0)
        for dim, side in fragment.sides:
            form = affine_of(indices[dim])
            held = side.part in form.vars
            rest = arith.sub(indices[dim], arith.mul(side.part, side.run)) if held else indices[dim]
            inner = simplify(arith.floormod(rest, side.period if held else side.run), self.ranges)
            _, most = const_bounds(inner, self.ranges)
            if (held and form.terms.get((side.part,), 0) != side.run) or most is None or most >= side.run:
                fact = f"{fragment.buffer.name} is read at {indices[dim]} in dimension {dim}, which other lanes hold"
                raise _refusal(stmt, fact, "loops over its rows and columns around the access")
            element = simplify(arith.add(element, inner), self.ranges)
            blocks.append(simplify(arith.floordiv(rest, side.period), self.ranges))
        others = tuple(simplify(i, self.ranges) for i in fragment.others(indices))
        place = fragment.register(others, blocks[0], blocks[1], lambda e: simplify(e, self.ranges))
        return (place if fragment.packed else (*place[:-1], arith.add(place[-1], element))), element


def lanes_loop(element: Var, count: int, body: Stmt) -> Stmt:
    """Give the loop over neighbouring elements as a vector loop, behind conditions that are alike for all of them."""
    match body:
        case If(condition, then, None) if all(_is_alike(c, element, count) for c in _parts(condition)):
            return If(substitute(condition, {element: Const(0)}), lanes_loop(element, count, then))
        case Store():
            return For(element, Const(count), body, ForKind.VECTORIZED)
        case _:
            return For(element, Const(count), body, ForKind.UNROLLED)


def _parts(condition: Expr) -> tuple[Expr, ...]:
    match condition:
        case And(a, b):
            return (*_parts(a), *_parts(b))
        case _:
            return (condition,)


def _is_alike(condition: Expr, element: Var, count: int) -> bool:
    """Tell whether a condition holds for all `count` elements or for none: what it compares is in steps of `count`."""
    if element not in variables(condition):
        return True
    match condition:
        case Lt(a, b):
            form = affine_of(arith.sub(b, a))
        case Le(a, b):
            form = affine_of(arith.add(arith.sub(b, a), 1))
        case _:
            return False
    factor = form.terms.get((element,), 0)
    others = [c for mono, c in form.terms.items() if element not in mono]
    linear = len(others) == len(form.terms) - 1
    return linear and factor in (1, -1) and gcd(form.constant, *others) % count == 0


def _refusal(stmt: Stmt, fact: str, advice: str) -> CodegenError:
    first = "\n".join(f"> {line}" for line in str(stmt).splitlines()[:4])
    return CodegenError("cuda", fact, where=first, advice=advice)
