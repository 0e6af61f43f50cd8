"""Running a nest three ways: interpreted, and as the emitted kernels on the emulator in every order and mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tilewright.codegen.cuda.lower import lower_cuda
from tilewright.codegen.cuda.source import CudaSource
from tilewright.codegen.cuda.text.emit import emit_programs
from tilewright.codegen.interp import interpret
from tilewright.codegen.scalar import array_dtype, to_array
from tilewright.ir.dtype import bfloat16, dtype_of
from tilewright.ir.stmt import Function
from tilewright.ir.target import Target
from tilewright.runtime.cuda.emulator.image import Emulator
from tilewright.runtime.cuda.emulator.tensor_map import Tiled
from tilewright.runtime.cuda.emulator.verify import verify

AMPERE = Target.parse("cuda -arch=sm_80")
HOPPER = Target.parse("cuda -arch=sm_90a")


def kernels_of(function: Function, target: Target = AMPERE) -> CudaSource:
    """Give the emitted kernels of a nest."""
    return emit_programs([lower_cuda(function, target)])


def emulated(function: Function, *inputs: np.ndarray, target: Target = AMPERE) -> np.ndarray:
    """Give the output of a function of one launch and one output, the same in all orders of threads.

    inputs  of the parameters that are not the output, in order
    """
    return emulated_source(kernels_of(function, target), function, *inputs)


def emulated_source(source: CudaSource, function: Function, *inputs: np.ndarray) -> np.ndarray:
    """Give the output of a function of one launch, as the given text computes it."""
    (launch,) = source.launches
    (output,) = function.outputs
    arrays = arguments(function, inputs)
    by_name: dict[str, np.ndarray | Tiled] = dict(zip((b.name for b in function.buffers), arrays, strict=True))
    for described in source.tensor_maps:
        array = arrays[[b.name for b in function.buffers].index(described.buffer)]
        by_name[described.name] = Tiled(array, described.box[::-1], described.swizzle)
    grid = (int(launch.grid[0]), int(launch.grid[1]), int(launch.grid[2]))
    written = {output.name, *(described.name for described in source.tensor_maps if described.buffer == output.name)}
    names = [p.name for p in launch.params if p.name in written]
    (result,) = verify(Emulator().compile(source), launch, [by_name[p.name] for p in launch.params], grid, names)
    return result


def interpreted(function: Function, *inputs: np.ndarray) -> np.ndarray:
    """Give the output of a function as the nest means it."""
    arrays = arguments(function, inputs)
    interpret(function, arrays)
    return arrays[[*function.buffers].index(function.outputs[0])]


def arguments(function: Function, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Give an array for each parameter: the inputs in order, zeros for the output."""
    rest = iter(inputs)
    made = []
    for buffer in function.buffers:
        shape = [int(d.value) for d in buffer.shape]  # type: ignore[attr-defined]
        made.append(np.zeros(shape, array_dtype(buffer.dtype)) if buffer in function.outputs else next(rest))
    return made


def random_array(rng: np.random.Generator, shape: Sequence[int], dtype: str) -> np.ndarray:
    """Give values around 0 as an array that holds `dtype`: bfloat16 in uint16."""
    if dtype_of(dtype).is_int:
        return rng.integers(-100, 100, shape).astype(dtype)
    values = rng.standard_normal(shape).astype(np.float32)
    return to_array(list(values.ravel()), dtype_of(dtype)).reshape(shape)


def exact(array: np.ndarray, dtype: str) -> np.ndarray:
    """Give the values that an array of `dtype` holds, in float64."""
    if dtype_of(dtype) == bfloat16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)
