"""Checking the arguments of a call: everything is checked before anything is written.

One object per parameter, made once per kernel, so that a call does only what must be done each time.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from ..ir.dtype import DType, bfloat16, boolean
from ..ir.errors import ArgumentError
from .array import address_of, as_array, numpy_dtype
from .signature import ArrayParam, Extent, ScalarParam, Signature, evaluate_extent, extent_text, param_text, shape_text

Sizes = dict[str, int]
Checked = tuple[list[int | float], list[np.ndarray]]  # values in the compiled function's order; arrays they point into
Span = tuple[int, int, int]  # first address, address after the last byte, position


class ArrayCheck:
    """Checks one array argument and gives its address."""

    def __init__(self, kernel: str, position: int, param: ArrayParam) -> None:
        self.kernel, self.position, self.param = kernel, position, param
        self.held = numpy_dtype(param.dtype)
        self.mask = self.held.itemsize - 1
        self.written = param.written
        self.gap_free = param.strides is None
        self.fixed = param.shape if all(isinstance(e, int) for e in param.shape) else None

    def __call__(self, value: object, sizes: Sizes, spans: list[Span], kept: list[np.ndarray]) -> int:
        """Give the address of `value`; note its sizes, the memory it spans and the array that holds it."""
        array = value if type(value) is np.ndarray else self.view(value)
        if array.dtype != self.held:
            array = self.reinterpreted(array)
        shape = array.shape
        if shape != self.fixed:
            self.match_shape(shape, sizes)
        flags = array.flags
        if self.gap_free and not flags.c_contiguous:
            self.refuse(
                f"is not contiguous: strides {array.strides} bytes for shape {shape}",
                "np.ascontiguousarray(...) and copy the result back" if self.written else "np.ascontiguousarray(...)",
            )
        if self.written and not flags.writeable:
            self.refuse("is written by the kernel, but the array is read-only", "an array of your own, such as a copy")
        address = address_of(array)
        if address & self.mask:
            self.refuse(
                f"starts at an address that is no multiple of {self.held.itemsize} bytes ({address:#x})",
                "a copy: array.copy()",
            )
        spans.append((address, address + (array.nbytes if self.gap_free else span_bytes(array)), self.position))
        kept.append(array)
        return address

    def view(self, value: object) -> np.ndarray:
        """Give a NumPy view of an argument that is no plain NumPy array."""
        try:
            return as_array(value)
        except (TypeError, BufferError) as error:
            self.refuse(f"must be an array, got {error}", "a NumPy array, or a DLPack object in main memory")

    def reinterpreted(self, array: np.ndarray) -> np.ndarray:
        """Give an array of the ml_dtypes package as the type that holds its bits; refuse any other."""
        if self.param.dtype != bfloat16 or array.dtype.name != "bfloat16":
            held = "" if str(self.held) == str(self.param.dtype) else f" (held as {self.held})"
            self.refuse(f"must be {self.param.dtype}{held}, got {array.dtype}", f'array.astype("{self.held}")')
        return array.view(self.held)

    def match_shape(self, shape: tuple[int, ...], sizes: Sizes) -> None:
        """Check the rank and the plain extents, and note the sizes that they give."""
        expected = self.param.shape
        if len(shape) != len(expected):
            self.refuse(f"must have {len(expected)} dimensions {shape_text(expected)}, got shape {shape}", "reshape it")
        for axis, (extent, got) in enumerate(zip(expected, shape, strict=True)):
            match extent:
                case int() if extent != got:
                    self.refuse_extent(axis, shape, str(extent))
                case str() if sizes.setdefault(extent, got) != got:
                    self.refuse_extent(axis, shape, f"{extent} = {sizes[extent]}, as an argument before it says")

    def match_derived(self, array: np.ndarray, sizes: Sizes) -> None:
        """Check the extents and strides that are computed from sizes."""
        for axis, extent in enumerate(self.param.shape):
            expected = evaluate_extent(extent, sizes)
            if expected != array.shape[axis]:
                self.refuse_extent(axis, array.shape, f"{extent_text(extent)} = {expected}")
        if self.param.strides is None:
            return
        strides = tuple(evaluate_extent(s, sizes) * self.held.itemsize for s in self.param.strides)
        pairs = zip(array.shape, array.strides, strides, strict=True)
        if array.size and any(n > 1 and got != want for n, got, want in pairs):
            self.refuse(f"must have strides {strides} bytes, got {array.strides}", "a view with these strides")

    def refuse_extent(self, axis: int, shape: tuple[int, ...], expected: str) -> NoReturn:
        """Refuse the extent of one axis."""
        fact = f"must have shape {shape_text(self.param.shape)}, got {shape}: axis {axis} must be {expected}"
        self.refuse(fact, "an array of that shape")

    def refuse(self, fact: str, advice: str) -> NoReturn:
        """Raise the ArgumentError that names this argument."""
        raise ArgumentError(self.kernel, f"argument {self.position}, {self.param.name}, {fact}", advice=advice)


class ScalarCheck:
    """Checks one number and gives it as Python's int or float."""

    def __init__(self, kernel: str, position: int, param: ScalarParam) -> None:
        self.kernel, self.position, self.param = kernel, position, param
        self.convert = float if param.dtype.is_float else bool if param.dtype == boolean else operator.index
        self.low, self.high = param.dtype.min_value, param.dtype.max_value
        if param.minimum is not None:
            self.low = max(self.low, param.minimum)

    def __call__(self, value: object, sizes: Sizes, spans: list[Span], kept: list[np.ndarray]) -> int | float:
        """Give the number; note it as a size."""
        try:
            number = self.convert(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            self.refuse(f"must be a {self.param.dtype}, got {value!r}", "a number of that type")
        if not self.param.dtype.is_float:
            if not self.low <= number <= self.high:
                self.refuse(f"must be a {self.param.dtype}, got {number}", f"{self.low} to {self.high}")
            if sizes.setdefault(self.param.name, int(number)) != number:
                fact = f"is {number}, but an array before it has {self.param.name} = {sizes[self.param.name]}"
                self.refuse(fact, "sizes that agree")
        return number

    def refuse(self, fact: str, advice: str) -> NoReturn:
        """Raise the ArgumentError that names this argument."""
        raise ArgumentError(self.kernel, f"argument {self.position}, {self.param.name}, {fact}", advice=advice)


class ArgumentCheck:
    """Checks all arguments of a kernel."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.checks = [_check(signature.name, i, p) for i, p in enumerate(signature.params)]
        arrays = [c for c in self.checks if type(c) is ArrayCheck]
        self.derived = [(i, c) for i, c in enumerate(arrays) if not c.gap_free or _has_derived(c.param.shape)]
        self.written = [i for i, c in enumerate(arrays) if c.written]
        self.sizes = [s.name for s in signature.sizes]
        self.least = [(s.name, s.minimum) for s in signature.sizes if s.minimum]  # no extent is negative
        self.count = len(self.checks)

    def __call__(self, arguments: Sequence[object]) -> Checked:
        """Give what to pass to the compiled function.  Raises ArgumentError naming the argument that does not fit."""
        if len(arguments) != self.count:
            raise ArgumentError(
                self.signature.name,
                f"takes {self.count} arguments, got {len(arguments)}",
                f"  {self.signature}",
                "all arguments, outputs included, in this order",
            )
        sizes: Sizes = {}
        spans: list[Span] = []
        arrays: list[np.ndarray] = []
        values = [
            check(value, sizes, spans, arrays) for check, value in zip(self.checks, arguments, strict=True)
        ]  # fmt: skip
        for index, check in self.derived:
            self.require_sizes(check, sizes)
            check.match_derived(arrays[index], sizes)
        for index in self.written:
            self.refuse_overlap(index, spans)
        for name, least in self.least:
            if sizes[name] < least:
                self.refuse_size(name, sizes[name], least)
        if self.sizes:
            values += [sizes[name] for name in self.sizes]
        return values, arrays

    def require_sizes(self, check: ArrayCheck, sizes: Sizes) -> None:
        """Refuse a kernel one of whose sizes no extent gives by itself."""
        missing = [name for name in self.sizes if name not in sizes]
        if missing:
            check.refuse(f"does not tell the size {missing[0]}", "name the size among the arguments of build")

    def refuse_size(self, name: str, size: int, least: int) -> NoReturn:
        """Refuse a size below what the program was declared for."""
        fact = f"the arrays have {name} = {size}, and it must be at least {least}"
        raise ArgumentError(self.signature.name, fact, f"  {self.signature}", "larger arrays, or no call")

    def refuse_overlap(self, index: int, spans: list[Span]) -> None:
        """Refuse a written array that shares memory with another argument."""
        begin, end, position = spans[index]
        for other_begin, other_end, other in spans:
            if (
                begin < other_end
                and other_begin < end
                and other != position
                and begin < end
                and other_begin < other_end
            ):
                shared_bytes = min(end, other_end) - max(begin, other_begin)
                a, b = self.signature.params[position].name, self.signature.params[other].name
                raise ArgumentError(
                    self.signature.name,
                    f"argument {position}, {a}, is written but shares {shared_bytes} bytes with argument {other}, {b}",
                    f"  {param_text(self.signature.params[position])}",
                    "an output array of its own",
                )


def slot_format(dtype: DType) -> str:
    """Give the `struct` letter of the 8-byte slot that holds a scalar of `dtype`."""
    if dtype.is_float:
        return "d"
    return "Q" if dtype.min_value == 0 and dtype != boolean else "q"


def _check(kernel: str, position: int, param: ArrayParam | ScalarParam) -> ArrayCheck | ScalarCheck:
    match param:
        case ArrayParam():
            return ArrayCheck(kernel, position, param)
        case ScalarParam():
            return ScalarCheck(kernel, position, param)


def _has_derived(shape: tuple[Extent, ...]) -> bool:
    return any(isinstance(extent, tuple) for extent in shape)


def span_bytes(array: np.ndarray) -> int:
    """Give the bytes from an array's first element to the end of its last, gaps included."""
    if not array.size:
        return 0
    return sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)) + array.itemsize
