"""NVRTC, the CUDA compiler that is a library: needs no host compiler, no driver and no GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .refusal import Refusal
from .toolkit import library_files

_STRINGS = POINTER(c_char_p)
_PROTOTYPES = {
    "nvrtcVersion": (POINTER(c_int), POINTER(c_int)),
    "nvrtcCreateProgram": (POINTER(c_void_p), c_char_p, c_char_p, c_int, _STRINGS, _STRINGS),
    "nvrtcDestroyProgram": (POINTER(c_void_p),),
    "nvrtcCompileProgram": (c_void_p, c_int, _STRINGS),
    "nvrtcGetProgramLogSize": (c_void_p, POINTER(c_size_t)),
    "nvrtcGetProgramLog": (c_void_p, c_void_p),
    "nvrtcGetCUBINSize": (c_void_p, POINTER(c_size_t)),
    "nvrtcGetCUBIN": (c_void_p, c_void_p),
}
_COMPILATION = 6  # NVRTC_ERROR_COMPILATION: the log says what is wrong with the text


@dataclass(frozen=True, slots=True)
class Nvrtc:
    """A loaded NVRTC library."""

    path: str
    library: ctypes.CDLL

    @property
    def identity(self) -> str:
        """Name and version, which decide what a text becomes."""
        major, minor = c_int(), c_int()
        self._check(self.library.nvrtcVersion(byref(major), byref(minor)))
        return f"nvrtc {major.value}.{minor.value}"

    def compile(self, text: str, arch: str, options: Sequence[str]) -> tuple[bytes, str]:
        """Give the cubin of CUDA C++ for `arch`, such as "sm_90a", and the log.  Raises Refusal with the log."""
        return self._compile(text, arch, options, "CUBIN")

    def ptx(self, text: str, arch: str) -> str:
        """Give the PTX of CUDA C++ for `arch`.  Raises Refusal with the log."""
        return self._compile(text, arch, (), "PTX")[0].rstrip(b"\0").decode()

    def _compile(self, text: str, arch: str, options: Sequence[str], product: str) -> tuple[bytes, str]:
        flags = [f"--gpu-architecture={arch}", "--std=c++17", "--ptxas-options=-v", *options]
        handle = c_void_p()
        self._check(self.library.nvrtcCreateProgram(byref(handle), text.encode(), b"kernel.cu", 0, None, None))
        try:
            words = (c_char_p * len(flags))(*(flag.encode() for flag in flags))
            status = self.library.nvrtcCompileProgram(handle, len(flags), words)
            log = self._read(handle, "ProgramLog").rstrip(b"\0").decode(errors="replace")
            if status == 0:
                return self._read(handle, product), log
            raise Refusal(log if status == _COMPILATION else f"{self._name(status)}\n{log}")
        finally:
            self.library.nvrtcDestroyProgram(byref(handle))

    def _read(self, handle: c_void_p, what: str) -> bytes:
        size = c_size_t()
        self._check(getattr(self.library, f"nvrtcGet{what}Size")(handle, byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self.library, f"nvrtcGet{what}")(handle, buffer))
        return buffer.raw

    def _check(self, status: int) -> None:
        if status:
            raise Refusal(self._name(status))

    def _name(self, status: int) -> str:
        return self.library.nvrtcGetErrorString(status).decode()


@cache
def find_nvrtc() -> Nvrtc | None:
    """Give the first NVRTC that can be loaded, or None: of a toolkit, or by the loader's own search."""
    for file in (*library_files("nvrtc"), *(Path(f"libnvrtc.so{end}") for end in (".13", ".12", ""))):
        library = _load(str(file))
        if library is not None:
            return Nvrtc(str(file), library)
    return None


def _load(name: str) -> ctypes.CDLL | None:
    try:
        for builtins in Path(name).parent.glob("libnvrtc-builtins.so.*") if Path(name).is_absolute() else ():
            ctypes.CDLL(str(builtins))  # NVRTC opens them by their bare name, which the loader then knows
        library = ctypes.CDLL(name)
    except OSError:
        return None
    for function, arguments in _PROTOTYPES.items():
        getattr(library, function).argtypes = arguments
    library.nvrtcGetErrorString.restype = c_char_p
    return library
