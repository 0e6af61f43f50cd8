"""The right answer of a task: fixed random inputs, their direct evaluation, and how near to it is near enough."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from ..codegen.interp import interpret
from ..ir.arith import int_value
from ..ir.dtype import DType, Kind, bfloat16
from ..ir.errors import TuneError
from ..runtime.array import empty
from ..te.evaluate import Boxes, evaluate
from ..te.operation import PlaceholderOp
from ..te.sample import work
from ..te.tensor import Tensor
from ..te.tolerance import tolerance
from .sampling import crossings, stripes

ALL = (...,)  # elements, as arrays are indexed
WORTH_TELLING_S = 2.0
_SIZE = 768  # of matrices by which NumPy's pace is known


@dataclass(frozen=True, slots=True)
class Part:
    """Right values of an output: of the elements at `place`, as arrays are indexed."""

    place: tuple[Any, ...]
    values: np.ndarray


@dataclass(frozen=True)
class Reference:
    """What a kernel is called with and must give.

    arrays    one per tensor of a call, in order; outputs are there to be written
    expected  by position, the right values of the outputs: all of them, or parts
    dtypes    by position, the outputs' data types
    rtol      by position, the error allowed relative to the larger of |expected| and its root mean square; 0 is equal
    """

    arrays: tuple[np.ndarray, ...]
    expected: Mapping[int, Sequence[Part]]
    rtol: Mapping[int, float]
    dtypes: Mapping[int, DType]

    def poison(self) -> None:
        """Fill the outputs with what no kernel gives, so that an element left unwritten shows."""
        for position in self.expected:
            array = self.arrays[position]
            array.reshape(-1).view(np.uint8)[...] = 0xFF

    def verdict(self) -> tuple[float, bool]:
        """Give the largest relative error of the outputs as they are now, and whether all are near enough."""
        errors = {position: self._largest(position) for position in self.expected}
        return max(errors.values()), all(error <= self.rtol[p] for p, error in errors.items())

    def _largest(self, position: int) -> float:
        found, dtype = self.arrays[position], self.dtypes[position]
        parts = self.expected[position]
        if found.dtype.kind == "f" and not _is_written(found, parts):
            return np.inf
        return max(_error(_decoded(found[part.place], dtype), part.values) for part in parts)


def _is_written(found: np.ndarray, parts: Sequence[Part]) -> bool:
    """Tell whether what is not compared is no NaN either, where no right value is: poison is one."""
    if parts[0].place is ALL or any(np.isnan(part.values).any() for part in parts):
        return True
    return not any(np.isnan(block).any() for block in np.array_split(found.reshape(-1), max(1, found.size >> 20)))


def make_reference(
    tensors: Sequence[Tensor], seed: int = 0, limit_s: float = math.inf, tell: Callable[[str], None] = lambda _: None
) -> Reference:
    """Give the reference of a call with `tensors`, on their real shapes.

    limit_s  where all right values take longer to compute, those of whole rows and columns are computed that take about
             this long
    tell     is told, in a sentence, what takes a while
    Results in floating point are computed in float64.  Integers are as declared: a number rounded to one depends on
    how each operation before it is rounded.
    """
    arrays = make_arrays(tensors, seed)
    given = [p for p, t in enumerate(tensors) if type(t.op) is PlaceholderOp]
    computed = [p for p in range(len(tensors)) if p not in given]
    outputs = [tensors[p] for p in computed]
    answer = _Answer(outputs, {tensors[p]: arrays[p] for p in given})
    parts = answer.within(limit_s, tell)
    expected = {p: [Part(place, values[n]) for place, values in parts] for n, p in enumerate(computed)}
    rtol = {p: tolerance(tensors[p]) for p in computed}
    return Reference(arrays, expected, rtol, {p: tensors[p].dtype for p in computed})


@cache
def product_s() -> float:
    """Give the seconds that NumPy takes for a term of a product of large matrices of float64."""
    a = np.ones((_SIZE, _SIZE))
    spent_s = []
    for _ in range(3):  # in the first, its threads start
        began = time.perf_counter()
        np.matmul(a, a)
        spent_s.append(time.perf_counter() - began)
    return min(spent_s) / _SIZE**3


@dataclass(frozen=True, slots=True)
class _Answer:
    """The right values of tensors."""

    outputs: Sequence[Tensor]
    feeds: Mapping[Tensor, np.ndarray]

    def within(self, limit_s: float, tell: Callable[[str], None]) -> list[tuple[tuple[Any, ...], list[np.ndarray]]]:
        """Give values with their places: all that there are, or what can be computed in a time."""
        if limit_s == math.inf:
            return [(ALL, self.values({}))]
        term_s = product_s()
        whole_s = work(self.outputs, {}).seconds(term_s)
        chosen = stripes(self.outputs, limit_s, term_s)
        if not chosen:
            if whole_s > WORTH_TELLING_S:
                tell(f"computing the right result takes about {whole_s:.0f} s")
            return [(ALL, self.values({}))]
        tell(
            f"computing all of the right result would take about {whole_s:.0f} s: candidates are compared with whole "
            f"rows and columns of it, the first and last among them, which take {sum(s.seconds for s in chosen):.0f} s"
        )
        return [(crossings(stripe.box), self.values(stripe.boxes)) for stripe in chosen]

    def values(self, boxes: Boxes) -> list[np.ndarray]:
        """Give one array for each output, of the elements that `boxes` leaves."""
        floats = any(t.dtype.is_float for t in self.outputs)
        accumulate: Literal["declared", "float64"] = "float64" if floats else "declared"
        found = evaluate(self.outputs, self.feeds, accumulate=accumulate, interpret=interpret, boxes=boxes)
        return [_decoded(np.asarray(v), t.dtype) for v, t in zip(found, self.outputs, strict=True)]


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
    scale = np.maximum(np.abs(expected), math.sqrt(float(np.mean(np.square(expected, dtype=np.float64)))))
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(found.astype(np.float64) - expected) / scale
    error = np.where(found == expected, 0.0, error)
    return float(np.max(error)) if not np.isnan(error).any() else np.inf
