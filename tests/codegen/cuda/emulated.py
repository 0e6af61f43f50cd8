"""Schedules for GPUs checked: the emitted kernels, emulated in all orders and modes = direct evaluation.

A way to schedule is a function from a shape to a schedule.  Its kernels for all shapes are compiled together: most of
the time of the compiler is to start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tilewright.codegen.cuda.source import CudaSource
from tilewright.codegen.cuda.text.emit import HELPERS, emit
from tilewright.ir.expr import Var
from tilewright.ir.stmt import Function
from tilewright.ir.target import Target
from tilewright.runtime.cuda.emulator.image import EmulatedImage, Emulator
from tilewright.runtime.cuda.emulator.verify import verify_all
from tilewright.schedule import lower
from tilewright.schedule.schedule import Schedule
from tilewright.te.evaluate import evaluate
from tilewright.te.machine import array_dtype
from tilewright.te.operation import PlaceholderOp
from tilewright.te.tensor import Tensor

AMPERE = Target.parse("cuda -arch=sm_80")
SIZES = (1, 2, 7, 31, 32, 33, 64, 100, 129)
MATRICES = ((1, 1), (1, 33), (7, 5), (16, 32), (31, 31), (33, 64), (32, 100), (64, 17), (70, 36))
CUBES = (
    (1, 1, 1), (1, 7, 31), (2, 3, 8), (3, 2, 33), (4, 5, 9), (5, 4, 8), (7, 1, 16), (6, 6, 6), (2, 31, 10),
)  # fmt: skip
PRODUCTS = (
    (1, 1, 1), (7, 5, 3), (8, 8, 8), (16, 32, 8), (17, 31, 9), (33, 20, 16), (32, 32, 33), (40, 24, 31), (64, 12, 40),
)  # fmt: skip

Shape = int | tuple[int, ...]
Scheduled = tuple[Schedule, Sequence[Tensor]]  # a schedule, and its parameters: inputs and outputs
Way = Callable[[Shape], Scheduled]


@dataclass(frozen=True, eq=False)
class Emulated:
    """The kernels of a schedule, and what they should compute."""

    image: EmulatedImage
    source: CudaSource
    function: Function
    tensors: tuple[Tensor, ...]

    @property
    def inputs(self) -> list[Tensor]:
        """Give the tensors that the caller fills."""
        return [t for t in self.tensors if type(t.op) is PlaceholderOp]

    @property
    def outputs(self) -> list[Tensor]:
        """Give the tensors that the kernels compute."""
        return [t for t in self.tensors if type(t.op) is not PlaceholderOp]

    def results(self, feeds: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Give the outputs, of the shapes of `expected`, the same in all orders and modes."""
        rest, fresh = iter(feeds), iter(map(np.empty_like, expected))
        given = [next(rest if type(t.op) is PlaceholderOp else fresh) for t in self.tensors]
        buffers = self.function.buffers
        arguments = {b.name: array for b, array in zip(buffers, given, strict=True)}
        for buffer, array in zip(buffers, given, strict=True):
            arguments |= {d.name: n for d, n in zip(buffer.shape, array.shape, strict=True) if type(d) is Var}
        names = [b.name for b, t in zip(buffers, self.tensors, strict=True) if type(t.op) is not PlaceholderOp]
        made = verify_all(self.image, self.source, arguments, names)
        return [made[name] for name in names]


def emulated(*scheduled: Scheduled, target: Target = AMPERE) -> list[Emulated]:
    """Give the kernels of schedules, compiled together."""
    functions = [lower(s, list(tensors), f"f{n}") for n, (s, tensors) in enumerate(scheduled)]
    sources = [emit([function], target) for function in functions]
    texts = [source.text.removeprefix(HELPERS) for source in sources]
    launches = tuple(launch for source in sources for launch in source.launches)
    image = Emulator().compile(CudaSource("\n".join([HELPERS, *texts]), launches))
    return [
        Emulated(image, source, function, tuple(tensors))
        for source, function, (_, tensors) in zip(sources, functions, scheduled, strict=True)
    ]


@cache
def _kernels(way: Way, shapes: tuple[Shape, ...]) -> dict[Shape, Emulated]:
    return dict(zip(shapes, emulated(*map(way, shapes)), strict=True))


def whole_numbers(tensor: Tensor, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Give numbers from -4 to 4: sums and products of few of them are exact in all types, in any order."""
    least = 0 if str(tensor.dtype).startswith("u") else -4
    values = rng.integers(least, 5, shape)
    if str(tensor.dtype) == "bfloat16":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(array_dtype(tensor.dtype))


def feeds_of(tensors: Sequence[Tensor], sizes: dict[str, int] | None = None) -> list[np.ndarray]:
    """Give an array of whole numbers for each tensor; `sizes` of the dimensions that are variables."""
    rng = np.random.default_rng(0)
    shapes = [[(sizes or {})[d.name] if type(d) is Var else int(d.value) for d in t.shape] for t in tensors]
    return [whole_numbers(t, shape, rng) for t, shape in zip(tensors, shapes, strict=True)]


def assert_same(kernels: Emulated, feeds: Sequence[np.ndarray] | None = None) -> None:
    """Hold kernels to direct evaluation, bit by bit: on whole numbers, if no others are given."""
    feeds = feeds_of(kernels.inputs) if feeds is None else feeds
    expected = evaluate(kernels.outputs, dict(zip(kernels.inputs, feeds, strict=True)))
    for want, got in zip(expected, kernels.results(feeds, expected), strict=True):
        np.testing.assert_array_equal(got, want)


def assert_way(way: Way, shapes: tuple[Shape, ...], shape: Shape) -> None:
    """Hold the kernels of a way to schedule to direct evaluation for one of its shapes."""
    assert_same(_kernels(way, shapes)[shape])
