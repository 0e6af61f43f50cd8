"""What no GPU of an architecture runs: refused before anything is compiled, with the figure and the limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from ....ir.arith import int_value
from ....ir.buffer import Buffer
from ....ir.errors import TargetError
from ....ir.expr import Call
from ....ir.gpu import KB, MOST_BLOCK, MOST_CLUSTER, MOST_GRID, MOST_REGISTERS, MOST_THREADS, REGISTERS, WARP
from ....ir.stmt import Allocate
from ....ir.target import Target
from ....ir.visit import of_kind
from ..kernel import Kernel
from ..text.shared_memory import shared_layout
from .traffic import Traffic, traffic

COPY_BYTES = (4, 8, 16)  # of one cp_async
AXES = "xyz"


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that a kernel exceeds.

    fact     the figure and the limit
    buffers  what makes up the figure
    advice   what to do
    """

    fact: str
    advice: str
    buffers: tuple[Buffer, ...] = ()


def check_limits(kernel: Kernel, target: Target, counted: Traffic | None = None) -> None:
    """Let a kernel pass that a GPU of the target's architecture can run.

    counted  what `traffic(kernel)` gave, if it is known
    Raises TargetError for the first limit that it exceeds, with the buffers that are to blame and their sizes.
    """
    found = next(excesses(kernel, target, counted), None)
    if found is not None:
        lines = [f"  kernel {kernel.name} on {target.arch}", *map(_line, found.buffers)]
        raise TargetError("limits", found.fact, "\n".join(lines), found.advice)


def excesses(kernel: Kernel, target: Target, counted: Traffic | None = None) -> Iterator[Excess]:
    """Give every limit of the target's architecture that a kernel exceeds; arguments as for `check_limits`."""
    yield from _of_block(kernel)
    yield from _of_grid(kernel, target)
    yield from _of_memory(kernel, target)
    yield from _of_instructions(kernel, target)
    found = counted or traffic(kernel)
    yield from _of_registers(kernel, found)
    yield from _of_alignment(found)


def _of_block(kernel: Kernel) -> Iterator[Excess]:
    x, y, z = kernel.block
    if kernel.threads > MOST_THREADS:
        fact = f"a block has {x} x {y} x {z} = {kernel.threads} threads, at most {MOST_THREADS} are possible"
        yield Excess(fact, "smaller factors of the loops bound to threadIdx, or a part of them bound to vthread")
    for axis, extent, most in zip(AXES, kernel.block, MOST_BLOCK, strict=True):
        if extent > most:
            fact = f"threadIdx.{axis} has {extent} steps, at most {most} are possible"
            yield Excess(fact, f"bind this loop to threadIdx.x, or split it by {most}")


def _of_grid(kernel: Kernel, target: Target) -> Iterator[Excess]:
    for axis, extent, most in zip(AXES, kernel.grid, MOST_GRID, strict=True):
        blocks = int_value(extent)
        if blocks is not None and blocks > most:
            fact = f"blockIdx.{axis} has {blocks} steps, at most {most} are possible"
            yield Excess(fact, "fuse this loop with the one bound to blockIdx.x, or let each block do more")
    cluster = prod(kernel.cluster)
    if cluster > 1 and target.gpu.capability < 90:
        yield Excess(f"clusters of {cluster} blocks need sm_90, the target is {target.arch}", "no cluster")
    if cluster > MOST_CLUSTER:
        yield Excess(f"a cluster has {cluster} blocks, at most {MOST_CLUSTER} are portable", "smaller clusters")


def _of_memory(kernel: Kernel, target: Target) -> Iterator[Excess]:
    gpu, (_, used) = target.gpu, shared_layout(kernel)
    if used > gpu.shared_bytes:
        fact = f"a block needs {_size(used)} of shared memory, {target.arch} has {_size(gpu.shared_bytes)} for one"
        yield Excess(fact, "smaller tiles, or fewer stages of the pipelined loop", kernel.shared)
    resident = gpu.resident_blocks(kernel.threads, 0, used)
    if kernel.min_blocks > resident > 0:
        fact = (
            f"{kernel.min_blocks} blocks of {kernel.threads} threads and {_size(used)} of shared memory are to be on a "
            f"multiprocessor at a time, {resident} fit"
        )
        yield Excess(fact, f"min_blocks={resident}, or smaller blocks", kernel.shared)


def _of_registers(kernel: Kernel, counted: Traffic) -> Iterator[Excess]:
    words = ceil(counted.local_bytes / 4)
    arrays = tuple(a.buffer for a in of_kind(kernel.body, Allocate) if a.buffer.scope != "shared")
    if words > MOST_REGISTERS:
        fact = f"a thread's arrays need {words} registers, it can have {MOST_REGISTERS}"
        yield Excess(fact, "smaller tiles of a thread, computed by more threads", arrays)
    elif words * ceil(kernel.threads / WARP) * WARP > REGISTERS:
        fact = (
            f"{kernel.threads} threads with arrays of {words} registers need {words * kernel.threads}, "
            f"a multiprocessor has {REGISTERS}"
        )
        yield Excess(fact, "fewer threads in a block, or smaller tiles of a thread", arrays)


def _of_instructions(kernel: Kernel, target: Target) -> Iterator[Excess]:
    names = dict.fromkeys(call.name for call in of_kind(kernel.body, Call))
    for name in names:
        needed = next((arch for prefix, arch in _NEEDS if name.startswith(prefix)), "")
        if needed and not _has(target, needed):
            fact = f"{name} needs {needed}, the target is {target.arch}"
            yield Excess(fact, f'a schedule without it, or the target "cuda -arch={needed}"')


def _has(target: Target, needed: str) -> bool:
    """Tell whether the target has what an architecture has; one that ends in "a" is like no other."""
    if needed.endswith("a"):
        return target.arch == needed
    return target.gpu.capability >= int(needed.removeprefix("sm_"))


def _of_alignment(counted: Traffic) -> Iterator[Excess]:
    for access in counted.accesses:
        if access.kind in ("load", "store"):
            continue  # the emitter takes only vectors that it has proved to be aligned
        if access.kind == "cp_async" and access.bytes not in COPY_BYTES:
            fact = f"cp_async moves {access.bytes} bytes at a time, {COPY_BYTES} are possible"
            yield Excess(fact, "vectorize the copy by as many elements as make 4, 8 or 16 bytes", (access.buffer,))
            continue
        off = access.active & (access.offsets % access.bytes != 0)
        if off.any():
            place = int(access.offsets[np.nonzero(off)][0])
            fact = f"{access.kind} takes {access.bytes} bytes at byte {place} of {access.buffer.name}: not aligned"
            advice = f"storage_align or rows of {access.buffer.name} that are multiples of {access.bytes} bytes"
            yield Excess(fact, advice, (access.buffer,))


def _bytes(buffer: Buffer) -> int:
    extents = [int_value(extent) or 1 for extent in buffer.shape]
    if buffer.strides is None:
        return prod(extents) * buffer.dtype.bytes
    strides = [int_value(stride) or 1 for stride in buffer.strides]
    return (1 + sum((n - 1) * k for n, k in zip(extents, strides, strict=True))) * buffer.dtype.bytes


def _line(buffer: Buffer) -> str:
    shape = ", ".join(map(str, buffer.shape))
    return f"  {buffer.name} ({shape}) {buffer.dtype}, {buffer.scope}: {_size(_bytes(buffer))}"


def _size(count: int) -> str:
    return f"{count} bytes" if count < KB else f"{count / KB:g} KiB"


_NEEDS = (  # intrinsics by the beginning of their names, and the first architecture that has them
    ("cp_async", "sm_80"),
    ("mma_", "sm_80"),
    ("ldmatrix", "sm_75"),
    ("stmatrix", "sm_90"),
    ("wgmma", "sm_90a"),
    ("setmaxnreg", "sm_90a"),
    ("tma_", "sm_90"),
    ("mbar_", "sm_90"),
    ("cluster_", "sm_90"),
)
