"""A machine to compile for, as data."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from .errors import TargetError
from .gpu import GPUS, Gpu

KINDS = ("llvm", "c", "cuda")
WIDTHS = (64, 128, 256, 512, 1024, 2048)  # bits of vector registers


@dataclass(frozen=True, slots=True)
class Target:
    """What code generation must know of a machine; equal targets give equal code.

    kind          "llvm", "c" or "cuda"
    triple        LLVM target triple, or "" for the host's
    cpu           LLVM name of the processor, or "" for the host's ("generic" for none in particular)
    features      LLVM feature string such as "+avx2,-avx512f" on top of the processor's own
    vector_bits   width in bits of the vector registers, or 0 for the processor's widest
    registers     vector registers, or 0 for the processor's number
    arch          the GPU's architecture such as "sm_90a", or "" for that of the GPU at hand; of kind "cuda"
    """

    kind: str = "llvm"
    triple: str = ""
    cpu: str = ""
    features: str = ""
    vector_bits: int = 0
    registers: int = 0
    arch: str = ""

    @classmethod
    def parse(cls, text: str | Target) -> Target:
        """Read `llvm -mcpu=skylake-avx512 -mattr=+avx512vnni -mtriple=... -vector-width=512` or `cuda -arch=sm_90a`.

        Raises TargetError for an unknown kind, option or architecture, for widths and numbers of registers that there
        are not, and for an architecture of anything but a GPU.
        """
        if isinstance(text, Target):
            return text
        if type(text) is not str:
            fact = f"{text!r} is a {type(text).__name__}"
            raise TargetError("target", fact, advice='text such as "llvm" or "llvm -mcpu=znver4"')
        words = shlex.split(text)
        if not words or words[0] not in KINDS:
            raise TargetError("target", f"unknown kind in {text!r}", advice=f"begin with one of {', '.join(KINDS)}")
        options = dict(_option(text, word) for word in words[1:])
        if "arch" in options and words[0] != "cuda":
            raise TargetError("target", f"-arch names a GPU, in {text!r}", advice="-mcpu=... names a processor")
        return cls(kind=words[0], **options)  # type: ignore[arg-type]

    @property
    def gpu(self) -> Gpu:
        """Give the limits of the GPU.  Raises TargetError for a target that names none."""
        if not self.arch:
            raise TargetError("target", f"{str(self)!r} names no GPU", advice='an architecture: "cuda -arch=sm_80"')
        return GPUS[_arch(self.arch)]

    def __str__(self) -> str:
        words = [self.kind]
        for flag, (field, _) in _OPTIONS.items():
            value = getattr(self, field)
            if value:
                words.append(f"-{flag}={value}")
        return " ".join(words)


def _arch(name: str) -> str:
    if name not in GPUS:
        raise TargetError("target", f"unknown architecture {name!r}", advice=f"one of {', '.join(GPUS)}")
    return name


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"{number} is less than 1")
    return number


def _bits(text: str) -> int:
    number = _positive(text)
    if number not in WIDTHS:
        raise ValueError(f"vectors have {', '.join(map(str, WIDTHS))} bits")
    return number


_OPTIONS = {
    "mtriple": ("triple", str),
    "mcpu": ("cpu", str),
    "mattr": ("features", str),
    "vector-width": ("vector_bits", _bits),
    "registers": ("registers", _positive),
    "arch": ("arch", _arch),
}


def _option(text: str, word: str) -> tuple[str, str | int]:
    flag, _, value = word.lstrip("-").partition("=")
    if flag not in _OPTIONS or not value:
        known = ", ".join(f"-{name}=..." for name in _OPTIONS)
        raise TargetError("target", f"unknown option {word!r} in {text!r}", advice=f"options are {known}")
    field, convert = _OPTIONS[flag]
    try:
        return field, convert(value)
    except ValueError as error:
        raise TargetError(
            "target", f"{word!r}: {error}", advice="a number, as in -vector-width=512 -registers=32"
        ) from None
