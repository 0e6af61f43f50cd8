"""Kernels side by side with other libraries: each in a process of its own, in turn, checked against float64.

    cd benchmarks
    python -m peers --family resnet18 --threads 1 --db ../tuning.db

Install the peers that shall take part: torch, onnxruntime, openvino, onnx (for the last two), apache-tvm.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from .competitor import LIMIT, OURS, PEERS
from .families import FAMILIES, family
from .figures import Row
from .libraries import Builder
from .operations import Workload
from .process import Process
from .report import Circumstances, file_name, revision, write_json
from .table import table
from .turns import Pace, measure

RESULTS = Path(__file__).resolve().parent.parent / "results" / "cpu"
PACE = Pace()
CHOICES = {"tuned": OURS[:1], "untuned": OURS[1:], "both": OURS, "none": ()}
PEERS_BY_DEFAULT = tuple(name for name in PEERS if name != "tvm")


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(FAMILIES)
    parser.add_argument("--family", default="resnet18", help=f"several with commas, or all: {names}")
    parser.add_argument("--only", default="", help="workloads of these names, with commas")
    parser.add_argument("--threads", type=int, default=1, help="of every competitor")
    parser.add_argument("--db", default="", help="records to take our schedules from")
    parser.add_argument("--ours", choices=CHOICES, default="", help="default: tuned with --db, else untuned")
    parser.add_argument("--peers", default=",".join(PEERS_BY_DEFAULT), help="default: %(default)s; also tvm")
    parser.add_argument("--rounds", type=int, default=PACE.rounds, help="batches of each (%(default)s)")
    parser.add_argument("--batch-ms", type=float, default=PACE.batch_s * 1e3, help="length of one (%(default)s)")
    parser.add_argument("--most", type=float, default=PACE.most_s, help="seconds for a workload's rounds (%(default)s)")
    text = "run competitors before all else on this machine, where that is allowed: for machines that others use, too"
    parser.add_argument("--first", action="store_true", help=text)
    parser.add_argument("--seed", type=int, default=0, help="of the operands")
    parser.add_argument("--output", type=Path, help="without suffix: .json and .md are written; default: results/cpu")
    options = parser.parse_args()
    options.ours = options.ours or ("tuned" if options.db else "untuned")
    options.db = str(Path(options.db).resolve()) if options.db else ""
    if options.ours in ("tuned", "both") and not options.db:
        parser.error("tuned kernels come from records: --db FILE")
    unknown = [n for n in options.peers.split(",") if n and n not in PEERS]
    unknown += [n for n in options.family.split(",") if n not in (*FAMILIES, "all")]
    if unknown:
        parser.error(f"there is no {unknown[0]!r}")
    return options


def chosen_workloads(families: str, only: str) -> list[Workload]:
    """Give the workloads that were asked for."""
    names = list(FAMILIES) if families == "all" else families.split(",")
    wanted = set(filter(None, only.split(",")))
    return [w for name in names for w in family(name) if not wanted or w.name in wanted]


def run(options: argparse.Namespace, folder: Path) -> tuple[list[Row], Circumstances]:
    """Measure all workloads, in processes that end with it."""
    before = os.getloadavg()[0]
    ours = CHOICES[options.ours]
    builders = {name: _builder(name, folder, options) for name in ours}
    names = [*ours, *filter(None, options.peers.split(",")), LIMIT]
    processes = [Process(name, options.threads, folder / name, options.first) for name in names]
    pace = Pace(options.rounds, options.batch_ms * 1e-3, options.most, options.seed)
    try:
        machine = next(iter(builders.values())).machine() if builders else ""
        versions = {process.name: process.version for process in processes}
        runners = [process for process in processes if process.present]
        rows = []
        for workload in chosen_workloads(options.family, options.only):
            rows.append(_row(workload, builders, runners, pace))
    finally:
        for process in processes:
            process.close()
        for builder in builders.values():
            builder.close()
    settings = {n: getattr(options, n) for n in "threads ours rounds batch_ms seed first".split()}
    return rows, Circumstances(machine, revision(), versions, settings, (before, os.getloadavg()[0]))


def _builder(name: str, folder: Path, options: argparse.Namespace) -> Builder:
    (folder / name).mkdir()
    return Builder(folder / name, options.threads, options.db if name == OURS[0] else "")


def _row(workload: Workload, builders: dict[str, Builder], runners: Sequence[Process], pace: Pace) -> Row:
    built = {name: builder.build(workload) for name, builder in builders.items()}
    entries = measure(workload, runners, pace)
    for name, result in built.items():
        entries[name].note = "; ".join(filter(None, (result.note, entries[name].note)))
        entries[name].build_s = result.build_s
    row = Row(workload, entries)
    leads = ", ".join(f"{name} {lead:.2f}" for name in builders if (lead := row.lead(name)))
    sys.stderr.write(f"{workload.family} {workload.name}: {row.best_peer()} is the fastest peer; lead: {leads}\n")
    return row


def main() -> None:
    """Measure, print, write."""
    options = read_options()
    with tempfile.TemporaryDirectory() as folder:
        rows, about = run(options, Path(folder))
    text = "\n".join([*(f"- {line}" for line in about.lines()), "", table(rows)])
    print(text)
    path = options.output or RESULTS / file_name(about.machine, date.today(), options.family, options.threads)
    write_json(path.with_suffix(".json"), rows, about)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    sys.stderr.write(f"written: {path}.json and .md\n")


if __name__ == "__main__":
    main()
