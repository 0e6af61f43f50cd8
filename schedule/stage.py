"""A stage of a schedule, as users hold it: the steps of the language as methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..ir.arith import as_expr
from ..ir.errors import ScheduleError
from ..ir.expr import Const, Expr
from ..te.axis import Axis
from ..te.intrin import TensorIntrin
from ..te.operation import Operation
from ..te.tensor import Tensor
from .intrinsics import register_intrinsic
from .steps.bounds import AlignBounds
from .steps.caches import Prefetch, PrefetchEvenly, Stream
from .steps.hopper import BulkStore, Cluster, WarpSpecialize
from .steps.loops import FuseAxes, Reorder, SplitAxis
from .steps.marks import Bind, Parallel, Pipeline, Pragma, Tensorize, Unroll, Vectorize
from .steps.place import ComputeAt, ComputeInline, ComputeRoot, Precompute
from .steps.storage import DoubleBuffer, SetScope, SetStorePredicate, StorageAlign, Swizzle, TransformLayout
from .table import Fuse, Split, StageState

if TYPE_CHECKING:
    from .schedule import Schedule


class Stage:
    """One operator of a schedule; each method takes one step and gives the axes that it made, if any.

    A refused step raises ScheduleError, naming the step, the fact, the place and what to do; the schedule stays as
    it was.
    """

    __slots__ = ("_id", "_schedule")

    def __init__(self, schedule: Schedule, name: str) -> None:
        self._schedule = schedule
        self._id = name

    @property
    def state(self) -> StageState:
        """Give what has been decided about the stage so far."""
        return self._schedule.table.stages[self._id]

    @property
    def op(self) -> Operation:
        """Give what the stage computes now; cache steps and rfactor change it."""
        return self.state.op

    @property
    def leaf_iter_vars(self) -> tuple[Axis, ...]:
        """Give the loops, outermost first."""
        return self.state.leaves

    @property
    def all_iter_vars(self) -> tuple[Axis, ...]:
        """Give every axis there has been: the operator's, then what steps made of them."""
        return self.state.axes

    @property
    def scope(self) -> str:
        """Give the memory that the stage is kept in, "" while it is left to the compiler."""
        return self.state.storage.scope

    def __repr__(self) -> str:
        return f"Stage({self._id})"

    def _key(self, axis: Axis, step: str) -> str:
        return self._schedule.axis_key(self.state, axis, step)

    # -- loops ---------------------------------------------------------------------------------------------------

    def split(
        self, parent: Axis, factor: int | Expr | None = None, nparts: int | Expr | None = None
    ) -> tuple[Axis, Axis]:
        """Cut one loop in two nested loops, the inner one of `factor` steps, or the outer one of `nparts`.

            for i in range(n):             for i_o in range(ceil(n / factor)):
                S[i]                 ->        for i_i in range(factor):
                                                   if i_o * factor + i_i < n:
                                                       S[i_o * factor + i_i]

        The guard is left out wherever the bounds prove it, and a factor beyond a constant extent is the extent.
        Order of execution: unchanged.
        Refused: neither or both of factor and nparts; less than 1; an axis that is not a loop of this stage.
        """
        key = self._key(parent, "split")
        step = SplitAxis(self._id, key, _integer("factor", factor), _integer("nparts", nparts))
        self._schedule.apply(step)
        made = self.state.relations[-1]
        assert isinstance(made, Split)
        return made.outer, made.inner

    def fuse(self, *axes: Axis | Sequence[Axis]) -> Axis:
        """Make one loop of two or more neighbouring ones, outermost first.

            for i in range(n):             for i_j in range(n * m):
                for j in range(m):   ->        S[i_j // m, i_j % m]
                    S[i, j]

        Order of execution: unchanged.
        Refused: loops that are not directly nested in this order; a reduction with a spatial loop.
        """
        flat = _flat(axes)
        self._schedule.apply(FuseAxes(self._id, tuple(self._key(a, "fuse") for a in flat)))
        made = self.state.relations[-1]
        assert isinstance(made, Fuse)
        return made.fused

    def reorder(self, *axes: Axis | Sequence[Axis]) -> None:
        """Put loops in the given order, outermost first; loops not named keep their places.

            for i in range(n):             for j in range(m):
                for j in range(m):   ->        for i in range(n):
                    S[i, j]                        S[i, j]

        Order of execution: changed among iterations, which are independent but for the rounding of sums.
        Refused: axes of another stage; an axis given twice; an axis that is no loop any more.
        """
        self._schedule.apply(Reorder(self._id, tuple(self._key(a, "reorder") for a in _flat(axes))))

    def tile(self, x_parent: Axis, y_parent: Axis, x_factor: int, y_factor: int) -> tuple[Axis, Axis, Axis, Axis]:
        """Cut two loops in tiles of `x_factor` by `y_factor`: two splits and a reorder.

            for x in range(n):             for x_o ...:
                for y in range(m):   ->        for y_o ...:
                    S[x, y]                        for x_i in range(x_factor):
                                                       for y_i in range(y_factor):
                                                           S[x_o * x_factor + x_i, y_o * y_factor + y_i]

        Gives x_o, y_o, x_i, y_i.  Refused as split and reorder are.
        """
        x_outer, x_inner = self.split(x_parent, factor=x_factor)
        y_outer, y_inner = self.split(y_parent, factor=y_factor)
        self.reorder(x_outer, y_outer, x_inner, y_inner)
        return x_outer, y_outer, x_inner, y_inner

    # -- how a loop runs -----------------------------------------------------------------------------------------

    def vectorize(self, axis: Axis) -> None:
        """Run the iterations of a loop as lanes of vector instructions.

            for i in range(16):      ->    for i in vectorized(16):
                S[i]                           S[i]

        Order of execution: all lanes at once.
        Refused: a reduction, naming two iterations that collide; a symbolic extent; more than 1024 lanes.
        """
        self._schedule.apply(Vectorize(self._id, self._key(axis, "vectorize")))

    def unroll(self, axis: Axis) -> None:
        """Write the iterations of a loop out, in order.

            for i in range(2):       ->    S[0]
                S[i]                       S[1]

        Order of execution: unchanged.  Refused: a symbolic extent.
        """
        self._schedule.apply(Unroll(self._id, self._key(axis, "unroll")))

    def parallel(self, axis: Axis) -> None:
        """Run the iterations of a loop on the threads of the pool.

            for i in range(n):       ->    for i in parallel(n):
                S[i]                           S[i]

        Order of execution: any.  Refused: a reduction, naming two iterations that collide; the steps of a scan.
        """
        self._schedule.apply(Parallel(self._id, self._key(axis, "parallel")))

    def bind(self, axis: Axis, thread_axis: Axis | str) -> None:
        """Give the iterations of a loop to the threads of a hardware thread axis.

            for i in range(n):       ->    for i in thread("blockIdx.x", n):
                S[i]                           S[i]

        thread_axis  "blockIdx.x" to ".z", "threadIdx.x" to ".z"; "warp", "lane": threadIdx.y and .x of blocks whose
                     rows are warps; "vthread" for iterations that one thread does side by side
        A reduction may be bound to threads of a block: each sums up its part, and the parts are combined at the end.
        Order of execution: any.  Refused: a reduction bound to anything else; an unknown thread axis; one that
        another loop of the stage has.
        """
        tag = thread_axis.thread or thread_axis.name if isinstance(thread_axis, Axis) else thread_axis
        self._schedule.apply(Bind(self._id, self._key(axis, "bind"), tag))

    def pipeline(self, axis: Axis, stages: int = 2, transport: str = "register") -> None:
        """Fill shared memory for the next iterations of a loop while one is computed.

            for k in range(n):             S[0] = A[0]
                S = A[k]             ->    for k in range(n):
                C = C + f(S)                   S[(k + 1) % 2] = A[k + 1]
                                               C = C + f(S[k % 2])

        stages     iterations that are under way at once: so many copies there are of every shared stage that is
                   computed in the loop
        transport  "register": by way of registers, 2 stages; "cp_async": by asynchronous copies of 4, 8 or 16 bytes;
                   "tma": by the bulk copy engine of sm_90
        Order of execution: the copies run ahead; values are the same.  On a CPU the loop is serial.
        Refused: fewer than 2 stages; unknown transports; a loop that is marked already.
        """
        self._schedule.apply(Pipeline(self._id, self._key(axis, "pipeline"), stages, transport))

    def warp_specialize(
        self, axis: Axis, producer_registers: int | None = None, consumer_registers: int | None = None
    ) -> None:
        """Let one warpgroup more fill the shared memory of a pipelined loop, for those that compute from it.

            for k in range(n):             producer                        consumers
                S = A[k]             ->    for k in range(n):              for k in range(n):
                C = C + f(S)                   wait until S[k % 4] is free     wait until S[k % 4] is full
                                               S[k % 4] = A[k]                 C = C + f(S[k % 4])

        producer_registers, consumer_registers  of a thread of either, 24 to 240 in steps of 8; both or neither
        Order of execution: as of `pipeline`.  On a CPU the loop is serial.
        Refused: a loop that is not pipelined with the transport "tma"; other numbers of registers; a second time.
        """
        registers = (producer_registers or 0, consumer_registers or 0)
        self._schedule.apply(WarpSpecialize(self._id, self._key(axis, "warp_specialize"), *registers))

    def cluster(self, axis: Axis) -> None:
        """Run the blocks of a loop as a cluster: what several of them read of one bulk copy is loaded once.

            for i in thread("blockIdx.x", 2):          for i in thread("blockIdx.x", 2):  # cluster
                for k ...:                       ->        for k ...:
                    S = B[k]                                   S[half i] = B[k, half i], to both blocks
                    C = C + A[i, k] * S                        C = C + A[i, k] * S

        Order of execution: the blocks of a cluster wait for each other's copies.
        Refused: a loop that is not bound to a block axis; an extent that is not 1, 2, 4 or 8.
        """
        self._schedule.apply(Cluster(self._id, self._key(axis, "cluster")))

    def bulk_store(self, axis: Axis) -> None:
        """Leave the copy from shared memory that the loops from `axis` inwards make to the bulk copy engine of sm_90.

            for i in range(128):                      for i in range(128):  # bulk_store
                for j in range(64):           ->          for j in range(64):
                    D[i, j] = S[i, j]                         D[i, j] = S[i, j]

        One thread issues it, and what lies outside of the tensor is left out.  On a CPU the loops are serial.
        Refused: a loop that is marked already; and, when the nest is compiled, what is no box of a tensor.
        """
        self._schedule.apply(BulkStore(self._id, self._key(axis, "bulk_store")))

    def stream(self, axis: Axis) -> None:
        """Store what the loops from `axis` inwards compute past the caches, where they write whole aligned vectors.

            for i_o in range(n // 16):                   for i_o in range(n // 16, stream='C'):
                for i_i in vectorized(16):       ->          for i_i in vectorized(16):
                    C[...] = A[...]                              C[...] = A[...]

        Memory is then not read before it is written, and what the caches hold stays there: a gain where results are
        larger than the last level, a loss where somebody reads them soon.  Arrays whose addresses are multiples of 16
        bytes are streamed, others are stored as ever; whatever the loops write, other threads see it when the kernel
        returns.  GPUs and the interpreter store as ever.
        Order of execution: unchanged.
        Refused: sums, whose terms read the result; a stage that another one reads; one that is not in main memory.
        """
        self._schedule.apply(Stream(self._id, self._key(axis, "stream")))

    def prefetch(self, tensor: Tensor, axis: Axis, offset: int | Expr = 1, evenly: bool = False) -> None:
        """Ask the caches, in each iteration of a loop, for what the iteration `offset` later reads of a tensor.

            for i in range(n):             for i in range(n):
                C[i] = f(A[p(i)])    ->        prefetch(address(A[p(i + 4)]), 0)
                                               C[i] = f(A[p(i)])

        One request for each line of 64 bytes; the last iterations ask for what lies beyond, which is harmless.
        Processors foresee rows that are read from end to end by themselves: it is for other orders, and for loops that
        compute long before they come to the next row.
        With `evenly` no line is asked for again and again, nor all of them at once, where loops inside read the same
        piece of memory many times: each step of the innermost of them asks for its part.

            for j in range(8):             for j in range(8):
                for i in range(16):            for i in range(16):
                    for k in range(64):  ->        for k in range(64):
                        C[i, j] +=                     prefetch(address(P[j + 1, i * 64 + k]), 0)
                          A[i, k] * P[j, k]            C[i, j] += A[i, k] * P[j, k]

        GPUs and the interpreter take no notice.
        Order of execution: unchanged.
        Refused: an offset below 1; a vectorized loop; a tensor that nothing in the stage reads; and, when the nest is
        derived, a loop whose iterations all read the same of it, or, with `evenly`, no one piece of known size in
        loops inside.
        """
        distance = _integer("offset", offset, "prefetch") or 0
        source, step = self._schedule.stage_id(tensor), PrefetchEvenly if evenly else Prefetch
        self._schedule.apply(step(self._id, self._key(axis, "prefetch"), source, tensor.component, distance))

    def pragma(self, axis: Axis, pragma_type: str, pragma_value: int | float | str | None = None) -> None:
        """Attach a hint to a loop, which changes speed and never values.  Refused: unknown names."""
        value = 1 if pragma_value is None else _plain(pragma_value)
        self._schedule.apply(Pragma(self._id, self._key(axis, "pragma"), pragma_type, value))

    def tensorize(self, axis: Axis, tensor_intrin: TensorIntrin) -> None:
        """Replace the loops from `axis` inwards by a tensor intrinsic that computes the same.

            for i_o ...:                   for i_o ...:
                for i_i in range(16):  ->      intrinsic(C at i_o * 16, A at i_o * 16)
                    C[i] = A[i] + 1

        The loops must declare what the intrinsic declares; that is checked when the nest is derived, and a mismatch
        shows both expressions.
        """
        register_intrinsic(tensor_intrin)
        self._schedule.apply(Tensorize(self._id, self._key(axis, "tensorize"), tensor_intrin.name))

    # -- where the stage is computed -----------------------------------------------------------------------------

    def compute_at(self, parent: Stage, scope: Axis) -> None:
        """Compute the stage within a loop of a stage that reads it, as much as one iteration reads.

            for i in range(n):             for j in range(n):
                B[i] = f(A[i])       ->        B[0] = f(A[j])
            for j in range(n):                 C[j] = B[0] + 1
                C[j] = B[j] + 1

        Refused: outputs and placeholders; a parent that does not read the stage; a vectorized loop; and, when the
        nest is derived, a consumer outside of the loop.
        """
        host = parent._id
        key = self._schedule.axis_key(parent.state, scope, "compute_at")
        self._schedule.apply(ComputeAt(self._id, host, key))

    def compute_inline(self) -> None:
        """Compute the stage anew wherever it is read; it is never stored.  Refused: reductions, outputs, extern."""
        self._schedule.apply(ComputeInline(self._id))

    def compute_root(self) -> None:
        """Compute the stage whole, before everything that reads it."""
        self._schedule.apply(ComputeRoot(self._id))

    def precompute(self) -> None:
        """Compute the stage once for many calls, from inputs that stay the same between them: weights, tables.

            for i in range(n):             prepare(W, P):         for i in range(n):
                P[i] = f(W[i])       ->                               P[i] = f(W[i])
            for i in range(n):             main(A, P, C):         for i in range(n):
                C[i] = A[i] * P[i]                                    C[i] = A[i] * P[i]

        `lower_prepared` gives the two functions; `lower` gives one that computes everything in every call.
        Refused: outputs and inputs; a stage that reads what every call computes.
        """
        self._schedule.apply(Precompute(self._id))

    def align_bounds(self, axis: Axis, factor: int) -> None:
        """Compute a multiple of `factor` elements along a dimension, even where the readers need fewer.

            for i in range(3):             for i in range(16):
                B[i] = f(A[i])       ->        B[i] = f(A[i])
            use B[0 .. 2]                  use B[0 .. 2]

        So a stage that is tensorized has whole tiles.  It matters for stages that are computed at a loop.
        Order of execution: unchanged.  Refused: tensors of the caller; an axis that is no dimension; factor < 1.
        """
        self._schedule.apply(AlignBounds(self._id, self._key(axis, "align_bounds"), factor))

    # -- how the stage is stored ---------------------------------------------------------------------------------

    def set_scope(self, scope: str) -> None:
        """Keep the stage in "global", "local", "shared", "warp" or "warpgroup" memory.

        warp       in the registers of a warp, as operands and results of tensor cores: matrices that its lanes hold
                   together
        warpgroup  in the registers of four warps, as results of wgmma
        Refused: other names; tensors of the caller.
        """
        self._schedule.apply(SetScope(self._id, scope))

    def storage_align(self, axis: Axis, factor: int, offset: int) -> None:
        """Pad the stride of a dimension to `offset` modulo `factor` elements, against conflicts in caches and banks.

        Refused: tensors of the caller; an axis that is no dimension; factor < 1; offset outside 0 .. factor - 1.
        """
        key = self._key(axis, "storage_align")
        self._schedule.apply(StorageAlign(self._id, key, factor, offset))

    def double_buffer(self) -> None:
        """Keep two copies and use them in turn, so that filling one can overlap reading the other.

        Refused: a stage that is computed once.
        """
        self._schedule.apply(DoubleBuffer(self._id))

    def transform_layout(self, mapping: Callable[..., Sequence[Expr]]) -> None:
        """Keep the stage with its dimensions re-indexed: `mapping` gives the new indices from the old ones.

            B[i, j]                  ->    B[j // 4, i, j % 4]        lambda i, j: [j // 4, i, j % 4]

        Refused: tensors of the caller; a mapping that cannot be proved one to one.
        """
        axes = self.op.axis
        new = mapping(*(a.var for a in axes))
        self._schedule.apply(TransformLayout(self._id, tuple(str(as_expr(e)) for e in new)))

    def swizzle(self, kind: str = "xor") -> None:
        """Keep the 16-byte pieces of each row in an order that depends on the row, against bank conflicts.

            B[r, s]                  ->    B[r, s // 8 ^ r % 8, s % 8]        64 elements of 2 bytes

        kind  "xor" for rows of any even number of pieces; "32B", "64B", "128B": rows of so many bytes, or of several
              such panels, in the order that bulk copies and wgmma know
        Refused: tensors of the caller; a stage that is padded or re-indexed; and, when the nest is derived, rows that
        are too short.
        """
        self._schedule.apply(Swizzle(self._id, kind))

    def set_store_predicate(self, predicate: Expr) -> None:
        """Store elements only where a condition on the stage's own axes holds.

        The others keep what the memory held before: values may change, as the one who asks for this intends.
        """
        self._schedule.apply(SetStorePredicate(self._id, str(predicate)))


def _flat(axes: Sequence[Axis | Sequence[Axis]]) -> list[Axis]:
    flat: list[Axis] = []
    for item in axes:
        flat += item if isinstance(item, (list, tuple)) else [item]  # type: ignore[arg-type]
    return flat


def _integer(name: str, value: int | Expr | None, step: str = "split") -> int | None:
    """Give a factor as an int.  Raises ScheduleError for anything but an integer."""
    if value is None:
        return None
    plain = _plain(value)
    if isinstance(plain, bool) or not hasattr(plain, "__index__"):
        raise ScheduleError(step, f"{name} is {value!r}", advice="an integer of at least 1")
    return int(plain)  # type: ignore[arg-type]


def _plain(value: object) -> int | float | str:
    return value.value if isinstance(value, Const) else value  # type: ignore[return-value]
