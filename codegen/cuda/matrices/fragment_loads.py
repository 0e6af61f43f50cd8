"""How operands of tensor cores get into registers: by ldmatrix from shared memory, else word by word.

ldmatrix reads 8 rows of 16 bytes for each of 2 or 4 matrices; lane 8 m + r names row r of matrix m, and gets bytes
4 (lane % 4) to 4 (lane % 4) + 3 of row `lane // 4` of each.  That is one word of an operand if the dimension of the
members lies along the rows; with `trans`, for 16-bit elements, if that of the groups does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ....ir import arith
from ....ir.buffer import Buffer
from ....ir.dtype import float32, uint32
from ....ir.errors import CodegenError
from ....ir.expr import Address, Call, Const, Expr, Load, Var
from ....ir.interval import Interval
from ....ir.simplify import simplify
from ....ir.stmt import Allocate, Evaluate, For, ForKind, Stmt, Store, seq
from ....ir.visit import substitute
from ...passes.names import Names
from .fragment_layout import GROUP, GROUPS, MEMBER, WORD_BYTES, Fragment
from .words import misplaced, packed, whole_word

ROW_BYTES = 16
SHAPES = ((2, 2), (1, 4), (4, 1), (1, 2), (2, 1))  # matrices at once: blocks of the groups, blocks of the members


@dataclass(frozen=True, slots=True, eq=False)
class Fill:
    """Loops that fill words of an operand, over `group` and `member` of its dimensions.

    store   what they do; its value may be anything that every lane can compute
    blocks  how many blocks of either dimension they run over
    """

    fragment: Fragment
    store: Store
    group: Var
    member: Var
    blocks: tuple[int, int]

    @property
    def run(self) -> int:
        """Give the number of elements in a word."""
        return self.fragment.member.run


@dataclass(frozen=True, slots=True, eq=False)
class OperandLoads:
    """Writes fills for the lanes of a warp.

    lane    number of the lane in its warp
    ranges  of all variables in the kernel, to which this adds its own
    """

    lane: Expr
    ranges: dict[Var, Interval]
    names: Names

    def filled(self, fill: Fill, value_of: Callable[[Expr], Expr]) -> Stmt:
        """Give what one lane does for a fill.

        value_of  gives an expression with what it reads of other warp buffers in registers
        Raises CodegenError where ldmatrix would read rows that do not begin at a multiple of 16 bytes.
        """
        match fill.store.value:
            case Load(buffer) as source if buffer.scope == "shared":
                trans = self.direction(fill, source)
                if trans is not None:
                    return self.matrices(fill, source, trans)
            case _:
                pass
        return self.words(fill, value_of)

    # -- ldmatrix -------------------------------------------------------------------------------------------------

    def direction(self, fill: Fill, source: Load) -> bool | None:
        """Tell whether ldmatrix has to transpose; None where neither dimension lies along the rows."""
        along = [(fill.member, fill.fragment.member.period, False)]
        if fill.run * 2 == WORD_BYTES:
            along.append((fill.group, GROUPS, True))
        for var, count, trans in along:
            place = misplaced(source, var, count, self.ranges)
            if place is None:
                continue
            if not arith.is_const(place, 0):
                size = source.buffer.dtype.bytes
                strides = ", ".join(str(arith.mul(s, size)) for s in source.buffer.dense_strides[:-1])
                fact = (
                    f"ldmatrix reads rows of {ROW_BYTES} bytes of {source.buffer.name}, which begin "
                    f"{_bytes(place, size)} bytes after a multiple of {ROW_BYTES}: its rows are {strides} bytes apart"
                )
                advice = f"rows of a multiple of {ROW_BYTES // size} elements: storage_align or swizzle"
                raise CodegenError("cuda", fact, where=f"> {fill.store}", advice=advice)
            return trans
        return None

    def matrices(self, fill: Fill, source: Load, trans: bool) -> Stmt:
        """Give the ldmatrix calls of a fill, as many matrices at once as there are."""
        fragment, (groups, members) = fill.fragment, fill.blocks
        gs, ms = next((g, m) for g, m in SHAPES if groups % g == 0 and members % m == 0)
        count = gs * ms
        g_o, m_o = self.variable("g", groups // gs), self.variable("m", members // ms)
        row = arith.floormod(self.lane, 8)
        matrix = arith.floordiv(self.lane, 8) if count == 4 else arith.floormod(arith.floordiv(self.lane, 8), 2)
        g_i, m_i = in_order(fragment, matrix, gs, ms)
        group = arith.mul(arith.add(arith.mul(g_o, gs), g_i), GROUPS)
        member = arith.mul(arith.add(arith.mul(m_o, ms), m_i), fragment.member.period)
        at = {fill.group: group, fill.member: arith.add(member, row)} if trans else {
            fill.group: arith.add(group, row), fill.member: member
        }  # fmt: skip
        address = Address(source.buffer, tuple(self.simple(substitute(i, at)) for i in source.indices))
        inner = [in_order(fragment, Const(n), gs, ms) for n in range(count)]
        places = [
            self.register(fill, arith.add(arith.mul(g_o, gs), g), arith.add(arith.mul(m_o, ms), m)) for g, m in inner
        ]
        name = f"ldmatrix_x{count}{'_trans' if trans else ''}"
        words = arith.int_value(fragment.registers.shape[-1])
        converted = fragment.buffer.dtype == float32
        last = [arith.int_value(p[-1]) for p in places]
        if words == count and last == list(range(count)) and not converted:
            load = _call(name, Address(fragment.registers, places[0]), address)
        else:
            load = self.by_way_of(name, fragment, places, address)
        return self.unrolled(((g_o, groups // gs), (m_o, members // ms)), load)

    def by_way_of(self, name: str, fragment: Fragment, places: list[tuple[Expr, ...]], address: Address) -> Stmt:
        """Give a load of matrices whose registers belong to several tiles, or have to be converted."""
        shape = (Const(len(places)),)
        held = Buffer(self.names.fresh(f"{fragment.buffer.name}_words"), shape, uint32, "local")
        stores = []
        for m, place in enumerate(places):
            word: Expr = Load(held, (Const(m),))
            if fragment.buffer.dtype == float32:
                word = Call("to_tf32", (Call("reinterpret", (word,), float32),), uint32)
            stores.append(Store(fragment.registers, place, word))
        return Allocate(held, seq(_call(name, Address(held, (Const(0),)), address), *stores))

    # -- words ----------------------------------------------------------------------------------------------------

    def words(self, fill: Fill, value_of: Callable[[Expr], Expr]) -> Stmt:
        """Give a fill in which each lane puts its own words together."""
        (groups, members), member = fill.blocks, fill.fragment.member
        g, m = self.variable("g", groups), self.variable("m", members)
        group = arith.add(GROUP, arith.mul(g, GROUPS))
        first = arith.add(arith.mul(MEMBER, fill.run), arith.mul(m, member.period))

        def element(e: int) -> Expr:
            return self.simple(substitute(fill.store.value, {fill.group: group, fill.member: arith.add(first, e)}))

        word = whole_word(fill.store.value, fill.member, fill.run, self.ranges, element(0))
        if word is None:
            word = packed([value_of(element(e)) for e in range(fill.run)])
        store = Store(fill.fragment.registers, self.register(fill, g, m), word)
        return self.unrolled(((g, groups), (m, members)), store)

    # -- shared ---------------------------------------------------------------------------------------------------

    def register(self, fill: Fill, group: Expr, member: Expr) -> tuple[Expr, ...]:
        """Give the place of a word, from its blocks counted from where the fill begins."""
        fragment, wanted = fill.fragment, (group, member)
        zeros: dict[Var, Expr] = {fill.group: Const(0), fill.member: Const(0)}
        base = [self.simple(substitute(i, zeros)) for i in fill.store.indices]
        first, second = (
            arith.add(self.simple(arith.floordiv(base[dim], side.period)), block)
            for (dim, side), block in zip(fragment.sides, wanted, strict=True)
        )
        return fragment.register(fragment.others(tuple(base)), first, second, self.simple)

    def variable(self, stem: str, extent: int | None) -> Var:
        """Give a new variable from 0 on."""
        var = Var(self.names.fresh(stem), minimum=0)
        self.ranges[var] = Interval(Const(0), None if extent is None else Const(extent - 1))
        return var

    def simple(self, expr: Expr) -> Expr:
        """Simplify within the ranges known by now."""
        return simplify(expr, self.ranges)

    def unrolled(self, loops: tuple[tuple[Var, int], ...], body: Stmt) -> Stmt:
        """Wrap loops that are written out around `body`; those of one step are left out."""
        for var, extent in reversed(loops):
            body = For(var, Const(extent), body, ForKind.UNROLLED) if extent > 1 else substitute(body, {var: Const(0)})
        return body


def in_order(fragment: Fragment, number: Expr, groups: int, members: int) -> tuple[Expr, Expr]:
    """Give the blocks of matrix `number` of groups x members, so that the words of one tile follow each other."""
    if fragment.group.blocks > 1:
        return arith.floormod(number, groups), arith.floordiv(number, groups)
    return arith.floordiv(number, members), arith.floormod(number, members)


def _bytes(elements: Expr, size: int) -> str:
    return str(arith.mul(elements, size))


def _call(name: str, *args: Expr) -> Stmt:
    return Evaluate(Call(name, args, Const(0).dtype))
