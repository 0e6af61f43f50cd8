"""The phases that start NVIDIA's tools, with stand-ins of the tools that run the command on the emulator.

The reports are as NVIDIA's documentation shows them, with the names that the check gives to kernels.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tilewright.autotune.bundle.build import build_task
from tilewright.autotune.bundle.format import TaskBundle, task_files
from tilewright.autotune.strategies.random import RandomStrategy
from tilewright.autotune.task import create
from tilewright.runtime.cuda.code import CudaCode
from tilewright.runtime.cuda.compiler.sass import disassemble

TOOLS = Path(__file__).resolve().parents[2] / "tools"

MEMCHECK = """\
========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at c001_kernel0+0x50
=========     by thread (0,0,0) in block (0,0,0)
=========     Address 0x710fdca00001 is misaligned
=========     and is inside the nearest allocation at 0x710fdca00000 of size 4 bytes
=========
========= Invalid __global__ write of size 4 bytes
=========     at c001_kernel0+0x50
=========     by thread (1,0,0) in block (0,0,0)
=========     Address 0x710fdca00005 is misaligned
=========     and is inside the nearest allocation at 0x710fdca00000 of size 4 bytes
=========
========= Program hit CUDA_ERROR_INVALID_CONTEXT (error 201) due to "invalid device context" on CUDA API call to cuCtxPopCurrent_v2.
=========
========= ERROR SUMMARY: 3 errors
"""  # noqa: E501
RACECHECK = """\
========= COMPUTE-SANITIZER
========= Error: Race reported between Write access at c000_kernel0+0xf0
=========     and Read access at c000_kernel0+0x280 [4 hazards]
=========
========= Warning: Race reported between Write access at c000_kernel0+0x300
=========     and Write access at c000_kernel0+0x300 [124 hazards]
=========
========= RACECHECK SUMMARY: 2 hazards displayed (1 error, 1 warning)
"""
CLEAN = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"
CLEAN_RACECHECK = (
    "========= COMPUTE-SANITIZER\n========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"
)
STALL = "smsp__average_warps_issue_stalled_{}_per_issue_active.ratio"
COUNTERS = f"""\
==PROF== Connected to process 1234 (/usr/bin/python3.12)
==PROF== Profiling "c000_kernel0": 0%....50%....100% - 9 passes
"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device","CC","dram__bytes_read.sum","gpu__time_duration.sum","launch__registers_per_thread","lts__t_sector_hit_rate.pct","{STALL.format("barrier")}","{STALL.format("gmma")}","{STALL.format("long_scoreboard")}","{STALL.format("wait")}"
"","","","","","","","","","","","byte","ns","register/thread","%","inst","inst","inst","inst"
"0","1234","python3.12","127.0.0.1","c000_kernel0","1","7","(32, 4, 1)","(8, 1, 1)","0","9.0","4,000","90,000","40","1.5","1.5","0","2.5","0.5"
"1","1234","python3.12","127.0.0.1","c000_kernel0","1","7","(32, 4, 1)","(8, 1, 1)","0","9.0","2,048,000","12,500","40","n/a","1.5","0","2.5","0.5"
==PROF== Disconnected from process 1234
"""  # noqa: E501
REFUSED = (
    "==PROF== Connected to process 1\n==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA "
    "GPU Performance Counters on the target device 0.\n"
)
STAND_IN = """\
#!{python}
import subprocess, sys
from pathlib import Path
words = sys.argv[1:]
if "--help" in words or "--version" in words or "--query-metrics" in words:
    print(Path({answers!r}).read_text())
    sys.exit(0)
log = Path(words[words.index("--log-file") + 1])
tool = words[words.index("--tool") + 1] if "--tool" in words else "ncu"
command = [word if word != "gpu" else "emulate" for word in words[words.index(sys.executable):]]
status = subprocess.run(command).returncode
report = Path({reports!r}, tool).read_text()
log.write_text(report)
sys.exit(status or (86 if "0 errors" not in report else 0))
"""


def part(name: str) -> ModuleType:
    """Give a file of tools/gpu_check as a module."""
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module(f"gpu_check.{name}")
    finally:
        sys.path.remove(str(TOOLS))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("carried") / "templates"
    for name, args in (("softmax", (8, 64)), ("softmax", (8, 32)), ("elementwise", (4, 32, "relu"))):
        build_task(create(name, args, "cuda"), folder, 1, strategy=RandomStrategy)
    return folder


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give `install(name, answers, reports)`: put a stand-in of a tool on PATH."""
    monkeypatch.chdir(TOOLS)  # where the check's own processes find it

    def install(name: str, answers: str, reports: dict[str, str]) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "answers").write_text(answers)
        for tool, report in reports.items():
            (folder / tool).write_text(report)
        program = folder / "program" / name
        program.parent.mkdir()
        text = STAND_IN.format(python=sys.executable, answers=str(folder / "answers"), reports=str(folder))
        program.write_text(text)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return install


def reports_of(**changed: str) -> dict[str, str]:
    return {"memcheck": CLEAN, "racecheck": CLEAN_RACECHECK, "synccheck": CLEAN, "initcheck": CLEAN} | changed


# -- what the tools write -------------------------------------------------------------------------------------------


def test_records_of_memcheck_name_the_candidate_and_calls_of_the_driver_none() -> None:
    report = part("sanitizer_report")
    records = list(report.read_records(MEMCHECK))
    assert [(r.severity, r.place, r.of_kernel, r.of_call) for r in records] == [
        ("error", 1, True, False), ("error", 1, True, False), ("error", report.UNKNOWN, False, True)
    ]  # fmt: skip
    assert records[0].lines[1] == "at c001_kernel0+0x50"
    first, call = report.distinct(records)
    assert (first["count"], call["count"]) == (2, 1), "threads and addresses make no difference"


def test_records_without_indentation_are_read_too() -> None:
    report = part("sanitizer_report")
    flat = "\n".join(line.replace("=========     ", "========= ") for line in MEMCHECK.splitlines())
    assert list(report.read_records(flat)) == list(report.read_records(MEMCHECK))


def test_races_are_errors_or_warnings_as_the_tool_says() -> None:
    report = part("sanitizer_report")
    error, warning = report.read_records(RACECHECK)
    assert (error.severity, warning.severity) == ("error", "warning") and {error.place, warning.place} == {0}
    assert report.summed(report.summaries(RACECHECK)) == (1, 1)


def test_what_was_not_printed_is_counted_by_the_summary() -> None:
    sanitizer, under = part("sanitizer"), part("under")
    text = MEMCHECK.replace("3 errors", "403 errors")
    row = {"task": "softmax", "index": "1", "path": "plain", "fault": ""}
    session = under.Session([row, row], [text], [{"end": "ended with status 86", "status": 86, "output": ""}])
    found = sanitizer.result(session)
    assert (found["errors"], found["refused_calls"], found["state"]) == (402, 1, "FAILED")


@pytest.mark.parametrize(("status", "state", "why"), [
    (0, "passed", ""),
    (86, "FAILED", "its exit status tells of errors, and its report of none"),
    (-6, "passed", "its process ended by SIGABRT"),
])  # fmt: skip
def test_the_exit_status_is_compared_with_the_report(status: int, state: str, why: str) -> None:
    sanitizer, under = part("sanitizer"), part("under")
    row = {"task": "softmax", "index": "1", "path": "plain", "fault": ""}
    end = {"end": under.ended(status), "status": status, "output": ""}
    found = sanitizer.result(under.Session([row], [CLEAN], [end]))
    assert (found["state"], found["why"]) == (state, why)


@pytest.mark.parametrize("report", ["", "========= COMPUTE-SANITIZER\n"])
def test_a_report_without_a_summary_is_no_pass(report: str) -> None:
    sanitizer, under = part("sanitizer"), part("under")
    row = {"task": "softmax", "index": "1", "path": "plain", "fault": ""}
    found = sanitizer.result(
        under.Session([row], [report], [{"end": "ended with status 0", "status": 0, "output": ""}])
    )
    assert found["state"] == "FAILED" and found["why"] == "1 of 1 reports have no summary"


def test_counters_of_the_last_launch_in_seconds_and_bytes_with_the_reasons_to_wait() -> None:
    table = part("counters_table")
    row = table.row_of(*list(table.read_launches(COUNTERS))[-1])
    assert row["time_s"] == pytest.approx(12.5e-6) and row["dram_read_bytes"] == 2_048_000
    assert row["l2_hit_percent"] is None and row["tensor_percent"] is None and row["registers"] == 40
    assert list(row["stalls"]) == ["long_scoreboard", "barrier", "wait"]
    usecond = COUNTERS.replace('"ns"', '"usecond"').replace('"12,500"', '"12.5"')
    _, values = list(table.read_launches(usecond))[-1]
    assert values["gpu__time_duration.sum"] == pytest.approx(12.5e-6)


# -- where the tools lie --------------------------------------------------------------------------------------------


def program(folder: Path, name: str = "ncu") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)
    return folder / name


def test_a_tool_is_found_on_path_then_in_cuda_home_then_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under = part("under")
    monkeypatch.setattr(under, "program", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    places = (f"{tmp_path}/opt/nsight-compute/*",)
    assert under.find("ncu", places) is None
    program(tmp_path / "opt/nsight-compute/2024.10.0")
    newest = program(tmp_path / "opt/nsight-compute/2025.3.1")
    (program(tmp_path / "opt/nsight-compute/2026.1.0")).chmod(0o644)
    assert under.find("ncu", places) == newest
    at_home = program(tmp_path / "home/bin")
    assert under.find("ncu", places) == at_home
    on_path = program(tmp_path / "path")
    assert under.find("ncu", places) == on_path


# -- processes ------------------------------------------------------------------------------------------------------


ENDINGS = """\
import json, os, signal, sys, time
words = sys.argv
journal, start = words[words.index("--journal") + 1], int(words[words.index("--start") + 1])
with open(journal, "a") as file:
    file.write(json.dumps({"place": start}) + "\\n")
    file.flush()
    if start == 0:
        os.kill(os.getpid(), signal.SIGSEGV)
    if start == 2:
        time.sleep(100)
    file.write(json.dumps({"place": start, "fault": "", "kernels": [], "wall_s": 0.1}) + "\\n")
"""


def test_a_candidate_that_ends_the_process_or_hangs_takes_no_other_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under, once = part("under"), part("once")
    for name, seconds in (("LEAST_S", 0.1), ("KEPT_S", 0.1), ("GRACE_S", 1.0)):
        monkeypatch.setattr(under, name, seconds)
    items = [once.Item("none.zip", str(n), f"task {n}") for n in range(4)]
    prefix = lambda log: (sys.executable, "-c", ENDINGS)  # noqa: E731
    session = under.run_plan(items, tmp_path, "memcheck", prefix, "gpu", "check", 60.0, 3.0)
    faults = [row["fault"] for row in session.rows]
    assert faults == [
        "it took the process along, which ended by SIGSEGV", "",
        f"it took the process along, which {session.ends[-1]['end']}", None,
    ]  # fmt: skip
    assert session.ends[-1]["end"].startswith("stopped after ")
    assert part("sanitizer").result(session)["state"] == "FAILED"


def test_a_tool_that_does_not_come_to_a_candidate_is_told_with_its_last_words(tmp_path: Path) -> None:
    under, once = part("under"), part("once")
    prefix = lambda log: ("sh", "-c", "echo 'no such device'; exit 3")  # noqa: E731
    session = under.run_plan(
        [once.Item("none.zip", "0", "task")], tmp_path, "memcheck", prefix, "gpu", "check", 1.0, 60.0
    )
    found = part("sanitizer").result(session)
    assert found["state"] == "FAILED" and found["why"] == "ended with status 3: no such device"
    assert len(session.ends) == 1, "it is not tried again"


def test_ends_are_told_in_words() -> None:
    ended = part("under").ended
    assert ended(0) == "ended with status 0" and ended(-signal.SIGKILL) == "ended by SIGKILL"
    assert ended(-200) == "ended by signal 200"


# -- phases ---------------------------------------------------------------------------------------------------------


def phase(bundle: Path, tmp_path: Path) -> dict[str, Any]:
    data = part("sanitizer").phase(bundle, "gpu", tmp_path, lambda data: None)
    json.dumps(data)
    return data


def test_the_sanitizer_runs_one_candidate_of_each_template_under_each_tool(
    bundle: Path, tmp_path: Path, stand_in: Callable[..., None]
) -> None:
    stand_in("compute-sanitizer", "--show-backtrace arg\n--padding arg", reports_of())
    data = phase(bundle, tmp_path)
    report = part("report")
    assert report.state("sanitizer", data) == "passed"
    assert list(data["tools"]) == ["memcheck", "racecheck", "synccheck", "initcheck"]
    tasks = [row["task"] for row in data["tools"]["memcheck"]["rows"]]
    assert tasks == ["elementwise 4 32 relu", "softmax 8 64"], "of the shapes the one with more to do"
    words = data["tools"]["racecheck"]["options"]
    assert "--show-backtrace" in words and "--padding" not in words and "--print-limit" not in words
    assert "--padding" in data["tools"]["memcheck"]["options"]
    for tool in data["tools"].values():
        assert tool["state"] == "passed" and tool["reached"] == 2 and not tool["wrong"]


def test_what_the_tools_report_fails_the_phase_and_stands_in_the_table(
    bundle: Path, tmp_path: Path, stand_in: Callable[..., None]
) -> None:
    stand_in("compute-sanitizer", "", reports_of(memcheck=MEMCHECK, racecheck=RACECHECK))
    data = phase(bundle, tmp_path)
    report = part("report")
    assert report.state("sanitizer", data) == "FAILED"
    page = "\n".join(part("sanitizer").lines(data, True))
    assert "| memcheck | softmax 8 64 #" in page and "| racecheck | elementwise 4 32 relu #" in page
    assert "racecheck: FAILED: 1 errors, 1 warnings, 0 wrong in 2 of 2 candidates" in page
    assert "memcheck: 2 times: Invalid __global__ write of size 4 bytes at c001_kernel0+0x50" in page


def test_warnings_alone_are_counted_and_fail_nothing(
    bundle: Path, tmp_path: Path, stand_in: Callable[..., None]
) -> None:
    warned = RACECHECK.replace("Error:", "Warning:").replace("(1 error, 1 warning)", "(0 errors, 2 warnings)")
    stand_in("compute-sanitizer", "", reports_of(racecheck=warned))
    data = phase(bundle, tmp_path)
    assert part("sanitizer").state(data) == "passed" and data["tools"]["racecheck"]["warnings"] == 2


def test_without_the_tool_the_phase_is_not_run_and_the_page_begins_with_that(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sanitizer, report = part("sanitizer"), part("report")
    monkeypatch.setattr(sanitizer, "find", lambda name: None)
    data = phase(bundle, tmp_path)
    (tmp_path / "sanitizer.json").write_text(json.dumps(data))
    assert report.state("sanitizer", data) == "not run" and not report.passed("sanitizer", data)
    page = report.write(tmp_path, True).read_text()
    assert page.splitlines()[2].startswith("**Not run: sanitizer: compute-sanitizer is not installed")
    assert "passed" not in page


def test_on_the_emulation_each_candidate_is_run_without_a_tool(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(TOOLS)
    sanitizer = part("sanitizer")
    data = sanitizer.phase(bundle, "emulate", tmp_path, lambda data: None)
    assert sanitizer.state(data) == "passed" and data["tools"]["emulation"]["reached"] == data["candidates"] == 2


def tuned(bundle: Path, output: Path, gpu_times: bool = True) -> TaskBundle:
    """Write results as if the softmax of `bundle` had been measured; give that task."""
    read_task = part("counters").read_task
    (task,) = (t for t in map(read_task, task_files(bundle)) if str(t.about) == "softmax 8 64")
    best = {"index": str(task.candidates[0].index)}
    row = {"operator": task.about.name, "args": task.about.args, "best": best}
    (output / "tuned.json").write_text(json.dumps({"gpu_times": gpu_times, "tasks": [row]}))
    return task


def count(bundle: Path, tmp_path: Path) -> dict[str, Any]:
    data = part("counters").phase(bundle, "gpu", tmp_path, lambda data: None)
    json.dumps(data)
    return data


def test_counters_of_the_fastest_candidate_become_rows(
    bundle: Path, tmp_path: Path, stand_in: Callable[..., None]
) -> None:
    known = "gpu__time_duration  time\ndram__bytes_read\nlts__t_sector_hit_rate"
    stand_in("ncu", known, {"ncu": COUNTERS})
    task = tuned(bundle, tmp_path)
    data = count(bundle, tmp_path)
    (row,) = data["rows"]
    assert (row["task"], row["index"]) == ("softmax 8 64", str(task.candidates[0].index))
    assert part("counters").state(data) == "passed" and row["time_s"] == pytest.approx(12.5e-6)
    assert "dram__bytes_write.sum" in data["unknown_counters"]
    assert "launch__registers_per_thread" not in data["unknown_counters"]
    page = part("counters").lines(data, True)
    assert "| softmax 8 64 | kernel0 | 12.5 |" in page[2] and "long_scoreboard 2.5, barrier 1.5" in page[2]


def test_launches_whose_kernels_are_named_alike_are_told_apart_by_their_order() -> None:
    places = part("counters")._places
    rows = [{"kernels": ["main_kernel0"]}, {"kernels": ["main_kernel1", "main_kernel0"]}, {"fault": None}]
    alike = ["main_kernel0"] * 2 + ["main_kernel1", "main_kernel0"] * 2
    assert places(rows, alike) == [0, 0, 1, 1, 1, 1]
    assert places(rows, alike[1:]) == [None] * 5, "one is missing: which, nobody knows"
    assert places(rows, ["c001_kernel0", "c900_kernel0"]) == [1, None]


def test_counters_that_the_machine_keeps_to_itself_are_not_run_with_the_reason(
    bundle: Path, tmp_path: Path, stand_in: Callable[..., None]
) -> None:
    stand_in("ncu", "", {"ncu": REFUSED})
    tuned(bundle, tmp_path)
    data = count(bundle, tmp_path)
    assert part("counters").state(data) == "not run" and "this user may not read counters" in data["not run"]


def test_a_report_without_counters_fails_with_what_there_is(
    bundle: Path, tmp_path: Path, stand_in: Callable[..., None]
) -> None:
    stand_in("ncu", "", {"ncu": "==ERROR== something new\n"})
    tuned(bundle, tmp_path)
    data = count(bundle, tmp_path)
    assert part("counters").state(data) == "FAILED" and "something new" in data["error"]


def test_counters_need_the_tool_and_the_times_of_a_gpu(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = part("counters")
    monkeypatch.setattr(counters, "find", lambda name: None)
    without = count(bundle, tmp_path)
    assert counters.state(without) == "FAILED" and "phase `tuned`" in without["error"]
    tuned(bundle, tmp_path, gpu_times=False)
    assert "emulation" in count(bundle, tmp_path)["error"]
    tuned(bundle, tmp_path)
    assert count(bundle, tmp_path)["not run"].startswith("ncu is not installed")
    assert counters.phase(bundle, "emulate", tmp_path, print)["not run"] == "an emulation has no counters"


def test_kernels_named_after_their_candidate_are_the_same_machine_code(bundle: Path) -> None:
    once, read_task = part("once"), part("counters").read_task
    code: CudaCode = read_task(task_files(bundle)[0]).candidates[0].kernel.code
    named = once.tagged(code, 7)
    assert [launch.name for launch in named.source.launches] == ["c007_kernel0"]
    before, after = disassemble(code.cubin.code), disassemble(named.cubin.code)
    assert list(after) == ["c007_kernel0"]
    words = [[(i.opcode, i.operands) for i in kernels[name].instructions]
             for kernels, name in ((before, "main_kernel0"), (after, "c007_kernel0"))]  # fmt: skip
    assert words[0] == words[1] and words[0]
