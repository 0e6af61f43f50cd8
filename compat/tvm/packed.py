"""Python functions by name, which kernels call with arrays: `tvm.register_func`, `tvm.tir.call_packed`."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.arith import as_expr, cast
from ...ir.buffer import Buffer
from ...ir.dtype import DType
from ...ir.errors import ArgumentError, ExpressionError
from ...ir.expr import Call, Const, Expr
from ...runtime.array import numpy_dtype
from ...runtime.externs import register_extern
from ...te import call_extern
from .nd import NDArray

_FUNCTIONS: dict[str, Callable[..., Any]] = {}


def register_func(func_name: Any, f: Callable[..., Any] | None = None, override: bool = False) -> Any:
    """Register a Python function for `call_packed`, as a call or as a decorator.

    Raises ArgumentError if another function has the name and `override` is not given.
    """
    if callable(func_name):
        return register_func(func_name.__name__, func_name, override)

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if func_name in _FUNCTIONS and not override:
            raise ArgumentError("register_func", f"{func_name!r} is registered already", advice="override=True")
        _FUNCTIONS[func_name] = function
        return function

    return register if f is None else register(f)


def get_global_func(name: str, allow_missing: bool = False) -> Callable[..., Any] | None:
    """Give the registered function.  Raises ArgumentError if there is none, unless that is allowed."""
    if name not in _FUNCTIONS and not allow_missing:
        known = ", ".join(sorted(_FUNCTIONS)) or "none so far"
        raise ArgumentError("get_global_func", f"no function {name!r}; registered: {known}", advice="register_func")
    return _FUNCTIONS.get(name)


def call_packed(func_name: str, *args: Any, span: object = None) -> Call:
    """Give the call of a registered Python function with buffers (it gets NDArrays), expressions and plain values.

    The function is looked up when the kernel runs.
    """
    layout = tuple(map(_slot, args))
    digest = hashlib.sha256(repr((func_name, layout)).encode()).hexdigest()[:12]
    symbol = f"packed_{''.join(c if c.isalnum() else '_' for c in func_name)}_{digest}"
    passed = [value for slot, arg in zip(layout, args, strict=True) for value in slot.values(arg)]
    types = tuple(kind for slot in layout for kind in slot.types)
    register_extern(symbol, _receiver(func_name, layout), ("int32", types))
    call = call_extern("int32", symbol, *passed)
    assert isinstance(call, Call)
    return call


@dataclass(frozen=True, slots=True)
class _Array:
    """A buffer: passed as its address and its extents."""

    dtype: DType
    rank: int

    @property
    def types(self) -> tuple[str, ...]:
        return ("handle", *["int64"] * self.rank)

    def values(self, buffer: Buffer) -> list[Expr]:
        return [buffer.access_ptr("rw"), *(cast("int64", extent) for extent in buffer.shape)]

    def take(self, values: list[Any]) -> NDArray:
        address, shape = values.pop(0), tuple(values.pop(0) for _ in range(self.rank))
        held = numpy_dtype(self.dtype)
        size = int(np.prod(shape, dtype=np.int64)) * held.itemsize
        memory = (ctypes.c_char * size).from_address(address)
        return NDArray(np.frombuffer(memoryview(memory), held).reshape(shape))


@dataclass(frozen=True, slots=True)
class _Number:
    """An expression: passed by value."""

    dtype: DType

    @property
    def types(self) -> tuple[str, ...]:
        return (str(self.dtype),)

    def values(self, value: Expr) -> list[Expr]:
        return [as_expr(value)]

    def take(self, values: list[Any]) -> Any:
        return values.pop(0)


@dataclass(frozen=True, slots=True)
class _Plain:
    """A Python value, or a literal: known when the kernel is compiled, and not passed at all."""

    value: Any
    types: tuple[str, ...] = ()

    def values(self, value: Any) -> list[Expr]:
        return []

    def take(self, values: list[Any]) -> Any:
        return self.value


_Slot = _Array | _Number | _Plain


def _slot(argument: Any) -> _Slot:
    match argument:
        case Buffer(strides=None):
            return _Array(argument.dtype, len(argument.shape))
        case Buffer():
            fact = f"buffer {argument.name} has strides"
            raise ExpressionError("call_packed", fact, advice="a buffer without gaps")
        case Const(value):
            return _Plain(value)
        case Expr():
            return _Number(argument.dtype)
        case _:
            return _Plain(argument)


def _receiver(func_name: str, layout: tuple[_Slot, ...]) -> Callable[..., int]:
    def receive(*values: Any) -> int:
        left = list(values)
        function = get_global_func(func_name)
        assert function is not None
        function(*[slot.take(left) for slot in layout])
        return 0

    return receive
