"""Kernels that nobody tuned: their shipped records and model are made here, and judged by shapes they have not seen.

    cd benchmarks
    python -m untuned ship --db ../training.db --threads 1,2 --budget 20m
    python -m untuned tune --db ../training.db --time 10
    python -m untuned fit --db ../training.db
    python -m untuned confirm
    python -m untuned tune --held-out --db ../held_out.db --time 20
    python -m untuned measure --db ../held_out.db

The split is in `split.py`.  `fit` writes `autotune/shipped`; `prune` drops from there what the spaces of today no
longer have, `confirm` what is no faster than the rules of today.  `ship` is tuning, fitting and confirming in a row.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import date
from pathlib import Path

import numpy
from peers.operations import Workload
from peers.report import Circumstances, file_name, revision

from tilewright.autotune import Records
from tilewright.cli.arguments import duration_s
from tilewright.runtime.host import machine

from .confirming import confirm
from .fitting import prune, ship
from .measuring import BUDGET_S, measure
from .report import table, write_json
from .split import held_out, training
from .trials import read_trials
from .tuning import tune

LEAST_S = 1.5  # of a search: its last measurements take a third of that
TUNING_SHARE = 0.7  # of a budget; the rest is for confirming
CONFIRMED = 2  # times that a record has to be faster than the rules before it ships
RESULTS = Path(__file__).resolve().parent.parent / "results" / "cpu" / "untuned"


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m untuned", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("ship", "tune", "fit", "prune", "confirm", "measure"))
    parser.add_argument("--db", default="training.db", help="records of trials (%(default)s)")
    parser.add_argument("--threads", default="1", help="of a kernel; for `ship` and `fit`, several with commas")
    parser.add_argument("--time", type=float, default=10.0, help="seconds for each workload (%(default)s)")
    parser.add_argument("--budget", type=duration_s, help="for `ship`: seconds, or such as 20m, instead of --time")
    parser.add_argument("--held-out", action="store_true", help="tune the workloads that are judged by")
    parser.add_argument("--family", default="", help="tune only these families, with commas")
    parser.add_argument("--output", type=Path, help="without suffix: .json and .md are written")
    return parser.parse_args()


def main() -> None:
    """Take one step."""
    options = read_options()
    match options.step:
        case "tune":
            with Records(options.db) as records:
                tune(_wanted(options), records, int(options.threads), options.time)
        case "ship":
            _ship(options)
        case "fit":
            with Records(options.db, create=False) as records:
                ship([read_trials(training(), records, int(n)) for n in options.threads.split(",")])
        case "prune":
            prune()
        case "confirm":
            confirm()
        case _:
            _measure(options)


def _wanted(options: argparse.Namespace) -> list[Workload]:
    families = set(filter(None, options.family.split(",")))
    chosen = held_out() if options.held_out else training()
    return [w for w in chosen if (not families or w.family in families) and w.operation.template is not None]


def _ship(options: argparse.Namespace) -> None:
    wanted, threads = _wanted(options), [int(n) for n in options.threads.split(",")]
    count = max(1, len(wanted) * len(threads))
    time_s, record_s = options.time, BUDGET_S
    if options.budget is not None:
        time_s = max(LEAST_S, TUNING_SHARE * options.budget / count)
        record_s = min(BUDGET_S, (1 - TUNING_SHARE) * options.budget / count / CONFIRMED)
    with Records(options.db) as records:
        for number in threads:
            tune(wanted, records, number, time_s)
        ship([read_trials(wanted, records, number) for number in threads])
    confirm(CONFIRMED, record_s)


def _measure(options: argparse.Namespace) -> None:
    before, threads = os.getloadavg()[0], int(options.threads)
    with Records(options.db, create=False) as records:
        rows = measure(held_out(), records, threads)
    if not rows:
        sys.exit(f"{options.db} has no searches of held-out workloads with {threads} threads: tune --held-out first")
    versions = {"numpy": numpy.__version__, "python": sys.version.split()[0]}
    load = (before, os.getloadavg()[0])
    about = Circumstances(str(machine()), revision(), versions, {"threads": threads}, load)
    path = options.output or RESULTS / file_name(about.machine, date.today(), "untuned", threads)
    write_json(path.with_suffix(".json"), rows, about)
    text = "\n".join([*(f"- {line}" for line in about.lines()), "", table(rows)])
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
