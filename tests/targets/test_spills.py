"""Default configurations for processors with other registers than this machine's: nothing spills in their hot loops."""

from __future__ import annotations

import pytest

from tilewright.codegen.llvm.assembly import spills_in_hot_loop
from tilewright.runtime.build import build

from .workloads import Workload, nest_of, task_of, title

TARGETS = ("llvm -mcpu=haswell", "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72")
IMAGE = (1, 128, 28, 28)
DEPTHWISE = ((1, 144, 56, 56), (3, 3), 1, 1, 1)
BYTES = ("uint8", "uint8", None, True, 3, 7, True)  # and the other arguments of a product that is requantized

WORKLOADS: tuple[Workload, ...] = (
    ("conv2d", ((1, 3, 224, 224), (64, 7, 7), 2, 3, 1, 1, "NCHW", "float32", True)),
    ("conv2d", (IMAGE, (128, 3, 3), 1, 1, 1, 1, "NCHW", "float32", True)),
    ("conv2d", (IMAGE, (256, 3, 3), 2, 1, 1, 1, "NCHW", "float32", True)),
    ("conv2d", (IMAGE, (256, 1, 1), 2, 0, 1, 1, "NHWC", "float32", True)),
    ("depthwise_conv2d", (*DEPTHWISE, "NCHW")),
    ("depthwise_conv2d", (*DEPTHWISE, "NHWC")),
    ("depthwise_conv2d", ((1, 96, 112, 112), (3, 3), 2, 1, 1, "NCHW")),
    ("depthwise_conv2d", ((1, 96, 28, 28), (5, 5), 1, 2, 1, "NHWC")),
    ("depthwise_conv2d", ((1, 960, 7, 7), (3, 3), 1, 1, 1, "NCHW")),
    ("matmul", (512, 512, 512)),
    ("batch_matmul", (12, 128, 64, 128)),
    ("softmax", (1024, 1000)),
    ("layer_norm", (1024, 768)),
    ("elementwise", (512, 1024, "gelu")),
    ("qmatmul", (512, 512, 512, False, *BYTES)),
    ("qconv2d", (IMAGE, (128, 3, 3), 1, 1, 1, 1, "NCHW", *BYTES)),
    ("qconv2d", ((1, 256, 14, 14), (256, 3, 3), 1, 1, 1, 1, "NHWC", "int8", *BYTES[1:])),
    ("qdepthwise_conv2d", (*DEPTHWISE, "NCHW", *BYTES)),
    ("qdepthwise_conv2d", ((1, 96, 28, 28), (5, 5), 1, 2, 1, "NHWC", *BYTES)),
    ("qdepthwise_conv2d", ((1, 96, 112, 112), (3, 3), 2, 1, 1, "NHWC", *BYTES)),
)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("workload", WORKLOADS, ids=title)
def test_default_configurations_keep_their_tiles_in_registers(workload: Workload, target: str) -> None:
    task = task_of(workload, target)
    module = build(nest_of(task, task.config_space.default_config()), target=target, effort="quick")
    assert spills_in_hot_loop(module.assembly, "main") == 0
