"""Where an element of a buffer lies: its flat offset as a sum, and the pointer to it."""

from __future__ import annotations

import math
from typing import Any

from ...ir import arith
from ...ir.affine import affine_of
from ...ir.buffer import Buffer
from ...ir.expr import (
    Add,
    Address,
    And,
    Cast,
    Const,
    Eq,
    Expr,
    FloorDiv,
    FloorMod,
    Le,
    Load,
    Lt,
    Max,
    Min,
    Mul,
    Ne,
    Not,
    Or,
    Sub,
    Var,
)
from ...ir.stmt import Store
from ...ir.visit import walk
from .body import Body, Linear, Place
from .index import affine_form, combine, linear, materialise, resize
from .index import atom as atom_of
from .types import Value, memory_type

Access = Load | Store | Address


def element_strides(buffer: Buffer) -> tuple[int | Expr, ...]:
    """Give the distance in elements along each dimension: integers where they are known."""
    if buffer.strides is not None:
        return tuple([_known(s) for s in buffer.strides])
    strides: list[int | Expr] = []
    step: int | Expr = 1
    for extent in reversed(buffer.shape):
        strides.append(step)
        size = _known(extent)
        step = step * size if isinstance(step, int) and isinstance(size, int) else _known(arith.mul(step, size))
    return tuple(reversed(strides))


def _known(value: Expr) -> int | Expr:
    known = arith.int_value(value)
    return value if known is None else known


def flat_offset(body: Body, access: Access) -> Linear:
    """Give the offset in elements of an access from the start of its buffer."""
    place = body.places.get(id(access)) or _place(body, access)
    if place is None:
        return _symbolic_offset(body, access)
    (constant, terms, stride, pattern), env = place.fixed, body.env
    for var, scale in place.moving:
        step: Any = env[var]
        constant += step[0] * scale
        stride += step[2] * scale
    offset = Linear(constant, terms, stride, pattern)
    return combine(0, [(offset, 1), *[(atom_of(body, a), c) for a, c in place.divided]]) if place.divided else offset


def _place(body: Body, access: Access) -> Place | None:
    """Work out what the copies of an access share; None where a stride is known only when the kernel runs."""
    form = flat_form(body, access)
    if form is None:
        return None
    constant, atoms = form
    steps: set[Any] = body.steps
    moving: list[tuple[Any, int]] = [(a, scale) for a, scale in atoms if a in steps]
    others = [(a, scale) for a, scale in atoms if a not in steps]
    divided = tuple([(a, scale) for a, scale in others if _is_decided_by(body, a, steps)])
    others = [term for term in others if term not in divided]
    fixed = combine(constant, [(atom_of(body, a), scale) for a, scale in others])
    place = Place(access, fixed, tuple(moving), divided)
    read = [deciding(body, a) for a, _ in others]
    if None not in read:
        body.places[id(access)] = place
        for var in {v for found in read for v in found or ()}:
            body.placed.setdefault(var, {})[id(access)] = None
    return place


def deciding(body: Body, expr: Expr) -> set[Var] | None:
    """Give the variables that decide the value; None where memory, calls, or which lanes are active do so too."""
    return body.fact("decided by", expr, _deciding)


def _is_decided_by(body: Body, expr: Expr, variables: set[Var]) -> bool:
    read = deciding(body, expr)
    return bool(read and read <= variables)


def _deciding(expr: Expr) -> set[Var] | None:
    if type(expr) is Var:
        return {expr}
    nodes = list(walk(expr))
    if not all(type(n) in _OF_VARIABLES or (type(n) in _DIVISIONS and type(n.b) is Const) for n in nodes):  # type: ignore[union-attr]
        return None
    return {n for n in nodes if type(n) is Var}


_OF_VARIABLES = (Var, Const, Add, Sub, Mul, Min, Max, Cast, Eq, Ne, Lt, Le, And, Or, Not)
_DIVISIONS = (FloorDiv, FloorMod)


def flat_form(body: Body, access: Access) -> tuple[int, tuple[tuple[Expr, int], ...]] | None:
    """Give the offset's constant and atoms, or None where a stride is known only when the kernel runs."""
    found = body.offsets.get(id(access))
    if found is None:
        found = body.offsets[id(access)] = (access, _flat_form(body, access))
    return found[1]


def _flat_form(body: Body, access: Access) -> tuple[int, tuple[tuple[Expr, int], ...]] | None:
    total = 0
    terms: dict[Expr, int] = {}
    for index, stride in zip(access.indices, element_strides(access.buffer), strict=True):
        constant, atoms = affine_form(body, index)
        if not isinstance(stride, int):
            if constant or atoms:
                return None
            continue
        total += constant * stride
        for a, scale in atoms:
            terms[a] = terms.get(a, 0) + scale * stride
    total += _rejoin(body, terms)
    return total, tuple((a, c) for a, c in terms.items() if c)


def _rejoin(body: Body, terms: dict[Expr, int]) -> int:
    """Put the quotient and the remainder of a fused index together again: a // 7 * 7 + a % 7 is a; gives a constant.

    So neighbours of the fused index are neighbours in memory, across rows, too.
    """
    total = 0
    for rest, scale in [term for term in terms.items() if type(term[0]) is FloorMod]:
        found = (_divided(q, rest, c, scale) for q, c in terms.items())
        quotient = next((q for q in found if q is not None), None)
        if quotient is not None:
            del terms[rest], terms[quotient]
            constant, atoms = affine_form(body, quotient.a)
            total += constant * scale
            for atom, factor in atoms:
                terms[atom] = terms.get(atom, 0) + factor * scale
    return total


def _divided(quotient: Expr, rest: Expr, stride: int, step: int) -> FloorDiv | None:
    """Give the quotient if `rest` is the remainder of the same division, and its stride the divisor's times `step`."""
    match quotient, rest:
        case FloorDiv(a, Const(value=divisor)), FloorMod(b, Const(value=other)) if divisor == other:
            between = affine_of(a) - affine_of(b)  # whole multiples of the divisor leave the remainder as it is
            whole = all(n % divisor == 0 for n in (between.constant, *between.terms.values()))
            return quotient if whole and stride == step * divisor else None
        case _:
            return None


def _symbolic_offset(body: Body, access: Access) -> Linear:
    parts: list[tuple[Linear, int]] = []
    for index, stride in zip(access.indices, element_strides(access.buffer), strict=True):
        position = linear(body, index)
        if isinstance(stride, int):
            parts.append((position, stride))
        else:
            parts.append((_product(body, position, linear(body, stride)), 1))
    return combine(0, parts)


def _product(body: Body, a: Linear, b: Linear) -> Linear:
    """Give a * b, in 64 bits, distributed over the terms of `a` so that unrolled copies share them."""
    step = materialise(body, b, "i64")
    parts: list[tuple[Linear, int]] = [(Linear(0, ((step, 1),)), a.constant)]
    for value, scale in a.terms:
        wide = resize(body, value, "i64")
        if wide.lanes > 1:
            return Linear(0, ((_multiplied(body, materialise(body, a, "i64"), step), 1),))
        parts.append((Linear(0, ((_multiplied(body, wide, step), 1),)), scale))
    if a.stride or a.pattern:
        lanes = materialise(body, Linear(0, (), a.stride, a.pattern), "i64")
        parts.append((Linear(0, ((_multiplied(body, lanes, step), 1),)), 1))
    return combine(0, parts)


def _multiplied(body: Body, a: Value, b: Value) -> Value:
    from .index import broadcast

    spread = broadcast(body, b, a.lanes)
    return Value(body.code.pure(f"mul {a.type} {a.text}, {spread.text}", a.text, spread.text), "i64", a.lanes)


def pointer(body: Body, buffer: Buffer, offset: Linear) -> str:
    """Give the pointer to lane 0's scalar part: buffer + constant + scalar terms, one step per loop level."""
    here = body.bases.get((buffer, offset.terms))
    if here is None:
        here = _base(body, buffer, offset)
    if offset.constant:
        return body.code.local(f"getelementptr {memory_type(buffer.dtype)}, ptr {here}, i64 {offset.constant}")
    return here


def _base(body: Body, buffer: Buffer, offset: Linear) -> str:
    code = body.code
    elem, here = memory_type(buffer.dtype), body.pointers[buffer]
    scalars = [(v, c) for v, c in offset.terms if v.lanes == 1]
    scalars.sort(key=lambda term: code.level_of(term[0].text))
    for value, scale in scalars:
        step = materialise(body, Linear(0, ((value, scale),)), "i64").text
        here = code.pure(f"getelementptr {elem}, ptr {here}, i64 {step}", here, step)
    if all(value.text in body.counts for value, _ in offset.terms):  # others may outlive the region that knows them
        body.bases[buffer, offset.terms] = here
    return here


def alignment(body: Body, buffer: Buffer, offset: Linear) -> int:
    """Give what the address is known to be a multiple of, in bytes."""
    size = buffer.dtype.bytes
    known = math.gcd(body.align[buffer], offset.constant * size)
    for _, scale in offset.terms:
        known = math.gcd(known, scale * size)
    return known
