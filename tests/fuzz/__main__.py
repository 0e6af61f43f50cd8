"""Random pairs by the thousand: `make fuzz PAIRS=100000 SEED=1000000`, and for GPUs `make gpu-fuzz`.

Every failure is printed with its seed and, reduced to the steps that matter, as a schedule to replay.
Exit status 1 if there was any.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor

from tilewright.runtime.host import host_target

from .check import Outcome, run
from .gpu_check import run_gpu
from .reduce import reduced

CHUNK = 100


def main() -> int:
    """Check the pairs, report as they come, and reduce what fails."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1_000_000, help="the first one")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--gpu", action="store_true", help="GPU schedules, their kernels emulated")
    options = parser.parse_args()
    total = Outcome()
    chunks = [range(s, s + CHUNK) for s in range(options.seed, options.seed + options.pairs, CHUNK)]
    with ProcessPoolExecutor(options.processes) as pool:
        for part in pool.map(run_gpu if options.gpu else run, chunks):
            total.add(part)
            for failure in (*part.mismatches, *part.errors):
                if options.gpu:
                    print(failure, file=sys.stderr)
                else:
                    _report(failure)
            print(f"{total.pairs} pairs, {len(total.mismatches)} mismatches, {len(total.errors)} errors", flush=True)
    for kind, count in sorted(total.taken.items()):
        print(f"{kind:20} taken {count:6}  refused {total.refused[kind]:6}")
    return 1 if total.mismatches or total.errors else 0


def _report(failure: str) -> None:
    print(failure, file=sys.stderr)
    seed = int(failure.split()[1].rstrip(":"))
    _, schedule = reduced(seed, host_target())
    print(f"reduced to {len(schedule.steps)} steps:\n{schedule.to_json()}\n{schedule}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
