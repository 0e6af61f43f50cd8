"""Global memory of the emulated device: pieces that end at guard pages, and know which of their bytes were written."""

from __future__ import annotations

import ctypes

import numpy as np

from ....ir.errors import ArgumentError
from .library import LOCK, runtime


def allocate(size_bytes: int) -> int:
    """Give the address of new memory, a multiple of 256; reading a byte before it is written is a fault.

    Raises MemoryError.
    """
    with LOCK:
        address = runtime().twe_allocate(max(1, size_bytes))
    if not address:
        raise MemoryError(f"no {size_bytes} bytes for a buffer of the emulated device")
    return address


def free(address: int) -> None:
    """Give back what `allocate` gave; an address that it did not give is left alone."""
    with LOCK:
        runtime().twe_free(address)


def upload(address: int, array: np.ndarray) -> None:
    """Copy a gap-free array to the device."""
    _require(address, array.nbytes)
    ctypes.memmove(address, array.ctypes.data, array.nbytes)
    runtime().twe_mark(address, array.nbytes, 1)


def download(address: int, array: np.ndarray) -> None:
    """Copy from the device into a gap-free array."""
    _require(address, array.nbytes)
    ctypes.memmove(array.ctypes.data, address, array.nbytes)


def fill(address: int, byte: int, size_bytes: int) -> None:
    """Set each byte of a piece of memory."""
    _require(address, size_bytes)
    ctypes.memset(address, byte, size_bytes)
    runtime().twe_mark(address, size_bytes, 1)


def forget(address: int, size_bytes: int) -> None:
    """Make a piece of memory unwritten again: all ones, whose reading is a fault."""
    _require(address, size_bytes)
    runtime().twe_mark(address, size_bytes, 0)


def _require(address: int, size_bytes: int) -> None:
    held = runtime().twe_extent(address)
    if size_bytes > held:
        raise ArgumentError(
            "emulate",
            f"{size_bytes} bytes at {address:#x}, where the emulated device holds {held}",
            advice="an address that the emulated device gave, and no more bytes than were asked for",
        )
