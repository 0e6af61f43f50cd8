"""Which instruction sets a target surely has.

LLVM ends the process when it must select an instruction that the target lacks, so doubt means no.  LLVM's own tables
say what a processor of a name has, but its C interface does not: hence these, for what code generation asks about.
"""

from __future__ import annotations

from functools import cache

from ...ir.target import Target

_AVX512_VNNI = frozenset({
    "cascadelake", "cooperlake", "icelake-client", "icelake-server", "rocketlake", "tigerlake", "sapphirerapids",
    "emeraldrapids", "graniterapids", "graniterapids-d", "diamondrapids", "znver4", "znver5",
})  # fmt: skip
_AVX512_VBMI = (_AVX512_VNNI | {"cannonlake"}) - {"cascadelake", "cooperlake"}
_AVX512 = _AVX512_VNNI | {"x86-64-v4", "skylake-avx512", "skx", "cannonlake"}
_AVX_VNNI = frozenset({
    "alderlake", "raptorlake", "meteorlake", "gracemont", "arrowlake", "arrowlake-s", "lunarlake", "pantherlake",
    "sierraforest", "grandridge", "clearwaterforest", "sapphirerapids", "emeraldrapids", "graniterapids",
    "graniterapids-d", "diamondrapids", "znver5",
})  # fmt: skip
_AVX2 = _AVX512 | _AVX_VNNI | {
    "x86-64-v3", "haswell", "core-avx2", "broadwell", "skylake", "znver1", "znver2", "znver3",
}  # fmt: skip
_AVX = _AVX2 | {"sandybridge", "corei7-avx", "ivybridge", "core-avx-i"}
_NEON_DOT = frozenset({
    "cortex-a55", "cortex-a75", "cortex-a76", "cortex-a77", "cortex-a78", "cortex-a78c", "cortex-a510", "cortex-a710",
    "cortex-a715", "cortex-a720", "cortex-x1", "cortex-x2", "cortex-x3", "cortex-x4", "neoverse-n1", "neoverse-n2",
    "neoverse-n3", "neoverse-v1", "neoverse-v2", "neoverse-v3", "ampere1", "ampere1a", "apple-a13", "apple-a14",
    "apple-m1", "apple-m2", "apple-m3", "apple-m4",
})  # fmt: skip

CPUS_WITH = {
    "avx": _AVX,
    "avx2": _AVX2,
    "f16c": _AVX - {"sandybridge", "corei7-avx"},
    "fma": _AVX2,
    "avx512f": _AVX512,
    "avx512bw": _AVX512,
    "avx512dq": _AVX512,
    "avx512vl": _AVX512,
    "avx512vbmi": _AVX512_VBMI,
    "avx512vnni": _AVX512_VNNI,
    "avxvnni": _AVX_VNNI,
    "dotprod": _NEON_DOT,
}
"""For each feature by LLVM's name, the processors by LLVM's names; not all of them."""

_UNDER_AVX512 = ("avx2", "fma", "f16c", "avx")
_NEEDS = {  # a feature switches on what it builds on, and is off when one of that is switched off
    "avx2": ("avx",),
    "f16c": ("avx",),
    "fma": ("avx",),
    "avx512f": _UNDER_AVX512,
    "avx512bw": ("avx512f", *_UNDER_AVX512),
    "avx512dq": ("avx512f", *_UNDER_AVX512),
    "avx512vl": ("avx512f", *_UNDER_AVX512),
    "avx512vbmi": ("avx512bw", "avx512f", *_UNDER_AVX512),
    "avx512vnni": ("avx512f", *_UNDER_AVX512),
    "avxvnni": ("avx2", "avx"),
}
_X86 = ("x86_64", "i686", "i386")
_AARCH64 = ("aarch64", "arm64")


@cache
def has(target: Target, feature: str) -> bool:
    """Tell whether `target` surely has one of the features of `CPUS_WITH`."""
    switches = switched(target.features)
    if any(not switches.get(need, True) for need in _NEEDS.get(feature, ())):
        return False
    if feature in switches:
        return switches[feature]
    builders = (other for other, needs in _NEEDS.items() if feature in needs)
    return target.cpu in CPUS_WITH[feature] or any(has(target, other) for other in builders)


def switched(features: str) -> dict[str, bool]:
    """Give what a feature string such as "+avx2,-avx512f" switches on or off."""
    return {word[1:]: word[0] == "+" for word in features.split(",") if word[:1] in ("+", "-")}


def is_x86(target: Target) -> bool:
    """Tell whether the target has the instructions of x86, and SSE2 in its 64-bit form."""
    return target.triple.split("-")[0] in _X86


def is_aarch64(target: Target) -> bool:
    """Tell whether the target has the instructions of AArch64, and so NEON."""
    return target.triple.split("-")[0] in _AARCH64


def converts_half(target: Target) -> bool:
    """Tell whether float16 is converted by an instruction; elsewhere LLVM would call a function of the C compiler."""
    return is_aarch64(target) or (is_x86(target) and has(target, "f16c"))
