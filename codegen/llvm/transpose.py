"""Columns that lie side by side in memory: vectors whose lanes are a row apart, stored as rows.

    for p in unrolled(14):                                  rows = transposed(v(0), ..., v(13))
        for l in vectorized(16):                    ->      for l in unrolled(16):
            C[l, p] = v(p)[l]                                   C[l, 0 .. 13] = rows[l]

Four columns are transposed within every piece of four lanes, which takes instructions that do not cross such pieces;
then the pieces of a row are put together.  Four columns of bytes are first made one of 4 bytes; where nothing lies
between such elements in memory they are stored at once, and so are two columns of 2 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import groupby

from ...ir.buffer import Buffer
from ...ir.expr import Call, Load, Var
from ...ir.stmt import For, ForKind, If, Stmt, Store
from ...ir.visit import contains, of_kind, variables
from .body import Body, Column, Linear
from .chunks import is_written_out, lane_chunks
from .features import has
from .types import Value, splat_literal, vector

PIECE = 4  # elements of 4 bytes in 16 bytes, which most shuffles stay within
WIDEST = 4 * PIECE  # elements of a row that are put together
LANES = (4, 8, 16)  # of columns that can be transposed
FEWEST = 2  # columns that are transposed
PAIR = 2  # columns of 2 bytes that are mixed
BITS = (8, 16, 32)  # of elements


def are_columns(body: Body, loop: For) -> bool:
    """Tell whether a loop is written out and does nothing but one store, to memory that it does not read.

    The store may have conditions that are known for every lane when the loop is written out, or differ between lanes.
    """
    buffer = body.fact("stored in columns", loop, lambda _: _stored(body, loop))
    return buffer is not None and buffer not in body.registers


def _stored(body: Body, loop: For) -> Buffer | None:
    """Give the memory that the only store of a loop writes, where that may be done in columns."""
    if not is_written_out(body, loop) or not _is_storing(body, loop.body, {loop.var}, set()):
        return None
    buffer = next(of_kind(loop, Store)).buffer
    fits = buffer.dtype.bits in BITS and (buffer.dtype.bits > 16 or buffer.dtype.is_int)
    return buffer if fits and all(x.buffer is not buffer for x in of_kind(loop, Load)) else None


def _is_storing(body: Body, stmt: Stmt, known: set[Var], lanes: set[Var]) -> bool:
    match stmt:
        case Store():
            return True
        case For(body=inner):
            in_lanes = stmt.kind is ForKind.VECTORIZED and bool(lane_chunks(body, stmt))
            found = known | {stmt.var}, lanes | {stmt.var} if in_lanes else lanes
            return (is_written_out(body, stmt) or in_lanes) and _is_storing(body, inner, *found)
        case If(condition, then, None) if not contains(condition, Load, Call):
            read = variables(condition)
            return (read <= known or not lanes.isdisjoint(read)) and _is_storing(body, then, known, lanes)
        case _:
            return False


def write_columns(
    body: Body,
    columns: Sequence[Column],
    apart: Callable[[Column], None],
    row: Callable[[Linear, Value, int, Value | None], None],
) -> None:
    """Store columns: neighbours as rows, others as they are.

    apart  stores one column
    row    stores the first lanes of a row at an offset, where a condition holds if there is one
    """
    runs = _runs(columns) if _are_disjoint(columns) else [[column] for column in columns]
    for run in runs:
        offset, value, active, mask = run[0]
        is_dense = len(run) == offset.stride and active == value.lanes and mask is None
        is_apart = value.elem == "i16" and not (is_dense and len(run) == PAIR)
        if len(run) < FEWEST or value.lanes not in LANES or is_apart:
            for column in run:
                apart(column)
            continue
        values = [c.value for c in run]
        if value.elem == "i16":
            whole = _alternating(body, *values)
            row(Linear(offset.constant, offset.terms), whole, whole.lanes, None)
            continue
        if value.elem == "i8" and is_dense and len(run) == PIECE:
            whole = _interleaved(body, values)
            row(Linear(offset.constant, offset.terms), whole, whole.lanes, None)
            continue
        for number, value in enumerate(_rows(body, values)[:active]):
            wanted = None if mask is None else _lane(body, mask, number)
            row(Linear(offset.constant + number * offset.stride, offset.terms), value, len(run), wanted)


def _are_disjoint(columns: Sequence[Column]) -> bool:
    """Tell whether no element is stored twice, so that the order does not count."""
    if len({c.offset.terms for c in columns}) > 1:
        return False
    places = [c.offset.constant + c.offset.stride * lane for c in columns for lane in range(c.active)]
    return len(set(places)) == len(places)


def _runs(columns: Sequence[Column]) -> Iterator[list[Column]]:
    """Give columns in runs of neighbours, at most as many as they have lanes."""
    alike: dict[tuple[int, int, int, Value | None], list[Column]] = {}
    for column in columns:
        key = (column.offset.stride, column.value.lanes, column.active, column.mask)
        alike.setdefault(key, []).append(column)
    for (_, lanes, _, _), group in alike.items():
        ordered = sorted(group, key=lambda c: c.offset.constant)
        for _, run in groupby(enumerate(ordered), key=lambda item: item[1].offset.constant - item[0]):
            members = [column for _, column in run]
            widest = min(lanes, WIDEST)
            for first in range(0, len(members), widest):
                yield members[first : first + widest]


def _lane(body: Body, mask: Value, lane: int) -> Value:
    text = f"extractelement {mask.type} {mask.text}, i64 {lane}"
    return Value(body.code.pure(text, mask.text), mask.elem)


def _alternating(body: Body, even: Value, odd: Value) -> Value:
    return _shuffle(body, even, odd, [lane + side * even.lanes for lane in range(even.lanes) for side in (0, 1)])


def _rows(body: Body, columns: Sequence[Value]) -> list[Value]:
    """Give rows whose first lanes are those of the columns, in turn."""
    if columns[0].elem != "i8":
        return transposed(body, columns)
    words = _words(body, columns)
    if len(words) > 1:
        rows = [_cut(body, row, len(words)) for row in transposed(body, words)]
        return [_cut(body, _bytes(body, row), len(columns)) for row in rows]
    mixed = _bytes(body, words[0])
    return [_shuffle(body, mixed, mixed, range(k, k + len(columns))) for k in range(0, mixed.lanes, PIECE)]


def _interleaved(body: Body, columns: Sequence[Value]) -> Value:
    """Put the elements of four columns of bytes side by side, with one shuffle where the processor has it."""
    if not has(body.target, "avx512vbmi"):
        return _bytes(body, _words(body, columns)[0])
    a, b, c, d = columns
    low, high = (_shuffle(body, x, y, range(2 * x.lanes)) for x, y in ((a, b), (c, d)))
    picks = [column * a.lanes + lane for lane in range(a.lanes) for column in range(PIECE)]
    return _shuffle(body, low, high, picks)


def _words(body: Body, columns: Sequence[Value]) -> list[Value]:
    """Make one column of 4 bytes of every four columns of bytes, the first in the lowest bits."""
    lanes = columns[0].lanes
    kind, words = vector("i32", lanes), []
    for first in range(0, len(columns), PIECE):
        parts: list[str] = []
        for place, column in enumerate(columns[first : first + PIECE]):
            text = body.code.pure(f"zext {column.type} {column.text} to {kind}", column.text)
            if place:
                text = body.code.pure(f"shl {kind} {text}, {splat_literal(str(8 * place), 'i32', lanes)}", text)
                text = body.code.pure(f"or {kind} {parts[-1]}, {text}", parts[-1], text)
            parts.append(text)
        words.append(Value(parts[-1], "i32", lanes))
    return words


def _bytes(body: Body, words: Value) -> Value:
    count = 4 * words.lanes
    return Value(body.code.pure(f"bitcast {words.type} {words.text} to {vector('i8', count)}", words.text), "i8", count)


def transposed(body: Body, columns: Sequence[Value]) -> list[Value]:
    """Give the rows of up to WIDEST columns, not more than they have lanes; row `l` begins with lane `l` of each."""
    lanes = columns[0].lanes
    fence = partial(_fenced, body) if len(columns) > 2 * PIECE else _as_it_is
    groups = [_quarter(body, columns[first : first + PIECE], fence) for first in range(0, len(columns), PIECE)]
    rows: dict[int, Value] = {}
    for place in range(PIECE):
        parts = [group[place] for group in groups]
        for piece, value in enumerate(_joined(body, parts, lanes // PIECE)):
            rows[piece * PIECE + place] = value if len(groups) > 2 else _cut(body, value, len(columns))
    return [rows[lane] for lane in range(lanes)]


def _as_it_is(value: Value) -> Value:
    return value


def _quarter(body: Body, columns: Sequence[Value], fence: Callable[[Value], Value]) -> list[Value]:
    """Transpose up to four columns in every piece: piece `j` of the k-th result is row 4 j + k."""
    lanes, elem = columns[0].lanes, columns[0].elem
    a, b, c, d = [*columns, *[Value("poison", elem, lanes)] * (PIECE - len(columns))]
    low, high = (0, 1), (2, 3)
    pairs = [_mixed(body, x, y, ((0, k), (1, k), (0, m), (1, m))) for k, m in (low, high) for x, y in ((a, b), (c, d))]
    ab_low, cd_low, ab_high, cd_high = map(fence, pairs)
    halves = (((0, 0), (0, 1), (1, 0), (1, 1)), ((0, 2), (0, 3), (1, 2), (1, 3)))
    sides = ((ab_low, cd_low), (ab_high, cd_high))
    return [fence(_mixed(body, x, y, picks)) for x, y in sides for picks in halves]


def _fenced(body: Body, value: Value) -> Value:
    """Keep LLVM from looking for one shuffle in place of those that made `value` and those that read it.

    There is none, and to look through all levels of them took half the time of compiling a kernel.
    """
    if value.elem != "float" or value.text == "poison":
        return value
    fence = body.module.declare(value.type, f"llvm.arithmetic.fence.v{value.lanes}f32", value.type)
    return Value(
        body.code.pure(f"call {value.type} {fence}({value.type} {value.text})", value.text), "float", value.lanes
    )


def _mixed(body: Body, x: Value, y: Value, picks: tuple[tuple[int, int], ...]) -> Value:
    """Pick from two vectors, alike in every piece of four lanes: (which vector, lane of its piece)."""
    return _shuffle(body, x, y, _in_pieces(x.lanes, picks))


@cache
def _in_pieces(lanes: int, picks: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    return tuple([which * lanes + first + lane for first in range(0, lanes, PIECE) for which, lane in picks])


def _joined(body: Body, parts: Sequence[Value], pieces: int) -> Iterator[Value]:
    """Give for each piece the elements that all parts have there, one after the other."""
    if len(parts) > 2:
        poison = Value("poison", parts[0].elem, parts[0].lanes)
        a, b, c, d = [*parts, *[poison] * (4 - len(parts))]
        ab, cd = ([_even_or_odd(body, x, y, pieces, k) for k in (0, 1)] for x, y in ((a, b), (c, d)))
        for piece in range(pieces):
            yield _pieces(body, ab[piece % 2], cd[piece % 2], [piece // 2, pieces // 2 + piece // 2])
        return
    for piece in range(pieces):
        yield _pieces(body, parts[0], parts[-1] if len(parts) > 1 else None, [piece])


def _pieces(body: Body, x: Value, y: Value | None, chosen: Sequence[int]) -> Value:
    """Give the chosen pieces of one vector, then those of the other."""
    lanes = [piece * PIECE + k for piece in chosen for k in range(PIECE)]
    return _shuffle(body, x, y or x, lanes if y is None else [*lanes, *(x.lanes + lane for lane in lanes)])


def _even_or_odd(body: Body, x: Value, y: Value, pieces: int, first: int) -> Value:
    return _fenced(body, _pieces(body, x, y, range(first, pieces, 2)))


def _cut(body: Body, value: Value, lanes: int) -> Value:
    return value if value.lanes == lanes else _shuffle(body, value, value, range(lanes))


def _shuffle(body: Body, x: Value, y: Value, lanes: Sequence[int]) -> Value:
    if x.text == y.text == "poison":
        return Value("poison", x.elem, len(lanes))
    text = f"shufflevector {x.type} {x.text}, {y.type} {y.text}, {_picks(tuple(lanes))}"
    return Value(body.code.pure(text, x.text, y.text), x.elem, len(lanes))


@cache
def _picks(lanes: tuple[int, ...]) -> str:
    return f"<{len(lanes)} x i32> <{', '.join([f'i32 {lane}' for lane in lanes])}>"
