"""Tails of sums on GPUs: what operands that are filled with zeros make unnecessary to guard."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tilewright import te
from tilewright.codegen.interp import interpret
from tilewright.ir.expr import Expr
from tilewright.ir.stmt import Function
from tilewright.schedule import create_schedule, lower

DEPTH, TILE = 13, 8


def reduced(element: Callable[[Expr, Expr], Expr], reducer: Callable[..., Expr] = te.sum) -> Function:
    """Give C[i] = reduction of element(A[i, k], B[k]) over k < 13, in tiles of 8 kept in shared memory."""
    a, b = te.placeholder((4, DEPTH), name="A"), te.placeholder((DEPTH,), name="B")
    k = te.reduce_axis((0, DEPTH), "k")
    c = te.compute((4,), lambda i: reducer(element(a[i, k], b[k]), axis=k), name="C")
    s = create_schedule(c.op)
    total = s.cache_write(c, "local")
    copies = [s.cache_read(operand, "shared", [total]) for operand in (a, b)]
    s[c].bind(s[c].op.axis[0], "threadIdx.x")
    s[total].compute_at(s[c], s[c].op.axis[0])
    outer, _ = s[total].split(s[total].op.reduce_axis[0], factor=TILE)
    for copy in copies:
        s[copy].compute_at(s[total], outer)
    return lower(s, [a, b, c])


def values(function: Function) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give random operands and what the nest makes of them."""
    rng = np.random.default_rng(1)
    a, b = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((4, DEPTH), (DEPTH,)))
    c = np.full(4, np.nan, np.float32)
    interpret(function, [a, b, c])
    return a.astype(float), b.astype(float), c


def guarded(function: Function) -> bool:
    """Tell whether the sum itself is guarded; copies choose between an element and 0 instead."""
    return "if k_o * 8 + k_i < 13" in str(function.body)


def test_a_sum_of_products_of_filled_tiles_needs_no_guard():
    function = reduced(lambda x, y: x * y)
    a, b, c = values(function)
    assert not guarded(function)
    np.testing.assert_allclose(c, a @ b, rtol=0, atol=DEPTH * 2.0**-23)


@pytest.mark.parametrize(
    ("element", "reducer", "exact"),
    [
        (lambda x, y: x * y + 1.0, te.sum, lambda a, b: (a * b + 1).sum(axis=1)),
        (lambda x, y: te.exp(x * y), te.sum, lambda a, b: np.exp(a * b).sum(axis=1)),
        (lambda x, y: x * y - 2.0, te.max, lambda a, b: (a * b - 2).max(axis=1)),
        (lambda x, y: x * y - 2.0, te.min, lambda a, b: (a * b - 2).min(axis=1)),
    ],
    ids=["a constant", "a function", "a maximum", "a minimum"],
)
def test_what_zeros_do_not_leave_alone_stays_guarded(element, reducer, exact):
    function = reduced(element, reducer)
    a, b, c = values(function)
    assert guarded(function)
    np.testing.assert_allclose(c, exact(a, b), rtol=0, atol=4 * DEPTH * 2.0**-23)
