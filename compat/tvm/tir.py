"""`tvm.tir`: scalar expressions, buffers, and statements written with a builder."""

from __future__ import annotations

from ...ir.arith import as_expr, logical_not
from ...ir.buffer import Buffer
from ...ir.dtype import DType, dtype_of
from ...ir.expr import Call, Cast, Const, Expr, Var
from ...ir.stmt import Evaluate, For, Function, Stmt
from ...te import (
    Axis,
    Select,
    abs,
    acos,
    acosh,
    all,
    any,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    call_extern,
    ceil,
    clz,
    comm_reducer,
    const,
    copysign,
    cos,
    cosh,
    div,
    erf,
    exp,
    exp2,
    exp10,
    floor,
    floordiv,
    floormod,
    fmod,
    hypot,
    if_then_else,
    indexdiv,
    indexmod,
    infinity,
    ir_builder,
    isfinite,
    isinf,
    isnan,
    ldexp,
    log,
    log1p,
    log2,
    log10,
    max,
    max_value,
    min,
    min_value,
    nearbyint,
    nextafter,
    popcount,
    power,
    reinterpret,
    round,
    rsqrt,
    sigmoid,
    sin,
    sinh,
    sqrt,
    sum,
    tan,
    tanh,
    trunc,
    truncdiv,
    truncmod,
)
from ...te.compute import Shape, as_shape
from .packed import call_packed

IterVar = Axis
PrimExpr = Expr
PrimFunc = Function
call_pure_extern = call_extern

__all__ = [
    "Buffer",
    "Call",
    "Cast",
    "Evaluate",
    "Expr",
    "FloatImm",
    "For",
    "IntImm",
    "IterVar",
    "PrimExpr",
    "PrimFunc",
    "Select",
    "Stmt",
    "Var",
    "abs",
    "acos",
    "acosh",
    "all",
    "any",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "call_extern",
    "call_intrin",
    "call_packed",
    "call_pure_extern",
    "ceil",
    "clz",
    "comm_reducer",
    "const",
    "copysign",
    "cos",
    "cosh",
    "decl_buffer",
    "div",
    "erf",
    "exp",
    "exp2",
    "exp10",
    "floor",
    "floordiv",
    "floormod",
    "fmod",
    "hypot",
    "if_then_else",
    "indexdiv",
    "indexmod",
    "infinity",
    "ir_builder",
    "isfinite",
    "isinf",
    "isnan",
    "ldexp",
    "likely",
    "log",
    "log1p",
    "log2",
    "log10",
    "logical_not",
    "max",
    "max_value",
    "min",
    "min_value",
    "nearbyint",
    "nextafter",
    "popcount",
    "power",
    "reinterpret",
    "round",
    "rsqrt",
    "sigmoid",
    "sin",
    "sinh",
    "sqrt",
    "sum",
    "tan",
    "tanh",
    "trunc",
    "truncdiv",
    "truncmod",
]  # fmt: skip


def IntImm(dtype: str | DType, value: int, span: object = None) -> Const:
    """Give an integer literal."""
    return const(value, dtype)


def FloatImm(dtype: str | DType, value: float, span: object = None) -> Const:
    """Give a floating-point literal."""
    return const(value, dtype)


def likely(cond: Expr, span: object = None) -> Expr:
    """Give the condition itself: branches are laid out by the backend."""
    return cond


def call_intrin(dtype: str | DType, func_name: str, *args: Expr | int | float, span: object = None) -> Expr:
    """Give the value of an intrinsic, named with or without TVM's prefix "tir."."""
    return Call(func_name.removeprefix("tir."), tuple(map(as_expr, args)), dtype_of(dtype))


def decl_buffer(
    shape: Shape,
    dtype: str | DType = "float32",
    name: str = "buffer",
    data: Var | None = None,
    strides: Shape | None = None,
    elem_offset: object = None,
    scope: str = "",
    data_alignment: int = -1,
    offset_factor: int = 0,
    buffer_type: str = "",
    axis_separators: object = None,
    span: object = None,
) -> Buffer:
    """Give a buffer for statements to name.

    strides  in elements; a variable among them takes the value of the tensor that `tensorize` matches
    Where the first element lies (data, elem_offset, offset_factor) is decided by the program that uses the buffer.
    """
    gaps = as_shape(name, strides) if strides else None
    aligned = {} if data_alignment < 1 else {"align": data_alignment}
    return Buffer(name, as_shape(name, shape), dtype_of(dtype or "float32"), scope or "global", gaps, **aligned)
