"""Conversion of float32 vectors to integers: out of range it saturates, and NaN is 0.

LLVM's own saturating conversion of vectors takes the lanes one by one on x86-64.
"""

from __future__ import annotations

from ...ir.dtype import DType, Kind, float32, int32
from ...ir.expr import Call, Const, Expr, Max, Min
from .arithmetic import binary, compare, extreme, select
from .body import Body
from .types import Value, literal, splat_literal, value_type, vector

_WIDTHS = (8, 16, 32)  # bits of integers that a conversion to int32 makes
_ONES = 1.5 * 2**23  # added to a lesser number, this leaves no fraction ...
_BITS_OF_ONES = 0x4B400000  # ... and the sum's bits are these plus the whole number nearest to it
_NEAR = 2.0**22  # how far from 0 that holds


def saturated(body: Body, value: Value, target: DType) -> Value | None:
    """Give a vector converted to `target`, or None for what LLVM's own conversion is left to."""
    if value.lanes == 1 or value.elem != "float" or target.bits not in _WIDTHS:
        return None
    if target.bits == int32.bits:
        return _to_int32(body, value) if target.kind is Kind.INT else None
    low, high = limits(target)
    known = select(body, _unordered(body, value), _splat(0.0, value.lanes), value)
    clamped = extreme(body, known, _splat(low, value.lanes), float32, lesser=False)
    return truncated(body, extreme(body, clamped, _splat(high, value.lanes), float32, lesser=True), target)


def truncated(body: Body, value: Value, target: DType) -> Value:
    """Give floats that are surely in the range of `target`, at most 32 bits of them signed, without their fractions."""
    kind = vector("i32", value.lanes)
    wide = Value(body.code.pure(f"fptosi {value.type} {value.text} to {kind}", value.text), "i32", value.lanes)
    return _narrowed(body, wide, target)


def _narrowed(body: Body, wide: Value, target: DType) -> Value:
    if target.bits == int32.bits:
        return wide
    elem = value_type(target)
    narrow = body.code.pure(f"trunc {wide.type} {wide.text} to {vector(elem, wide.lanes)}", wide.text)
    return Value(narrow, elem, wide.lanes)


def clamped_to_round(expr: Expr, target: DType) -> Expr | None:
    """Give x of an expression nearbyint(x) where x is clamped to constants that `target` has, and near to 0."""
    match expr:
        case Call(name="nearbyint", args=(x,)) if is_clamped(x, target) and all(abs(end) <= _NEAR for end in _ends(x)):
            return x
        case _:
            return None


def nearest(body: Body, value: Value, target: DType) -> Value:
    """Give the whole numbers nearest to floats that are near to 0 and surely in the range of `target`."""
    ones = _splat(_ONES, value.lanes)
    total, kind = binary(body, "add", value, ones), vector("i32", value.lanes)
    bits = Value(body.code.pure(f"bitcast {total.type} {total.text} to {kind}", total.text), "i32", value.lanes)
    return _narrowed(body, binary(body, "sub", bits, _integers(_BITS_OF_ONES, value.lanes)), target)


def _ends(expr: Expr) -> tuple[float, float]:
    """Give the constants that an expression is clamped to."""
    match expr:
        case Min(Max(_, Const(low)), Const(high)) | Max(Min(_, Const(high)), Const(low)):
            return low, high
        case _:
            raise AssertionError(f"{expr} is clamped")


def is_clamped(expr: Expr, target: DType) -> bool:
    """Tell whether a float32 expression is clamped to constants that `target` has, by which NaN goes, too."""
    match expr:
        case Min(Max(_, Const(low)), Const(high)) | Max(Min(_, Const(high)), Const(low)):
            least, most = limits(target)
            return expr.dtype == float32 and target.bits in _WIDTHS and least <= low <= high <= most
        case _:
            return False


def limits(target: DType) -> tuple[float, float]:
    """Give the least and the greatest float32 that is an integer of `target`; for unsigned ones up to 31 bits."""
    if target.kind is Kind.INT:
        top = 1 << target.bits - 1
        return float(-top), float(top - 1 if target.bits < int32.bits else top - 128)
    return 0.0, float((1 << min(target.bits, 31)) - (1 if target.bits < int32.bits else 128))


def _to_int32(body: Body, value: Value) -> Value:
    """Convert what is in range, and take an end of the range by the sign of the others."""
    lanes = value.lanes
    text = f"call {value.type} @llvm.fabs.v{lanes}f32({value.type} {value.text})"
    size = Value(body.code.pure(text, value.text), "float", lanes)
    inside = compare(body, "lt", size, _splat(2.0**31, lanes), float32)
    ends = [_integers(end, lanes) for end in ((1 << 31) - 1, -(1 << 31), 0)]
    below = select(body, compare(body, "lt", value, _splat(0.0, lanes), float32), ends[1], ends[2])
    outside = select(body, compare(body, "gt", value, _splat(0.0, lanes), float32), ends[0], below)
    converted = truncated(body, select(body, inside, value, _splat(0.0, lanes)), int32)
    return select(body, inside, converted, outside)


def _unordered(body: Body, value: Value) -> Value:
    text = f"fcmp uno {value.type} {value.text}, {value.text}"
    return Value(body.code.pure(text, value.text), "i1", value.lanes)


def _splat(number: float, lanes: int) -> Value:
    return Value(splat_literal(literal(number, float32), "float", lanes), "float", lanes)


def _integers(number: int, lanes: int) -> Value:
    return Value(splat_literal(str(number), "i32", lanes), "i32", lanes)
