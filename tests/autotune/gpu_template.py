"""A template for GPUs with configurations of every kind: right, slow for sure, too large, and one twice."""

from __future__ import annotations

from typing import Any

from tilewright import te
from tilewright.autotune import task as tasks
from tilewright.autotune.task import Task
from tilewright.autotune.template import get_config, template
from tilewright.schedule.schedule import create_schedule

CONFLICTS, RIGHT, LARGE, RIGHT_AGAIN = 0, 1, 2, 5  # numbers of configurations


@template("test.transposition")
def transposed(n: int) -> tuple[Any, list[Any]]:
    """A transposition through shared memory, whose rows are padded or not, or are too many."""
    a = te.placeholder((n, n), name="A")
    b = te.compute((n, n), lambda i, j: a[j, i], name="B")
    s = create_schedule([b])
    cfg = get_config()
    cfg.define_knob("pad", [0, 1])
    cfg.define_knob("tile", [32, 512])
    cfg.define_knob("same", [0, 1])  # without effect
    tile = cfg["tile"].val
    shared = s.cache_read(a, "shared", [b])
    io, ii = s[b].split(s[b].op.axis[0], factor=tile)
    jo, ji = s[b].split(s[b].op.axis[1], factor=tile)
    s[b].reorder(io, jo, ii, ji)
    iy, ii = s[b].split(ii, nparts=4)
    ji, jx = s[b].split(ji, factor=32)
    s[b].reorder(io, jo, iy, jx, ii, ji)
    for axis, thread in ((io, "blockIdx.y"), (jo, "blockIdx.x"), (iy, "threadIdx.y"), (jx, "threadIdx.x")):
        s[b].bind(axis, thread)
    s[shared].compute_at(s[b], jo)
    if cfg["pad"].val:
        s[shared].storage_align(s[shared].op.axis[0], 2, 1)
    fy, fi = s[shared].split(s[shared].op.axis[0], nparts=4)
    fj, fx = s[shared].split(s[shared].op.axis[1], factor=32)
    s[shared].reorder(fy, fx, fi, fj)
    s[shared].bind(fy, "threadIdx.y")
    s[shared].bind(fx, "threadIdx.x")
    return s, [a, b]


def transposition(n: int, target: str = "cuda -arch=sm_90a", device: str = "emulate") -> Task:
    """Give the task of transposing a matrix (n, n) float32."""
    return tasks.create("test.transposition", (n,), target, device=device)
