"""Code for older x86 processors, run on this one: right results, from the registers that those processors have."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tilewright
from tilewright import te
from tilewright.autotune.templates import register_tile
from tilewright.runtime.build import build
from tilewright.runtime.host import host_target, resolve, vector_features
from tilewright.te.evaluate import evaluate

from .workloads import WORKLOADS, Workload, assert_right, configurations, nest_of, reference_of, task_of, title

HASWELL, SSE2, SKYLAKE = "llvm -mcpu=haswell", "llvm -mcpu=x86-64", "llvm -mcpu=skylake-avx512"
NOT_THERE = {HASWELL: "zmm", SSE2: "[yz]mm", SKYLAKE: "no such register"}
RANDOM = {HASWELL: 1, SSE2: 0, SKYLAKE: 0}  # configurations besides the default one


def runs_here(target: str) -> bool:
    host, asked = host_target(), resolve(target)
    return vector_features(asked.cpu, asked.features) <= vector_features(host.cpu, host.features)


TARGETS = [target for target in NOT_THERE if runs_here(target)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("workload", WORKLOADS, ids=title)
def test_templates_are_right_in_the_registers_of_the_processor(workload: Workload, target: str) -> None:
    task = task_of(workload, target)
    reference = reference_of(task)
    for config in configurations(task, RANDOM[target]):
        module = build(nest_of(task, config), target=target, effort="quick")
        reference.poison()
        module(*reference.arrays)
        assert_right(reference, [str(config)])
        assert not re.search(NOT_THERE[target], module.assembly)


def test_register_tiles_are_those_of_the_processor() -> None:
    tiles = {}
    for target in (HASWELL, SSE2, SKYLAKE):
        resolved = resolve(target)
        tiles[target] = (register_tile.lanes_of(resolved), register_tile.registers_of(resolved))
    assert tiles == {HASWELL: (8, 16), SSE2: (4, 16), SKYLAKE: (16, 32)}


def test_a_product_for_haswell_is_fused_multiply_adds_of_eight_lanes() -> None:
    task = task_of(("matmul", (64, 64, 64)), HASWELL)
    default = task.config_space.default_config()
    text = build(nest_of(task, default), target=HASWELL, effort="quick").assembly
    tile = default["tile_m"].size[-1] * default["tile_n"].size[-1] // 8
    assert len(re.findall(r"vfmadd\d+ps\t.*%ymm", text)) >= tile >= 8


@pytest.mark.parametrize("lanes", [1, 4, 5])
def test_multiply_adds_are_rounded_once_without_an_instruction(lanes: int) -> None:
    """A product just below or just above half of the last bit of a sum, which float64 would make a half."""
    x, y, z = (te.placeholder((40,), "float32", name=name) for name in "xyz")
    total = te.compute((40,), lambda i: te.fma(x[i], y[i], z[i]), name="total")
    s = tilewright.create_schedule(total.op)
    if lanes > 1:
        s[total].vectorize(s[total].split(total.op.axis[0], factor=lanes)[1])
    a = np.float32([1 + 2**-23, 1 + 2**-12] * 20)
    b = np.float32([1 - 2**-23, 1 - 2**-12 + 2**-24] * 20) * np.float32(2**-24)  # a b / 2^-24: 1 - 2^-46, 1 + 2^-36
    c = np.float32(1 + np.arange(4, 44) // 4 * 2.0**-23) * np.float32([1, 1, -1, -1] * 10)
    c[-1] = np.inf
    found = np.zeros(40, np.float32)
    build(s, [x, y, z, total], SSE2)(a, b, c, found)
    np.testing.assert_array_equal(found, c + np.float32([0, 2**-23] * 20))
    np.testing.assert_array_equal(evaluate([total], {x: a, y: b, z: c})[0], found)


# -- float16 without an instruction -------------------------------------------------------------------------------


def converted(target: str, values: np.ndarray, result: str, lanes: int) -> np.ndarray:
    """Give an array in another type, converted by a kernel."""
    x = te.placeholder(values.shape, str(values.dtype), name="x")
    y = te.compute(values.shape, lambda i: x[i].astype(result), name="y")
    s = tilewright.create_schedule(y.op)
    if lanes > 1:
        s[y].vectorize(s[y].split(y.op.axis[0], factor=lanes)[1])
    found = np.zeros(values.shape, result)
    build(s, [x, y], target)(values, found)
    return found


HALVES = np.arange(1 << 16).astype(np.uint16).view(np.float16)
TARGETS_OF_HALVES = [SSE2, *(t for t in [HASWELL] if t in TARGETS)]


@pytest.mark.parametrize("lanes", [1, 4, 5])
@pytest.mark.parametrize("target", TARGETS_OF_HALVES)
def test_every_float16_is_widened_exactly(target: str, lanes: int) -> None:
    found, expected = converted(target, HALVES, "float32", lanes), HALVES.astype(np.float32)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(found.view(np.uint32)[known], expected.view(np.uint32)[known])
    assert np.isnan(found[~known]).all()


@pytest.mark.parametrize("lanes", [1, 4, 5])
@pytest.mark.parametrize("target", TARGETS_OF_HALVES)
def test_float16_is_rounded_to_nearest_even(target: str, lanes: int) -> None:
    finite = np.unique(HALVES[np.isfinite(HALVES)].astype(np.float64))
    ties = ((finite[:-1] + finite[1:]) / 2).astype(np.float32)
    beside = [np.nextafter(ties, np.float32(side)) for side in (-np.inf, np.inf)]
    limits = np.array([65519.996, 65520, 65536, 1e30, np.inf, 2**-25, 1e-30, 0.0], np.float32)
    values = np.concatenate([ties, *beside, limits, -limits])
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    np.testing.assert_array_equal(converted(target, values, "float16", lanes).view(np.uint16), expected.view(np.uint16))
    assert np.isnan(converted(target, np.array([np.nan, -np.nan] * 10, np.float32), "float16", lanes)).all()


def test_float16_calls_no_function_of_the_c_compiler() -> None:
    task = task_of(("matmul", (17, 40, 36, False, False, "float16")), SSE2)
    text = build(nest_of(task, task.config_space.default_config()), target=SSE2).assembly
    assert not re.search(r"__\w*hf\w*", text)
