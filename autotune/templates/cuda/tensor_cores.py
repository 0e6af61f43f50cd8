"""Products of matrices on tensor cores: blocks, warps, and one instruction for each small product of a warp's tile.

for block of C, over blockIdx:
    for warp over threadIdx.y:
        C_warp = 0                                     # 64 x 64 elements in the registers of 32 lanes, or fewer
        for k_o:                                       # pipelined
            A_shared[m, k], B_shared[k, n] = tiles     # by all threads together, asynchronously where aligned
            for k_m:                                   # written out, or operands loaded a step ahead
                A_warp, B_warp = slices of them        # ldmatrix
                C_warp += A_warp * B_warp              # mma
        C = C_warp                                     # directly, or in whole rows by way of shared memory
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import gcd, prod
from typing import Any

from ....schedule.schedule import Schedule
from ....schedule.stage import Stage
from ....te.axis import Axis
from ....te.machine import PRECISION, TF32
from ....te.operation import ComputeOp
from ....te.operators.tensor_cores import SHAPES, Shape, mma
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target
from ..register_tile import size
from .cooperative import Team, copy_lanes
from .gemm import Operand, Plan, cut_sum, operands_of, plain_grid, reduction_of, row_length
from .warp_tile import RESIDENT, Size, Workload, threads_of

LEAST_CAPABILITY = 80  # sm_80: the first that has all of the instructions
DEPTH_BYTES = (64, 128)  # of one row of a tile in shared memory
STAGES = (2, 3, 4, 5)
USUAL_STAGES = 3
RASTERS = (1, 2, 4, 8, 16)  # rows of blocks that run together, so that they find their operands in the L2 cache
PARTS = (1, 2, 4, 8)  # of the sum, for results too small to fill a GPU
LEAST_PART = 128  # steps of the sum for one of them
PIECE_BYTES = 16  # of shared memory that one lane names for ldmatrix
LINE_BYTES = 128  # of all banks of shared memory
RESULT_PAD = 8  # elements behind each row of results: the lanes of 8 rows then write to different banks

Roots = Mapping[str, Callable[[Stage], None]]


def instruction_of(op: ComputeOp) -> Shape | None:
    """Give the instruction for a product, or None where the target or the types have none, or the sum is too short.

    Products of float32 are rounded to tf32, and so take part only where the operator allows that.
    """
    target, kinds = get_target(), {t.dtype for t in op.inputs}
    shape = SHAPES.get(str(kinds.pop())) if len(kinds) == 1 else None
    if shape is None or target.kind != "cuda" or target.gpu.capability < LEAST_CAPABILITY:
        return None
    allowed = shape is not SHAPES["float32"] or dict(op.attrs).get(PRECISION) == TF32
    allowed = allowed and size(op.reduce_axis[0]) >= shape.k
    return shape if allowed and str(op.body[0].dtype) == shape.total else None


def schedule(cfg: Knobs, s: Schedule, shape: Shape) -> None:
    """Schedule a product, and what is computed elementwise from it, as one kernel; two where the sum is cut."""
    stage, plan = reduction_of(s), Plan(plain_grid, row_length)
    assert isinstance(stage.op, ComputeOp)
    define(cfg, workload_of(stage.op, s.outputs[0].dtype.bytes, shape, plan))
    apply(cfg, s, shape, plan)


def workload_of(op: ComputeOp, result_bytes: int, shape: Shape, plan: Plan) -> Workload:
    """Give the extents of a product."""
    *batch, rows, columns = map(size, op.axis)
    operands = operands_of(op)
    element_bytes = operands[0].tensor.dtype.bytes
    left, right = (copy_lanes(plan.run(operand.tensor), element_bytes) for operand in operands)
    extents = (prod(batch), rows, columns, size(op.reduce_axis[0]))
    return Workload(*extents, element_bytes, result_bytes, (left, right), shape, get_target().gpu)


def define(cfg: Knobs, work: Workload) -> None:
    """Define the knobs of a product; their default is what promises most for the shape."""
    rows, columns = work.tiles
    depths = [d // work.element_bytes for d in DEPTH_BYTES]
    parts = [p for p in PARTS if p == 1 or (work.depth % (p * depths[0]) == 0 and work.depth >= LEAST_PART * p)]
    stages, usual = (STAGES, USUAL_STAGES) if work.asynchronous else (STAGES[:1], STAGES[0])
    m, n, depth, part = work.best(rows, columns, depths, parts, usual)
    cfg.define_split("tile_m", work.rows, "candidate", num_outputs=3, candidate=rows, default=m)
    cfg.define_split("tile_n", work.columns, "candidate", num_outputs=3, candidate=columns, default=n)
    cfg.define_knob("tile_k", depths, default=depth)
    cfg.define_knob("transport", ["cp_async", "register"] if work.asynchronous else ["register"])
    cfg.define_knob("stages", list(stages), default=usual)
    cfg.define_knob("layout", ["swizzled", "padded"])
    cfg.define_knob("ahead", [False, True])
    cfg.define_knob("staged", [False, True])
    cfg.define_knob("raster", list(RASTERS), default=4)
    cfg.define_knob("parts", parts, default=part)
    cfg.define_knob("resident", list(RESIDENT))
    _limit(cfg, work)


def _limit(cfg: Knobs, work: Workload) -> None:
    """Keep the configurations that a multiprocessor has room for, and say which of them promise most."""
    tiles = ("tile_m", "tile_n", "tile_k")

    def registers(m: Any, n: Any, k: Any, ahead: Any, transport: Any) -> Any:
        return work.registers(m, n, k.val, ahead.val, transport.val == "register")

    def shared_bytes(m: Any, n: Any, k: Any, stages: Any, staged: Any) -> Any:
        return work.shared_bytes(m, n, k.val, stages.val, staged.val)

    def fits(m: Any, n: Any, k: Any, a: Any, t: Any, c: Any, r: Any, b: Any) -> Any:
        return work.fits(m, n, registers(m, n, k, a, t), shared_bytes(m, n, k, c, r), b.val)

    cfg.restrict(fits, *tiles, "ahead", "transport", "stages", "staged", "resident")
    cfg.restrict(lambda t, c: (t.val == "cp_async") | (c.val == STAGES[0]), "transport", "stages")
    cfg.restrict(lambda k, p: (p.val == 1) | (work.depth % (k.val * p.val) == 0), "tile_k", "parts")
    cfg.define_estimate(lambda m, n, k, c, p: work.estimate(m, n, k.val, c.val, p.val), *tiles, "stages", "parts")
    cfg.define_feature("threads", threads_of, "tile_m", "tile_n")
    cfg.define_feature("registers", registers, *tiles, "ahead", "transport")
    cfg.define_feature("shared_bytes", shared_bytes, *tiles, "stages", "staged")


def apply(cfg: Knobs, s: Schedule, shape: Shape, plan: Plan, roots: Roots | None = None) -> None:
    """Apply the knobs of `define` to the one product of a schedule.

    What is computed from the result, element by element, is computed with it; what the operands are computed from, as
    their tiles are copied.

    roots  by name, how to schedule stages that kernels of their own compute before
    """
    stage, out = reduction_of(s), s[s.outputs[0]]
    following = _following(s, stage, out, roots or {}, keep=cfg["staged"].val and cfg["parts"].val == 1)
    if cfg["parts"].val > 1:
        stage = out = cut_sum(s, stage, out, cfg["parts"].val)
        plan = Plan(plain_grid, plan.run)
    operands, sums = operands_of(stage.op), stage.op.output(0)
    if stage.state.id == out.state.id:
        found = s.cache_write(sums, "warp")
        assert isinstance(found, Tensor)
        sums = found
    else:
        stage.set_scope("warp")
    copies = [Copied.of(s, operand, sums) for operand in operands]
    if cfg["staged"].val and following is None:
        found = s.cache_write(out.op.output(0), "shared")
        assert isinstance(found, Tensor)
        following = s[found]
    tiles = WarpTiles(cfg["tile_m"].size, cfg["tile_n"].size)
    block, rows, columns = tiles.blocks(cfg, out, plan)
    if following is not None:
        run = plan.run(out.op.output(0))
        rows, columns = tiles.through(following, out, block, (rows, columns), run)
    written = following or out
    s[sums].compute_at(written, tiles.warps(written, rows, columns))
    tiles.sum(cfg, s, sums, copies, shape, plan)


def _following(s: Schedule, stage: Stage, out: Stage, roots: Roots, keep: bool) -> Stage | None:
    """Place all stages but the product and the result: in kernels of their own, else where they are read.

    keep  whether to leave out, and give, what is computed from the product before it takes the result's shape
    """
    kept = None
    for other in s.stages:
        if not other.state.compute or other.state.id in (stage.state.id, out.state.id):
            continue
        if other.op.name in roots:
            roots[other.op.name](other)
        elif keep and any(read.op is stage.op for read in other.op.inputs):
            kept = other
        else:
            other.compute_inline()
    return kept


@dataclass(frozen=True, slots=True)
class Copied:
    """An operand with its tile in shared memory and a warp's slice of it in registers."""

    operand: Operand
    shared: Tensor
    warp: Tensor

    @classmethod
    def of(cls, s: Schedule, operand: Operand, reader: Tensor) -> Copied:
        """Copy an operand for the stage that reads it."""
        shared = s.cache_read(operand.tensor, "shared", [reader])
        return cls(operand, shared, s.cache_read(shared, "warp", [reader]))

    @property
    def transposed(self) -> bool:
        """Tell whether neighbours in memory are neighbours along the dimension that the product keeps."""
        return self.operand.last == self.operand.kept

    @property
    def width(self) -> int:
        """Give the bytes of an element."""
        return self.operand.tensor.dtype.bytes

    def align(self, stage: Stage, kept: int, summed: int) -> None:
        """Let a copy hold whole tiles, also where the operand is smaller than one."""
        stage.align_bounds(stage.op.axis[self.operand.kept], kept)
        stage.align_bounds(stage.op.axis[self.operand.summed], summed)

    def lay_out(self, copy: Stage, lanes: int, layout: str) -> None:
        """Keep a tile so that warps read it without conflicts; it is copied `lanes` elements at a time."""
        row = copy.op.axis[min(self.operand.kept, self.operand.summed)]
        if self.transposed and self.width != 2:  # ldmatrix cannot: lanes read 4 rows, and in each 8 neighbours
            copy.storage_align(row, LINE_BYTES // self.width, 2 * PIECE_BYTES // self.width)
        elif layout == "padded" or lanes * self.width < PIECE_BYTES:  # a lane for each of 8 rows reads one piece of it
            copy.storage_align(row, 2 * PIECE_BYTES // self.width, PIECE_BYTES // self.width)
        else:
            copy.swizzle("xor")


@dataclass(frozen=True, slots=True)
class WarpTiles:
    """How a product is cut in blocks and warps along its rows and columns."""

    m: Size
    n: Size

    @property
    def block(self) -> tuple[int, int]:
        """Give the rows and columns of a block."""
        return self.m[1] * self.m[2], self.n[1] * self.n[2]

    @property
    def team(self) -> Team:
        """Give the threads of a block."""
        return Team(y=self.m[1] * self.n[1])

    def blocks(self, cfg: Knobs, out: Stage, plan: Plan) -> tuple[Axis, Axis, Axis]:
        """Cut the result in blocks; give the loop over them, and those over rows and columns of one."""
        batch, rows, columns = plan.grid(out)
        block_m, rows = out.split(rows, factor=self.block[0])
        block_n, columns = out.split(columns, factor=self.block[1])
        group, row = out.split(block_m, factor=cfg["raster"].val)
        out.reorder(*batch, group, block_n, row, rows, columns)
        blocks = out.fuse(*batch, group, block_n, row)
        out.bind(blocks, "blockIdx.x")
        out.pragma(blocks, "min_blocks", cfg["resident"].val)
        return blocks, rows, columns

    def through(self, written: Stage, out: Stage, block: Axis, inner: tuple[Axis, Axis], run: int) -> tuple[Axis, Axis]:
        """Keep a block of results in shared memory, from which all threads store it; give the loops over its copy.

        run  how many neighbouring columns are neighbours in memory, from an aligned place on
        """
        ((_, dtype),) = out.op.results
        written.set_scope("shared")
        written.compute_at(out, block)
        *_, rows, columns = written.op.axis
        for axis, extent in zip((rows, columns), self.block, strict=True):
            written.align_bounds(axis, extent)
        written.storage_align(rows, self.block[1] + RESULT_PAD, 0)
        self.team.share(out, inner, copy_lanes(gcd(run, self.block[1]), dtype.bytes))
        return rows, columns

    def warps(self, written: Stage, rows: Axis, columns: Axis) -> Axis:
        """Cut a block in warps; give the loop over them.

        The lanes of a warp are not named: what is kept in scope "warp" belongs to them together.
        """
        warp_m, rows = written.split(rows, factor=self.m[2])
        warp_n, columns = written.split(columns, factor=self.n[2])
        written.reorder(warp_m, warp_n, rows, columns)
        warp = written.fuse(warp_m, warp_n)
        written.bind(warp, "threadIdx.y")
        return warp

    def sum(self, cfg: Knobs, s: Schedule, sums: Tensor, copies: list[Copied], shape: Shape, plan: Plan) -> None:
        """Sum up tile after tile: all threads copy the operands' tiles, then each warp multiplies its part."""
        stage, depth = s[sums], cfg["tile_k"].val
        *batch, i, j = stage.op.axis
        stage.align_bounds(i, self.m[2])
        stage.align_bounds(j, self.n[2])
        rows, row = stage.split(i, factor=shape.m)
        columns, column = stage.split(j, factor=shape.n)
        tile, step = stage.split(stage.op.reduce_axis[0], factor=depth)
        step, term = stage.split(step, factor=shape.k)
        stage.reorder(*batch, tile, step, rows, columns, row, column, term)
        left, right = copies
        stage.tensorize(row, mma(str(left.shared.dtype), left.transposed, not right.transposed))
        for axis in (rows, columns):
            stage.unroll(axis)
        if cfg["ahead"].val:
            stage.pipeline(step, 2, "register")
        else:
            stage.unroll(step)
        for copied, (_, warps, extent) in zip(copies, (self.m, self.n), strict=True):
            copied.align(s[copied.warp], extent, shape.k)
            s[copied.warp].compute_at(stage, step)
            copied.align(s[copied.shared], warps * extent, depth)
            s[copied.shared].compute_at(stage, tile)
            run = gcd(plan.run(copied.operand.tensor), extent if copied.transposed else depth)
            lanes = copy_lanes(run, copied.width)
            copied.lay_out(s[copied.shared], lanes, cfg["layout"].val)
            self.team.share(s[copied.shared], s[copied.shared].op.axis, lanes)
        stage.pipeline(tile, cfg["stages"].val, cfg["transport"].val)
