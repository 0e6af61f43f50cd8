"""2,000 random pairs of programs and schedules: machine code = interpreter = direct evaluation."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from .check import Outcome, run
from .schedules import DRAWS

PAIRS = 2000
CHUNK = 50
LEAST_OF_EACH = 100


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """Give the outcome of at least PAIRS pairs, checked by two processes."""
    total = Outcome()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        first = 0
        while total.pairs < PAIRS:
            missing = PAIRS - total.pairs
            chunks = [range(first + i, first + i + CHUNK) for i in range(0, missing, CHUNK)]
            first = chunks[-1].stop
            for part in pool.map(run, chunks):
                total.add(part)
    return total


def test_no_mismatch(outcome: Outcome):
    assert outcome.pairs >= PAIRS
    assert not outcome.mismatches, "\n\n".join(outcome.mismatches[:3])


def test_no_internal_error(outcome: Outcome):
    assert not outcome.errors, "\n\n".join(outcome.errors[:3])


@pytest.mark.parametrize("kind", list(DRAWS))
def test_every_kind_of_step_is_taken(outcome: Outcome, kind: str):
    assert outcome.taken[kind] >= LEAST_OF_EACH
