"""Phase `counters`: Nsight Compute's counters of the fastest candidate of each shape that phase `tuned` measured.

Each is launched twice under `ncu`, which repeats a launch until all counters are read, with cold caches and unlocked
clocks; the second launch is what counts.  Counters of a name that this `ncu` or this GPU does not know are left out.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tilewright.autotune.bundle.format import read_task, task_files

from .counters_table import METRICS, STALLS, Counters, read_launches, row_of, table
from .once import LAUNCHES, TAGGED, Item
from .sanitizer import path_of
from .under import Session, find, run_plan

PROGRAM = "ncu"
BUDGET_S = 480.0
LIMIT_S = 90.0  # for one candidate: its arrays, and two launches each repeated some twenty times
WITHOUT = f"{PROGRAM} is not installed: not on PATH, in $CUDA_HOME/bin, /usr/local/cuda* or /opt/nvidia/nsight-compute"
ADVICE = "apt install cuda-nsight-compute-13-0"
REFUSALS = {  # what the machine does not allow, which no change of ours would mend
    "ERR_NVGPUCTRPERM": "this user may not read counters; root may, or NVreg_RestrictProfilingToAdminUsers=0",
    "driver resource was unavailable": "another tool, such as DCGM, holds the counters; stop it",
}

Note = Callable[[dict[str, Any]], None]


def fastest(folder: Path, tuned: dict[str, Any]) -> list[Item]:
    """Give the fastest candidate of each task that was timed: of the bundle `folder`, by the results of `tuned`."""
    found = {(task["operator"], json.dumps(task["args"])): task["best"] for task in tuned["tasks"]}
    items = []
    for file in task_files(folder):
        bundle = read_task(file)
        best = found.get((bundle.about.name, json.dumps(bundle.about.args)))
        for candidate in bundle.candidates:
            if best and str(candidate.index) == best["index"]:
                path = path_of(candidate.kernel.code.source.text)
                items.append(Item(str(file.resolve()), best["index"], str(bundle.about), path))
    return items


def phase(folder: Path, device: str, output: Path, note: Note) -> dict[str, Any]:
    """Run the phase on the bundle `folder`, whose results lie in `output`; `note` is called with what there is."""
    began = time.monotonic()
    reason = _why_not(device, output)
    tool = find(PROGRAM)
    if reason or tool is None:
        return {"candidates": 0, "rows": []} | (reason or {"not run": f"{WITHOUT}; {ADVICE}"}) | {"wall_s": 0.0}
    items = fastest(folder, json.loads((output / "tuned.json").read_text()))
    names, unknown = _known(tool)
    data: dict[str, Any] = {"candidates": len(items), "rows": [], "program": str(tool), "unknown_counters": unknown}
    note(data)
    words = [str(tool), "--clock-control", "none", "--target-processes", "all", "--csv", "--page", "raw",
             "--print-units", "base", "--metrics", ",".join(names)]  # fmt: skip
    session = run_plan(
        items,
        output / "counters",
        "ncu",
        lambda log: [*words, "--log-file", str(log)],
        device,
        "launch",
        LIMIT_S,
        BUDGET_S,
    )
    return data | result(session) | {"wall_s": time.monotonic() - began}


def _why_not(device: str, output: Path) -> dict[str, str]:
    if device == "emulate":
        return {"not run": "an emulation has no counters"}
    path = output / "tuned.json"
    if not path.exists():
        return {"error": f"there is no {path}: phase `tuned` finds the fastest candidates, and comes before"}
    if not json.loads(path.read_text()).get("gpu_times", True):
        return {"error": f"{path} is of an emulation, whose fastest candidates are not a GPU's"}
    return {}


def _known(tool: Path) -> tuple[list[str], list[str]]:
    """Give the counters that a program knows here, and those that it does not."""
    wanted = [*METRICS, *STALLS]
    try:
        command = [tool, "--query-metrics"]
        told = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        told = ""
    known = set(re.findall(r"^\s*(\w+__\w+)", told, re.MULTILINE))
    if not known:
        return wanted, []  # it cannot tell: it is asked for all
    listed = {name: name.startswith("launch__") or name.partition(".")[0] in known for name in wanted}
    return [name for name in wanted if listed[name]], [name for name in wanted if not listed[name]]


def result(session: Session) -> dict[str, Any]:
    """Give the counters of each kernel, of its last launch, and what was wrong."""
    launches = [launch for report in session.reports for launch in read_launches(report)]
    last: dict[tuple[int, str], Counters] = {}
    unnamed = []
    for (name, values), place in zip(launches, _places(session.rows, [name for name, _ in launches]), strict=True):
        if place is None:
            unnamed.append(name)
        else:
            last[place, name] = values
    rows = [
        {
            "place": place,
            **{word: session.rows[place][word] for word in ("task", "index", "path")},
            **row_of(name, values),
        }
        for (place, name), values in sorted(last.items(), key=lambda item: item[0])
    ]
    data = {"rows": rows, "reached": len(session.reached), "wrong": session.wrong, "unnamed": unnamed}
    return data | {"ends": session.ends} | _failure(session, rows)


def _places(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[int | None]:
    """Give the candidate of each launch: by the kernel's name, or where that does not tell by the order of launches."""
    tags = [TAGGED.fullmatch(name) for name in names]
    places = [int(tag[1]) if tag and int(tag[1]) < len(rows) else None for tag in tags]
    plain = [at for at, tag in enumerate(tags) if tag is None]
    expected = [(place, name) for place, row in enumerate(rows) for name in LAUNCHES * row.get("kernels", [])
                if not TAGGED.fullmatch(name)]  # fmt: skip
    if [names[at] for at in plain] == [name for _, name in expected]:
        for at, (place, _) in zip(plain, expected, strict=True):
            places[at] = place
    return places


def _failure(session: Session, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Give why there are no counters: what the machine refuses is no error of ours."""
    if rows:
        return {}
    for report in (*session.reports, *(end["output"] for end in session.ends)):
        for word, reason in REFUSALS.items():
            if word in report:
                return {"not run": f"{PROGRAM}: {reason}"}
    return {"error": f"no counters: {session.last_words}" if session.rows else "phase `tuned` has timed nothing"}


def state(data: dict[str, Any]) -> str:
    """Give what came of the phase."""
    if "not run" in data:
        return "not run"
    return "passed" if data["rows"] and not data.get("error") and not data["wrong"] else "FAILED"


def in_words(data: dict[str, Any]) -> str:
    """Give what was counted, in words."""
    if not data["rows"]:
        return data.get("not run") or data.get("error") or "nothing was counted"
    places = len({row["place"] for row in data["rows"]})
    return f"counters of {len(data['rows'])} kernels of {places} of {data['candidates']} candidates"


def lines(data: dict[str, Any], is_gpu: bool) -> list[str]:
    """Give the part of the page."""
    page = [f"- not run: {data['not run']}"] if "not run" in data else []
    page += [f"- {data['error']}"] if "error" in data else []
    page += table(data["rows"]) if data["rows"] else []
    page += [""] if page and data["rows"] else []
    page += [
        f"- {row['task']} #{row['index']}: {' '.join(row['fault'].split())[:300]}" for row in data.get("wrong", ())
    ]
    page += [f"- unknown here: {name}" for name in data.get("unknown_counters", ())]
    page += [f"- not of any candidate: {name}" for name in data.get("unnamed", ())]
    return page
