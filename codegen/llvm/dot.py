"""Sums of four products of bytes, four bytes to a 32-bit lane: the step of an int8 matrix product.

Where the processor has VNNI it is one `vpdpbusd` for each register; elsewhere the bytes are widened, and all products
and sums are exact in 32 bits (the older `pmaddubsw` would saturate).
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.target import Target
from .maths import MathsFunction

_AVX512_VNNI = frozenset({
    "cascadelake", "cooperlake", "icelake-client", "icelake-server", "rocketlake", "tigerlake", "sapphirerapids",
    "emeraldrapids", "graniterapids", "graniterapids-d", "diamondrapids", "znver4", "znver5",
})  # fmt: skip
_AVX_VNNI = frozenset({
    "alderlake", "raptorlake", "meteorlake", "gracemont", "arrowlake", "arrowlake-s", "lunarlake", "pantherlake",
    "sierraforest", "grandridge", "clearwaterforest", "sapphirerapids", "emeraldrapids", "graniterapids",
    "graniterapids-d", "diamondrapids", "znver5",
})  # fmt: skip
_CPUS_WITH = {"avx512vnni": _AVX512_VNNI, "avx512vl": _AVX512_VNNI, "avxvnni": _AVX_VNNI}
_NEEDS = {  # a feature is off when one that it builds on is switched off
    "avx512vnni": ("avx512f", "avx2", "avx"),
    "avx512vl": ("avx512f", "avx2", "avx"),
    "avxvnni": ("avx2", "avx"),
}


def has(target: Target, feature: str) -> bool:
    """Tell whether `target` surely has `feature`: "avx512vnni", "avx512vl" or "avxvnni".

    LLVM ends the process when it must select an instruction that the target lacks, so doubt means no.
    """
    switches = {word[1:]: word[0] == "+" for word in target.features.split(",") if word[:1] in ("+", "-")}
    if any(not switches.get(need, True) for need in _NEEDS[feature]):
        return False
    return switches.get(feature, target.cpu in _CPUS_WITH[feature])


def register_lanes(target: Target) -> tuple[int, ...]:
    """Give the 32-bit lanes of the registers that `vpdpbusd` takes on `target`, widest first; none without VNNI."""
    wide = (16,) if has(target, "avx512vnni") else ()
    narrow = has(target, "avxvnni") or (bool(wide) and has(target, "avx512vl"))
    return wide + ((8, 4) if narrow else ())


def dot4(signed: bool, lanes: int, target: Target) -> MathsFunction:
    """Give the function (acc <lanes x i32>, a i32, b <4 * lanes x i8>) -> acc[l] + sum over r < 4 of a[r] * b[4l + r].

    signed  whether the four bytes of `a` are signed; those of `b` always are
    lanes   at least 2
    Sums wrap at 32 bits.
    """
    registers = register_lanes(target)
    symbol = f"@tw.dot4.{'s8s8' if signed else 'u8s8'}.v{lanes}i32"
    text = _Text()
    result = _by_vnni(text, signed, lanes, registers) if registers else _by_widening(text, signed, lanes)
    head = f"define internal <{lanes} x i32> {symbol}(<{lanes} x i32> %acc, i32 %a, <{4 * lanes} x i8> %b)"
    lines = [f"{head} alwaysinline nounwind {{", *text.lines, f"  ret <{lanes} x i32> {result}", "}"]
    return MathsFunction(symbol, "\n".join(lines) + "\n")


class _Text:
    """Instructions in order; each method adds one or two and gives the name of the value."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def emit(self, instruction: str) -> str:
        name = f"%t{len(self.lines)}"
        self.lines.append(f"  {name} = {instruction}")
        return name

    def shuffle(self, count: int, element: str, first: str, second: str, picks: list[int]) -> str:
        """Pick elements from two vectors of `count`; a negative pick leaves an element undefined."""
        kind, mask = f"<{count} x {element}>", ", ".join("i32 poison" if p < 0 else f"i32 {p}" for p in picks)
        return self.emit(f"shufflevector {kind} {first}, {kind} {second}, <{len(picks)} x i32> <{mask}>")

    def splat_bytes(self, word: str, lanes: int) -> str:
        """Give the four bytes of a 32-bit number, over and over."""
        single = self.emit(f"insertelement <{lanes} x i32> poison, i32 {word}, i64 0")
        words = self.shuffle(lanes, "i32", single, "poison", [0] * lanes)
        return self.emit(f"bitcast <{lanes} x i32> {words} to <{4 * lanes} x i8>")


@dataclass(frozen=True, slots=True)
class _Piece:
    """The part of a vector that one register takes: `used` lanes from `start` on, in a register of `width` lanes."""

    start: int
    used: int
    width: int

    def picks(self, per_lane: int) -> list[int]:
        """Give the elements of the whole vector in this register, with -1 for padding."""
        used = [self.start * per_lane + i for i in range(self.used * per_lane)]
        return used + [-1] * ((self.width - self.used) * per_lane)


def _pieces(lanes: int, registers: tuple[int, ...]) -> list[_Piece]:
    """Cut `lanes` into registers, the widest that fill first, the last one padded."""
    pieces, start = [], 0
    while start < lanes:
        width = next((r for r in registers if r <= lanes - start), registers[-1])
        pieces.append(_Piece(start, min(width, lanes - start), width))
        start += width
    return pieces


def _by_vnni(text: _Text, signed: bool, lanes: int, registers: tuple[int, ...]) -> str:
    result = "poison"
    for piece in _pieces(lanes, registers):
        acc = text.shuffle(lanes, "i32", "%acc", "poison", piece.picks(1))
        b = text.shuffle(4 * lanes, "i8", "%b", "poison", piece.picks(4))
        total = _signed_register(text, piece.width, acc, b) if signed else _register(text, piece.width, acc, "%a", b)
        spread = [at - piece.start if 0 <= at - piece.start < piece.used else -1 for at in range(lanes)]
        placed = text.shuffle(piece.width, "i32", total, "poison", spread)
        result = text.shuffle(
            lanes, "i32", result, placed, [at if p < 0 else lanes + at for at, p in enumerate(spread)]
        )
    return result


def _register(text: _Text, width: int, acc: str, word: str, b: str) -> str:
    words, octets = f"<{width} x i32>", f"<{4 * width} x i8>"
    a = text.splat_bytes(word, width)
    name = f"@llvm.x86.avx512.vpdpbusd.{32 * width}"
    return text.emit(f"call {words} {name}({words} {acc}, {octets} {a}, {octets} {b})")


def _signed_register(text: _Text, width: int, acc: str, b: str) -> str:
    """Take a + 128, which is unsigned, and subtract 128 times the sums of b, which depend on b alone."""
    excess = _register(text, width, "zeroinitializer", str(0x80808080 - (1 << 32)), b)
    less = text.emit(f"sub <{width} x i32> {acc}, {excess}")
    shifted = text.emit(f"xor i32 %a, {0x80808080 - (1 << 32)}")
    return _register(text, width, less, shifted, b)


def _by_widening(text: _Text, signed: bool, lanes: int) -> str:
    count = 4 * lanes
    a = text.splat_bytes("%a", lanes)
    wide_a = text.emit(f"{'sext' if signed else 'zext'} <{count} x i8> {a} to <{count} x i32>")
    wide_b = text.emit(f"sext <{count} x i8> %b to <{count} x i32>")
    sums = text.emit(f"mul nsw <{count} x i32> {wide_a}, {wide_b}")
    for size in (count, count // 2):
        even = text.shuffle(size, "i32", sums, "poison", list(range(0, size, 2)))
        odd = text.shuffle(size, "i32", sums, "poison", list(range(1, size, 2)))
        sums = text.emit(f"add nsw <{size // 2} x i32> {even}, {odd}")
    return text.emit(f"add <{lanes} x i32> %acc, {sums}")
