"""Where the shared buffers of a kernel lie in the memory of its block."""

from __future__ import annotations

from math import prod

from ....ir import arith
from ....ir.buffer import Buffer
from ....ir.errors import CodegenError
from ..kernel import Kernel

SHARED_ALIGN = 128  # bytes; swizzled copies of 128-byte rows ask for more in the buffer's own `align`


def shared_layout(kernel: Kernel) -> tuple[dict[Buffer, int], int]:
    """Give the offset of each shared buffer in the block's memory, and the size of all together, in bytes."""
    offsets: dict[Buffer, int] = {}
    end = 0
    for buffer in kernel.shared:
        align = max(SHARED_ALIGN, buffer.align)
        end = -(-end // align) * align
        offsets[buffer] = end
        end += shared_bytes(buffer)
    return offsets, end


def shared_bytes(buffer: Buffer) -> int:
    """Give the size of a shared buffer in bytes.  Raises CodegenError for one of symbolic size."""
    strides = [arith.int_value(s) for s in buffer.dense_strides]
    shape = [arith.int_value(d) for d in buffer.shape]
    known = [n for n in (*strides, *shape) if n is not None]
    if len(known) < 2 * len(shape):
        fact = f"{buffer.name} has the shape ({', '.join(map(str, buffer.shape))}), and shared memory a fixed size"
        raise CodegenError("cuda", fact, advice=f"compute {buffer.name} at a loop where a constant part is read")
    if buffer.strides is None:
        return buffer.dtype.bytes * prod(known[len(shape) :])
    return buffer.dtype.bytes * max(s * n for s, n in zip(known[: len(shape)], known[len(shape) :], strict=True))
