"""Kernels side by side with other libraries: each in a process of its own, in turn, checked against float64.

    cd benchmarks
    python -m peers --family resnet18 --threads 1 --db ../tuning.db
    python -m peers --family all --threads 1,2

Install the peers that shall take part: torch, onnxruntime, openvino, onnx (for the last two), apache-tvm.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import date
from pathlib import Path
from time import perf_counter

from .competitor import ALGORITHMS, OURS, PEERS
from .families import FAMILIES, family
from .figures import Row
from .operations import Workload
from .report import RESULTS, Circumstances, file_name, write_json
from .session import Session
from .table import table
from .turns import Pace

PACE = Pace()
CHOICES = {"tuned": OURS[:1], "untuned": OURS[1:2], "both": OURS[:2], "none": ()}
PEERS_BY_DEFAULT = tuple(name for name in PEERS if name != "tvm")


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, names = parser.add_argument, ", ".join(FAMILIES)
    add("--family", default="resnet18", help=f"several with commas, or all: {names}")
    add("--only", default="", help="workloads of these names, with commas; written only where --output says")
    add("--threads", default="1", help="of every competitor; several numbers with commas for one run after another")
    add("--db", default="", help="records to take our schedules from")
    add("--ours", choices=CHOICES, default="", help="default: tuned with --db, else untuned")
    text = "our default schedules by each of these algorithms, with commas: " + ", ".join(ALGORITHMS.values())
    add("--algorithms", default="", help=text)
    add("--peers", default=",".join(PEERS_BY_DEFAULT), help="default: %(default)s; also tvm")
    add("--rounds", type=int, default=PACE.rounds, help="batches of each (%(default)s)")
    add("--batch-ms", type=float, default=PACE.batch_s * 1e3, help="length of one (%(default)s)")
    add("--most", type=float, default=PACE.most_s, help="seconds for a workload's rounds (%(default)s)")
    text = "run competitors before all else on this machine, where that is allowed: for machines that others use, too"
    add("--first", action="store_true", help=text)
    add("--seed", type=int, default=0, help="of the operands")
    add("--output", type=Path, help="folder of the results, .json and .md for each family; default: results/cpu")
    options = parser.parse_args()
    _check(parser, options)
    return options


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what means nothing, and fill in what follows from the rest."""
    options.ours = options.ours or ("tuned" if options.db else "untuned")
    options.db = str(Path(options.db).resolve()) if options.db else ""
    if options.ours in ("tuned", "both") and not options.db:
        parser.error("tuned kernels come from records: --db FILE")
    options.families = list(FAMILIES) if options.family == "all" else options.family.split(",")
    options.peers = [name for name in options.peers.split(",") if name]
    options.algorithms = [name for name in options.algorithms.split(",") if name]
    unknown = [n for n in options.peers if n not in PEERS]
    unknown += [n for n in options.algorithms if n not in ALGORITHMS.values()]
    unknown += [n for n in options.families if n not in FAMILIES]
    unknown += [n for n in options.threads.split(",") if not n.isdigit() or int(n) < 1]
    if unknown:
        parser.error(f"there is no {unknown[0]!r}")
    options.counts = [int(n) for n in options.threads.split(",")]
    if not any(chosen_workloads(name, options.only) for name in options.families):
        parser.error(f"no workload of {options.family} is called {options.only}")


def chosen_workloads(name: str, only: str) -> list[Workload]:
    """Give the workloads of a family that were asked for."""
    wanted = set(filter(None, only.split(",")))
    return [w for w in family(name) if not wanted or w.name in wanted]


def publish(rows: list[Row], about: Circumstances, name: str, options: argparse.Namespace) -> None:
    """Print a family's table; write it, and every sample."""
    text = "\n".join([*(f"- {line}" for line in about.lines()), "", table(rows)])
    print(text, flush=True)
    folder = options.output or (None if options.only else RESULTS)
    if folder is None:
        return
    path = folder / file_name(about.machine, date.today(), name, about.threads)
    write_json(path.with_suffix(".json"), rows, about)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    sys.stderr.write(f"written: {path}.json and .md\n")


def main() -> None:
    """Measure, print, write: one family after another, for each number of threads."""
    options, begin = read_options(), perf_counter()
    pace = Pace(options.rounds, options.batch_ms * 1e-3, options.most, options.seed)
    for threads in options.counts:
        with tempfile.TemporaryDirectory() as folder:
            chosen = (*CHOICES[options.ours], *(f"ours_{name}" for name in options.algorithms))
            with Session(threads, Path(folder), chosen, options.peers, options.db, options.first) as session:
                for name in options.families:
                    if workloads := chosen_workloads(name, options.only):
                        publish(*session.measure(workloads, pace), name, options)
    sys.stderr.write(f"{perf_counter() - begin:.0f} s in all\n")


if __name__ == "__main__":
    main()
