"""How matrices in scope "warp" are spread over the registers of a warp's 32 lanes.

The lanes are 8 groups of 4 members.  One dimension of a matrix is shared among the groups, the other among the members
of a group; each lane holds the elements where its part of both meets.

                         dimension of the groups     dimension of the members    registers of one lane
    result (16, 8)       group + 8 a                 2 member + e                2 a + e
    operand A (16, 4 w)  group + 8 a                 w' member + e + 4 w' b      a + 2 b, each of the w' elements e
    operand B (4 w, 8)   group                       w' member + e + 4 w' b      b, each of the w' elements e

where w' is how many elements fill 4 bytes.  So a result of 16-bit elements lies as an operand A lies.
Source: PTX ISA, "Matrix Fragments for mma.m16n8k8 / m16n8k16 / m16n8k32".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from ....ir import arith
from ....ir.affine import affine_of
from ....ir.buffer import Buffer
from ....ir.dtype import int32, uint32
from ....ir.errors import CodegenError
from ....ir.expr import Expr, Load, Var
from ....ir.stmt import For, Stmt, Store
from ....ir.visit import free_vars, of_kind, statements

GROUPS, MEMBERS = 8, 4
WORD_BYTES = 4
GROUP = Var("lane_group", int32, 0)  # lane // 4, while a kernel is rewritten
MEMBER = Var("lane_member", int32, 0)  # lane % 4

Indices = tuple[Expr, ...]


class Role(Enum):
    """What a matrix is to an instruction."""

    RESULT = "the result"
    A = "operand A"
    B = "operand B"


@dataclass(frozen=True, slots=True)
class Side:
    """How one dimension is shared: index = lane part * run + element + period * block.

    part    GROUP or MEMBER
    run     neighbours that one lane holds
    blocks  periods in one tile
    """

    part: Var
    run: int
    blocks: int

    @property
    def period(self) -> int:
        """Give how many indices the lanes hold together in one block."""
        return (GROUPS if self.part is GROUP else MEMBERS) * self.run

    @property
    def extent(self) -> int:
        """Give the size of a tile."""
        return self.period * self.blocks


@dataclass(frozen=True, slots=True, eq=False)
class Fragment:
    """A warp buffer and the registers that hold it.

    group_dim, member_dim  dimensions of the buffer that groups and members share
    registers              (other dimensions..., tiles of groups, tiles of members, registers of a tile)
    """

    buffer: Buffer
    role: Role
    group_dim: int
    member_dim: int
    group: Side
    member: Side
    registers: Buffer

    @property
    def packed(self) -> bool:
        """Tell whether registers are words, as operands are."""
        return self.role is not Role.RESULT

    @property
    def sides(self) -> tuple[tuple[int, Side], tuple[int, Side]]:
        """Give both dimensions with how they are shared."""
        return (self.group_dim, self.group), (self.member_dim, self.member)

    def others(self, indices: Indices) -> Indices:
        """Give the indices of the dimensions that are not shared."""
        return tuple(i for d, i in enumerate(indices) if d not in (self.group_dim, self.member_dim))

    def register(self, others: Indices, group: Expr, member: Expr, simple: Callable[[Expr], Expr]) -> Indices:
        """Give the place of a register, of the first element that it holds, from its block of either dimension."""
        inner = arith.add(
            arith.mul(arith.floormod(member, self.member.blocks), self.group.blocks),
            arith.floormod(group, self.group.blocks),
        )
        word = inner if self.packed else arith.mul(inner, self.member.run)
        tiles = arith.floordiv(group, self.group.blocks), arith.floordiv(member, self.member.blocks)
        return tuple(map(simple, (*others, *tiles, word)))


def fragment_of(buffer: Buffer, role: Role, group_dim: int, member_dim: int) -> Fragment:
    """Give how a buffer is held.  Raises CodegenError where it is not of whole tiles."""
    run = WORD_BYTES // buffer.dtype.bytes
    group, member = {
        Role.RESULT: (Side(GROUP, 1, 2), Side(MEMBER, 2, 1)),
        Role.A: (Side(GROUP, 1, 2), Side(MEMBER, run, 2)),
        Role.B: (Side(GROUP, 1, 1), Side(MEMBER, run, 2)),
    }[role]
    sizes = [arith.int_value(d) for d in buffer.shape]
    rows, columns = sizes[group_dim], sizes[member_dim]
    known = rows is not None and columns is not None
    if not known or rows % group.extent or columns % member.extent:  # type: ignore[operator]
        shape = ", ".join(map(str, buffer.shape))
        fact = (
            f"{buffer.name} ({shape}) is {role.value} of tensor cores, whose tiles are "
            f"{group.extent} in dimension {group_dim} and {member.extent} in dimension {member_dim}"
        )
        raise CodegenError("cuda", fact, advice="split the loops around it so that it holds whole tiles")
    assert rows is not None and columns is not None
    blocks = group.blocks * member.blocks
    words = blocks if role is not Role.RESULT else blocks * member.run
    others = tuple(d for n, d in enumerate(buffer.shape) if n not in (group_dim, member_dim))
    tiles = (arith.const(rows // group.extent), arith.const(columns // member.extent))
    dtype = buffer.dtype if role is Role.RESULT else uint32
    shape = (*others, *tiles, arith.const(words))
    registers = replace(buffer, shape=shape, dtype=dtype, scope="local", strides=None)
    return Fragment(buffer, role, group_dim, member_dim, group, member, registers)


# -- products ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """The loops of one instruction: total[i, j] += a[i, k] * b[k, j], in whatever order each has its dimensions."""

    name: str
    loops: tuple[For, For, For]
    total: Store
    a: Load
    b: Load

    @property
    def operands(self) -> Iterator[tuple[Role, Store | Load, Var, Var]]:
        """Give result and operands, each with the variable of its groups and that of its members."""
        i, j, k = (loop.var for loop in self.loops)
        yield Role.RESULT, self.total, i, j
        yield Role.A, self.a, i, k
        yield Role.B, self.b, j, k


def product_of(stmt: Stmt, mark: str = "mma") -> Product | None:
    """Give the matrix product that a loop is marked as, or None."""
    match stmt:
        case For(body=For(body=For(body=Store() as total) as third) as second) as first:
            name = next((str(a.value) for a in first.annotations if a.name == mark), "")
            if not name:
                return None
            loads = [n for n in of_kind(total.value, Load) if n.buffer is not total.buffer]
            a = next(n for n in loads if first.var in _variables(n))
            b = next(n for n in loads if second.var in _variables(n))
            return Product(name, (first, second, third), total, a, b)
        case _:
            return None


def _variables(access: Load | Store) -> set[Var]:
    return {v for i in access.indices for v in free_vars(i)}


def fragments_in(body: Stmt) -> dict[Buffer, Fragment]:
    """Give how each warp buffer is held: as the products that touch it ask for, others as results are.

    Raises CodegenError for a buffer that two products want differently, and for an operand that is kept elsewhere.
    """
    found: dict[Buffer, Fragment] = {}
    for product in filter(None, map(product_of, statements(body))):
        for role, access, group, member in product.operands:
            buffer = access.buffer
            if buffer.scope != "warp":
                fact = f"mma {product.name} reads {buffer.name}, which is kept in {buffer.scope} memory"
                raise CodegenError("cuda", fact, advice=f'cache_read {buffer.name} in scope "warp" for the product')
            dims = (_dimension(access, group), _dimension(access, member))
            known = found.get(buffer)
            if known is None:
                found[buffer] = fragment_of(buffer, role, *dims)
            elif (known.role, known.group_dim, known.member_dim) != (role, *dims):
                fact = f"{buffer.name} is {known.role.value} of one product and {role.value} of another"
                raise CodegenError("cuda", fact, advice='a stage of scope "warp" for each')
    for node in of_kind(body, Load, Store):
        buffer = node.buffer
        if buffer.scope == "warp" and buffer not in found:
            last = len(buffer.shape) - 1
            found[buffer] = fragment_of(buffer, Role.RESULT, last - 1, last)
    return found


def _dimension(access: Load | Store, var: Var) -> int:
    """Give the dimension along which a loop of a product runs."""
    return next(d for d, i in enumerate(access.indices) if affine_of(i).terms.get((var,)) == 1)
