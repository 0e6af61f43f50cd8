"""Integer arithmetic of indices: sums of constants, scalars and lane numbers, folded while the code is written.

int32 and int64 expressions become `Linear`: an unrolled variable is a constant, a vectorized one a stride, and
what is left are SSA values with coefficients.  Addresses are computed from them in 64 bits (index arithmetic does
not overflow), values in their own width, where they wrap.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.dtype import DType, Kind, int64
from ...ir.expr import Add, Cast, Const, Expr, FloorDiv, FloorMod, Mul, Sub, Var
from .body import Body, Linear
from .types import Value, lane_literal, splat_literal, value_type, vector

Form = tuple[int, tuple[tuple[Expr, int], ...]]  # constant, atoms with coefficients


def is_index(dtype: DType) -> bool:
    """Tell whether integers of this type are computed as sums: int32 and int64."""
    return dtype.kind is Kind.INT and dtype.bits >= 32


def affine_form(body: Body, expr: Expr) -> Form:
    """Give `expr` as a constant and atoms with coefficients; computed once per expression."""
    found = body.forms.get(id(expr))
    if found is None:
        terms: dict[Expr, int] = {}
        constant = _collect(expr, 1, terms)
        found = body.forms[id(expr)] = (expr, (constant, tuple((t, c) for t, c in terms.items() if c)))
    return found[1]


def _collect(expr: Expr, scale: int, terms: dict[Expr, int]) -> int:
    match expr:
        case Const(value=value):
            return scale * int(value)
        case Add(a, b):
            return _collect(a, scale, terms) + _collect(b, scale, terms)
        case Sub(a, b):
            return _collect(a, scale, terms) + _collect(b, -scale, terms)
        case Mul(a, Const(value=value)) | Mul(Const(value=value), a):
            return _collect(a, scale * int(value), terms)
        case _:
            terms[expr] = terms.get(expr, 0) + scale
            return 0


def linear(body: Body, expr: Expr) -> Linear:
    """Give the value of an int32 or int64 expression as a sum."""
    constant, atoms = affine_form(body, expr)
    match atoms:
        case ():
            return Linear(constant)
        case ((part, 1),) if not constant:
            return atom(body, part)
    return combine(constant, [(atom(body, part), scale) for part, scale in atoms])


def combine(constant: int, parts: list[tuple[Linear, int]]) -> Linear:
    """Give constant + sum of coefficient * part."""
    terms: dict[str, tuple[Value, int]] = {}
    stride = 0
    pattern: tuple[int, ...] = ()
    for (own, its_terms, its_stride, its_pattern), scale in parts:
        constant += own * scale
        stride += its_stride * scale
        for value, coefficient in its_terms:
            text = value.text
            total = coefficient * scale
            if text in terms:
                total += terms[text][1]
            terms[text] = value, total
        if its_pattern:
            scaled = tuple([p * scale for p in its_pattern])
            pattern = tuple(map(int.__add__, pattern, scaled)) if pattern else scaled
    return Linear(constant, tuple([t for t in terms.values() if t[1]]), stride, pattern)


def atom(body: Body, expr: Expr) -> Linear:
    """Give the value of an integer expression that is no sum."""
    known = body.env.get(expr)  # type: ignore[arg-type]  # only variables are there
    if type(known) is Linear:
        return known
    match expr:
        case Var():
            return of_value(evaluate_opaque(body, expr))
        case FloorDiv(a, Const(value=divisor)) if divisor > 0:
            return _divided(body, expr, linear(body, a), int(divisor), True)
        case FloorMod(a, Const(value=divisor)) if divisor > 0:
            return _divided(body, expr, linear(body, a), int(divisor), False)
        case Cast(Var() as var) if is_index(var.dtype):
            inner = atom(body, var)
            if expr.dtype == int64 or not inner.terms:
                return inner
    return of_value(evaluate_opaque(body, expr))


def of_value(value: Value) -> Linear:
    """Give an SSA value, or a literal, as a sum."""
    if value.lanes == 1 and value.text.lstrip("-").isdigit():
        return Linear(int(value.text))
    return Linear(0, ((value, 1),))


def evaluate_opaque(body: Body, expr: Expr) -> Value:
    """Evaluate an expression that is no sum."""
    from .expressions import evaluate_atom  # the two evaluators call each other

    return evaluate_atom(body, expr)


def is_constant(value: Linear) -> bool:
    """Tell whether all lanes are known now."""
    return not value.terms


def lanes_of(value: Linear, lanes: int) -> tuple[int, ...]:
    """Give the known part of each lane."""
    pattern = value.pattern or (0,) * lanes
    return tuple([value.constant + value.stride * k + pattern[k] for k in range(lanes)])


def of_lanes(values: tuple[int, ...]) -> Linear:
    """Give known lanes as a sum: a constant, a stride, or a pattern."""
    first = values[0]
    stride = values[1] - first if len(values) > 1 else 0
    if all(v == first + stride * k for k, v in enumerate(values)):
        return Linear(first, (), stride)
    return Linear(0, (), 0, values)


def never_negative(body: Body, value: Linear) -> bool:
    """Tell whether `value` is a sum of terms that are never negative."""
    return (
        value.constant >= 0
        and value.stride >= 0
        and all(p >= 0 for p in value.pattern)
        and all(c > 0 and v.text in body.counts for v, c in value.terms)
    )


def _divided(body: Body, expr: FloorDiv | FloorMod, a: Linear, divisor: int, quotient: bool) -> Linear:
    """Give the quotient or remainder; counters with coefficients that the divisor divides pass through."""
    if all(c % divisor == 0 and v.text in body.counts for v, c in a.terms):
        through = tuple([(v, c // divisor) for v, c in a.terms]) if quotient else ()
        if not a.stride and not a.pattern:
            return Linear(divmod(a.constant, divisor)[0 if quotient else 1], through)
        known = [divmod(x, divisor) for x in lanes_of(a, body.lanes)]
        part = of_lanes(tuple([q if quotient else r for q, r in known]))
        return part._replace(terms=through)
    from .arithmetic import floor_divide, floor_modulo

    operand = materialise(body, a, value_type(expr.dtype))
    count = never_negative(body, a)
    apply: Callable[..., Value] = floor_divide if quotient else floor_modulo
    result = apply(body, operand, divisor, expr.dtype, count)
    if count or not quotient:
        body.counts.add(result.text)
    return of_value(result)


def materialise(body: Body, value: Linear, elem: str) -> Value:
    """Give the sum as one value of element type `elem` (`i32` or `i64`), wrapping."""
    code = body.code
    scalars = [(v, c) for v, c in value.terms if v.lanes == 1]
    vectors = [(v, c) for v, c in value.terms if v.lanes > 1]
    varying = bool(vectors or value.stride or value.pattern)
    lanes = body.lanes if varying else 1
    bits = int(elem[1:])
    scalars.sort(key=lambda term: code.level_of(term[0].text))
    total: str | None = None
    for v, c in scalars:
        total = _plus(body, total, _scaled(body, resize(body, v, elem), c), elem)
    if not varying:
        constant = _wrapped(value.constant, bits)
        if total is None:
            return Value(str(constant), elem)
        return Value(_plus(body, total, str(constant), elem) if constant else total, elem)
    known = tuple([_wrapped(x, bits) for x in lanes_of(value, lanes)])
    same = all(x == known[0] for x in known)
    constant_text = splat_literal(str(known[0]), elem, lanes) if same else lane_literal(known, elem)
    result = Value(constant_text, elem, lanes)
    sum_text: str | None = None if same and known[0] == 0 else result.text
    for v, c in vectors:
        sum_text = _plus(body, sum_text, _scaled(body, resize(body, v, elem), c), result.type)
    if total is not None:
        spread = broadcast(body, Value(total, elem), lanes).text
        sum_text = _plus(body, sum_text, spread, result.type)
    return Value(sum_text if sum_text is not None else result.text, elem, lanes)


def _wrapped(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _scaled(body: Body, value: Value, coefficient: int) -> str:
    if coefficient == 1:
        return value.text
    factor = splat_literal(str(coefficient), value.elem, value.lanes)
    return body.code.pure(f"mul {value.type} {value.text}, {factor}", value.text)


def _plus(body: Body, a: str | None, b: str, kind: str) -> str:
    return b if a is None else body.code.pure(f"add {kind} {a}, {b}", a, b)


def resize(body: Body, value: Value, elem: str) -> Value:
    """Give a signed integer in another width."""
    if value.elem == elem:
        return value
    target = Value("", elem, value.lanes)
    op = "sext" if int(elem[1:]) > int(value.elem[1:]) else "trunc"
    if op == "sext" and value.text in body.counts:
        op = "zext nneg"
    name = body.code.pure(f"{op} {value.type} {value.text} to {target.type}", value.text)
    if value.text in body.counts:
        body.counts.add(name)
    return Value(name, elem, value.lanes)


def broadcast(body: Body, value: Value, lanes: int) -> Value:
    """Give a scalar in every lane; vectors pass through."""
    if value.lanes == lanes or lanes == 1:
        return value
    text, elem = value.text, value.elem
    if not text.startswith("%"):
        return Value(splat_literal(text, elem, lanes), elem, lanes)
    spread = body.code.splats.setdefault(text, {})
    found = spread.get(lanes)
    if found is None:
        code, kind = body.code, vector(elem, lanes)
        one = code.pure(f"insertelement {kind} poison, {elem} {text}, i64 0", text)
        zeros = f"<{lanes} x i32> zeroinitializer"
        found = spread[lanes] = code.pure(f"shufflevector {kind} {one}, {kind} poison, {zeros}", one)
    return Value(found, elem, lanes)


def last_lane(body: Body, value: Value) -> Value:
    """Give the lane that is written last."""
    if value.lanes == 1:
        return value
    name = body.code.pure(f"extractelement {value.type} {value.text}, i64 {value.lanes - 1}", value.text)
    return Value(name, value.elem)


def resized(body: Body, text: str, elem: str, lanes: int, to: int, first: int = 0) -> str:
    """Give `to` lanes of a vector from lane `first` on; what lies beyond it is undefined."""
    kind = vector(elem, lanes)
    picks = ", ".join(f"i32 {first + k}" if first + k < lanes else "i32 poison" for k in range(to))
    return body.code.pure(f"shufflevector {kind} {text}, {kind} poison, <{to} x i32> <{picks}>", text)
