"""What the CUDA backend gives: kernels as text in the device language, and how to launch them.  Plain data."""

from __future__ import annotations

from dataclasses import dataclass

Triple = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a kernel.

    kind   "tensor_map", "buffer", "workspace" or "scalar"
    name   a name of the kernel's text
    dtype  element type of a buffer or type of a scalar, as the IR prints it; "" for tensor maps
    """

    kind: str
    name: str
    dtype: str = ""


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of one kernel.

    params        in the order of the kernel's C parameters; tensor maps come first
    grid          blocks along x, y, z: integer expressions over the scalar parameters, such as "(n + 255) // 256"
    block         threads of a block along x, y, z
    shared_bytes  shared memory of a block, all of it dynamic
    cluster       blocks of a cluster along x, y, z
    min_blocks    blocks that shall fit on one multiprocessor at a time; 0 leaves that to the compiler
    """

    name: str
    params: tuple[Parameter, ...]
    grid: tuple[str, str, str]
    block: Triple
    shared_bytes: int = 0
    cluster: Triple = (1, 1, 1)
    min_blocks: int = 0


@dataclass(frozen=True, slots=True)
class Workspace:
    """Global scratch memory that launches of one source share; `bytes` is an expression as in `Launch.grid`."""

    name: str
    bytes: str


@dataclass(frozen=True, slots=True)
class TensorMap:
    """A tiled tensor map over one buffer, as cuTensorMapEncodeTiled takes it: innermost dimension first.

    shape          elements of each dimension: expressions as in `Launch.grid`
    strides_bytes  bytes between neighbours of each dimension but the innermost, which is dense
    box            elements of each dimension that one copy moves
    swizzle        bytes of the swizzle's span: 0 (none), 32, 64 or 128
    """

    name: str
    buffer: str
    dtype: str
    shape: tuple[str, ...]
    strides_bytes: tuple[str, ...]
    box: tuple[int, ...]
    swizzle: int = 0


@dataclass(frozen=True, slots=True)
class CudaSource:
    """Kernels in the device language, without its preamble, and their launches in order."""

    text: str
    launches: tuple[Launch, ...]
    workspaces: tuple[Workspace, ...] = ()
    tensor_maps: tuple[TensorMap, ...] = ()
