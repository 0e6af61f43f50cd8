"""What code for every processor must compute rightly: each template in small, with sizes that leave tails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilewright.autotune.reference import Reference, make_reference
from tilewright.autotune.space import Config
from tilewright.autotune.task import Task, create
from tilewright.ir.stmt import Function
from tilewright.schedule.lower import lower

Workload = tuple[str, tuple[Any, ...]]

ADDED = (0.7, 20, 0.45, 3)  # how bytes of sums and of a residual are added
PLAIN = (False, 0, 0, False)  # no bias, zeros are 0, weights may change

WORKLOADS: tuple[Workload, ...] = (
    ("conv2d", ((1, 16, 9, 9), (16, 3, 3), 1, 1)),
    ("conv2d", ((2, 8, 9, 11), (12, 3, 3), 2, 1, 1, 1, "NCHW", "float32", True)),
    ("conv2d", ((1, 16, 9, 9), (32, 1, 1), 2, 0, 1, 1, "NHWC")),
    ("conv2d", ((1, 16, 7, 7), (24, 1, 1), 1, 0, 1, 1, "NCHW", "float32", True)),
    ("conv2d", ((1, 16, 8, 8), (16, 3, 3), 1, 1, 1, 1, "NCHW16c")),
    ("conv2d", ((1, 8, 7, 7), (8, 3, 3), 1, 1, 1, 2)),
    ("conv2d", ((1, 8, 9, 9), (8, 3, 3), 1, 1, 1, 1, "NCHW", "int8")),
    ("conv2d", ((1, 8, 9, 9), (8, 3, 3), 1, 1, 1, 1, "NCHW", "float16")),
    ("depthwise_conv2d", ((1, 16, 9, 11), (3, 3), 1, 1)),
    ("depthwise_conv2d", ((1, 16, 9, 9), (3, 3), 2, 1, 1, "NHWC")),
    ("depthwise_conv2d", ((1, 32, 9, 9), (3, 3), 1, 1, 1, "NCHW16c")),
    ("matmul", (19, 37, 23)),
    ("matmul", (16, 64, 32, True, True)),
    ("matmul", (17, 40, 36, False, False, "int8")),
    ("matmul", (17, 40, 36, False, False, "bfloat16")),
    ("matmul", (17, 40, 36, False, False, "float16")),
    ("dense", (9, 33, 40)),
    ("dense", (9, 33, 40, "int8")),
    ("conv2d", ((1, 6, 9, 9), (24, 3, 3), 2, 1, 1, 1, "NHWC", "uint8")),
    ("qmatmul", (17, 40, 37, False, "uint8", "int8", None, True, 3, -5, True)),
    ("qmatmul", (9, 24, 36, True, "int8", "uint8", 0.004, False, 0, 7, False, (7, 250), (0.8, 90, 1.2, 33))),
    ("qconv2d", ((1, 8, 9, 9), (24, 3, 3), 1, 1, 1, 1, "NCHW", "uint8", "uint8", None, True, 3, 7, True)),
    ("qconv2d", ((1, 8, 9, 9), (24, 1, 1), 1, 0, 1, 1, "NCHW", "uint8", "uint8", None, True, 3, 7, True, None, ADDED)),
    ("qconv2d", ((1, 6, 9, 9), (24, 1, 1), 2, 0, 1, 1, "NHWC", "int8", "int8", 0.01, *PLAIN, None, ADDED)),
    ("qdepthwise_conv2d", ((1, 3, 9, 11), (3, 3), 1, 1, 1, "NCHW", "uint8", "int8", None, True, 3, -5, True, (-5, 99))),
    ("qdepthwise_conv2d", ((1, 3, 12, 12), (5, 5), 2, 2, 1, "NCHW", "int8", "uint8", 0.004, *PLAIN, None, ADDED)),
    ("qdepthwise_conv2d", ((1, 21, 7, 8), (3, 3), 1, 1, 1, "NHWC", "uint8", "uint8", None, True, 3, 7, True)),
    ("batch_matmul", (2, 9, 33, 20)),
    ("softmax", (7, 45)),
    ("softmax", (7, 45, "float16")),
    ("layer_norm", (7, 45)),
    ("reduction", (9, 45, 1, "sum")),
    ("reduction", (9, 45, 0, "max")),
    ("reduction", (9, 45, 1, "argmax")),
    ("elementwise", (7, 45, "gelu")),
    ("elementwise", (7, 45, "tanh", "float64")),
    ("elementwise", (7, 45, "sigmoid", "bfloat16")),
    ("generic", ("pool2d", ((1, 8, 11, 11),), (("kernel", 3), ("stride", 2)))),
)

DRAWN = 64  # configurations among which one of each algorithm is looked for


def title(workload: Workload) -> str:
    """Give a short text for a workload."""
    name, args = workload
    return "-".join([name, *(str(a).replace(" ", "") for a in args)])


def task_of(workload: Workload, target: str) -> Task:
    """Give the task of a workload for a processor."""
    name, args = workload
    return create(name, args, target)


def configurations(task: Task, others: int, seed: int = 0) -> list[Config]:
    """Give the default configuration, a random one of each other algorithm, and `others` random ones."""
    space = task.config_space
    found = [space.default_config()]
    if not others:
        return found
    drawn = space.indices(space.sample(DRAWN, np.random.default_rng(seed)))
    configs = [space.get(int(index)) for index in drawn]
    algorithms = {_algorithm(found[0])}
    for config in configs:
        if _algorithm(config) not in algorithms:
            algorithms.add(_algorithm(config))
            found.append(config)
    return [*found, *configs[:others]]


def _algorithm(config: Config) -> object:
    entity = config.entities.get("algorithm")
    return entity and entity.val


def nest_of(task: Task, config: Config, name: str = "main") -> Function:
    """Give the loop nest of a configuration."""
    schedule, tensors = task.instantiate(config)
    return lower(schedule, tensors, name)


def reference_of(task: Task) -> Reference:
    """Give what the workload's kernels are called with, and must give."""
    return make_reference(task.tensors)


def assert_right(reference: Reference, configs: Sequence[str]) -> None:
    """Compare the outputs as they are now with direct evaluation."""
    error, near = reference.verdict()
    assert near, f"relative error {error:.2e} of {configs}, allowed {max(reference.rtol.values()):.2e}"
