"""One random pair checked: scheduled machine code = scheduled interpreter = direct evaluation of the expression."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import numpy as np

from tilewright.codegen.interp import interpret
from tilewright.codegen.pipeline import lower as lower_nest
from tilewright.ir.stmt import Function
from tilewright.ir.target import Target
from tilewright.runtime.build import build
from tilewright.runtime.host import host_target
from tilewright.schedule import lower
from tilewright.te.evaluate import evaluate

from .programs import Program, random_program
from .schedules import Drawn, random_schedule

MIN_STEPS, MAX_STEPS = 4, 10


@dataclass(slots=True)
class Outcome:
    """What became of the pairs of a run.

    mismatches  one text each, with the seed that reproduces it
    errors      internal errors: anything but a refusal
    """

    pairs: int = 0
    taken: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    mismatches: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Take in the outcome of another run."""
        self.pairs += other.pairs
        self.taken += other.taken
        self.refused += other.refused
        self.mismatches += other.mismatches
        self.errors += other.errors


def run(seeds: range, choices: tuple[str, ...] = ()) -> Outcome:
    """Check the pairs of all seeds."""
    outcome = Outcome()
    target = host_target()
    for seed in seeds:
        _one(seed, target, outcome, choices)
    return outcome


def _one(seed: int, target: Target, outcome: Outcome, choices: tuple[str, ...]) -> None:
    try:
        program, drawn = pair(seed, choices)
        outcome.refused += drawn.refused
        if len(drawn.schedule.steps) < MIN_STEPS:
            return
        found = mismatch(program, drawn, target, seed)
    except Exception:
        outcome.errors.append(f"seed {seed}: {traceback.format_exc(limit=-6)}")
        return
    outcome.pairs += 1
    outcome.taken += drawn.taken
    if found:
        outcome.mismatches.append(
            f"seed {seed} ({program.family}): {found}\n{drawn.schedule.to_json()}\n{drawn.schedule}"
        )


def pair(seed: int, choices: tuple[str, ...] = ()) -> tuple[Program, Drawn]:
    """Give the program and the schedule of a seed."""
    rng = Random(seed)
    program = random_program(rng)
    return program, random_schedule(rng, program, rng.randint(MIN_STEPS, MAX_STEPS), choices)


def mismatch(program: Program, drawn: Drawn, target: Target, seed: int) -> str:
    """Give how machine code or interpreter differ from direct evaluation, or an empty string."""
    function = lower(drawn.schedule, [*program.inputs, *program.outputs], name="fuzzed")
    feeds = program.feeds(seed)
    expected = evaluate(program.outputs, dict(zip(program.inputs, feeds, strict=True)))
    for name, results in (
        ("interpreter", _interpreted(function, feeds, expected, "forward")),
        ("interpreter, loops reversed", _interpreted(function, feeds, expected, "reversed")),
        ("interpreter after passes", _interpreted(lower_nest(function, target), feeds, expected, "forward")),
        ("machine code", _compiled(function, target, feeds, expected)),
    ):
        for tensor, want, got in zip(program.outputs, expected, results, strict=True):
            if not np.array_equal(want, got, equal_nan=True):
                where = tuple(int(i) for i in np.argwhere(want != got)[0])
                return f"{name}: {tensor.name}{list(where)} is {got[where]}, expected {want[where]}"
    return ""


def _poisoned(like: np.ndarray) -> np.ndarray:
    """Give an array that no correct kernel leaves as it is."""
    return np.full_like(like, np.nan if like.dtype.kind == "f" else -77)


def _interpreted(
    function: Function, feeds: list[np.ndarray], expected: list[np.ndarray], order: str
) -> list[np.ndarray]:
    outputs = [_poisoned(e) for e in expected]
    interpret(function, [*feeds, *outputs], order=order)
    return outputs


def _compiled(
    function: Function, target: Target, feeds: list[np.ndarray], expected: list[np.ndarray]
) -> list[np.ndarray]:
    outputs = [_poisoned(e) for e in expected]
    kernel = build(function, target=target)
    kernel(*feeds, *outputs)
    return outputs
