"""How the benchmarks measure: turns of stand-ins, processes of real competitors, exported kernels, and the figures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest

import tilewright
from tilewright import te
from tilewright.runtime.build import build
from tilewright.schedule import lower_prepared, parameter_names

from .package import part

operations, messages, turns, figures = (part(n) for n in ("operations", "messages", "turns", "figures"))
arrays, libraries, timing = part("arrays"), part("libraries"), part("timing")
exported, competitor = part("competitors.exported"), part("competitor")
PRODUCT = operations.Workload("small", "products", operations.Product(16, 10, 5))


class StandIn:
    """A competitor whose times are given, and whose result is the right one times `factor`."""

    def __init__(self, name: str, seconds: list[float], log: list[str], factor: float = 1.0) -> None:
        self.name, self.seconds, self.log, self.factor = name, iter(seconds), log, factor

    def prepare(self, workload, seed: int, batch_s: float):
        a, b = arrays.random_inputs(workload.operation, seed)
        return messages.Ready("form", (a @ b) * np.float32(self.factor), 1, 0.0)

    def run(self):
        self.log.append(self.name)
        seconds = next(self.seconds, None)
        return messages.Refused("died") if seconds is None else messages.Sample(seconds)


def test_runners_take_turns_and_the_order_turns_too() -> None:
    log: list[str] = []
    runners = [StandIn("a", [1.0, 2.0, 3.0], log), StandIn("b", [4.0, 5.0, 6.0], log)]
    entries = turns.measure(PRODUCT, runners, turns.Pace(rounds=3))
    assert log == ["a", "b", "b", "a", "a", "b"]
    assert entries["a"].seconds == [1.0, 2.0, 3.0] and entries["b"].seconds == [4.0, 5.0, 6.0]
    assert entries["a"].form == "form" and 0 < entries["a"].error <= 1


def test_who_computes_wrongly_is_not_timed() -> None:
    log: list[str] = []
    runners = [StandIn("right", [1.0] * 3, log), StandIn("wrong", [0.5] * 3, log, factor=1.01)]
    entries = turns.measure(PRODUCT, runners, turns.Pace(rounds=3))
    assert log == ["right"] * 3
    assert not entries["wrong"].seconds and entries["wrong"].note.startswith("wrong:")


def test_who_dies_is_left_out_of_later_rounds() -> None:
    log: list[str] = []
    runners = [StandIn("a", [1.0], log), StandIn("b", [2.0] * 3, log)]
    entries = turns.measure(PRODUCT, runners, turns.Pace(rounds=3))
    assert log.count("a") == 2 and entries["b"].seconds == [2.0] * 3
    assert entries["a"].note == "died"


def test_workloads_over_their_time_have_three_rounds() -> None:
    entries = turns.measure(PRODUCT, [StandIn("a", [1.0] * 9, [])], turns.Pace(rounds=9, most_s=0))
    assert len(entries["a"].seconds) == 3


def test_rounds_in_which_the_machine_gave_less_do_not_count() -> None:
    whole = iter([False, True, True] + [True, False] + [True, True] * 2)  # waits once; the second round is spoilt
    entries = turns.measure(
        PRODUCT, [StandIn("a", [1.0, 9.0, 2.0, 3.0], [])], turns.Pace(rounds=3), lambda: next(whole)
    )
    assert entries["a"].seconds == [1.0, 2.0, 3.0] and entries["a"].note == ""


def test_where_the_machine_always_gives_less_three_rounds_count() -> None:
    entries = turns.measure(PRODUCT, [StandIn("a", [1.0] * 9, [])], turns.Pace(rounds=9, most_s=0), lambda: False)
    assert len(entries["a"].seconds) == 3 and entries["a"].note == "the machine gave less than its processors"


def test_a_loop_that_takes_twice_its_least_lacks_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    processors = part("processors")
    loop = StandIn("limit", [1.1, 1.0, 1.2, 2.0, 1.4], [])
    monkeypatch.setattr(processors, "Process", lambda *arguments: loop)
    gauge = processors.Processors(2, Path(), first=False)
    assert [gauge.whole() for _ in range(5)] == [True, True, True, False, True]


@pytest.fixture
def four_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 9, 1, 2, 3 ns with 3, 1, 1, 0 interruptions, each half of the time without a processor."""
    counts, seconds = iter([0, 3, 3, 4, 4, 5, 5, 5]), [9e-9, 1e-9, 2e-9, 3e-9]
    spent = iter([time for s in seconds for time in (0.0, s / 2)])
    left = iter(seconds)
    monkeypatch.setattr(timing, "interruptions", lambda: next(counts))
    monkeypatch.setattr(timing, "process_time", lambda: next(spent))
    monkeypatch.setattr(timing, "batch", lambda call, number: next(left))


@pytest.mark.usefixtures("four_batches")
def test_the_batch_without_interruptions_counts() -> None:
    assert timing.undisturbed_batch(int, 1, threads=1) == 3e-9


@pytest.mark.usefixtures("four_batches")
def test_the_first_with_the_fewest_counts_where_none_is_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "ATTEMPTS", 3)
    assert timing.undisturbed_batch(int, 1, threads=2) == 1e-9


@pytest.mark.usefixtures("four_batches")
def test_one_thread_is_not_timed_while_it_has_no_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "ATTEMPTS", 3)
    assert timing.undisturbed_batch(int, 1, threads=1) == 0.5e-9


def times(**seconds: list[float]) -> dict[str, object]:
    return {name: turns.Entry(list(s), work=1e6 if name == "limit" else 0.0) for name, s in seconds.items()}


def test_figures_of_a_row() -> None:
    row = figures.Row(PRODUCT, times(ours=[2.0, 4.0, 3.0], torch=[6.0, 1.0, 6.0], numpy=[5.0] * 3, limit=[1e-3] * 3))
    assert row.best_peer() == "numpy" and row.best_peer(min) == "torch"
    assert row.lead("ours") == pytest.approx(5 / 3) and row.lead("ours", min) == pytest.approx(1 / 2)
    assert row.rate("ours") == pytest.approx(1600 / 3 / 1e9)
    assert row.limit_rate() == pytest.approx(1.0)
    assert row.share("ours") == pytest.approx(1600 / 1e9 / 3)
    assert row.lead("ours_untuned") is None and row.share("ours_untuned") is None


def test_where_memory_is_the_limit_bytes_are_shared() -> None:
    rows = operations.Workload("softmax", "memory", operations.Softmax(10, 100))
    row = figures.Row(rows, times(ours=[1e-6], limit=[1e-3]))
    assert row.rate("ours") == pytest.approx(8.0) and row.share("ours") == pytest.approx(8.0)


def test_spread_is_the_middle_half() -> None:
    row = figures.Row(PRODUCT, times(ours=[4.0, 1.0, 2.0, 3.0, 100.0, 5.0, 6.0]))
    low, middle, high = statistics.quantiles([1, 2, 3, 4, 5, 6, 100], n=4)
    assert row.spread("ours") == (high - low) / middle == 1.0


def test_geometric_mean_leaves_out_what_is_missing() -> None:
    assert figures.geometric_mean([2.0, None, 8.0]) == pytest.approx(4.0)
    assert figures.geometric_mean([None]) is None


def test_table_shows_times_leads_and_what_is_missing() -> None:
    entries = times(ours=[2e-6] * 3, numpy=[3e-6] * 3, limit=[1e-3] * 3)
    entries["torch"] = turns.Entry(note="not supported")
    text = part("table").family_table("products", [figures.Row(PRODUCT, entries)])
    head, _, line, mean = ([c.strip() for c in row.split("|")[1:-1]] for row in text.splitlines()[2:6])
    cells = dict(zip(head, line, strict=True))
    assert (cells["ours us"], cells["numpy us"], cells["lead (ours)"]) == ("2 / 2", "3 / 3", "1.50 / 1.50")
    assert dict(zip(head, mean, strict=True))["lead (ours)"] == "1.50 / 1.50"
    assert "- torch: not supported (all)" in text and "torch us" not in head


def test_results_are_written_with_every_sample(tmp_path: Path) -> None:
    report = part("report")
    about = report.Circumstances("machine", "revision", {"numpy": "2"}, {"threads": 1}, (0.1, 0.2))
    report.write_json(tmp_path / "r" / "x.json", [figures.Row(PRODUCT, times(ours=[1.0, 2.0]))] * 2, about)
    data = json.loads((tmp_path / "r" / "x.json").read_text())
    workload, _ = data["workloads"]
    assert workload["entries"]["ours"]["seconds"] == [1.0, 2.0]
    assert (workload["operation"]["kind"], workload["operation"]["k"], workload["flop"]) == ("Product", 5, 1600)


@pytest.fixture
def process(tmp_path: Path):
    started = []

    def start(name: str):
        started.append(part("process").Process(name, 1, tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_a_process_computes_what_numpy_computes(process: Callable) -> None:
    numpy = process("numpy")
    assert numpy.present and numpy.version == np.__version__
    ready = numpy.prepare(PRODUCT, 3, 1e-4)
    a, b = arrays.random_inputs(PRODUCT.operation, 3)
    np.testing.assert_array_equal(ready.result, a @ b)
    assert numpy.run().seconds > 0


def test_a_process_refuses_what_its_library_cannot_do(process: Callable) -> None:
    rows = operations.Workload("softmax", "memory", operations.Softmax(4, 4))
    assert process("numpy").prepare(rows, 0, 1e-4) == messages.Refused("not supported")


def test_a_process_that_died_says_so_and_is_there_for_the_next_workload(process: Callable) -> None:
    numpy = process("numpy")
    numpy._process.kill()
    assert numpy.run().why.startswith("died")
    assert numpy.run() == messages.Refused("died") and numpy.present
    assert numpy.prepare(PRODUCT, 3, 1e-4).number >= 1 and numpy.run().seconds > 0


def test_a_process_that_gives_no_answer_is_ended(process: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = process("numpy")
    monkeypatch.setattr(part("process"), "PREPARE_TIMEOUT_S", 0)
    assert numpy.prepare(PRODUCT, 3, 1e-4) == messages.Refused("no answer in 0 s")


def test_a_missing_library_is_no_competitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(competitor.PLACES, "torch", ("no_such_module", "Nothing"))
    mine, theirs = Pipe()
    part("worker").serve("torch", competitor.Surroundings(1, tmp_path), theirs)
    assert mine.recv().why.startswith("not installed: No module")


def results(folder: Path, workload, inputs: list[np.ndarray]) -> np.ndarray:
    """Give what a library in a folder computes."""
    kernels = exported.ExportedKernels(competitor.Surroundings(1, folder))
    (form,) = kernels.forms(workload.name, workload.operation, inputs)
    form.call()
    return form.result()


def test_exported_libraries_compute_their_workload(tmp_path: Path) -> None:
    conv = operations.Workload("conv", "small", operations.Convolution((1, 4, 8, 8), (8, 3, 3), 1, 1))
    built = libraries.build_library(libraries.Order(conv.operation.template, tmp_path / "conv.so", 1))
    inputs = arrays.random_inputs(conv.operation, 0)
    found = results(tmp_path, conv, inputs)
    assert built.note == "" and built.build_s > 0
    assert part("reference").reference(conv.operation, inputs).error(found) <= 1


def test_a_library_follows_the_algorithm_that_was_asked_for(tmp_path: Path) -> None:
    of = operations.Convolution((1, 16, 6, 6), (16, 3, 3), 1, 1, layout="NCHW16c")
    conv, inputs = operations.Workload("conv", "small", of), arrays.random_inputs(of, 0)
    built = libraries.build_library(libraries.Order(of.template, tmp_path / "conv.so", 1, algorithm="direct"))
    assert built.note == ""
    assert part("reference").reference(of, inputs).error(results(tmp_path, conv, inputs)) <= 1
    built = libraries.build_library(libraries.Order(of.template, tmp_path / "none.so", 1, algorithm="pointwise"))
    assert "pointwise is no choice" in built.note


def test_constants_are_prepared_once(tmp_path: Path) -> None:
    m, n, k = 16, 10, 5
    a, b = te.placeholder((m, k), name="A"), te.placeholder((k, n), name="B")
    r = te.reduce_axis((0, k), name="r")
    c = te.compute((m, n), lambda i, j: te.sum(a[i, r] * b[r, j], axis=r), name="C")
    s = tilewright.create_schedule(c.op)
    packed = s.cache_read(b, "global", [c])
    s[packed].transform_layout(lambda p, q: [q // 4, p, q % 4])
    s[packed].precompute()
    module = build(lower_prepared(s, [a, b, c], exported.SYMBOL))
    module.export_library(tmp_path / "small.so")
    libraries.manifest(parameter_names(s, [a, b, c]), module.signatures).write(tmp_path / "small.json")
    inputs = arrays.random_inputs(PRODUCT.operation, 0)
    kernels = exported.ExportedKernels(competitor.Surroundings(1, tmp_path))
    (form,) = kernels.forms("small", PRODUCT.operation, inputs)
    right = inputs[0] @ inputs[1]
    inputs[1][...] = 0  # the prepared copy is what calls read
    form.call()
    np.testing.assert_allclose(form.result(), right, rtol=1e-6, atol=1e-6)


def test_what_the_template_refuses_is_noted(tmp_path: Path) -> None:
    template = ("conv2d", ((1, 6, 8, 8), (8, 3, 3), 1, 1, 1, 1, "NCHW16c"))
    built = libraries.build_library(libraries.Order(template, tmp_path / "x.so", 1))
    assert built.note.startswith("not built:") and not (tmp_path / "x.so").exists()
