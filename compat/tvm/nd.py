"""`tvm.nd`: arrays with the methods of TVM's; NumPy's memory is inside."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...runtime import array as memory
from .device import Device, cpu, device

__all__ = ["NDArray", "array", "cpu", "device", "empty", "from_dlpack", "numpyasarray"]


class NDArray:
    """An array in main memory.  Kernels also take plain NumPy arrays in its place."""

    __slots__ = ("_held", "device")

    def __init__(self, held: np.ndarray, device: Device | None = None) -> None:
        self._held, self.device = held, device or cpu(0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Give the extents."""
        return self._held.shape

    @property
    def dtype(self) -> str:
        """Give the data type's name."""
        return str(self._held.dtype)

    @property
    def held(self) -> np.ndarray:
        """Give the memory itself, as a NumPy array."""
        return self._held

    def numpy(self) -> np.ndarray:
        """Give a copy as a NumPy array."""
        return self._held.copy()

    asnumpy = numpy

    def copyfrom(self, source_array: Any) -> NDArray:
        """Take the values of another array of the same shape; give this one."""
        values = unwrapped(source_array)
        if np.shape(values) != self.shape:
            raise ValueError(f"array of shape {np.shape(values)} copied to one of shape {self.shape}")
        self._held[...] = values
        return self

    def copyto(self, target: NDArray | Device, mem_scope: str | None = None) -> NDArray:
        """Give `target` with these values, or a copy on a device."""
        return target.copyfrom(self) if type(target) is NDArray else array(self)

    def __getitem__(self, index: Any) -> Any:
        return self._held[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._held[index] = unwrapped(value)

    def __len__(self) -> int:
        return len(self._held)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._held, dtype)

    def __dlpack__(self, **options: Any) -> Any:
        return self._held.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._held.__dlpack_device__()

    def __repr__(self) -> str:
        return f"<NDArray shape={self.shape}, {self.device}>\n{self._held!r}"


def empty(shape: Any, dtype: str = "float32", device: Device | None = None, mem_scope: str | None = None) -> NDArray:
    """Give an uninitialised array."""
    extents = tuple(int(n) for n in shape) if np.iterable(shape) else (int(shape),)
    return NDArray(memory.empty(extents, str(dtype)), device)


def array(arr: Any, device: Device | None = None, mem_scope: str | None = None) -> NDArray:
    """Give a copy of an array or of nested lists, row-major and aligned."""
    values = np.asarray(unwrapped(arr))
    held = memory.empty(values.shape, str(values.dtype))
    held[...] = values
    return NDArray(held, device)


numpyasarray = array


def from_dlpack(tensor: Any) -> NDArray:
    """Give an array over the memory of another library's."""
    return NDArray(np.from_dlpack(tensor))


def unwrapped(value: Any) -> Any:
    """Give the NumPy array inside, and anything else as it is."""
    return value.held if type(value) is NDArray else value
