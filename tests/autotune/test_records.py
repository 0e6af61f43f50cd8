"""The record database keeps what it was given, loses little to a kill, and refuses what it cannot read."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tilewright.autotune.records import APPLICATION, SCHEMA, Records, TaskRow
from tilewright.autotune.trial import Status, TaskKey, Trial
from tilewright.ir.errors import RecordError

KEY = TaskKey("e1", "llvm -mcpu=znver5", "zen5", "c1", "conv2d.1", "s1", 1)
OK = Trial(
    3, Status.OK, [["tile", "sp", [-1, 4]]], "{}", [1e-3, 1.1e-3], 1.05e-3, (1e-3, 1.1e-3), "", 1e-7, 50.0, 150.0,
    session="a", timestamp=5.0,
)  # fmt: skip
CRASH = Trial(4, Status.CRASH, error="signal 11", session="a", timestamp=6.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


def test_what_is_read_is_what_was_written(path: Path) -> None:
    with Records(path) as records:
        records.add_task(TaskRow(KEY, "conv2d", (1, "NCHW", [3, 3]), 1e9))
        records.add(KEY, OK)
        records.add(KEY, CRASH)
    with Records(path) as records:
        assert records.trials(KEY) == [OK, CRASH]
        assert records.tasks() == [TaskRow(KEY, "conv2d", (1, "NCHW", [3, 3]), 1e9)]


def test_numbers_beyond_64_bits_are_kept(path: Path) -> None:
    with Records(path) as records:
        records.add(KEY, replace(OK, index=3 * 10**30))
    with Records(path) as records:
        assert records.trials(KEY)[0].index == 3 * 10**30


def test_best_prefers_what_was_measured_again(path: Path) -> None:
    with Records(path) as records:
        records.add(KEY, replace(OK, index=1, median_s=1e-3))  # lucky
        records.add(KEY, replace(OK, index=2, median_s=2e-3, phase="final"))
        records.add(KEY, replace(OK, index=3, median_s=3e-3, phase="final"))
        best = records.best(KEY)
    assert best is not None and best.index == 2


def test_json_round_trip_and_merge_add_each_row_once(path: Path, tmp_path: Path) -> None:
    other = replace(KEY, expression="e2")
    with Records(path) as records:
        for key in (KEY, other):
            records.add(key, OK)
            records.add(key, CRASH)
        assert records.dump_json(tmp_path / "rows.json") == 4
    with Records(tmp_path / "copy.db") as copy:
        assert copy.load_json(tmp_path / "rows.json") == 4
        assert copy.merge(path) == 0
        assert copy.trials(other) == [OK, CRASH]


def test_why_miss_names_what_differs(path: Path) -> None:
    with Records(path) as records:
        assert "0 tasks" in records.why_miss(KEY)
        records.add(KEY, CRASH)
        assert "1 trials of this task, none of them valid" in records.why_miss(KEY)
        assert "machine: xeon, recorded zen5" in records.why_miss(replace(KEY, machine="xeon"))


WRITER = """
import sys, time
from tilewright.autotune.records import Records
from tilewright.autotune.trial import Status, TaskKey, Trial
records = Records(sys.argv[1])
key = TaskKey(*"abcdef")
for n in range(100000):
    records.add(key, Trial(n, Status.OK, median_s=1.0, session="w", timestamp=float(n)))
    print(n, flush=True)
    time.sleep(0.001)
"""


def test_kill_loses_at_most_32_displayed_trials(path: Path) -> None:
    for shown_first in (40, 75, 131):
        path.unlink(missing_ok=True)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        first = [writer.stdout.readline() for _ in range(shown_first)]
        writer.send_signal(signal.SIGKILL)
        shown = len(first) + len(writer.communicate()[0].splitlines())
        with Records(path) as records:
            kept = [t.index for t in records.trials(TaskKey(*"abcdef"))]
        assert kept == list(range(len(kept)))
        assert shown - 32 <= len(kept) <= shown + 1


def test_two_processes_may_write(path: Path) -> None:
    command = [sys.executable, "-c", WRITER.replace("100000", "50") + "records.close()", str(path)]
    writers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [w.wait(timeout=60) for w in writers] == [0, 0]
    with Records(path) as records:  # equal rows are one
        assert len(records.trials(TaskKey(*"abcdef"))) == 50


def make_text(path: Path) -> None:
    path.write_text("not a database, but long enough to be looked at " * 50)


def make_other_program(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("create table bookmarks (url)")
    database.close()


def make_future(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.executescript(f"pragma application_id = {APPLICATION}; pragma user_version = {SCHEMA + 1}")
    database.close()


def make_damaged(path: Path) -> None:
    with Records(path) as records:
        for n in range(400):
            records.add(KEY, replace(OK, index=n, steps="x" * 200))
    data = bytearray(path.read_bytes())
    data[8192:16384] = os.urandom(8192)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (make_text, "not a readable database"),
        (make_other_program, "another program's"),
        (make_future, f"schema version {SCHEMA + 1}"),
        (make_damaged, "damaged"),
    ],
)
def test_unreadable_files_are_refused_and_untouched(make: object, sentence: str, path: Path) -> None:
    make(path)  # type: ignore[operator]
    before = path.read_bytes()
    with pytest.raises(RecordError, match=sentence):
        Records(path)
    assert path.read_bytes() == before


def test_a_locked_file_is_refused(path: Path) -> None:
    Records(path).close()
    holder = sqlite3.connect(path)
    holder.execute("begin exclusive")
    with pytest.raises(RecordError, match="locked"):
        Records(path, wait_s=0.1).add_task(TaskRow(KEY))
    holder.close()


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="does not exist"):
        Records(tmp_path / "none.db", create=False)
    with pytest.raises(RecordError, match="folder"):
        Records(tmp_path / "none" / "records.db")


def test_json_of_another_form_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([{"a": 1}]))
    with Records(path) as records, pytest.raises(RecordError, match="row 0 is not a trial"):
        records.load_json(tmp_path / "rows.json")
