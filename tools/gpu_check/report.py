"""The results of all phases that were run, as one page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import counters, sanitizer

PHASES = ("facts", "wrappers", "templates", "tuned", "sanitizer", "counters")
NOT_A_GPU = "**CPU emulation, not a GPU: results were checked; no time below says anything about a GPU.**"


def write(output: Path, is_gpu: bool) -> Path:
    """Write `table.md` from the JSON files in a folder; give its path."""
    found = {p: json.loads((output / f"{p}.json").read_text()) for p in PHASES if (output / f"{p}.json").exists()}
    lines = [f"# {output.name}", "", *([] if is_gpu else [NOT_A_GPU, ""])]
    for name, data in found.items():
        lines += [f"**Not run: {name}: {data['not run']}**", ""] if "not run" in data else []
    for name, data in found.items():
        lines += [f"## {name}: {verdict(name, data)}", "", *_LINES[name](data, is_gpu), ""]
    path = output / "table.md"
    path.write_text("\n".join(lines).rstrip() + "\n")
    return path


def state(name: str, data: dict[str, Any]) -> str:
    """Give "passed", "FAILED", or "not run" where the machine lacks what the phase takes, which is no pass."""
    match name:
        case "sanitizer":
            return sanitizer.state(data)
        case "counters":
            return counters.state(data)
        case _:
            return "passed" if passed(name, data) else "FAILED"


def passed(name: str, data: dict[str, Any]) -> bool:
    """Tell whether a phase found nothing wrong."""
    if name in ("sanitizer", "counters"):
        return state(name, data) == "passed"
    if name == "facts":
        return "error" not in data["device"]
    if name == "wrappers":
        return not data["failed"] and data["cases"] > 0
    wrong = [task for task in data["tasks"] if task["failures"] or task["skipped"] or not task["valid"]]
    return bool(data["tasks"]) and not (wrong or data["unbuilt"] or data["unchecked"])


def verdict(name: str, data: dict[str, Any]) -> str:
    """Give one sentence on a phase."""
    came = state(name, data)
    wall = f" in {data['wall_s']:.0f} s" if "wall_s" in data else ", cut short"
    if came == "not run":
        return f"not run: {data['not run']}"
    match name:
        case "facts":
            return f"{came}{wall}"
        case "sanitizer":
            return f"{came}: {sanitizer.verdict(data)}{wall}"
        case "counters":
            return f"{came}: {counters.in_words(data)}{wall}"
        case "wrappers":
            return f"{came}: {data['cases'] - len(data['failed'])} of {data['cases']} cases right{wall}"
        case _:
            valid = sum(task["valid"] for task in data["tasks"])
            wrong = sum(len(task["failures"]) for task in data["tasks"])
            late = sum(task["unreached"] for task in data["tasks"])
            tasks = f"{len(data['tasks'])} tasks, {valid} candidates right, {wrong} wrong, {late} not reached"
            return f"{came}: {tasks}, {len(data['unbuilt'])} tasks not built{wall}"


def _facts(data: dict[str, Any], is_gpu: bool) -> list[str]:
    device = data["device"]
    lines = [f"- device: {device.get('name', device.get('error'))}", f"- Python {data['python']}, {data['system']}"]
    lines.append("- " + ", ".join(f"{name} {v}" for name, v in data["packages"].items() if v))
    if "copy_gbytes_per_s" in data:
        lines.append(f"- copy: {data['copy_gbytes_per_s']:.0f} GB/s, read and written")
    if "gemm_tflops" in data:
        lines.append("- products, TFLOP/s: " + ", ".join(f"{n}: {v:.1f}" for n, v in data["gemm_tflops"].items()))
    if data.get("cudnn_s"):
        lines += ["", "| cuDNN: batch, type, layer (CI, size, CO, K, S, P) | us |", "| --- | ---: |"]
        lines += [f"| {name} | {seconds * 1e6:.1f} |" for name, seconds in data["cudnn_s"].items()]
    if "ceilings" in data:
        lines.append(f"- ceilings {data['ceilings']}")
    return lines


def _wrappers(data: dict[str, Any], is_gpu: bool) -> list[str]:
    if not data["failed"]:
        return ["All right."]
    rows = [f"| {f['group']} | {f['case']} | {_cell(f['fault'])} |" for f in data["failed"]]
    return ["| group | case | fault |", "| --- | --- | --- |", *rows]


def _tasks(data: dict[str, Any], is_gpu: bool) -> list[str]:
    timed = " best us | GFLOP/s | GB/s | default us | vendor | us | vendor / best |" if is_gpu else ""
    rule = " ---: | ---: | ---: | ---: | --- | ---: | ---: |" if is_gpu else ""
    lines = [f"| task | right | wrong | error |{timed}", f"| --- | ---: | ---: | ---: |{rule}"]
    for task in data["tasks"]:
        wrong = sum(task["failed"].values())
        error = "" if task["max_rel_error"] is None else f"{task['max_rel_error']:.1e}"
        words = (",".join(map(str, arg)) if type(arg) is list else str(arg) for arg in task["args"])
        name = " ".join((task["operator"], *words))
        lines.append(f"| {name} | {task['valid']} | {wrong} | {error} |{_times(task) if is_gpu else ''}")
    lines += ["", *(f"- not built: {_cell(line)}" for line in data["unbuilt"])]
    lines += [f"- no shapes to check: {name}" for name in data["unchecked"]]
    for task in data["tasks"]:
        lines += [f"- {task['operator']} {task['args']}: {_cell(task['skipped'])}"] if task["skipped"] else []
        lines += [f"- {task['operator']} {task['args']} #{f['index']}: {f['status']}: {_cell(f['error'])}"
                  for f in task["failures"]]  # fmt: skip
    return lines


def _times(task: dict[str, Any]) -> str:
    best, default, vendor = task["best"], task["default"], task["vendor"]
    cells = (
        f"{best['seconds'] * 1e6:.1f}" if best else "none",
        f"{best['gflops']:.0f}" if best else "",
        f"{best['gbytes_per_s']:.0f}" if best else "",
        f"{default['seconds'] * 1e6:.1f}" if default else "none",
        vendor["library"] or _cell(vendor["error"]),
        f"{vendor['seconds'] * 1e6:.1f}" if vendor["seconds"] else "",
        f"{task['ratio']:.2f}" if task["ratio"] else "",
    )
    return "".join(f" {cell} |" for cell in cells)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())[:300]


_LINES = {
    "facts": _facts,
    "wrappers": _wrappers,
    "templates": _tasks,
    "tuned": _tasks,
    "sanitizer": sanitizer.lines,
    "counters": counters.lines,
}
