"""Untuned kernels beside tuned ones: both built with all effort, checked, and timed in turn in one process."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from peers.operations import Workload

from tilewright.autotune import Records, Status, Task
from tilewright.autotune.builder import build_candidate
from tilewright.autotune.pace import Pace
from tilewright.autotune.reference import make_reference
from tilewright.autotune.runner import remeasure
from tilewright.autotune.untuned import Origin
from tilewright.runtime.peak import fma_peak

from .trials import Trials, read_trials

ROUNDS = 40
LEAST_TRIALS = 12  # of a search, for its best to count as tuned
BUDGET_S = 3.0  # for the rounds of one workload


@dataclass(frozen=True, slots=True)
class Row:
    """What one workload gave.

    origin   where the untuned configuration comes from
    seconds  of one call, a sample for each round: of "rules", "untuned" and "tuned" kernels
    trials   of the search behind the last
    note     why something is missing
    """

    workload: Workload
    origin: Origin
    trials: int
    seconds: Mapping[str, Sequence[float]]
    note: str = ""

    def ratio(self, name: str = "untuned") -> float:
        """Give the speed of a kernel relative to the tuned one, which is the fastest of all three by definition.

        By least times: what others do on the machine only adds to a time.  A kernel that does not work has 0.
        """
        if not self.seconds.get(name):
            return 0.0
        return min(min(s) for s in self.seconds.values() if s) / min(self.seconds[name])


def measure(workloads: Sequence[Workload], records: Records, threads: int) -> list[Row]:
    """Measure each workload that has been tuned, with `LEAST_TRIALS` trials of today's space or more."""
    rows = []
    for of in read_trials(workloads, records, threads):
        if len(of.indices) < LEAST_TRIALS:
            continue
        rows.append(_row(of))
        text = f"{rows[-1].origin} {rows[-1].ratio():.3f}, rules {rows[-1].ratio('rules'):.3f} of tuned"
        sys.stderr.write(f"{of.workload.family} {of.workload.name}: {text} {rows[-1].note}\n")
    return rows


def _row(of: Trials) -> Row:
    made, untuned = of.made, of.made.untuned
    chosen = {"rules": of.base, "untuned": untuned.index, "tuned": of.fastest}
    timed, faults = in_turn(made, [i for i in chosen.values() if i is not None])
    seconds = {name: timed.get(index, ()) for name, index in chosen.items() if index is not None}
    return Row(of.workload, untuned.origin, len(of.indices), seconds, "; ".join(faults))


def in_turn(
    made: Task, indices: Sequence[int], budget_s: float = BUDGET_S
) -> tuple[dict[int, tuple[float, ...]], list[str]]:
    """Give the seconds of configurations, built with all effort, by number, and what is wrong with the others.

    budget_s  seconds for all rounds
    """
    built = [build_candidate(made, made.config_space.get(i), "full", None) for i in dict.fromkeys(indices)]
    faults = [f"{b.index}: {b.error.splitlines()[0]}" for b in built if b.status is not Status.OK]
    kept = [b for b in built if b.status is Status.OK]
    pace = Pace(fma_peak(made.threads, made.target))
    measured = remeasure(kept, make_reference(made.tensors), pace, made.threads, ROUNDS, budget_s)
    faults += [f"{m.index} is wrong" for m in measured if m.status is not Status.OK]
    return {m.index: m.seconds for m in measured if m.status is Status.OK}, faults


def means(rows: Sequence[Row], name: str = "untuned") -> dict[str, float]:
    """Give the geometric mean of the ratios of each family, then of all; a kernel that does not work counts 0.01."""
    families = [*dict.fromkeys(row.workload.family for row in rows), ""]
    return {
        family or "all": geometric_mean(
            [max(0.01, row.ratio(name)) for row in rows if family in ("", row.workload.family)]
        )
        for family in families
    }
