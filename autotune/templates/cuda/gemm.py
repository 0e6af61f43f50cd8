"""Products of matrices on CUDA cores: blocks, warps, lanes and a register tile, over tiles in shared memory.

for block of C, over blockIdx:
    for warp over threadIdx.y, lane over threadIdx.x:
        C_local = 0                                    # 2 x 2 pieces of 4 x 4 elements, or fewer
        for k_o:                                       # pipelined
            A_shared[k, m], B_shared[k, n] = tiles     # by all threads together
            for k_i:                                   # unrolled
                A_local, B_local = pieces of them      # 16 bytes at once
                C_local += A_local * B_local
        C = C_local
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd, prod

from ....ir.arith import int_value
from ....ir.gpu import BANKS
from ....ir.visit import of_kind, variables
from ....schedule.gpu_defaults import bind_to_gpu
from ....schedule.schedule import Schedule
from ....schedule.stage import Stage
from ....schedule.table import is_reduction
from ....te.axis import Axis
from ....te.nodes import Read
from ....te.operation import ComputeOp, Operation
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target
from ..register_tile import size
from .block_tile import PIECE, RESIDENT, Size, Workload, sizes_of, threads_of
from .cooperative import Team, copy_lanes

DEPTHS = (8, 16, 32)  # of the tiles in shared memory
UNROLLS = (8, 32)  # steps of the sum that are written out, at most
RASTERS = (1, 2, 4, 8, 16)  # rows of blocks that run together, so that they find their operands in the L2 cache
PARTS = (1, 2, 4, 8, 16)  # of the sum, for results too small to fill a GPU
LEAST_PART = 32  # steps of the sum for one of them
TRANSPORTS = ("none", "register", "cp_async")
STAGES = (2, 3, 4)
KNOBS = ("tile_m", "tile_n", "tile_k", "unroll", "transport", "stages", "raster", "parts", "resident")
ESTIMATED = ("tile_m", "tile_n", "parts")  # knobs that `Workload.estimate` knows


@dataclass(frozen=True, slots=True)
class Operand:
    """A matrix, or a batch of them, that a product reads.

    kept, summed  its dimensions that the product keeps, and sums over
    """

    tensor: Tensor
    kept: int
    summed: int

    @property
    def last(self) -> int:
        """Give the dimension of which neighbours are neighbours in memory."""
        return max(self.kept, self.summed)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a schedule of a product needs to know besides its knobs.

    grid  gives the loops of the output's stage that are batches, rows and columns of the product
    run   gives how many neighbours of an operand's last dimension are neighbours in memory, from an aligned place on
    root  name of an operand that a kernel of its own computes before
    """

    grid: Callable[[Stage], tuple[list[Axis], Axis, Axis]]
    run: Callable[[Tensor], int]
    root: str = ""


def plain_grid(out: Stage) -> tuple[list[Axis], Axis, Axis]:
    """Give the loops of an output that has the shape of the product."""
    *batch, rows, columns = out.op.axis
    return batch, rows, columns


def row_length(tensor: Tensor) -> int:
    """Give the length of a tensor's rows."""
    return size(tensor.op.axis[-1]) if tensor.op.axis else int_value(tensor.shape[-1]) or 1


def schedule(cfg: Knobs, s: Schedule) -> None:
    """Schedule a product, and what is computed elementwise from it, as one kernel; two where the sum is cut."""
    stage = reduction_of(s)
    assert isinstance(stage.op, ComputeOp)
    work = workload_of(stage.op)
    define(cfg, work)
    cfg.define_estimate(lambda m, n, p: work.estimate(m, n, p.val), *ESTIMATED)
    apply(cfg, s, Plan(plain_grid, row_length))


def reduction_of(s: Schedule) -> Stage:
    """Give the stage that sums; there is one."""
    return next(stage for stage in s.stages if stage.state.compute and is_reduction(stage.state))


def workload_of(op: ComputeOp) -> Workload:
    """Give the extents of a product."""
    *batch, rows, columns = map(size, op.axis)
    element_bytes = max(t.dtype.bytes for t in op.inputs)
    return Workload(prod(batch), rows, columns, size(op.reduce_axis[0]), element_bytes, get_target().gpu)


def define(cfg: Knobs, work: Workload) -> float:
    """Define the knobs of a product; their default is what promises most for the shape.

    Gives the estimate of the default, in multiply-adds per second.
    """
    rows, columns = sizes_of(work.rows, work.columns), sizes_of(work.columns, work.rows)
    depths = [d for d in DEPTHS if d == DEPTHS[0] or d < 2 * work.depth]
    parts = [p for p in PARTS if p == 1 or (work.depth % p == 0 and work.depth >= LEAST_PART * p)]
    m, n, part, rate = work.best(rows, columns, parts, DEPTHS[0])
    depth, resident = work.depth_and_blocks(m, n, depths[:2], STAGES[0])
    cfg.define_split("tile_m", work.rows, "candidate", num_outputs=4, candidate=rows, default=m)
    cfg.define_split("tile_n", work.columns, "candidate", num_outputs=4, candidate=columns, default=n)
    cfg.define_knob("tile_k", depths, default=depth)
    cfg.define_knob("unroll", list(UNROLLS), default=UNROLLS[-1])
    cfg.define_knob("transport", list(TRANSPORTS), default="register" if work.depth > depth else "none")
    cfg.define_knob("stages", list(STAGES))
    cfg.define_knob("raster", list(RASTERS), default=4)
    cfg.define_knob("parts", parts, default=part)
    cfg.define_knob("resident", list(RESIDENT), default=resident)
    memory = ("tile_m", "tile_n", "tile_k", "stages")
    cfg.restrict(work.is_warp, "tile_m", "tile_n")
    cfg.restrict(lambda m, n, k, c, b: work.fits(m, n, k.val, c.val, b.val), *memory, "resident")
    cfg.restrict(lambda t, c: (t.val == "cp_async") | (c.val == STAGES[0]), "transport", "stages")
    cfg.define_feature("threads", threads_of, "tile_m", "tile_n")
    cfg.define_feature("registers", lambda m, n, k: work.registers(m, n, k.val), "tile_m", "tile_n", "tile_k")
    cfg.define_feature("shared_bytes", lambda m, n, k, c: work.shared_bytes(m, n, k.val, c.val), *memory)
    return rate


def apply(cfg: Knobs, s: Schedule, plan: Plan) -> None:
    """Apply the knobs of `define` to the one product of a schedule.

    What is computed from the result, element by element, is computed with it; what the operands are computed from, as
    their tiles are copied.
    """
    stage, out = reduction_of(s), s[s.outputs[0]]
    for other in s.stages:
        if other.state.compute and other.state.id not in (stage.state.id, out.state.id):
            bind_to_gpu(other) if other.op.name == plan.root else other.compute_inline()
    if cfg["parts"].val > 1:
        stage = cut_sum(s, stage, out, cfg["parts"].val)
        batch, rows, columns = plain_grid(stage)
        out = stage
    else:
        batch, rows, columns = plan.grid(out)
    operands = operands_of(stage.op)
    sums = stage.op.output(0)
    if stage.state.id == out.state.id:
        sums = s.cache_write(sums, "local")
    else:
        stage.set_scope("local")
    assert isinstance(sums, Tensor)
    copies = [Copied.of(s, operand, sums) for operand in operands]
    lane = _tile(cfg, out, batch, rows, columns)
    s[sums].compute_at(out, lane)
    _sum(cfg, s, sums, copies, plan)


def operands_of(op: Operation) -> tuple[Operand, Operand]:
    """Give the operand that knows the row of a product, and the one that knows the column."""
    assert isinstance(op, ComputeOp)
    depth = op.reduce_axis[0]
    found = []
    for axis in op.axis[-2:]:
        read = next(r for r in of_kind(op.body[0], Read) if any(axis.var in variables(i) for i in r.indices))
        kept, summed = (
            next(d for d, index in enumerate(read.indices) if a.var in variables(index)) for a in (axis, depth)
        )
        found.append(Operand(read.tensor, kept, summed))
    return found[0], found[1]


@dataclass(frozen=True, slots=True)
class Copied:
    """An operand with its tile in shared memory and a thread's part of it in registers."""

    operand: Operand
    shared: Tensor
    local: Tensor

    @classmethod
    def of(cls, s: Schedule, operand: Operand, reader: Tensor) -> Copied:
        """Copy an operand for the stage that reads it."""
        shared = s.cache_read(operand.tensor, "shared", [reader])
        local = s.cache_read(shared, "local", [reader])
        return cls(operand, shared, local)


def cut_sum(s: Schedule, stage: Stage, out: Stage, parts: int) -> Stage:
    """Cut the sum in parts of other blocks, and add them up by a kernel of its own; gives the stage of the parts."""
    part, _ = stage.split(stage.op.reduce_axis[0], nparts=parts)
    partial = s.rfactor(stage.op.output(0), part)
    assert isinstance(partial, Tensor)
    if stage.state.id == out.state.id:
        sums = s.cache_write(stage.op.output(0), "local")
        assert isinstance(sums, Tensor)
        stage = s[sums]
    bind_to_gpu(out)
    thread = next(a for a in reversed(out.leaf_iter_vars) if out.state.loop(a).thread)
    stage.compute_at(out, thread)
    *others, last = stage.op.axis
    pieces, lane = stage.split(last, factor=PIECE)
    stage.reorder(*stage.op.reduce_axis, *others, pieces, lane)  # a part of neighbouring sums is loaded at once
    stage.unroll(stage.op.reduce_axis[0])
    stage.vectorize(lane)
    return s[partial]


@dataclass(frozen=True, slots=True)
class Levels:
    """The loops that one dimension of the result is cut in."""

    block: Axis
    warp: Axis
    piece: Axis
    lane: Axis
    element: Axis

    @classmethod
    def of(cls, stage: Stage, axis: Axis, tile: Size) -> Levels:
        """Cut an axis."""
        _, warps, lanes, elements = tile
        together = min(elements, PIECE)
        block, rest = stage.split(axis, factor=warps * lanes * elements)
        warp, rest = stage.split(rest, factor=lanes * elements)
        piece, rest = stage.split(rest, factor=lanes * together)
        return cls(block, warp, piece, *stage.split(rest, factor=together))


def _tile(cfg: Knobs, out: Stage, batch: list[Axis], rows: Axis, columns: Axis) -> Axis:
    """Cut the result in blocks, warps, pieces and lanes, and bind them; gives the innermost loop over threads."""
    m, n = Levels.of(out, rows, cfg["tile_m"].size), Levels.of(out, columns, cfg["tile_n"].size)
    group, row = out.split(m.block, factor=cfg["raster"].val)
    out.reorder(*batch, group, n.block, row, m.warp, n.warp, m.piece, n.piece, m.lane, n.lane, m.element, n.element)
    blocks = out.fuse(*batch, group, n.block, row)
    out.bind(blocks, "blockIdx.x")
    out.pragma(blocks, "min_blocks", cfg["resident"].val)
    out.bind(out.fuse(m.warp, n.warp), "threadIdx.y")
    out.bind(m.piece, "vthread")
    out.bind(n.piece, "vthread")
    lane = out.fuse(m.lane, n.lane)
    out.bind(lane, "threadIdx.x")
    out.unroll(m.element)
    out.vectorize(n.element)
    return lane


def _sum(cfg: Knobs, s: Schedule, sums: Tensor, copies: list[Copied], plan: Plan) -> None:
    """Sum up tile after tile: all threads copy the operands' tiles, then each takes its part of every step."""
    stage = s[sums]
    spatial = list(stage.op.axis)
    (depth,) = stage.op.reduce_axis
    tile, step = stage.split(depth, factor=cfg["tile_k"].val)
    between, step = stage.split(step, factor=cfg["unroll"].val)
    stage.reorder(tile, between, step, *spatial)
    for axis in (step, *spatial):
        stage.unroll(axis)
    if cfg["transport"].val != "none":
        stage.pipeline(tile, cfg["stages"].val, cfg["transport"].val)
    m, n = cfg["tile_m"].size, cfg["tile_n"].size
    team = Team(y=m[1] * n[1])
    for copied, (_, warps, lanes, elements) in zip(copies, (m, n), strict=True):
        s[copied.shared].compute_at(stage, tile)
        operand = copied.operand
        along = warps * lanes * elements if operand.last == operand.kept else gcd(cfg["tile_k"].val, size(depth))
        _share_copy(s[copied.shared], operand, team, gcd(plan.run(operand.tensor), along))
        s[copied.local].compute_at(stage, step)
        _, lane = s[copied.local].split(s[copied.local].op.axis[operand.kept], factor=min(PIECE, elements))
        s[copied.local].vectorize(lane)


def _share_copy(copy: Stage, operand: Operand, team: Team, run: int) -> None:
    """Copy a tile by all threads, and keep it so that neighbours along the kept dimension are neighbours."""
    ((_, dtype),) = copy.op.results
    axes = list(copy.op.axis)
    if operand.kept < operand.summed:
        copy.storage_align(axes[operand.summed], BANKS * 4 // dtype.bytes, PIECE)
        first = [d for d in range(len(axes)) if d not in (operand.kept, operand.summed)]
        copy.transform_layout(lambda *i: [i[d] for d in (*first, operand.summed, operand.kept)])
    team.share(copy, axes, copy_lanes(run, dtype.bytes))
