"""Phases `templates` and `tuned`: bundles that are built here, and measured where the GPU is."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tilewright.autotune.bundle.build import build_task
from tilewright.autotune.bundle.measure import as_json, measure_bundle
from tilewright.autotune.records import Records
from tilewright.autotune.strategies.random import RandomStrategy
from tilewright.autotune.strategies.xgb import XgbStrategy
from tilewright.autotune.task import create
from tilewright.autotune.template import template_names
from tilewright.autotune.trial import Status
from tilewright.ir.errors import Error
from tilewright.runtime.host import cpu_count

from .workloads import SMALL, Args

TARGET = "cuda -arch=sm_90a"
TASK_S = 40.0  # seconds of building, after which a task has the candidates that there are
OF_ANY_OPERATOR = {"generic"}  # templates that the others cover, which have no shapes of their own
OF_PROCESSORS = {"qconv2d", "qdepthwise_conv2d", "qmatmul"}  # templates without a schedule for GPUs, which refuse them


def build(folder: Path, tasks: Sequence[tuple[str, Args]], candidates: int, records: Path | None = None) -> list[str]:
    """Build candidates of all tasks into a bundle; give what could not be built, in a line each.

    records  a database whose records of GPUs choose the candidates; else they are drawn at random
    """
    failed = []
    known = Records(records, create=False) if records else None
    for name, args in tasks:
        try:
            task = create(name, args, TARGET)
            strategy = XgbStrategy if known else RandomStrategy
            made = build_task(
                task, folder, candidates, records=known, strategy=strategy, processes=cpu_count(), time_s=TASK_S
            )
            print(f"  {made.about}: {len(made.candidates)} candidates, {len(made.refused)} refused", flush=True)
        except Error as error:
            failed.append(f"{name} {args}: {error.step}: {error.fact}")
            print(f"  not built: {failed[-1]}", flush=True)
    unbuilt_path(folder).write_text(json.dumps(failed, indent=1) + "\n")
    return failed


def unbuilt_path(folder: Path) -> Path:
    """Give the file that names what could not be built into a bundle."""
    return folder.with_name(f"{folder.name}-unbuilt.json")


def unchecked() -> list[str]:
    """Give the templates of the package that have no shapes to check."""
    return sorted(set(template_names()) - set(SMALL) - OF_ANY_OPERATOR - OF_PROCESSORS)


def phase(folder: Path, device: str, output: Path, time_s: float) -> dict[str, Any]:
    """Measure a bundle; give its results, which are written after each task."""
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    data: dict[str, Any] = {
        "unbuilt": json.loads(unbuilt_path(folder).read_text()),
        "unchecked": unchecked(),
        "tasks": rows,
    }
    with Records(output / "records.db") as records:
        for result in measure_bundle(folder, device, records, time_s):
            rows.append(as_json(result, device != "emulate"))
            text = (
                f"  {result.about}: {result.counts.get(Status.OK, 0)} right, {len(result.wrong)} wrong {result.skipped}"
            )
            print(text, flush=True)
            data["wall_s"] = time.monotonic() - began
            (output / f"{folder.name}.json").write_text(json.dumps(data, indent=1) + "\n")
    return data
