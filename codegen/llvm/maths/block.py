"""A builder of straight-line LLVM IR over vectors: each method adds one instruction and gives its value."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ....ir.dtype import DType, float32, float64


@dataclass(frozen=True, slots=True)
class Format:
    """An IEEE binary format: how LLVM spells it and how its bits are laid out."""

    element: str  # LLVM type of one number
    integer: str  # LLVM type of its bits
    suffix: str  # of intrinsic names: f32, f64
    mantissa: int  # stored bits of the significand
    bias: int  # of the exponent

    @property
    def bits(self) -> int:
        """Give the width of a number."""
        return 1 + self.exponent_bits + self.mantissa

    @property
    def rounder(self) -> float:
        """Give 1.5 * 2**mantissa: adding it rounds to an integer, which is then in the low bits of the sum."""
        return 1.5 * 2.0**self.mantissa

    @property
    def exponent_mask(self) -> int:
        """Give the bits of infinity."""
        return (2 * self.bias + 1) << self.mantissa

    @property
    def mantissa_mask(self) -> int:
        """Give the bits below the exponent."""
        return (1 << self.mantissa) - 1

    @property
    def sign_mask(self) -> int:
        """Give the bits of minus zero."""
        return 1 << (self.mantissa + self.exponent_bits)

    @property
    def exponent_bits(self) -> int:
        """Give the width of the exponent field."""
        return (self.bias + 1).bit_length()

    @property
    def least_normal(self) -> float:
        """Give the least positive number of full precision."""
        return 2.0 ** (1 - self.bias)

    def bits_of(self, number: float) -> int:
        """Give the bits of `number`, rounded to this format."""
        if self.mantissa == 23:
            return struct.unpack("<I", struct.pack("<f", number))[0]
        return struct.unpack("<Q", struct.pack("<d", number))[0]

    def nearest(self, number: float) -> float:
        """Give the number of this format nearest to `number`."""
        return struct.unpack("<f", struct.pack("<f", number))[0] if self.mantissa == 23 else number


FLOAT = Format("float", "i32", "f32", 23, 127)
DOUBLE = Format("double", "i64", "f64", 52, 1023)
FORMATS: dict[DType, Format] = {float32: FLOAT, float64: DOUBLE}
REGISTER_BITS = 512  # of AVX-512
_BY_ELEMENT = {f.element: f for f in (FLOAT, DOUBLE)}


@dataclass(frozen=True, slots=True)
class Value:
    """An SSA value, named as in the text, with the LLVM type of one lane."""

    name: str
    element: str


Operand = Value | float | int


class Block:
    """Instructions over `lanes` lanes of one floating-point format.

    Operands are values or Python numbers, which stand for a vector of that number in every lane.
    Products feed sums through `fma`, which is `llvm.fmuladd`: one rounding where the machine has it, two elsewhere.

    scales  whether the machine has AVX-512 (F, VL and DQ), for `scalef`, `within`, `reciprocal` and `lookup`
    """

    def __init__(self, form: Format, lanes: int, prefix: str = "%v", scales: bool = False) -> None:
        self.form = form
        self.scales = scales
        self.prefix = prefix  # of value names
        self.lanes = lanes
        self.lines: list[str] = []
        self.leaves = False  # whether `leave_if_any` was used

    def in_doubles(self) -> Block:
        """Give a builder that adds to the same instructions, for doubles."""
        block = Block(DOUBLE, self.lanes, self.prefix, self.scales)
        block.lines = self.lines
        return block

    # text

    def type_of(self, element: str) -> str:
        """Give the LLVM type of all lanes: `<16 x float>`, or the bare element for one lane."""
        return element if self.lanes == 1 else f"<{self.lanes} x {element}>"

    def emit(self, element: str, instruction: str) -> Value:
        """Add `instruction` and give its value, whose lanes are of type `element`."""
        value = Value(f"{self.prefix}{len(self.lines)}", element)
        self.lines.append(f"  {value.name} = {instruction}")
        return value

    def literal(self, number: float | int, element: str) -> str:
        """Give the text of `number` in every lane."""
        form = _BY_ELEMENT.get(element)
        if form is None:
            text = str(int(number))
        else:
            text = f"0x{DOUBLE.bits_of(form.nearest(number)):016X}"
        return text if self.lanes == 1 else f"splat ({element} {text})"

    def overload(self, element: str) -> str:
        """Give the suffix of an intrinsic's name: `v16f32`, or `f32` for one lane."""
        form = _BY_ELEMENT.get(element)
        suffix = form.suffix if form else element
        return suffix if self.lanes == 1 else f"v{self.lanes}{suffix}"

    def _text(self, operand: Operand, element: str) -> str:
        match operand:
            case Value(name, of):
                assert of == element, f"{name} is {of}, not {element}"
                return name
            case _:
                return self.literal(operand, element)

    def _binary(self, opcode: str, x: Operand, y: Operand, element: str = "") -> Value:
        element = element or _element(x, y)
        return self.emit(
            element, f"{opcode} {self.type_of(element)} {self._text(x, element)}, {self._text(y, element)}"
        )

    def intrinsic(self, name: str, *operands: Operand) -> Value:
        """Call `llvm.<name>`, whose operands and result are of one type."""
        element = _element(*operands)
        kind = self.type_of(element)
        arguments = ", ".join(f"{kind} {self._text(operand, element)}" for operand in operands)
        return self.emit(element, f"call {kind} @llvm.{name}.{self.overload(element)}({arguments})")

    def _convert(self, opcode: str, x: Value, element: str) -> Value:
        return self.emit(element, f"{opcode} {self.type_of(x.element)} {x.name} to {self.type_of(element)}")

    def leave_if_any(self, condition: Value) -> None:
        """Go on at the label `outside` if the condition holds in any lane."""
        assert not self.leaves, "one way out"
        self.leaves = True
        flag = condition
        if self.lanes > 1:
            kind, suffix = self.type_of("i1"), self.overload("i1")
            flag = self.emit("i1", f"call i1 @llvm.vector.reduce.or.{suffix}({kind} {condition.name})")
        self.lines += [f"  br i1 {flag.name}, label %outside, label %inside", "inside:"]

    def lane(self, x: Value, index: int) -> Value:
        """Give one lane of a vector."""
        return self.emit(x.element, f"extractelement {self.type_of(x.element)} {x.name}, i64 {index}")

    # floating point

    def add(self, x: Operand, y: Operand) -> Value:
        """Give x + y."""
        return self._binary("fadd", x, y)

    def sub(self, x: Operand, y: Operand) -> Value:
        """Give x - y."""
        return self._binary("fsub", x, y)

    def mul(self, x: Operand, y: Operand) -> Value:
        """Give x * y."""
        return self._binary("fmul", x, y)

    def div(self, x: Operand, y: Operand) -> Value:
        """Give x / y."""
        return self._binary("fdiv", x, y)

    def fma(self, x: Operand, y: Operand, z: Operand) -> Value:
        """Give x * y + z."""
        return self.intrinsic("fmuladd", x, y, z)

    def abs(self, x: Operand) -> Value:
        """Give x without its sign."""
        return self.intrinsic("fabs", x)

    def neg(self, x: Value) -> Value:
        """Give x with the other sign."""
        return self.emit(x.element, f"fneg {self.type_of(x.element)} {x.name}")

    def sqrt(self, x: Operand) -> Value:
        """Give the square root of x, correctly rounded."""
        return self.intrinsic("sqrt", x)

    def copysign(self, size: Operand, sign: Operand) -> Value:
        """Give `size` with the sign of `sign`."""
        return self.intrinsic("copysign", size, sign)

    def horner(self, x: Value, coefficients: Sequence[float]) -> Operand:
        """Give the sum of coefficients[k] * x**k."""
        *rest, last = coefficients
        total: Operand = last
        for coefficient in reversed(rest):
            total = self.fma(total, x, coefficient)
        return total

    def clamp(self, x: Value, low: float, high: float) -> Value:
        """Give x moved into [low, high]; a NaN stays NaN."""
        x = self.select(self.less(high, x), high, x)
        return self.select(self.less(x, low), low, x)

    def scalef(self, x: Value, n: Value) -> Value:
        """Give x * 2**n for a whole number n of any size, rounded once, by AVX-512's instruction."""
        return self._by_register("scalef", "mask.", (x, n))

    def within(self, x: Value, size: float) -> Value:
        """Give x moved into [-size, size], by AVX-512's instruction; of a NaN, some number of that size."""
        return self._by_register("range", "mask.", (x, Value(self.literal(size, x.element), x.element)), "i32 2")

    def reciprocal(self, x: Value) -> Value:
        """Give 1 / x of floats to 1 unit in the last place, by AVX-512's estimate; x is normal and not huge."""
        near = self._by_register("rcp14", "", (x,))
        return self.fma(near, self.fma(self.neg(x), near, 1.0), near)

    def lookup(self, index: Value, entries: Sequence[float]) -> Value:
        """Give one of 16 floats for each lane, by the low 4 bits of `index`, by AVX-512's permutation."""
        lanes = REGISTER_BITS // self.form.bits
        table = ", ".join(f"float 0x{DOUBLE.bits_of(FLOAT.nearest(x)):016X}" for x in entries)
        width = -(-self.lanes // lanes) * lanes
        parts = []
        for first in range(0, width, lanes):
            picked = self._resized(index, self.lanes, lanes, first).name
            call = f"call <{lanes} x float> @llvm.x86.avx512.permvar.sf.512(<{lanes} x float> <{table}>, "
            parts.append(self.emit("float", f"{call}<{lanes} x i32> {picked})"))
        return self._joined(parts, lanes)

    def _by_register(self, name: str, prefix: str, operands: tuple[Value, ...], immediate: str = "") -> Value:
        """Call an instruction of AVX-512 for each register of the operands.

        immediate  the operand that is part of the instruction, with its type
        """
        element = operands[0].element
        bits = _BY_ELEMENT[element].bits
        most = REGISTER_BITS // bits
        lanes = min(most, max(128 // bits, 1 << (self.lanes - 1).bit_length()))
        kind = f"<{lanes} x {element}>"
        symbol = f"@llvm.x86.avx512.{prefix}{name}.p{'s' if bits == 32 else 'd'}.{lanes * bits}"
        flags = f"i{max(8, lanes)} -1" + (", i32 4" if prefix and lanes == most else "")
        parts = []
        for first in range(0, self.lanes, lanes):
            taken = [self._resized(v, self.lanes, lanes, first).name for v in operands]
            listed = [*(f"{kind} {v}" for v in taken), *filter(None, [immediate]), f"{kind} {taken[0]}", flags]
            parts.append(self.emit(element, f"call {kind} {symbol}({', '.join(listed)})"))
        return self._joined(parts, lanes)

    def _joined(self, parts: list[Value], lanes: int) -> Value:
        """Give vectors of `lanes` one after the other, as many lanes as this block has."""
        while len(parts) > 1:
            pairs = [parts[k : k + 2] for k in range(0, len(parts), 2)]
            parts = [
                self._pair(*pair, lanes) if len(pair) == 2 else self._resized(pair[0], lanes, 2 * lanes)
                for pair in pairs
            ]
            lanes *= 2
        return self._resized(parts[0], lanes, self.lanes)

    def _pair(self, x: Value, y: Value, lanes: int) -> Value:
        kind, picks = f"<{lanes} x {x.element}>", ", ".join(f"i32 {k}" for k in range(2 * lanes))
        return self.emit(x.element, f"shufflevector {kind} {x.name}, {kind} {y.name}, <{2 * lanes} x i32> <{picks}>")

    def _resized(self, x: Value, lanes: int, to: int, first: int = 0) -> Value:
        if lanes == to:
            return x
        kind = f"<{lanes} x {x.element}>"
        picks = ", ".join(f"i32 {first + k}" if first + k < lanes else "i32 poison" for k in range(to))
        return self.emit(x.element, f"shufflevector {kind} {x.name}, {kind} poison, <{to} x i32> <{picks}>")

    # comparisons: false where an operand is NaN

    def _compare(self, predicate: str, x: Operand, y: Operand) -> Value:
        element = _element(x, y)
        opcode = "fcmp" if element in _BY_ELEMENT else "icmp"
        return self.emit(
            "i1",
            f"{opcode} {predicate} {self.type_of(element)} {self._text(x, element)}, {self._text(y, element)}",
        )

    def less(self, x: Operand, y: Operand) -> Value:
        """Tell whether x < y."""
        return self._compare("olt", x, y)

    def equal(self, x: Operand, y: Operand) -> Value:
        """Tell whether x = y."""
        return self._compare("oeq", x, y)

    def not_above(self, x: Operand, y: Operand) -> Value:
        """Tell whether x <= y."""
        return self._compare("ole", x, y)

    def same_bits(self, x: Operand, y: Operand) -> Value:
        """Tell whether two integers are equal."""
        return self._compare("eq", x, y)

    def both(self, x: Value, y: Value) -> Value:
        """Give the conjunction of two conditions."""
        return self._binary("and", x, y)

    def either(self, x: Value, y: Value) -> Value:
        """Give the disjunction of two conditions."""
        return self._binary("or", x, y)

    def select(self, condition: Value, x: Operand, y: Operand) -> Value:
        """Give x where the condition holds, else y."""
        element = _element(x, y, default=self.form.element)
        kind, flags = self.type_of(element), self.type_of("i1")
        arms = f"{kind} {self._text(x, element)}, {kind} {self._text(y, element)}"
        return self.emit(element, f"select {flags} {condition.name}, {arms}")

    # bits

    def bits(self, x: Value) -> Value:
        """Give the bits of floating-point numbers as integers."""
        return self._convert("bitcast", x, _BY_ELEMENT[x.element].integer)

    def from_bits(self, i: Value) -> Value:
        """Give the floating-point numbers that have these bits."""
        return self._convert("bitcast", i, {"i32": "float", "i64": "double"}[i.element])

    def plus(self, i: Operand, j: Operand) -> Value:
        """Give i + j of integers."""
        return self._binary("add", i, j)

    def minus(self, i: Operand, j: Operand) -> Value:
        """Give i - j of integers."""
        return self._binary("sub", i, j)

    def left(self, i: Value, count: int) -> Value:
        """Give i shifted up."""
        return self._binary("shl", i, count)

    def right(self, i: Value, count: int) -> Value:
        """Give i shifted down, filling with zeros."""
        return self._binary("lshr", i, count)

    def mask(self, i: Value, bits: int) -> Value:
        """Give the bits of i that are set in `bits`."""
        return self._binary("and", i, bits)

    def flip(self, i: Operand, j: Operand) -> Value:
        """Give the exclusive or of two integers."""
        return self._binary("xor", i, j)

    # other formats

    def widen(self, x: Value) -> Value:
        """Give float values as doubles, exactly."""
        return self._convert("fpext", x, "double")

    def narrow(self, x: Value) -> Value:
        """Give doubles rounded to floats."""
        return self._convert("fptrunc", x, "float")

    def truncate(self, i: Value) -> Value:
        """Give the low 32 bits of 64-bit integers."""
        return self._convert("trunc", i, "i32")


def _element(*operands: Operand, default: str = "") -> str:
    for operand in operands:
        match operand:
            case Value(_, element):
                return element
    assert default, "an instruction needs an operand that is a value"
    return default
