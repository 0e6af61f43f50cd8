"""The executable meaning of a loop nest: it is translated to Python source, which runs on lists of scalars.

Every operation is rounded or wrapped as the machine's would be.  An index outside of its buffer, and a read of an
allocated element that nothing has written, are errors.  What a call may cost is a translation of a few milliseconds
and the conversion of every array to a list and back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from ..ir import expr as e
from ..ir.buffer import Buffer
from ..ir.errors import ArgumentError, CodegenError
from ..ir.printer import place_text
from ..ir.stmt import Function
from ..ir.visit import substitute
from . import scalar
from .python import Fault, Source, span, translate

Argument = np.ndarray | int | float
_NO_EXTERNS: Mapping[str, Callable] = MappingProxyType({})


def interpret(
    function: Function,
    arrays: Sequence[Argument],
    externs: Mapping[str, Callable] = _NO_EXTERNS,
    order: str = "forward",
) -> None:
    """Run a nest on NumPy arrays, in place.

    arrays   one per parameter, in order: arrays of the buffers' shapes, numbers for variables; sizes that only
             appear in shapes are derived.  bfloat16 is held in uint16 arrays, int4 in int8, one element each
    externs  what external functions do: called with a flat NumPy view from each address on, and with numbers;
             afterwards every element from the address on counts as written
    order    "reversed" runs parallel, vectorized and thread loops backwards, which must not change any result
    Raises ArgumentError for arrays that do not fit, CodegenError for an index out of bounds, a read of memory
    that nothing has written, a division by zero, an unknown function.
    """
    if order not in ("forward", "reversed"):
        raise ArgumentError("interpret", f"order is {order!r}", advice='"forward" or "reversed"')
    values = scalar_values(function, arrays)
    shapes = {b: tuple(_dimension(x, values) for x in b.shape) for b in function.buffers}
    given = _buffer_arguments(function, arrays)
    for buffer, array in given:
        _check_array(buffer, array, shapes[buffer], written=buffer in function.outputs)
    source = translate(function, values, externs, backwards=order == "reversed")
    held = [_Held(b, a, shapes[b], values) for b, a in given]
    with np.errstate(all="ignore"):
        _run(function, source, [h.elements for h in held])
    for h in held:
        if h.buffer in source.written and h.writeable:
            h.give_back()


def scalar_values(function: Function, arrays: Sequence[Argument]) -> dict[e.Var, int | float]:
    """Give the values of the scalar parameters and, from the arrays' shapes and strides, of the size variables.

    Raises ArgumentError where a parameter has no argument or a size cannot be told from the arrays.
    """
    if len(arrays) != len(function.params):
        fact = f"{function.name} takes {len(function.params)} arguments, got {len(arrays)}"
        raise ArgumentError("interpret", fact, advice="one array or number for each parameter")
    values: dict[e.Var, int | float] = {}
    for param, given in zip(function.params, arrays, strict=True):
        match param:
            case e.Var():
                values[param] = given  # type: ignore[assignment]
    for buffer, array in _buffer_arguments(function, arrays):
        steps = [step // array.itemsize for step in array.strides]
        for dim, extent in itertools.chain(zip(buffer.shape, array.shape), zip(buffer.strides or (), steps)):  # noqa: B905
            match dim:
                case e.Var():
                    values.setdefault(dim, extent)
    for var in function.size_vars:
        if var not in values:
            fact = f"no buffer of {function.name} has {var.name} alone as a dimension, so its value is unknown"
            raise ArgumentError("interpret", fact, advice=f"make {var.name} a parameter")
    return values


def _dimension(dim: e.Expr, values: Mapping[e.Var, int | float]) -> int:
    names: dict[e.Var, e.Expr] = {v: e.Const(int(x), v.dtype) for v, x in values.items() if v.dtype.is_int}
    return int(Source.constant(substitute(dim, names)))


def _buffer_arguments(function: Function, arrays: Sequence[Argument]) -> list[tuple[Buffer, np.ndarray]]:
    found: list[tuple[Buffer, np.ndarray]] = []
    for param, given in zip(function.params, arrays, strict=True):
        match param, given:
            case Buffer(), np.ndarray():
                found.append((param, given))
            case Buffer(name), _:
                fact = f"{name} is a buffer, the argument is {type(given).__name__}"
                raise ArgumentError("interpret", fact, advice="a NumPy array")
    return found


def _check_array(buffer: Buffer, array: np.ndarray, shape: tuple[int, ...], written: bool) -> None:
    if array.shape != shape:
        fact = f"{buffer.name} has shape {shape}, the array has {array.shape}"
        raise ArgumentError("interpret", fact, advice="an array of the parameter's shape")
    held = scalar.array_dtype(buffer.dtype)
    if array.dtype != held:
        fact = f"{buffer.name} is {buffer.dtype}, the array is {array.dtype}"
        raise ArgumentError("interpret", fact, advice=f"an array of {held}")
    if written and not array.flags.writeable:
        raise ArgumentError("interpret", f"{buffer.name} is written, the array is read-only", advice="a copy of it")


class _Held:
    """One array argument as the list that the translated source works on."""

    def __init__(self, buffer: Buffer, array: np.ndarray, shape: tuple[int, ...], values: Mapping) -> None:
        self.buffer, self._array, self._shape = buffer, array, shape
        self._strides = None if buffer.strides is None else tuple(_dimension(x, values) for x in buffer.strides)
        self.writeable = array.flags.writeable
        size = array.size if self._strides is None else span(shape, self._strides)
        flat = np.zeros(size, array.dtype)
        self._view(flat)[...] = array
        self.elements = scalar.to_list(flat, buffer.dtype)

    def _view(self, flat: np.ndarray) -> np.ndarray:
        """Give the elements that indices reach in a flat copy, in the array's shape."""
        if self._strides is None:
            return flat.reshape(self._shape)
        steps = tuple(s * flat.itemsize for s in self._strides)
        return np.lib.stride_tricks.as_strided(flat, self._shape, steps)

    def give_back(self) -> None:
        """Copy the elements to the array."""
        self._array[...] = self._view(scalar.to_array(self.elements, self.buffer.dtype))


def _run(function: Function, source: Source, buffers: list[list]) -> None:
    name = f"<nest {function.name}>"
    try:
        exec(compile(source.text, name, "exec"), source.globals)
        source.globals["nest"](*buffers)
    except Fault as fault:
        raise _error(function, source, fault, name, fault.fact, fault.advice) from None
    except ZeroDivisionError as error:
        raise _error(function, source, error, name, "a division by zero", "a divisor that is never 0") from None


def _error(function: Function, source: Source, error: BaseException, name: str, fact: str, advice: str) -> CodegenError:
    at, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name and trace.tb_lineno in source.places:
            at = trace.tb_lineno
        trace = trace.tb_next
    where = place_text(function, source.places[at]) if at else ""
    return CodegenError("interpret", fact, where=where, advice=advice)
