"""Calls of the int8 dot products: C[l] += sum over r < 4 of A[r] * B[4 * l + r], a register of lanes at a time."""

from __future__ import annotations

from ...ir.errors import CodegenError
from ...ir.expr import Address, Call, Const
from .address import flat_offset, pointer
from .arithmetic import binary
from .body import Body, Linear
from .chunks import chunks_of
from .dot import dot4
from .index import combine
from .registers import read_register, write_register
from .types import Value


def dot_product(body: Body, call: Call) -> Value:
    """Write a call of dot4_u8s8_i32 or dot4_s8s8_i32 (Address C, Address A, Address B, lanes)."""
    c, a, b, lanes = call.args
    if not (isinstance(c, Address) and isinstance(a, Address) and isinstance(b, Address) and isinstance(lanes, Const)):
        raise CodegenError("llvm", f"{call.name} takes three addresses and a literal", f"> {call}")
    signed = call.name == "dot4_s8s8_i32"
    a_place = pointer(body, a.buffer, flat_offset(body, a))
    word = Value(body.code.result(f"load i32, ptr {a_place}, align 1"), "i32")
    for first, count in chunks_of(int(lanes.value), body.vector_bits // 32):
        at = combine(first, [(flat_offset(body, c), 1)])._replace(stride=int(count > 1))
        data = combine(4 * first, [(flat_offset(body, b), 1)])
        total = _read(body, c, at, count)
        if count > 1:
            added = _register(body, signed, total, word, _bytes(body, b, data, 4 * count))
        else:
            added = _one_lane(body, signed, total, _bytes(body, a, flat_offset(body, a), 4), _bytes(body, b, data, 4))
        _write(body, c, at, added)
    return Value("0", "i32")


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


def _bytes(body: Body, place: Address, at: Linear, count: int) -> Value:
    name = body.code.result(f"load <{count} x i8>, ptr {pointer(body, place.buffer, at)}, align 1")
    return Value(name, "i8", count)


def _register(body: Body, signed: bool, total: Value, word: Value, data: Value) -> Value:
    function = dot4(signed, total.lanes, body.target)
    body.module.definitions.setdefault(function.symbol, function.definition)
    body.module.declarations.update(dict.fromkeys(function.declares))
    listed = f"{total.type} {total.text}, i32 {word.text}, {data.type} {data.text}"
    return Value(body.code.result(f"call {total.type} {function.symbol}({listed})"), "i32", total.lanes)


def _one_lane(body: Body, signed: bool, total: Value, a: Value, b: Value) -> Value:
    product = binary(body, "mul", _widened(body, a, signed), _widened(body, b, True))
    sum_text = f"call i32 @llvm.vector.reduce.add.v4i32(<4 x i32> {product.text})"
    return binary(body, "add", total, Value(body.code.pure(sum_text, product.text), "i32"))


def _widened(body: Body, value: Value, signed: bool) -> Value:
    op = "sext" if signed else "zext"
    name = body.code.pure(f"{op} <4 x i8> {value.text} to <4 x i32>", value.text)
    return Value(name, "i32", 4)
