"""The parameters of a kernel as the bytes that the driver copies: a C struct with natural alignment."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np

from ...codegen.cuda.source import Parameter
from ...ir.dtype import bfloat16, dtype_of
from ...ir.errors import CodegenError

TENSOR_MAP_BYTES = 128

_FORMATS = {
    "bool": "?",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float16": "e",
    "bfloat16": "H",
    "float32": "f",
    "float64": "d",
}


def packer(params: Sequence[Parameter]) -> Callable[[Sequence[int | float | bytes]], bytes]:
    """Give a function from the values of parameters to the buffer that `cuLaunchKernel` takes.

    Tensor maps lie on multiples of 64 bytes, as the driver wants, because they come first.
    """
    kinds = [param.kind == "tensor_map" for param in params]
    assert kinds == sorted(kinds, reverse=True), "tensor maps come first"
    pack = struct.Struct("".join(map(_format, params))).pack
    halves = [i for i, param in enumerate(params) if param.kind == "scalar" and dtype_of(param.dtype) == bfloat16]
    if not halves:
        return lambda values: pack(*values)

    def pack_rounded(values: Sequence[int | float | bytes]) -> bytes:
        rounded = list(values)
        for i in halves:
            rounded[i] = bfloat16_bits(float(rounded[i]))
        return pack(*rounded)

    return pack_rounded


def bfloat16_bits(value: float) -> int:
    """Give the bits of the bfloat16 that is nearest to `value`, the even one of two."""
    bits = int(np.float32(value).view(np.uint32))
    if bits & 0x7FFFFFFF > 0x7F800000:
        return bits >> 16 | 0x40  # a NaN stays one
    return bits + 0x7FFF + (bits >> 16 & 1) >> 16


def _format(param: Parameter) -> str:
    match param.kind:
        case "tensor_map":
            return f"{TENSOR_MAP_BYTES}s"
        case "buffer" | "workspace":
            return "Q"
        case "scalar" if param.dtype in _FORMATS:
            return _FORMATS[param.dtype]
    raise CodegenError("launch", f"parameter {param.name} is a {param.kind} of type {param.dtype!r}", advice="a number")
