"""How much of a buffer the vector registers of a machine hold."""

from __future__ import annotations

from ...ir import arith
from ...ir.buffer import Buffer
from ...ir.target import Target

FILL = 2  # register files that a tile may take: what does not fit is spilled, which is not worse than memory


def fits_registers(buffer: Buffer, target: Target) -> bool:
    """Tell whether a buffer of constant shape is small enough to be kept in registers."""
    size = buffer.dtype.bytes
    for dim in buffer.shape:
        extent = arith.int_value(dim)
        if extent is None:
            return False
        size *= extent
    return size <= FILL * register_bytes(target)


def register_bytes(target: Target) -> int:
    """Give the size of the vector register file."""
    return (target.registers or 16) * (target.vector_bits or 128) // 8
