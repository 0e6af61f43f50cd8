"""Depthwise convolutions on GPUs: values of the emitted kernels on the emulator, and what they compile to."""

from __future__ import annotations

import pytest

from tilewright.autotune.task import create
from tilewright.codegen.cuda.text.emit import emit_programs
from tilewright.runtime.cuda.compiler.compile import compile_cubin
from tilewright.te.evaluate import evaluate

from .running import assert_close, configured, emulated, program_of, uniform

SHAPES = [
    ((1, 8, 7, 7), (3, 3), 1, 1),
    ((2, 5, 9, 11), (3, 3), 2, 1),
    ((1, 6, 10, 9), (5, 5), 1, 2),
    ((1, 6, 12, 13), (3, 3), 1, 2, 2),
    ((1, 12, 14, 14), (3, 3), 2, 1),
    ((1, 33, 5, 6), (3, 3), 1, 0),
    ((3, 4, 8, 8), (1, 1), 1, 0),
    ((1, 16, 7, 30), (3, 3), 1, 1),
    ((1, 1, 19, 17), (7, 7), 2, 3),
]


@pytest.mark.parametrize("image", ["shared", "registers"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_depthwise_convolution_has_its_values(shape, layout, image):
    dilation = shape[4] if len(shape) > 4 else 1
    task = create("depthwise_conv2d", (*shape[:4], dilation, layout), "cuda -arch=sm_80")
    data, kernel, _ = task.tensors
    arrays = uniform(2, *([int(d.value) for d in t.shape] for t in (data, kernel)))
    (exact,) = evaluate(task.outputs, dict(zip((data, kernel), arrays, strict=True)))
    assert_close(emulated(task, configured(task, image=image), arrays), exact, 2 * shape[1][0] * shape[1][1])


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("shape", [((1, 96, 112, 112), (3, 3), 2, 1), ((16, 512, 14, 14), (5, 5), 1, 2)], ids=str)
def test_no_default_spills(shape, layout, arch):
    task = create("depthwise_conv2d", (*shape, 1, layout), f"cuda -arch={arch}")
    assert not compile_cubin(emit_programs([program_of(task, configured(task))]).text, arch).faults
