"""The functions that generated code calls by name: thread pool, allocator, timing."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from ..codegen.llvm.compile import ObjectCode, compile_ir
from ..ir.collector import at_rest
from ..ir.settings import settings
from ..ir.target import Target
from . import alloc_text, pool_text, timing_text
from .host import host_target
from .jit import load

PLACEMENTS = {"none": 0, "spread": 1, "pin": 2}  # of worker threads, by the setting's words
GENERATED_CODE_CALLS = ("tilewright_parallel_for", "tilewright_alloc", "tilewright_free")

_I32, _I64, _PTR = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
_SIGNATURES: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "tilewright_call": (_I32, (_PTR, _PTR, _I32)),
    "tilewright_call_there": (_I32, (_PTR,)),
    "tilewright_time": (_I64, (_PTR, _PTR, _I64, _I32)),
    "tilewright_sweep": (None, (_PTR, _I64)),
    "tilewright_parallel_for": (_I32, (_PTR, _PTR, _I64)),
    "tilewright_alloc": (_PTR, (_I64, _I64)),
    "tilewright_free": (None, (_PTR,)),
    "tilewright_trim": (None, ()),
    "tilewright_cached_bytes": (_I64, ()),
    "tilewright_get_num_threads": (_I32, ()),
    "tilewright_set_num_threads": (None, (_I32,)),
    "tilewright_set_spin_us": (None, (_I32,)),
    "tilewright_set_placement": (None, (_I32,)),
    "tilewright_set_grain": (None, (_I64,)),
}
EXPORTS = tuple(_SIGNATURES)


@dataclass(frozen=True, slots=True)
class Library:
    """The loaded functions, by name, and their addresses."""

    addresses: dict[str, int]
    functions: dict[str, Callable[..., int]]


def library_text(target: Target) -> str:
    """Give the LLVM IR of the functions for `target`, whose triple is not blank.

    Linux on x86-64 and aarch64 gets the thread pool and the caching allocator; elsewhere loops run serially and
    scratch comes from `malloc`.
    """
    arch, _, system = target.triple.partition("-")
    head = f'target triple = "{target.triple}"\n'
    machine = pool_text.LINUX.get(arch) if "linux" in system else None
    if machine is not None:
        clock = timing_text.timing_text(timing_text.CLOCKS["linux"])
        return head + pool_text.pool_text(machine) + alloc_text.cached_text() + timing_text.ELAPSED + clock
    clock = timing_text.timing_text(timing_text.CLOCKS["darwin" if "darwin" in system else "linux"])
    return head + _SERIAL_HEAD + pool_text.SERIAL_TEXT + alloc_text.plain_text() + timing_text.ELAPSED + clock


_SERIAL_HEAD = """
%timespec = type { i64, i64 }
declare i32 @clock_gettime(i32, ptr)
"""


@cache
def library_code(target: Target, pic: bool = False) -> ObjectCode:
    """Give the functions compiled for `target`, `pic` for linking into a shared library.

    The first kernel of a process waits for them to be compiled: its own are compiled in a tenth of the time that tidy
    code takes, and are no slower but for some nanoseconds in a call.  They are position-independent, too: LLVM has no
    fast way to write calls and globals that may be anywhere in memory.
    """
    if pic:
        return compile_ir(library_text(target), target, pic=True)
    return compile_ir(library_text(target), _of_its_family(target), effort="least", pic=True)


def _of_its_family(target: Target) -> Target:
    """Give the plainest processor of the architecture where a newer one's code would be the same: it is sooner made."""
    return replace(target, cpu="", features="") if target.triple.startswith("x86_64") else target


@cache
def library() -> Library:
    """Give the functions in this process, set up as the environment says; they stay loaded until it ends."""
    with at_rest():
        loaded = load(library_code(host_target()).code, EXPORTS, {})
    loaded.keep()
    addresses = dict(loaded.addresses)
    functions = bind_functions(addresses)
    chosen = settings()
    functions["tilewright_set_spin_us"](chosen.spin_us)
    functions["tilewright_set_placement"](PLACEMENTS[chosen.pin])
    if chosen.num_threads:
        functions["tilewright_set_num_threads"](chosen.num_threads)
    return Library(addresses, functions)


def bind_functions(addresses: dict[str, int]) -> dict[str, Callable[..., int]]:
    """Give a callable for each function of a library, here or in a loaded shared one; calls release the GIL."""
    return {
        name: ctypes.CFUNCTYPE(result, *arguments)(addresses[name]) for name, (result, arguments) in _SIGNATURES.items()
    }
