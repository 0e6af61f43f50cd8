"""Programs without products on processors: elementwise ones, reductions, and rows normalized by what their elements
give.

They move bytes, so each byte is read once from beyond the first-level cache: a task is a row, which stays there while
its statistics are taken and it is written; when it is read for the last time, the next one is asked for.  A sum along a
row has a vector of partial sums for each of several vectors at once, for sums wait for each other; they are combined
in halves at the end.  Long reductions to few results are cut in parts, which threads share.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ....ir import arith
from ....ir.dtype import DType
from ....ir.expr import Call, Var
from ....ir.visit import contains, of_kind, variables
from ....schedule.schedule import Schedule
from ....schedule.stage import Stage
from ....schedule.table import can_inline
from ....te.axis import Axis
from ....te.nodes import Read
from ....te.operation import ComputeOp
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target, get_threads
from .. import register_tile as tile
from .stage_tile import tile_stage

VECTORS = (1, 2, 4, 8)  # side by side
ROWS = (1, 2, 4)  # of one task, so that sums of several rows are under way at once
IN_REGISTERS = 4  # vectors of a row that is kept in registers
NEAR_BYTES = 1 << 19  # of a result that stays in the second-level cache
FAR_BYTES = 1 << 20  # of everything that is read and written, of which the second-level cache keeps little
STREAMS = ((4, 2304), (2, 4096))  # rows at once from beyond it, and the bytes of each, at most
SHORT_BYTES = 1024  # of a row, several of which stay in the first-level cache with what is made of them
BLOCKS = (1024, 4096, 16384)  # elements of a row that one task may have
LEAST_BLOCK = 256
ALIGNED_BYTES = 16  # rows whose addresses are multiples of it can be stored past the caches
STREAM_BYTES = 1 << 24  # of everything that is read and written, from which on stores go past the caches
PARTS = (2, 4, 8)  # of reductions to few results, which threads share
LEAST_PART = 1 << 12  # elements
EVEN_TERMS = 128  # that the length of a part of a row is a multiple of
EVEN_ROWS = 8  # likewise of a column


def schedule_stages(cfg: Knobs, s: Schedule) -> None:
    """Define and apply the knobs of every stage that computes."""
    if _has_symbolic_sizes(s) or not _normalized_rows(cfg, s):
        _each_stage(cfg, s)


def _has_symbolic_sizes(s: Schedule) -> bool:
    return any(a.size is None for stage in s.stages for a in (*stage.op.axis, *stage.op.reduce_axis))


def _each_stage(cfg: Knobs, s: Schedule) -> None:
    symbolic = _has_symbolic_sizes(s)
    for stage in s.stages:
        if can_inline(s.table, stage.state):
            stage.compute_inline()
    for stage in s.stages:
        if not stage.state.compute or not stage.state.is_root:
            continue
        if not symbolic and _sums_along_rows(stage):
            _along_rows(cfg, s, stage)
        elif not symbolic and _is_along_columns(stage):
            _along_columns(cfg, s, stage)
        elif stage.op.axis:
            tile_stage(cfg, s, stage)


def _lanes(stage: Stage) -> int:
    return tile.lanes_of(get_target(), max(_computed_bits(dtype) for _, dtype in stage.op.results))


def _computed_bits(dtype: DType) -> int:
    return max(32, dtype.bits)


def _reads(stage: Stage) -> list[Read]:
    compute = stage.op
    assert isinstance(compute, ComputeOp)
    return [r for body in compute.body for r in of_kind(body, Read) if r.indices]


# -- elementwise, and reductions of columns -------------------------------------------------------------------------


def _is_along_columns(stage: Stage) -> bool:
    """Tell whether neighbouring results are made of neighbouring elements, and of one tensor if they are sums."""
    if not stage.op.axis:
        return False
    last = stage.op.axis[-1].var
    reduced: set[Var] = {a.var for a in stage.op.reduce_axis}
    reads = _reads(stage)
    over = [r for r in reads if any(variables(i) & reduced for i in r.indices)]
    if not all(_follows(r, last) or not _depends(r, last) for r in reads):
        return False
    return not reduced or (bool(over) and all(_follows(r, last) for r in over))


def _follows(read: Read, last: Var) -> bool:
    """Tell whether `last` is the last index, and no part of any other."""
    return read.indices[-1] is last and not any(last in variables(i) for i in read.indices[:-1])


def _depends(read: Read, var: Var) -> bool:
    return any(var in variables(i) for i in read.indices)


def _along_columns(cfg: Knobs, s: Schedule, stage: Stage) -> None:
    """Run through blocks of rows in order; of a sum, several rows are added to the results at once."""
    name, lanes = stage.state.id, _lanes(stage)
    part = _in_parts(cfg, s, stage, stage.op.reduce_axis[0], EVEN_ROWS) if stage.op.reduce_axis else None
    if part is not None:
        _join_columns(stage)
        stage = part
    *outer, last = stage.op.axis
    reduce, columns = list(stage.op.reduce_axis), tile.size(last)
    rows = prod(tile.size(a) for a in outer)
    widths = [lanes * n for n in VECTORS if n == 1 or lanes * n <= columns]
    cfg.define_knob(f"vector_{name}", widths, default=widths[min(2, len(widths) - 1)])
    halves = (-(-columns // parts // lanes) * lanes for parts in (2, 4))
    blocks = sorted({b for b in (*BLOCKS, *halves) if LEAST_BLOCK <= b < columns} | {columns})
    shared = [b for b in blocks if rows * -(-columns // b) >= get_threads()]
    cfg.define_knob(f"block_{name}", blocks, default=max(shared, default=blocks[0]))
    if reduce:
        cfg.define_knob(f"rows_{name}", [1, 2, 4, 8], default=4)
    block, inner = stage.split(last, factor=cfg[f"block_{name}"].val)
    inner, lane = stage.split(inner, factor=cfg[f"vector_{name}"].val)
    added: list[Axis] = []
    if reduce:
        reduce[-1], row = stage.split(reduce[-1], factor=cfg[f"rows_{name}"].val)
        stage.unroll(row)
        added = [row]
    stage.reorder(*outer, block, *reduce, inner, *added, lane)
    stage.vectorize(lane)
    tasks = stage.fuse(*outer, block) if outer else block
    stage.parallel(tasks)
    several = cfg[f"block_{name}"].val > cfg[f"vector_{name}"].val
    _stream(cfg, s, stage, f"stream_{name}", inner if several else tasks)


def _join_columns(stage: Stage) -> None:
    """Add up the parts of columns, lanes side by side."""
    *outer, last = stage.op.axis
    columns, lane = stage.split(last, factor=_lanes(stage))
    stage.reorder(*outer, columns, *stage.op.reduce_axis, lane)
    stage.vectorize(lane)


def _stream(cfg: Knobs, s: Schedule, stage: Stage, knob: str, loop: Axis) -> None:
    """Let results go past the caches where these cannot hold all that is read and written, and rows are aligned."""
    row_bytes = tile.size(stage.op.axis[-1]) * stage.op.output(0).dtype.bytes
    one_row = prod(tile.size(a) for a in stage.op.axis[:-1]) == 1
    if stage.op.reduce_axis or not stage.state.is_output or s.table.consumers(stage.state):
        return
    if _moved_bytes(s) < STREAM_BYTES or not (one_row or row_bytes % ALIGNED_BYTES == 0):
        return
    cfg.define_knob(knob, [False, True], default=True)
    if cfg[knob].val:
        stage.stream(loop)


def _moved_bytes(s: Schedule) -> int:
    """Give the bytes of the program's inputs and outputs."""
    moved = [stage.op.results for stage in s.stages if stage.state.is_output or stage.state.is_placeholder]
    return sum(prod(arith.int_value(n) or 1 for n in shape) * dtype.bytes for found in moved for shape, dtype in found)


# -- reductions to few results ----------------------------------------------------------------------------------------


def _in_parts(cfg: Knobs, s: Schedule, stage: Stage, axis: Axis, even: int) -> Stage | None:
    """Cut a reduction in parts where it has fewer rows of results, or results, than threads; give the stage of parts.

    axis  the loop that is cut, in pieces of a multiple of `even` iterations
    None where threads share the results, or there is only one thread.
    """
    spatial, terms = [tile.size(a) for a in stage.op.axis], tile.size(axis)
    work = prod(spatial) * prod(tile.size(a) for a in stage.op.reduce_axis)
    shared = prod(spatial if _sums_along_rows(stage) else spatial[:-1])
    counts = [p for p in PARTS if p * LEAST_PART <= work and p * even <= terms]
    if not counts or shared >= get_threads():
        return None
    cfg.define_knob(f"parts_{stage.state.id}", [1, *counts], default=counts[-1])
    count = cfg[f"parts_{stage.state.id}"].val
    if count == 1:
        return None
    part, _ = stage.split(axis, factor=-(-terms // (count * even)) * even)
    return s[_first(s.rfactor(stage.op.output(0), part))]


# -- reductions of rows ---------------------------------------------------------------------------------------------


def _sums_along_rows(stage: Stage) -> bool:
    """Tell whether the innermost dimension of what is read is summed over, and everything that is summed lies so."""
    if not stage.op.reduce_axis:
        return False
    last = stage.op.reduce_axis[-1].var
    reads = _reads(stage)
    return any(_follows(r, last) for r in reads) and all(_follows(r, last) or not _depends(r, last) for r in reads)


@dataclass(frozen=True, slots=True)
class Task:
    """The loop over tasks of some rows each, which threads share.

    host, loop  the stage that has it, and the loop
    rows        the loop over the rows of one task
    """

    host: Stage
    loop: Axis
    rows: Axis

    @classmethod
    def of(cls, stage: Stage, axes: list[Axis], count: int) -> Task | None:
        """Make tasks of `count` rows of a stage, a divisor of the last axis; None where it has one row only."""
        if not axes:
            return None
        *outer, last = axes
        loop, rows = stage.split(last, factor=count)
        loop = stage.fuse(*outer, loop) if outer else loop
        stage.parallel(loop)
        stage.unroll(rows)
        return cls(stage, loop, rows)

    def take(self, stage: Stage, scope: str = "local") -> None:
        """Let each task compute what it needs of a stage."""
        stage.compute_at(self.host, self.loop)
        stage.set_scope(scope)


def _rows_of_task(cfg: Knobs, stage: Stage, axes: list[Axis], most: int = 1) -> int:
    """Give how many rows of a stage a task takes, `most` where nothing is known; 1 where it has no rows."""
    if not axes:
        return 1
    name = f"rows_{stage.state.id}"
    counts = [n for n in ROWS if tile.size(axes[-1]) % n == 0]
    cfg.define_knob(name, counts, default=max(n for n in counts if n <= most))
    return cfg[name].val


def _along_rows(cfg: Knobs, s: Schedule, stage: Stage) -> None:
    """Reduce rows, one or some in a task; long ones in parts, where there are too few for all threads."""
    name, count = stage.state.id, _rows_of_task(cfg, stage, list(stage.op.axis))
    stage = _in_parts(cfg, s, stage, stage.op.reduce_axis[-1], EVEN_TERMS) or stage
    _reduce_rows(cfg, s, stage, Task.of(stage, list(stage.op.axis), count), name)


def _reduce_rows(cfg: Knobs, s: Schedule, stage: Stage, task: Task | None, name: str) -> None:
    """Let lanes and several vectors sum up a row, and combine their sums in halves.

    task  that the sums are part of; None for sums of everything
    name  for knobs
    """
    lanes, length = _lanes(stage), tile.size(stage.op.reduce_axis[-1])
    widths = [lanes * n for n in VECTORS if n == 1 or lanes * n <= length]
    cfg.define_knob(f"vector_{name}", widths, default=widths[min(2 if task else 3, len(widths) - 1)])
    width = min(cfg[f"vector_{name}"].val, 1 << max(1, length - 1).bit_length())
    partials = []
    while width > 1:
        _, inner = stage.split(stage.op.reduce_axis[-1], factor=width)
        partials.append(s[_first(s.rfactor(stage.op.output(0), inner, -1))])
        width = lanes if width > lanes else width // 2
    for partial in partials:
        *rows, lane = partial.op.axis
        partial.reorder(*partial.op.reduce_axis, *rows, lane)
        partial.vectorize(lane)
        if task is None:
            partial.set_scope("local")
            continue
        partial.unroll(rows[-1])
        task.take(partial)
    for axis in stage.op.reduce_axis:
        stage.unroll(axis)


def _first(tensors: Tensor | list[Tensor]) -> Tensor:
    return tensors[0] if isinstance(tensors, list) else tensors


# -- rows that are normalized ---------------------------------------------------------------------------------------


def _normalized_rows(cfg: Knobs, s: Schedule) -> bool:
    """Take the statistics of rows and write them before the next ones; tell whether the program is of this kind."""
    *before, last = [stage for stage in s.stages if stage.state.compute]
    statistics = [stage for stage in before if stage.op.reduce_axis]
    dims = {len(stage.op.axis) for stage in statistics}
    shape = [a.size for a in last.op.axis]
    if last.op.reduce_axis or not last.state.is_output or len(dims) != 1:
        return False
    outer = dims.pop()
    if outer != len(shape) - 1 or not outer or not all(_is_of_rows(stage, shape, outer) for stage in before):
        return False
    kept = [stage for stage in before if stage not in statistics and _is_kept(s, stage)]
    if kept:
        cfg.define_knob("keep", [True, False])
    for stage in before:
        if not stage.op.reduce_axis and (stage not in kept or not cfg["keep"].val):
            stage.compute_inline()
    lanes, columns = _lanes(last), tile.size(last.op.axis[-1])
    widths = [columns] if columns <= lanes * IN_REGISTERS else [lanes * n for n in VECTORS if lanes * n <= columns]
    cfg.define_knob("vector", widths, default=widths[min(2, len(widths) - 1)])
    along = list(last.op.axis[:outer])
    task = Task.of(last, along, _rows_of_task(cfg, last, along, _rows_at_once(last, bool(kept), len(widths) == 1)))
    assert task is not None
    for stage in (*kept, last):
        if stage.state.is_inline:
            continue
        *rows, column = stage.op.axis
        column, lane = stage.split(column, factor=cfg["vector"].val)
        stage.vectorize(lane)
        row = task.rows if stage is last else rows[-1]
        stage.reorder(column, row, lane)
        if len(widths) > 1 and stage is (*kept, last)[0]:
            _ask_for_next_rows(cfg, s, stage, column, tile.size(task.rows) * columns)
        if stage is last:
            _stream(cfg, s, stage, "stream", lane if len(widths) == 1 else column)
        else:
            stage.unroll(row)
            task.take(stage, "shared")  # on a processor: memory, and registers only where no loop has to be unrolled
    for stage in statistics:
        stage.unroll(stage.op.axis[-1])
        _reduce_rows(cfg, s, stage, task, stage.state.id)
        task.take(stage)
    return True


def _ask_for_next_rows(cfg: Knobs, s: Schedule, stage: Stage, loop: Axis, elements: int) -> None:
    """Let the stage that reads a row for the last time ask for what the next task reads, some elements further on."""
    cfg.define_knob("ahead", [False, True], default=FAR_BYTES < _moved_bytes(s) < STREAM_BYTES)
    axes = tuple(a.var for a in stage.op.axis)
    tensors = [r.tensor for r in _reads(stage) if r.indices == axes and s[r.tensor].state.is_placeholder]
    for tensor in dict.fromkeys(tensors) if cfg["ahead"].val else ():
        stage.prefetch(tensor, loop, -(-elements // cfg["vector"].val))


def _rows_at_once(stage: Stage, kept: bool, in_registers: bool) -> int:
    """Give how many rows a task has by default: several long streams from far away are slower than one."""
    row, *outer = (tile.size(a) for a in reversed(stage.op.axis))
    size_bytes = row * stage.op.output(0).dtype.bytes
    if kept:
        return 2 if in_registers else 4 if size_bytes <= SHORT_BYTES else 1
    if size_bytes * prod(outer) <= NEAR_BYTES:
        return 4
    return next((rows for rows, most in STREAMS if size_bytes <= most), 1)


def _is_of_rows(stage: Stage, shape: list[int | None], outer: int) -> bool:
    """Tell whether a stage gives one value for each row, a statistic or made of statistics, or one for each element."""
    sizes = [a.size for a in stage.op.axis]
    if stage.op.reduce_axis:
        return sizes == shape[:outer] and _sums_along_rows(stage)
    return sizes in (shape, shape[:outer])


def _is_kept(s: Schedule, stage: Stage) -> bool:
    """Tell whether the elements of a row are read more than once and cost more than to read them again."""
    compute = stage.op
    assert isinstance(compute, ComputeOp)
    calls = any(contains(body, Call) for body in compute.body)
    return calls and len(s.table.consumers(stage.state)) > 1
