"""From derived stages to statements: the loops, what is computed at each, and what is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import indent

from ..ir import arith
from ..ir.arith import is_known
from ..ir.buffer import Buffer
from ..ir.dtype import DType
from ..ir.errors import Error, ScheduleError
from ..ir.expr import Expr, Load, Var
from ..ir.interval import Interval
from ..ir.printer import stmt_text
from ..ir.simplify import simplifier, simplify
from ..ir.stmt import Allocate, Annotation, For, If, Let, Seq, Stmt, seq
from ..ir.stmt import Store as StoreStmt
from ..ir.visit import Memo, Node, free_vars, rewrite, substitute, variables
from ..te.axis import Axis
from ..te.nodes import Read, Reduce, Reducer, is_unconditional
from ..te.operation import ComputeOp, ExternOp, ScanOp
from .derive import ZERO, Derivation, Derived, derive, is_loop, reduction_start
from .inline import inlined
from .overshoot import Overshoot, Overshoots
from .prefetch import requests, spread
from .steps.caches import STREAM
from .storage import Key, Store, stores_of
from .table import Fetch, StageState, Table, is_reduce_axis
from .tensorize import Match, matched

CROSS_THREAD = "cross_thread"  # marks a loop over the threads that share a reduction
ONE = arith.const(1)


@dataclass(frozen=True, slots=True)
class Guards:
    """Where the guards of a stage go.

    outside  by position of a loop: around its whole body, and what is attached there; -1 is around the stage
    inside   by position of a loop: around the body without what is attached there
    late     those of `inside` that the start of the reduction needs too
    """

    outside: dict[int, list[Expr]]
    inside: dict[int, list[Expr]]
    late: list[Expr]


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
    overshoots: Overshoots = field(init=False)
    _memos: dict[str, Memo] = field(default_factory=dict)
    _locals: dict[tuple[int, int, int], tuple[Expr, Expr]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.simple = simplifier(self.result.ranges)
        self.overshoots = Overshoots(self.result, self.stores)

    def whole(self) -> Stmt:
        """Give the statements of all stages at the root, each with its memory around it and all that follows."""
        return self.roots([d for d in self._in_order() if d.stage.is_root])

    def part(self, ahead: bool) -> Stmt:
        """Give those of the stages that are computed ahead of the calls, or of the others."""
        return self.roots([d for d in self._in_order() if d.stage.is_root and d.stage.is_ahead == ahead])

    def roots(self, roots: list[Derived]) -> Stmt:
        """Give the statements of some stages at the root."""
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
        elif op.reduction is not None and any(map(derived.stage.is_cross_thread, derived.stage.leaves)):
            return self._cross_thread(derived, op, op.reduction)
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
            stores.append(StoreStmt(store.buffer, indices, self._filled(derived, self.value(derived, body))))
        return self._predicated(derived, seq(*stores))

    def _filled(self, derived: Derived, value: Expr) -> Expr:
        """Give the value, or 0 outside of the tensor where the stage fills what its region overshoots by."""
        if not derived.domain or self.overshoots.of(derived.stage.id) is not Overshoot.FILLED:
            return value
        inside = arith.logical_and(*map(self.simple, derived.domain))
        return self.simple(arith.if_then_else(inside, value, arith.const(0, value.dtype)))

    def _init(self, derived: Derived, op: ComputeOp) -> Stmt:
        stores = []
        for component, body in enumerate(op.body):
            assert isinstance(body, Reduce)
            start = body.init or body.reducer.identity
            store, indices = self._target(derived, component)
            stores.append(StoreStmt(store.buffer, indices, self.value(derived, start[component])))
        return self._predicated(derived, seq(*stores))

    def _update(self, derived: Derived, op: ComputeOp, reduce: Reduce) -> Stmt:
        return self._predicated(derived, self._combined(derived, reduce, self._places(derived, op)))

    def _places(self, derived: Derived, op: ComputeOp) -> list[Load]:
        targets = (self._target(derived, c) for c in range(len(op.body)))
        return [Load(store.buffer, indices) for store, indices in targets]

    def _combined(self, derived: Derived, reduce: Reduce, into: list[Load]) -> Stmt:
        """Give the statement that combines one iteration's values into the elements `into`."""
        update = _merge(derived.stage.id, reduce.reducer, into, [self.value(derived, v) for v in reduce.values])
        return update if is_unconditional(reduce) else If(self.value(derived, reduce.condition), update)

    def _cross_thread(self, derived: Derived, op: ComputeOp, reduce: Reduce) -> Stmt:
        """Give a reduction that threads share: each sums up its part alone, and adds it to the result at the end.

        C = 0
        for t in thread("threadIdx.x", 32):  # cross_thread
            part = 0
            for k: part = part + A[k * 32 + t]
            C = C + part
        """
        leaves = derived.stage.leaves
        start = reduction_start(derived.stage)
        inner = start + sum(map(derived.stage.is_cross_thread, leaves))
        for axis in leaves[start:]:
            if is_loop(derived.loops[axis]) and not is_reduce_axis(axis):
                fact = (
                    f"threads share the reduction of {derived.stage.id} and give one result at a time, "
                    f"but {axis.name} runs inside of it"
                )
                raise ScheduleError("bind", fact, advice=f"reorder {axis.name} outside of the reduction")
        parts = [
            Buffer(self._unused(f"{derived.stage.id}_part{c}"), (ONE,), body.dtype, "local")
            for c, body in enumerate(op.body)
        ]
        places = [Load(part, (ZERO,)) for part in parts]
        identity = [self.value(derived, x) for x in reduce.reducer.identity]
        guards = self._guards(derived, inner - 1)
        held = guards.inside.pop(inner - 1, [])
        crossing = [g for p in range(start, inner) for g in guards.outside.pop(p, [])]
        update = _guarded(held + crossing, self._combined(derived, reduce, places))
        body = self._wrapped(derived, guards, range(inner, len(leaves)), update)
        for position in reversed(range(start, inner)):
            body = self._with_attached(derived.stage, leaves[position], body)
        assert body is not None
        zero = seq(*(StoreStmt(p.buffer, p.indices, x) for p, x in zip(places, identity, strict=True)))
        merge = _merge(derived.stage.id, reduce.reducer, self._places(derived, op), list(places))
        body = seq(zero, body, _guarded(guards.late, self._predicated(derived, merge)))
        for part in parts:
            body = Allocate(part, body)
        for position in reversed(range(start, inner)):
            body = self._loop(derived, leaves[position], body, (Annotation(CROSS_THREAD, 1),))
        whole = self._wrapped(derived, guards, range(start), seq(_guarded(guards.late, self._init(derived, op)), body))
        assert whole is not None
        return _guarded(guards.outside.get(-1, []), whole)

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
                    return derived.apart.get(node)
                case Read(tensor, indices):
                    store = self.stores[self.key(tensor.op, tensor.component)]
                    return Load(store.buffer, tuple([self.simple(i) for i in store.indices(indices, self._local)]))
                case _:
                    return None

        return self.simple(substitute(rewrite(expression, rule, memo), derived.fused))

    def _local(self, store: Store, dimension: int, index: Expr) -> Expr:
        """Give `store.local`, the same object for the same index: many reads share most of their indices."""
        key = (id(store), dimension, id(index))
        found = self._locals.get(key)
        if found is None:
            found = self._locals[key] = (index, store.local(dimension, index))
        return found[1]

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
        guards = self._guards(derived)
        if start < upto:
            body = self._wrapped(derived, guards, range(start, upto), body)
            if reset is not None:
                body = seq(_guarded(guards.late, self._init_loops(derived, reset, start + 1, reset_upto)), body)
        body = self._wrapped(derived, guards, range(min(start, upto)), body)
        assert body is not None, "a stage without loops has statements"
        return _guarded(guards.outside.get(-1, []), body)

    def _wrapped(self, derived: Derived, guards: Guards, positions: range, body: Stmt | None) -> Stmt | None:
        """Wrap `body` in the loops at `positions`, each with what is attached there and the guards that are due."""
        for position in reversed(positions):
            axis = derived.stage.leaves[position]
            body = _guarded(guards.inside.get(position, []), body) if body is not None else None
            body = self._with_attached(derived.stage, axis, body)
            body = _guarded(guards.outside.get(position, []), body)
            body = self._loop(derived, axis, body)
        return body

    def _with_attached(self, stage: StageState, axis: Axis, body: Stmt | None) -> Stmt:
        guests = [self.result.stages[g.id] for g, at in self.result.table.attached(stage) if at is axis]
        return self._allocated(guests, [self.stage(g) for g in guests], body)

    def _loop(self, derived: Derived, axis: Axis, body: Stmt, marks: tuple[Annotation, ...] = ()) -> Stmt:
        var = derived.loops[axis]
        loop = derived.stage.loop(axis)
        made = body
        if is_loop(var):
            extent = self.simple(derived.extents[axis])
            for fetch in reversed(loop.fetches):
                body = self._fetched(derived, axis, var, fetch, body)
            named = tuple(m for mark in loop.annotations for m in self._named(derived.stage, mark))
            made = For(var, extent, body, loop.kind, loop.thread, named + marks)
        self.marks[derived.stage.id, axis] = made
        return made

    def _fetched(self, derived: Derived, axis: Axis, loop: Var, fetch: Fetch, body: Stmt) -> Stmt:
        """Give the body with requests for what it reads of a tensor some iterations later."""
        store = self.stores.get((fetch.stage, fetch.component))
        asking = spread if fetch.evenly else requests
        found = asking(self, body, loop, fetch.offset, store.buffer) if store is not None else None
        if found is not None:
            return found
        fact = f"iterations of {axis.name} in stage {derived.stage.id} read nothing of {fetch.stage} that moves with it"
        advice = "a loop whose iterations read different elements"
        if fetch.evenly:
            fact += ", or no one piece of it, in loops inside"
            advice += ", of a tensor in one piece"
        raise ScheduleError("prefetch", fact, where=indent(stmt_text(body), "  "), advice=advice)

    def unused_var(self, name: str, dtype: DType, values: Interval) -> Var:
        """Give a new variable of an unused name for a loop with the given values."""
        var = Var(self._unused(name), dtype, 0)
        self.result.ranges[var] = values
        return var

    def _named(self, stage: StageState, mark: Annotation) -> list[Annotation]:
        """Give an annotation of a loop; what streams the results of the stage names their buffers."""
        if mark.name != STREAM:
            return [mark]
        return [Annotation(STREAM, self.stores[stage.id, c].buffer.name) for c in range(stage.op.num_outputs)]

    def _init_loops(self, derived: Derived, reset: Stmt, first: int, upto: int) -> Stmt:
        """Wrap the start of a reduction in fresh copies of the spatial loops that run inside the reduction."""
        fresh: dict[Var, Expr] = {}
        loops: list[tuple[int, Var]] = []
        for position, axis in enumerate(derived.stage.leaves[first:upto], first):
            var = derived.loops[axis]
            if is_loop(var) and not is_reduce_axis(axis):
                copy = self.unused_var(f"{var.name}_init", var.dtype, self.result.ranges[var])
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

    def _guards(self, derived: Derived, meeting: int = -1) -> Guards:
        """Place the guards: around all of their loop's body, or only around what no other thread waits for.

        Where threads fill shared memory together, a guard on the one that reads it must not keep it from helping.

        meeting  position of the innermost of the stage's own loops where threads meet, -1 for none
        """
        outside = self._guards_by_position(derived)
        meeting = max(meeting, self._meeting_position(derived.stage))
        inside: list[Expr] = []
        for position in [p for p in outside if p <= meeting]:
            held = [g for g in outside[position] if any(map(self.result.is_per_thread, variables(g)))]
            outside[position] = [g for g in outside[position] if g not in held]
            inside += held
        late = [g for g in inside if self._position(derived, g) <= reduction_start(derived.stage) <= meeting]
        late = [g for g in late if not self._mentions_reduction(derived, g)]
        return Guards(outside, {meeting: inside} if inside else {}, late)

    def _meeting_position(self, stage: StageState) -> int:
        """Give the position of the innermost loop within which shared memory is filled, or -1."""
        positions = [-1]
        for guest, axis in self.result.table.attached(stage):
            shared = self.result.scope_of(guest) == "shared"
            crossing = any(map(guest.is_cross_thread, guest.leaves))
            if shared or crossing or self._meeting_position(guest) >= 0:
                positions.append(stage.leaves.index(axis))
        return max(positions)

    def _guards_by_position(self, derived: Derived) -> dict[int, list[Expr]]:
        found: dict[int, list[Expr]] = {}
        held_back = self.overshoots.of(derived.stage.id) is Overshoot.GUARDED
        for guard in (*self.overshoots.guards(derived), *(derived.domain if held_back else ())):
            found.setdefault(self._position(derived, guard), []).append(self.simple(guard))
        return found


def _merge(name: str, reducer: Reducer, into: Sequence[Load], new: Sequence[Expr]) -> Stmt:
    """Give the statement that combines the elements `into` with new values."""
    values = dict(zip((*reducer.left, *reducer.right), (*into, *new), strict=True))
    return _stores(name, [(p.buffer, p.indices) for p in into], [substitute(r, values) for r in reducer.result])


def _guarded(conditions: list[Expr], body: Stmt) -> Stmt:
    return If(arith.logical_and(*conditions), body) if conditions else body


def _stores(name: str, targets: list[tuple[Buffer, tuple[Expr, ...]]], results: list[Expr]) -> Stmt:
    """Store several results at once: all are computed before the first is stored."""
    if len(targets) == 1:
        (buffer, indices), value = targets[0], results[0]
        return StoreStmt(buffer, indices, value)
    lets = [Var(f"{name}_new{n}", r.dtype) for n, r in enumerate(results)]
    body = seq(*(StoreStmt(b, i, v) for (b, i), v in zip(targets, lets, strict=True)))
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
