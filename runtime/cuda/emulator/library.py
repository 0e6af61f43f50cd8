"""The runtime of the emulator, loaded: structures and functions that `machine.h` declares."""

from __future__ import annotations

import ctypes
from functools import cache
from threading import RLock
from typing import Any

from .toolchain import runtime_library

LOCK = RLock()  # the runtime holds one launch at a time; the garbage collector may give memory back at any point of it

_Triple = ctypes.c_int * 3


class Request(ctypes.Structure):
    """One launch, as the runtime reads it."""

    _fields_ = (
        ("grid", _Triple),
        ("block", _Triple),
        ("cluster", _Triple),
        ("shared_bytes", ctypes.c_int),
        ("order", ctypes.c_int),
        ("latest", ctypes.c_int),
        ("seed", ctypes.c_uint64),
    )


class FaultRecord(ctypes.Structure):
    """What the runtime tells of a fault; kind 0 is none."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("line", ctypes.c_int),
        ("other_line", ctypes.c_int),
        ("block", _Triple),
        ("thread", _Triple),
        ("fact", ctypes.c_char * 400),
    )


@cache
def runtime() -> Any:
    """Give the runtime, compiled at the first call on this machine; kernels find its functions by name.

    Raises TargetError where there is no C++ compiler.
    """
    library = ctypes.CDLL(str(runtime_library()), mode=ctypes.RTLD_GLOBAL)
    library.twe_allocate.restype = ctypes.c_uint64
    library.twe_allocate.argtypes = (ctypes.c_uint64,)
    library.twe_free.argtypes = (ctypes.c_uint64,)
    library.twe_extent.restype = ctypes.c_uint64
    library.twe_extent.argtypes = (ctypes.c_uint64,)
    library.twe_mark.restype = None
    library.twe_mark.argtypes = (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int)
    library.twe_run.argtypes = (
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.POINTER(Request),
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.POINTER(FaultRecord),
    )
    return library
