"""Tuning the training workloads: trials go to a database, which is read again by later steps."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from peers.operations import Workload

from tilewright.autotune import Records, Tuner, task


def tune(workloads: Sequence[Workload], records: Records, threads: int, time_s: float) -> None:
    """Tune each for `time_s` seconds; those with trials in the records by this very compiler go on from there."""
    for workload in workloads:
        call = workload.operation.template
        if call is None:
            continue
        made = task.create(*call, threads=threads)
        result = Tuner(made, records=records).tune(time_s=time_s)
        best, default = result.best, result.default
        ratio = best.median_s / default.median_s if best and default and best.median_s and default.median_s else 0.0
        text = f"{result.valid} valid, untuned {ratio:.2f} of tuned" if best else "nothing valid"
        sys.stderr.write(f"{workload.family} {workload.name}: {text}\n")
