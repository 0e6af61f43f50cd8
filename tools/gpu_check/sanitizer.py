"""Phase `sanitizer`: NVIDIA's compute-sanitizer on one small shape of each template, data type and way of computing.

What each tool reports is given as it is, errors and warnings apart.  racecheck knows barriers and copies by threads; of
what asynchronous copies, TMA and mbarriers order it sees a part, so that a hazard that it tells of such a kernel is to
be looked at, and the absence of any proves less.  The emulator checks memory and races itself: there the candidates
are run once, and no tool is needed.
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tilewright.autotune.bundle.format import TaskBundle, read_task, task_files

from .once import Item
from .sanitizer_report import Record, distinct, read_records, summaries, summed
from .under import Session, find, run_plan

PROGRAM = "compute-sanitizer"
BUDGETS_S = {"memcheck": 140.0, "racecheck": 180.0, "synccheck": 80.0, "initcheck": 80.0}  # together under 9 minutes
NEEDED = ("memcheck", "racecheck")  # without which the phase has not been run
LIMIT_S = 60.0  # for one candidate
ERROR_STATUS = 86  # of a tool that reports errors
PATHS = {"tw_wgmma_": "warpgroups", "tw_mma_": "tensor cores", "tw_cp_async": "asynchronous copies"}  # the first found
OPTIONS = {  # where the tool knows them: they differ between its versions
    "--destroy-on-device-error": "kernel",  # the next launch may still run
    "--show-backtrace": "device",
    "--print-limit": "2000",
    "--padding": "256",  # else what is written behind an array may lie in the next one
    "--check-tensor-ops": "yes",
    "--ignore-getprocaddress-notfound": "",
}
OF_TOOL = {"--padding": "memcheck"}  # options that only one tool takes
WITHOUT = f"{PROGRAM} is not installed: not on PATH, in $CUDA_HOME/bin, /usr/local/cuda*/bin or /opt/nvidia"
ADVICE = "apt install cuda-sanitizer-13-0, or pip install nvidia-cuda-sanitizer-api"

Note = Callable[[dict[str, Any]], None]


def path_of(text: str) -> str:
    """Give what the code of a candidate works with."""
    return next((path for name, path in PATHS.items() if name in text), "plain")


def choose(folder: Path) -> list[Item]:
    """Give one candidate of a bundle for each template, data type and path: of the shape with most to do.

    A pipeline repeats its stages only on a shape that is not too small.  What is asynchronous comes last.
    """
    found: dict[tuple[str, ...], tuple[float, Item]] = {}
    for file in task_files(folder):
        task = read_task(file)
        for key, item in _items(file, task):
            if key not in found or found[key][0] < task.about.flop:
                found[key] = task.about.flop, item
    order = ("plain", *reversed(PATHS.values()))
    return [found[key][1] for key in sorted(found, key=lambda key: (order.index(key[0]), key))]


def _items(file: Path, task: TaskBundle) -> list[tuple[tuple[str, ...], Item]]:
    rows = []
    for candidate in task.candidates:
        path = path_of(candidate.kernel.code.source.text)
        dtypes = [str(param.dtype) for param in candidate.kernel.signature.params]
        rows.append(
            ((path, task.about.name, *dtypes), Item(str(file.resolve()), str(candidate.index), str(task.about), path))
        )
    return rows


def phase(folder: Path, device: str, output: Path, note: Note, most: int | None = None) -> dict[str, Any]:
    """Run the phase on the bundle `folder`; `note` is called with what there is after each tool.

    most  candidates
    """
    began = time.monotonic()
    items = choose(folder)[:most]
    data: dict[str, Any] = {"candidates": len(items), "tools": {}}
    tool = find(PROGRAM) if device != "emulate" else None
    if device == "emulate":
        session = run_plan(items, output / "sanitizer", "emulation", lambda log: (), device, "check", LIMIT_S, 480.0)
        data["tools"]["emulation"] = _emulated(session)
    elif tool is None:
        return data | {"not run": f"{WITHOUT}; {ADVICE}", "wall_s": time.monotonic() - began}
    else:
        text = _said(tool, "--help")
        data |= {"program": str(tool), "version": _said(tool, "--version").strip().splitlines()[-1:]}
        for name, budget_s in BUDGETS_S.items():
            words = _words(tool, name, text)
            prefix = lambda log, words=words: [*words, "--log-file", str(log)]  # noqa: E731
            session = run_plan(items, output / "sanitizer", name, prefix, device, "check", LIMIT_S, budget_s)
            data["tools"][name] = result(session) | {"options": words[1:]}
            print(f"  {name}: {in_words(data['tools'][name])}", flush=True)
            note(data)
    return data | {"wall_s": time.monotonic() - began}


def _words(tool: Path, name: str, known: str) -> list[str]:
    words = [str(tool), "--tool", name, "--error-exitcode", str(ERROR_STATUS), "--target-processes", "all"]
    for option, value in OPTIONS.items():
        if option in known and OF_TOOL.get(option, name) == name:
            words += [option, value] if value else [option]
    return words


def _said(tool: Path, option: str) -> str:
    """Give what a program answers to an option, "" where it does not."""
    try:
        return subprocess.run([tool, option], capture_output=True, text=True, errors="replace", timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


# -- results --------------------------------------------------------------------------------------------------------


def result(session: Session) -> dict[str, Any]:
    """Give what came of one tool: "state" is passed, FAILED or not run."""
    records = [record for report in session.reports for record in read_records(report)]
    device = [record for record in records if record.of_kernel]
    warnings = sum(record.severity == "warning" for record in device)
    other = len(records) - len(device)
    told = [summaries(report) for report in session.reports]
    totals = [summed(lines) for lines in told]
    errors = max(sum(r.severity == "error" for r in device), sum(e for e, _ in totals) - other, 0)
    warnings = max(warnings, sum(w for _, w in totals))
    data = {
        "candidates": len(session.rows),
        "reached": len(session.reached),
        "wrong": session.wrong,
        "errors": errors,
        "warnings": warnings,
        "refused_calls": sum(record.of_call for record in records),
        "summaries": [line for lines in told for line in lines],
        "by_candidate": _by_candidate(session.rows, device),
        "distinct": distinct(records),
        "rows": session.rows,
        "ends": session.ends,
        "wall_s": round(session.wall_s, 1),
    }
    silent = any(end["status"] == ERROR_STATUS for end in session.ends) and not (errors or warnings or len(records))
    why = "its exit status tells of errors, and its report of none" if silent else _why(session, told)
    return data | {"state": _state(data, [bool(lines) for lines in told], silent), "why": why}


def _emulated(session: Session) -> dict[str, Any]:
    """Give what came of the emulation, which ends a kernel at its first fault: what it tells is in the rows."""
    data = result(session) | {"summaries": ["the emulation itself checks memory, races, barriers and what is unset"]}
    good = session.reached and not session.wrong
    return data | {"state": "passed" if good else "FAILED", "why": "" if session.reached else session.last_words}


def _state(data: dict[str, Any], complete: Sequence[bool], silent: bool) -> str:
    if not complete:
        return "not run"
    good = data["reached"] and not data["wrong"] and not data["errors"] and all(complete) and not silent
    return "passed" if good else "FAILED"


def _why(session: Session, told: Sequence[Sequence[str]]) -> str:
    """Give why a tool has not been run, or not to its end."""
    if not session.ends or not session.reached:
        return session.last_words
    if not all(told):
        return f"{sum(not lines for lines in told)} of {len(told)} reports have no summary"
    odd = [end["end"] for end in session.ends if end["status"] not in (0, ERROR_STATUS)]
    return f"its process {odd[0]}" if odd else ""


def _by_candidate(rows: Sequence[dict[str, Any]], records: Sequence[Record]) -> list[dict[str, Any]]:
    """Give the candidates that the tool tells something of; place -1 is a kernel that nobody knows."""
    counts = {
        severity: Counter(r.place for r in records if r.severity == severity) for severity in ("error", "warning")
    }
    places = sorted({record.place for record in records})
    return [
        {
            "place": place,
            "task": rows[place]["task"] if 0 <= place < len(rows) else "an unknown kernel",
            "index": rows[place]["index"] if 0 <= place < len(rows) else "",
            "path": rows[place]["path"] if 0 <= place < len(rows) else "",
            "errors": counts["error"][place],
            "warnings": counts["warning"][place],
        }
        for place in places
    ]


def in_words(tool: dict[str, Any]) -> str:
    """Give one sentence on what came of a tool."""
    if tool["state"] == "not run":
        return f"not run: {tool['why']}"
    wrong, warned = len(tool["wrong"]), tool["warnings"]
    text = f"{tool['state']}: {tool['errors']} errors, {warned} warnings, {wrong} wrong"
    calls = f", {tool['refused_calls']} refused calls" if tool["refused_calls"] else ""
    why = f"; {tool['why']}" if tool["why"] else ""
    return f"{text}{calls} in {tool['reached']} of {tool['candidates']} candidates in {tool['wall_s']:.0f} s{why}"


def verdict(data: dict[str, Any]) -> str:
    """Give the counts of all tools."""
    counts = (
        f"{name} {tool['errors']} errors and {tool['warnings']} warnings in {tool['reached']} candidates"
        if tool["state"] != "not run"
        else f"{name} not run"
        for name, tool in data["tools"].items()
    )
    return ", ".join(counts) or "no candidates"


def state(data: dict[str, Any]) -> str:
    """Give what came of the phase: not run unless the tools that are needed were."""
    tools = data["tools"]
    if "not run" in data:
        return "not run"
    if any(tool["state"] == "FAILED" for tool in tools.values()) or not data["candidates"]:
        return "FAILED"
    done = "emulation" in tools or all(name in tools and tools[name]["state"] == "passed" for name in NEEDED)
    return "passed" if done else "FAILED"


def lines(data: dict[str, Any], is_gpu: bool) -> list[str]:
    """Give the part of the page."""
    if "not run" in data:
        return [f"- not run: {data['not run']}"]
    page = [f"- {name}: {in_words(tool)}" for name, tool in data["tools"].items()]
    page += [
        f"- {name} says: {'; '.join(tool['summaries'])}" for name, tool in data["tools"].items() if tool["summaries"]
    ]
    page += [f"- {data['program']} {' '.join(data['version'])}"] if "program" in data else []
    reported = [(name, row) for name, tool in data["tools"].items() for row in tool["by_candidate"]]
    if reported:
        page += ["", "| tool | candidate | path | errors | warnings |", "| --- | --- | --- | ---: | ---: |"]
        page += [f"| {name} | {row['task']} #{row['index']} | {row['path']} | {row['errors']} | {row['warnings']} |"
                 for name, row in reported]  # fmt: skip
    for name, tool in data["tools"].items():
        page += [""] if tool["wrong"] or tool["distinct"] else []
        page += [f"- {name}: {row['task']} #{row['index']}: {_one_line(row['fault'])}" for row in tool["wrong"]]
        page += [
            f"- {name}: {row['count']} times: {_one_line(' '.join(row['lines']))}" for row in tool["distinct"][:20]
        ]
    return page


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())[:300]
