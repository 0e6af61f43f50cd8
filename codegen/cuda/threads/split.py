"""From one nest to kernels: every nest at the root is a launch, and thread loops become the indices of its threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ....ir import arith
from ....ir.buffer import Buffer
from ....ir.errors import CodegenError
from ....ir.expr import Address, Const, Expr, Load, Lt, Var
from ....ir.gpu import WARP
from ....ir.stmt import Allocate, Evaluate, For, ForKind, Function, If, Let, Seq, Stmt, Store, seq
from ....ir.visit import map_statements, of_kind, rewrite, same, statements, substitute, variables, walk, with_fields
from ...passes.names import Names
from ..hopper.clusters import cluster_of
from ..kernel import AXIS_VARS, BLOCK_AXES, THREAD_AXES, Kernel, Program
from .cross_thread import grouped, is_cross_thread, merge_of, reduced
from .refusals import check_calls, refusal

MIN_BLOCKS = "min_blocks"
PRIVATE = ("local", "warp", "warpgroup")  # scopes of registers
HELD_BY = {"warp": WARP, "warpgroup": 4 * WARP}  # threads that hold what is in a scope together
_NOTHING: Mapping[Buffer, Expr] = MappingProxyType({})


def split_kernels(function: Function) -> Program:
    """Give the kernels of a nest, and the global memory that they hand on to each other.

    Raises CodegenError for thread loops of unknown extent and for memory that no GPU has.
    """
    check_calls(function)
    workspaces: list[Buffer] = []
    nests = list(_nests(function, function.body, workspaces))
    kernels = tuple(
        _Binder(function, nest, f"{function.name}_kernel{n}", tuple(workspaces)).kernel()
        for n, nest in enumerate(nests)
    )
    return Program(function.name, function.params, function.outputs, kernels, tuple(workspaces))


def _nests(function: Function, stmt: Stmt, workspaces: list[Buffer]) -> Iterator[Stmt]:
    match stmt:
        case Seq(parts):
            for group in grouped(parts):
                if is_cross_thread(group[-1]):
                    yield seq(*group)
                else:
                    yield from _nests(function, group[0], workspaces)
        case Allocate(buffer, body) if buffer.scope == "global" or _has_blocks(body):
            if buffer.scope != "global":
                fact = f"{buffer.name} is kept in {buffer.scope} memory, which no kernel hands on to the next"
                advice = f'compute {buffer.name} at a loop of what reads it, or set_scope("global")'
                raise refusal(function, buffer, fact, advice)
            workspaces.append(buffer)
            yield from _nests(function, body, workspaces)
        case _:
            yield stmt


def _has_blocks(stmt: Stmt) -> bool:
    """Tell whether the work is shared among blocks; else it is one kernel of one block."""
    return any(type(s) is For and s.thread in BLOCK_AXES for s in statements(stmt))


Loops = tuple[tuple[str, Expr], ...]  # thread axis and extent of the thread loops around, outermost first


@dataclass
class _Binder:
    """Binds the thread loops of one nest.

    extents  of the launch, by thread axis
    depth    how many thread loops are around the memory of a buffer; the caller's is at 0
    sources  what the values of lets and registers seen so far depend on
    """

    function: Function
    nest: Stmt
    name: str
    workspaces: tuple[Buffer, ...]
    extents: dict[str, Expr] = field(default_factory=dict)
    depth: dict[Buffer, int] = field(default_factory=dict)
    shared: list[Buffer] = field(default_factory=list)
    sources: dict[Var | Buffer, set[Var]] = field(default_factory=dict)

    def kernel(self) -> Kernel:
        """Give the kernel."""
        self.extents = _launch_extents(self.function, self.nest)
        self.names = Names(self.nest)
        body = self.bound(self.nest, ())
        x, y, z = (self.extents.get(a, Const(1)) for a in BLOCK_AXES)
        grid = x, y, z
        params = _used(self.function, self.workspaces, seq(body), grid)
        stored = {s.buffer for s in statements(body) if type(s) is Store}
        stored |= {a.buffer for e in of_kind(body, Evaluate) for a in of_kind(e, Address)}
        outputs = tuple(p for p in params if isinstance(p, Buffer) and p in stored and self.is_written(p))
        cluster = cluster_of(self.nest, self.extents)
        shared, min_blocks = tuple(self.shared), _min_blocks(self.nest)
        return Kernel(self.name, params, outputs, grid, self.block, body, shared, min_blocks, cluster)

    @property
    def block(self) -> tuple[int, int, int]:
        """Give the number of threads along x, y and z."""
        x, y, z = (arith.int_value(self.extents.get(a, Const(1))) or 1 for a in THREAD_AXES)
        return x, y, z

    def refusal(self, buffer: Buffer, fact: str, advice: str) -> CodegenError:
        """Give the error for a buffer of the nest."""
        return refusal(self.function, buffer, fact, advice)

    def is_written(self, buffer: Buffer) -> bool:
        """Tell whether a parameter may be written: it is an output of the function, or a workspace."""
        return buffer in self.function.outputs or buffer in self.workspaces

    def bound(self, stmt: Stmt, loops: Loops) -> Stmt:
        """Give `stmt` as one thread runs it, with the conditions that pick the thread as far out as they can be."""
        match stmt:
            case For(kind=ForKind.THREAD) if is_cross_thread(stmt):
                return self.cross_thread(stmt, loops)
            case Seq(parts) if any(map(is_cross_thread, parts)):
                return self.shared_reductions(parts, loops)
            case For(var, extent, body, ForKind.THREAD, thread=thread):
                body = substitute(body, {var: _index(thread, var)})
                return self.bound(body, (*loops, (thread, extent)))
            case For(kind=ForKind.PARALLEL):
                return self.bound(with_fields(stmt, {"kind": ForKind.SERIAL}), loops)
            case For(body=body, kind=ForKind.VECTORIZED) if _has_own_threads(body):
                return self.bound(with_fields(stmt, {"kind": ForKind.SERIAL}), loops)
            case Allocate(buffer, body):
                self.depth[buffer] = len(loops)
                if buffer.scope == "shared":
                    self.shared.append(buffer)
                    return self.bound(body, loops)
                if buffer.scope not in PRIVATE:
                    fact = f"{buffer.name} is kept in {buffer.scope} memory within the loops of a block"
                    raise self.refusal(buffer, fact, f'set_scope("shared") or "local" for {buffer.name}')
                self.check_private(buffer, body)
                return _hoisted(Allocate(buffer, self.bound(body, loops)))
            case Store(buffer):
                chosen = self.chosen(buffer, loops, stmt)
                held = max((HELD_BY.get(load.buffer.scope, 0) for load in of_kind(stmt.value, Load)), default=0)
                return _under(self.chosen_together(chosen, held) if held else chosen, stmt)
            case Evaluate():
                targets = [a.buffer for a in of_kind(stmt, Address) if self.is_target(a.buffer)]
                return _under(self.chosen(targets[0], loops, stmt), stmt) if targets else stmt
            case Let(var, value):
                self.sources[var] = self.sources_of(value)
                return _hoisted(map_statements(stmt, lambda inner: self.bound(inner, loops)))
            case _:
                return _hoisted(map_statements(stmt, lambda inner: self.bound(inner, loops)))

    def is_target(self, buffer: Buffer) -> bool:
        """Tell whether a call that is given the buffer's address may write there."""
        return buffer in self.depth or self.is_written(buffer)

    def chosen(self, buffer: Buffer, loops: Loops, stmt: Stmt) -> list[Expr]:
        """Give the conditions under which a thread does what `stmt` stores to `buffer`.

        Of the loops around the buffer's memory, every iteration would do the same: the threads share the work.  An
        axis that no loop within it is bound to leaves it to the first thread.  A register belongs to every thread,
        which may fill it whatever its number is unless the value depends on that.
        """
        private = buffer.scope in PRIVATE
        own = loops if private else loops[self.depth.get(buffer, 0) :]
        self.check_within_block(buffer, loops[self.depth.get(buffer, 0) :])
        if buffer.scope == "warpgroup":
            own = loops[self.depth.get(buffer, 0) :]
        found: list[Expr] = []
        for axis, launched in self.extents.items():
            extent = next((extent for thread, extent in reversed(own) if thread == axis), None)
            if extent is None:
                leave = private or (buffer.scope == "shared" and axis in BLOCK_AXES)
                if not leave and not arith.is_const(launched, 1):
                    found.append(arith.eq(AXIS_VARS[axis], 0))
            elif not same(extent, launched) and (not private or AXIS_VARS[axis] in self.sources_of(stmt)):
                found.append(Lt(AXIS_VARS[axis], arith.cast("int32", extent)))
        if private:
            self.sources.setdefault(buffer, set()).update(self.sources_of(stmt))
        return found

    def sources_of(self, node: Stmt | Expr) -> set[Var]:
        """Give the variables that `node` depends on, be it through lets and registers."""
        found = variables(node)
        for var in list(found):
            found |= self.sources.get(var, set())
        for load in of_kind(node, Load):
            found |= self.sources.get(load.buffer, set())
        return found

    def chosen_together(self, conditions: list[Expr], threads: int) -> list[Expr]:
        """Give conditions under which a warp or a warpgroup, all of its threads, stores what it holds together."""
        x = THREAD_AXES[0]
        kept = [c for c in conditions if AXIS_VARS[x] not in variables(c)]
        launched = arith.int_value(self.extents.get(x, Const(1)))
        return kept if launched is None or launched <= threads else [*kept, Lt(AXIS_VARS[x], Const(threads))]

    def check_within_block(self, buffer: Buffer, loops: Loops) -> None:
        """Refuse memory of one block, or one thread, that several blocks would have to fill."""
        blocks = [thread for thread, _ in loops if thread in BLOCK_AXES]
        if blocks and buffer.scope != "global":
            fact = f"{buffer.name} is kept in {buffer.scope} memory, and the blocks of {blocks[0]} compute parts of it"
            advice = f"bind the loops of {buffer.name} to threads, or compute it at a loop within {blocks[0]}"
            raise self.refusal(buffer, fact, advice)

    def check_private(self, buffer: Buffer, body: Stmt) -> None:
        """Refuse a register buffer that several threads would have to share."""
        loops = [s for s in statements(body) if type(s) is For and s.kind is ForKind.THREAD]
        crossing = {s.thread for s in loops if not is_cross_thread(s)}
        written = [s for s in loops if any(type(i) is Store and i.buffer is buffer for i in statements(s))]
        bad = [s for s in written if s.thread in crossing and s.thread.startswith("threadIdx")]
        if bad and any(s.var in variables(i) for s in bad for i in _indices_of(buffer, s)):
            fact = f"{buffer.name} is kept in registers, and the threads of {bad[0].thread} each compute a part of it"
            advice = f'set_scope("shared") for {buffer.name}, or compute it at the innermost thread loop'
            raise self.refusal(buffer, fact, advice)

    # -- reductions that threads share ---------------------------------------------------------------------------

    def shared_reductions(self, parts: tuple[Stmt, ...], loops: Loops) -> Stmt:
        """Give a sequence with a reduction that threads share, which starts when it stores instead of before.

        C = 0; for t in thread(..): ...; C = C + part        ->        for t in thread(..): ...; C = 0 + part
        """
        made: list[Stmt] = []
        for *before, last in grouped(parts):
            if not is_cross_thread(last):
                made.append(self.bound(last, loops))
                continue
            first = _values(seq(*before))
            if set(first) != {store.buffer for store in of_kind(merge_of(last), Store)}:
                made += [self.bound(stmt, loops) for stmt in before]
                first = {}
            made.append(self.cross_thread(last, loops, first))
        return _hoisted(seq(*made))

    def cross_thread(self, loop: For, loops: Loops, first: Mapping[Buffer, Expr] = _NOTHING) -> Stmt:
        """Give a reduction that threads share: each sums up its part, the parts are combined, one thread stores.

        first  what the results begin with, where they are not in memory yet
        """
        values: dict[Var, Expr] = {}
        axes: list[str] = []
        body: Stmt = loop
        inner = loops
        while is_cross_thread(body):
            assert type(body) is For
            values[body.var] = _index(body.thread, body.var)
            inner = (*inner, (body.thread, body.extent))
            axes.append(body.thread)
            body = body.body
        parts: list[Buffer] = []
        while type(body) is Allocate:
            parts.append(body.buffer)
            self.depth[body.buffer] = len(inner)
            self.sources[body.buffer] = {AXIS_VARS[a] for a in axes}
            body = body.body
        assert type(body) is Seq
        self.check_free(axes, merge_of(body), loops)
        *before, merge = (substitute(part, values) for part in body.body)
        start, work = before[: len(parts)], before[len(parts) :]
        combined, scratch = reduced(merge, tuple(reversed(parts)), axes, self.block, self.names)
        self.shared += scratch
        merge = rewrite(merge, lambda n: first.get(n.buffer) if type(n) is Load else None)
        made = seq(*start, *(self.bound(s, inner) for s in work), combined, self.bound(merge, loops))
        for part in parts:
            made = Allocate(part, made)
        return made

    def check_free(self, axes: list[str], merge: Stmt, loops: Loops) -> None:
        """Refuse to share a reduction among threads that each need a result of their own."""
        for store in of_kind(merge, Store):
            own = loops if store.buffer.scope in PRIVATE else loops[self.depth.get(store.buffer, 0) :]
            taken = [thread for thread, _ in own if thread in axes]
            if taken:
                fact = (
                    f"threads along {taken[0]} share the reduction of {store.buffer.name}, and each needs another part"
                )
                advice = "bind the reduction and the loop around it to different axes"
                raise self.refusal(store.buffer, fact, advice)


def _has_own_threads(stmt: Stmt) -> bool:
    """Tell whether threads of a block work together somewhere in `stmt`."""
    inner = statements(stmt)
    return any(s.kind is ForKind.THREAD if type(s) is For else type(s) is Allocate for s in inner)


def _values(start: Stmt) -> dict[Buffer, Expr]:
    """Give what a statement stores, by buffer; nothing if it does more than store values that need no memory."""
    match start:
        case If(_, then, None):
            return _values(then)
        case Seq(parts):
            found = [_values(p) for p in parts]
            return {b: x for values in found for b, x in values.items()} if all(found) else {}
        case Store(buffer, _, value) if not any(of_kind(value, Load)):
            return {buffer: value}
        case _:
            return {}


def _index(thread: str, var: Var) -> Expr:
    return arith.cast(var.dtype, AXIS_VARS[thread])


def _min_blocks(nest: Stmt) -> int:
    """Give what the pragma min_blocks on a loop of the nest asks for, or 0."""
    loops = (s for s in statements(nest) if type(s) is For)
    return max((int(a.value) for s in loops for a in s.annotations if a.name == MIN_BLOCKS), default=0)


def _launch_extents(function: Function, nest: Stmt) -> dict[str, Expr]:
    """Give the extent of each thread axis: the largest that a loop asks for."""
    found: dict[str, Expr] = {}
    together = 4 * WARP if any(type(s) is Allocate and s.buffer.scope == "warpgroup" for s in statements(nest)) else 0
    for loop in (s for s in statements(nest) if type(s) is For and s.kind is ForKind.THREAD):
        known, extent = found.get(loop.thread), loop.extent
        if loop.thread == THREAD_AXES[0] and (arith.int_value(extent) or together) < together:
            extent = arith.const(together)  # of which a shorter loop takes some
        if loop.thread not in AXIS_VARS:
            raise refusal(function, loop, f"{loop.thread} is no thread axis of a GPU", ", ".join(AXIS_VARS))
        if loop.thread in THREAD_AXES and arith.int_value(extent) is None:
            fact = f"loop {loop.var.name}, bound to {loop.thread}, has the extent {extent}"
            raise refusal(function, loop, fact, "split it by a constant factor and bind the inner loop")
        if known is None or same(known, extent):
            found[loop.thread] = extent
            continue
        found[loop.thread] = arith.maximum(known, extent)
    order = (*BLOCK_AXES, *THREAD_AXES)
    return {axis: found[axis] for axis in order if axis in found}


def _used(
    function: Function, workspaces: tuple[Buffer, ...], body: Stmt, grid: tuple[Expr, ...]
) -> tuple[Buffer | Var, ...]:
    """Give the parameters that a kernel needs."""
    buffers: set[Buffer] = {n.buffer for n in walk(body) if hasattr(n, "buffer")}  # type: ignore[attr-defined]
    names = variables(body).union(*(variables(g) for g in grid))
    for buffer in buffers:
        names |= {v for d in (*buffer.shape, *(buffer.strides or ())) for v in variables(d)}
    listed = (*function.params, *workspaces, *function.size_vars)
    pointers = [p for p in listed if isinstance(p, Buffer) and p in buffers]
    return (*pointers, *(p for p in listed if isinstance(p, Var) and p in names))


def _indices_of(buffer: Buffer, stmt: Stmt) -> list[Expr]:
    stores = (s for s in statements(stmt) if type(s) is Store and s.buffer is buffer)
    return [i for s in stores for i in s.indices]


# -- conditions as far out as they can be ---------------------------------------------------------------------------


def _under(conditions: list[Expr], stmt: Stmt) -> Stmt:
    for condition in reversed(conditions):
        stmt = If(condition, stmt)
    return stmt


def _hoisted(stmt: Stmt) -> Stmt:
    """Give `for i: if t < 8: S` as `if t < 8: for i: S`, where the condition is on a thread index alone."""
    match stmt:
        case For(extent=extent, body=If(condition, body, None)) if _is_choice(condition):
            if not any(v in variables(extent) for v in variables(condition)):
                return If(condition, _hoisted(with_fields(stmt, {"body": body})))
        case Allocate(body=If(condition, body, None)) if _is_choice(condition):
            return If(condition, _hoisted(with_fields(stmt, {"body": body})))
        case If(outer, If(condition, body, None), None) if _is_choice(condition) and not _is_choice(outer):
            return If(condition, _hoisted(If(outer, body)))
        case Let(body=If(condition, body, None)) if _is_choice(condition):
            return If(condition, _hoisted(with_fields(stmt, {"body": body})))
        case Seq(parts):
            return _joined(parts)
    return stmt


def _is_choice(condition: Expr) -> bool:
    own = variables(condition)
    axes: Mapping[str, Var] = AXIS_VARS
    return len(own) == 1 and next(iter(own)) in axes.values()


def _joined(parts: tuple[Stmt, ...]) -> Stmt:
    """Give a sequence with neighbours under the same condition under one."""
    made: list[Stmt] = []
    for part in parts:
        last = made[-1] if made else None
        match last, part:
            case If(a, x, None), If(b, y, None) if _is_choice(b) and same(a, b):
                made[-1] = If(a, _hoisted(seq(x, y)))
            case _:
                made.append(part)
    return seq(*made)
