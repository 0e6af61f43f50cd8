"""From derived stages to statements: the loops, what is computed at each, and what is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from textwrap import indent

from ..ir import arith
from ..ir.arith import is_known
from ..ir.buffer import Buffer
from ..ir.errors import Error
from ..ir.expr import Expr, Load, Var
from ..ir.interval import Interval
from ..ir.printer import stmt_text
from ..ir.simplify import simplifier, simplify
from ..ir.stmt import Allocate, For, If, Let, Seq, Stmt, seq
from ..ir.stmt import Store as StoreStmt
from ..ir.visit import Memo, Node, free_vars, rewrite, substitute
from ..te.axis import Axis
from ..te.nodes import Read, Reduce, is_unconditional
from ..te.operation import ComputeOp, ExternOp, ScanOp
from .derive import ZERO, Derivation, Derived, derive, is_loop, reduction_start
from .inline import inlined
from .storage import Key, Store, stores_of
from .table import StageState, Table, is_reduce_axis
from .tensorize import Match, matched


@dataclass(slots=True)
class NestBuilder:
    """Builds the statements of all stages of one derivation.

    params  the buffers of the caller's tensors
    marks   the loop made for each leaf, so that errors can point at it
    """

    result: Derivation
    stores: dict[Key, Store]
    params: Mapping[Key, Buffer]
    marks: dict[tuple[str, Axis], Stmt] = field(default_factory=dict)
    simple: Callable[[Expr], Expr] = field(init=False)  # simplifies within the ranges of the loops
    _memos: dict[str, Memo] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.simple = simplifier(self.result.ranges)

    def whole(self) -> Stmt:
        """Give the statements of all stages at the root, each with its memory around it and all that follows."""
        roots = [d for d in self._in_order() if d.stage.is_root]
        body = self._allocated(roots, [self.stage(d) for d in roots])
        for derived in roots:  # the first steps of a scan are stored before the scan itself begins
            if derived.stage.scan is not None:
                keys = ((derived.stage.id, c) for c in range(derived.stage.op.num_outputs))
                for key in keys:
                    body = body if key in self.params else Allocate(self.stores[key].buffer, body)
        return body

    def _in_order(self) -> list[Derived]:
        return [self.result.stages[name] for name in self.result.table.stages]

    def _allocated(self, stages: list[Derived], nests: list[Stmt | None], then: Stmt | None = None) -> Stmt:
        """Give nests one after the other and then `then`; the memory of each lives from its nest to the end."""
        body: Stmt | None = then
        for derived, nest in zip(reversed(stages), reversed(nests), strict=True):
            if nest is None and body is None:
                continue
            body = seq(nest, body)
            for buffer in self._own_buffers(derived):
                body = Allocate(buffer, body)
        return body if body is not None else Seq(())

    def _own_buffers(self, derived: Derived) -> list[Buffer]:
        stage = derived.stage
        if stage.is_placeholder or stage.scan is not None:
            return []
        shared = self._scan_buffers()
        keys = ((stage.id, c) for c in reversed(range(stage.op.num_outputs)))
        buffers = (self.stores[key].buffer for key in keys if key not in self.params)
        return [buffer for buffer in buffers if buffer not in shared]

    def _scan_buffers(self) -> set[Buffer]:
        """Give the buffers of scans, which the stages of their init and update write too."""
        scans = (d.stage for d in self._in_order() if d.stage.scan is not None)
        return {self.stores[scan.id, c].buffer for scan in scans for c in range(scan.op.num_outputs)}

    def stage(self, derived: Derived) -> Stmt | None:
        """Give the loops of one stage with everything that is computed within them, or None for a placeholder."""
        match derived.stage.op:
            case ComputeOp() as op:
                match = matched(self, derived)
                return self._compute(derived, op, match)
            case ScanOp():
                return self._loops(derived, len(derived.stage.leaves), None)
            case ExternOp() as op:
                return self._extern(derived.stage, op)
            case _:
                return None

    def _extern(self, stage: StageState, op: ExternOp) -> Stmt:
        inputs = tuple(self.stores[self.key(t.op, t.component)].buffer for t in op.reads)
        outputs = tuple(self.stores[stage.id, c].buffer for c in range(op.num_outputs))
        return simplify(op.body(inputs, outputs))

    def key(self, op: object, component: int) -> Key:
        """Give the key of an operator's result."""
        return self.result.table.aliases[id(op)], component

    # -- one compute stage ---------------------------------------------------------------------------------------

    def _compute(self, derived: Derived, op: ComputeOp, match: Match | None) -> Stmt:
        if match is not None:
            inner, upto = match.update, match.position
            reset = self._init(derived, op) if match.scalar_reset else match.reset
        elif op.reduction is not None:
            inner, reset, upto = (
                self._update(derived, op, op.reduction),
                self._init(derived, op),
                len(derived.stage.leaves),
            )
        else:
            inner, reset, upto = self._plain(derived, op), None, len(derived.stage.leaves)
        scalar = match is None or match.scalar_reset
        return self._loops(derived, upto, inner, reset, len(derived.stage.leaves) if scalar else upto)

    def _target(self, derived: Derived, component: int) -> tuple[Store, tuple[Expr, ...]]:
        store = self.stores[derived.stage.id, component]
        index = tuple(derived.index[a.var] for a in derived.stage.op.axis)
        return store, tuple(self.simple(i) for i in store.indices(index))

    def _plain(self, derived: Derived, op: ComputeOp) -> Stmt:
        stores = []
        for component, body in enumerate(op.body):
            store, indices = self._target(derived, component)
            stores.append(StoreStmt(store.buffer, indices, self.value(derived, body)))
        return self._predicated(derived, seq(*stores))

    def _init(self, derived: Derived, op: ComputeOp) -> Stmt:
        stores = []
        for component, body in enumerate(op.body):
            assert isinstance(body, Reduce)
            start = body.init or body.reducer.identity
            store, indices = self._target(derived, component)
            stores.append(StoreStmt(store.buffer, indices, self.value(derived, start[component])))
        return self._predicated(derived, seq(*stores))

    def _update(self, derived: Derived, op: ComputeOp, reduce: Reduce) -> Stmt:
        targets = [self._target(derived, c) for c in range(len(op.body))]
        reducer = reduce.reducer
        values: dict[Var, Expr] = {}
        for n, (store, indices) in enumerate(targets):
            values[reducer.left[n]] = Load(store.buffer, indices)
            values[reducer.right[n]] = self.value(derived, reduce.values[n])
        results = [substitute(r, values) for r in reducer.result]
        update = _stores(derived.stage.id, targets, results)
        if not is_unconditional(reduce):
            update = If(self.value(derived, reduce.condition), update)
        return self._predicated(derived, update)

    def _predicated(self, derived: Derived, stmt: Stmt) -> Stmt:
        predicate = derived.stage.predicate
        if predicate is None:
            return stmt
        condition = self.value(derived, predicate)
        return stmt if is_known(condition, True) else If(condition, stmt)

    def value(self, derived: Derived, expression: Expr) -> Expr:
        """Give an expression of the stage with axes as loops and elements as loads."""
        memo = self._memos.setdefault(derived.stage.id, {})

        def rule(node: Node) -> Node | None:
            match node:
                case Var():
                    return derived.index.get(node)
                case Read(tensor, indices):
                    store = self.stores[self.key(tensor.op, tensor.component)]
                    return Load(store.buffer, tuple(self.simple(i) for i in store.indices(indices)))
                case _:
                    return None

        return self.simple(rewrite(expression, rule, memo))

    # -- loops ---------------------------------------------------------------------------------------------------

    def _loops(
        self, derived: Derived, upto: int, inner: Stmt | None, reset: Stmt | None = None, reset_upto: int = 0
    ) -> Stmt:
        """Wrap `inner` in the first `upto` loops, with attached stages and guards.

        reset  goes before the outermost reduction loop, in copies of the spatial ones of the first `reset_upto`
        """
        stage = derived.stage
        body: Stmt | None = inner
        start = reduction_start(stage)
        if reset is not None and start >= upto:
            body = seq(reset, body)
        guards = self._guards_by_position(derived)
        for position in reversed(range(upto)):
            axis = stage.leaves[position]
            body = self._with_attached(stage, axis, body)
            body = _guarded(guards.get(position, []), body)
            body = self._loop(derived, axis, body)
            if position == start and reset is not None:
                body = seq(self._init_loops(derived, reset, position + 1, reset_upto), body)
        assert body is not None, "a stage without loops has statements"
        return _guarded(guards.get(-1, []), body)

    def _with_attached(self, stage: StageState, axis: Axis, body: Stmt | None) -> Stmt:
        guests = [self.result.stages[g.id] for g, at in self.result.table.attached(stage) if at is axis]
        return self._allocated(guests, [self.stage(g) for g in guests], body)

    def _loop(self, derived: Derived, axis: Axis, body: Stmt) -> Stmt:
        var = derived.loops[axis]
        loop = derived.stage.loop(axis)
        made = body
        if is_loop(var):
            extent = self.simple(derived.extents[axis])
            made = For(var, extent, body, loop.kind, loop.thread, loop.annotations)
        self.marks[derived.stage.id, axis] = made
        return made

    def _init_loops(self, derived: Derived, reset: Stmt, first: int, upto: int) -> Stmt:
        """Wrap the start of a reduction in fresh copies of the spatial loops that run inside the reduction."""
        fresh: dict[Var, Expr] = {}
        loops: list[tuple[int, Var]] = []
        for position, axis in enumerate(derived.stage.leaves[first:upto], first):
            var = derived.loops[axis]
            if is_loop(var) and not is_reduce_axis(axis):
                copy = Var(self._unused(f"{var.name}_init"), var.dtype, 0)
                self.result.ranges[copy] = self.result.ranges[var]
                fresh[var] = copy
                loops.append((position, copy))
        guards = self._guards_by_position(derived)
        body = substitute(reset, fresh)
        for position, copy in reversed(loops):
            axis = derived.stage.leaves[position]
            conditions = [g for g in guards.get(position, []) if not self._mentions_reduction(derived, g)]
            body = _guarded([substitute(g, fresh) for g in conditions], body)
            loop = derived.stage.loop(axis)
            body = For(copy, self.simple(derived.extents[axis]), body, loop.kind, loop.thread)
        return body

    def fresh(self, var: Var, loop: Node) -> Var:
        """Give a variable of an unused name to stand for `var` of an intrinsic's loop or let."""
        copy = Var(self._unused(var.name), var.dtype, var.minimum)
        match loop:
            case For(extent=extent):
                self.result.ranges[copy] = Interval(ZERO, arith.sub(extent, 1))
            case _:
                self.result.ranges[copy] = Interval(None, None)
        return copy

    def _unused(self, name: str) -> str:
        taken = {v.name for v in self.result.ranges}
        while name in taken:
            name += "_"
        return name

    def _mentions_reduction(self, derived: Derived, guard: Expr) -> bool:
        reduced = {derived.loops[a] for a in derived.stage.leaves if is_reduce_axis(a)}
        return any(v in reduced for v in free_vars(guard))

    def _position(self, derived: Derived, guard: Expr) -> int:
        """Give the position of the innermost own loop that a guard depends on, or -1 for none."""
        variables = set(free_vars(guard))
        return max((i for i, a in enumerate(derived.stage.leaves) if derived.loops[a] in variables), default=-1)

    def _guards_by_position(self, derived: Derived) -> dict[int, list[Expr]]:
        found: dict[int, list[Expr]] = {}
        for guard in derived.guards:
            found.setdefault(self._position(derived, guard), []).append(self.simple(guard))
        return found


def _guarded(conditions: list[Expr], body: Stmt) -> Stmt:
    return If(arith.logical_and(*conditions), body) if conditions else body


def _stores(name: str, targets: list[tuple[Store, tuple[Expr, ...]]], results: list[Expr]) -> Stmt:
    """Store several results at once: all are computed before the first is stored."""
    if len(targets) == 1:
        (store, indices), value = targets[0], results[0]
        return StoreStmt(store.buffer, indices, value)
    lets = [Var(f"{name}_new{n}", r.dtype) for n, r in enumerate(results)]
    body = seq(*(StoreStmt(s.buffer, i, v) for (s, i), v in zip(targets, lets, strict=True)))
    for var, value in zip(reversed(lets), reversed(results), strict=True):
        body = Let(var, value, body)
    return body


def build_nest(table: Table, params: Mapping[Key, Buffer]) -> NestBuilder:
    """Give the builder of a table's nest, with bounds inferred.  Raises ScheduleError."""
    result = derive(inlined(table))
    return NestBuilder(result, stores_of(result, params), params)


def marked_text(table: Table, stage: StageState, axis: Axis | None) -> str:
    """Give the loop nest with the loop of `axis` marked, or as much as can be derived."""
    try:
        from .lower import caller_buffers

        builder = build_nest(table, caller_buffers(table))
        body = builder.whole()
        mark = builder.marks.get((stage.id, axis)) if axis is not None else None
        return indent(str(body), "  ") if mark is None else stmt_text(body, mark)
    except Error as error:
        return f"  (the nest cannot be derived yet: {error.fact})"
