"""Convolutions on tensor cores: values of the emitted kernels on the emulator, and what they compile to."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright import te
from tilewright.autotune.space import Config
from tilewright.autotune.task import Task, create
from tilewright.codegen.cuda.screens.screens import screen
from tilewright.codegen.cuda.text.emit import emit_programs
from tilewright.runtime.cuda.compiler.compile import compile_cubin
from tilewright.runtime.cuda.compiler.sass import disassemble
from tilewright.te import operators
from tilewright.te.evaluate import evaluate

from .rounded import assert_sum, operands, shape_of, values
from .running import configured, emulated, program_of

Layer = tuple[tuple[int, int, int, int], tuple[int, int, int], int, int, int, int]
LAYERS: dict[str, Layer] = {  # data, filters, stride, padding, dilation, groups
    "3 x 3": ((1, 16, 8, 8), (16, 3, 3), 1, 1, 1, 1),
    "odd image, two of them": ((2, 8, 7, 9), (24, 3, 3), 1, 1, 1, 1),
    "three channels": ((1, 3, 16, 16), (20, 3, 3), 1, 1, 1, 1),
    "1 x 1": ((1, 32, 8, 8), (40, 1, 1), 1, 0, 1, 1),
    "1 x 1 of odd images": ((2, 64, 5, 5), (33, 1, 1), 1, 0, 1, 1),
    "1 x 1 at every second pixel": ((2, 24, 8, 6), (17, 1, 1), 2, 0, 1, 1),
    "every second pixel": ((2, 16, 9, 9), (16, 3, 3), 2, 1, 1, 1),
    "windows with gaps": ((1, 16, 11, 10), (16, 3, 3), 1, 2, 2, 1),
    "first layer": ((1, 3, 20, 20), (32, 7, 7), 2, 3, 1, 1),
    "two groups": ((1, 32, 6, 6), (32, 3, 3), 1, 1, 1, 2),
    "three groups of odd channels": ((1, 18, 6, 7), (51, 3, 3), 1, 1, 1, 3),
}
CHOICES = {
    "results by way of shared memory": {"staged": True},
    "by way of registers": {"transport": "register", "stages": 2},
    "a sum in 2 parts": {"parts": 2},
    "fragments ahead, padded": {"ahead": True, "layout": "padded"},
    "four warps": {"tile_m": (-1, 2, 32), "tile_n": (-1, 2, 32)},
}


def task_of(layer: Layer, layout: str, dtype: str, arch: str = "sm_80") -> Task:
    """Give the task of a layer."""
    return create("conv2d", (*layer, layout, dtype), f"cuda -arch={arch}")


def check(task: Task, config: Config, layer: Layer) -> None:
    """Compare what a configuration computes with the operator's values."""
    layout, dtype = task.args[-2:]
    (_, channels, _, _), (_, height, width), stride, padding, dilation, groups = layer
    arrays = operands(task)
    wide = [values(a, t) for a, t in zip(arrays, task.tensors, strict=False)]
    image, kernel = (te.placeholder(shape_of(t), "float64", t.op.name) for t in task.tensors[:2])
    out = operators.conv2d(image, kernel, stride, padding, dilation, layout, groups=groups)
    (exact,) = evaluate([out], {image: wide[0], kernel: wide[1]})
    (magnitude,) = evaluate([out], {image: abs(wide[0]), kernel: abs(wide[1])})
    terms = channels // groups * height * width
    got = emulated(task, config, arrays)
    assert_sum(got, exact, magnitude, terms, dtype, task.outputs[0])


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "tf32", "int8"])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_convolution_has_its_values(layer, dtype, layout):
    task = task_of(layer, layout, dtype)
    assert "tw_mma" in emit_programs([program_of(task, configured(task))]).text
    check(task, configured(task), layer)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("choice", CHOICES)
def test_convolution_has_its_values_with_other_knobs(choice, layout):
    layer = ((2, 64, 9, 10), (72, 3, 3), 1, 1, 1, 1)
    task = task_of(layer, layout, "float16")
    check(task, configured(task, **CHOICES[choice]), layer)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("seed", range(6))
def test_convolution_has_its_values_in_random_configurations(seed, layout):
    layer = ((2, 32, 9, 7), (48, 3, 3), 1, 1, 1, 1)
    task = task_of(layer, layout, "float16")
    space = task.config_space
    chosen = space.get(int(space.indices(space.sample(1, np.random.default_rng(seed)))[0]))
    check(task, chosen, layer)


def test_one_filter_a_group_is_for_cuda_cores():
    layer = ((1, 16, 8, 8), (16, 5, 5), 1, 2, 1, 16)
    task = task_of(layer, "NHWC", "float16")
    assert "tw_mma" not in emit_programs([program_of(task, configured(task))]).text


def test_images_of_neighbouring_channels_are_read_as_they_are():
    layer = ((8, 64, 28, 28), (64, 3, 3), 1, 1, 1, 1)
    assert [len(program_of(t, configured(t, parts=1)).kernels) for t in (
        task_of(layer, "NHWC", "float16"), task_of(layer, "NCHW", "float16")
    )] == [1, 3]  # fmt: skip


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(
    "layer",
    [
        ((16, 64, 56, 56), (64, 3, 3), 1, 1, 1, 1),
        ((16, 3, 224, 224), (64, 7, 7), 2, 3, 1, 1),
        ((16, 256, 56, 56), (128, 1, 1), 1, 0, 1, 1),
    ],
    ids=str,
)
def test_the_hot_loop_of_a_layer(layer, layout, arch):
    task = task_of(layer, layout, "float16", arch)
    program = program_of(task, configured(task))
    cubin = compile_cubin(emit_programs([program]).text, arch)
    assert not cubin.faults
    name = next(k.name for k in program.kernels if "mma_" in str(k.body))
    sass = disassemble(cubin.code)[name]
    assert sass.count("HMMA.16816") >= 2 * sass.count("LDSM.4") > 0
    assert sass.count("LDGSTS.E.BYPASS.128") == sass.count("LDGSTS") > 0
    assert all(screen(kernel, task.target).hot_conflict == 1 for kernel in program.kernels)
