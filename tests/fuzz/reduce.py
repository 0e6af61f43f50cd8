"""A failing pair made small: steps are left out as long as it still fails."""

from __future__ import annotations

from tilewright.ir.errors import Error
from tilewright.ir.target import Target
from tilewright.schedule import Schedule, create_schedule

from .check import mismatch, pair
from .programs import Program
from .schedules import Drawn


def reduced(seed: int, target: Target, choices: tuple[str, ...] = ()) -> tuple[Program, Schedule]:
    """Give the program of a failing seed with a shortest list of its steps that fails, by greedy removal."""
    program, drawn = pair(seed, choices)
    steps = list(drawn.schedule.steps)
    position = 0
    while position < len(steps):
        fewer = steps[:position] + steps[position + 1 :]
        if _fails(program, fewer, target, seed):
            steps = fewer
            position = 0
        else:
            position += 1
    return program, _replayed(program, steps)


def _replayed(program: Program, steps: list) -> Schedule:
    schedule = create_schedule([t.op for t in program.outputs])
    for step in steps:
        schedule.apply(step)
    return schedule


def _fails(program: Program, steps: list, target: Target, seed: int) -> bool:
    """Tell whether the steps apply and the result is still wrong, or still breaks."""
    try:
        schedule = _replayed(program, steps)
    except Error:
        return False
    try:
        return bool(mismatch(program, Drawn(schedule), target, seed))
    except Error:
        return True
