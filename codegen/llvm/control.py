"""Statements: loops, ifs, lets, allocations, stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir import arith
from ...ir.buffer import Buffer
from ...ir.dtype import int64
from ...ir.expr import Expr
from ...ir.stmt import Allocate, Evaluate, For, ForKind, If, Let, Seq, Stmt, Store
from ...ir.visit import contains, of_kind
from .address import element_strides
from .arithmetic import binary, compare, negation
from .body import Body, LaneLoop, Linear
from .cells import Cell
from .chunks import is_written_out, is_written_out_enough, lane_chunks
from .expressions import evaluate, guard, narrowed
from .index import is_constant, is_index, linear, materialise, of_value, resize
from .memory import store, store_columns
from .registers import plan_registers
from .streaming import to_stream, write_streamed
from .transpose import are_columns
from .types import TRUE, Value, vector

STACK_BYTES = 8192  # of one local buffer; a larger one goes to the heap
TILE_CELLS = 8  # vectors that a loop carries from which on it is a register tile's: unrolling further makes it spill
UNROLLED_ENOUGH = '!0 = distinct !{!0, !1}\n!1 = !{!"llvm.loop.unroll.disable"}\n\n'


def write(body: Body, stmt: Stmt) -> None:
    """Write the code of a statement."""
    _WRITE[type(stmt)](body, stmt)


def _seq(body: Body, stmt: Seq) -> None:
    for part in stmt.body:
        write(body, part)


def _store(body: Body, stmt: Store) -> None:
    def leaf() -> None:
        body.count(stmt)
        store(body, stmt, evaluate(body, stmt.value))

    body.by_chunk(leaf)


def _evaluate(body: Body, stmt: Evaluate) -> None:
    def leaf() -> None:
        body.count(stmt)
        evaluate(body, stmt.value)

    body.by_chunk(leaf)


def _let(body: Body, stmt: Let) -> None:
    def leaf() -> None:
        dtype = stmt.value.dtype
        body.bind(stmt.var, linear(body, stmt.value) if is_index(dtype) else evaluate(body, stmt.value))
        write(body, stmt.body)
        del body.env[stmt.var]

    body.by_chunk(leaf) if body.varies(stmt.value) else leaf()


def _if(body: Body, stmt: If) -> None:
    body.by_chunk(lambda: _choose(body, stmt)) if body.varies(stmt.condition) else _choose(body, stmt)


def _choose(body: Body, stmt: If) -> None:
    condition = guard(body, stmt.condition)
    if condition.text in ("true", "false"):
        chosen = stmt.then if condition == TRUE else stmt.otherwise
        if chosen is not None:
            write(body, chosen)
    elif condition.lanes > 1:
        with body.masked(narrowed(body, condition)):
            write(body, stmt.then)
        if stmt.otherwise is not None:
            with body.masked(narrowed(body, negation(body, condition))):
                write(body, stmt.otherwise)
    else:
        otherwise, tiles = stmt.otherwise, body.module.tiles
        branch(
            body,
            condition.text,
            (stmt.then, lambda: write(body, stmt.then)),
            None if otherwise is None else (otherwise, lambda: write(body, otherwise)),
        )
        if otherwise is not None and body.module.tiles > tiles:
            body.module.guarded += not contains(stmt.then, If) and not contains(otherwise, If)


Branch = tuple[Stmt, Callable[[], None]]  # what is done, and how it is written


def branch(body: Body, condition: str, then: Branch, otherwise: Branch | None) -> None:
    """Write one of two statements, by a branch, and merge the register cells they set."""
    code = body.code
    before, origin = code.place(), code.block
    labels = [code.label("then"), code.label("else") if otherwise else "", code.label("after")]
    code.effect(f"br i1 {condition}, label %{labels[0]}, label %{labels[1] or labels[2]}")
    ends: list[tuple[dict[Cell, str], str]] = []
    for label, part in zip(labels, (then, otherwise), strict=False):
        if part is None:
            ends.append(({}, origin))
            continue
        code.begin(label)
        body.cells.enter_branch()
        with body.region(before, body.written(part[0]), False):
            part[1]()
        ends.append((body.cells.leave_branch(), code.block))
        code.effect(f"br label %{labels[2]}")
    code.begin(labels[2])
    for cell in {**ends[0][0], **ends[1][0]}:
        incoming = [(values[cell] if cell in values else body.cells.read(cell), block) for values, block in ends]
        body.cells.write(cell, _merge(body, cell, incoming))


def _merge(body: Body, cell: Cell, incoming: list[tuple[str, str]]) -> str:
    listed = ", ".join(f"[ {value}, %{block} ]" for value, block in incoming)
    return body.code.result(f"phi {vector(body.elem_of(cell.buffer), cell.lanes)} {listed}", "c")


def _for(body: Body, stmt: For) -> None:
    streamed = to_stream(body, stmt)
    if streamed:
        write_streamed(body, stmt, streamed, lambda: _loop_of_kind(body, stmt))
    else:
        _loop_of_kind(body, stmt)


def _loop_of_kind(body: Body, stmt: For) -> None:
    chunks = lane_chunks(body, stmt) if stmt.kind is ForKind.VECTORIZED else ()
    if chunks:
        assert body.pending is None and body.lanes == 1, "nested vectorized loops are written out"
        body.pending = LaneLoop(stmt.var, chunks)
        write(body, stmt.body)
        body.pending = None
    elif body.columns is None and body.pending is None and are_columns(body, stmt):
        body.columns = []
        _unrolled(body, stmt)
        columns, body.columns = body.columns, None
        store_columns(body, next(of_kind(stmt, Store)), columns)
    elif is_written_out(body, stmt):
        _unrolled(body, stmt)
    elif stmt.kind is ForKind.PARALLEL and not body.in_parallel:
        from .parallel import write_parallel  # it writes statements in turn

        write_parallel(body, stmt)
    else:
        _counted(body, stmt)


def _unrolled(body: Body, stmt: For) -> None:
    body.steps.add(stmt.var)
    for k in range(arith.int_value(stmt.extent) or 0):
        body.bind(stmt.var, Linear(k))
        write(body, stmt.body)
        del body.env[stmt.var]


def _counted(body: Body, stmt: For) -> None:
    extent = linear(body, stmt.extent)
    if is_constant(extent):
        if extent.constant > 0:
            loop(body, stmt, Value("0", "i64"), Value(str(extent.constant), "i64"))
        return
    end = materialise(body, extent, "i64")
    some = compare(body, "lt", Value("0", "i64"), end, int64)
    branch(body, some.text, (stmt, lambda: loop(body, stmt, Value("0", "i64"), end)), None)


def loop(body: Body, stmt: For, begin: Value, end: Value) -> None:
    """Write the loop from `begin` to `end`, which is above it, so that the body runs at least once."""
    code, written, module = body.code, body.written(stmt.body), body.module
    module.loops += 1
    loops, vectors = module.loops, module.vectors
    before, origin, head, after = code.place(), code.block, code.label("loop"), code.label("done")
    code.effect(f"br label %{head}")
    code.begin(head)
    counter_place, phis = code.place(), code.place()
    with body.region(before, written, True):
        counter = code.fresh("i")
        body.counts.add(counter)
        extent = arith.int_value(stmt.extent)
        if extent is not None:
            body.ends[counter] = extent - 1
        level = code.level
        body.cells.enter_loop(written, lambda: code.fresh("c", level))
        body.bind(stmt.var, Linear(0, ((Value(counter, "i64"), 1),)))
        write(body, stmt.body)
        del body.env[stmt.var]
        following = code.result(f"add nuw nsw i64 {counter}, 1")
        more = code.result(f"icmp slt i64 {following}, {end.text}")
        latch, branching = code.block, code.place()
    counter_place.append(f"  {counter} = phi i64 [ {begin.text}, %{origin} ], [ {following}, %{latch} ]")
    merged, known = body.cells.leave_loop()
    is_tile = sum(cell.lanes > 1 for cell, *_ in merged) >= TILE_CELLS
    if loops == module.loops:
        is_guarded = is_tile and contains(stmt.body, If)
        module.unfinished += vectors == module.vectors
        module.guarded += is_guarded
        module.tiles += is_tile and written <= body.registers.keys()
    as_it_is = ""
    if is_tile or is_written_out_enough(body, stmt):
        module.definitions.setdefault("loops", UNROLLED_ENOUGH)
        as_it_is = ", !llvm.loop !0"
    branching.append(f"  br i1 {more}, label %{head}, label %{after}{as_it_is}")
    for cell, name, first, last in merged:
        kind = vector(body.elem_of(cell.buffer), cell.lanes)
        phis.append(f"  {name} = phi {kind} [ {first}, %{origin} ], [ {last}, %{latch} ]")
    code.begin(after)
    for name in known:
        code.lift(name)


def _allocate(body: Body, stmt: Allocate) -> None:
    buffer = stmt.buffer
    assert body.pending is None and body.lanes == 1, "loops with allocations are not vectorized"
    if buffer.scope != "global":
        plan = plan_registers(body, stmt)
        if plan is not None:
            body.registers[buffer] = plan
            write(body, stmt.body)
            del body.registers[buffer]
            return
    size = buffer_bytes(body, buffer)
    if isinstance(size, int) and size <= STACK_BYTES and buffer.scope != "global":
        slot = body.code.fresh("stack", level=0)
        body.code.allocas.append(f"  {slot} = alloca [{max(size, 1)} x i8], align {max(64, stmt.buffer.align)}")
        _within(body, stmt, slot)
    else:
        _on_heap(body, stmt, size)


def _within(body: Body, stmt: Allocate, address: str) -> None:
    body.pointers[stmt.buffer] = address
    body.align[stmt.buffer] = max(64, stmt.buffer.align)
    write(body, stmt.body)
    body.loaded.pop(stmt.buffer, None)
    for place in [p for p in body.bases if p[0] is stmt.buffer]:  # an unrolled copy allocates anew
        del body.bases[place]
    del body.pointers[stmt.buffer], body.align[stmt.buffer]


def buffer_bytes(body: Body, buffer: Buffer) -> int | Value:
    """Give the size of a buffer: the span of its elements."""
    strides = element_strides(buffer)
    spans = [(arith.int_value(extent), stride) for extent, stride in zip(buffer.shape, strides, strict=True)]
    known = [(n - 1) * stride for n, stride in spans if n is not None and isinstance(stride, int)]
    if len(known) == len(spans):
        return (1 + sum(known)) * buffer.dtype.bytes
    total = Linear(1)
    for extent, stride in zip(buffer.shape, strides, strict=True):
        last = linear(body, arith.sub(extent, 1))
        total = _plus_product(body, total, last, stride)
    if is_constant(total):
        return total.constant * buffer.dtype.bytes
    elements = materialise(body, total, "i64")
    return binary(body, "mul", elements, Value(str(buffer.dtype.bytes), "i64"))


def _plus_product(body: Body, total: Linear, last: Linear, stride: int | Expr) -> Linear:
    from .index import combine

    if isinstance(stride, int):
        return combine(0, [(total, 1), (last, stride)])
    step = materialise(body, linear(body, stride), "i64")
    product = binary(body, "mul", resize(body, materialise(body, last, "i64"), "i64"), step)
    return combine(0, [(total, 1), (of_value(product), 1)])


def _on_heap(body: Body, stmt: Allocate, size: int | Value) -> None:
    code = body.code
    allocate = body.module.declare("ptr", "tilewright_alloc", "i64", "i64")
    release = body.module.declare("void", "tilewright_free", "ptr")
    size_text = size.text if isinstance(size, Value) else str(size)
    address = code.result(f"call ptr {allocate}(i64 {size_text}, i64 {max(64, stmt.buffer.align)})", "heap")
    missing = code.result(f"icmp eq ptr {address}, null")
    leave_if(body, missing, "1")
    body.heap.append(address)
    _within(body, stmt, address)
    body.heap.pop()
    code.effect(f"call void {release}(ptr {address})")


def leave_if(body: Body, condition: str, status: str) -> None:
    """Write: where `condition` holds, free all memory and return `status`."""
    code = body.code
    failed, passed = code.label("failed"), code.label("passed")
    code.effect(f"br i1 {condition}, label %{failed}, label %{passed}")
    code.begin(failed)
    for address in reversed(body.heap):
        code.effect(f"call void @tilewright_free(ptr {address})")
    code.effect(f"ret i32 {status}")
    code.begin(passed)


_WRITE: dict[type[Stmt], Callable[[Body, Any], None]] = {
    Seq: _seq,
    Store: _store,
    Evaluate: _evaluate,
    Let: _let,
    If: _if,
    For: _for,
    Allocate: _allocate,
}
