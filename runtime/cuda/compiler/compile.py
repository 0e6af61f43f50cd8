"""Kernels in the device language to cubins, on any machine: no GPU and no driver are needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from ....codegen.cuda.preamble import preamble_for, sections_of, stack_bytes_of
from ....ir.errors import CompileError, TargetError
from ....ir.settings import settings
from .cubin_cache import CubinCache
from .nvcc import find_nvcc
from .nvrtc import find_nvrtc
from .ptxas import Fault, Resources, read_faults, read_resources
from .refusal import Refusal

SOURCE = "kernel.cu"  # the name by which compilers speak of our text
CONTEXT = 2  # lines of it shown before and after the offending one
LOG_LINES = 12  # of a log without a place in our text

_ARCH = re.compile(r"sm_(\d+)(a?)")
_PLACE = re.compile(r"kernel\.cu\((\d+)\)|at line (\d+) of kernel\.cu")
_MESSAGE = re.compile(r"\berror *:\s*(.*)")


class Compiler(Protocol):
    """What gives cubins: NVRTC or nvcc."""

    @property
    def identity(self) -> str:
        """Name and version, which decide what a text becomes."""
        ...

    def compile(self, text: str, arch: str, options: Sequence[str]) -> tuple[bytes, str]:
        """Give the cubin and the log, or raise Refusal."""
        ...

    def ptx(self, text: str, arch: str) -> str:
        """Give the PTX, or raise Refusal."""
        ...


@dataclass(frozen=True, slots=True)
class Cubin:
    """Machine code of kernels for one architecture.

    log        what the compiler printed
    resources  by kernel
    faults     what makes kernels slow; a search drops candidates that have any
    """

    code: bytes
    arch: str
    log: str
    resources: Mapping[str, Resources]
    faults: tuple[Fault, ...]


_FINDERS: dict[str, Callable[[], Compiler | None]] = {"nvrtc": find_nvrtc, "nvcc": find_nvcc}


def compile_cubin(text: str, arch: str, *, options: Sequence[str] = ()) -> Cubin:
    """Compile kernels in the device language, whose definitions are put before them.

    arch     "sm_80", "sm_90a", ...
    options  of NVRTC, such as "-DTW_BOUNDED_SPIN=1000000", after which waits for a tensor copy trap
    Raises TargetError where no compiler is found or `arch` lacks what the text uses, CompileError for text that the
    compiler refuses.
    """
    _check_arch(text, arch)
    compiler = find_compiler()
    cache = _disk_cache()
    source = _source(text)
    key = cache.key([compiler.identity, arch, *options, source])
    found = cache.get(key)
    if found is None:
        try:
            found = compiler.compile(source, arch, options)
        except Refusal as refusal:
            raise _error(refusal.log, text, arch, compiler) from None
        cache.put(key, *found)
    return read_cubin(*found, text, arch)


def read_cubin(code: bytes, log: str, text: str, arch: str) -> Cubin:
    """Give what a compiler made of a text, with what its log says of it."""
    resources = read_resources(log)
    return Cubin(code, arch, log, resources, read_faults(log, resources, stack_bytes_of(text)))


def compile_ptx(text: str, arch: str) -> str:
    """Give the PTX that kernels in the device language become, for people to read.  Raises as `compile_cubin` does."""
    _check_arch(text, arch)
    compiler = find_compiler()
    try:
        return compiler.ptx(_source(text), arch)
    except Refusal as refusal:
        raise _error(refusal.log, text, arch, compiler) from None


def _source(text: str) -> str:
    """Put the definitions that a text needs before it."""
    return f'{preamble_for(text)}\n#line 1 "{SOURCE}"\n{text}'


def find_compiler() -> Compiler:
    """Give NVRTC, else nvcc, or the one that the settings choose.  Raises TargetError where there is none."""
    chosen = settings().cuda_compiler
    wanted = [chosen] if chosen != "auto" else list(_FINDERS)
    for name in wanted:
        compiler = _FINDERS[name]()
        if compiler is not None:
            return compiler
    raise TargetError(
        "compile",
        f"no CUDA compiler: {' and '.join(wanted)} not found",
        "  looked in TILEWRIGHT_CUDA_HOME, this Python's wheels, /usr/local/cuda*, /opt/cuda, and the system's paths",
        "pip install 'nvidia-cuda-nvrtc==13.0.*' (90 MB; needs no GPU, no driver and no host compiler), or install the "
        "CUDA toolkit; emulation on the CPU needs neither",
    )


def _check_arch(text: str, arch: str) -> None:
    parsed = _ARCH.fullmatch(arch)
    if parsed is None or int(parsed[1]) < 80:
        raise TargetError("compile", f"cannot compile for {arch!r}", advice="sm_80 or newer, such as sm_90a")
    for section in sections_of(text):
        if section.needs.endswith("a") and arch != section.needs:
            used = ", ".join(sorted(name for name in section.names if re.search(rf"\b{name}\b", text)))
            raise TargetError(
                "compile", f"{arch} lacks {used}", advice=f"a schedule without these, or the target {section.needs}"
            )


@cache
def _disk_cache() -> CubinCache:
    chosen = settings()
    return CubinCache(Path(chosen.cache).expanduser() / "cubins", chosen.cache_mb * 1_000_000)


def _error(log: str, text: str, arch: str, compiler: Compiler) -> CompileError:
    """Make an error of a compiler's log that shows the first offending line of `text`."""
    message = _MESSAGE.search(log)
    place = _PLACE.search(log, log.rfind("\n", 0, message.start()) + 1) if message else None
    fact = message[1] if message else next(iter(log.splitlines()), "no message")
    shown = _excerpt(text, int(place[1] or place[2])) if place else _head(log)
    return CompileError(
        "compile",
        f"{compiler.identity} refuses the text for {arch}: {fact}",
        shown,
        "report this with the schedule: emitted text should always compile",
    )


def _head(log: str) -> str:
    return "\n".join(f"  {line}" for line in log.splitlines()[:LOG_LINES])


def _excerpt(text: str, number: int) -> str:
    """Give some lines of `text` around line `number`, which `>` marks."""
    lines = text.splitlines()
    around = range(max(number - 1 - CONTEXT, 0), min(number + CONTEXT, len(lines)))
    body = [f"{'>' if k == number - 1 else ' '} {k + 1:4} {lines[k]}" for k in around]
    return "\n".join([f"  line {number} of the kernel's text", *body])
