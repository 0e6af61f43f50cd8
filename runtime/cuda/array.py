"""Arrays in the memory of a device."""

from __future__ import annotations

import weakref

import numpy as np

from ...ir.dtype import DType, dtype_of
from ..array import numpy_dtype
from .device import Device
from .dlpack import header


class DeviceArray:
    """A row-major array without gaps in a device's memory, which is given back with the object.

    Kernels on the same device take it without a copy.  PyTorch and CuPy read it by `__cuda_array_interface__`.
    """

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: str | DType) -> None:
        """Allocate an array whose contents are undefined."""
        self.device, self.shape = device, shape
        self.dtype = numpy_dtype(dtype_of(dtype))
        self.nbytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self.address = device.alloc(self.nbytes)
        self._release = weakref.finalize(self, device.free, self.address)
        self._release.atexit = False  # the device frees all its memory when it is closed

    def __repr__(self) -> str:
        return f"<array {self.dtype} {self.shape} on {self.device.name}>"

    @property
    def header(self) -> np.ndarray:
        """Give the header; see `dlpack`."""
        return header(self.address, self.shape, self.dtype)

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        if not self.device.is_gpu:
            raise AttributeError("the array lies in main memory")
        return {
            "data": (self.address, False),
            "shape": self.shape,
            "typestr": self.dtype.str,
            "strides": None,
            "version": 3,
            "stream": 1,
        }

    def numpy(self) -> np.ndarray:
        """Give a copy in main memory."""
        array = np.empty(self.shape, self.dtype)
        self.device.download(self.address, array)
        return array


def to_device(array: np.ndarray, device: Device) -> DeviceArray:
    """Give a copy of a NumPy array in a device's memory."""
    made = DeviceArray(device, array.shape, str(array.dtype))
    device.upload(made.address, np.ascontiguousarray(array))
    return made
