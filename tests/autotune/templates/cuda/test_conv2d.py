"""Convolutions on GPUs: values of the emitted kernels on the emulator, and what they compile to."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.autotune.task import Task, create
from tilewright.codegen.cuda.text.emit import emit_programs
from tilewright.runtime.cuda.compiler.compile import compile_cubin
from tilewright.te.evaluate import evaluate

from .running import assert_close, configured, emulated, program_of, uniform

SHAPES = [
    ((1, 8, 7, 7), (12, 3, 3), 1, 1),
    ((2, 5, 9, 11), (7, 3, 3), 2, 1),
    ((1, 16, 14, 14), (20, 1, 1), 1, 0),
    ((1, 16, 8, 8), (24, 1, 1), 2, 0),
    ((1, 6, 10, 9), (8, 3, 3), 1, 2, 2),
    ((2, 8, 6, 6), (8, 3, 3), 1, 1, 1, 2),
    ((1, 3, 17, 19), (8, 5, 5), 2, 2),
    ((3, 4, 5, 5), (36, 3, 3), 1, 0),
    ((1, 20, 4, 33), (4, 3, 3), 1, 1),
]
LAYERS = [
    ((1, 64, 56, 56), (64, 3, 3), 1, 1),
    ((16, 512, 7, 7), (512, 3, 3), 1, 1),
    ((1, 3, 224, 224), (64, 7, 7), 2, 3),
]
CHOICES = {
    "asynchronous tiles of the product": {"algorithm": "product", "transport": "cp_async", "stages": 3},
    "a sum in parts": {"algorithm": "product", "parts": 4},
    "asynchronous tiles of channels": {"algorithm": "direct", "staging": "cp_async", "channels": 2},
    "a row of taps written out": {"algorithm": "direct", "unrolled": "row", "channels": 4},
}


def layer(shape: tuple[object, ...], layout: str, arch: str = "sm_80") -> Task:
    """Give a task with all arguments, the last two the layout and the type."""
    rest = shape[4:] or (1,)
    groups = rest[1] if len(rest) > 1 else 1
    return create("conv2d", (*shape[:4], rest[0], groups, layout), f"cuda -arch={arch}")


def check(task: Task, **choices: object) -> None:
    """Compare what a configuration computes with the expression's values."""
    image, kernel, _ = task.tensors
    arrays = uniform(1, *([int(d.value) for d in t.shape] for t in (image, kernel)))
    wide = {t: a.astype(np.float32) for t, a in zip((image, kernel), arrays, strict=True)}
    (exact,) = evaluate(task.outputs, wide)
    terms = arrays[1].size // max(arrays[1].shape[0], arrays[1].shape[-1]) + 1
    assert_close(emulated(task, configured(task, **choices), arrays), exact, 2 * terms)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("algorithm", ["product", "direct"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_convolution_has_its_values(shape, algorithm, layout):
    check(layer(shape, layout), algorithm=algorithm)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_convolution_has_its_values_with_other_knobs(choice, layout):
    check(layer(((1, 16, 9, 10), (20, 3, 3), 1, 1), layout), **CHOICES[choice])


def test_weights_as_they_are_give_the_same():
    check(layer(((1, 8, 7, 7), (12, 3, 3), 1, 1), "NCHW"), algorithm="product", packed=False)


@pytest.mark.parametrize("algorithm", ["product", "direct"])
@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("shape", LAYERS, ids=str)
def test_no_default_spills(shape, layout, arch, algorithm):
    task = layer(shape, layout, arch)
    program = program_of(task, configured(task, algorithm=algorithm))
    assert not compile_cubin(emit_programs([program]).text, arch).faults


def test_most_of_the_space_is_valid_and_each_algorithm_is_drawn():
    space = layer(LAYERS[0], "NCHW").config_space
    rows = space.sample(400, np.random.default_rng(0))
    assert space.valid(rows).all()
    drawn = [space.get(int(i))["algorithm"].val for i in space.indices(rows)]
    assert min(drawn.count("product"), drawn.count("direct")) > 100
    assert 1e5 < (space.valid_count or 0) < 1e7
