"""Record a search space, or compare strategies on recorded ones.

python tools/record_space.py record conv2d '[[1, 128, 28, 28], [128, 3, 3], 1, 1]' -o c6.npz --points 2000
python tools/record_space.py compare c6.npz matmul.npz
"""

from __future__ import annotations

import argparse
import json
from math import exp, log

from tilewright.autotune import task as tasks
from tilewright.autotune.recording import record_space
from tilewright.autotune.replay import RecordedSpace, compare
from tilewright.autotune.strategies.ga import GaStrategy
from tilewright.autotune.strategies.random import RandomStrategy
from tilewright.autotune.strategies.xgb import XgbStrategy
from tilewright.autotune.trial import Trial

STRATEGIES = {"xgb": XgbStrategy, "ga": GaStrategy}


def record(name: str, args: str, output: str, points: int, threads: int) -> None:
    """Measure random configurations of a task and write them to a file."""
    task = tasks.create(name, json.loads(args), threads=threads)
    seen: list[Trial] = []

    def show(trial: Trial) -> None:
        seen.append(trial)
        if len(seen) % 100 == 0:
            print(f"{len(seen)} measured, best {max(task.gflops(t.cost_s) for t in seen):.1f} GFLOP/s", flush=True)

    recorded = record_space(task, points, observe=show)
    recorded.save(output)
    print(f"{output}: {len(recorded.indices)} configurations of {task.config_space.valid_count}")


def compare_all(files: list[str], strategy: str, seeds: int) -> None:
    """Print how a strategy does against random draws on each recorded space."""
    ratios = []
    for file in files:
        result = compare(RecordedSpace.load(file), STRATEGIES[strategy], RandomStrategy, range(seeds))
        shares = ", ".join(
            f"{n}: {a:.3f} against {b:.3f}" for n, a, b in zip(result.at, result.first, result.second, strict=True)
        )
        print(f"{file}: share of the best after {shares}; {result.ratio:.2f} times fewer trials to 95 %")
        ratios.append(result.ratio)
    print(f"geometric mean: {exp(sum(map(log, ratios)) / len(ratios)):.2f} times fewer trials")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record")
    recorder.add_argument("name", help="template")
    recorder.add_argument("args", help="its arguments, a JSON array")
    recorder.add_argument("-o", "--output", required=True)
    recorder.add_argument("--points", type=int, default=2000, help="valid ones")
    recorder.add_argument("--threads", type=int, default=1)
    comparer = commands.add_parser("compare")
    comparer.add_argument("files", nargs="+")
    comparer.add_argument("--strategy", choices=STRATEGIES, default="xgb")
    comparer.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    if given.command == "record":
        record(given.name, given.args, given.output, given.points, given.threads)
    else:
        compare_all(given.files, given.strategy, given.seeds)


if __name__ == "__main__":
    main()
