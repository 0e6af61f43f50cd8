"""From a schedule to callable code: `build(s, [A, B, C])`."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from ..codegen.llvm.compile import ObjectCode, compile_ir
from ..codegen.llvm.emit import emit
from ..codegen.pipeline import lower as lower_for
from ..ir.collector import at_rest
from ..ir.errors import ArgumentError, CodegenError
from ..ir.expr import Var
from ..ir.settings import settings
from ..ir.stmt import Function
from ..ir.target import Target
from ..schedule.lower import lower
from ..schedule.schedule import Schedule
from ..te.tensor import Tensor
from . import trace
from .externs import extern_names
from .host import resolve
from .module import Module
from .signature import signature_of

if TYPE_CHECKING:
    from .cuda.device import Device
    from .cuda.module import CudaModule

CODEGEN_VERSION = 1  # part of the keys of caches and records; raised when the same nest gets other code


@dataclass(slots=True)
class CacheStats:
    """What the compile cache did since the process began or `clear_cache` was called."""

    hits: int = 0
    misses: int = 0
    entries: int = 0


_cache: OrderedDict[str, ObjectCode] = OrderedDict()
_stats = CacheStats()
_lock = threading.Lock()


def build(
    schedule: Schedule | Function | Sequence[Function],
    args: Sequence[Tensor | Var] | None = None,
    target: str | Target = "llvm",
    name: str = "main",
    effort: str = "auto",
    device: str | Device | None = None,
) -> Module | CudaModule:
    """Compile a schedule, or functions that are lowered already, and load the code.

    args    the kernel's parameters, for a schedule: its inputs and outputs, and sizes
    name    of the kernel, for a schedule: an identifier of C, since C calls it by that
    effort  "quick" for candidates, "full" for all that LLVM can do, "auto" for that only where the schedule has left
            something to do; CUDA has only one
    device  that runs CUDA kernels: None for the first GPU, or "emulate" for the CPU; see `runtime/cuda/devices.py`
    Raises ScheduleError and CodegenError for what cannot be lowered or expressed, ArgumentError for a name that C does
    not take.
    """
    with at_rest():
        functions = _functions(schedule, args, name)
        for function in functions:
            check_name(function.name)
        return _built(functions, target, effort, device)


def _built(
    functions: Sequence[Function], target: str | Target, effort: str, device: str | Device | None
) -> Module | CudaModule:
    full_target = Target.parse(target)
    builder = _BUILDERS.get(full_target.kind)
    if builder is None:
        fact = f"no code for target kind {full_target.kind!r}"
        raise CodegenError("build", fact, advice=f"one of {', '.join(_BUILDERS)}")
    return builder(functions, full_target, effort, device)


def _build_llvm(functions: Sequence[Function], target: Target, effort: str, device: object) -> Module:
    if device is not None:
        raise ArgumentError("build", f"device={device!r} for target kind 'llvm'", advice="a CUDA target, or no device")
    full_target = resolve(target)
    code = compile_functions(functions, full_target, effort)
    signatures = tuple(map(signature_of, functions))
    recompile = _Recompile(tuple(functions), full_target, effort)
    return Module(code, signatures, full_target, extern_names(functions), recompile)


def _build_cuda(functions: Sequence[Function], target: Target, _effort: str, device: str | Device | None) -> CudaModule:
    from .cuda.build import build_cuda  # most programs need none of it

    return build_cuda(functions, target, device)


_BUILDERS = {"llvm": _build_llvm, "cuda": _build_cuda}


def compile_functions(
    functions: Sequence[Function], target: Target, effort: str = "auto", pic: bool = False
) -> ObjectCode:
    """Compile functions for a target without blanks; what was compiled before comes from the cache."""
    key = cache_key(functions, target, effort, pic)
    with _lock:
        found = _cache.get(key)
        if found is not None:
            _stats.hits += 1
            _cache.move_to_end(key)
            return found
        _stats.misses += 1
    began = perf_counter()
    trace.show_nests(functions)
    text = emit([lower_for(f, target, trace.show_pass) for f in functions], target)
    code = compile_ir(text, target, effort=effort, pic=pic)
    trace.show_code(functions, code, perf_counter() - began)
    with _lock:
        _cache[key] = code
        while len(_cache) > settings().cache_entries:
            _cache.popitem(last=False)
    return code


def cache_key(functions: Sequence[Function], target: Target, effort: str, pic: bool = False) -> str:
    """Give a hash of all that the machine code depends on."""
    parts = [str(CODEGEN_VERSION), repr(target), effort, str(pic), *map(str, functions)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def cache_stats() -> CacheStats:
    """Give a copy of the compile cache's counters."""
    with _lock:
        return CacheStats(_stats.hits, _stats.misses, len(_cache))


def clear_cache() -> None:
    """Forget all compiled code; loaded modules stay usable."""
    with _lock:
        _cache.clear()
        _stats.hits = _stats.misses = 0


def check_name(name: str) -> None:
    """Raise ArgumentError unless C can call a kernel by `name`, which is a symbol of exported libraries."""
    if type(name) is not str or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
        fact, cleaned = f"the name {name!r} is no identifier of C", re.sub(r"\W", "_", str(name), flags=re.ASCII)
        advice = f"letters, digits and _, such as {cleaned if cleaned[:1].isalpha() else f'kernel_{cleaned}'!r}"
        raise ArgumentError("build", fact, advice=advice)
    if name.startswith("tilewright_"):
        raise ArgumentError("build", f"the name {name!r} is one of the runtime's", advice="one that begins otherwise")


@dataclass(frozen=True, slots=True)
class _Recompile:
    """Compiles the module's functions again, as a shared library needs them."""

    functions: tuple[Function, ...]
    target: Target
    effort: str

    def __call__(self) -> ObjectCode:
        return compile_functions(self.functions, self.target, self.effort, pic=True)


def _functions(
    schedule: Schedule | Function | Sequence[Function], args: Sequence[Tensor | Var] | None, name: str
) -> list[Function]:
    match schedule:
        case Schedule():
            if args is None:
                raise ArgumentError("build", "a schedule needs args", advice="build(s, [A, B, C])")
            return [lower(schedule, args, name)]
        case Function():
            return [schedule]
    functions: list[Function] = list(schedule) if isinstance(schedule, Sequence) else [schedule]
    others = [type(f).__name__ for f in functions if type(f) is not Function]
    if others:
        raise ArgumentError("build", f"a {others[0]} is given", advice="a schedule, or what lower(s, args) gives")
    names = [f.name for f in functions]
    twins = sorted({n for n in names if names.count(n) > 1})
    if twins or not functions:
        fact = f"two functions are called {twins[0]}" if twins else "no functions"
        raise ArgumentError("build", fact, advice="functions with names of their own")
    return functions
