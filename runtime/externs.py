"""Functions from outside that kernels call by name.

A name in a kernel that is no intrinsic is found, in this order, among the functions registered here and among the
symbols of the process, to which the C library and its mathematics belong.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..ir.dtype import DType, Kind, dtype_of
from ..ir.errors import ArgumentError, CodegenError
from ..ir.expr import Call
from ..ir.intrinsics import INTRINSICS
from ..ir.stmt import Function
from ..ir.visit import of_kind

_INTS = {8: ctypes.c_int8, 16: ctypes.c_int16, 32: ctypes.c_int32, 64: ctypes.c_int64}
_UINTS = {8: ctypes.c_uint8, 16: ctypes.c_uint16, 32: ctypes.c_uint32, 64: ctypes.c_uint64}
_FLOATS = {32: ctypes.c_float, 64: ctypes.c_double}


@dataclass(frozen=True, slots=True)
class Extern:
    """A registered function.

    address  where its code is
    thunk    what keeps the code alive, for a Python function
    """

    name: str
    address: int
    thunk: object = None


_externs: dict[str, Extern] = {}
_replaced: list[Extern] = []  # kernels compiled before may still call them
_raised: list[BaseException] = []


CSignature = tuple[str | DType, tuple[str | DType, ...]]  # of the result, of the arguments


def register_extern(name: str, function: Callable[..., object] | int, signature: CSignature | None = None) -> None:
    """Let kernels call `function` by `name`.

    function   an address, a ctypes function, or a Python function; a Python function runs with the GIL held, and what
               it raises is raised again by the kernel's call once the kernel has returned
    signature  result type and argument types, for Python functions: `("float32", ("float32",))`; "handle" is an address
    Raises ArgumentError for a Python function without a signature.  Kernels compiled before keep the former function.
    """
    if name in INTRINSICS:
        raise ArgumentError("register_extern", f"{name} is an intrinsic", advice="another name")
    extern = _extern(name, function, signature)
    if name in _externs:
        _replaced.append(_externs[name])
    _externs[name] = extern


def _extern(name: str, function: Callable[..., object] | int, signature: CSignature | None) -> Extern:
    match function:
        case int():
            return Extern(name, function)
        case ctypes._CFuncPtr():  # type: ignore[attr-defined]  # the public name of this class is not public
            return Extern(name, ctypes.cast(function, ctypes.c_void_p).value or 0, function)
    if not callable(function):
        raise ArgumentError("register_extern", f"{name}: a {type(function).__name__} cannot be called")
    if signature is None:
        fact = f"{name}: a Python function needs a signature"
        raise ArgumentError("register_extern", fact, advice='such as ("float32", ("float32",))')
    result, arguments = signature
    prototype = ctypes.CFUNCTYPE(_ctype(result), *map(_ctype, arguments))
    thunk = prototype(_guarded(function))
    return Extern(name, ctypes.cast(thunk, ctypes.c_void_p).value or 0, thunk)


def _guarded(function: Callable[..., object]) -> Callable[..., object]:
    def call(*arguments: object) -> object:
        try:
            return function(*arguments)
        except BaseException as error:  # it must not cross the compiled frames
            _raised.append(error)
            return 0

    return call


def _ctype(name: str | DType) -> type:
    dtype = dtype_of(name)
    table = _FLOATS if dtype.kind is Kind.FLOAT else _INTS if dtype.kind is Kind.INT else _UINTS
    found = ctypes.c_bool if dtype.kind is Kind.BOOL else table.get(dtype.bits)
    if found is None:
        raise ArgumentError("register_extern", f"{dtype} cannot be passed by value", advice="float32")
    return found


def extern_names(functions: Iterable[Function]) -> tuple[str, ...]:
    """Give the names that functions call and that are no intrinsics, in order of first appearance."""
    calls = (call for f in functions for call in of_kind(f.body, Call))
    return tuple(dict.fromkeys(call.name for call in calls if call.name not in INTRINSICS))


def registered(names: Iterable[str]) -> dict[str, Extern]:
    """Give those of the names that were registered."""
    return {name: _externs[name] for name in names if name in _externs}


def refuse_unknown(names: Iterable[str]) -> None:
    """Raise CodegenError for a name that is neither registered nor a symbol of the process."""
    process = ctypes.CDLL(None)
    for name in names:
        if name not in _externs and not hasattr(process, name):
            advice = f"runtime.externs.register_extern({name!r}, ...)"
            raise CodegenError("load", f"no function called {name} is known", advice=advice)


def raise_pending() -> None:
    """Raise what a Python function called by a kernel raised, if one did."""
    if _raised:
        error = _raised[0]
        _raised.clear()
        raise error
