"""How types and names are spelled in the device language."""

from __future__ import annotations

from ....ir.buffer import Buffer
from ....ir.dtype import (
    DType,
    bfloat16,
    boolean,
    float16,
    float32,
    float64,
    int4,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from ....ir.errors import CodegenError
from ....ir.expr import Var

_STORED = {
    boolean: "bool", int4: "signed char", int8: "signed char", int16: "short", int32: "int", int64: "long long",
    uint8: "unsigned char", uint16: "unsigned short", uint32: "unsigned int", uint64: "unsigned long long",
    float16: "tw_f16", bfloat16: "tw_bf16", float32: "float", float64: "double",
}  # fmt: skip
HALVES = (float16, bfloat16)

_RESERVED = frozenset(
    "alignas alignof and asm auto bool break case catch char class const constexpr continue decltype default delete do "
    "double else enum explicit export extern false float for friend goto if inline int long main mutable namespace new "
    "not nullptr operator or private protected public register return short signed sizeof static struct switch "
    "template this throw true try typedef typeid typename union unsigned using virtual void volatile while xor".split()
)


def stored_type(dtype: DType) -> str:
    """Give the C type of an element in memory.  Raises CodegenError for a type that no GPU memory holds."""
    found = _STORED.get(dtype)
    if found is None:
        raise CodegenError("cuda", f"no C type for {dtype}", advice=", ".join(map(str, _STORED)))
    return found


def value_type(dtype: DType) -> str:
    """Give the C type in which values of a type are computed: half precision is computed in float."""
    return "float" if dtype in HALVES else stored_type(dtype)


def identifier(named: Var | Buffer) -> str:
    """Give the C name of a variable or buffer."""
    name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in named.name)
    return f"{name}_" if name in _RESERVED or name.startswith("tw_") or name[:1].isdigit() else name
