"""Loads and stores: scalar, contiguous, strided, gathered, masked, or of a register cell."""

from __future__ import annotations

import math

from ...ir.arith import int_value
from ...ir.buffer import Buffer
from ...ir.dtype import DType, bfloat16, boolean, float16, int4
from ...ir.expr import Load
from ...ir.stmt import Store
from .address import alignment, flat_offset, pointer
from .body import Body, Column, Linear
from .features import converts_half, has
from .halves import narrow_half, widen_half
from .index import broadcast, lanes_of, last_lane, materialise, resized
from .partial import is_partial, read_partial
from .registers import read_register, write_register
from .streaming import stream
from .transpose import write_columns
from .types import Value, lane_literal, memory_type, suffix, value_type, vector

WINDOWS = 4  # vector loads that still cost less than one gather


def load(body: Body, access: Load) -> Value:
    """Give the element, or one element per lane; lanes that are not active are undefined."""
    buffer = access.buffer
    offset = flat_offset(body, access)
    if buffer in body.registers:
        return read_register(body, buffer, offset)
    known = body.loaded.setdefault(buffer, {})
    key = (offset, body.lanes, body.mask)
    found = known.get(key)
    if found is None:
        found = known[key] = widen(body, _read(body, buffer, offset), buffer.dtype)
    return found


def is_varying(offset: Linear) -> bool:
    """Tell whether lanes differ."""
    return bool(offset.stride or offset.pattern or any(v.lanes > 1 for v, _ in offset.terms))


def _read(body: Body, buffer: Buffer, offset: Linear) -> Value:
    if not is_varying(offset):
        return _read_scalar(body, buffer, offset)
    if any(v.lanes > 1 for v, _ in offset.terms):
        return _gather(body, buffer, offset)
    if offset.stride == 1 and not offset.pattern:
        return _read_vector(body, buffer, offset, body.lanes, body.mask)
    active = known_lanes(body.mask, body.lanes)
    lanes = [x if on else None for x, on in zip(lanes_of(offset, body.lanes), active, strict=False)]
    wanted = [x for x in lanes if x is not None]
    if wanted and 0 < max(wanted) - min(wanted) < WINDOWS * body.lanes:
        return _shuffled(body, buffer, offset, lanes)
    return _gather(body, buffer, offset)


def known_lanes(mask: Value | None, lanes: int) -> tuple[bool, ...]:
    """Tell which lanes are active; nothing where that is decided when the kernel runs."""
    if mask is None:
        return (True,) * lanes
    return tuple(word.endswith("1") for word in mask.text[1:-1].split(", ")) if mask.text.startswith("<") else ()


def _read_scalar(body: Body, buffer: Buffer, offset: Linear) -> Value:
    elem = memory_type(buffer.dtype)
    address = pointer(body, buffer, offset)
    if body.mask is not None:  # no lane may be active: then nothing may be read
        mask = body.mask
        any_lane = f"@llvm.vector.reduce.or.{suffix('i1', mask.lanes)}"
        active = body.code.pure(f"call i1 {any_lane}({mask.type} {mask.text})", mask.text)
        address = body.code.local(f"select i1 {active}, ptr {address}, ptr {body.spare_slot()}")
    name = body.code.result(f"load {elem}, ptr {address}, align {buffer.dtype.bytes}")
    return Value(name, elem)


def _read_vector(body: Body, buffer: Buffer, offset: Linear, lanes: int, mask: Value | None) -> Value:
    elem = memory_type(buffer.dtype)
    kind = vector(elem, lanes)
    address = pointer(body, buffer, offset)
    align = alignment(body, buffer, offset)
    if mask is None and is_ragged(body, elem, lanes):
        return _read_ragged(body, elem, lanes, f"ptr align {align} {address}")
    if mask is None:
        return Value(body.code.result(f"load {kind}, ptr {address}, align {align}"), elem, lanes)
    if is_partial(body, elem, known := known_lanes(mask, lanes)):
        return read_partial(body, known, lambda lane, count: _bytes(body, buffer, offset, lane, count))
    symbol = f"@llvm.masked.load.{suffix(elem, lanes)}.p0"
    call = f"call {kind} {symbol}(ptr align {align} {address}, {mask.type} {mask.text}, {kind} poison)"
    return Value(body.code.result(call), elem, lanes)


def _bytes(body: Body, buffer: Buffer, offset: Linear, lane: int, count: int) -> str:
    """Read so many bytes from the place of a lane on."""
    address = pointer(body, buffer, Linear(offset.constant + lane, offset.terms))
    return body.code.result(f"load <{count} x i8>, ptr {address}, align 1")


def is_ragged(body: Body, elem: str, lanes: int) -> bool:
    """Tell whether so many lanes are no register, and are read and written at once where lanes can be masked."""
    if not lanes & (lanes - 1) or not has(body.target, "avx512vl"):
        return False
    return elem in ("float", "double", "i32", "i64") or (elem == "i8" and has(body.target, "avx512bw"))


def _whole(elem: str, lanes: int) -> int:
    """Give the lanes of a register that holds so many, the narrowest whose lanes can be masked."""
    return max(1 << lanes.bit_length(), 16 if elem == "i8" else 1)


def _read_ragged(body: Body, elem: str, lanes: int, place: str) -> Value:
    """Read the first lanes of a register; LLVM would read pieces of powers of two."""
    whole = _whole(elem, lanes)
    kind, symbol = vector(elem, whole), f"@llvm.masked.load.{suffix(elem, whole)}.p0"
    mask = f"{vector('i1', whole)} {_first_lanes(lanes, whole)}"
    read = body.code.result(f"call {kind} {symbol}({place}, {mask}, {kind} poison)")
    return Value(resized(body, read, elem, whole, lanes), elem, lanes)


def _first_lanes(lanes: int, whole: int) -> str:
    return lane_literal(tuple(int(k < lanes) for k in range(whole)), "i1")


def _shuffled(body: Body, buffer: Buffer, offset: Linear, lanes: list[int | None]) -> Value:
    """Read windows that cover all active lanes, none beyond the last element, and pick the lanes from them."""
    wanted = [x for x in lanes if x is not None]
    width, elem = body.lanes, memory_type(buffer.dtype)
    base, starts, size = _places(body, buffer, offset, wanted)
    windows = [_window(body, buffer, Linear(base + s, offset.terms), size) for s in starts]
    picks = [None if x is None else (min((x - base) // size, len(starts) - 1), x - base) for x in lanes]
    result = Value("poison", elem, width)
    for number in range(0, len(starts), 2):
        result = _pick(body, result, windows[number : number + 2], starts, number, picks)
    return result


def _places(body: Body, buffer: Buffer, offset: Linear, wanted: list[int]) -> tuple[int, list[int], int]:
    """Give where windows begin that cover elements `wanted`: a first place, distances from it, and their size.

    They end with the last element.  For every other element they begin at even places, one after the other, wherever
    what they read beside is in the buffer: the elements between, which are often wanted next, then take the same ones.
    """
    size = max(body.lanes, body.vector_bits // max(32, buffer.dtype.bits))
    first, last = min(wanted), max(wanted)
    even = first - first % 2
    count = -(-(last + 1 - even) // size)
    whole = offset.stride == 2 and all(c % 2 == 0 for _, c in offset.terms)
    if whole and are_inside(body, buffer, Linear(even, offset.terms), count * size):
        return even, [size * k for k in range(count)], size
    span = last - first + 1
    size = min(span, size)
    return first, [min(k, span - size) for k in range(0, span, size)], size


def are_inside(body: Body, buffer: Buffer, first: Linear, count: int) -> bool:
    """Tell whether `count` elements are in the buffer, whatever the counters of the loops around are."""
    sizes = [int_value(extent) for extent in buffer.shape]
    if buffer.strides is not None or None in sizes or first.constant < 0:
        return False
    if not all(c > 0 and value.text in body.ends for value, c in first.terms):
        return False
    ends = sum(c * body.ends[value.text] for value, c in first.terms)
    return first.constant + ends + count <= math.prod(size or 0 for size in sizes)


def _window(body: Body, buffer: Buffer, offset: Linear, lanes: int) -> Value:
    """Read neighbouring elements, once."""
    known = body.loaded.setdefault(buffer, {})
    key = (offset, lanes, "window")
    if key not in known:
        known[key] = _read_vector(body, buffer, offset, lanes, None)
    return known[key]


def _pick(
    body: Body,
    result: Value,
    windows: list[Value],
    starts: list[int],
    number: int,
    picks: list[tuple[int, int] | None],
) -> Value:
    """Take from one or two windows the lanes that lie in them, the others from `result`."""
    size, width = windows[0].lanes, len(picks)
    chosen = [
        (p[0] - number) * size + p[1] - starts[p[0]] if p and number <= p[0] < number + len(windows) else None
        for p in picks
    ]
    mask = ", ".join("i32 poison" if c is None else f"i32 {c}" for c in chosen)
    kind = windows[0].type
    other = windows[1].text if len(windows) > 1 else "poison"
    both = body.code.result(f"shufflevector {kind} {windows[0].text}, {kind} {other}, <{width} x i32> <{mask}>")
    if result.text == "poison":
        return Value(both, result.elem, width)
    blend = ", ".join(f"i32 {k if c is None else width + k}" for k, c in enumerate(chosen))
    name = body.code.result(
        f"shufflevector {result.type} {result.text}, {result.type} {both}, <{width} x i32> <{blend}>"
    )
    return Value(name, result.elem, width)


def _lane_addresses(body: Body, buffer: Buffer, offset: Linear) -> Value:
    scalar = Linear(offset.constant, tuple(t for t in offset.terms if t[0].lanes == 1))
    varying = Linear(0, tuple(t for t in offset.terms if t[0].lanes > 1), offset.stride, offset.pattern)
    base = pointer(body, buffer, scalar)
    steps = broadcast(body, materialise(body, varying, "i64"), body.lanes)
    name = body.code.pure(
        f"getelementptr {memory_type(buffer.dtype)}, ptr {base}, {steps.type} {steps.text}", base, steps.text
    )
    return Value(name, "ptr", body.lanes)


def _mask(body: Body) -> Value:
    return body.mask or Value("splat (i1 true)", "i1", body.lanes)


def _gather(body: Body, buffer: Buffer, offset: Linear) -> Value:
    elem, lanes = memory_type(buffer.dtype), body.lanes
    addresses, mask, kind = _lane_addresses(body, buffer, offset), _mask(body), vector(elem, body.lanes)
    symbol = f"@llvm.masked.gather.{suffix(elem, lanes)}.{suffix('ptr', lanes)}"
    where = f"{addresses.type} align {buffer.dtype.bytes} {addresses.text}"
    call = f"call {kind} {symbol}({where}, {mask.type} {mask.text}, {kind} poison)"
    return Value(body.code.result(call), elem, lanes)


def store(body: Body, access: Store, value: Value) -> None:
    """Write `value`, one element or one per active lane."""
    buffer = access.buffer
    offset = flat_offset(body, access)
    if buffer in body.registers:
        write_register(body, buffer, offset, rounded(body, value, buffer.dtype))
        return
    body.loaded.pop(buffer, None)
    stored = narrow(body, value, buffer.dtype)
    if body.lanes == 1:
        _write(body, buffer, offset, stored)
    elif offset.stride == 1 and not offset.pattern and all(v.lanes == 1 for v, _ in offset.terms):
        _write(body, buffer, offset, broadcast(body, stored, body.lanes))
    elif not is_varying(offset) and body.mask is None:
        _write(body, buffer, offset, last_lane(body, stored))
    elif body.columns is not None and _is_column(offset) and (active := _first_active(body)):
        mask = None if known_lanes(body.mask, body.lanes) else body.mask
        body.columns.append(Column(offset, broadcast(body, stored, body.lanes), active, mask))
    else:
        _scatter(body, buffer, offset, broadcast(body, stored, body.lanes))


def _is_column(offset: Linear) -> bool:
    """Tell whether lanes lie at one distance from each other."""
    return bool(offset.stride) and not offset.pattern and all(value.lanes == 1 for value, _ in offset.terms)


def _first_active(body: Body) -> int:
    """Give how many lanes are active where the first ones are, 0 where others are; all where nothing is known."""
    known = known_lanes(body.mask, body.lanes)
    count = sum(known)
    return body.lanes if not known else count if all(known[:count]) else 0


def store_columns(body: Body, access: Store, columns: list[Column]) -> None:
    """Write what the copies of a store in a written-out loop left for its end."""

    def apart(column: Column) -> None:
        lanes = column.value.lanes
        part = None if column.active == lanes else Value(_first_lanes(column.active, lanes), "i1", lanes)
        with body.wide(lanes), body.masked(column.mask or part):
            _scatter(body, access.buffer, column.offset, column.value)

    write_columns(body, columns, apart, lambda *row: _write(body, access.buffer, *row))


def _write(
    body: Body, buffer: Buffer, offset: Linear, value: Value, lanes: int = 0, wanted: Value | None = None
) -> None:
    """Store neighbours, only the first `lanes` if given; where `wanted` does not hold, in a spare place."""
    lanes = lanes or value.lanes
    address = pointer(body, buffer, offset)
    align = alignment(body, buffer, offset) if value.lanes > 1 else buffer.dtype.bytes
    if wanted is not None:
        address = body.code.local(f"select i1 {wanted.text}, ptr {address}, ptr {body.spare_slot()}")
        align = buffer.dtype.bytes
    mask = body.mask
    if mask is None and is_ragged(body, value.elem, lanes):
        _write_ragged(body, value, lanes, f"ptr align {align} {address}")
        return
    if lanes != value.lanes:
        value = Value(resized(body, value.text, value.elem, value.lanes, lanes), value.elem, lanes)
    if mask is None:
        if value.lanes == 1 or not stream(body, buffer, value, address, align):
            body.code.effect(f"store {value.type} {value.text}, ptr {address}, align {align}")
        return
    symbol = f"@llvm.masked.store.{suffix(value.elem, value.lanes)}.p0"
    body.code.effect(
        f"call void {symbol}({value.type} {value.text}, ptr align {align} {address}, {mask.type} {mask.text})"
    )


def _write_ragged(body: Body, value: Value, lanes: int, place: str) -> None:
    whole = _whole(value.elem, lanes)
    wide = value.text if value.lanes == whole else resized(body, value.text, value.elem, value.lanes, whole)
    symbol, kind = f"@llvm.masked.store.{suffix(value.elem, whole)}.p0", vector(value.elem, whole)
    mask = f"{vector('i1', whole)} {_first_lanes(lanes, whole)}"
    body.code.effect(f"call void {symbol}({kind} {wide}, {place}, {mask})")


def _scatter(body: Body, buffer: Buffer, offset: Linear, value: Value) -> None:
    addresses, mask = _lane_addresses(body, buffer, offset), _mask(body)
    symbol = f"@llvm.masked.scatter.{suffix(value.elem, value.lanes)}.{suffix('ptr', value.lanes)}"
    where = f"{addresses.type} align {buffer.dtype.bytes} {addresses.text}"
    body.code.effect(f"call void {symbol}({value.type} {value.text}, {where}, {mask.type} {mask.text})")


def widen(body: Body, value: Value, dtype: DType) -> Value:
    """Give what was read from memory as a value to compute with."""
    if dtype.bits >= 32:
        return value
    code, lanes, text = body.code, value.lanes, value.text
    elem = value_type(dtype)
    kind = vector(elem, lanes)
    if dtype == float16 and not converts_half(body.target):
        return widen_half(body, value)
    if dtype == float16:
        return Value(code.pure(f"fpext {value.type} {text} to {kind}", text), elem, lanes)
    if dtype == bfloat16:
        word = vector("i32", lanes)
        wide = code.pure(f"zext {value.type} {text} to {word}", text)
        high = code.pure(f"shl {word} {wide}, {_same('i32', 16, lanes)}", wide)
        return Value(code.pure(f"bitcast {word} {high} to {kind}", high), elem, lanes)
    if dtype == int4:
        return Value(code.pure(f"sext {value.type} {text} to {kind}", text), elem, lanes)
    if dtype == boolean:
        return Value(code.pure(f"icmp ne {value.type} {text}, {_same('i8', 0, lanes)}", text), elem, lanes)
    return value


def _same(elem: str, number: int, lanes: int) -> str:
    return str(number) if lanes == 1 else f"splat ({elem} {number})"


def rounded(body: Body, value: Value, dtype: DType) -> Value:
    """Give the value as it is read back after a store."""
    if dtype.bits < 32 and dtype in (float16, bfloat16, int4):
        return widen(body, narrow(body, value, dtype), dtype)
    return value


def narrow(body: Body, value: Value, dtype: DType) -> Value:
    """Give a computed value as it lies in memory: floats rounded to nearest even, integers wrapped."""
    if dtype.bits >= 32:
        return value
    code, lanes, text = body.code, value.lanes, value.text
    elem = memory_type(dtype)
    kind = vector(elem, lanes)
    if dtype == float16 and not converts_half(body.target):
        return narrow_half(body, value)
    if dtype == float16:
        return Value(code.pure(f"fptrunc {value.type} {text} to {kind}", text), elem, lanes)
    if dtype == bfloat16:
        return _narrow_bfloat(body, value)
    if dtype == int4:
        low = code.pure(f"trunc {value.type} {text} to {kind}", text)
        high = code.pure(f"shl {kind} {low}, {_same('i8', 4, lanes)}", low)
        return Value(code.pure(f"ashr {kind} {high}, {_same('i8', 4, lanes)}", high), elem, lanes)
    if dtype == boolean:
        return Value(code.pure(f"zext {value.type} {text} to {kind}", text), elem, lanes)
    return value


def _narrow_bfloat(body: Body, value: Value) -> Value:
    """Round by adding half of the last kept bit; a NaN keeps its high bits and becomes quiet."""
    code, lanes = body.code, value.lanes
    word, short = vector("i32", lanes), vector("i16", lanes)
    bits = code.pure(f"bitcast {value.type} {value.text} to {word}", value.text)
    high = code.pure(f"lshr {word} {bits}, {_same('i32', 16, lanes)}", bits)
    odd = code.pure(f"and {word} {high}, {_same('i32', 1, lanes)}", high)
    bias = code.pure(f"add {word} {odd}, {_same('i32', 0x7FFF, lanes)}", odd)
    total = code.pure(f"add {word} {bits}, {bias}", bits, bias)
    round_up = code.pure(f"lshr {word} {total}, {_same('i32', 16, lanes)}", total)
    quiet = code.pure(f"or {word} {high}, {_same('i32', 0x40, lanes)}", high)
    is_nan = code.pure(f"fcmp uno {value.type} {value.text}, {value.text}", value.text)
    chosen = code.pure(
        f"select {vector('i1', lanes)} {is_nan}, {word} {quiet}, {word} {round_up}", is_nan, quiet, round_up
    )
    return Value(code.pure(f"trunc {word} {chosen} to {short}", chosen), "i16", lanes)
