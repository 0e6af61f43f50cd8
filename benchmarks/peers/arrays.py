"""Arrays of a call: random inputs that every process makes alike, and results aligned like a vector."""

from __future__ import annotations

import numpy as np

from .operations import Operand, Operation

ALIGN = 64


def empty(operand: Operand) -> np.ndarray:
    """Give an array whose address is a multiple of 64."""
    dtype = np.dtype(operand.dtype)
    memory = np.empty(operand.size_bytes + ALIGN, np.uint8)
    skip = -memory.ctypes.data % ALIGN
    return memory[skip : skip + operand.size_bytes].view(dtype).reshape(operand.shape)


def random_inputs(operation: Operation, seed: int) -> list[np.ndarray]:
    """Give the operands: floats uniform in [-1, 1), bytes over their whole range but -128."""
    rng = np.random.default_rng(seed)
    arrays = []
    for operand in operation.operands:
        array = empty(operand)
        match operand.dtype:
            case "uint8":
                array[...] = rng.integers(0, 256, operand.shape)
            case "int8":
                array[...] = rng.integers(-127, 128, operand.shape)
            case _:
                array[...] = 2 * rng.random(operand.shape, np.float32) - 1
        arrays.append(array)
    return arrays
