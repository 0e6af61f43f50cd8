"""Products of matrices on GPUs, by the emitted kernels on the emulator."""

from __future__ import annotations

import pytest

import tilewright.autotune.templates  # noqa: F401
from tilewright.autotune.task import create

from .running import assert_close, configured, emulated, uniform

SHAPES = [
    (64, 64, 64), (128, 128, 32), (1, 128, 32), (7, 13, 5), (33, 65, 17), (100, 48, 20), (3, 300, 64), (129, 40, 100),
    (65, 67, 33),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matmul_gives_the_product_by_default(shape):
    m, n, k = shape
    task = create("matmul", shape, "cuda -arch=sm_80")
    a, b = uniform(m, (m, k), (k, n))
    assert_close(emulated(task, configured(task), [a, b]), a.astype(float) @ b, k)
