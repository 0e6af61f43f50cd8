"""Expressions in the device language.

Index arithmetic is printed from its integer-linear form, so that the variables of written-out loops become constants
and sums fold while the text is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import copysign, isinf, isnan

from ....ir import expr as e
from ....ir.affine import Affine, affine_of, is_index
from ....ir.arith import wrap
from ....ir.buffer import Buffer
from ....ir.dtype import DType, Kind, boolean, float64, int64
from ....ir.errors import CodegenError
from ....ir.interval import Interval, const_bounds
from ....ir.intrinsics import INTRINSICS
from ....ir.simplify import simplify
from ....ir.visit import substitute, variables
from ..kernel import TENSOR_MAP
from .names import HALVES, identifier, stored_type, value_type

_INFIX = {
    e.Add: "+", e.Sub: "-", e.Mul: "*", e.Div: "/", e.Eq: "==", e.Ne: "!=", e.Lt: "<", e.Le: "<=", e.And: "&&",
    e.Or: "||",
}  # fmt: skip
_BITS = {"shift_left": "<<", "shift_right": ">>", "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}
_PLAIN = {"barrier", "warp_barrier", "shuffle_xor", "shuffle", "shuffle_down"}


@dataclass
class Expressions:
    """Prints expressions of one kernel.

    ranges    of loop variables and thread indices
    known     values of variables of written-out loops
    replaced  loads whose value is in a register already, by identity
    read_only buffers that nothing writes while the kernel runs
    """

    ranges: dict[e.Var, Interval]
    read_only: frozenset[Buffer]
    known: dict[e.Var, int] = field(default_factory=dict)
    replaced: dict[int, str] = field(default_factory=dict)
    _forms: dict[int, tuple[e.Expr, Affine]] = field(default_factory=dict)

    def value(self, node: e.Expr) -> str:
        """Give an expression as text that can stand as any operand."""
        if is_index(node.dtype) and type(node) in _SUMS:
            return self.index(node)
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise CodegenError("cuda", f"no meaning for {type(node).__name__}", advice="a lowered nest")
        return handler(self, node)

    # -- index arithmetic ----------------------------------------------------------------------------------------

    def index(self, node: e.Expr) -> str:
        """Give an integer expression as text, in parentheses where it is a sum."""
        return self.sum_text(self.form(node), node.dtype)

    def form(self, node: e.Expr) -> Affine:
        """Give the linear form of an integer expression, without the variables that are known."""
        found = self._forms.get(id(node))
        if found is None:
            found = self._forms[id(node)] = (node, affine_of(node))
        form = found[1]
        here = [v for v in form.vars if v in self.known]
        if not here:
            return form
        constant, terms = form.constant, {}
        for mono, factor in form.terms.items():
            if len(mono) == 1 and mono[0] in self.known:
                constant += factor * self.known[mono[0]]
            else:
                terms[mono] = factor
        rest = Affine(terms, constant)
        if any(v in self.known for v in rest.vars):
            values: dict[e.Var, e.Expr] = {v: e.Const(self.known[v], v.dtype) for v in rest.vars if v in self.known}
            rest = affine_of(simplify(substitute(rest.to_expr(node.dtype), values), self.ranges))
        return rest

    def sum_text(self, form: Affine, dtype: DType) -> str:
        """Give a linear form as text."""
        parts: list[str] = []
        for mono, factor in form.terms.items():
            text = "*".join(self.atom(atom, dtype) for atom in mono)
            sign, size = _sign_and_size(factor, dtype)
            parts.append(f"{sign} {text}" if size == "1" else f"{sign} {text}*{size}")
        if form.constant or not parts:
            parts.append(" ".join(_sign_and_size(form.constant, dtype)))
        text = " ".join(parts)
        text = text.removeprefix("+ ")
        return text if len(parts) == 1 and text[0] not in "-" else f"({text})"

    def atom(self, atom: object, dtype: DType) -> str:
        """Give one factor of a term."""
        node: e.Expr = atom if isinstance(atom, e.Expr) else atom.to_expr(dtype)  # type: ignore[attr-defined]
        text = _HANDLERS[type(node)](self, node)
        return text if node.dtype == dtype or dtype != int64 else f"(long long){text}"

    def never_negative(self, node: e.Expr) -> bool:
        """Tell whether an integer is at least 0, whatever the loops do."""
        low, _ = const_bounds(node, self.ranges)
        return low is not None and low >= 0

    # -- memory --------------------------------------------------------------------------------------------------

    def offset(self, buffer: Buffer, indices: tuple[e.Expr, ...]) -> str:
        """Give the place of an element as its distance from the first, in elements."""
        node = offset_of(buffer, indices)
        return self.sum_text(self.form(node), node.dtype)

    def place(self, buffer: Buffer, indices: tuple[e.Expr, ...]) -> str:
        """Give a pointer to an element of global or shared memory."""
        offset = self.offset(buffer, indices)
        return identifier(buffer) if offset == "0" else f"{identifier(buffer)} + {offset}"

    def register(self, buffer: Buffer, indices: tuple[e.Expr, ...]) -> str:
        """Give an element of a local array, or the sub-array that fewer indices leave."""
        return identifier(buffer) + "".join(f"[{self.index(i)}]" for i in indices)

    def load(self, node: e.Load) -> str:
        """Give the element as it is stored."""
        if id(node) in self.replaced:
            return self.replaced[id(node)]
        buffer = node.buffer
        if buffer.scope == "local":
            return self.register(buffer, node.indices or (e.Const(0),))
        function = "tw_load_const" if buffer in self.read_only else "tw_load"
        return f"{function}({self.place(buffer, node.indices)})"

    def stored(self, value: e.Expr, dtype: DType) -> str:
        """Give a value as it is stored in memory of a type."""
        if dtype not in HALVES:
            return self.value(value)
        match value:
            case e.Load(buffer) if buffer.dtype == dtype:
                return self.load(value)
            case e.Cast(source) if value.dtype == dtype and source.dtype not in HALVES:
                return f"tw_to_{'f16' if dtype.kind is Kind.FLOAT else 'bf16'}((float){self.value(source)})"
            case _:
                return f"tw_to_{'f16' if dtype.kind is Kind.FLOAT else 'bf16'}({self.value(value)})"


_SUMS = (e.Add, e.Sub, e.Mul)


def offset_of(buffer: Buffer, indices: tuple[e.Expr, ...]) -> e.Expr:
    """Give the distance of an element from the first, in elements; in 64 bits where 32 might not do."""
    strides = buffer.dense_strides
    large = any(type(d) is not e.Const for d in buffer.shape) or not indices
    if not large and buffer.shape:
        large = int(buffer.shape[0].value) * strides_value(strides[0]) >= 1 << 31  # type: ignore[union-attr]
    dtype = int64 if large and indices else None
    total: e.Expr = e.Const(0)
    for index, stride in zip(indices, strides, strict=True):
        term = index if dtype is None else e.Cast(index, dtype)
        scale = stride if dtype is None else _widened(stride)
        total = e.Add(total, e.Mul(term, scale)) if dtype is None else _added64(total, e.Mul(term, scale))
    return total


def _added64(total: e.Expr, term: e.Expr) -> e.Expr:
    return term if type(total) is e.Const else e.Add(total, term)


def _widened(stride: e.Expr) -> e.Expr:
    match stride:
        case e.Const(value):
            return e.Const(value, int64)
        case _:
            return e.Cast(stride, int64)


def strides_value(stride: e.Expr) -> int:
    """Give a constant stride."""
    assert type(stride) is e.Const
    return int(stride.value)


# -- one function for each kind of node -----------------------------------------------------------------------------


def _const(self: Expressions, node: e.Const) -> str:
    dtype = node.dtype
    if dtype == boolean:
        return "true" if node.value else "false"
    if dtype.is_int:
        return _integer(int(node.value), dtype)
    return _float(float(node.value), dtype)


def _integer(value: int, dtype: DType) -> str:
    value = wrap(value, dtype)
    suffix = {("int", 64): "ll", ("uint", 64): "ull", ("uint", 32): "u"}.get((dtype.kind.value, dtype.bits), "")
    if value == dtype.min_value and dtype.kind is Kind.INT and dtype.bits >= 32:
        return f"(-{-(value + 1)}{suffix} - 1)"
    return f"({value}{suffix})" if value < 0 else f"{value}{suffix}"


def _sign_and_size(value: int, dtype: DType) -> tuple[str, str]:
    """Give the sign of a number and the rest of it, as text; the least number of a type is no other's negative."""
    value = wrap(value, dtype)
    if value == dtype.min_value:
        return "+", _integer(value, dtype)
    return "-" if value < 0 else "+", str(abs(value))


def _float(value: float, dtype: DType) -> str:
    if isnan(value) or isinf(value):
        if dtype == float64:
            bits = 0x7FF8 << 48 if isnan(value) else 0x7FF0 << 48
            text = f"tw_reinterpret<double>({bits:#x}ull)"
        else:
            text = f"tw_reinterpret<float>({0x7FC00000 if isnan(value) else 0x7F800000:#x}u)"
    else:
        text = repr(abs(value)) + ("" if dtype == float64 else "f")
    return f"(-{text})" if copysign(1.0, value) < 0 else text


def _var(self: Expressions, node: e.Var) -> str:
    known = self.known.get(node)
    return identifier(node) if known is None else _integer(known, node.dtype)


def _narrow(dtype: DType, text: str) -> str:
    """Give the text wrapped to a type under 32 bits, which C computes as int."""
    return f"({stored_type(dtype)}){text}" if dtype.is_int and dtype.bits < 32 else text


def _infix(self: Expressions, node: e.Binary) -> str:
    text = f"({self.value(node.a)} {_INFIX[type(node)]} {self.value(node.b)})"
    return _narrow(node.dtype, text) if not isinstance(node, e.Comparison) else text


def _division(self: Expressions, node: e.FloorDiv | e.FloorMod) -> str:
    a, b = self.value(node.a), self.value(node.b)
    symbol, name = ("/", "floordiv") if type(node) is e.FloorDiv else ("%", "floormod")
    plain = node.dtype.kind is Kind.UINT or (self.never_negative(node.a) and self.never_negative(node.b))
    text = f"({a} {symbol} {b})" if plain else f"tw_{name}({a}, {b})"
    return _narrow(node.dtype, text)


def _extremum(self: Expressions, node: e.Min | e.Max) -> str:
    kind = value_type(node.dtype)
    return f"tw_{'min' if type(node) is e.Min else 'max'}<{kind}>({self.value(node.a)}, {self.value(node.b)})"


def _not(self: Expressions, node: e.Not) -> str:
    return f"(!{self.value(node.a)})"


def _choice(self: Expressions, node: e.Select | e.IfThenElse) -> str:
    kind = value_type(node.dtype)
    then, otherwise = (f"({kind}){self.value(x)}" for x in (node.then, node.otherwise))
    return f"({self.value(node.condition)} ? {then} : {otherwise})"


def _cast(self: Expressions, node: e.Cast) -> str:
    text, source, to = self.value(node.value), node.value.dtype, node.dtype
    if to in HALVES:
        name = "f16" if to.kind is Kind.FLOAT else "bf16"
        return f"tw_f32(tw_to_{name}((float){text}))"
    if to == boolean:
        return f"({text} != 0)"
    return text if value_type(source) == value_type(to) else f"({value_type(to)}){text}"


def _load(self: Expressions, node: e.Load) -> str:
    text = self.load(node)
    return f"tw_f32({text})" if node.dtype in HALVES else text


def _address(self: Expressions, node: e.Address) -> str:
    if node.buffer.scope == "local":
        return self.register(node.buffer, node.indices[:-1])
    if node.buffer.scope == TENSOR_MAP:
        return f"&{identifier(node.buffer)}"
    return f"({self.place(node.buffer, node.indices)})"


def _reinterpret(self: Expressions, node: e.Call) -> str:
    """Give the same bits as another type; a half is taken as it is stored."""
    text = f"tw_reinterpret<{stored_type(node.dtype)}>({self.stored(node.args[0], node.args[0].dtype)})"
    return f"tw_f32({text})" if node.dtype in HALVES else text


def _call(self: Expressions, node: e.Call) -> str:
    if node.name not in INTRINSICS:
        raise CodegenError("cuda", f"no function {node.name!r} on a GPU", advice="an intrinsic of the language")
    values = [self.value(a) for a in node.args]
    if node.name in _BITS:
        return _narrow(node.dtype, f"({values[0]} {_BITS[node.name]} {values[1]})")
    if node.name == "bitwise_not":
        return _narrow(node.dtype, f"(~{values[0]})")
    if node.name == "reinterpret":
        return _reinterpret(self, node)
    if node.name == "prefetch":
        return "(void)0"
    template = _TEMPLATES.get(node.name)
    if template is not None:
        return template(values)
    if node.name in _PLAIN or not node.args or not node.args[0].dtype.is_float:
        return f"tw_{node.name}({', '.join(values)})"
    kind = value_type(node.args[0].dtype)
    return f"tw_{node.name}(({kind}){values[0]}{''.join(f', {v}' for v in values[1:])})"


def _wgmma(
    kind: str, registers: str, a: str, b: str, add: str, columns: str, a_along_rows: str, b_along_rows: str
) -> str:
    """Give the product of a warpgroup; its registers are those of neighbouring tiles of 8 columns, 4 of each."""
    whole = f"reinterpret_cast<float (&)[{int(columns) // 2}]>({registers})"
    return f"tw_wgmma_{kind}<{columns}, {a_along_rows}, {b_along_rows}>({whole}, {a}, {b}, {add})"


_TEMPLATES: dict[str, Callable[[list[str]], str]] = {
    "cp_async": lambda v: f"tw_cp_async<{v[2]}>({v[0]}, {v[1]}, {v[3]})",
    "cp_async_wait": lambda v: f"tw_cp_async_wait<{v[0]}>()",
    "wgmma_f16": lambda v: _wgmma("f16", *v),
    "wgmma_bf16": lambda v: _wgmma("bf16", *v),
    "wgmma_wait": lambda v: f"tw_wgmma_wait<{v[0]}>()",
    "tma_store_wait": lambda v: f"tw_tma_store_wait<{v[0]}>()",
    "setmaxnreg_inc": lambda v: f"tw_setmaxnreg_inc<{v[0]}>()",
    "setmaxnreg_dec": lambda v: f"tw_setmaxnreg_dec<{v[0]}>()",
}

_HANDLERS: dict[type, Callable[..., str]] = {
    e.Const: _const, e.Var: _var, e.Cast: _cast, e.Add: _infix, e.Sub: _infix, e.Mul: _infix, e.Div: _infix,
    e.FloorDiv: _division, e.FloorMod: _division, e.Min: _extremum, e.Max: _extremum, e.Eq: _infix, e.Ne: _infix,
    e.Lt: _infix, e.Le: _infix, e.And: _infix, e.Or: _infix, e.Not: _not, e.Select: _choice, e.IfThenElse: _choice,
    e.Load: _load, e.Address: _address, e.Call: _call,
}  # fmt: skip


def depends_on(node: e.Expr, var: e.Var) -> bool:
    """Tell whether a value may change with a variable."""
    return var in variables(node)
