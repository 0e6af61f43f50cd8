"""Tables of documents come from results: how they are read, and that the documents have those of today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .package import part

summary, figures, turns, operations = (part(n) for n in ("summary", "figures", "turns", "operations"))


def result(folder: Path, date: str, threads: int, **workloads: dict[str, float]) -> None:
    """Write what a run of resnet18 gave: by workload, each competitor's time."""
    rows = [
        {"name": name, "family": "resnet18", "entries": {who: {"seconds": [s]} for who, s in times.items()}}
        for name, times in workloads.items()
    ]
    data = {"settings": {"threads": threads}, "machine": "this", "versions": {"torch": "2.13.0"}, "workloads": rows}
    (folder / f"cpu-{date}-resnet18-{threads}t.json").write_text(json.dumps(data))


def test_the_newest_results_count_and_workloads_that_are_gone_do_not(tmp_path: Path) -> None:
    result(tmp_path, "2026-01-02", 1, C1={"ours_untuned": 1.0, "torch": 2.0}, gone={"ours_untuned": 1.0, "torch": 9.0})
    result(tmp_path, "2026-01-01", 1, C1={"ours_untuned": 1.0, "torch": 5.0})
    result(tmp_path, "2026-01-01", 2, C2={"ours_untuned": 1.0, "torch": 0.5})
    found = summary.read_results(tmp_path)
    assert {key: [row.lead("ours_untuned") for row in rows] for key, rows in found.rows.items()} == {
        ("resnet18", 1): [2.0],
        ("resnet18", 2): [0.5],
    }
    text = summary.measurements(found)
    assert "| ResNet-18, C1 to C12 | 1 | 2.00 (C1 2.00) | 0.50 (C2 0.50) |  |" in text and "torch 2.13.0" in text


def test_tuned_kernels_stand_beside_untuned_ones(tmp_path: Path) -> None:
    result(tmp_path, "2026-01-01", 1, C1={"ours": 1.0, "ours_untuned": 1.5, "torch": 3.0})
    text = summary.measurements(summary.read_results(tmp_path))
    assert "| ResNet-18, C1 to C12 | 1 | 1.50 (at most 1.50, of 1) | 3.00 (C1 3.00) |" in text


def test_what_several_threads_gain_is_that_of_longer_calls(tmp_path: Path) -> None:
    result(tmp_path, "2026-01-01", 1, C1={"ours_untuned": 2e-4}, C2={"ours_untuned": 4e-4}, C3={"ours_untuned": 4e-5})
    result(tmp_path, "2026-01-01", 2, C1={"ours_untuned": 2e-4}, C2={"ours_untuned": 1e-4}, C3={"ours_untuned": 1e-3})
    text = summary.measurements(summary.read_results(tmp_path))
    assert "| 2 threads over 1 |" in text and text.endswith("| 2.00 (C1 1.00) |")


def test_every_lead_below_one_is_named() -> None:
    def row(name: str, lead: float) -> object:
        workload = operations.Workload(name, "f", operations.Product(1, 1, 1))
        return figures.Row(workload, {"ours_untuned": turns.Entry([1.0]), "torch": turns.Entry([lead])})

    rows = [row(f"w{n}", lead) for n, lead in enumerate((0.9, 0.9, 0.9, 0.9, 0.9, 1.01, 2.0))]
    named = summary.leads(rows).partition("(")[2]
    assert named == "w0 0.90, w1 0.90, w2 0.90, w3 0.90, w4 0.90)"
    assert summary.leads(rows[5:]).endswith("(w5 1.01)")


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    text = f"a\n{summary.BEGIN}\nold\n{summary.END}\nb\n"
    assert summary.with_table(text, "new") == text.replace("old", "new")
    with pytest.raises(ValueError, match="no marks"):
        summary.with_table("a\n", "new")


def test_documents_show_what_was_measured() -> None:
    for path, text in summary.documents(summary.read_results(part("report").RESULTS)).items():
        assert path.read_text() == text, f"{path.name}: cd benchmarks && python -m peers.summary"
