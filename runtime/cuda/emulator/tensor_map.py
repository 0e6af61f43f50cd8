"""Tensor maps of the emulated device: what a GPU's driver encodes, in an encoding of our own."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....ir.dtype import dtype_of
from ....ir.errors import ArgumentError

MAGIC = 0x7470616D776C6974
RANKS = (1, 5)
INNER_STEP = 16  # bytes


@dataclass(frozen=True, slots=True)
class Tiled:
    """An array as the argument for a tensor map: row-major, its last dimension dense.

    box      elements of each dimension that one copy moves, last dimension last
    swizzle  0, 32, 64 or 128 bytes
    """

    array: np.ndarray
    box: tuple[int, ...]
    swizzle: int = 0

    def encode(self, address: int) -> bytes:
        """Give the map of the array's copy at `address`."""
        array = self.array
        return encode_tensor_map(
            array.itemsize, address, array.shape[::-1], array.strides[-2::-1], self.box[::-1], self.swizzle
        )


def element_bytes(dtype: str) -> int:
    """Give the bytes of an element of an IR type."""
    return dtype_of(dtype).bytes


def encode_tensor_map(
    element: int, address: int, shape: Sequence[int], strides: Sequence[int], box: Sequence[int], swizzle: int
) -> bytes:
    """Give the 128 bytes of a tensor map, innermost dimension first.

    element  bytes of an element
    shape    elements of each dimension
    strides  bytes between neighbours of each dimension but the innermost
    box      elements of each dimension that one copy moves
    Raises ArgumentError for what cuTensorMapEncodeTiled refuses.
    """
    rank, inner = len(shape), box[0] * element
    _require(RANKS[0] <= rank <= RANKS[1] and len(box) == rank and len(strides) == rank - 1, f"rank is {rank}")
    _require(all(1 <= n <= 256 for n in box), f"the box is {tuple(box)}: 1 to 256 elements in each dimension")
    _require(inner % INNER_STEP == 0, f"a row of the box is {inner} bytes: no multiple of {INNER_STEP}")
    _require(swizzle in (0, 32, 64, 128), f"the swizzle is {swizzle}: 0, 32, 64 or 128")
    _require(swizzle in (0, inner), f"a row of the box is {inner} bytes, and the swizzle spans {swizzle}")
    _require(address % 16 == 0, f"the address {address:#x} is no multiple of 16")
    _require(all(s % 16 == 0 for s in strides), f"the strides are {tuple(strides)} bytes: not multiples of 16")
    _require(all(n >= 1 for n in shape), f"the shape is {tuple(shape)}")
    whole = [MAGIC, address, rank | element << 8 | swizzle << 16]
    for values in (shape, strides, box):
        whole += [*values, *[1] * (4 - len(values))][:4]
    _require(rank <= 4, "rank is 5: the emulated device has maps of up to 4 dimensions")
    return struct.pack("<16Q", *whole, 0)


def _require(held: bool, fact: str) -> None:
    if not held:
        raise ArgumentError(
            "tensor map", fact, advice="a box, a swizzle and strides as cuTensorMapEncodeTiled takes them"
        )
