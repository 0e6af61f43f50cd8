"""Virtual threads side by side: the nest before and after, and that both mean the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tilewright.codegen.cuda.threads.virtual_threads import ExpandVirtualThreads
from tilewright.codegen.interp import interpret
from tilewright.ir.errors import CodegenError
from tilewright.ir.parser import parse_function
from tilewright.ir.printer import function_text
from tilewright.ir.stmt import Function
from tilewright.ir.target import Target

AMPERE = Target.parse("cuda -arch=sm_80")


def expanded(text: str) -> tuple[Function, Function]:
    """Give a function before and after the expansion of its virtual threads."""
    function = parse_function(text)
    body = ExpandVirtualThreads()(function.body, AMPERE)
    return function, Function(function.name, function.params, body, function.outputs)


def assert_same_meaning(before: Function, after: Function) -> None:
    rng = np.random.default_rng(0)
    shapes = [tuple(int(d.value) for d in b.shape) for b in before.buffers]  # type: ignore[attr-defined]
    arrays = [rng.integers(-8, 8, shape).astype(np.float32) for shape in shapes]
    results = []
    for function in (before, after):
        copies = [a.copy() for a in arrays]
        interpret(function, copies)
        results.append(copies)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


PROGRAMS = {
    "sums": """
def main(A: float32[8, 6], B: Out[float32[6]]):
    for v in thread("vthread", 2):
        for t in thread("threadIdx.x", 3):
            part = allocate(float32[1], "local")
            part[0] = 0.0
            for k in range(8):
                copy = allocate(float32[6], "shared")
                for t_1 in thread("threadIdx.x", 6):
                    copy[t_1] = A[k, t_1]
                part[0] = part[0] + copy[v * 3 + t]
            B[v * 3 + t] = part[0]
""",
    "nested": """
def main(A: float32[4, 6], B: Out[float32[4, 6]]):
    for v in thread("vthread.y", 2):
        for w in thread("vthread.x", 3):
            row = allocate(float32[2], "local")
            same = allocate(float32[1], "local")
            same[0] = A[0, 0]
            for i in range(2):
                row[i] = A[v * 2 + i, w * 2] + same[0]
            if v < 1:
                row[0] = row[1]
            for i_1 in unrolled(2):
                for j in vectorized(2):
                    B[v * 2 + i_1, w * 2 + j] = row[i_1]
""",
    "bounds": """
def main(A: float32[8], B: Out[float32[8]]):
    for v in thread("cthread", 2):
        for i in range(v * 3 + 2):
            x = A[v * 3 + i]
            B[v * 3 + i] = x + x
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_nest_means_the_same(name: str, golden: Callable):
    before, after = expanded(PROGRAMS[name])
    assert_same_meaning(before, after)
    golden(function_text(after), f"virtual_threads_{name}.txt")


def test_names_stay_unique():
    _, after = expanded(PROGRAMS["nested"])
    text = function_text(after)
    loops = [line.split()[1] for line in text.splitlines() if line.lstrip().startswith("for ")]
    assert len(loops) == len(set(loops))


def test_an_unknown_number_is_refused():
    with pytest.raises(CodegenError) as caught:
        expanded("""
def main(A: float32[n], B: Out[float32[n]]):
    for v in thread("vthread", n):
        B[v] = A[v]
""")
    assert caught.value.fact == "loop v, bound to vthread, has the extent n"
    assert caught.value.where.startswith('> for v in thread("vthread", n):')
