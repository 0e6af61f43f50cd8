"""Local buffers that become registers: which ones, cut in which cells, and their loads and stores."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import arith
from ...ir.buffer import Buffer
from ...ir.expr import Address, Call, Const, Expr, Load, Var
from ...ir.intrinsics import DOTS
from ...ir.stmt import Allocate, For, ForKind, Stmt, Store
from ...ir.visit import children
from .address import Access, flat_form
from .body import Body, Linear
from .cells import Cell
from .chunks import chunks_of, is_written_out, lane_chunks
from .index import broadcast, last_lane, resized
from .types import Value

CELL_LIMIT = 256  # cells of one buffer


@dataclass
class _Span:
    """Where one access may fall: the first elements, and how many lanes there are from each.

    whole  the lanes must be a cell, no part of one
    """

    starts: set[int]
    lanes: int
    whole: bool = False


def plan_registers(body: Body, allocate: Allocate) -> dict[int, Cell] | None:
    """Cut a local buffer in cells, by first element, as its widest accesses are; others may be parts of one.

    None where some access is not constant, or partly in a cell and partly outside.
    """
    buffer = allocate.buffer
    if any(arith.int_value(dim) is None for dim in buffer.shape):
        return None
    spans: list[_Span] = []
    if not _collect(body, buffer, allocate.body, {}, spans):
        return None
    found: dict[int, Cell] = {}
    for lanes in sorted({span.lanes for span in spans}, reverse=True):
        for first in sorted({s for span in spans if span.lanes == lanes for s in span.starts}):
            if not _add_cell(found, Cell(buffer, first, lanes)):
                return None
    if any(found[s].lanes != span.lanes for span in spans if span.whole for s in span.starts):
        return None
    return found if len(set(found.values())) <= CELL_LIMIT else None


def _add_cell(found: dict[int, Cell], cell: Cell) -> bool:
    """Add a cell unless it is part of one; tell whether it is all of one, or all new."""
    elements = range(cell.first, cell.first + cell.lanes)
    known = {found.get(k) for k in elements}
    if known == {None}:
        found.update(dict.fromkeys(elements, cell))
    return len(known) == 1


def _collect(body: Body, buffer: Buffer, node: Stmt | Expr, loops: dict[Var, For], spans: list[_Span]) -> bool:
    """Add the spans of all accesses below `node`; False where one is no constant under its loops."""
    if type(node) is Store and buffer not in body.touched(node):
        return True
    match node:
        case For(var, _, inner, kind):
            if kind is ForKind.PARALLEL and buffer in body.touched(inner):
                return False
            return _collect(body, buffer, inner, {**loops, var: node}, spans)
        case Load(buffer=b) | Store(buffer=b) if b is buffer:
            if not _add_spans(body, node, loops, None, spans):
                return False
        case Address(buffer=b):
            return b is not buffer
        case Call(name=name, args=(Address(buffer=b) as first, *rest)) if b is buffer and name in DOTS:
            lanes = arith.int_value(rest[-1])
            if lanes is None or not _add_spans(body, first, loops, lanes, spans):
                return False
            return all(_collect(body, buffer, x, loops, spans) for x in rest)
    below = [child for child in children(node) if type(child) is not Var and type(child) is not Const]
    return all(_collect(body, buffer, child, loops, spans) for child in below)


def _add_spans(body: Body, access: Access, loops: dict[Var, For], lanes: int | None, spans: list[_Span]) -> bool:
    form = flat_form(body, access)
    if form is None:
        return False
    constant, atoms = form
    starts, chunks = {constant}, ((0, 1),) if lanes is None else chunks_of(lanes, body.vector_bits // 32)
    for var, scale in atoms:
        loop = loops.get(var)  # type: ignore[arg-type]  # only variables are there
        if loop is None:
            known = body.env.get(var)  # type: ignore[arg-type]
            if type(known) is not Linear or known.terms or known.stride or known.pattern:
                return False
            starts = {s + known.constant * scale for s in starts}
        elif is_written_out(body, loop):
            starts = {s + scale * k for s in starts for k in range(arith.int_value(loop.extent) or 0)}
        elif loop.kind is ForKind.VECTORIZED and scale == 1 and lanes is None:
            chunks = lane_chunks(body, loop)
        else:
            return False
    for first, width in chunks:
        spans.append(_Span({s + first for s in starts}, width, lanes is not None))
    return True


def read_register(body: Body, buffer: Buffer, offset: Linear, lanes: int = 0) -> Value:
    """Give the cell at a constant offset, or the part of it that an access names: `lanes`, or those being written."""
    cell = body.registers[buffer][offset.constant]
    value = cell_value(body, cell)
    lanes = lanes or body.lanes
    if offset.stride and lanes != cell.lanes:
        return _part(body, value, offset.constant - cell.first, lanes)
    if offset.stride or cell.lanes == 1:
        return value
    name = body.code.pure(f"extractelement {value.type} {value.text}, i64 {offset.constant - cell.first}", value.text)
    return Value(name, value.elem)


def cell_value(body: Body, cell: Cell) -> Value:
    """Give the current value of a cell."""
    return Value(body.cells.read(cell), body.elem_of(cell.buffer), cell.lanes)


def write_register(body: Body, buffer: Buffer, offset: Linear, value: Value) -> None:
    """Set the cell at a constant offset, or one element of it; lanes that are not active keep their value."""
    cell = body.registers[buffer][offset.constant]
    new = (
        _lanes(body, cell, offset.constant, value)
        if offset.stride
        else _one_element(body, cell, offset.constant, value)
    )
    body.cells.write(cell, new.text)


def _part(body: Body, value: Value, first: int, lanes: int) -> Value:
    return Value(resized(body, value.text, value.elem, value.lanes, lanes, first), value.elem, lanes)


def _lanes(body: Body, cell: Cell, place: int, value: Value) -> Value:
    """Give the cell with every active lane set; the lanes may be a part of the cell."""
    lanes = max(body.lanes, value.lanes)
    first, whole = place - cell.first, lanes == cell.lanes
    new, mask = broadcast(body, value, lanes), body.mask
    if mask is None and whole:
        return new
    old = cell_value(body, cell)
    if mask is not None:
        new = _chosen(body, mask, new, old if whole else _part(body, old, first, lanes))
    if whole:
        return new
    wide = _part(body, new, 0, cell.lanes)
    picks = (cell.lanes + k - first if first <= k < first + new.lanes else k for k in range(cell.lanes))
    listed = ", ".join(f"i32 {k}" for k in picks)
    text = f"shufflevector {old.type} {old.text}, {wide.type} {wide.text}, <{cell.lanes} x i32> <{listed}>"
    return Value(body.code.pure(text, old.text, wide.text), old.elem, cell.lanes)


def _one_element(body: Body, cell: Cell, place: int, value: Value) -> Value:
    """Give the cell with one element set, by the last active lane."""
    code, position = body.code, place - cell.first
    if body.mask is None:
        one = last_lane(body, value)
    else:
        one = _last_active(body, body.mask, value, _element(body, cell_value(body, cell), position))
    if cell.lanes == 1:
        return one
    old = cell_value(body, cell)
    text = f"insertelement {old.type} {old.text}, {one.type} {one.text}, i64 {position}"
    return Value(code.pure(text, old.text, one.text), old.elem, old.lanes)


def _last_active(body: Body, mask: Value, value: Value, otherwise: Value) -> Value:
    """Give the value in the last lane where `mask` holds, or `otherwise` if there is none."""
    for lane in range(mask.lanes):
        otherwise = _chosen(body, _element(body, mask, lane), _element(body, value, lane), otherwise)
    return otherwise


def _element(body: Body, value: Value, lane: int) -> Value:
    if value.lanes == 1:
        return value
    text = f"extractelement {value.type} {value.text}, i64 {lane}"
    return Value(body.code.pure(text, value.text), value.elem)


def _chosen(body: Body, mask: Value, new: Value, old: Value) -> Value:
    text = f"select {mask.type} {mask.text}, {new.type} {new.text}, {old.type} {old.text}"
    return Value(body.code.pure(text, mask.text, new.text, old.text), new.elem, new.lanes)
