"""Products of matrices on processors: the algorithms that there are for one."""

from __future__ import annotations

from ....schedule.schedule import Schedule
from ....te.tensor import Tensor
from ...space import Knobs
from . import dots, gemm, gemm_split, int8_gemm
from .algorithm import choose
from .product import ProductRequest

ALGORITHMS = (gemm.plan, dots.plan, gemm_split.plan)  # each gives None for a product that it does not fit


def scheduled(cfg: Knobs, request: ProductRequest) -> tuple[Schedule, Tensor]:
    """Give a schedule of a product, and its result."""
    cfg.define_meaning([request.a, request.b, *request.epilogue.given, request.result])
    by_dots_of_bytes = int8_gemm.plan(cfg, request)
    if by_dots_of_bytes is not None:  # nothing else comes near
        return choose(cfg, [by_dots_of_bytes]).scheduled()
    plans = (plan(cfg, request) for plan in ALGORITHMS)
    return choose(cfg, [plan for plan in plans if plan is not None]).scheduled()
