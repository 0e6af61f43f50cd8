"""Run the adapter's tests with PyCUDA itself, over a driver whose kernels are emulated: no GPU is needed.

    python tools/cuda_adapter_check.py [--wheels build/wheels]

Builds the wheel of PyCUDA unless the folder has it (about 2 minutes), installs it into a folder of its own, and runs
the tests of `tests/runtime/cuda/` that otherwise use a stand-in of PyCUDA.  The driver is `fake_driver.c`, with a stub
for each function of the true one that it lacks; needs gcc, g++ and the CUDA headers.
Exit status: that of the tests.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from build_pycuda_wheel import driver_functions, find_toolkit

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "runtime" / "cuda"
LEFT_OPEN = """
import tilewright
device = tilewright.cuda_device()
address = device.alloc(100)
print(device.name)
"""
FILES = ("test_pycuda_device.py", "test_module.py", "test_workers.py")


def run(*command: object) -> None:
    """Run a command.  Raises CalledProcessError where it fails."""
    subprocess.run([str(c) for c in command], check=True)


def wheel(folder: Path, toolkit: Path) -> Path:
    """Give PyCUDA's wheel for this Python, from `folder` or built into it."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    if not list(folder.glob(f"pycuda-*-{tag}-*.whl")):
        run(sys.executable, ROOT / "tools" / "build_pycuda_wheel.py", "--toolkit", toolkit, "--output", folder)
    (found,) = folder.glob(f"pycuda-*-{tag}-*.whl")
    return found


def fake_driver(folder: Path, include: Path) -> Path:
    """Compile the fake driver, with a stub for each function that it does not have; give its path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (TESTS / "fake_driver.c").read_text()
    missing = [name for name in driver_functions(include) if f" {name}(" not in text]
    source, library = folder / "fake.c", folder / "libcuda.so.1"
    source.write_text(text + "".join(f"int {name}(void) {{ return 100; }}\n" for name in missing))
    run("gcc", "-w", "-O1", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", source, "-o", library)
    return library


def main() -> int:
    """Run the tests; give their exit status."""
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--wheels", type=Path, default=ROOT / "build" / "wheels", help="where PyCUDA's wheel is kept")
    parser.add_argument("--toolkit", help="folder with include/cuda.h")
    options = parser.parse_args()
    toolkit = find_toolkit(options.toolkit)
    installed = options.wheels / f"installed-{sys.version_info.major}.{sys.version_info.minor}"
    if not (installed / "pycuda").is_dir():
        run(sys.executable, "-m", "pip", "install", "-q", "--target", installed, wheel(options.wheels, toolkit))
    library = fake_driver(options.wheels / "driver", toolkit / "include").resolve()
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(library.parent),
        "PYTHONPATH": str(installed.resolve()),
        "FAKE_CUDA_DRIVER": str(library),
    }
    left_open = subprocess.run([sys.executable, "-c", LEFT_OPEN], env=environment, capture_output=True, text=True)
    if left_open.returncode or left_open.stdout != "CPU emulation (not a GPU)\n" or left_open.stderr:
        print(f"a process that leaves its device open ends badly: {left_open}")
        return 1
    tests = [TESTS / name for name in FILES]
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *tests], cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
