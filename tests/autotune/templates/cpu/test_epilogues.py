"""What becomes of sums in registers: every algorithm with bias, residual and activation, against direct evaluation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tilewright.autotune import task
from tilewright.autotune.space import Config
from tilewright.autotune.templates.cpu import conv2d_blocked, conv2d_direct, conv2d_pointwise, conv2d_winograd
from tilewright.autotune.templates.epilogue import EpilogueForm
from tilewright.ir.errors import TuneError
from tilewright.ir.expr import Call, Load
from tilewright.ir.visit import of_kind
from tilewright.schedule.lower import lower_prepared

from .convolutions import Args, assert_right, case, configs_of, only

FULL = "bias,residual,relu6"
CONVOLUTIONS: tuple[tuple[Callable, Args, str], ...] = (
    (conv2d_blocked.plan, case(16, (14, 14), 32, (3, 3), 1, 1), "bias,relu"),
    (conv2d_blocked.plan, case(5, (13, 11), 21, (3, 3), 1, 1), FULL),
    (conv2d_blocked.plan, case(16, (8, 9), 64, (3, 3), 1, 1, groups=2, batch=2), "residual"),
    (conv2d_blocked.plan, case(12, (13, 9), 40, (3, 3), 2, 1, layout="NHWC"), FULL),
    (conv2d_pointwise.plan, case(24, (9, 10), 41, (1, 1), 1, 0), "bias,residual,relu"),
    (conv2d_pointwise.plan, case(16, (11, 12), 24, (1, 1), 2, 0, batch=2), "bias,hardswish"),
    (conv2d_direct.plan, case(5, (13, 11), 21, (3, 3), 1, 1, constant=False), FULL),
    (conv2d_direct.plan, case(8, (11, 9), 20, (3, 3), 2, 1, layout="NHWC", constant=False), "bias,silu"),
    (conv2d_direct.plan, case(16, (9, 10), 32, (3, 3), 1, 1, layout="NCHW16c"), FULL),
    (conv2d_winograd.plan, case(17, (13, 11), 21, (3, 3), 1, 1), FULL),
    (conv2d_winograd.plan, case(16, (9, 10), 32, (3, 3), 1, 1, batch=2), "bias,relu"),
    (conv2d_winograd.plan, case(16, (9, 10), 32, (3, 3), 1, 1, layout="NHWC"), FULL),
    (conv2d_winograd.plan, case(16, (9, 10), 32, (3, 3), 1, 1, layout="NCHW16c"), FULL),
)
OTHERS: tuple[tuple[str, Args], ...] = (
    ("conv2d", ((1, 8, 9, 9), (24, 3, 3), 1, 1, 1, 1, "NCHW", "int8", True, "bias,residual,relu")),
    ("depthwise_conv2d", ((2, 5, 13, 11), (3, 3), 1, 1, 1, "NCHW", "float32", FULL)),
    ("depthwise_conv2d", ((1, 21, 11, 9), (5, 5), 2, 2, 1, "NHWC", "float32", "bias,relu6")),
    ("depthwise_conv2d", ((1, 32, 9, 9), (3, 3), 1, 1, 1, "NCHW16c", "float32", FULL)),
    ("matmul", (37, 51, 41, False, False, "float32", True, "bias,residual,relu")),
    ("matmul", (1, 200, 77, False, True, "float32", False, "bias,tanh")),
    ("matmul", (24, 40, 36, False, False, "float16", False, "bias,residual,relu")),
    ("matmul", (24, 40, 36, False, True, "int8", True, "bias,residual,relu")),
    ("dense", (13, 100, 96, "float32", True, "bias,gelu")),
    ("dense", (3, 70, 300, "float32", True, "bias,residual")),
    ("batch_matmul", (3, 17, 33, 20, True, "float32", False, FULL)),
)


def create_fused(args: Args, epilogue: str) -> task.Task:
    return task.create("conv2d", (*args, epilogue), threads=2)


@pytest.mark.parametrize(("algorithm", "args", "epilogue"), CONVOLUTIONS)
def test_algorithms_of_convolutions(
    monkeypatch: pytest.MonkeyPatch, algorithm: Callable, args: Args, epilogue: str
) -> None:
    only(monkeypatch, algorithm)
    tuned = create_fused(args, epilogue)
    for number, config in enumerate(configs_of(tuned, 1)):
        assert_right(tuned, config, threads=1 + number % 2)


@pytest.mark.parametrize(("name", "args"), OTHERS, ids=str)
def test_other_templates(name: str, args: Args) -> None:
    tuned = task.create(name, args, threads=2)
    for number, config in enumerate(configs_of(tuned, 1)):
        assert_right(tuned, config, threads=2 - number % 2)


@pytest.mark.parametrize(("algorithm", "args", "epilogue"), CONVOLUTIONS)
def test_the_result_is_never_read(
    monkeypatch: pytest.MonkeyPatch, algorithm: Callable, args: Args, epilogue: str
) -> None:
    """There is no second pass over it."""
    only(monkeypatch, algorithm)
    tuned = create_fused(args, epilogue)
    config = tuned.config_space.default_config()
    assert _reads_of_result(tuned, config) == 0


def _reads_of_result(tuned: task.Task, config: Config) -> int:
    kernel = lower_prepared(*tuned.instantiate(config), "kernel")[-1]
    return sum(load.buffer in kernel.outputs for load in of_kind(kernel.body, Load))


@pytest.mark.parametrize(("size", "asked"), [(56, True), (14, False)])
def test_a_residual_beyond_the_second_cache_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, size: int, asked: bool
) -> None:
    only(monkeypatch, conv2d_pointwise.plan)
    tuned = create_fused(case(8, (size, size), 128, (1, 1), 1, 0), FULL)
    config = tuned.config_space.default_config()
    kernel = lower_prepared(*tuned.instantiate(config), "kernel")[-1]
    assert any(call.name == "prefetch" for call in of_kind(kernel.body, Call)) == asked
    assert_right(tuned, config, threads=2)


def test_operations_are_those_of_the_sums() -> None:
    args = (8, 48, 64, False, False, "float32", True)
    assert task.create("matmul", (*args, "bias,gelu")).flop == task.create("matmul", args).flop == 2 * 8 * 48 * 64


@pytest.mark.parametrize("text", ["relu,bias", "bias,", "residual,bias", "bias,relu,relu6", "swish", "bias,bias", " "])
def test_what_is_no_epilogue_is_refused(text: str) -> None:
    with pytest.raises(TuneError, match="is no epilogue"):
        EpilogueForm.parse(text)


@pytest.mark.parametrize("text", ["", "bias", "residual", "bias,residual", "gelu", "bias,residual,relu"])
def test_an_epilogue_reads_as_it_is_written(text: str) -> None:
    assert str(EpilogueForm.parse(text)) == text


def test_a_convolution_on_a_gpu_has_none() -> None:
    with pytest.raises(TuneError, match="no schedule for a GPU has the epilogue 'bias,relu'"):
        task.create("conv2d", (*case(16, (8, 8), 16, (3, 3), 1, 1), "bias,relu"), target="cuda -arch=sm_80")
