"""Arrays in memory as kernels see them: NumPy arrays, and whatever speaks DLPack.

bfloat16 is held in uint16 arrays (or in arrays of the ml_dtypes package), int4 in int8 arrays, one value in each byte.
"""

from __future__ import annotations

import ctypes

import numpy as np

from ..ir.dtype import DType, bfloat16, boolean, dtype_of, int4

_HELD_AS = {bfloat16: "uint16", int4: "int8", boolean: "bool"}
_char_at = ctypes.c_char.from_buffer
_addressof = ctypes.addressof


def numpy_dtype(dtype: DType) -> np.dtype:
    """Give the NumPy type that holds values of `dtype`."""
    return np.dtype(_HELD_AS.get(dtype, str(dtype)))


def as_array(value: object) -> np.ndarray:
    """Give a NumPy view of an array-like object in main memory, without a copy.

    Raises TypeError for an object that is no array, BufferError for one that cannot be seen without a copy.
    """
    match value:
        case np.ndarray():
            return value
    if not hasattr(value, "__dlpack__"):
        raise TypeError(f"a {type(value).__name__}, which is none")
    try:
        return np.from_dlpack(value)  # type: ignore[arg-type]
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise BufferError(f"a {type(value).__name__} that NumPy cannot look into: {error}") from None


def address_of(array: np.ndarray) -> int:
    """Give the address of the first element.

    Asking for a buffer takes a quarter of the time of `array.ctypes`; read-only and empty arrays have none to give.
    """
    try:
        return _addressof(_char_at(array))  # type: ignore[arg-type]  # arrays are buffers; NumPy's stubs say so from 3.12 on
    except (TypeError, ValueError, BufferError):
        return array.__array_interface__["data"][0]


def empty(shape: int | tuple[int, ...], dtype: str | DType, align: int = 64) -> np.ndarray:
    """Give an uninitialised row-major array whose address is a multiple of `align` bytes."""
    held = numpy_dtype(dtype_of(dtype))
    size = int(np.prod(shape, dtype=np.int64)) * held.itemsize
    memory = np.empty(size + align, np.uint8)
    skip = -address_of(memory) % align
    return memory[skip : skip + size].view(held).reshape(shape)
