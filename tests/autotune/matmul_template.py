"""A template for the tests: a blocked matrix product."""

from __future__ import annotations

from typing import Any

import tilewright.schedule as schedule
import tilewright.te as te
from tilewright.autotune.template import get_config, template


@template("test.matmul")
def matmul(m: int, n: int, k: int) -> tuple[Any, list[Any]]:
    """C (m, n) = A (m, k) B (k, n), float32, rows."""
    a = te.placeholder((m, k), name="A")
    b = te.placeholder((k, n), name="B")
    r = te.reduce_axis((0, k), name="r")
    c = te.compute((m, n), lambda i, j: te.sum(a[i, r] * b[r, j], axis=r), name="C")
    s = schedule.create_schedule([c])
    cfg = get_config()
    cfg.define_split("tile_m", m, num_outputs=3, max_factor=16, default=(-1, 1, 4))
    cfg.define_split("tile_n", n, num_outputs=3, filter=lambda e: e.size[-1] in (8, 16, 32, 48), default=(-1, 1, 16))
    cfg.define_split("tile_k", k, num_outputs=2, max_factor=8)
    cfg.define_knob("unroll", [False, True])
    cfg.restrict(lambda x, y: x.size[-1] * y.size[-1] <= 26 * 16, "tile_m", "tile_n")
    y, x = s[c].op.axis
    yo, ym, yi = cfg["tile_m"].apply(s, c, y)
    xo, xm, xi = cfg["tile_n"].apply(s, c, x)
    ro, ri = cfg["tile_k"].apply(s, c, s[c].op.reduce_axis[0])
    s[c].reorder(yo, xo, ym, xm, ro, ri, yi, xi)
    s[c].vectorize(xi)
    s[c].unroll(yi)
    if cfg["unroll"].val:
        s[c].unroll(ri)
    return s, [a, b, c]
