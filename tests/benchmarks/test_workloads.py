"""Workloads of the benchmarks: each is what our template computes, and its reference is what it means."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.autotune.task import Task, create
from tilewright.cli.layers import LAYERS
from tilewright.cli.networks import NETWORKS
from tilewright.te.evaluate import evaluate

from .package import part

families, operations = part("families"), part("operations")
random_inputs, reference = part("arrays").random_inputs, part("reference")


def task_of(operation) -> Task:
    name, arguments = operation.template
    return create(name, arguments)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_templates_take_and_give_the_arrays_of_every_workload(name: str) -> None:
    for workload in families.family(name):
        operation = workload.operation
        if operation.template is not None:
            task = task_of(operation)
            arrays = [*operation.operands, operation.result]
            assert [tuple(map(int, map(str, t.shape))) for t in task.tensors] == [o.shape for o in arrays]
            assert [str(t.dtype) for t in task.tensors] == [o.dtype for o in arrays]


@pytest.mark.parametrize("name", families.FAMILIES)
def test_operations_are_counted_as_templates_count_them(name: str) -> None:
    for workload in families.family(name):
        if workload.operation.template is not None and workload.operation.flop:
            assert workload.operation.flop == task_of(workload.operation).flop


@pytest.mark.parametrize("name", families.FAMILIES)
def test_names_and_operations_of_a_family_are_distinct(name: str) -> None:
    members = families.family(name)
    assert len({w.name for w in members}) == len({w.operation for w in members}) == len(members)


def test_keys_are_distinct_across_families() -> None:
    keys = [w.key for name in families.FAMILIES for w in families.family(name)]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("network", NETWORKS)
def test_convolutions_of_a_network_are_the_layers_of_the_command_line(network: str) -> None:
    for name, conv in families.layers(network):
        layer = LAYERS[f"{network}.{name}"]
        filters = () if conv.depthwise else conv.filters[:1]
        assert layer.operator == conv.template[0]
        assert layer.shape == (*conv.data, *filters, conv.filters[1], conv.stride, conv.padding)


def test_mobilenetv2_has_its_300_million_multiplications() -> None:
    convolutions = sum(operation.flop for _, operation in families.FAMILIES["mobilenetv2"]()) // 2
    assert convolutions + 1280 * 1000 == 300_774_272  # with the classifier, a product


SMALL = [
    operations.Convolution((2, 4, 9, 7), (6, 3, 3), 1, 1),
    operations.Convolution((1, 3, 11, 10), (4, 5, 3), 2, 2),
    operations.Convolution((1, 4, 12, 12), (4, 3, 3), 1, 2, dilation=2),
    operations.Convolution((1, 6, 8, 8), (9, 3, 3), 1, 1, groups=3),
    operations.Convolution((1, 5, 9, 9), (5, 3, 3), 2, 1, groups=5),
    operations.Convolution((1, 8, 6, 5), (12, 3, 3), 1, 1, layout="NCHW4c"),
    operations.Transposed((2, 4, 5, 4), (6, 4, 3), 2, 1, 1, groups=2),
    operations.Convolution((2, 4, 9, 7), (6, 3, 3), 1, 1, layout="NHWC"),
    operations.Convolution((1, 5, 9, 9), (5, 3, 3), 2, 1, groups=5, layout="NHWC"),
    operations.Product(5, 7, 11),
    operations.Product(5, 7, 11, batch=3, constant=False),
    operations.Fused(operations.Convolution((1, 4, 9, 7), (6, 3, 3), 1, 1), True, "relu6"),
    operations.Fused(operations.Convolution((1, 5, 9, 9), (5, 3, 3), 2, 1, groups=5), activation="relu"),
    operations.Fused(operations.Product(5, 7, 11), activation="gelu"),
    operations.Softmax(4, 9),
    operations.LayerNorm(4, 9),
    operations.BiasRelu(3, 8),
    operations.Reduction(5, 8, 0),
    operations.Reduction(5, 8, 1, "max"),
    operations.Reduction(5, 8, 0, "min"),
    operations.Reduction(5, 8, 1, "mean"),
    operations.Reduction(5, 8, 1, "argmax"),
    *(operations.Unary(3, 8, name) for name in ("relu", "exp", "tanh", "sigmoid", "gelu")),
]


@pytest.mark.parametrize("operation", SMALL, ids=str)
def test_references_agree_with_direct_evaluation(operation) -> None:
    task, arrays = task_of(operation), random_inputs(operation, 1)
    feeds = dict(zip(task.tensors, arrays, strict=False))
    found, *_ = evaluate(task.outputs, feeds, accumulate="float64")  # argmax has the greatest value too
    assert reference.reference(operation, arrays).error(np.asarray(found)) <= 1


@pytest.mark.parametrize("operation", SMALL, ids=str)
def test_an_error_of_a_thousandth_of_all_terms_is_refused(operation) -> None:
    exact = reference.reference(operation, random_inputs(operation, 1))
    wrong = exact.value.copy()
    wrong.flat[3] += 1e-3 * np.abs(exact.value).max()
    assert exact.error(exact.value) == 0
    assert exact.error(wrong) > 1


def test_no_number_and_another_shape_are_wrong() -> None:
    operation = operations.Product(3, 4, 5)
    exact = reference.reference(operation, random_inputs(operation, 0))
    assert exact.error(np.full((3, 4), np.nan)) == np.inf
    assert exact.error(exact.value.T) == np.inf


def test_bytes_are_summed_scaled_and_rounded() -> None:
    conv = operations.Convolution((1, 2, 5, 5), (3, 3, 3), 1, 1)
    quantized = operations.Quantized(conv)
    data, weights = random_inputs(quantized, 0)
    exact = reference.reference(quantized, [data, weights])
    row = exact.value[0, 2, 4]
    for x in range(5):  # the last row, whose lowest taps are padding
        taps = ((c, ky, kx) for c in range(2) for ky in range(2) for kx in range(3) if 0 <= x + kx - 1 < 5)
        total = sum(int(data[0, c, 3 + ky, x + kx - 1]) * int(weights[2, c, ky, kx]) for c, ky, kx in taps)
        assert row[x] == pytest.approx(min(255, max(0, total * quantized.multiplier)), rel=1e-12)
    rounded = np.rint(exact.value).astype(np.uint8)
    assert exact.error(rounded) <= 1
    assert exact.error(np.where(rounded < 255, rounded + 1, 254)) > 1


def test_random_bytes_use_most_of_the_range_of_the_result() -> None:
    quantized = operations.Quantized(operations.Product(40, 50, 200))
    value = reference.reference(quantized, random_inputs(quantized, 0)).value
    assert 0.4 < np.mean(value == 0) < 0.6 and 0.001 < np.mean(value == 255) < 0.05


def test_inputs_are_aligned_and_the_same_for_one_seed() -> None:
    operation = operations.Convolution((1, 3, 5, 5), (4, 3, 3))
    first, second, other = (random_inputs(operation, seed) for seed in (7, 7, 8))
    assert all(a.ctypes.data % 64 == 0 for a in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])
