"""The device language's CUDA bodies, and of these the ones that a text uses.

Emitted text includes no header.  It calls names that begin with `tw_` or `TW_`, which the files in device/ define by
inline PTX.  A name that ends in an underscore is private to these files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

WGMMA_WIDTHS = range(8, 257, 8)  # columns of the result
STACK_BYTES = {"tw_sin": 40, "tw_cos": 40, "tw_tan": 40}  # at most: for the reduction of huge arguments

_NAME = re.compile(r"\b(?:tw|TW)_\w*[A-Za-z0-9]\b")
_DEFINITION = re.compile(
    r"TW_DEVICE [\w ]+\*? (tw_\w*[a-z0-9])\(|^#define (TW_\w*[A-Z0-9])\b|struct(?: alignas\(.*\))? (tw_\w*[a-z0-9]) \{"
    r"|^typedef .* (tw_\w*[a-z0-9]);",
    re.MULTILINE,
)
_WGMMA = re.compile(r"\btw_wgmma_(b?f16)\s*<\s*(\w+)")


@dataclass(frozen=True, slots=True)
class Section:
    """One file of device/: its text, the public names that it defines, and the architecture that has them."""

    file: str
    needs: str  # "sm_80" or newer; an "a" at its end means that very architecture

    @property
    def text(self) -> str:
        """The CUDA C++ of this section."""
        return _text(self.file)

    @property
    def names(self) -> frozenset[str]:
        """The public names that this section defines."""
        return _names(self.file)


SECTIONS = (  # each may use the ones before it
    Section("core.cuh", "sm_80"),
    Section("math.cuh", "sm_80"),
    Section("cp_async.cuh", "sm_80"),
    Section("mma.cuh", "sm_80"),
    Section("hopper.cuh", "sm_90a"),
    Section("wgmma.cuh", "sm_90a"),
)


@cache
def _text(file: str) -> str:
    return files(__name__.rpartition(".")[0]).joinpath("device", file).read_text("utf-8")


@cache
def _names(file: str) -> frozenset[str]:
    return frozenset(name for match in _DEFINITION.finditer(_text(file)) for name in match.groups() if name)


def names() -> frozenset[str]:
    """Give every public name of the device language."""
    return frozenset().union(*(section.names for section in SECTIONS))


def sections_of(text: str) -> tuple[Section, ...]:
    """Give the sections that `text` needs, core first: those that define a name of it."""
    used = set(_NAME.findall(text))
    return tuple(s for s in SECTIONS if s is SECTIONS[0] or used & s.names)


def stack_bytes_of(text: str) -> int:
    """Give the bytes of stack that the functions in `text` may need for themselves."""
    return max((STACK_BYTES.get(name, 0) for name in _NAME.findall(text)), default=0)


def preamble_for(text: str) -> str:
    """Give what must stand before `text` for a CUDA compiler: only what it uses, because parsing takes time."""
    parts = [f'#line 1 "{section.file}"\n{section.text}' for section in sections_of(text)]
    return "\n".join([*parts, *_wgmma_steps(_WGMMA.findall(text))])


def _wgmma_steps(uses: Iterable[tuple[str, str]]) -> list[str]:
    """Give the bodies of the wgmma shapes in use; a width that is no literal brings all widths along."""
    shapes = {(kind, n) for kind, width in uses for n in WGMMA_WIDTHS if not width.isdigit() or int(width) == n}
    steps = [_wgmma_step(kind, n) for kind, n in sorted(shapes)]
    return ["#ifdef __CUDA_ARCH_FEAT_SM90_ALL", *steps, "#endif", ""] if steps else []


def _wgmma_step(kind: str, n: int) -> str:
    """Give the body for one element type and width: each thread holds n / 2 elements of the (64, n) result."""
    count = n // 2
    places = ", ".join(f"%{k}" for k in range(count))
    registers = ", ".join(f'"+f"(d[{k}])' for k in range(count))
    a, b, scale, trans_a, trans_b = (f"%{count + k}" for k in range(5))
    return f"""template <> struct tw_wgmma_step_<tw_{kind}, {n}> {{
    template <int TRANS_A, int TRANS_B>
    TW_DEVICE static void issue(float (&d)[{count}], unsigned long long a, unsigned long long b, int scale_d) {{
        asm volatile("{{\\n.reg .pred p;\\nsetp.ne.b32 p, {scale}, 0;\\n"
                     "wgmma.mma_async.sync.aligned.m64n{n}k16.f32.{kind}.{kind} {{{places}}},"
                     " {a}, {b}, p, 1, 1, {trans_a}, {trans_b};\\n}}"
                     : {registers}
                     : "l"(a), "l"(b), "r"(scale_d), "n"(TRANS_A), "n"(TRANS_B));
    }}
}};"""
