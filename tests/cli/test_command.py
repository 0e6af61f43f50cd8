"""The command from end to end on small operators: tune, resume, show, export, interrupt, and files that are no use."""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tilewright.autotune.records import TaskRow
from tilewright.autotune.trial import TaskKey
from tilewright.autotune.tuner import TuneResult
from tilewright.cli import tune
from tilewright.cli.main import OPERATORS, main, make_parser
from tilewright.cli.operators import understand
from tilewright.cli.typed import typed

SCRIPT = Path(__file__).resolve().parent.parent.parent / "cli" / "autotune"
SMALL = ["matmul", "--shape", "32,48,40", "--threads", "1"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the database and the result of a small search."""
    folder = tmp_path_factory.mktemp("tuned")
    status = main([*SMALL, "--trials", "8", "--db", str(folder / "r.db"), "--json", str(folder / "r.json")])
    assert status == 0
    return folder


def test_a_search_writes_its_result_and_its_record(tuned: Path) -> None:
    result = json.loads((tuned / "r.json").read_text())
    assert result["trials"] == result["new_trials"] == 8
    assert result["valid"] >= 1 and result["best"]["max_rel_error"] < 1e-4
    assert result["best"]["gflops"] == pytest.approx(2 * 32 * 48 * 40 / result["best"]["seconds"] / 1e9)
    assert result["best"]["peak_fraction"] == pytest.approx(result["best"]["gflops"] / result["peak_gflops"])
    rows = sqlite3.connect(tuned / "r.db").execute("select count(*) from trials where phase = 'search'").fetchone()
    assert rows == (8,)


def test_the_same_command_resumes(tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--trials", "8", "--db", str(tuned / "r.db"), "--json", "-"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert (result["trials"], result["new_trials"]) == (8, 0)
    assert "8 trials are known from" in said.err and "GFLOP/s" in said.err


def test_records_are_shown_as_a_table_and_as_json(tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = json.loads((tuned / "r.json").read_text())["record"]
    assert main(["records", "--db", str(tuned / "r.db")]) == 0
    shown = capsys.readouterr().out.splitlines()
    (line,) = [line.split() for line in shown if line.lstrip().startswith(key[:8])]
    assert line[1:4] == ["matmul", "--shape", "32,48,40"] and line[4:7] == ["1", line[5], "8"]
    assert main(["records", "--db", str(tuned / "r.db"), "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["key"] for row in rows} == {key}
    assert sum(row["trial"]["phase"] == "search" for row in rows) == 8


@pytest.mark.parametrize("place", ["before", "after"])
def test_an_exported_kernel_computes_without_the_package(tuned: Path, tmp_path: Path, place: str) -> None:
    key, db = json.loads((tuned / "r.json").read_text())["record"], ["--db", str(tuned / "r.db")]
    words = [*db, "export", key[:6]] if place == "before" else ["export", key[:6], *db]
    assert main(["records", *words, "-o", str(tmp_path / "made")]) == 0
    (library,) = (tmp_path / "made").glob("*.so")
    assert "matmul" in library.with_suffix(".h").read_text()
    function = ctypes.CDLL(str(library)).matmul
    rng = np.random.default_rng(0)
    a, b = rng.integers(-4, 5, (32, 40)).astype("float32"), rng.integers(-4, 5, (40, 48)).astype("float32")
    c = np.full((32, 48), np.nan, "float32")
    assert function(*(array.ctypes.data_as(ctypes.c_void_p) for array in (a, b, c))) == 0
    np.testing.assert_array_equal(c, a @ b)  # sums of small integers are exact


TYPED = [  # every kind of flag, layers with and without flags of their own
    "conv2d --layer resnet18.C6",
    "conv2d --layer resnet50.conv4_expand --layout NHWC --epilogue bias,relu",
    "conv2d --layer resnet50.conv4_expand --target 'cuda -arch=sm_80'",
    "conv2d --layer mobilenetv2.expand56_24_144 --variable-weights --relative-error 0.0002",
    "conv2d --shape 1,8,9,9,16,3,1,1 --dilation 2 --groups 4 --dtype bfloat16",
    "conv2d_transpose --layer dcgan.up1",
    "conv2d_transpose --shape 1,8,4,4,8,3,2,1 --output-padding 1",
    "depthwise_conv2d --shape 1,16,8,8,5,2,2 --layout NCHW16c",
    "matmul --shape 32,48,40 --transpose-b --constant-b",
    "dense --layer bert.qkv --epilogue gelu",
    "batch_matmul --layer bert.context",
    "batch_matmul --shape 2,3,4,5 --no-transpose-b",
    "qmatmul --shape 6,20,9 --multiplier 0.5 --bias --data-zero 3",
    "qconv2d --layer resnet18.C12 --layout NHWC --dtype int8 --residual 0.8 0 1.1 3",
    "qdepthwise_conv2d --shape 1,6,8,8,3,1,1 --zero-point 7 --clip 7 200",
    "softmax --shape 8,9",
    "reduction --shape 8,9 --axis 0 --op mean",
    "elementwise --shape 8,9 --op gelu --dtype float16",
]


@pytest.mark.parametrize("words", TYPED)
def test_a_record_is_shown_as_it_is_typed(words: str) -> None:
    request = understand(make_parser().parse_args(shlex.split(words)))
    args = json.loads(json.dumps(request.template_args))  # as the database gives them
    key = TaskKey("", request.target, "", "", "", "")
    assert sorted(typed(TaskRow(key, request.operator.name, tuple(args)), OPERATORS).split()) == sorted(words.split())


def test_a_task_that_no_command_line_means_is_shown_as_a_call() -> None:
    own = TaskRow(TaskKey("", "llvm", "", "", "", ""), "my.template", (64, "float32"))
    assert typed(own, OPERATORS) == "my.template(64, 'float32')"
    oblong = TaskRow(own.key, "conv2d", ([1, 8, 9, 9], [16, 1, 7], 1, 0))
    assert typed(oblong, OPERATORS) == "conv2d([1, 8, 9, 9], [16, 1, 7], 1, 0)"


def test_a_key_that_no_record_has_is_an_error(tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["records", "export", "zzz", "--db", str(tuned / "r.db")]) == 1
    assert "0 of 1 tasks have a key that begins with 'zzz'" in capsys.readouterr().err


OF_BYTES = (
    "qmatmul --shape 6,20,9 --bias --clip 0 200",
    "qconv2d --shape 1,3,6,6,16,3,1,1 --data-zero 128 --zero-point 3 --clip 3 255 --residual 0.8 100 1.2 30",
    "qdepthwise_conv2d --shape 1,6,8,8,3,1,1 --zero-point 7 --clip 7 200",
)


@pytest.mark.parametrize("words", OF_BYTES)
def test_a_kernel_of_bytes_is_found_and_is_exact(words: str, tmp_path: Path) -> None:
    files = ["--db", str(tmp_path / "r.db"), "--json", str(tmp_path / "r.json")]
    assert main([*words.split(), "--threads", "1", "--trials", "2", *files]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert (result["trials"], result["failed"], result["best"]["max_rel_error"]) == (2, {}, 0)


@pytest.mark.parametrize(
    ("interrupted", "status", "reason"),
    [(False, 1, "none ended in time: a longer --time"), (True, 130, "interrupted before any was measured")],
)
def test_nothing_measured_has_a_status_by_its_reason(
    interrupted: bool,
    status: int,
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = TuneResult(None, None, [], 0, 1.0, 0.0, 0.0, "0" * 16, interrupted)
    monkeypatch.setattr(tune.Tuner, "tune", lambda *_: nothing)
    assert main([*SMALL, "--db", str(tmp_path / "r.db")]) == status
    assert reason in capsys.readouterr().out


def test_a_shape_that_no_memory_holds_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "softmax",
        "--shape",
        "99999999,99999999",
        "--threads",
        "1",
        "--trials",
        "1",
        "--db",
        str(tmp_path / "r.db"),
    ]
    assert main(words) == 1
    assert "autotune softmax: not enough memory: " in capsys.readouterr().err


@pytest.mark.parametrize("command", [["records"], [*SMALL, "--trials", "2"]], ids=["records", "matmul"])
@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_database_that_is_none_is_refused_and_left_alone(
    command: list[str], content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.db"
    path.write_bytes(content)
    assert main([*command, "--db", str(path)]) == 1
    assert "autotune: records: " in capsys.readouterr().err
    assert path.read_bytes() == content


def test_a_missing_database_is_made_by_a_search_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["records", "--db", str(tmp_path / "r.db")]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "r.db").exists()


def test_a_setting_that_means_nothing_is_one_message() -> None:
    environment = os.environ | {"TILEWRIGHT_DEBUG": "loud"}
    done = subprocess.run(
        [sys.executable, "-m", "tilewright.cli.main", "records"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "autotune: settings: TILEWRIGHT_DEBUG is 'loud'\ntry: an integer from 0 to 6\n"


def test_ctrl_c_keeps_what_was_measured_and_prints_the_result(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    words = [*SMALL, "--time", "10m", "--db", str(path), "--json", str(tmp_path / "r.json")]
    process = subprocess.Popen(
        [sys.executable, "-m", "tilewright.cli.main", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    until = time.monotonic() + 60
    while valid_rows(path) < 3 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the command and all its workers
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "best" in out and "record" in out
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["best"]["gflops"] > 0
    assert valid_rows(path) >= 3


@pytest.mark.parametrize(("ignored", "status", "said"), [(False, 130, "autotune: interrupted\n"), (True, 3, "")])
def test_ctrl_c_while_the_package_is_loaded_is_quiet(ignored: bool, status: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("import signal, sys\nsignal.raise_signal(signal.SIGINT)\nsys.exit(3)\n")
    places = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-P", str(SCRIPT), "list"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)}, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (status, said)


def valid_rows(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            return database.execute("select count(*) from trials where status = 'ok'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0  # its tables are not there yet
