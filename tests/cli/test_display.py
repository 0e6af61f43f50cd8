"""Progress and results as people and programs see them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from rich.console import Console

from tilewright.autotune.trial import Status, Trial
from tilewright.autotune.tuner import Progress, TuneResult
from tilewright.cli import progress as shown
from tilewright.cli.main import make_parser
from tilewright.cli.operators import understand
from tilewright.cli.result import as_json, as_table, what
from tilewright.cli.terminal import clock, time_text
from tilewright.cli.tune import make_task

BEST = Trial(3, Status.OK, steps='{"version": 1, "steps": []}', median_s=2e-3, interval_s=(1.9e-3, 2.1e-3),
             max_rel_error=1e-6, gflops=80.0, peak_gflops=100.0)  # fmt: skip
COUNTS: Mapping[Status, int] = {Status.OK: 7, Status.SPILL: 2, Status.CRASH: 3}


def progress(
    best: Trial | None = BEST, elapsed_s: float = 15.0, n_trial: int | None = None, time_s: float | None = None
) -> Progress:
    return Progress(BEST, 12, best, COUNTS, elapsed_s, n_trial, time_s)


def result(best: Trial | None) -> TuneResult:
    history = [BEST, Trial(4, Status.SPILL), Trial(5, Status.OK, median_s=3e-3, duplicate=True)]
    return TuneResult(best, None, history, 2, 10.0, 0.5, 100.0, "0123456789abcdef")


def test_the_nearer_limit_tells_how_much_is_left() -> None:
    assert shown.time_left_s(progress(time_s=60.0)) == pytest.approx(45.0)
    assert shown.time_left_s(progress(n_trial=24)) == pytest.approx(15.0)
    assert shown.time_left_s(progress(n_trial=24, time_s=60.0)) == pytest.approx(15.0)
    assert shown.time_left_s(progress()) is None
    assert shown.time_left_s(progress(elapsed_s=70.0, time_s=60.0)) == 0.0


def test_failures_are_counted_by_reason_the_most_frequent_first() -> None:
    assert shown.outcomes(COUNTS) == "valid 7  failed 5 (crash 3, spill 2)"
    assert shown.outcomes({}) == "valid 0  failed 0"


def test_the_best_is_a_share_of_the_peak_measured_beside_it() -> None:
    assert shown.best_text(progress()) == "best 80.0 GFLOP/s (80% of peak)"
    assert shown.best_text(progress(best=None)) == "best none"


def test_elsewhere_than_on_a_terminal_there_are_plain_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    text = io.StringIO()
    with shown.Display(Console(file=text), None, 60.0) as display:
        for now[0] in (1.0, 5.5, 6.0, 12.0):
            display.show(progress(elapsed_s=now[0], time_s=60.0))
    lines = text.getvalue().splitlines()
    assert [line.split()[:2] for line in lines] == [["5.5", "s"], ["12.0", "s"]]
    assert lines[1].endswith("best 80.0 GFLOP/s (80% of peak)  valid 7  failed 5 (crash 3, spill 2)  0:48 left")


def test_a_terminal_gets_one_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    text = io.StringIO()
    with shown.Display(Console(file=text, force_terminal=True, width=120), None, 60.0) as display:
        now[0] = 1.0
        display.show(progress(elapsed_s=30.0, time_s=60.0))
        assert "best 80.0 GFLOP/s" in text.getvalue() and "0:30 left" in text.getvalue()
    assert text.getvalue().endswith("\x1b[2K")  # and it is wiped out at the end


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (1.23456e-3, "1.235 ms"), (924.64e-6, "924.6 us"), (3e-9, "3 ns")]
)
def test_times_have_four_digits_in_a_unit_that_suits(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (83.4, "1:23"), (59.6, "1:00"), (7265, "2:01:05")])
def test_time_left_reads_as_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_json_result_has_every_figure() -> None:
    request = understand(make_parser().parse_args(["matmul", "--shape", "8,8,8", "--threads", "1"]))
    data = as_json(request, make_task(request), result(BEST))
    json.dumps(data, allow_nan=False)
    assert data["operator"] == "matmul" and data["shape"] == [8, 8, 8] and data["layout"] is None
    assert (data["trials"], data["valid"], data["failed"], data["threads"]) == (3, 1, {"spill": 1}, 1)
    assert (data["wall_s"], data["trials_per_s"], data["search_share"]) == (10.0, 0.2, 0.05)
    assert data["peak_gflops"] == 100.0 and data["record"] == "0123456789abcdef"
    assert data["best"] == {
        "seconds": 2e-3, "interval": [1.9e-3, 2.1e-3], "gflops": 80.0, "peak_fraction": 0.8, "max_rel_error": 1e-6,
        "steps": {"version": 1, "steps": []},
    }  # fmt: skip
    assert data["default"] is None


def test_without_a_valid_kernel_the_result_says_so() -> None:
    request = understand(make_parser().parse_args(["matmul", "--shape", "8,8,8", "--threads", "1"]))
    task, text = make_task(request), io.StringIO()
    Console(file=text, width=100).print(as_table(request, task, result(None), "records.db"))
    assert "no valid kernel was found" in text.getvalue()
    assert as_json(request, task, result(None))["best"] is None


def test_a_rate_above_the_peak_is_explained_beside_what_is_tuned() -> None:
    request = understand(
        make_parser().parse_args(["dense", "--shape", "8,8,8", "--threads", "1", "--epilogue", "bias"])
    )
    task, text = make_task(request), io.StringIO()
    Console(file=text, width=120).print(as_table(request, task, result(replace(BEST, gflops=120.0)), "records.db"))
    assert "120.0%" in text.getvalue() and "above the peak" in text.getvalue()
    assert what(request) == "dense 8,8,8 bias" and as_json(request, task, result(BEST))["epilogue"] == "bias"
