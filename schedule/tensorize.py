"""Matching the inner loops of a stage against the declaration of a tensor intrinsic.

The intrinsic declares an operator over small tensors.  The loops from the tensorized axis inwards cover a box of the
stage's axes; the stage's expression over that box must be the intrinsic's, with each of the intrinsic's tensors
standing for a window of one tensor of the stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from math import prod
from typing import TYPE_CHECKING

from ..ir import arith
from ..ir.buffer import Buffer
from ..ir.errors import ScheduleError
from ..ir.expr import Add, Address, Const, Eq, Expr, Load, Max, Min, Mul, Ne, Var
from ..ir.interval import const_bounds, prove
from ..ir.stmt import For, If, Let, Stmt
from ..ir.stmt import Store as StoreStmt
from ..ir.visit import Node, children, free_vars, rewrite, substitute, walk, with_fields
from ..te.axis import Axis
from ..te.intrin import TensorIntrin
from ..te.nodes import Read, Reduce, Reducer, is_unconditional
from ..te.operation import ComputeOp
from .derive import ZERO, Derived, is_loop
from .overshoot import Overshoot
from .storage import Key, Store
from .table import is_reduce_axis

if TYPE_CHECKING:
    from .nest import NestBuilder


@dataclass(frozen=True, slots=True)
class Match:
    """What stands in place of the tensorized loops.

    position   of the tensorized leaf
    update     statements for the loops from there on
    reset      statements that start the reduction over the tile, or None
    scalar_reset   whether the reduction runs outside and must be started element by element
    """

    position: int
    update: Stmt
    reset: Stmt | None
    scalar_reset: bool


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a tensor of the stage that one tensor of the intrinsic stands for.

    key    the stage's tensor, by stage and component
    base   index of the window's first element
    dims   for each dimension of the intrinsic's tensor the tensor's dimension, or None where the extent is 1
    """

    key: Key
    base: tuple[Expr, ...]
    dims: tuple[int | None, ...]


def matched(builder: NestBuilder, derived: Derived) -> Match | None:
    """Give the match of a stage's tensorized axis, or None if it has none.  Raises ScheduleError on a mismatch."""
    stage = derived.stage
    for position, axis in enumerate(stage.leaves):
        intrinsic = stage.loop(axis).intrinsic
        if intrinsic is not None:
            return _Matcher(builder, derived, position, axis, intrinsic).match()
    return None


@dataclass(slots=True)
class _Matcher:
    builder: NestBuilder
    derived: Derived
    position: int
    axis: Axis
    intrinsic: TensorIntrin
    reads: dict[int, Window] = field(default_factory=dict)  # identity of the intrinsic's input operator -> window

    def match(self) -> Match:
        """Compare, then place the intrinsic's statements.  Raises ScheduleError."""
        op = self.derived.stage.compute
        assert op is not None
        leaves = self.derived.stage.leaves[self.position :]
        inner = [v for v in (self.derived.loops[a] for a in leaves) if is_loop(v)]
        for guest, at in self.builder.result.table.attached(self.derived.stage):
            if self.derived.stage.leaves.index(at) >= self.position:
                fact = f"stage {guest.id} is computed at axis {at.name}, which the intrinsic takes the place of"
                raise self._refusal(fact, f"compute {guest.id} at a loop outside of {self.axis.name}")
        overshoots = self.builder.overshoots
        guarded = overshoots.of(self.derived.stage.id) is Overshoot.GUARDED
        for guard in (*overshoots.guards(self.derived), *(self.derived.domain if guarded else ())):
            if any(v in inner for v in free_vars(guard)):
                raise self._refusal(f"the tile is not always full: {guard} is not proved", "factors that divide")
        pairs, bases = self._tile(op, inner)
        self._compare(op, pairs, bases)
        windows = self._windows(op, pairs, bases)
        outside = [a for a in self.derived.stage.leaves[: self.position] if is_reduce_axis(a)]
        condition = self._condition(op, dict.fromkeys(inner, ZERO))
        if not outside and condition is None:
            return Match(self.position, self._placed(self.intrinsic.body, windows), None, False)
        if not outside:
            raise self._refusal(f"the sum leaves out all terms but where {condition}", "a loop of the sum outside")
        if self.intrinsic.update is None:
            fact = f"intrinsic {self.intrinsic.name} has no update, and {outside[0].name} reduces outside of it"
            raise self._refusal(fact, "an intrinsic with (body, reset, update), or tensorize the whole reduction")
        reset = None if self.intrinsic.reset is None else self._placed(self.intrinsic.reset, windows)
        update = self._placed(self.intrinsic.update, windows)
        return Match(self.position, update if condition is None else If(condition, update), reset, reset is None)

    def _condition(self, op: ComputeOp, start: dict[Var, Expr]) -> Expr | None:
        """Give where the terms of a tile are summed up; None where that is everywhere or the intrinsic's matter."""
        reduction, declared = op.reduction, self.intrinsic.op.reduction
        if reduction is None or declared is None or is_unconditional(reduction) or not is_unconditional(declared):
            return None
        return self.builder.simple(substitute(self.builder.value(self.derived, reduction.condition), start))

    # -- the box that the inner loops cover ----------------------------------------------------------------------

    def _tile(self, op: ComputeOp, inner: Sequence[Var]) -> tuple[dict[Axis, Axis], dict[Var, Expr]]:
        """Give the stage's axes paired with the intrinsic's, and the first value of each of the stage's variables."""
        zeros = dict.fromkeys(inner, ZERO)
        ranges = {v: self.builder.result.ranges[v] for v in zeros}
        bases: dict[Var, Expr] = {}
        sizes: dict[Axis, int] = {}
        for axis in (*op.axis, *op.reduce_axis):
            value = self.builder.simple(self.derived.index[axis.var])
            bases[axis.var] = self.builder.simple(substitute(value, zeros))
            low, high = const_bounds(arith.sub(value, bases[axis.var]), ranges)
            if low != 0 or high is None:
                raise self._refusal(f"the loops do not cover a constant range of {axis.name}", "constant factors")
            sizes[axis] = high + 1
        steps = prod(int(h) + 1 for h in (const_bounds(v, ranges)[1] for v in zeros) if h is not None)
        if steps != prod(sizes.values()):
            raise self._refusal("the loops do not cover a box of the stage's axes", "splits of one factor an axis")
        declared = self.intrinsic.op
        pairs = self._paired(sizes, op.axis, declared.axis) | self._paired(sizes, op.reduce_axis, declared.reduce_axis)
        return pairs, bases

    def _paired(self, sizes: dict[Axis, int], mine: Sequence[Axis], declared: Sequence[Axis]) -> dict[Axis, Axis]:
        long = [a for a in mine if sizes[a] > 1]
        wanted = [a for a in declared if _size(a) > 1]
        if [sizes[a] for a in long] != [_size(a) for a in wanted]:
            here = ", ".join(f"{a.name}: {sizes[a]}" for a in long) or "none"
            there = ", ".join(f"{a.name}: {_size(a)}" for a in wanted) or "none"
            raise self._refusal(
                f"the tile has extents ({here}), and intrinsic {self.intrinsic.name} has ({there})",
                f"split the axes so that the loops from {self.axis.name} inwards have the intrinsic's extents",
            )
        return dict(zip(long, wanted, strict=True))

    # -- comparing expressions -----------------------------------------------------------------------------------

    def _compare(self, op: ComputeOp, pairs: dict[Axis, Axis], bases: dict[Var, Expr]) -> None:
        mine = dict(bases)
        for axis, twin in pairs.items():
            mine[axis.var] = arith.add(bases[axis.var], twin.var)
        ones = {a.var: ZERO for a in (*self.intrinsic.op.axis, *self.intrinsic.op.reduce_axis) if _size(a) == 1}
        here = [substitute(b, mine) for b in op.body]
        there = [substitute(b, ones) for b in self.intrinsic.op.body]
        variables = [a.var for a in pairs.values()]
        if len(here) != len(there) or not all(self._same(a, b, variables) for a, b in zip(here, there, strict=True)):
            raise self._refusal(
                f"the loops compute `{_listing(op.body)}`, and intrinsic {self.intrinsic.name} "
                f"computes `{_listing(self.intrinsic.op.body)}`",
                "an intrinsic that declares the same expression",
            )

    def _same(self, mine: Expr, declared: Expr, variables: list[Var]) -> bool:
        match mine, declared:
            case Read(), Read():
                return self._same_read(mine, declared, variables)
            case Reduce(), Reduce():
                return (
                    _same_reducer(mine.reducer, declared.reducer)
                    and mine.component == declared.component
                    and not mine.init
                    and len(mine.values) == len(declared.values)
                    and self._same_condition(mine, declared, variables)
                    and all(self._same(a, b, variables) for a, b in zip(mine.values, declared.values, strict=True))
                )
            case ((Add() | Mul() | Min() | Max() | Eq() | Ne()), _) if type(mine) is type(declared):
                a, b = children(mine)
                c, d = children(declared)
                return self._both(a, b, c, d, variables) or self._both(a, b, d, c, variables)
            case _:
                return self._same_node(mine, declared, variables)

    def _same_condition(self, mine: Reduce, declared: Reduce, variables: list[Var]) -> bool:
        """Tell whether the same terms are summed up, or all of the tile's or none of them."""
        if self._same(mine.condition, declared.condition, variables):
            return True
        of_all = set(variables).isdisjoint(free_vars(mine.condition))
        return of_all and is_unconditional(declared) and self.intrinsic.update is not None

    def _both(self, a: Node, b: Node, c: Node, d: Node, variables: list[Var]) -> bool:
        """Try one order of operands; forget the windows that it assumed if it fails."""
        before = dict(self.reads)
        if self._same(a, c, variables) and self._same(b, d, variables):  # type: ignore[arg-type]
            return True
        self.reads = before
        return False

    def _same_node(self, mine: Expr, declared: Expr, variables: list[Var]) -> bool:
        if mine.dtype.is_int and prove(arith.eq(mine, declared), {}):
            return True
        if type(mine) is not type(declared) or mine.dtype != declared.dtype:
            return False
        plain = [f.name for f in fields(mine) if f.type not in ("Expr", "tuple[Expr, ...]")]  # type: ignore[arg-type]
        if any(getattr(mine, n) != getattr(declared, n) for n in plain):
            return False
        below = list(zip(children(mine), children(declared), strict=False))
        same_arity = len(list(children(mine))) == len(list(children(declared)))
        is_leaf = not below and not isinstance(mine, Const)
        return same_arity and not is_leaf and all(self._same(a, b, variables) for a, b in below)  # type: ignore[arg-type]

    def _same_read(self, mine: Read, declared: Read, variables: list[Var]) -> bool:
        """Find the window that makes both reads the same element, and keep it equal for all reads of one tensor."""
        if mine.dtype != declared.dtype:
            return False
        zeros = dict.fromkeys(variables, ZERO)
        base = tuple(self.builder.simple(substitute(i, zeros)) for i in mine.indices)
        offsets = [self.builder.simple(arith.sub(i, b)) for i, b in zip(mine.indices, base, strict=True)]
        moving = [d for d, o in enumerate(offsets) if not arith.is_const(o, 0)]
        dims: list[int | None] = []
        left = iter(moving)
        for index in declared.indices:
            dims.append(None if arith.is_const(self.builder.simple(index), 0) else next(left, None))
        if next(left, None) is not None:
            return False
        for index, d in zip(declared.indices, dims, strict=True):
            if d is not None and not prove(arith.eq(offsets[d], index), {}):
                return False
        window = Window(self.builder.key(mine.tensor.op, mine.tensor.component), base, tuple(dims))
        known = self.reads.setdefault(id(declared.tensor.op), window)
        return known.key == window.key and known.dims == window.dims and _equal(known.base, window.base)

    # -- placing the statements ----------------------------------------------------------------------------------

    def _windows(self, op: ComputeOp, pairs: dict[Axis, Axis], bases: dict[Var, Expr]) -> dict[Buffer, Window]:
        windows: dict[Buffer, Window] = {}
        for buffer, tensor in zip(self.intrinsic.inputs, self.intrinsic.op.inputs, strict=True):
            windows[buffer] = self.reads[id(tensor.op)]
        position = {twin: op.axis.index(axis) for axis, twin in pairs.items() if axis in op.axis}
        dims = tuple(position.get(a) for a in self.intrinsic.op.axis)
        base = tuple(bases[a.var] for a in op.axis)
        for component, buffer in enumerate(self.intrinsic.outputs):
            windows[buffer] = Window((self.derived.stage.id, component), base, dims)
        return windows

    def _placed(self, stmt: Stmt, windows: dict[Buffer, Window]) -> Stmt:
        """Give the intrinsic's statements on the stage's buffers, with loop variables of their own."""
        renamed = self._strides(windows)
        for node in walk(stmt):
            if isinstance(node, (For, Let)):
                renamed[node.var] = self.builder.fresh(node.var, node)

        def rule(node: Node) -> Node | None:
            match node:
                case Load(buffer, indices) | Address(buffer, indices) | StoreStmt(buffer, indices) if buffer in windows:
                    store, index = self._element(windows[buffer], indices)
                    if isinstance(node, Address):
                        self._check_compact(buffer, store, windows[buffer])
                    return with_fields(node, {"buffer": store.buffer, "indices": index})
                case For(var=var) | Let(var=var):
                    return with_fields(node, {"var": renamed[var]})
                case Var():
                    return renamed.get(node)
                case _:
                    return None

        return rewrite(stmt, rule)

    def _strides(self, windows: dict[Buffer, Window]) -> dict[Var, Expr]:
        """Give the values of the variables that the intrinsic's buffers were declared with as strides."""
        found: dict[Var, Expr] = {}
        for buffer, window in windows.items():
            actual = self.builder.stores[window.key].buffer.dense_strides[-len(window.base) :]
            for stride, d in zip(buffer.strides or (), window.dims, strict=False):
                match stride:
                    case Var():
                        found[stride] = arith.const(1) if d is None else actual[d]
        return found

    def _element(self, window: Window, indices: tuple[Expr, ...]) -> tuple[Store, tuple[Expr, ...]]:
        store = self.builder.stores[window.key]
        index = list(window.base)
        for i, d in zip(indices, window.dims, strict=True):
            if d is not None:
                index[d] = arith.add(index[d], i)
        return store, tuple(self.builder.simple(i) for i in store.indices(tuple(index)))

    def _check_compact(self, declared: Buffer, store: Store, window: Window) -> None:
        """Refuse to hand an address to code that takes the window for dense, or strided as declared, unless it is."""
        if store.layout is not None:
            return
        actual = store.buffer.dense_strides[-len(window.base) :]
        wanted = declared.dense_strides
        for d, stride in zip(window.dims, wanted, strict=True):
            if d is not None and type(stride) is not Var and not prove(arith.eq(actual[d], stride), {}):
                raise self._refusal(
                    f"neighbours along dimension {d} of {store.buffer.name} are {actual[d]} elements apart, and "
                    f"intrinsic {self.intrinsic.name} takes them to be {stride} apart",
                    f"cache_read or cache_write {store.buffer.name} at a loop around {self.axis.name}",
                )

    def _refusal(self, fact: str, advice: str) -> ScheduleError:
        where = f"  stage {self.derived.stage.id}, axis {self.axis.name}"
        return ScheduleError("tensorize", fact, where=where, advice=advice)


def _size(axis: Axis) -> int:
    assert axis.size is not None, "declared with constant extents"
    return axis.size


def _equal(a: tuple[Expr, ...], b: tuple[Expr, ...]) -> bool:
    return all(prove(arith.eq(x, y), {}) for x, y in zip(a, b, strict=True))


def _same_reducer(a: Reducer, b: Reducer) -> bool:
    values = dict(zip((*a.left, *a.right), (*b.left, *b.right), strict=False))
    renamed = [substitute(r, values) for r in a.result]
    return [str(r) for r in renamed] == [str(r) for r in b.result] and [v.dtype for v in a.left] == [
        v.dtype for v in b.left
    ]


def _listing(body: tuple[Expr, ...]) -> str:
    return ", ".join(str(b) for b in body)
