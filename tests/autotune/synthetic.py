"""Spaces with an analytic cost: a blocked matrix product on a machine with 32 registers and two caches."""

from __future__ import annotations

import numpy as np

from tilewright.autotune.replay import RecordedSpace
from tilewright.autotune.space import ConfigSpace

PEAK_FLOPS = 150e9
LANES = 16
L1_BYTES, L2_BYTES = 32 << 10, 1 << 20


def gemm_space(m: int, n: int, k: int) -> ConfigSpace:
    """Give a space for C (m, n) = A (m, k) B (k, n): two blockings, unrolling, loop order, packing."""
    space = ConfigSpace()
    space.define_split("tile_m", m, "verbose", num_outputs=3, filter=lambda e: e.size[-1] <= 16 and e.size[1] <= 16)
    space.define_split("tile_n", n, num_outputs=3, filter=lambda e: 8 <= e.size[-1] <= 64 and e.size[1] <= 16)
    space.define_split("tile_k", k, num_outputs=2, filter=lambda e: 16 <= e.size[-1] <= 512)
    space.define_knob("unroll", [1, 2, 4, 8])
    space.define_reorder("order", [0, 1, 2], "candidate", candidate=[(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0)])
    space.define_annotate("outer", [0], "candidate", candidate=[("none",), ("parallel",)])
    space.define_knob("pack", [False, True])
    space.restrict(lambda a, b: a.size[-1] * -(-b.size[-1] // LANES) <= 40, "tile_m", "tile_n")
    return space


def gemm_seconds(space: ConfigSpace, matrix: np.ndarray, m: int, n: int, k: int) -> np.ndarray:
    """Give plausible times in seconds, infinite for the few that fail; the same for the same configuration."""
    tile_m, tile_n, tile_k = (space.fragments[name] for name in ("tile_m", "tile_n", "tile_k"))
    _, mid_m, in_m = tile_m.sizes[matrix[:, 0]].T  # type: ignore[attr-defined]
    _, mid_n, in_n = tile_n.sizes[matrix[:, 1]].T  # type: ignore[attr-defined]
    _, in_k = tile_k.sizes[matrix[:, 2]].T  # type: ignore[attr-defined]
    unroll, order, threads, pack = (1 << matrix[:, 3]), matrix[:, 4], matrix[:, 5], matrix[:, 6]
    vectors = -(-in_n // LANES)
    registers = in_m * vectors + vectors + 1
    fma = np.minimum(1.0, in_m * vectors / 10) * (in_n / (vectors * LANES))  # latency hiding, idle lanes
    fma = np.where(registers > 32, 0.35 * fma, fma)  # spills
    loads = (vectors + in_m * 0.6) / (in_m * vectors)
    core = fma / np.maximum(1.0, 1.1 * loads) * (0.86 + 0.03 * np.log2(unroll))
    core *= np.where(in_m * vectors * unroll > 90, 0.85, 1.0)  # the loop outgrows its cache
    panel_bytes, block_bytes = 4 * in_k * in_n, 4 * in_k * in_m * mid_m
    core *= np.where(panel_bytes > 0.75 * L1_BYTES, 0.8, 1.0) * np.where(block_bytes > 0.5 * L2_BYTES, 0.75, 1.0)
    core *= np.where(pack == 1, 1.0, np.where(n >= 512, 0.7, 0.95)) * np.choose(order, [1.0, 0.93, 0.88, 0.8])
    passes = np.ceil(k / in_k) * 8.0 * m * n / 40e9  # C read and written once per block of k
    traffic = 4.0 * (m * n * k) * (1 / (in_n * mid_n) + 1 / (in_m * mid_m)) / 60e9
    padded = -(-m // (in_m * mid_m)) * in_m * mid_m
    seconds = 2.0 * padded * n * k / (PEAK_FLOPS * core) + passes + 0.3 * traffic
    seconds += np.where(pack == 1, 4.0 * (m * k + k * n) / 8e9, 0) + np.where(threads == 1, 12e-6, 0)
    noise = np.random.default_rng(7).lognormal(0, 0.04, size=4099)[space.indices(matrix).astype(np.int64) % 4099]
    fails = space.indices(matrix).astype(np.int64) % 97 == 0
    return np.where(fails, np.inf, seconds * noise)


def gemm_recorded(m: int, n: int, k: int, points: int = 4000) -> RecordedSpace:
    """Give a random part of the space as if it had been measured."""
    space = gemm_space(m, n, k)
    matrix = np.unique(space.sample(points, np.random.default_rng(1)), axis=0)
    return RecordedSpace.of(space, space.indices(matrix), gemm_seconds(space, matrix, m, n, k))
