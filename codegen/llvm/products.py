"""Calls of dot products: C[l] += sum over r < n of A[r] * B[n * l + r], a register of lanes at a time.

Where lanes take windows of A that overlap, the bytes of all of them are loaded once and moved to their lanes.
"""

from __future__ import annotations

from ...ir.errors import CodegenError
from ...ir.expr import Address, Call, Const
from ...ir.intrinsics import DOTS
from .address import flat_offset, pointer
from .arithmetic import binary
from .body import Body, Linear
from .chunks import chunks_of
from .dot import dot2, dot4, dot4_by_lane
from .features import has
from .index import combine
from .maths import MathsFunction
from .memory import are_inside
from .registers import read_register, write_register
from .types import Value, memory_type

TAPS = 4  # bytes whose products make one lane
PIECE = 16  # bytes of a register within which one instruction moves them anywhere


def dot_product(body: Body, call: Call) -> Value:
    """Write a call of a dot product (Address C, Address A, Address B, lanes) of bytes or of 16-bit numbers."""
    c, a, b, lanes = call.args
    if not (isinstance(c, Address) and isinstance(a, Address) and isinstance(b, Address) and isinstance(lanes, Const)):
        raise CodegenError("llvm", f"{call.name} takes three addresses and a literal", f"> {call}")
    taps, signed = DOTS[call.name], call.name != "dot4_u8s8_i32"
    a_place = pointer(body, a.buffer, flat_offset(body, a))
    word = Value(body.code.result(f"load i32, ptr {a_place}, align 1"), "i32")
    for first, count in chunks_of(int(lanes.value), body.vector_bits // 32):
        at = combine(first, [(flat_offset(body, c), 1)])._replace(stride=int(count > 1))
        data = combine(taps * first, [(flat_offset(body, b), 1)])
        total = _read(body, c, at, count)
        if count > 1:
            added = _register(body, signed, total, word, _factors(body, b, data, taps * count))
        else:
            row = _factors(body, a, flat_offset(body, a), taps)
            added = _one_lane(body, signed, total, row, _factors(body, b, data, taps))
        _write(body, c, at, added)
    return Value("0", "i32")


def strided_dot_product(body: Body, call: Call) -> Value:
    """Write a call of dot4_strided_u8s8_i32 (Address C, Address A, Address B, a_step, b_step, lanes)."""
    match call.args:
        case Address() as c, Address() as a, Address() as b, Const(a_step), Const(b_step), Const(lanes):
            pass
        case _:
            raise CodegenError("llvm", f"{call.name} takes three addresses and three literals", f"> {call}")
    for first, count in chunks_of(int(lanes), body.vector_bits // 32):
        at = combine(first, [(flat_offset(body, c), 1)])._replace(stride=int(count > 1))
        left, right = (_of_lanes(body, x, int(step), first, count) for x, step in ((a, a_step), (b, b_step)))
        total = _read(body, c, at, count)
        if count > 1:
            added = _called(body, dot4_by_lane(count, body.target), total, left, right)
        else:
            added = _one_lane(body, False, total, left, right)
        _write(body, c, at, added)
    return Value("0", "i32")


def _of_lanes(body: Body, place: Address, step: int, first: int, count: int) -> Value:
    """Give four bytes for each of `count` lanes, `step` bytes from lane to lane."""
    at = combine(step * first, [(flat_offset(body, place), 1)])
    if step == TAPS or count == 1:
        return _factors(body, place, at, TAPS * count)
    if step == 0:
        return _repeated(body, place, at, count)
    reach = step * (count - 1) + TAPS
    size = 1 << (reach - 1).bit_length()
    wanted = [step * lane + r for lane in range(count) for r in range(TAPS)]
    if reach == size:
        window = _factors(body, place, at, size)
        return _picked(body, window, window, wanted)
    if has(body.target, "avx512bw"):
        window = _first_bytes(body, place, at, reach, size)
        return _picked(body, window, window, wanted)
    if size == PIECE and are_inside(body, place.buffer, at, size):
        window = _factors(body, place, at, size)
        return _picked(body, window, window, wanted)
    starts = (at._replace(constant=at.constant + k) for k in (0, reach - size // 2))
    begin, end = (_factors(body, place, start, size // 2) for start in starts)
    return _picked(body, begin, end, _of_two(wanted, size // 2, reach))


def _of_two(wanted: list[int], size: int, reach: int) -> list[int]:
    """Give where bytes are in two windows of `size` at the ends of `reach`: those of one piece in one, if they are."""
    picks = []
    for first in range(0, len(wanted), PIECE):
        piece = wanted[first : first + PIECE]
        from_end = max(piece) >= size and min(piece) >= reach - size
        picks += [k + 2 * size - reach if from_end or k >= size else k for k in piece]
    return picks


def _repeated(body: Body, place: Address, at: Linear, count: int) -> Value:
    """Give the same four bytes for each lane."""
    word = body.code.result(f"load i32, ptr {pointer(body, place.buffer, at)}, align 1")
    kind = Value("", "i32", count).type
    single = body.code.pure(f"insertelement {kind} poison, i32 {word}, i64 0", word)
    words = body.code.pure(f"shufflevector {kind} {single}, {kind} poison, <{count} x i32> zeroinitializer", single)
    return Value(body.code.pure(f"bitcast {kind} {words} to <{TAPS * count} x i8>", words), "i8", TAPS * count)


def _first_bytes(body: Body, place: Address, at: Linear, reach: int, size: int) -> Value:
    """Read the first bytes of a register, and nothing beyond them."""
    kind, lanes = f"<{size} x i8>", f"<{size} x i1>"
    load = body.module.declare(kind, f"llvm.masked.load.v{size}i8.p0", "ptr", lanes, kind)
    mask = ", ".join(f"i1 {int(k < reach)}" for k in range(size))
    address = pointer(body, place.buffer, at)
    text = f"call {kind} {load}(ptr align 1 {address}, {lanes} <{mask}>, {kind} zeroinitializer)"
    return Value(body.code.result(text), "i8", size)


def _picked(body: Body, first: Value, second: Value, picks: list[int]) -> Value:
    """Pick bytes from two vectors of one length, those of the second counted on."""
    listed = ", ".join(f"i32 {p}" for p in picks)
    text = f"shufflevector {first.type} {first.text}, {second.type} {second.text}, <{len(picks)} x i32> <{listed}>"
    return Value(body.code.pure(text, first.text, second.text), "i8", len(picks))


def _read(body: Body, c: Address, at: Linear, count: int) -> Value:
    if c.buffer in body.registers:
        return read_register(body, c.buffer, at, count)
    kind = Value("", "i32", count).type
    return Value(body.code.result(f"load {kind}, ptr {pointer(body, c.buffer, at)}, align 4"), "i32", count)


def _write(body: Body, c: Address, at: Linear, value: Value) -> None:
    if c.buffer in body.registers:
        write_register(body, c.buffer, at, value)
        return
    body.loaded.pop(c.buffer, None)
    body.code.effect(f"store {value.type} {value.text}, ptr {pointer(body, c.buffer, at)}, align 4")


def _factors(body: Body, place: Address, at: Linear, count: int) -> Value:
    elem, size = memory_type(place.buffer.dtype), place.buffer.dtype.bytes
    name = body.code.result(f"load <{count} x {elem}>, ptr {pointer(body, place.buffer, at)}, align {size}")
    return Value(name, elem, count)


def _register(body: Body, signed: bool, total: Value, word: Value, data: Value) -> Value:
    lanes, target = total.lanes, body.target
    return _called(body, dot4(signed, lanes, target) if data.elem == "i8" else dot2(lanes, target), total, word, data)


def _called(body: Body, function: MathsFunction, total: Value, left: Value, right: Value) -> Value:
    body.module.definitions.setdefault(function.symbol, function.definition)
    body.module.declarations.update(dict.fromkeys(function.declares))
    listed = ", ".join(f"{x.type} {x.text}" for x in (total, left, right))
    return Value(body.code.result(f"call {total.type} {function.symbol}({listed})"), "i32", total.lanes)


def _one_lane(body: Body, signed: bool, total: Value, a: Value, b: Value) -> Value:
    product = binary(body, "mul", _widened(body, a, signed), _widened(body, b, True))
    sum_text = f"call i32 @llvm.vector.reduce.add.v{product.lanes}i32({product.type} {product.text})"
    return binary(body, "add", total, Value(body.code.pure(sum_text, product.text), "i32"))


def _widened(body: Body, value: Value, signed: bool) -> Value:
    op = "sext" if signed else "zext"
    name = body.code.pure(f"{op} {value.type} {value.text} to <{value.lanes} x i32>", value.text)
    return Value(name, "i32", value.lanes)
