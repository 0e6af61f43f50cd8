"""Making the folder that is carried to a machine with a GPU: wheels, bundles, kernels and these scripts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from . import bundles, wrappers
from .workloads import DRY, LARGE, SMALL, tasks

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "3.12"  # of the machine with the GPU
MOST_BYTES = 40_000_000
CLOSURE = (  # what the package and PyCUDA need and such a machine may lack; NumPy, SciPy and llvmlite (60 MB) it has
    "rich", "markdown-it-py", "mdurl", "pygments", "xgboost-cpu", "pytools", "siphash24", "platformdirs", "mako",
    "markupsafe", "typing-extensions",
)  # fmt: skip
LAUNCHER = """\
#!/bin/sh
# sh check.sh [facts|wrappers|templates|tuned|sanitizer|counters|all]
# needs python3 with NumPy, SciPy and llvmlite, and no network.
set -e
cd "$(dirname "$0")"
[ -d packages ] || python3 -m pip install --quiet --no-index --no-deps --target packages wheels/*.whl
PYTHONPATH="$PWD/packages:$PWD" exec python3 -m gpu_check --folder . "$@"
"""


def build(folder: Path, size: str, candidates: int, records: Path | None, python: str) -> int:
    """Build everything; give the exit status.

    size    "full"; "dry" for small shapes in place of those that are tuned, and no wheels; "quick" for few of them
    python  of the version that PyCUDA's wheel is to be for, where it has to be built
    """
    quick = size == "quick"
    for stale in ("wrappers", "templates", "tuned", "gpu_check"):
        shutil.rmtree(folder / stale, ignore_errors=True)
    print(f"kernels of the device language: {wrappers.build(folder / 'wrappers')}", flush=True)
    print("templates on small shapes", flush=True)
    unbuilt = bundles.build(folder / "templates", list(tasks(SMALL, 1 if quick else None)), 1 if quick else 2)
    print("shapes that are tuned", flush=True)
    table = LARGE if size == "full" else DRY
    chosen = list(tasks(table))[: 2 if quick else None]
    unbuilt += bundles.build(folder / "tuned", chosen, 2 if quick else candidates, records)
    if size == "full":
        _wheels(folder / "wheels", python)
    _scripts(folder)
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {total / 1e6:.1f} MB, {len(unbuilt)} tasks not built; next: sh check.sh, where the GPU is")
    if total > MOST_BYTES:
        print(f"more than {MOST_BYTES / 1e6:.0f} MB: fewer --candidates", file=sys.stderr)
    return 1 if total > MOST_BYTES else 0  # what is not built fails the check, with the reason


def _scripts(folder: Path) -> None:
    here = Path(__file__).resolve().parent
    shutil.copytree(here, folder / "gpu_check", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "check.sh").write_text(LAUNCHER)


def _wheels(folder: Path, python: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("tilewright-*.whl"):
        stale.unlink()
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    missing = [name for name in CLOSURE if not list(folder.glob(f"{name.replace('-', '_')}-*.whl"))]
    if missing:
        _run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version",
             PYTHON, "--dest", folder, *missing)  # fmt: skip
    cached = ROOT / "build" / "wheels"
    if not _pycuda(cached):
        _build_pycuda(cached, python)
    for wheel in _pycuda(cached):
        shutil.copy(wheel, folder)
    print("wheels:", ", ".join(sorted(path.name.split("-")[0] for path in folder.glob("*.whl"))))


def _pycuda(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"pycuda-*-cp{PYTHON.replace('.', '')}-*.whl"))[-1:]


def _build_pycuda(folder: Path, python: str) -> None:
    """Build PyCUDA's wheel in an environment of that Python, some minutes; without it another one can be carried."""
    environment = ROOT / "build" / f"python{PYTHON}"
    try:
        _run(python, "-m", "venv", environment)
        _run(environment / "bin" / "pip", "install", "--quiet", "setuptools", "wheel", "numpy")
        _run(environment / "bin" / "python", ROOT / "tools" / "build_pycuda_wheel.py", "--output", folder)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no wheel of PyCUDA for Python {PYTHON}: {error}", file=sys.stderr)
        print(f"try: PYTHON312=/path/to/python{PYTHON}, or a wheel in build/wheels", file=sys.stderr)


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True)
