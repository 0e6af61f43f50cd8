"""500 random pairs of programs and GPU schedules: emitted kernels, emulated in all orders = direct evaluation."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from .check import Outcome
from .gpu_check import run_gpu
from .gpu_schedules import GPU_DRAWS

PAIRS = 500
CHUNK = 25
LEAST_OF_EACH = 10
RARELY_POSSIBLE = ("swizzle",)  # it wants rows of some length; its own tests have them


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """Give the outcome of the pairs, checked by two processes."""
    total = Outcome()
    chunks = [range(first, first + CHUNK) for first in range(0, PAIRS, CHUNK)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        for part in pool.map(run_gpu, chunks):
            total.add(part)
    return total


def test_no_mismatch_and_no_fault(outcome: Outcome):
    assert not outcome.mismatches, "\n\n".join(outcome.mismatches[:3])


def test_no_internal_error(outcome: Outcome):
    assert not outcome.errors, "\n\n".join(outcome.errors[:3])
    assert outcome.pairs == PAIRS


@pytest.mark.parametrize("kind", [kind for kind in GPU_DRAWS if kind not in RARELY_POSSIBLE])
def test_every_kind_of_step_is_taken(outcome: Outcome, kind: str):
    assert outcome.taken[kind] >= LEAST_OF_EACH
