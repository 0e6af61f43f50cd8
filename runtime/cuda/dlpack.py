"""Arrays in GPU memory that other packages hold, seen without a copy: DLPack and `__cuda_array_interface__`.

They are given as *headers*: NumPy arrays whose address is one of the GPU.  A header's shape, strides and type can be
checked like any array's; its elements must never be touched.
Source: DLPack 1.1, dlpack.h; "CUDA Array Interface (Version 3)", Numba's documentation.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

LEGACY_DEFAULT_STREAM = 1  # as both protocols write it
_CUDA, _CUDA_MANAGED = 2, 13  # DLDeviceType
_KINDS = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}  # DLDataTypeCode


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


@dataclass(frozen=True, slots=True)
class _Interface:
    """An object that NumPy makes an array of without looking at its memory."""

    __array_interface__: dict[str, Any]


def header(address: int, shape: tuple[int, ...], dtype: np.dtype, strides: tuple[int, ...] | None = None) -> np.ndarray:
    """Give a header; `strides` are in bytes, None for row-major without gaps."""
    about = {"data": (address, False), "shape": shape, "typestr": dtype.str, "strides": strides, "version": 3}
    return np.asarray(_Interface(about))


def is_on_gpu(value: object) -> bool:
    """Tell whether an array of another package lies in GPU memory."""
    if hasattr(value, "__dlpack_device__"):
        return value.__dlpack_device__()[0] in (_CUDA, _CUDA_MANAGED)  # type: ignore[attr-defined]
    return hasattr(value, "__cuda_array_interface__")


def header_of(value: Any) -> np.ndarray:
    """Give the header of an array in GPU memory; it holds only as long as `value` does.

    bfloat16 is held in uint16.  What the owner still writes on its own stream is done before the legacy default
    stream goes on.
    Raises TypeError for element types that no kernel takes, BufferError where the owner refuses.
    """
    if hasattr(value, "__dlpack_device__"):
        return _from_capsule(value.__dlpack__(stream=LEGACY_DEFAULT_STREAM))
    about = value.__cuda_array_interface__
    address, _read_only = about["data"]
    return header(address, tuple(about["shape"]), np.dtype(about["typestr"]), about.get("strides"))


def _from_capsule(capsule: object) -> np.ndarray:
    """Read a capsule, which stays unconsumed: it gives its tensor back when it is collected."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = _Tensor.from_address(pointer(capsule, b"dltensor"))
    dtype = _dtype(tensor.code, tensor.bits, tensor.lanes)
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(s * dtype.itemsize for s in tensor.strides[: tensor.ndim]) if tensor.strides else None
    return header((tensor.data or 0) + tensor.byte_offset, shape, dtype, strides)


def _dtype(code: int, bits: int, lanes: int) -> np.dtype:
    kind = _KINDS.get(code)
    if kind is None or lanes != 1:
        raise TypeError(f"elements of DLPack's type code {code}, {bits} bits, {lanes} lanes")
    if kind == "bfloat":
        return np.dtype("uint16")
    return np.dtype("bool" if kind == "bool" else f"{kind}{bits}")
