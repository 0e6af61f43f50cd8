"""Products of matrices on GPUs: on tensor cores where there is an instruction for them, else on CUDA cores."""

from __future__ import annotations

from ....schedule.schedule import Schedule
from ....te.operation import ComputeOp
from ...space import Knobs
from . import gemm, tensor_cores, warpgroups


def schedule(cfg: Knobs, s: Schedule) -> None:
    """Schedule a product, and what is computed elementwise from it."""
    op = gemm.reduction_of(s).op
    assert isinstance(op, ComputeOp)
    shape = tensor_cores.instruction_of(op)
    if warpgroups.is_possible(op):
        warpgroups.schedule(cfg, s)
    elif shape is None:
        gemm.schedule(cfg, s)
    else:
        tensor_cores.schedule(cfg, s, shape)
