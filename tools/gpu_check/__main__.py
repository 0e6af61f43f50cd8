"""Confirm on a GPU, or on its emulation, what was built without one.

    python -m gpu_check build --folder build/gpu          the folder to carry, where the compiler is
    python -m gpu_check all --folder build/gpu            where the GPU is: every phase, or one of facts,
                                                          wrappers, templates, tuned, sanitizer, counters
Results go to results/<device>-<date>/: a JSON file for each phase, table.md, and records.db.

exit status:
  0  everything that was run is right; table.md begins with what was not, for want of a tool
  1  something is not: table.md has it
  2  the command line means nothing, or there is no GPU
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tilewright.runtime.cuda.availability import availability

from . import bundles, carry, counters, facts, report, sanitizer, wrappers

TIME_S = {"templates": 400.0, "tuned": 480.0}  # each phase is done within 9 minutes
QUICK_CASES = 3  # of each group of wrappers


def main() -> int:
    """Run what the command line asks for; give the exit status."""
    options = _parser().parse_args()
    if options.phase == "build":
        size = "quick" if options.quick else "dry" if options.dry else "full"
        return carry.build(options.folder, size, options.candidates, options.records, options.python312)
    here = availability()
    if options.device != "emulate" and not here.runs:
        print(here.paragraph(), file=sys.stderr)
        return 2
    name = "emulation" if options.device == "emulate" else here.gpu.name if here.gpu else "gpu"
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    output: Path = options.output or options.results / f"{slug}-{time.strftime('%Y-%m-%d')}"
    output.mkdir(parents=True, exist_ok=True)
    if options.phase == "all":
        return _all(options, output)
    state = _run(options.phase, options, output)
    print(f"results: {report.write(output, options.device != 'emulate')}")
    return 1 if state == "FAILED" else 0


def _all(options: argparse.Namespace, output: Path) -> int:
    """Run each phase in a process of its own: a context, or the loss of one, is no matter of the next."""
    words = ["--folder", str(options.folder), "--device", options.device, "--output", str(output)]
    words += ["--quick"] if options.quick else []
    command = [sys.executable, "-m", __package__ or "gpu_check"]
    return max(subprocess.run([*command, phase, *words]).returncode for phase in report.PHASES)


def _run(phase: str, options: argparse.Namespace, output: Path) -> str:
    print(f"{phase}", flush=True)
    path = output / f"{phase}.json"

    def note(data: dict[str, Any]) -> None:
        path.write_text(json.dumps(data, indent=1) + "\n")

    match phase:
        case "facts":
            data = facts.phase(options.device, note)
        case "wrappers":
            data = wrappers.phase(options.folder, options.device, QUICK_CASES if options.quick else None)
        case "sanitizer":
            most = QUICK_CASES if options.quick else None
            data = sanitizer.phase(options.folder / "templates", options.device, output, note, most)
        case "counters":
            data = counters.phase(options.folder / "tuned", options.device, output, note)
        case _:
            data = bundles.phase(options.folder / phase, options.device, output, TIME_S[phase])
    note(data | {"gpu_times": options.device != "emulate"})
    print(f"{phase}: {report.verdict(phase, data)}", flush=True)
    return report.state(phase, data)


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="gpu_check", description=__doc__, formatter_class=form)
    parser.add_argument("phase", nargs="?", default="all", choices=("build", *report.PHASES, "all"))
    parser.add_argument("--folder", type=Path, default=Path("build/gpu"), help="what is carried")
    parser.add_argument("--device", default="gpu", choices=("gpu", "emulate"))
    parser.add_argument("--results", type=Path, default=Path("results"), help="where <device>-<date>/ is made")
    parser.add_argument("--output", type=Path, help="the folder of the results itself")
    parser.add_argument("--dry", action="store_true", help="build: small shapes alone, and no wheels")
    parser.add_argument("--quick", action="store_true", help="little of everything, to test the check itself")
    parser.add_argument("--candidates", type=int, default=24, help="build: of each tuned shape (default: 24)")
    parser.add_argument("--records", type=Path, help="build: a database of a GPU's records, to choose candidates by")
    parser.add_argument("--python312", default="python3.12", help="build: the Python that PyCUDA's wheel is built by")
    return parser


if __name__ == "__main__":
    sys.exit(main())
