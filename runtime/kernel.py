"""Compiled functions that can be called with arrays."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import NoReturn

from .arguments import ArgumentCheck, slot_format
from .externs import raise_pending
from .library import library
from .pool import check_threads
from .signature import ArrayParam, ScalarParam, Signature
from .timing import Timing, measure

_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_char_p)  # releases the GIL
_LIMITED = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32)
_CALL_THERE = struct.Struct("QQQQ")  # slots of `tilewright_call_there`


class Kernel:
    """A compiled function.

    signature  its parameters
    entry      address of `i32 entry(ptr argv)`, which takes the arguments from 8-byte slots
    """

    def __init__(self, signature: Signature, entry: int, owner: object, limited: int = 0) -> None:
        """Wrap machine code.

        owner    keeps the code in memory
        limited  address of `tilewright_call` of the library that the code runs its loops on, 0 for the process's
        """
        self.signature, self.entry, self._owner = signature, entry, owner
        self._check = ArgumentCheck(signature)
        self._pack = struct.Struct("".join(map(_slot, (*signature.params, *signature.sizes)))).pack
        self._enter = _ENTRY(entry)
        self._there = limited
        self._enter_limited = _LIMITED(limited or library().addresses["tilewright_call"])

    @property
    def name(self) -> str:
        """Give the function's name."""
        return self.signature.name

    def __repr__(self) -> str:
        return f"<kernel {self.signature}>"

    def __call__(self, *arguments: object, threads: int | None = None) -> None:
        """Run the kernel on arrays and numbers, in the order of its parameters, outputs included.

        threads  for its parallel loops, in this call; None for what `set_num_threads` says
        Raises ArgumentError, with nothing written, for arguments that do not fit; MemoryError where there is no memory
        for scratch.
        """
        values, _held = self._check(arguments)  # the arrays live until the kernel has run
        slots = self._pack(*values)
        if threads is None:
            status = self._enter(slots)
        else:
            status = self._enter_limited(self.entry, slots, check_threads(self.name, threads))
        if status:
            fail(self.name, status)
        raise_pending()

    def bind(self, *arguments: object, threads: int | None = None) -> BoundCall:
        """Check arguments once and give a call without arguments.

        The arrays must keep their memory (no `resize`) as long as the bound call is used; it holds references to them.
        """
        if threads is not None:
            threads = check_threads(self.name, threads)
        values, arrays = self._check(arguments)
        slots = self._pack(*values)
        if threads is None or not self._there:
            return BoundCall(self.name, self.entry, slots, (self, *arrays), threads or 0)
        entry = library().addresses["tilewright_call_there"]
        outer = _CALL_THERE.pack(self._there, self.entry, _address(slots), threads)
        return BoundCall(self.name, entry, outer, (self, slots, *arrays), 0)

    def time_evaluator(
        self, number: int = 10, repeat: int = 1, min_repeat_ms: float = 0.0, flush_bytes: int = 0
    ) -> Callable[..., Timing]:
        """Give a function that takes the kernel's arguments and gives its times, as `timing.measure` describes."""

        def evaluate(*arguments: object, threads: int | None = None) -> Timing:
            return measure(self.bind(*arguments, threads=threads), number, repeat, min_repeat_ms, flush_bytes)

        return evaluate


class BoundCall:
    """A kernel with its arguments, checked and ready: `bound()` runs it.

    name, entry, argv, threads  what `timing` needs; argv is the address of the argument slots
    """

    __slots__ = ("_enter", "_kept", "_slots", "argv", "entry", "name", "threads")

    def __init__(self, name: str, entry: int, slots: bytes, kept: tuple[object, ...], threads: int) -> None:
        """Hold what a call needs; `kept` keeps the code and the arrays in memory."""
        self.name, self.entry, self.threads = name, entry, threads
        self.argv = _address(slots)
        self._slots, self._kept = slots, kept
        self._enter = _ENTRY(entry)

    def __call__(self) -> None:
        """Run the kernel; raises as the kernel does."""
        if self.threads:
            status = library().functions["tilewright_call"](self.entry, self.argv, self.threads)
        else:
            status = self._enter(self._slots)
        if status:
            fail(self.name, status)
        raise_pending()


def _address(slots: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(slots), ctypes.c_void_p).value or 0


def fail(name: str, status: int) -> NoReturn:
    """Raise what a status other than 0 means."""
    raise_pending()
    raise MemoryError(f"{name}: status {status}, no memory for the scratch it needs")


def _slot(param: ArrayParam | ScalarParam) -> str:
    match param:
        case ArrayParam():
            return "Q"
        case ScalarParam(_, dtype):
            return slot_format(dtype)
