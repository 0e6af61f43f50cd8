"""Sums of four products of bytes, four bytes to a 32-bit lane: the step of an int8 matrix product.  Or of two products.

Where the processor has VNNI or AArch64's dot products it is one instruction for each register (`vpdpbusd`, `sdot`),
two where that takes bytes of the other sign; on older x86 it is two `pmaddwd` and two sums.  All products and sums are
exact in 32 bits, so that every processor gives the same bits (the older `pmaddubsw` would saturate).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...ir.target import Target
from .features import has, is_x86
from .maths import MathsFunction

_TAPS = {"i8": 4, "i16": 2}  # elements in 32 bits
_HIGH_BITS = 0x80808080 - (1 << 32)  # of four bytes


@dataclass(frozen=True, slots=True)
class DotInstruction:
    """An instruction (acc <n x i32>, a <4n x i8>, b <4n x i8>) -> acc[l] + sum over r < 4 of a[4l + r] * b[4l + r].

    symbols  LLVM's name for each number of lanes of a register, widest first
    signed   whether the bytes of `a` are; those of `b` are
    """

    symbols: dict[int, str]
    signed: bool


_VNNI = {lanes: f"@llvm.x86.avx512.vpdpbusd.{32 * lanes}" for lanes in (16, 8, 4)}
_SDOT = {4: "@llvm.aarch64.neon.sdot.v4i32.v16i8", 2: "@llvm.aarch64.neon.sdot.v2i32.v8i8"}
_MADD = {16: "@llvm.x86.avx512.pmaddw.d.512", 8: "@llvm.x86.avx2.pmadd.wd", 4: "@llvm.x86.sse2.pmadd.wd"}


def dot_instruction(target: Target) -> DotInstruction | None:
    """Give the target's instruction for dot products of four bytes, or None."""
    if has(target, "dotprod"):
        return DotInstruction(_SDOT, signed=True)
    wide = (16,) if has(target, "avx512vnni") else ()
    narrow = has(target, "avxvnni") or (bool(wide) and has(target, "avx512vl"))
    registers = wide + ((8, 4) if narrow else ())
    return DotInstruction({lanes: _VNNI[lanes] for lanes in registers}, signed=False) if registers else None


def pair_registers(target: Target) -> tuple[int, ...]:
    """Give the 32-bit lanes of the registers that `pmaddwd` takes on `target`, widest first; none off x86."""
    if not is_x86(target):
        return ()
    return ((16,) if has(target, "avx512bw") else ()) + ((8,) if has(target, "avx2") else ()) + (4,)


def dot4(signed: bool, lanes: int, target: Target) -> MathsFunction:
    """Give the function (acc <lanes x i32>, a i32, b <4 * lanes x i8>) -> acc[l] + sum over r < 4 of a[r] * b[4l + r].

    signed  whether the four bytes of `a` are signed; those of `b` always are
    lanes   at least 2
    Sums wrap at 32 bits.
    """
    return _function(f"{'s8s8' if signed else 'u8s8'}.v{lanes}i32", "i32", signed, lanes, target)


def dot2(lanes: int, target: Target) -> MathsFunction:
    """Give the function (acc <lanes x i32>, a i32, b <2 * lanes x i16>) -> acc[l] + a[0] * b[2l] + a[1] * b[2l + 1].

    a      two signed 16-bit numbers, the first in the lower half; those of b are signed too
    lanes  at least 2
    Sums wrap at 32 bits.
    """
    symbol, text, registers = f"@tw.dot2.s16s16.v{lanes}i32", _Text(one_word=True), pair_registers(target)
    if registers:
        result = _by_registers(text, lanes, registers, lambda *of: _by_one_pair(text, *of), "i16")
    else:
        result = _by_products(text, lanes)
    head = f"define internal <{lanes} x i32> {symbol}(<{lanes} x i32> %acc, i32 %a, <{2 * lanes} x i16> %b)"
    lines = [f"{head} alwaysinline nounwind {{", *text.lines, f"  ret <{lanes} x i32> {result}", "}"]
    return MathsFunction(symbol, "\n".join(lines) + "\n")


def dot4_by_lane(lanes: int, target: Target) -> MathsFunction:
    """Give (acc <lanes x i32>, a <4 * lanes x i8>, b <4 * lanes x i8>) -> acc[l] + sum of a[4l + r] * b[4l + r].

    The bytes of `a` are unsigned, those of `b` signed.  Sums wrap at 32 bits.
    """
    return _function(f"by_lane.u8s8.v{lanes}i32", f"<{4 * lanes} x i8>", False, lanes, target)


def _function(name: str, left: str, signed: bool, lanes: int, target: Target) -> MathsFunction:
    """Give the function whose left factor has the type `left`: four bytes for all lanes, or for each."""
    symbol, text = f"@tw.dot4.{name}", _Text(one_word=left == "i32")
    result = _sum(text, signed, lanes, target)
    head = f"define internal <{lanes} x i32> {symbol}(<{lanes} x i32> %acc, {left} %a, <{4 * lanes} x i8> %b)"
    lines = [f"{head} alwaysinline nounwind {{", *text.lines, f"  ret <{lanes} x i32> {result}", "}"]
    return MathsFunction(symbol, "\n".join(lines) + "\n")


def _sum(text: _Text, signed: bool, lanes: int, target: Target) -> str:
    instruction = dot_instruction(target)
    if instruction is not None:
        registers = tuple(instruction.symbols)
        return _by_registers(text, lanes, registers, lambda *of: _by_instruction(text, instruction, signed, *of))
    registers = pair_registers(target)
    if registers:
        return _by_registers(text, lanes, registers, lambda *of: _by_pairs(text, signed, *of))
    return _by_widening(text, signed, lanes)


class _Text:
    """Instructions in order; each method adds one or two and gives the name of the value.

    one_word  whether the left factor is four bytes for all lanes
    """

    def __init__(self, one_word: bool) -> None:
        self.lines: list[str] = []
        self.one_word = one_word

    def emit(self, instruction: str) -> str:
        name = f"%t{len(self.lines)}"
        self.lines.append(f"  {name} = {instruction}")
        return name

    def shuffle(self, count: int, element: str, first: str, second: str, picks: list[int]) -> str:
        """Pick elements from two vectors of `count`; a negative pick leaves an element undefined."""
        kind, mask = f"<{count} x {element}>", ", ".join("i32 poison" if p < 0 else f"i32 {p}" for p in picks)
        return self.emit(f"shufflevector {kind} {first}, {kind} {second}, <{len(picks)} x i32> <{mask}>")

    def left(self, lanes: int, piece: _Piece, moved: bool = False) -> str:
        """Give the left factor's bytes of a register; `moved` by 128, which makes one kind of them the other."""
        if self.one_word:
            return self.splat(self.emit(f"xor i32 %a, {_HIGH_BITS}") if moved else "%a", piece.width)
        octets = self.shuffle(4 * lanes, "i8", "%a", "poison", piece.picks(4))
        return self.emit(f"xor <{4 * piece.width} x i8> {octets}, splat (i8 -128)") if moved else octets

    def splat(self, word: str, lanes: int, element: str = "i8") -> str:
        """Give the bytes or the 16-bit halves of a 32-bit number, over and over."""
        single = self.emit(f"insertelement <{lanes} x i32> poison, i32 {word}, i64 0")
        words = self.shuffle(lanes, "i32", single, "poison", [0] * lanes)
        return self.emit(f"bitcast <{lanes} x i32> {words} to <{_TAPS[element] * lanes} x {element}>")


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


def _by_registers(
    text: _Text,
    lanes: int,
    registers: tuple[int, ...],
    step: Callable[[int, _Piece, str, str], str],
    element: str = "i8",
) -> str:
    """Take a step (all lanes, piece, acc, b) -> sums in each register, and put the sums together.

    element  of b
    """
    result, taps = "poison", _TAPS[element]
    for piece in _pieces(lanes, registers):
        acc = text.shuffle(lanes, "i32", "%acc", "poison", piece.picks(1))
        b = text.shuffle(taps * lanes, element, "%b", "poison", piece.picks(taps))
        total = step(lanes, piece, acc, b)
        spread = [at - piece.start if 0 <= at - piece.start < piece.used else -1 for at in range(lanes)]
        placed = text.shuffle(piece.width, "i32", total, "poison", spread)
        result = text.shuffle(
            lanes, "i32", result, placed, [at if p < 0 else lanes + at for at, p in enumerate(spread)]
        )
    return result


def _by_instruction(
    text: _Text, instruction: DotInstruction, signed: bool, lanes: int, piece: _Piece, acc: str, b: str
) -> str:
    """Take `a` as it is, or of the other sign: moved by 128, less 128 times the sums of b, which depend on b alone."""
    width = piece.width
    symbol = instruction.symbols[width]
    if signed == instruction.signed:
        return _called(text, symbol, width, acc, text.left(lanes, piece), b)
    excess = _called(text, symbol, width, "zeroinitializer", text.splat(str(_HIGH_BITS), width), b)
    less = text.emit(f"sub <{width} x i32> {acc}, {excess}")
    return _called(text, symbol, width, less, text.left(lanes, piece, moved=True), b)


def _called(text: _Text, symbol: str, width: int, acc: str, a: str, b: str) -> str:
    words, octets = f"<{width} x i32>", f"<{4 * width} x i8>"
    return text.emit(f"call {words} {symbol}({words} {acc}, {octets} {a}, {octets} {b})")


def _by_pairs(text: _Text, signed: bool, lanes: int, piece: _Piece, acc: str, b: str) -> str:
    """Add products of the even bytes, then of the odd ones: each two to a lane, as 16-bit numbers.

    The bytes of b need not be moved to be widened, and stay widened while other rows of a are multiplied by them.
    """
    width = piece.width
    pairs, words = f"<{2 * width} x i16>", f"<{width} x i32>"
    a, symbol = text.left(lanes, piece), _MADD[width]
    for one, other in zip(_halves(text, signed, width, a), _halves(text, True, width, b), strict=True):
        products = text.emit(f"call {words} {symbol}({pairs} {one}, {pairs} {other})")
        acc = text.emit(f"add {words} {acc}, {products}")
    return acc


def _by_one_pair(text: _Text, lanes: int, piece: _Piece, acc: str, b: str) -> str:
    """Add the products of 16-bit numbers, two to a lane."""
    width = piece.width
    pairs, words = f"<{2 * width} x i16>", f"<{width} x i32>"
    a = text.splat("%a", width, "i16")
    products = text.emit(f"call {words} {_MADD[width]}({pairs} {a}, {pairs} {b})")
    return text.emit(f"add {words} {acc}, {products}")


def _halves(text: _Text, signed: bool, width: int, octets: str) -> tuple[str, str]:
    """Give the even bytes and the odd bytes of a register as 16-bit numbers."""
    kind = f"<{2 * width} x i16>"
    pairs = text.emit(f"bitcast <{4 * width} x i8> {octets} to {kind}")
    high = text.emit(f"shl {kind} {pairs}, splat (i16 8)")
    right = "ashr" if signed else "lshr"
    even, odd = (text.emit(f"{right} {kind} {x}, splat (i16 8)") for x in (high, pairs))
    return even, odd


def _by_widening(text: _Text, signed: bool, lanes: int) -> str:
    count = 4 * lanes
    wide = f"<{count} x i16>"
    a = text.left(lanes, _Piece(0, lanes, lanes))
    wide_a = text.emit(f"{'sext' if signed else 'zext'} <{count} x i8> {a} to {wide}")
    wide_b = text.emit(f"sext <{count} x i8> %b to {wide}")
    products = text.emit(f"mul nsw {wide} {wide_a}, {wide_b}")  # at most 255 * 128
    return _added(text, lanes, count, text.emit(f"sext {wide} {products} to <{count} x i32>"))


def _by_products(text: _Text, lanes: int) -> str:
    count = 2 * lanes
    a, wide = text.splat("%a", lanes, "i16"), f"<{count} x i32>"
    wide_a, wide_b = (text.emit(f"sext <{count} x i16> {x} to {wide}") for x in (a, "%b"))
    return _added(text, lanes, count, text.emit(f"mul {wide} {wide_a}, {wide_b}"))


def _added(text: _Text, lanes: int, count: int, sums: str) -> str:
    """Add `count` products to the sums of `lanes`, neighbours first."""
    while count > lanes:
        even = text.shuffle(count, "i32", sums, "poison", list(range(0, count, 2)))
        odd = text.shuffle(count, "i32", sums, "poison", list(range(1, count, 2)))
        count //= 2
        sums = text.emit(f"add <{count} x i32> {even}, {odd}")
    return text.emit(f"add <{lanes} x i32> %acc, {sums}")
