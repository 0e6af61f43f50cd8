"""Convolutions on GPUs: on tensor cores where there is an instruction for them, else on CUDA cores.

On CUDA cores they are products of matrices, or computed directly; which, is a knob.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....schedule.schedule import Schedule, create_schedule
from ....te.tensor import Tensor
from ...space import Knobs
from ...template import get_target
from ..convolution import Convolution
from ..product_types import ProductTypes
from . import conv2d_direct, conv2d_tensor_cores, gemm
from .conv2d_direct import DirectTiles
from .conv2d_gemm import WindowProduct

PRODUCT, DIRECT = "product", "direct"


def scheduled(cfg: Knobs, conv: Convolution, types: ProductTypes) -> tuple[Schedule, Tensor]:
    """Give a schedule of a convolution, and its result."""
    found = conv2d_tensor_cores.scheduled(cfg, conv, types)
    if found is not None:
        return found
    _define(cfg, conv)
    if cfg["algorithm"].val == DIRECT:
        return conv2d_direct.scheduled(cfg, conv, types.result)
    product = WindowProduct(conv, cfg["packed"].val)
    out = product.declare(types.result)
    s = create_schedule(out.op)
    gemm.apply(cfg, s, product.plan())
    return s, out


def _define(cfg: Knobs, conv: Convolution) -> None:
    """Define the knobs of both algorithms, and which of them matter when; by default the one that promises more."""
    can_pack = conv.is_nchw and conv.taps != (1, 1)
    work, tiles = WindowProduct(conv, can_pack).workload(), DirectTiles(conv, get_target().gpu)
    cfg.define_knob("packed", [True, False] if can_pack else [False])
    promises = {PRODUCT: gemm.define(cfg, work), DIRECT: conv2d_direct.define(cfg, tiles)}
    cfg.define_knob("algorithm", [PRODUCT, DIRECT], default=max(promises, key=promises.__getitem__))
    cfg.matter_where("algorithm", PRODUCT, "packed", *gemm.KNOBS)
    cfg.matter_where("algorithm", DIRECT, *conv2d_direct.KNOBS)

    def estimate(algorithm: Any, m: Any, n: Any, parts: Any, f: Any, y: Any, x: Any) -> Any:
        return np.where(algorithm.val == DIRECT, tiles.estimate(f, y, x), work.estimate(m, n, parts.val))

    cfg.define_estimate(estimate, "algorithm", *gemm.ESTIMATED, *conv2d_direct.TILES)
