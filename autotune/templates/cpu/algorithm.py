"""Several ways to compute one thing, each with knobs of its own: which of them is taken, is a knob as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....schedule.schedule import Schedule
from ....te.tensor import Tensor
from ...space import Knobs

ALGORITHM = "algorithm"  # the knob


@dataclass(frozen=True, slots=True)
class Plan:
    """One algorithm for a workload, its knobs defined.

    knobs      all of its own, and no other's
    estimate   share of the multiply-add peak that a direct computation at this speed would have: above 1 for one that
               saves multiplications; a function of the knobs `estimated`, over whole populations
    scheduled  gives the schedule and its result
    """

    name: str
    knobs: tuple[str, ...]
    estimate: Callable[..., Any]
    estimated: tuple[str, ...]
    scheduled: Callable[[], tuple[Schedule, Tensor]]

    def promise(self, cfg: Knobs) -> float:
        """Give the estimate of what the configuration has chosen."""
        return float(self.estimate(*(cfg[name] for name in self.estimated)))


def choose(cfg: Knobs, plans: Sequence[Plan]) -> Plan:
    """Give the plan that the configuration has chosen; by default the one that promises most.

    Where there is one plan only, there is no such knob.
    """
    first, *others = plans
    if not others:
        cfg.define_estimate(first.estimate, *first.estimated)
        return first
    by_name = {plan.name: plan for plan in plans}
    best = max(plans, key=lambda plan: plan.promise(cfg))
    cfg.define_knob(ALGORITHM, list(by_name), default=best.name)
    for plan in plans:
        cfg.matter_where(ALGORITHM, plan.name, *plan.knobs)
    cfg.define_estimate(_joint(plans), ALGORITHM, *(name for plan in plans for name in plan.estimated))
    return by_name[cfg[ALGORITHM].val]


def _joint(plans: Sequence[Plan]) -> Callable[..., Any]:
    """Give the estimate over all plans, a function of the chosen one's name and the knobs of all."""

    def estimate(algorithm: Any, *columns: Any) -> Any:
        result: Any = 0.0
        place = 0
        for plan in plans:
            count = len(plan.estimated)
            value = plan.estimate(*columns[place : place + count])
            result = np.where(algorithm.val == plan.name, value, result)
            place += count
        return result

    return estimate
