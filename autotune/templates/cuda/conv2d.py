"""Convolutions on CUDA cores: as products of matrices, or directly; which, is a knob."""

from __future__ import annotations

from ....schedule.schedule import Schedule, create_schedule
from ....te.tensor import Tensor
from ...space import Knobs
from . import gemm
from .conv2d_gemm import WindowProduct
from .convolution import Convolution


def scheduled(cfg: Knobs, conv: Convolution) -> tuple[Schedule, Tensor]:
    """Give a schedule of a convolution, and its result."""
    can_pack = conv.is_nchw and conv.taps != (1, 1)
    cfg.define_knob("packed", [True, False] if can_pack else [False])
    product = WindowProduct(conv, cfg["packed"].val)
    gemm.define(cfg, product.workload())
    out = product.declare()
    s = create_schedule(out.op)
    gemm.apply(cfg, s, product.plan())
    return s, out
