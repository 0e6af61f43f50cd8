"""The stage table: what the steps of a schedule have decided so far.  Immutable; a step gives a new table.

Table
+-- StageState      one operator: its axes as they are split and fused, where it is computed, where it is kept
    +-- Split, Fuse   how axes became other axes
    +-- Loop          how one axis is executed
    +-- At, Root, Inline   where the stage is computed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ..ir.expr import Expr
from ..ir.stmt import Annotation, ForKind
from ..te.axis import Axis, AxisKind
from ..te.intrin import TensorIntrin
from ..te.operation import ComputeOp, Operation, PlaceholderOp, ScanOp
from ..te.tensor import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """parent = outer * factor + inner.

    factor  extent of `inner`, or None where the number of parts was given
    nparts  extent of `outer`, or None where the factor was given
    """

    parent: Axis
    outer: Axis
    inner: Axis
    factor: Expr | None
    nparts: Expr | None

    @property
    def made(self) -> tuple[Axis, ...]:
        """Give the axes that came of it."""
        return self.outer, self.inner


@dataclass(frozen=True, slots=True, eq=False)
class Fuse:
    """fused = outer * extent(inner) + inner."""

    outer: Axis
    inner: Axis
    fused: Axis

    @property
    def made(self) -> tuple[Axis, ...]:
        """Give the axis that came of it."""
        return (self.fused,)


Relation = Split | Fuse


@dataclass(frozen=True, slots=True)
class Fetch:
    """A result of a stage of which each iteration asks for what the iteration `offset` later reads.

    evenly  a part of it in each step of the loops inside, else all at once
    """

    stage: str
    component: int
    offset: int
    evenly: bool = False


@dataclass(frozen=True, slots=True)
class Loop:
    """How one leaf axis is executed.

    step     number of the step that set `kind`, for messages, or -1
    fetches  what its iterations ask for ahead of time
    """

    kind: ForKind = ForKind.SERIAL
    thread: str = ""
    annotations: tuple[Annotation, ...] = ()
    intrinsic: TensorIntrin | None = None
    step: int = -1
    fetches: tuple[Fetch, ...] = ()

    @property
    def stages(self) -> int:
        """Give how many iterations of a pipelined loop are under way at once, 0 for other loops."""
        return next((int(a.value) for a in self.annotations if a.name == "stages"), 0)

    @property
    def is_ring(self) -> bool:
        """Tell whether bulk copies fill what is computed in the loop, be it of one step alone."""
        return any(a.name == "transport" and a.value == "tma" for a in self.annotations)

    def __str__(self) -> str:
        if self.intrinsic is not None:
            return f"tensorized by {self.intrinsic.name}"
        if self.kind is ForKind.SERIAL:
            return " and ".join(f"annotated with {a.name}" for a in self.annotations) or "serial"
        return f"bound to {self.thread}" if self.thread else self.kind.name.lower()


@dataclass(frozen=True, slots=True)
class Root:
    """Computed whole, before its consumers."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """Computed whole from constants, once for many calls."""


@dataclass(frozen=True, slots=True)
class Inline:
    """Never stored: computed anew wherever it is read."""


@dataclass(frozen=True, slots=True)
class At:
    """Computed within `axis` of another stage, as much as that iteration needs."""

    stage: str
    axis: Axis


Place = Root | Ahead | Inline | At


@dataclass(frozen=True, slots=True)
class Storage:
    """How the results of a stage are kept.

    scope    "" for automatic: "local" for small results of an attached stage, else "global"
    aligns   (axis, factor, offset): the stride of the dimension becomes `offset` modulo `factor`
    layout   the dimensions' new indices as expressions in the stage's axes, or None
    swizzle  kind of permutation of each row's pieces, or ""
    """

    scope: str = ""
    aligns: tuple[tuple[Axis, int, int], ...] = ()
    double_buffer: bool = False
    layout: tuple[Expr, ...] | None = None
    swizzle: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class StageState:
    """One operator on its way to a loop nest.

    id         stable name, unique in the schedule
    op         what is computed, as earlier steps have rewritten it
    leaves     the loops, outermost first
    relations  how the leaves came from the operator's axes, in order
    loops      leaves that are not plain serial loops
    taken      axes that are no leaves any more, and the number of the step that took each
    bounds     (axis, factor): along the axis it computes a multiple of `factor` elements where it is attached
    """

    id: str
    op: Operation
    leaves: tuple[Axis, ...]
    relations: tuple[Relation, ...] = ()
    loops: Mapping[Axis, Loop] = field(default_factory=lambda: MappingProxyType({}))
    place: Place = Root()
    placed_by: int = -1
    storage: Storage = Storage()
    predicate: Expr | None = None
    taken: Mapping[Axis, int] = field(default_factory=lambda: MappingProxyType({}))
    is_output: bool = False
    bounds: tuple[tuple[Axis, int], ...] = ()

    @classmethod
    def of(cls, op: Operation, name: str, is_output: bool = False) -> StageState:
        """Give the stage of an operator that nothing has been decided about."""
        return cls(name, op, op.axis + op.reduce_axis, is_output=is_output)

    @property
    def is_placeholder(self) -> bool:
        """Tell whether the caller passes the tensor in, or a scan hands it on."""
        match self.op:
            case PlaceholderOp():
                return True
            case _:
                return False

    @property
    def compute(self) -> ComputeOp | None:
        """Give the operator if it has an expression for each element, else None."""
        match self.op:
            case ComputeOp() as op:
                return op
            case _:
                return None

    @property
    def scan(self) -> ScanOp | None:
        """Give the operator if it is a recurrence, else None."""
        match self.op:
            case ScanOp() as op:
                return op
            case _:
                return None

    @property
    def attached(self) -> At | None:
        """Give the loop that the stage is computed in, or None."""
        match self.place:
            case At() as at:
                return at
            case _:
                return None

    @property
    def is_inline(self) -> bool:
        """Tell whether the stage is computed anew wherever it is read."""
        return self.place == Inline()

    @property
    def is_root(self) -> bool:
        """Tell whether the stage is computed whole, before its consumers."""
        return type(self.place) is Root or type(self.place) is Ahead

    @property
    def is_ahead(self) -> bool:
        """Tell whether the stage is computed once for many calls."""
        return self.place == Ahead()

    @property
    def roots(self) -> tuple[Axis, ...]:
        """Give the operator's own axes: spatial, then reduction."""
        return self.op.axis + self.op.reduce_axis

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Give every axis there has been: the operator's, then what relations made."""
        return (*self.roots, *[axis for relation in self.relations for axis in relation.made])

    def loop(self, axis: Axis) -> Loop:
        """Give how `axis` is executed."""
        return self.loops.get(axis) or _SERIAL

    def is_cross_thread(self, axis: Axis) -> bool:
        """Tell whether `axis` is a reduction that the threads of a block share."""
        return is_reduce_axis(axis) and bool(self.loop(axis).thread)

    def with_loop(self, axis: Axis, loop: Loop) -> StageState:
        """Give the stage with `axis` executed as `loop` says."""
        return replace(self, loops=MappingProxyType({**self.loops, axis: loop}))

    def with_taken(self, step: int, *axes: Axis) -> StageState:
        """Give the stage with `axes` noted as taken by a step."""
        return replace(self, taken=MappingProxyType({**self.taken, **dict.fromkeys(axes, step)}))


_SERIAL = Loop()


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """All stages, producers before consumers.

    stages   stages by id, in topological order
    aliases  identity of every operator that has ever stood for a stage -> the stage's id
    ops      those operators, kept alive so that their identities stay taken
    """

    stages: Mapping[str, StageState]
    aliases: Mapping[int, str]
    ops: tuple[Operation, ...]
    outputs: tuple[Tensor, ...]

    def stage_of(self, tensor: Tensor) -> StageState:
        """Give the stage that computes `tensor`, whichever of its operators the tensor names."""
        return self.stages[self.aliases[id(tensor.op)]]

    def updated(self, *stages: StageState) -> Table:
        """Give the table with stages replaced by those of the same id."""
        return replace(self, stages=MappingProxyType({**self.stages, **{s.id: s for s in stages}}))._with_ops(stages)

    def inserted(self, new: StageState, before: str) -> Table:
        """Give the table with a new stage just before another."""
        stages: dict[str, StageState] = {}
        for name, stage in self.stages.items():
            if name == before:
                stages[new.id] = new
            stages[name] = stage
        return replace(self, stages=MappingProxyType(stages))._with_ops((new,))

    def _with_ops(self, stages: tuple[StageState, ...]) -> Table:
        fresh = {id(s.op): s for s in stages if self.aliases.get(id(s.op)) != s.id}
        if not fresh:
            return self
        aliases = {**self.aliases, **{key: s.id for key, s in fresh.items()}}
        return replace(self, aliases=MappingProxyType(aliases), ops=self.ops + tuple(s.op for s in fresh.values()))

    def consumers(self, stage: StageState) -> list[StageState]:
        """Give the stages that read a result of `stage` directly."""
        return [s for s in self.stages.values() if any(self._is(stage, t) for t in reads(s.op))]

    def _is(self, stage: StageState, tensor: Tensor) -> bool:
        return self.aliases[id(tensor.op)] == stage.id

    def attached(self, stage: StageState) -> list[tuple[StageState, Axis]]:
        """Give the stages computed within `stage`, with the axis of each, in topological order."""
        found: list[tuple[StageState, Axis]] = []
        for s in self.stages.values():
            match s.place:
                case At(host, axis) if host == stage.id:
                    found.append((s, axis))
                case _:
                    pass
        return found

    def unused_name(self, name: str) -> str:
        """Give `name`, with a number behind it if a stage has that name."""
        return unused(name, self.stages)


def scan_part(table: Table, stage: StageState) -> tuple[str, str]:
    """Give which part of which scan a stage is: ("init" | "update" | "body", scan), or two empty strings.

    The body is what depends on the state besides the update: it exists one step at a time.
    """
    for scan in table.stages.values():
        match scan.op:
            case ScanOp(init=init, update=update, state=state):
                for part, tensors in (("init", init), ("update", update)):
                    if any(table.stage_of(t).id == stage.id for t in tensors):
                        return part, scan.id
                states = {table.aliases[id(t.op)] for t in state if id(t.op) in table.aliases}
                if stage is not scan and _reaches(table, stage, states):
                    return "body", scan.id
            case _:
                pass
    return "", ""


def _reaches(table: Table, stage: StageState, wanted: set[str]) -> bool:
    """Tell whether `stage` reads one of the wanted stages, directly or through stages that are no scans."""
    seen: set[str] = set()
    todo = [stage]
    while todo:
        for tensor in reads(todo.pop().op):
            producer = table.stage_of(tensor)
            if producer.id in wanted:
                return True
            if producer.id not in seen and producer.scan is None:
                seen.add(producer.id)
                todo.append(producer)
    return False


def reads(op: Operation) -> tuple[Tensor, ...]:
    """Give the tensors that an operator reads; a scan reads its initial values, its updates and its own state."""
    match op:
        case ScanOp(init=init, update=update):
            return init + update
        case _:
            return op.inputs


def unused(name: str, taken: Mapping[str, object] | set[str]) -> str:
    """Give `name`, or the first of `name_1`, `name_2` ... that is not taken."""
    if name not in taken:
        return name
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def table_of(outputs: tuple[Tensor, ...]) -> Table:
    """Give the table of an unscheduled program: every operator its own stage, computed whole."""
    order: dict[int, Operation] = {}
    for tensor in outputs:
        _visit(tensor.op, order)
    output_ops = {id(t.op) for t in outputs}
    stages: dict[str, StageState] = {}
    aliases: dict[int, str] = {}
    for op in order.values():
        name = unused(identifier(op.name), stages)
        stages[name] = StageState.of(op, name, id(op) in output_ops)
        aliases[id(op)] = name
    for stage in list(stages.values()):
        if stage.scan is not None:
            _attach_scan_body(stage.scan, stages, aliases)
    return Table(MappingProxyType(stages), MappingProxyType(aliases), tuple(order.values()), outputs)


def _visit(op: Operation, order: dict[int, Operation]) -> None:
    """Append `op` after everything it reads, without recursion: chains of operators may be long."""
    stack: list[tuple[Operation, bool]] = [(op, False)]
    while stack:
        here, ready = stack.pop()
        if id(here) in order:
            continue
        if ready:
            order[id(here)] = here
            continue
        stack.append((here, True))
        stack.extend((t.op, False) for t in reversed(reads(here)))


def _attach_scan_body(scan: ScanOp, stages: dict[str, StageState], aliases: dict[int, str]) -> None:
    """Attach what depends on the state to the scan's step axis: it exists one step at a time."""
    states = {aliases[id(t.op)] for t in scan.state if id(t.op) in aliases}
    dependent = set(states)
    for name, stage in stages.items():
        if name in dependent or stage.op is scan:
            continue
        if any(aliases[id(t.op)] in dependent for t in reads(stage.op)) or any(t.op is stage.op for t in scan.update):
            dependent.add(name)
            stages[name] = replace(stage, place=At(aliases[id(scan)], scan.scan_axis))
        if stage.op is scan:
            break


def identifier(name: str) -> str:
    """Give `name` with everything that cannot stand in an identifier replaced by `_`."""
    cleaned = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
    return cleaned if cleaned and not cleaned[0].isdigit() else f"_{cleaned}"


def reductions_by_threads_first(table: Table) -> Table:
    """Give the table with reduction loops that are bound to threads as the outermost of their stage's reduction loops.

    Each thread then sums up its part alone, and the parts are combined once.  Source: the order is free, as any
    reduction's is.
    """
    changed = [_threads_first(s) for s in table.stages.values() if any(map(s.is_cross_thread, s.leaves))]
    return table.updated(*changed) if changed else table


def _threads_first(stage: StageState) -> StageState:
    start = next(i for i, a in enumerate(stage.leaves) if is_reduce_axis(a))
    rest = stage.leaves[start:]
    crossing = tuple(a for a in rest if stage.is_cross_thread(a))
    others = tuple(a for a in rest if not stage.is_cross_thread(a))
    return replace(stage, leaves=stage.leaves[:start] + crossing + others)


def rough_extent(axis: Axis) -> int:
    """Give a constant extent, or a large number for a symbolic one: what choices of schedules go by."""
    return 1 << 20 if axis.size is None else axis.size


def can_inline(table: Table, stage: StageState) -> bool:
    """Tell whether a stage is computed element by element, and read so by all its consumers."""
    if stage.compute is None or stage.is_output or is_reduction(stage):
        return False
    return all(c.compute for c in table.consumers(stage))


def is_reduction(stage: StageState) -> bool:
    """Tell whether the stage combines values over reduction axes."""
    return bool(stage.op.reduce_axis)


def is_reduce_axis(axis: Axis) -> bool:
    """Tell whether `axis` runs over values that are combined."""
    return axis.kind is AxisKind.REDUCE
