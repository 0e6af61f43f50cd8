"""Timing and peaks: counted calls, honest statistics, rates that fit together."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from tilewright.ir.dtype import int64
from tilewright.ir.errors import ArgumentError, TargetError
from tilewright.ir.target import Target
from tilewright.runtime import peak
from tilewright.runtime.kernel import Kernel
from tilewright.runtime.peak_text import dot_loop, fma_loop
from tilewright.runtime.signature import ArrayParam, Signature
from tilewright.runtime.timing import Timing, interleaved

from .native import native

COUNT = """
declare i32 @usleep(i32)
define i32 @count__packed(ptr %argv) {
  %data = load ptr, ptr %argv
  %old = load i64, ptr %data
  %new = add i64 %old, 1
  store i64 %new, ptr %data
  %nap_at = getelementptr i64, ptr %data, i64 1
  %nap = load i64, ptr %nap_at
  %us = trunc i64 %nap to i32
  %r = call i32 @usleep(i32 %us)
  ret i32 0
}
"""


def counting() -> Kernel:
    """Give the kernel `count(data)`: data[0] += 1, then sleep data[1] microseconds."""
    code = native(COUNT, "count__packed")
    signature = Signature("count", (ArrayParam("data", int64, (2,), None, True),), ())
    return Kernel(signature, code.addresses["count__packed"], code)


def test_every_call_is_made_and_one_before() -> None:
    data = np.zeros(2, np.int64)
    timing = counting().time_evaluator(number=7, repeat=3, flush_bytes=1 << 16)(data)
    assert data[0] == 1 + 7 * 3
    assert len(timing.results_s) == 3


def test_a_known_delay_is_measured() -> None:
    timing = counting().time_evaluator(number=5, repeat=3)(np.array([0, 3000]))
    assert 3e-3 <= timing.min < 10e-3


def test_batches_grow_to_the_least_length() -> None:
    data = np.array([0, 1000])
    timing = counting().time_evaluator(number=1, repeat=2, min_repeat_ms=20)(data)
    assert len(timing.results_s) == 2
    assert 1 + 2 * 4 < data[0] < 200  # a call takes 1 ms and some: about 20 a batch, and those that found it out


def test_interleaved_times_tell_calls_apart() -> None:
    fast, slow = (counting().bind(np.array([0, us])) for us in (500, 2000))
    a, b = interleaved([fast, slow], rounds=4, batch_s=2e-3)
    assert len(a.results_s) == len(b.results_s) == 4
    assert a.median < b.median


@pytest.mark.parametrize("number, repeat", [(0, 1), (1, 0)])
def test_a_count_below_one_is_refused(number: int, repeat: int) -> None:
    with pytest.raises(ArgumentError, match=f"number={number}, repeat={repeat}"):
        counting().time_evaluator(number=number, repeat=repeat)(np.zeros(2, np.int64))


def test_a_kernel_that_fails_is_not_timed() -> None:
    code = native("define i32 @full(ptr %argv) {\n  ret i32 1\n}\n", "full")
    with pytest.raises(MemoryError, match="full: status 1"):
        Kernel(Signature("full", (), ()), code.addresses["full"], code).time_evaluator()()


def test_statistics_of_known_results() -> None:
    timing = Timing((4.0, 1.0, 2.0, 3.0, 10.0))
    assert (timing.median, timing.mean, timing.min, timing.max) == (3.0, 4.0, 1.0, 10.0)
    assert timing.std == pytest.approx(math.sqrt(12.5))
    assert timing.interval() == (1.0, 10.0)  # five results: 2 / 2**5 > 5%, so the whole range
    assert Timing((2.0,)).interval() == (2.0, 2.0)
    assert Timing((2.0,)).std == 0.0


@pytest.mark.parametrize("count", [6, 10, 25])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_the_interval_holds_the_median_as_often_as_promised(count: int, confidence: float) -> None:
    draw, trials = random.Random(count), 2000
    hits = 0
    for _ in range(trials):
        low, high = Timing(tuple(draw.expovariate(1.0) for _ in range(count))).interval(confidence)
        hits += low <= math.log(2) <= high
    slack = 3 * math.sqrt(confidence * (1 - confidence) / trials)  # three standard deviations of the count
    assert hits / trials >= confidence - slack


def test_the_interval_of_ten_results_leaves_out_the_extremes() -> None:
    assert Timing(tuple(map(float, range(10)))).interval(0.95) == (1.0, 8.0)  # Conover, table A3: r = 2, s = 9


def test_peaks_are_rates_a_processor_can_have() -> None:
    flops, read, copy = peak.measure_peak_flops(), peak.measure_read_bandwidth(), peak.measure_copy_bandwidth()
    assert 1e9 < flops < 1e12  # one core
    assert 1e8 < min(read, copy) <= max(read, copy) < 1e12
    assert peak.measure_peak_flops() == flops  # measured once


def test_a_peak_loop_takes_time_in_proportion_to_its_work() -> None:
    small, large = (peak.read_peak(size_bytes=n << 20) for n in (8, 32))
    assert large.work == 4 * small.work
    few, many = interleaved([small, large], rounds=5, batch_s=5e-3)
    assert many.min > 2 * few.min


def test_the_multiply_add_loop_has_as_many_vector_instructions_as_it_says() -> None:
    target = Target(triple="x86_64-unknown-linux-gnu", vector_bits=256, registers=16)
    loop = fma_loop(target)
    assert loop.text.count("call <8 x float> @llvm.fmuladd") * 8 * 2 == loop.work_per_step == 192


def test_a_processor_without_dot_products_has_no_such_peak() -> None:
    target = Target(triple="x86_64-unknown-linux-gnu", cpu="x86-64-v3", vector_bits=256, registers=16)
    assert dot_loop(target) is None
    with pytest.raises(TargetError, match="x86-64-v3 has no int8 dot product"):
        peak.dot_peak(target=target)
