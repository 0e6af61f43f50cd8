"""The right answer of a task: fixed random inputs, their direct evaluation, and how near to it is near enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from ..codegen.interp import interpret
from ..ir.arith import int_value
from ..ir.dtype import DType, Kind, bfloat16
from ..ir.errors import TuneError
from ..runtime.array import empty
from ..te.evaluate import evaluate
from ..te.operation import PlaceholderOp
from ..te.tensor import Tensor
from ..te.tolerance import tolerance


@dataclass(frozen=True)
class Reference:
    """What a kernel is called with and must give.

    arrays    one per tensor of a call, in order; outputs are there to be written
    expected  by position, the right values of the outputs
    dtypes    by position, the outputs' data types
    rtol      by position, the error allowed relative to the larger of |expected| and its root mean square; 0 is equal
    """

    arrays: tuple[np.ndarray, ...]
    expected: Mapping[int, np.ndarray]
    rtol: Mapping[int, float]
    dtypes: Mapping[int, DType]

    def poison(self) -> None:
        """Fill the outputs with what no kernel gives, so that an element left unwritten shows."""
        for position in self.expected:
            array = self.arrays[position]
            array.reshape(-1).view(np.uint8)[...] = 0xFF

    def verdict(self) -> tuple[float, bool]:
        """Give the largest relative error of the outputs as they are now, and whether all are near enough."""
        errors = {
            p: _error(_decoded(self.arrays[p], self.dtypes[p]), expected) for p, expected in self.expected.items()
        }
        return max(errors.values()), all(error <= self.rtol[p] for p, error in errors.items())


def make_reference(tensors: Sequence[Tensor], seed: int = 0) -> Reference:
    """Give the reference of a call with `tensors`, on their real shapes.

    Results in floating point are computed in float64.  Integers are as declared: a number rounded to one depends on
    how each operation before it is rounded.
    """
    arrays = make_arrays(tensors, seed)
    given = [p for p, t in enumerate(tensors) if type(t.op) is PlaceholderOp]
    computed = [p for p in range(len(tensors)) if p not in given]
    feeds = {tensors[p]: arrays[p] for p in given}
    floats = any(tensors[p].dtype.is_float for p in computed)
    accumulate: Literal["declared", "float64"] = "float64" if floats else "declared"
    values = evaluate([tensors[p] for p in computed], feeds, accumulate=accumulate, interpret=interpret)
    dtypes = {p: tensors[p].dtype for p in computed}
    expected = {p: _decoded(np.asarray(v), dtypes[p]) for p, v in zip(computed, values, strict=True)}
    return Reference(arrays, expected, {p: tolerance(tensors[p]) for p in computed}, dtypes)


def make_arrays(tensors: Sequence[Tensor], seed: int = 0) -> tuple[np.ndarray, ...]:
    """Give the arrays of a call with `tensors`: the inputs random, the same for one seed; what is computed undefined.

    Inputs are uniform in [-1, 1), or integers small enough for exact sums.
    """
    rng = np.random.default_rng(seed)
    arrays = tuple(empty(_shape(t), t.dtype) for t in tensors)
    for tensor, array in zip(tensors, arrays, strict=True):
        if type(tensor.op) is PlaceholderOp:
            array[...] = _random(rng, tensor.dtype, array.shape)
    return arrays


def _shape(tensor: Tensor) -> tuple[int, ...]:
    sizes = tuple(size for size in map(int_value, tensor.shape) if size is not None)
    if len(sizes) != tensor.ndim:
        fact = f"{tensor.name} has the shape ({', '.join(map(str, tensor.shape))})"
        raise TuneError("tune", fact, advice="sizes that are numbers: measuring needs real arrays")
    return sizes


def _random(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    match dtype:
        case DType(Kind.BOOL):
            return rng.random(shape) < 0.5
        case DType(Kind.INT, bits):
            return rng.integers(-min(1 << (bits - 1), 128), min((1 << (bits - 1)), 128), size=shape)
        case DType(Kind.UINT, bits):
            return rng.integers(0, min(1 << bits, 256), size=shape)
        case DType(Kind.BFLOAT):
            return rng.uniform(-1, 1, shape).astype(np.float32).view(np.uint32) >> 16
        case _:
            return rng.uniform(-1, 1, shape)


def _decoded(array: np.ndarray, dtype: DType) -> np.ndarray:
    """Give bfloat16 bits as the float32 values that they mean; other arrays as they are."""
    if dtype == bfloat16 and array.dtype.kind == "u":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


def _error(found: np.ndarray, expected: np.ndarray) -> float:
    """Give the largest error relative to the scale; infinite where one is finite and the other is not."""
    if expected.dtype.kind not in "f":
        return 0.0 if np.array_equal(found, expected) else np.inf
    finite = np.isfinite(expected)
    if not finite.all():
        if not np.array_equal(found[~finite], expected[~finite].astype(found.dtype), equal_nan=True):
            return np.inf
        found, expected = found[finite], expected[finite]
    if not expected.size:
        return 0.0
    scale = np.maximum(np.abs(expected), sqrt(float(np.mean(np.square(expected, dtype=np.float64)))))
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(found.astype(np.float64) - expected) / scale
    error = np.where(found == expected, 0.0, error)
    return float(np.max(error)) if not np.isnan(error).any() else np.inf
