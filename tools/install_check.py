"""Install the checkout into fresh environments and check what the user then has.

    python tools/install_check.py

Three environments: an empty one, one with `xgboost-cpu`, one with `xgboost` (some 300 MB are downloaded for it).
Checked: the wheel's size and contents; the empty environment's size and time; that `pip check` is content and
`import tilewright, xgboost` works; and that an xgboost that was there is the one that is there.
Exit status: 0 if all holds, 1 otherwise.
"""

from __future__ import annotations

import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
WHEEL_MB = 2
ENVIRONMENT_MB = 460
INSTALL_S = 60  # with PyPI near; printed, never a reason to fail
PROBE = """
import importlib.metadata as m, tilewright, xgboost
print(tilewright.__file__)
print(*sorted(d.name for d in m.distributions() if d.name.startswith('xgboost')), xgboost.build_info()['USE_CUDA'])
"""


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a command and give what it prints.  Raises CalledProcessError where it fails."""
    return subprocess.run([str(c) for c in command], cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def size_mb(folder: Path) -> float:
    """Give the size of all files below a folder in megabytes, 10^6 bytes."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink()) / 1e6


def check_wheel(python: Path, work: Path) -> Iterator[str]:
    """Build the wheel from a clean copy, print its size; give what is wrong with it."""
    run(python, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", work, checkout(work))
    (wheel,) = work.glob("tilewright-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    megabytes = wheel.stat().st_size / 1e6
    print(f"wheel {wheel.name}: {megabytes:.2f} MB, {len(names)} files")
    if not wheel.name.endswith("-py3-none-any.whl"):
        yield "the wheel is not pure Python"
    if megabytes > WHEEL_MB:
        yield f"the wheel has {megabytes:.2f} MB, over {WHEEL_MB}"
    outside = [n for n in names if n.split("/")[1] in ("tests", "benchmarks", "docs", "tools", "setup.py")]
    if outside:
        yield f"the wheel holds {outside[0]}"


def checkout(work: Path) -> Path:
    """Copy the files that git knows or would add, so that no earlier build is in the way; give the folder."""
    target = work / "checkout"
    if not target.exists():
        listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT)
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_bytes((ROOT / name).read_bytes())
    return target


def check_environment(work: Path, before: str) -> Iterator[str]:
    """Install into a fresh environment in which `before` is installed, print what that took; give what is wrong."""
    home = work / f"with-{before or 'nothing'}"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    if before:
        run(python, "-m", "pip", "install", "-q", before)
    start = time.monotonic()
    run(python, "-m", "pip", "install", "-q", checkout(work))
    seconds, megabytes = time.monotonic() - start, size_mb(home)
    run(python, "-m", "pip", "check")
    place, xgboost = run(python, "-c", PROBE, cwd=home).splitlines()
    print(f"with {before or 'nothing'}: {seconds:.0f} s (aim {INSTALL_S}), {megabytes:.0f} MB, has {xgboost}")
    if not Path(place).is_relative_to(home):
        yield f"with {before}: tilewright comes from {place}"
    if not before and megabytes > ENVIRONMENT_MB:
        yield f"the default installation has {megabytes:.0f} MB, over {ENVIRONMENT_MB}"
    expected = {"": "xgboost-cpu False", "xgboost-cpu": "xgboost-cpu False", "xgboost": "xgboost True"}[before]
    if xgboost != expected:
        yield f"with {before}: has {xgboost}, expected {expected}"


def main() -> int:
    """Run all checks; give the exit status."""
    with TemporaryDirectory() as name:
        work = Path(name)
        wrong = [fault for before in ("", "xgboost-cpu", "xgboost") for fault in check_environment(work, before)]
        wrong += check_wheel(work / "with-nothing" / "bin" / "python", work)
    print("\n".join(f"BROKEN  {fault}" for fault in wrong) or "all holds")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
