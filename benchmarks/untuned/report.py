"""Results as JSON with every sample, and as a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from peers.report import Circumstances

from .measuring import Row, means

NAMES = ("rules", "untuned", "tuned")


def write_json(path: Path, rows: Sequence[Row], about: Circumstances) -> None:
    """Write everything that was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    workloads = [
        {
            "name": row.workload.name,
            "family": row.workload.family,
            "operation": {"kind": type(row.workload.operation).__name__, **asdict(row.workload.operation)},
            "origin": str(row.origin),
            "trials": row.trials,
            "ratio": row.ratio(),
            "ratio_of_rules": row.ratio("rules"),
            "seconds": {name: [float(f"{s:.5g}") for s in seconds] for name, seconds in row.seconds.items()},
            "note": row.note,
        }
        for row in rows
    ]
    summary = {"geometric_means": means(rows), "geometric_means_of_rules": means(rows, "rules")}
    path.write_text(json.dumps({**asdict(about), **summary, "workloads": workloads}) + "\n", encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    """Give families, then workloads: the speed of untuned kernels and of the rules' alone, as a share of the tuned."""
    lines = ["| family | workloads | untuned / tuned | rules / tuned |", "| --- | --- | --- | --- |"]
    by_rules = means(rows, "rules")
    for family, mean in means(rows).items():
        count = sum(1 for row in rows if family in ("all", row.workload.family))
        lines.append(f"| {family} | {count} | {mean:.3f} | {by_rules[family]:.3f} |")
    times = " | ".join(f"{name}, least (median) us" for name in NAMES)
    lines += ["", f"| workload | {times} | untuned from | trials | ratio | note |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        spent = (_times(row.seconds.get(name, ())) for name in NAMES)
        cells = (f"{row.workload.family} {row.workload.name}", *spent, str(row.origin), str(row.trials))
        lines.append(f"| {' | '.join(cells)} | {row.ratio():.3f} | {row.note} |")
    return "\n".join(lines) + "\n"


def _times(seconds: Sequence[float]) -> str:
    return f"{min(seconds) * 1e6:.1f} ({median(seconds) * 1e6:.1f})" if seconds else "none"
