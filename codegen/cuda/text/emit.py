"""From the kernels of a program to their text in the device language, and how they are launched."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir import arith
from ....ir.buffer import Buffer
from ....ir.expr import Var
from ....ir.gpu import WARP
from ....ir.stmt import Function
from ....ir.target import Target
from ....ir.visit import variables, walk
from ..kernel import AXIS_VARS, BLOCK_AXES, TENSOR_MAP, THREAD_AXES, BoxMap, Kernel, Program
from ..lower import lower_cuda
from ..screens.limits import check_limits
from ..source import CudaSource, Launch, Parameter, TensorMap, Workspace
from .body import Writer
from .expressions import Expressions
from .names import identifier, stored_type
from .shared_memory import shared_layout

HELPERS = """\
template <class T> TW_DEVICE T tw_min(T a, T b) { return a < b ? a : b; }
template <class T> TW_DEVICE T tw_max(T a, T b) { return a > b ? a : b; }
"""


def emit(functions: Sequence[Function], target: Target) -> CudaSource:
    """Give the kernels of functions, lowered for `target`, as one text.

    Raises CodegenError and TargetError for what the backend cannot express or the machine cannot hold.
    """
    programs = [lower_cuda(f, target) for f in functions]
    for kernel in (k for p in programs for k in p.kernels):
        check_limits(kernel, target)
    return emit_programs(programs)


def emit_programs(programs: Sequence[Program]) -> CudaSource:
    """Give the text of programs that are lowered already."""
    kernels = [k for p in programs for k in p.kernels]
    text = "\n".join([HELPERS, *map(_kernel_text, kernels)])
    workspaces = tuple(Workspace(identifier(b), _bytes(b)) for p in programs for b in p.workspaces)
    shared = {b for p in programs for b in p.workspaces}
    maps = tuple(_tensor_map(m, shared) for k in kernels for m in k.maps)
    return CudaSource(text, tuple(_launch(k, shared) for k in kernels), workspaces, maps)


def _bytes(buffer: Buffer) -> str:
    """Give the size of a buffer in bytes, gaps between its rows included."""
    longest = arith.const(1)
    if buffer.shape:
        longest = arith.mul(buffer.dense_strides[0], buffer.shape[0])
    return str(arith.mul(longest, buffer.dtype.bytes))


def _launch(kernel: Kernel, workspaces: set[Buffer]) -> Launch:
    params = [Parameter(TENSOR_MAP, identifier(m.handle)) for m in kernel.maps]
    for param in kernel.params:
        kind = "scalar" if isinstance(param, Var) else "workspace" if param in workspaces else "buffer"
        params.append(Parameter(kind, identifier(param), str(param.dtype)))
    grid = (str(kernel.grid[0]), str(kernel.grid[1]), str(kernel.grid[2]))
    _, shared_bytes = shared_layout(kernel)
    return Launch(kernel.name, tuple(params), grid, kernel.block, shared_bytes, kernel.cluster, kernel.min_blocks)


def _tensor_map(described: BoxMap, workspaces: set[Buffer]) -> TensorMap:
    buffer = described.buffer
    strides = [arith.mul(s, buffer.dtype.bytes) for s in buffer.dense_strides[:-1]]
    name = identifier(buffer) if buffer in workspaces else buffer.name
    return TensorMap(
        identifier(described.handle),
        name,
        str(buffer.dtype),
        tuple(map(str, reversed(buffer.shape))),
        tuple(map(str, reversed(strides))),
        tuple(reversed(described.box)),
        described.swizzle,
    )


def _kernel_text(kernel: Kernel) -> str:
    written = set(kernel.outputs)
    read_only = frozenset(p for p in kernel.params if isinstance(p, Buffer) and p not in written)
    printer = Expressions(dict(kernel.ranges), read_only)
    writer = Writer(printer)
    used = variables(kernel.body) | {n for n in walk(kernel.body) if type(n) is Var}
    for axis, var in AXIS_VARS.items():
        if var in used:
            function = f"tw_{'block' if axis in BLOCK_AXES else 'thread'}_{axis[-1]}"
            alike = f"tw_shuffle({function}(), 0)" if _is_alike(kernel, axis) else f"{function}()"
            writer.line(f"const int {identifier(var)} = {alike};")
    offsets, _ = shared_layout(kernel)
    for buffer, offset in offsets.items():
        kind = stored_type(buffer.dtype)
        writer.line(f"{kind}* const {identifier(buffer)} = ({kind}*)(tw_shared() + {offset});")
    writer.write(kernel.body)
    cluster = f"TW_CLUSTER{kernel.cluster} " if kernel.cluster != (1, 1, 1) else ""
    head = f"TW_KERNEL({kernel.threads}, {kernel.min_blocks}) {cluster}{kernel.name}("
    maps = [f"const TW_GRID_CONSTANT tw_tensor_map {identifier(m.handle)}" for m in kernel.maps]
    params = ",\n    ".join([*maps, *(_parameter(p, p in written) for p in kernel.params)])
    return "\n".join([f"{head}\n    {params}) {{", *writer.lines, "}", ""])


def _is_alike(kernel: Kernel, axis: str) -> bool:
    """Tell whether to show the compiler that the threads of a warp have one index: for roles and for descriptors."""
    return bool(kernel.maps) and axis in THREAD_AXES[1:] and kernel.block[0] % WARP == 0


def _parameter(param: Buffer | Var, written: bool) -> str:
    kind = stored_type(param.dtype)
    if isinstance(param, Var):
        return f"const {kind} {identifier(param)}"
    return f"{'' if written else 'const '}{kind}* __restrict__ {identifier(param)}"
